"""What is true at which moment, and which answers that allows."""

from __future__ import annotations

from collections.abc import Hashable
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    from django.db.models import Model

    from .world import World

Possible: TypeAlias = frozenset[bool]
"""The answers that are right; none where there must be an error instead."""

Key: TypeAlias = Hashable

NEVER: Possible = frozenset()
GRANTED: Possible = frozenset({True})


def both(*parts: Possible) -> Possible:
    """Combine answers as `and` does: what follows a denial is not asked."""
    found = GRANTED
    for part in parts:
        found = found - GRANTED | (part if True in found else NEVER)
    return found


class History:
    """The values that something has had."""

    def __init__(self, value: bool) -> None:
        self._values = [(0, value)]

    @property
    def value(self) -> bool:
        return self._values[-1][1]

    def change(self, now: int, value: bool) -> None:
        self._values.append((now, value))

    def since(self, begin: int) -> Possible:
        first = [value for when, value in self._values if when <= begin][-1]
        return frozenset({first, *(value for when, value in self._values if when > begin)})


worlds: list[World] = []
"""The world of the schedule that is running."""


def here() -> World:
    """Return the world of the schedule that is running, for access methods and backends."""
    return worlds[-1]


def label(thing: Model) -> str:
    """Name an object."""
    return f"{type(thing).__name__}-{thing.pk}"
