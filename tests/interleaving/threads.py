"""Threads that run one at a time and change places only where the choices say so.

They are real threads, with connections, thread-local values and contexts of their own, but each
waits for its turn. So races between threads can be tried and replayed, and a deadlock is seen at
once: no thread can go on.
"""

from __future__ import annotations

import contextvars
import threading
from collections import deque
from concurrent.futures import Executor, ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable
    from concurrent.futures import Future

    from .choices import Choices

PATIENCE = 60  # seconds; a schedule takes milliseconds
MANY = 100_000  # steps, in a schedule that has hundreds


class Abandoned(BaseException):
    """Ends a thread whose schedule is over."""


class Deadlock(Exception):
    """No thread can go on."""


class CallEnded(RuntimeError):
    """A call of `async_to_sync` has ended, and its thread does no more work."""


class Controlled:
    """A thread that runs when it is its turn."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.ready: Callable[[], bool] = lambda: True  # whether it can go on
        self.is_idle = False  # it waits for work
        self.turn = threading.Lock()  # released when the thread may go on
        self.turn.acquire()


class Threads:
    """All threads of one schedule."""

    def __init__(self, choices: Choices) -> None:
        self.choices = choices
        self.failure: BaseException | None = None
        self.enter: Callable[[], object] = object  # each thread does this first,
        self.leave: Callable[[], object] = object  # and this in the end
        self._real: list[threading.Thread] = []
        self._alive: list[Controlled] = []
        self._known: dict[int, Controlled] = {}  # by the number of the real thread
        self._pools: dict[Executor, deque[Callable[[], None]]] = {}
        self._started = 0
        self._is_over = False

    # Called from outside

    def run(self, name: str, function: Callable[[], object]) -> None:
        """Start a first thread, and wait until it and all that it has started have ended."""
        self.spawn(name, function).turn.release()
        for thread in self._real:  # which grows meanwhile
            thread.join(PATIENCE)
            if thread.is_alive():
                self._is_over = True
                raise TimeoutError("A thread waits for what isn't controlled.")

    # Called by the thread whose turn it is

    def spawn(self, name: str, function: Callable[[], object]) -> Controlled:
        """Start a thread; it begins when it gets its turn."""
        thread = Controlled(name)
        self._alive.append(thread)

        def work() -> None:
            contextvars.Context().run(self._work, thread, function)

        self._real.append(threading.Thread(target=work, daemon=True))
        self._real[-1].start()
        return thread

    def pause(self) -> None:
        """Let the choices decide who goes on."""
        self.wait_until(lambda: True)

    def wait_until(self, ready: Callable[[], bool], *, is_idle: bool = False) -> None:
        """Let others run until something has happened."""
        thread = self._known[threading.get_ident()]
        thread.ready, thread.is_idle = ready, is_idle
        following = self._next()
        if following is not thread:
            following.turn.release()
            thread.turn.acquire()
        if self._is_over:
            raise Abandoned

    def submit(self, executor: Any, work: Callable[[], None]) -> None:
        """Give work of an event loop to the thread that stands for an executor."""
        if executor is None:
            self._started += 1
            self.spawn(f"worker{self._started}", work)
        elif isinstance(executor, ThreadPoolExecutor):
            if executor not in self._pools:
                works = self._pools[executor] = deque()
                self.spawn(f"hop{len(self._pools)}", lambda: self._serve(works))
            self._pools[executor].append(work)
        else:
            executor.lend(work)

    def _serve(self, works: deque[Callable[[], None]]) -> None:
        while True:
            self.wait_until(lambda: bool(works), is_idle=True)
            works.popleft()()

    # The turns

    def _next(self) -> Controlled:
        if self._is_over:
            return self._alive[-1]
        able = [thread for thread in self._alive if thread.ready()]
        if able and self.choices.steps < MANY:
            return able[self.choices.next("thread", [thread.name for thread in able])]
        if not all(thread.is_idle for thread in self._alive):
            self.failure = Deadlock("No thread can go on." if not able else "It never ends.")
        self._is_over = True
        return self._alive[-1]

    def _work(self, thread: Controlled, function: Callable[[], object]) -> None:
        thread.turn.acquire()
        ident = threading.get_ident()
        self._known[ident] = thread
        try:
            if not self._is_over:
                self.enter()
                function()
        except Abandoned:
            pass
        except BaseException as error:
            self.failure = self.failure or error
        finally:
            self.leave()
        del self._known[ident]
        self._alive.remove(thread)
        if self._alive:
            self._next().turn.release()


class LentThread:
    """A thread that waits in `async_to_sync`, and meanwhile does the work that comes back to it.

    It stands for asgiref's `CurrentThreadExecutor`.
    """

    def __init__(self, threads: Threads, outer: LentThread | None) -> None:
        self._threads = threads
        self._outer = outer
        self._works: deque[Callable[[], None]] = deque()
        self._is_over = False

    def run_until_future(self, future: Future[Any]) -> None:
        while self._works or not future.done():
            self._threads.wait_until(lambda: bool(self._works) or future.done())
            if self._works:
                self._works.popleft()()
        self._is_over = True

    def lend(self, work: Callable[[], None]) -> None:
        if not self._is_over:
            self._works.append(work)
        elif self._outer is not None:
            self._outer.lend(work)
        else:
            raise CallEnded
