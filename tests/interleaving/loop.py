"""An event loop that runs ready callbacks in a chosen order, and cancels tasks where it is told."""

from __future__ import annotations

import asyncio
import heapq
from collections import Counter
from collections.abc import Coroutine
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

from .threads import Abandoned

if TYPE_CHECKING:
    from collections.abc import Callable, Generator
    from contextvars import Context

    from .threads import Threads

HOWS = ("now", "late", "twice")
EVERYBODY = "*"


class Cancellation(NamedTuple):
    """Cancel a task at one of its suspensions, or, as when a loop shuts down, all at one step.

    Args:
        task: The name of the task, or `EVERYBODY`.
        at: The number of the suspension, or of the step, from 1.
        how: ``now``: while it waits; ``late``: when what it waits for has come, but before it goes
            on; ``twice``: now, and again when it waits next.
    """

    task: str
    at: int
    how: str = "now"


class Steps(Coroutine[Any, Any, Any]):
    """A coroutine that tells when it is suspended, and when it has ended."""

    def __init__(
        self,
        inner: Coroutine[Any, Any, Any],
        suspended: Callable[[], None],
        ended: Callable[[], None],
    ) -> None:
        self._inner = inner
        self._suspended = suspended
        self._ended = ended

    def send(self, value: Any, /) -> Any:
        return self._step(self._inner.send, value)

    def throw(self, *error: Any) -> Any:
        return self._step(self._inner.throw, *error)

    def _step(self, step: Callable[..., Any], *arguments: Any) -> Any:
        try:
            waits_for = step(*arguments)
        except BaseException:
            self._ended()
            raise
        self._suspended()
        return waits_for

    def close(self) -> None:
        self._inner.close()

    def __await__(self) -> Generator[Any, Any, Any]:
        raise NotImplementedError  # tasks use `send` and `throw`


class Work:
    """A function that a thread runs, and the future of an event loop that tells what came of it."""

    def __init__(self, loop: ControlledLoop, function: Callable[[], Any]) -> None:
        self.future: asyncio.Future[Any] = loop.create_future()
        self._loop = loop
        self._function: Callable[[], Any] | None = function

    def __call__(self) -> None:
        function, self._function = self._function, None
        assert function is not None
        if self.future.cancelled():
            return
        tell: Callable[[Any], None] = self.future.set_result
        try:
            result = function()
        except BaseException as error:
            result, tell = error, self.future.set_exception
        with suppress(RuntimeError):  # the event loop may have ended
            self._loop.call_soon_threadsafe(self._tell, tell, result)
        if isinstance(result, Abandoned):
            raise result

    def _tell(self, tell: Callable[[Any], None], result: Any) -> None:
        if not self.future.done():
            tell(result)


class Monitor:
    """What the event loops of one schedule tell, and are told."""

    def __init__(self, plan: Cancellation | None) -> None:
        self.plan = plan
        self.suspensions: Counter[str] = Counter()
        self.steps = 0
        self.noise: list[str] = []
        self.cancelled: list[str] = []  # the names of those whom the plan has cancelled


class ControlledLoop(asyncio.BaseEventLoop):
    """An event loop without input and output, in a controlled thread, with the schedule's time."""

    def __init__(self, threads: Threads, monitor: Monitor, name: str) -> None:
        super().__init__()
        self._threads = threads
        self._monitor = monitor
        self._name = name
        self._created = 0
        self._doomed: list[asyncio.Task[Any]] = []
        self._targets: list[asyncio.Task[Any]] = []
        self._hops: set[int] = set()  # by identity: what complains may be half gone
        self.set_exception_handler(self._note)

    def time(self) -> float:
        return self._threads.now

    def create_task(
        self,
        coro: Any,
        *,
        name: str | None = None,
        context: Context | None = None,
    ) -> asyncio.Task[Any]:
        self._created += 1
        # asyncio's own names count all tasks of the process.
        title = name or f"{self._name}.{self._created}"
        call = self._threads.call_of(coro)

        def end() -> None:
            if call is not None:
                self._threads.end_call(call)

        steps = Steps(coro, lambda: self._suspended(title), end)
        task: asyncio.Task[Any] = asyncio.Task(steps, loop=self, name=title, context=context)
        if name is not None:
            self._targets.append(task)
        return task

    def call_soon_threadsafe(
        self, callback: Any, *args: Any, context: Context | None = None
    ) -> asyncio.Handle:
        handle = super().call_soon_threadsafe(callback, *args, context=context)
        if callback == self.create_task:  # this is how `async_to_sync` begins, which then waits
            self._threads.await_call(args[0])
        return handle

    def run_in_executor(self, executor: Any, func: Any, *args: Any) -> asyncio.Future[Any]:
        work = Work(self, partial(func, *args))
        self._hops.add(id(work.future))
        self._threads.submit(executor, work)
        return work.future

    async def shutdown_default_executor(self, *_timeout: Any) -> None:
        pass

    def _write_to_self(self) -> None:
        pass

    def _process_events(self, event_list: object) -> None:
        raise NotImplementedError

    def _note(self, _loop: object, context: dict[str, Any]) -> None:
        # Whether the exception of a thread given up is lost is a matter of asgiref.
        if id(context.get("future")) in self._hops:
            return
        self._monitor.noise.append(
            f"{context.get('message')}: {context.get('exception')!r} {context.get('task')}"
        )

    # The steps

    def _run_once(self) -> None:
        self._threads.pause()
        if not self._can_go_on():
            self._threads.wait_until(self._can_go_on, self._deadline)
        scheduled, ready = self._scheduled, self._ready  # type: ignore[attr-defined]
        while scheduled and scheduled[0].when() <= self.time():
            handle = heapq.heappop(scheduled)
            handle._scheduled = False
            ready.append(handle)
        handle = self._take()
        if handle is None:
            return
        self._monitor.steps += 1
        handle._run()
        handle = None  # or it would be kept alive
        self._cancel()

    def _can_go_on(self) -> bool:
        deadline = self._deadline()
        return (
            bool(self._ready)  # type: ignore[attr-defined]
            or self._stopping  # type: ignore[attr-defined]
            or (deadline is not None and deadline <= self.time())
        )

    def _deadline(self) -> float | None:
        scheduled = self._scheduled  # type: ignore[attr-defined]
        while scheduled and scheduled[0].cancelled():
            heapq.heappop(scheduled)._scheduled = False
        return scheduled[0].when() if scheduled else None

    def _take(self) -> Any:
        """Take one of the callbacks that are ready; those of one task keep their order."""
        ready = self._ready  # type: ignore[attr-defined]
        if ready and self._threads.choices.keeps_order:
            first = ready.popleft()
            return None if first.cancelled() else first
        handles, names, owners = [], [], set()
        for handle in ready:
            owner = getattr(handle._callback, "__self__", handle)
            if id(owner) not in owners:
                owners.add(id(owner))
                handles.append(handle)
                names.append(owner.get_name() if isinstance(owner, asyncio.Task) else "callback")
        if not handles:
            return None
        chosen = handles[self._threads.choices.next(self._name, names)]
        ready.remove(chosen)
        return None if chosen.cancelled() else chosen

    # Cancelling

    def _suspended(self, name: str) -> None:
        monitor = self._monitor
        monitor.suspensions[name] += 1
        task = asyncio.current_task()
        plan = monitor.plan
        if plan and plan[:2] == (name, monitor.suspensions[name]) and task is not None:
            self._doomed.append(task)

    def _cancel(self) -> None:
        plan = self._monitor.plan
        if plan is None:
            return
        if plan.task == EVERYBODY:
            if plan.at == self._monitor.steps:
                for task in self._targets:
                    self._cancel_one(task)
            return
        for task in self._doomed[:]:
            waits_for = task._fut_waiter  # type: ignore[attr-defined]
            if plan.how == "late" and not (waits_for is None or waits_for.done()):
                continue
            self._doomed.remove(task)
            self._cancel_one(task)
            if plan.how == "twice":
                self._monitor.plan = plan._replace(at=plan.at + 1, how="now")

    def _cancel_one(self, task: asyncio.Task[Any]) -> None:
        if task.cancel("by the schedule"):
            self._monitor.cancelled.append(task.get_name())
