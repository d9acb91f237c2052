"""An event loop that runs ready callbacks in a chosen order, and cancels tasks where it is told."""

from __future__ import annotations

import asyncio
from collections import Counter
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

from .threads import Abandoned

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextvars import Context

    from .threads import Threads

HOWS = ("now", "late")
EVERYBODY = "*"


class Cancellation(NamedTuple):
    """Cancel a task at one of its suspensions, or all at one step, as when a loop shuts down.

    Args:
        task: The name of the task, or `EVERYBODY`.
        at: The number of the suspension, or of the step, from 1.
        how: ``now``: while it waits; ``late``: when what it waits for has come, but before it goes
            on.
    """

    task: str
    at: int
    how: str = "now"


class Work:
    """A function that a thread runs, and the future of the event loop for its result."""

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


class ControlledLoop(asyncio.BaseEventLoop):
    """An event loop without input and output, and without timers, in a controlled thread."""

    def __init__(self, threads: Threads, plan: Cancellation | None) -> None:
        super().__init__()
        self.suspensions: Counter[str] = Counter()  # of the tasks that have a name
        self.steps = 0
        self.noise: list[str] = []
        self.cancelled: list[str] = []  # the names of the tasks that the plan has cancelled
        self._threads = threads
        self._plan = plan
        self._created = 0
        self._doomed: asyncio.Task[Any] | None = None
        self._targets: list[asyncio.Task[Any]] = []
        self._hops: set[int] = set()  # by identity: what complains may be half gone
        self.set_exception_handler(self._note)

    def create_task(
        self, coro: Any, *, name: str | None = None, context: Context | None = None
    ) -> asyncio.Task[Any]:
        self._created += 1
        # asyncio's own names count all tasks of the process.
        title = name or f"task {self._created}"
        task: asyncio.Task[Any] = asyncio.Task(coro, loop=self, name=title, context=context)
        if name is not None:
            self._targets.append(task)
        return task

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
        # asgiref decides what happens to the exception of a thread that was given up.
        if id(context.get("future")) not in self._hops:
            self.noise.append(
                f"{context.get('message')}: {context.get('exception')!r} {context.get('task')}"
            )

    # The steps

    def _run_once(self) -> None:
        self._threads.wait_until(self._can_go_on)
        handle = self._take()
        if handle is None:
            return
        owner = getattr(handle._callback, "__self__", None)
        self.steps += 1
        handle._run()
        if owner in self._targets and not owner.done():
            self._suspended(owner)
        self._follow_plan()

    def close(self) -> None:
        self._targets.clear()  # which would be kept alive
        super().close()

    def _can_go_on(self) -> bool:
        return bool(self._ready or self._stopping)  # type: ignore[attr-defined]

    def _take(self) -> Any:
        """Take one of the callbacks that are ready; those of one task keep their order."""
        ready = self._ready  # type: ignore[attr-defined]
        handles: dict[int, Any] = {}
        names = []
        for handle in ready:
            owner = getattr(handle._callback, "__self__", handle)
            if handles.setdefault(id(owner), handle) is handle:
                names.append(owner.get_name() if isinstance(owner, asyncio.Task) else "callback")
        if not handles:
            return None
        is_first = self._threads.choices.keeps_order
        chosen = list(handles.values())[
            0 if is_first else self._threads.choices.next("loop", names)
        ]
        ready.remove(chosen)
        return None if chosen.cancelled() else chosen

    # Cancelling

    def _suspended(self, task: asyncio.Task[Any]) -> None:
        name = task.get_name()
        self.suspensions[name] += 1
        if self._plan is not None and self._plan[:2] == (name, self.suspensions[name]):
            self._doomed = task

    def _follow_plan(self) -> None:
        plan, task = self._plan, self._doomed
        if plan is not None and plan[:2] == (EVERYBODY, self.steps):
            for target in self._targets:
                self._cancel(target)
        if plan is None or task is None:
            return
        waits_for = task._fut_waiter  # type: ignore[attr-defined]
        if plan.how == "now" or waits_for is None or waits_for.done():
            self._doomed = None
            self._cancel(task)

    def _cancel(self, task: asyncio.Task[Any]) -> None:
        if task.cancel("by the schedule"):
            self.cancelled.append(task.get_name())
