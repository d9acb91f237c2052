"""Puts controlled threads and event loops in the place of asyncio's and asgiref's own."""

from __future__ import annotations

import asyncio
import sys
import threading
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any
from unittest.mock import patch

import asgiref.sync
from asgiref.sync import SyncToAsync

import djem_async

from .loop import ControlledLoop
from .threads import Carrier, CurrentThreadExecutor, Lock, ThreadExecutor, Threads

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from .choices import Choices
    from .loop import Monitor

PLAIN = {name: getattr(threading, name) for name in threading.__all__}
PACKAGE = str(Path(djem_async.__file__).parent)


class Control:
    """The schedule that is running, for the stand-ins to find."""

    def __init__(self) -> None:
        self.threads: Threads | None = None
        self._carriers: list[Carrier] = []
        self._monitor: Monitor | None = None
        self._loops = 0

    @contextmanager
    def schedule(self, choices: Choices, monitor: Monitor) -> Iterator[Threads]:
        """Prepare for one schedule."""
        threads = Threads(choices, self._carriers)
        threads.preempt_in = PACKAGE
        threads.leave = forget_thread
        threads.describe = monitor.describe
        self.threads, self._monitor, self._loops = threads, monitor, 0
        executor = ThreadExecutor(threads, "hop")
        threads.hops = lambda: executor.count
        try:
            with patch.object(SyncToAsync, "single_thread_executor", executor):
                yield threads
        finally:
            self.threads = self._monitor = None

    def run_loop(self, main: Any, **_options: Any) -> Any:
        """Stand in for `asyncio.run`."""
        with asyncio.Runner(loop_factory=self._new_loop) as runner:
            return runner.run(main)

    def _new_loop(self) -> ControlledLoop:
        assert self.threads is not None
        assert self._monitor is not None
        self._loops += 1
        loop = ControlledLoop(self.threads, self._monitor, f"loop{self._loops}")
        loop._default_executor = ThreadExecutor(self.threads, "worker", None)  # type: ignore[assignment]
        return loop

    @contextmanager
    def installed(self, last: Callable[[], None]) -> Iterator[None]:
        """Put the stand-ins in place, and stop the real threads in the end.

        Args:
            last: What each real thread does in the end.
        """
        with ExitStack() as stack:
            for target, name, value in self._stand_ins():
                stack.enter_context(patch.object(target, name, value))
            try:
                yield
            finally:
                for carrier in self._carriers:
                    carrier.stop(last)
                self._carriers.clear()

    def _stand_ins(self) -> Iterator[tuple[Any, str, Any]]:
        yield asyncio, "run", self.run_loop
        yield asgiref.sync, "ThreadPoolExecutor", self._executor
        yield asgiref.sync, "CurrentThreadExecutor", self._current_thread_executor
        yield asgiref.sync, "threading", SimpleNamespace(**{**PLAIN, "Thread": self._thread})
        # A lock of the library, all of which are re-entrant, may be held by a thread that has been
        # interrupted.
        kind = type(threading.RLock())
        module = SimpleNamespace(**{**PLAIN, "Lock": None, "RLock": self._lock})
        for name, library in list(sys.modules.items()):
            if name.partition(".")[0] == "djem_async":
                for attribute, value in list(vars(library).items()):
                    if value is threading:
                        yield library, attribute, module
                    elif value is threading.RLock or isinstance(value, kind):
                        made = self._lock if value is threading.RLock else self._lock()
                        yield library, attribute, made

    def _lock(self) -> Lock:
        return Lock(lambda: self.threads)

    def _thread(self, target: Callable[[], object], daemon: bool) -> SimpleNamespace:
        assert self.threads is not None
        return SimpleNamespace(start=partial(self.threads.spawn, "thread", target))

    def _executor(self, max_workers: int | None = None) -> ThreadExecutor:
        assert self.threads is not None
        return ThreadExecutor(self.threads, "new", max_workers)

    def _current_thread_executor(self, old: CurrentThreadExecutor | None = None) -> Any:
        assert self.threads is not None
        return CurrentThreadExecutor(self.threads, old)


def forget_thread() -> None:
    """Drop what asgiref keeps in this thread of the last event loop that it worked for."""
    vars(SyncToAsync.threadlocal).clear()
