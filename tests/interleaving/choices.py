"""What a schedule leaves to chance, all of it drawn from one seed."""

from __future__ import annotations

from random import Random
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Sequence

T = TypeVar("T")


class Choices:
    """Draws what happens, and remembers who went on at each step.

    In half of the schedules it is mostly the same again, so others may be held up for as long as
    that one can go on.
    """

    def __init__(self, seed: str) -> None:
        self.random = Random(seed)
        self._steadiness = self.draw((0, 0.8))
        self.keeps_order = self.chance(0.3)  # tasks go on in the order in which asyncio has them
        self._last: dict[str, str] = {}  # by kind
        self.steps = 0
        self.trace: list[str] = []  # who went on, where there was a choice

    def draw(self, options: Sequence[T]) -> T:
        """Choose one of several values."""
        return self.random.choice(options)

    def chance(self, probability: float) -> bool:
        """Decide whether something happens."""
        return self.random.random() < probability

    def next(self, kind: str, names: Sequence[str]) -> int:
        """Choose who of a kind goes on, and return the position."""
        self.steps += 1
        if len(names) == 1:
            return 0
        name = self._last.get(kind, "")
        if name not in names or not self.chance(self._steadiness):
            name = self.draw(names)
        self._last[kind] = name
        self.trace.append(name)
        return names.index(name)
