"""Capturing the checks that code makes."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from ..signals import permission_checked

if TYPE_CHECKING:
    from collections.abc import Generator

    from ..explain import Explanation


@contextmanager
def capture_checks() -> Generator[list[Explanation]]:
    """Capture the permission checks that code makes, also in other threads and tasks.

    Use it with a plain ``with``, in async tests too.

    Yields:
        The explanations, in the order in which the checks were decided: nested checks come before
        the check that has made them.
    """
    captured: list[Explanation] = []

    def capture(explanation: Explanation, **_kwargs: Any) -> None:
        captured.append(explanation)

    permission_checked.connect(capture)
    try:
        yield captured
    finally:
        permission_checked.disconnect(capture)
