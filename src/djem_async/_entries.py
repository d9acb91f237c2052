"""The entries of logs."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final, Self, TypeAlias


class Entry(str):
    """One line of a log: a string with tags.

    Args:
        text: The line; anything that is not a string is converted.
        tags: Its tags.
    """

    __slots__ = ("_tags",)

    _tags: tuple[str, ...]

    def __new__(cls, text: object = "", tags: Iterable[str] = ()) -> Self:
        """Make an entry."""
        entry = super().__new__(cls, text)
        entry._tags = tuple(tags)
        return entry

    @property
    def tags(self) -> tuple[str, ...]:
        """Its tags. They never change, because several logs may have the same entry."""
        return self._tags

    def __repr__(self) -> str:
        tags = f", tags={','.join(sorted(self.tags))}" if self.tags else ""
        return f"{super().__repr__()}{tags}"


class Denial(Entry):
    """The message of a `PermissionDenied` that an access method raised."""

    __slots__ = ()


class Nested(Entry):
    """A line of a check that an access method made, if that check has no log of its own."""

    __slots__ = ()


Entries: TypeAlias = tuple[Entry, ...]


AUTO: Final = ("auto",)
"""The tags of entries that the library makes."""


IMPLICIT: Final = {
    False: "Active superuser: Implicit permission",
    True: "Active superuser: Implicit permission (model-level)",
}
"""The entries for superusers, by whether access methods decide about them."""


@dataclass(eq=False, slots=True)
class FinishedLog:
    """A log that has ended.

    Most logs are never read. So the values of the header are stored as they are, and `entries_of`
    formats them. No two logs are equal, because asgiref up to 3.8 only passes on a context variable
    if its value isn't equal to the one before.
    """

    name: str
    entries: Entries
    header: tuple[object, ...] = ()


def header_lines(perm: str, username: str, pk: object, *of_object: object) -> list[str]:
    """Return the lines at the beginning of the log of a check."""
    lines = [f"Permission: {perm}", f"User: {username} ({pk})"]
    if of_object:
        lines.append("Object: {} ({})".format(*of_object))
    return [*lines, ""]


def entries_of(log: FinishedLog) -> Entries:
    """Return the entries of a finished log."""
    lines: list[str] = header_lines(*log.header) if log.header else []  # type: ignore[arg-type]
    return (*(Entry(line, AUTO) for line in lines), *log.entries)
