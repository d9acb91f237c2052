"""The entries of logs."""

from collections.abc import Iterable
from typing import Self, TypeAlias


class Entry(str):
    """One line of a log: a string with tags.

    Args:
        text: The line; anything that is not a string is converted.
        tags: Its tags.
    """

    __slots__ = ("tags",)

    tags: tuple[str, ...]

    def __new__(cls, text: object = "", tags: Iterable[str] = ()) -> Self:
        """Make an entry."""
        entry = super().__new__(cls, text)
        entry.tags = tuple(tags)
        return entry

    def __repr__(self) -> str:
        tags = f", tags={','.join(sorted(self.tags))}" if self.tags else ""
        return f"{super().__repr__()}{tags}"


Entries: TypeAlias = tuple[Entry, ...]
