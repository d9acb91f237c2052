"""Calls in the thread that `asgiref` keeps for code that may block, several to a hop.

A hop to a thread costs more than most of what is called there. So the calls that wait for the
same thread stand in one line, and one hop makes all that are in it. Each keeps its own context,
and its result is handed over as soon as it is there: another in the line may be waiting for it.
A call that many may want made once for all has a hop of its own, as long as there is no line.
"""

from __future__ import annotations

import asyncio
from collections import deque
from contextvars import Context, ContextVar, copy_context
from functools import partial
from types import coroutine
from typing import TYPE_CHECKING, Any, Final, TypeAlias

import asgiref.local
import asgiref.sync
from asgiref.sync import AsyncToSync, SyncToAsync, sync_to_async

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Generator
    from types import TracebackType


class _Hop:
    """What is the same for all calls that a thread makes in a row."""

    __slots__ = ("at_home", "mark", "nested")

    def __init__(self) -> None:
        # Is this the one thread that cannot wait for itself? The contexts of the calls do not know.
        is_marked = _deadlock is not None and _deadlock.get(False)
        self.mark: ContextVar[bool] | None = _deadlock if is_marked else None
        # What `async_to_sync` runs for a call in this thread, `asgiref` lists here.
        self.nested: list[asyncio.Task[object]] | None = getattr(
            SyncToAsync.threadlocal, "task_context", None
        )
        # The data of `Local`s, each with what this thread owns of the same: mostly, all calls have
        # the same data.
        self.at_home: dict[object, object] = {}


class _ThreadCall:
    """A call that waits for its turn, or has had it.

    Args:
        call: What to call.
    """

    __slots__ = ("_call", "_error", "_nested", "_result", "context", "future")

    def __init__(self, call: Callable[[], object]) -> None:
        self._call: Callable[[], object] | None = call
        self._result: object = None
        self._error: BaseException | None = None
        self._nested: list[asyncio.Task[object]] | None = None
        # What to await until the call has been made, or will not be made.
        self.future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.context: Context = copy_context()

    def make(self, hop: _Hop) -> None:
        """Make the call, in the thread.

        Args:
            hop: The hop that it is a part of.
        """
        call = self._call
        if call is None:
            return  # given up
        self._nested = hop.nested
        try:
            self._result = self.context.run(self._make, call, hop)
        except BaseException as error:  # noqa: BLE001 - it is raised where the result is taken
            self._error = error
        finally:
            self._nested = None

    def _make(self, call: Callable[[], object], hop: _Hop) -> object:
        _take_storages(self.context, hop.at_home)
        if hop.mark is None:
            return call()
        token = hop.mark.set(True)
        try:
            return call()
        finally:
            hop.mark.reset(token)

    def hand_over(self, error: BaseException | None = None) -> None:
        """Wake up who waits for the call.

        Args:
            error: Why the call has not been made.
        """
        if error is not None:
            self._error = error
        if not self.future.done():
            self.future.set_result(None)

    def give_up(self) -> None:
        """Do without the call."""
        # If it is being made, it cannot be stopped, but what it awaits can.
        self._call = None
        for task in (self._nested or [])[:1]:
            task.cancel()

    def result(self) -> Any:
        """Return or raise what came of the call."""
        if self._error is not None:
            raise self._error
        return self._result


class _Line:
    """The calls that wait for one thread."""

    def __init__(self, thread: object) -> None:
        self.waiting: deque[_ThreadCall] = deque()
        self._made: deque[_ThreadCall] = deque()
        # Those that have to be handed over; for the thread of the loop alone.
        self._open: set[_ThreadCall] = set()
        self._thread = thread
        self._loop = asyncio.get_running_loop()
        self._timer: asyncio.TimerHandle | None = None

    def open(self) -> None:
        """Begin to make the calls, in a task that goes on when one that waits is cancelled."""
        _lines[self._thread] = self
        try:
            self._runner = self._loop.create_task(self._run())
        except BaseException as error:
            self._close(error)
            raise
        self._runner.add_done_callback(lambda _: self._close())  # it may never have run

    async def _run(self) -> None:
        try:
            while self.waiting:
                count = len(self.waiting)
                if count > 1 and self._timer is None:
                    self._hand_over_meanwhile()
                # Not those that join while it runs: other code wants the thread as well.
                await _make(self, count)
                self._hand_over()
        except Exception as error:  # noqa: BLE001 - they are told
            self._close(error)
        finally:
            self._close()

    def _close(self, error: BaseException | None = None) -> None:
        """Let nobody join any more, and tell those whose calls will not be made."""
        if _lines.get(self._thread) is self:
            del _lines[self._thread]
        if self._timer is not None:
            self._timer.cancel()
        if self.is_dead:
            return  # so is whoever waits
        self._hand_over()
        self.waiting.clear()
        while self._open:
            self._open.pop().hand_over(error or asyncio.CancelledError())

    def add(self, item: _ThreadCall) -> None:
        """Let a call wait for its turn."""
        self._open.add(item)
        self.waiting.append(item)

    @property
    def is_dead(self) -> bool:
        """Whether the loop was closed without ending its tasks."""
        return self._loop.is_closed()

    def make(self, count: int) -> None:
        """Make some of the calls, in the thread."""
        hop = _Hop()
        for _ in range(count):
            try:
                item = self.waiting.popleft()
            except IndexError:
                return  # they were told that the loop is ending
            item.make(hop)
            self._made.append(item)

    def _hand_over(self) -> None:
        while self._made:
            item = self._made.popleft()
            if item in self._open:  # else it was told that the loop is ending
                self._open.remove(item)
                item.hand_over()

    def _hand_over_meanwhile(self) -> None:
        # A call may wait for what follows from the one before it. Waking up the loop after each
        # would cost more than the calls do.
        self._hand_over()
        self._timer = self._loop.call_later(_MEANWHILE, self._hand_over_meanwhile)


_MEANWHILE: Final = 0.002  # seconds

_lines: Final[dict[object, _Line]] = {}


@sync_to_async
def _make(line: _Line, count: int) -> None:
    line.make(count)


def _join(item: _ThreadCall, thread: object) -> None:
    line = _lines.get(thread)
    if line is None:
        for key, other in list(_lines.items()):
            if other.is_dead:
                _lines.pop(key, None)
        line = _Line(thread)
        line.add(item)
        line.open()
    else:
        line.add(item)


async def call_in_thread(call: Callable[[], object]) -> Any:
    """Make a call in the thread that `asgiref` keeps for code that is not thread-safe.

    It is made with this context, and what it does to context variables shows here, as with
    `asgiref.sync.sync_to_async`. If this is cancelled, nothing of that shows.

    Args:
        call: What to call. It must not raise `StopIteration`.

    Returns:
        What it returns.
    """
    item = _ThreadCall(call)
    _join(item, _own_thread())
    try:
        await item.future
    except asyncio.CancelledError:
        item.give_up()
        raise
    _take_over_changes(item.context)
    return item.result()


class SharedCall:
    """A call that several may wait for, which one of them makes.

    Args:
        call: What to call.
    """

    __slots__ = ("_call", "_error", "_loop", "_result", "_traceback", "_waiting", "is_made")

    def __init__(self, call: Callable[[], object]) -> None:
        self._call: Callable[[], object] | None = call
        self._result: object = None
        self._error: BaseException | None = None
        self._traceback: TracebackType | None = None
        self._loop = asyncio.get_running_loop()
        # One for each that waits: cancelling one must not cancel the others.
        self._waiting: list[asyncio.Future[None]] = []
        self.is_made: bool = False

    def make(self) -> None:
        """Make the call, in the thread."""
        call, self._call = self._call, None
        assert call is not None  # noqa: S101 - it is made once
        try:
            self._result = call()
        except BaseException as error:  # noqa: BLE001 - it is raised where the result is taken
            self._error, self._traceback = error, error.__traceback__
        # If who makes it was cancelled, and so what the call awaits, that concerns no other.
        self.is_made = not isinstance(self._error, asyncio.CancelledError)

    def wait(self) -> asyncio.Future[None]:
        """Return what to await until the call has been made, or who makes it is cancelled."""
        future = self._loop.create_future()
        self._waiting.append(future)
        return future

    def hand_over(self) -> None:
        """Wake up all who wait."""
        if self._loop.is_closed():
            return  # without ending its tasks
        for future in self._waiting:
            if not future.done():
                future.set_result(None)

    def result(self) -> Any:
        """Return or raise what came of the call."""
        if self._error is not None:
            # Raising it adds to its traceback, which must not grow with each that has waited.
            raise self._error.with_traceback(self._traceback)
        return self._result


Shared: TypeAlias = dict[object, SharedCall]
"""The calls of one function that somebody waits for, by thread."""

_alone: Final[set[object]] = set()
"""The threads in which shared calls are made that stand in no line."""


@sync_to_async
def _make_alone(item: SharedCall) -> None:
    item.make()


@coroutine
def _await_in(context: Context, awaited: Coroutine[Any, None, None]) -> Generator[Any, None, None]:
    """Await something with a context of its own, without the price of a task.

    Raises:
        CancelledError: This was cancelled, whatever has come of it.
    """
    step: Callable[[], object] = partial(awaited.send, None)
    cancelled: asyncio.CancelledError | None = None
    while True:
        try:
            waiting_for = context.run(step)
        except StopIteration:
            break
        try:
            yield waiting_for
        except GeneratorExit:
            context.run(awaited.close)
            raise
        except BaseException as error:  # noqa: BLE001 - what is awaited is told
            if isinstance(error, asyncio.CancelledError):
                cancelled = error
            step = partial(awaited.throw, error)
        else:
            step = partial(awaited.send, None)
    if cancelled is not None:
        raise cancelled


async def call_once_in_thread(shared: Shared, call: Callable[[], object]) -> Any:
    """Make a call in the thread once for all who want it made at a time.

    It is made with the context of one of them, and what it does to context variables shows
    there alone. If that one is cancelled, nothing of that shows, and the next makes it anew.

    Args:
        shared: The calls that somebody waits for, all of the same function.
        call: What to call, as in `call_in_thread`.

    Returns:
        What it returns.
    """
    thread = _own_thread()
    while (item := shared.get(thread)) is not None:
        await item.wait()
        if item.is_made:
            return item.result()
    item = shared[thread] = SharedCall(call)
    try:
        if thread in _alone or thread in _lines:
            await call_in_thread(item.make)
        else:
            # Mostly there is nobody else to share a hop with, nor a line needed for one.
            _alone.add(thread)
            try:
                context = copy_context()
                await _await_in(context, _make_alone(item))
                _take_over_changes(context)
            finally:
                _alone.discard(thread)
    finally:
        del shared[thread]
        item.hand_over()
    return item.result()


def shared_call(shared: Shared) -> SharedCall | None:
    """Return the call that would be shared here, if somebody waits for one.

    Args:
        shared: The calls that somebody waits for.
    """
    return shared.get(_own_thread())


def _own_thread() -> object:
    """Identify the thread that `asgiref` would choose here, by what it chooses it by.

    Code for another thread must not be waited for: that thread may be waiting for this code.
    """
    loop = asyncio.get_running_loop()
    try:
        thread = None
        if _executors is None or _executors.get(None):
            thread = getattr(AsyncToSync.executors, "current", None)
        if thread is None:
            thread = SyncToAsync.thread_sensitive_context.get(None)
        if thread is None and _deadlock is not None and _deadlock.get(False):
            return object()  # not shared: mostly, `asgiref` refuses
    except AttributeError:
        return object()  # another version of it: each call for itself
    return loop, thread


def _storage_of(local: Any) -> ContextVar[Any] | None:
    storage: Any = getattr(getattr(local, "_storage", None), "_data", None)
    is_variable: bool = issubclass(type(storage), ContextVar)
    return storage if is_variable else None


# Not public. Without a sync caller there is nothing in it, and asking it is a hundred times as fast
# as asking for an attribute that is not there.
_executors: Final = _storage_of(AsyncToSync.executors)
_deadlock: ContextVar[bool] | None = getattr(SyncToAsync, "deadlock_context", None)


_UNSET: Final = object()


def _take_storages(context: Context, at_home: dict[object, object]) -> None:
    """Let this thread own the data of `Local`s, which each thread sees only of its own.

    Args:
        context: The context that has the data.
        at_home: What this thread owns already.
    """
    for var, value in context.items():
        if type(value) is _STORAGE:
            own = at_home.get(value)
            if own is None:
                own = at_home[value] = _rehome(value)
            var.set(own)


def _take_over_changes(context: Context) -> None:
    """Let what has changed in a context show here, but not whether `asgiref` has marked it."""
    if _has_changed(context):
        is_marked = _deadlock is not None and _deadlock.get(False)
        _take_over(context)
        if _deadlock is not None:
            _deadlock.set(is_marked)


def _has_changed(context: Context) -> bool:
    """Tell whether anything in a context is not what it is here."""
    for var, value in context.items():
        if var is _deadlock:
            continue
        try:
            here = var.get()  # a default is as good as a value
        except LookupError:
            return True
        # Of the data of a `Local`, each thread has an envelope of its own.
        if here is not value and (
            type(value) is not _STORAGE
            or getattr(here, "data", here) is not getattr(value, "data", value)
        ):
            return True
    return False


def _set_variables(context: Context) -> None:
    for var, value in context.items():
        if var.get(_UNSET) is not value:
            var.set(value)


# Not public, but the only way to have also its `Local` data where the context is used.
_take_over: Callable[[Context], None] = getattr(asgiref.sync, "_restore_context", _set_variables)
_STORAGE: Final = getattr(asgiref.local, "_Storage", object())
_rehome: Callable[[Any], Any] = getattr(asgiref.local, "_rehome", lambda storage: storage)
