"""The world of the schedule that is running, for access methods and backends to find."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from django.db.models import Model

    from .world import World

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
