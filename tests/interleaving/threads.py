"""Threads of which one runs at a time, and which change places only where the choices say so.

They are real threads, with connections, thread-local values and contexts of their own, but each
waits for its turn. So races between threads can be tried and replayed, and a deadlock is seen at
once: nobody can go on.
"""

from __future__ import annotations

import contextvars
import sys
import threading
import time
import traceback
from collections import deque
from collections.abc import Callable
from concurrent.futures import Executor, ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import FrameType

    from .choices import Choices

PATIENCE = 60  # seconds; a schedule takes milliseconds
TICK = 0.01  # seconds between two looks at a thread
LOOKS = 5  # at the same place, after which it counts as stuck
MANY = 100_000  # steps, in a schedule that has hundreds

Condition = Callable[[], bool]


class Abandoned(BaseException):
    """Ends a thread whose schedule is over."""


class Deadlock(Exception):
    """Nobody can go on."""


class Call:
    """A call of `async_to_sync`: its thread waits, and runs what comes back to it meanwhile."""

    def __init__(self, thread: Controlled) -> None:
        self.thread = thread
        self.works = 0
        self.is_over = False


class Controlled:
    """A thread that runs when it is its turn."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.ident: int | None = None
        self.ready: Condition | None = None  # what it waits for
        self.deadline: Callable[[], float | None] | None = None  # when it need not wait any longer
        self.is_idle = False  # it waits for work
        self.is_away = False  # it waits for the last of its calls of `async_to_sync`
        self.is_interrupted = False  # somewhere in the library
        self.is_stuck = False  # it waits for a lock of the library, in another thread's turn
        self.calls: list[Call] = []
        self.turn = threading.Lock()  # whoever may go on finds it released
        self.turn.acquire()

    def can_run(self) -> bool:
        if self.is_away:
            return self.calls[-1].works > 0
        return not self.is_stuck and (self.ready is None or self.ready())


class Threads:
    """All threads of one schedule."""

    def __init__(self, choices: Choices) -> None:
        self.choices = choices
        self.now = 0.0  # the time, for all event loops
        self.failure: BaseException | None = None
        self.preempt_in = ""  # where the code is that may be interrupted between any two lines
        self.preempt_rate = 0.0
        self.enter: Callable[[], object] = object  # each thread does this first,
        self.leave: Callable[[], object] = object  # and this in the end
        self._alive: list[Controlled] = []
        self._known: dict[int, Controlled] = {}  # by the number of the real thread
        self._workers: dict[Executor, deque[Callable[[], None]]] = {}
        self._lent: dict[Executor, Call] = {}
        self._calls: dict[int, Call] = {}  # by the coroutine that asgiref makes of it
        self._turn: Controlled | None = None
        self._is_over = False
        self._quiet = 0
        self._workers_count = 0
        self._all_ended = threading.Event()

    # Called from outside

    def run(self, name: str, function: Callable[[], object]) -> None:
        """Start a first thread, and wait until it and all that it has started have ended."""
        self._hand_over(self.spawn(name, function))
        seen: Any = None
        looks = 0
        while not self._all_ended.wait(TICK):
            thread = self._turn
            assert thread is not None
            frame = sys._current_frames().get(thread.ident or 0)
            now = thread, self.choices.steps, id(frame), frame and frame.f_lasti
            looks = looks + 1 if now == seen else 0
            seen = now
            is_inside = frame and frame.f_code.co_filename.startswith(self.preempt_in)
            others = [other for other in self._alive if other.is_interrupted]
            if looks == LOOKS and is_inside and others and not self._is_over:
                # It seems to want a lock that a thread holds which has been interrupted.
                thread.is_stuck = True
                self._hand_over(self._next())
            elif looks * TICK > PATIENCE:
                self._is_over = True
                raise TimeoutError(f"A thread waits for what is not controlled.\n{self._report()}")

    # Called by the thread whose turn it is

    def spawn(self, name: str, function: Callable[[], object]) -> Controlled:
        """Start a thread; it begins when it gets its turn."""
        thread = Controlled(name)
        self._alive.append(thread)

        def work() -> None:
            contextvars.Context().run(self._work, thread, function)

        threading.Thread(target=work, daemon=True).start()
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
        self._known[threading.get_ident()].is_idle = is_idle
        self._wait(ready, deadline)

    @contextmanager
    def undisturbed(self) -> Iterator[None]:
        """Keep the turn for the length of a block."""
        self._quiet += 1
        try:
            yield
        finally:
            self._quiet -= 1

    # Work for threads, from event loops

    def submit(self, executor: Executor | None, work: Callable[[], None]) -> None:
        """Give work to a thread that stands for the thread of an executor."""
        if executor is None:
            self._workers_count += 1
            self.spawn(f"worker{self._workers_count}", work)
        elif isinstance(executor, ThreadPoolExecutor):
            if executor not in self._workers:
                works = self._workers[executor] = deque()
                self.spawn(f"hop{len(self._workers)}", lambda: self._serve(works))
            self._workers[executor].append(work)
        else:
            self._lend(executor, work)

    def _serve(self, works: deque[Callable[[], None]]) -> None:
        while True:
            self.wait_until(lambda: bool(works), is_idle=True)
            works.popleft()()

    def _lend(self, executor: Executor, work: Callable[[], None]) -> None:
        """Give work to a thread that waits in `async_to_sync`, which runs it itself."""
        is_taken = threading.Event()

        def run() -> None:
            thread = self._known[threading.get_ident()]
            call = self._lent.setdefault(executor, thread.calls[-1])
            is_taken.set()
            thread.turn.acquire()
            if self._is_over:
                return
            thread.is_away = False
            try:
                work()
            finally:
                call.works -= 1
                if call.is_over and not call.works:
                    thread.calls.pop()
                else:
                    thread.is_away = True
                    self._hand_over(self._next())

        executor.submit(run)
        # The first time, it tells whose executor it is; nothing else can keep it from that.
        if executor not in self._lent and not is_taken.wait(PATIENCE):
            raise TimeoutError("Nobody takes the work.")
        self._lent[executor].works += 1

    def await_call(self, coroutine: object) -> None:
        """Give up the turn: the thread is about to wait for an event loop."""
        thread = self._known[threading.get_ident()]
        self._calls[id(coroutine)] = self._begin_call(thread)
        self._hand_over(self._next())

    def call_of(self, coroutine: object) -> Call | None:
        return self._calls.pop(id(coroutine), None)

    def _begin_call(self, thread: Controlled) -> Call:
        call = Call(thread)
        thread.calls.append(call)
        thread.is_away = True
        return call

    def end_call(self, call: Call) -> None:
        """Let the thread go on that has waited for a call: it does so anyway."""
        if not self._is_over:
            thread = self._known[threading.get_ident()]
            self._resume(call)
            self._await_turn(thread)

    def _resume(self, call: Call) -> None:
        call.is_over = True
        if call.works:
            self._hand_over(call.thread)
        else:
            call.thread.calls.pop()
            call.thread.is_away = False
            self._turn = call.thread

    @contextmanager
    def counted_in(self, name: str) -> Iterator[None]:
        """Count in this thread, if asgiref has started it for a call of the one whose turn it is.

        From here to where that one waits, it runs nothing but asgiref.
        """
        if threading.get_ident() in self._known:
            yield
            return
        assert self._turn is not None
        call = self._begin_call(self._turn)
        thread = self._turn = Controlled(name)
        self._alive.append(thread)
        with self._running(thread):
            try:
                yield
            finally:
                self._alive.remove(thread)
                if not self._is_over:
                    self._resume(call)

    # The turns

    def _wait(self, ready: Condition | None, deadline: Callable[[], float | None] | None) -> None:
        thread = self._known.get(threading.get_ident())
        if thread is None:
            return
        if self._is_over:
            raise Abandoned
        self._rejoin(thread)
        thread.ready, thread.deadline = ready, deadline
        following = self._next()
        if following is not thread:
            self._hand_over(following)
            thread.turn.acquire()
        thread.ready = thread.deadline = None
        thread.is_idle = False
        if self._is_over:
            raise Abandoned

    def _await_turn(self, thread: Controlled) -> None:
        thread.turn.acquire()
        if self._is_over:
            raise Abandoned

    def _rejoin(self, thread: Controlled) -> None:
        if thread.is_stuck:  # no more
            thread.is_stuck = False
            self._await_turn(thread)

    def _hand_over(self, following: Controlled) -> None:
        self._turn = following
        following.turn.release()

    def _next(self) -> Controlled:
        if self._is_over:
            return self._last()
        if self.choices.steps > MANY:
            return self._give_up(Deadlock("It never ends."))
        looks = 0
        while True:
            stuck = [thread for thread in self._alive if thread.is_stuck]
            if stuck:  # let them go on to where they see that it is not their turn, if they can
                time.sleep(TICK / 10)
            able = [thread for thread in self._alive if thread.can_run()]
            times = [
                when
                for thread in self._alive
                if thread.deadline is not None and (when := thread.deadline()) is not None
            ]
            # A timer may fire while there are other things to do: they may take long.
            if times and (not able or self.choices.chance(0.02)):
                self.now = max(self.now, min(times))
                continue
            if able:
                return able[self.choices.next("thread", [thread.name for thread in able])]
            if all(thread.is_idle for thread in self._alive):
                return self._give_up(None)
            looks += 1
            if stuck and looks * TICK < PATIENCE:
                continue
            return self._give_up(Deadlock("Nobody can go on."))

    def _give_up(self, failure: BaseException | None) -> Controlled:
        if failure is not None:
            failure.add_note(self._report())
        self.failure = failure
        self._is_over = True
        return self._last()

    def _last(self) -> Controlled:
        return next(t for t in reversed(self._alive) if not t.is_away and not t.is_stuck)

    def _work(self, thread: Controlled, function: Callable[[], object]) -> None:
        thread.turn.acquire()
        with self._running(thread):
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
        self._alive.remove(thread)
        if all(thread.is_away or thread.is_stuck for thread in self._alive):
            # Whoever is still there, after a deadlock, waits for what will not come.
            self._all_ended.set()
        else:
            self._hand_over(self._next())

    @contextmanager
    def _running(self, thread: Controlled) -> Iterator[None]:
        ident = thread.ident = threading.get_ident()
        self._known[ident] = thread
        traced = sys.gettrace()
        if self.preempt_rate:
            sys.settrace(self._trace)
        try:
            yield
        finally:
            sys.settrace(traced)
            del self._known[ident]

    def _trace(self, frame: FrameType, event: str, _argument: object) -> Any:
        return self._trace_line if frame.f_code.co_filename.startswith(self.preempt_in) else None

    def _trace_line(self, frame: FrameType, event: str, _argument: object) -> Any:
        if event == "line" and (thread := self._known.get(threading.get_ident())):
            thread.is_interrupted = True
            self._rejoin(thread)
            if self.choices.chance(self.preempt_rate):
                self.pause()
            thread.is_interrupted = False
        return self._trace_line

    def _report(self) -> str:
        frames = sys._current_frames()
        parts = []
        for thread in self._alive:
            places = [
                f"{Path(place.filename).name}:{place.lineno}"
                for place in traceback.extract_stack(frames.get(thread.ident or 0))
                if place.filename != __file__
            ]
            waits = "has nothing to do" if thread.is_idle else f"is at {' > '.join(places)}"
            parts.append(f"Thread {thread.name} {waits}")
        return "\n".join(parts)
