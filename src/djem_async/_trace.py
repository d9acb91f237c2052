"""What is found out about a check while it runs, for its explanation."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .explain import Explanation, Reason

if TYPE_CHECKING:
    from collections.abc import Iterable


class Trace:
    """The explanation of a check in the making. The last step that says so has decided."""

    __slots__ = ("by", "cached", "lines", "nested", "reason")

    def __init__(self) -> None:
        self.reason = Reason.NO_METHOD
        self.by: str | None = None
        self.cached = False
        self.lines: list[str] = []
        self.nested: list[Explanation] = []

    def because(self, reason: Reason, by: str | None, cached: bool, lines: Iterable[str]) -> None:
        """Take note of the step that decides, as far as is known."""
        self.reason, self.by, self.cached, self.lines = reason, by, cached, [*lines]
