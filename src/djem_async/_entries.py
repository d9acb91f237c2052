"""The entries of logs."""

from collections.abc import Iterable
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


Entries: TypeAlias = tuple[Entry, ...]


def are_same(entries: Entries, others: Entries) -> bool:
    """Tell whether entries have the same texts and tags.

    Args:
        entries: Entries.
        others: Others.
    """
    return entries == others and all(
        entry.tags == other.tags for entry, other in zip(entries, others, strict=True)
    )


AUTO: Final = ("auto",)
"""The tags of entries that the library makes."""


FinishedLog: TypeAlias = tuple[str, tuple[Entries, ...], tuple[object, ...]]
"""A log that has ended: its name, its entries in parts, and what its header tells.

Most logs are never read. So they are kept as they come, in a plain tuple, and put together by
`entries_of`.
"""


def header_lines(perm: str, username: str, pk: object, *of_object: object) -> list[str]:
    """Return the lines at the beginning of the log of a check.

    Args:
        perm: The permission.
        username: The name of the user.
        pk: The primary key of the user.
        *of_object: The text of the object and its primary key, if there is one.
    """
    lines = [f"Permission: {perm}", f"User: {username} ({pk})"]
    if of_object:
        lines.append("Object: {} ({})".format(*of_object))
    return [*lines, ""]


def entries_of(log: FinishedLog) -> Entries:
    """Return the entries of a finished log.

    Args:
        log: The log.
    """
    _, parts, header = log
    lines: list[str] = header_lines(*header) if header else []  # type: ignore[arg-type]
    return (*(Entry(line, AUTO) for line in lines), *(entry for part in parts for entry in part))


class CheckLog:
    """What the log of a check is made of, but for its header and the lines of access methods.

    Args:
        before: What stands between the two.
        model_level: The log of the check of the model level that is a part of the check, if any.
    """

    __slots__ = ("before", "latest", "model_level")

    def __init__(self, before: Entries, model_level: FinishedLog | None) -> None:
        self.before = before
        self.model_level = model_level
        # Of the latest check without a header: the primary key, what was known, and all its logs.
        self.latest: tuple[object, object, tuple[FinishedLog, ...]] = None, None, ()
