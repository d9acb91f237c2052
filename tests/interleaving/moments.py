"""What is true at which moment, and which answers that allows."""

from __future__ import annotations

from collections.abc import Hashable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    from django.db.models import Model

    from .world import World

Possible: TypeAlias = frozenset[bool]
"""The answers that are right; none where there must be an error instead."""

Key: TypeAlias = Hashable

NEVER: Possible = frozenset()
DENIED: Possible = frozenset({False})
GRANTED: Possible = frozenset({True})


def both(*parts: Possible) -> Possible:
    """Combine answers as `and` does: what follows a denial is not asked."""
    found = GRANTED
    for part in parts:
        found = found - GRANTED | (part if True in found else NEVER)
    return found


def either(*parts: Possible) -> Possible:
    """Combine answers as `or` does: what follows a grant is not asked."""
    found = DENIED
    for part in parts:
        found = found - DENIED | (part if False in found else NEVER)
    return found


class History:
    """The values that something has had.

    A change takes time: from the moment when it begins to that when it is made, either value may
    be read.
    """

    def __init__(self, value: bool) -> None:
        self._values: list[tuple[int, int, bool]] = [(0, 0, value)]

    @property
    def value(self) -> bool:
        return self._values[-1][2]

    def change(self, begin: int, end: int, value: bool) -> None:
        self._values.append((begin, end, value))

    def between(self, begin: int, end: int) -> Possible:
        found = set()
        gone = None
        for began, made, value in reversed(self._values):
            if began <= end and (gone is None or gone >= begin):
                found.add(value)
            gone = made
        return frozenset(found)


# The world of the schedule that is running, for access methods and backends to find.

_worlds: list[World] = []


def here() -> World:
    """Return the world of the schedule that is running."""
    return _worlds[-1]


@contextmanager
def inhabited(world: World) -> Iterator[None]:
    """Make a world the one that is found."""
    _worlds.append(world)
    try:
        yield
    finally:
        _worlds.remove(world)


def label(thing: Model) -> str:
    """Name an object."""
    return f"{type(thing).__name__}-{thing.pk}"
