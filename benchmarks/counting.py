"""Counts database queries and thread hops, in whichever thread they happen.

with counting() as counts:
    await user.ahas_perm(perm, obj)
assert (counts.queries, counts.hops) == (1, 1)
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from unittest.mock import patch

from asgiref.current_thread_executor import CurrentThreadExecutor
from django.db.backends.utils import CursorWrapper

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


@dataclass
class Counts:
    """What happened while `counting` was entered."""

    statements: list[str] = field(default_factory=list)
    hops: int = 0

    @property
    def queries(self) -> int:
        return len(self.statements)


@contextmanager
def counting() -> Iterator[Counts]:
    """Count until the block ends.

    A hop is whatever is handed to another thread to be run: what `sync_to_async` does, with or
    without a sync caller above it, and also what goes straight to an executor.
    """
    counts = Counts()
    execute: Callable[..., Any] = CursorWrapper._execute_with_wrappers

    def counted_execute(cursor: CursorWrapper, sql: str, *args: Any, **kwargs: Any) -> Any:
        counts.statements.append(sql)
        return execute(cursor, sql, *args, **kwargs)

    def counted(submit: Callable[..., Any]) -> Callable[..., Any]:
        def counted_submit(*args: Any, **kwargs: Any) -> Any:
            counts.hops += 1
            return submit(*args, **kwargs)

        return counted_submit

    with (
        patch.object(CursorWrapper, "_execute_with_wrappers", counted_execute),
        patch.object(ThreadPoolExecutor, "submit", counted(ThreadPoolExecutor.submit)),
        patch.object(CurrentThreadExecutor, "submit", counted(CurrentThreadExecutor.submit)),
    ):
        yield counts
