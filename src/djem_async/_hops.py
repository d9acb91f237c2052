"""Calls in the thread that `asgiref` uses for thread-sensitive code, several to a hop.

A thread hop costs more than most of the calls that need one. `asgiref` chooses the thread by the
running event loop and the context. So calls whose contexts only differ in the library's own
variables go to the same thread and can share a hop. The first call makes its own hop. Those that
come meanwhile wait in line and are made together after it, each in a context of its own.
"""

from __future__ import annotations

import asyncio
from collections import deque
from contextvars import Context, ContextVar, copy_context
from functools import partial
from typing import TYPE_CHECKING, Any, Final, TypeAlias
from weakref import WeakKeyDictionary

from asgiref.sync import sync_to_async

from ._context import OWN

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable

_MOST_IN_A_HOP: Final = 100  # other code wants the thread as well

_Lines: TypeAlias = "dict[Hashable, _Line]"
_lines: Final[WeakKeyDictionary[asyncio.AbstractEventLoop, _Lines]] = WeakKeyDictionary()


async def call_in_thread(call: Callable[[], object]) -> Any:
    """Make a call in the thread that `asgiref` uses for thread-sensitive code.

    As with `asgiref.sync.sync_to_async`, the call runs with this context, and context variables
    that it changes are changed here afterwards.
    """
    context = copy_context()
    lines = _lines.setdefault(asyncio.get_running_loop(), {})
    # By identity, as `asgiref` compares.
    key = frozenset((var, id(value)) for var, value in context.items() if var not in OWN)
    line = lines.get(key)
    if line is not None:
        return await line.wait_for(call)
    line = lines[key] = _Line(context, partial(lines.pop, key))
    try:
        return await _in_thread(call)
    except asyncio.CancelledError:
        # The thread goes on, but `asgiref` has copied the current values of its variables here.
        for var, default in OWN.items():
            var.set(context.get(var, default))
        raise
    finally:
        line.go_on()


@sync_to_async
def _in_thread(call: Callable[[], Any]) -> Any:
    return call()


class _Line:
    """The calls that wait for the next hop.

    Args:
        context: The context of the first call.
        close: Prevents more calls from joining.
    """

    def __init__(self, context: Context, close: Callable[[], object]) -> None:
        self._context = context
        self._close = close
        self._waiting: list[_Waiting] = []
        self._made: deque[_Waiting] = deque()
        self._is_waking = False
        self._loop = asyncio.get_running_loop()
        self._task: asyncio.Task[None] | None = None  # the loop doesn't keep it alive

    async def wait_for(self, call: Callable[[], object]) -> Any:
        """Add a call to the line."""
        item = _Waiting(call)
        self._waiting.append(item)
        await item.future
        return item.result()

    def go_on(self) -> None:
        """Make the waiting calls, in a task that continues when one of them is cancelled."""
        if all(item.future.done() for item in self._waiting) or self._loop.is_closed():
            self._close()
        else:
            self._task = self._context.copy().run(self._loop.create_task, self._run())

    async def _run(self) -> None:
        items: list[_Waiting] = []
        try:
            while self._waiting:
                items = self._waiting[:_MOST_IN_A_HOP]
                del self._waiting[:_MOST_IN_A_HOP]
                await _in_thread(partial(self._make, items))
                self._hand_over()
        except BaseException as error:  # noqa: BLE001 - who waits is told
            for item in (*items, *self._waiting):
                item.hand_over(error)
        finally:
            self._close()

    def _make(self, items: list[_Waiting]) -> None:
        for number, item in enumerate(items, 1):
            item.make()
            self._made.append(item)
            # The next may wait for what follows from this one. The loop runs as soon as it does, or
            # in some milliseconds, and then hands over all that have been made by then.
            if number < len(items) and not self._is_waking:
                self._is_waking = True
                self._loop.call_soon_threadsafe(self._hand_over)

    def _hand_over(self) -> None:
        self._is_waking = False
        while self._made:
            self._made.popleft().hand_over()


class _Waiting:
    """A call that waits in line or has been made.

    Args:
        call: What to call.
    """

    def __init__(self, call: Callable[[], object]) -> None:
        self.future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._call = call
        self._context = copy_context()
        self._changes: list[tuple[ContextVar[Any], Any]] = []
        self._result: object = None
        self._error: BaseException | None = None

    def make(self) -> None:
        """Make the call in the thread, if its caller still waits for it."""
        if not self.future.done():
            try:
                # In a copy of the thread's own context, which has the variables that `asgiref` set.
                self._result = copy_context().run(self._make)
            except BaseException as error:  # noqa: BLE001 - it is raised where the result is taken
                self._error = error

    def _make(self) -> object:
        for var, default in OWN.items():
            var.set(self._context.get(var, default))
        before = copy_context()
        try:
            return self._call()
        finally:
            # The data of an `asgiref.local.Local` is bound to the thread, so don't pass it on.
            self._changes = [
                (var, value)
                for var, value in copy_context().items()
                if before.get(var, before) is not value
                and type(value).__module__ != "asgiref.local"
            ]

    def hand_over(self, error: BaseException | None = None) -> None:
        """Wake the caller."""
        if not self.future.done():
            self._error = error if self._error is None else self._error
            self.future.set_result(None)

    def result(self) -> Any:
        """Return the result of the call or raise its exception, and adopt its variables."""
        for var, value in self._changes:
            var.set(value)
        if self._error is not None:
            raise self._error
        return self._result
