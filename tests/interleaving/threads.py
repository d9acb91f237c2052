"""Threads of which one runs at a time, and which change places only where the choices say so.

They are real threads, with connections, thread-local values and contexts of their own, but each
waits for its turn. So races between threads can be tried, and replayed, and a deadlock is seen at
once: nobody can go on.
"""

from __future__ import annotations

import contextvars
import queue
import sys
import threading
import traceback
from collections import deque
from collections.abc import Callable
from concurrent.futures import Executor, Future
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import FrameType

    from .choices import Choices

PATIENCE = 60  # seconds; a schedule takes milliseconds
MANY = 100_000  # steps, in a schedule that has hundreds

Condition = Callable[[], bool]


class Abandoned(BaseException):
    """Ends a thread whose schedule is over."""


class Deadlock(Exception):
    """Nobody can go on."""


class Carrier:
    """A real thread, which carries one controlled thread after the other.

    Database connections belong to real threads, and are dear to open.
    """

    def __init__(self) -> None:
        self._jobs: queue.SimpleQueue[Callable[[], None] | None] = queue.SimpleQueue()
        self._is_free = threading.Event()
        self._is_free.set()
        self._thread = threading.Thread(target=self._work, daemon=True)
        self._thread.start()

    @property
    def ident(self) -> int | None:
        return self._thread.ident

    def submit(self, job: Callable[[], None]) -> None:
        self._is_free.clear()
        self._jobs.put(job)

    def join(self) -> None:
        """Wait until nothing is left of the last job."""
        self._is_free.wait(PATIENCE)

    def stop(self, last: Callable[[], None]) -> None:
        self._jobs.put(last)
        self._jobs.put(None)
        self._thread.join(PATIENCE)

    def _work(self) -> None:
        while (job := self._jobs.get()) is not None:
            job()
            del job
            if self._jobs.empty():
                self._is_free.set()


class Controlled:
    """A thread that runs when it is its turn."""

    def __init__(self, name: str, carrier: Carrier) -> None:
        self.name = name
        self.carrier = carrier
        self.ready: Condition | None = None  # what it waits for
        self.deadline: Callable[[], float | None] | None = None  # when it need not wait any longer
        self.is_idle = False  # it waits for work
        self.turn = threading.Lock()  # whoever may go on finds it released
        self.turn.acquire()

    def can_run(self) -> bool:
        return self.ready is None or self.ready()


class Threads:
    """All threads of one schedule."""

    def __init__(self, choices: Choices, carriers: list[Carrier]) -> None:
        self.choices = choices
        self.now = 0.0  # the time, for all event loops
        self.failure: BaseException | None = None
        self.preempt_in = ""  # where the code is that may be interrupted between any two lines
        self.preempt_rate = 0.0
        self.describe: Callable[[], str] = str
        self.hops: Callable[[], int] = int  # counts the pieces of work of the thread for all
        self.enter: Callable[[], object] = object  # each thread does this first,
        self.leave: Callable[[], object] = object  # and this in the end
        self._carriers = carriers
        self._free = list(reversed(carriers))
        self._alive: list[Controlled] = []
        self._turn: Controlled | None = None
        self._is_over = False
        self._quiet = 0
        self._all_ended = threading.Event()

    # Called from outside

    def run(self, name: str, function: Callable[[], object]) -> None:
        """Start a first thread, and wait until it and all that it has started have ended."""
        first = self.spawn(name, function)
        self._turn = first
        first.turn.release()
        if not self._all_ended.wait(PATIENCE):
            report = self._report()
            self._is_over = True
            raise TimeoutError(f"A thread waits for something that is not controlled.\n{report}")
        for carrier in self._carriers:
            carrier.join()

    # Called by the thread whose turn it is

    def spawn(self, name: str, function: Callable[[], object]) -> Controlled:
        """Start a thread; it begins when it gets its turn."""
        if not self._free:
            carrier = Carrier()
            self._carriers.append(carrier)
        else:
            carrier = self._free.pop()
        thread = Controlled(name, carrier)
        self._alive.append(thread)
        carrier.submit(lambda: contextvars.Context().run(self._work, thread, function))
        return thread

    def pause(self) -> None:
        """Let others go first, perhaps."""
        if not self._quiet:
            self._wait(None, None)

    def wait_until(
        self,
        ready: Condition,
        deadline: Callable[[], float | None] | None = None,
        *,
        is_idle: bool = False,
    ) -> None:
        """Let others run until something has happened, or the time has come."""
        assert self._turn is not None
        self._turn.is_idle = is_idle
        self._wait(ready, deadline)

    @contextmanager
    def undisturbed(self) -> Iterator[None]:
        """Keep the turn for the length of a block."""
        self._quiet += 1
        try:
            yield
        finally:
            self._quiet -= 1

    def _wait(self, ready: Condition | None, deadline: Callable[[], float | None] | None) -> None:
        thread = self._turn
        if self._is_over:
            raise Abandoned
        assert thread is not None
        assert thread.carrier.ident == threading.get_ident()
        thread.ready, thread.deadline = ready, deadline
        following = self._next()
        if following is not thread:
            self._hand_over(following)
            thread.turn.acquire()
        thread.ready = thread.deadline = None
        thread.is_idle = False
        if self._is_over:
            raise Abandoned

    def _hand_over(self, following: Controlled) -> None:
        self._turn = following
        following.turn.release()

    def _next(self) -> Controlled:
        if self._is_over:
            return self._alive[-1]
        if self.choices.steps > MANY:
            return self._give_up(Deadlock("It never ends."))
        while True:
            able = [thread for thread in self._alive if thread.can_run()]
            times = [
                time
                for thread in self._alive
                if thread.deadline is not None and (time := thread.deadline()) is not None
            ]
            # A timer may fire while there are other things to do: they may take long.
            if times and (not able or self.choices.chance(0.02)):
                self.now = max(self.now, min(times))
                continue
            if able:
                return able[self.choices.next("thread", [thread.name for thread in able])]
            if all(thread.is_idle for thread in self._alive):
                return self._give_up(None)
            return self._give_up(Deadlock("Nobody can go on."))

    def _give_up(self, failure: BaseException | None) -> Controlled:
        if failure is not None:
            failure.add_note(self._report())
        self.failure = failure
        self._is_over = True
        return self._alive[-1]

    def _work(self, thread: Controlled, function: Callable[[], object]) -> None:
        thread.turn.acquire()
        traced = sys.gettrace()
        if self.preempt_rate:
            sys.settrace(self._trace)
        try:
            if not self._is_over:
                self.enter()
                function()
        except Abandoned:
            pass
        except BaseException as error:
            self.failure = self.failure or error
        finally:
            sys.settrace(traced)
            self.leave()
            self._alive.remove(thread)
            self._free.append(thread.carrier)
            if self._alive:
                self._hand_over(self._next())
            else:
                self._all_ended.set()

    def _trace(self, frame: FrameType, event: str, _argument: object) -> Any:
        return self._trace_line if frame.f_code.co_filename.startswith(self.preempt_in) else None

    def _trace_line(self, frame: FrameType, event: str, _argument: object) -> Any:
        if event == "line" and self.choices.chance(self.preempt_rate):
            self.pause()
        return self._trace_line

    def _report(self) -> str:
        frames = sys._current_frames()
        parts = [self.describe()]
        for thread in self._alive:
            frame = frames.get(thread.carrier.ident or 0)
            places = [
                f"{Path(place.filename).name}:{place.lineno}"
                for place in traceback.extract_stack(frame)
                if place.filename != __file__
            ]
            waits = "has nothing to do" if thread.is_idle else f"is at {' > '.join(places)}"
            parts.append(f"Thread {thread.name} {waits}")
        return "\n".join(parts)


class Lock:
    """A re-entrant lock whose waiters let others run."""

    def __init__(self, threads: Callable[[], Threads | None]) -> None:
        self._threads = threads
        self._holder: int | None = None
        self._count = 0

    def acquire(self, blocking: bool = True, timeout: float = -1) -> bool:
        me = threading.get_ident()
        if self._holder not in (None, me):
            threads = self._threads()
            if not blocking or threads is None:
                return False
            threads.wait_until(lambda: self._holder is None)
        self._holder = me
        self._count += 1
        return True

    def release(self) -> None:
        self._count -= 1
        if self._count == 0:
            self._holder = None

    def __enter__(self) -> bool:
        return self.acquire()

    def __exit__(self, *_exception: object) -> None:
        self.release()


class _Work:
    def __init__(self, function: Callable[[], Any]) -> None:
        self.future: Future[Any] = Future()
        self._function: Callable[[], Any] | None = function

    def run(self) -> None:
        function, self._function = self._function, None
        assert function is not None
        if not self.future.set_running_or_notify_cancel():
            return
        try:
            result = function()
        except BaseException as error:
            self.future.set_exception(error)
            if isinstance(error, Abandoned):
                raise
        else:
            self.future.set_result(result)


class ThreadExecutor(Executor):
    """Stands in for `concurrent.futures.ThreadPoolExecutor`.

    One thread does all the work, or, without a limit, each piece has a thread of its own.
    """

    def __init__(self, threads: Threads, name: str, max_workers: int | None = 1) -> None:
        self._threads = threads
        self._name = name
        self._max_workers = max_workers
        self._works: deque[_Work] = deque()
        self._thread: Controlled | None = None
        self._is_serving = False
        self._is_shut = False
        self.count = 0  # of pieces of work

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        if self._is_shut:
            raise RuntimeError("cannot schedule new futures after shutdown")
        work = _Work(lambda: fn(*args, **kwargs))
        self.count += 1
        if self._max_workers is None:
            self._threads.spawn(f"{self._name}{self.count}", work.run)
        else:
            self._works.append(work)
            if self._thread is None:
                self._is_serving = True
                self._thread = self._threads.spawn(self._name, self._serve)
        return work.future

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        self._is_shut = True
        if wait and self._thread is not None:
            self._threads.wait_until(lambda: not self._is_serving)

    def _serve(self) -> None:
        while True:
            self._threads.wait_until(lambda: bool(self._works) or self._is_shut, is_idle=True)
            if not self._works:
                self._is_serving = False
                return
            self._works.popleft().run()


class CurrentThreadExecutor(Executor):
    """Stands in for asgiref's: `async_to_sync` runs in its thread what comes back to it."""

    def __init__(self, threads: Threads, old_executor: CurrentThreadExecutor | None = None) -> None:
        self._threads = threads
        self._old_executor = old_executor
        self._works: deque[_Work] = deque()
        self._is_over = False
        self._ident = threading.get_ident()

    def run_until_future(self, future: Future[Any]) -> None:
        def end(_future: Future[Any]) -> None:
            self._is_over = True

        future.add_done_callback(end)
        while True:
            self._threads.wait_until(lambda: bool(self._works) or self._is_over)
            if not self._works:
                return
            self._works.popleft().run()

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        if threading.get_ident() == self._ident:
            raise RuntimeError("You cannot submit onto CurrentThreadExecutor from its own thread")
        executor: CurrentThreadExecutor | None = self
        while executor is not None and executor._is_over:
            executor = executor._old_executor
        if executor is None:
            raise RuntimeError("CurrentThreadExecutor already quit or is broken")
        work = _Work(lambda: fn(*args, **kwargs))
        executor._works.append(work)
        return work.future
