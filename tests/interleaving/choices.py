"""What a schedule leaves to chance, all of it drawn from one seed."""

from __future__ import annotations

from random import Random
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

T = TypeVar("T")

STRATEGIES = ("any", "steady", "ranked")
LONG = 400  # about as many steps as a schedule has


class Choices:
    """Draws what happens, and remembers who went on at each step.

    There are three ways to choose who goes on. ``any`` takes anybody. ``steady`` mostly stays with
    one. ``ranked`` gives each a rank, lets the highest run until it waits, and demotes it at a
    few steps: so one may be held up for as long as the others can go on.
    """

    def __init__(self, seed: str) -> None:
        self._random = Random(seed)
        self._strategy = self.draw(STRATEGIES)
        self.keeps_order = self.chance(0.3)  # tasks go on in the order in which asyncio has them
        self._ranks: dict[str, float] = {}
        self._last: dict[str, str] = {}  # by kind
        self._demotions = {self._random.randrange(LONG) for _ in range(4)}
        self.steps = 0
        self.trace: list[str] = []  # who went on, where there was a choice

    def draw(self, options: Sequence[T]) -> T:
        """Choose one of several values."""
        return options[self._random.randrange(len(options))]

    def shuffled(self, values: Iterable[T]) -> list[T]:
        """Choose an order."""
        found = list(values)
        self._random.shuffle(found)
        return found

    def chance(self, probability: float) -> bool:
        """Decide whether something happens."""
        return probability > 0 and self._random.random() < probability

    def next(self, kind: str, names: Sequence[str]) -> int:
        """Choose who of a kind goes on, and return the position."""
        if len(names) == 1:
            self.steps += 1
            return 0
        position = self._choose(kind, names)
        self.steps += 1
        self._last[kind] = names[position]
        self.trace.append(names[position])
        return position

    def _choose(self, kind: str, names: Sequence[str]) -> int:
        last = self._last.get(kind)
        if self._strategy == "steady" and last in names and self.chance(0.8):
            return names.index(last)
        if self._strategy == "ranked":
            return self._highest(names)
        return self._random.randrange(len(names))

    def _highest(self, names: Sequence[str]) -> int:
        for name in names:
            if name not in self._ranks:
                self._ranks[name] = self._random.random()
        highest = max(names, key=self._ranks.__getitem__)
        if self.steps in self._demotions:
            self._ranks[highest] = -float(self.steps)
            highest = max(names, key=self._ranks.__getitem__)
        return names.index(highest)
