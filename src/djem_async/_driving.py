"""Runs flows: the same rules, driven synchronously or asynchronously."""

import asyncio
from collections.abc import Callable, Coroutine
from functools import partial, wraps
from inspect import isawaitable
from types import CoroutineType
from typing import Any, TypeVar, cast

from asgiref.sync import async_to_sync, markcoroutinefunction

from ._flow import Call, Flow
from ._hops import call_in_thread
from ._pending import Pending
from ._running import Running
from ._twins import is_async
from .exceptions import AsyncMethodError, NotADecisionError

T = TypeVar("T")
AsyncMethod = TypeVar("AsyncMethod", bound=Callable[..., Coroutine[Any, Any, Any]])


def _ask(function: Callable[..., object], args: tuple[object, ...]) -> tuple[object, bool]:
    """Call a function, and tell whether its answer is to be awaited.

    Even that is to be asked where the function runs: a lazy object loads what it stands for.
    """
    try:
        answer = function(*args)
        kind = type(answer)
        return answer, kind is CoroutineType or (kind is not bool and isawaitable(answer))
    except StopIteration as error:
        # It would end the flow as if it were its result, and hangs a thread's future on
        # Python 3.11 and 3.12.
        raise RuntimeError(f"{function!r} raised StopIteration") from error


async def _resolve(answer: object) -> object:
    # In a loop: what a coroutine returns may be a coroutine that someone forgot to await.
    while answer is not None and type(answer) is not bool and isawaitable(answer):
        answer = await answer
    return answer


async def _await_form(call: Call, function: Callable[..., object]) -> object:
    answer, is_awaitable = _ask(function, call.args)
    if not is_awaitable:
        raise NotADecisionError(
            f"{getattr(function, '__qualname__', function)} must be `async def`: its name or its"
            f" mark says so, but it returned {answer!r}."
        )
    awaitable: Any = answer
    answer = await awaitable
    return answer if answer is None or type(answer) is bool else await _resolve(answer)


def _make(call: Call) -> object:
    function = call.function
    if function is None or (not call.is_plain and is_async(function)):
        async_function = function or call.async_function
        assert async_function is not None  # noqa: S101 - a call has at least one form
        try:
            asyncio.get_running_loop()
        except RuntimeError:
            return async_to_sync(_await_form)(call, async_function)
        raise AsyncMethodError(
            f"{call.label} is async, and a sync check cannot run it while this thread runs an"
            " event loop. Use `await user.ahas_perm(...)` instead of `user.has_perm(...)`."
        )
    answer, is_awaitable = _ask(function, call.args)
    if is_awaitable:
        close = getattr(answer, "close", None)
        if close is not None:
            close()
        raise NotADecisionError(
            f"{call.label} is a plain method, but returned {answer!r}, which a sync check cannot"
            " await. Declare it with `async def`, or use `await user.ahas_perm(...)`."
        )
    return answer


async def _amake(call: Call) -> object:
    """Make a call that has no async form."""
    function = call.function
    assert function is not None  # noqa: S101 - a call has at least one form
    if not call.is_plain and is_async(function):
        return await _await_form(call, function)
    # Found here: by the time that the thread is at it, the check may have been cancelled.
    running = Running.current()
    asked = partial(Running.hold, running, _ask, function, call.args)
    answer, is_awaitable = await call_in_thread(asked)
    return await _resolve(answer) if is_awaitable else answer


def run(flow: Flow[T]) -> T:
    """Run a flow to its end, making its calls synchronously.

    Args:
        flow: The flow.

    Returns:
        What the flow returns.

    Raises:
        AsyncMethodError: A call has no sync form, and this thread runs an event loop.
        NotADecisionError: A plain method returned an awaitable.
    """
    try:
        call = next(flow)
        while True:
            try:
                answer = _make(call)
            except BaseException as error:  # noqa: BLE001 - the flow decides what it means
                call = flow.throw(error)
            else:
                call = flow.send(answer)
    except StopIteration as end:
        result: T = end.value
        return result


async def arun(flow: Flow[T], first: Call | None = None) -> T:
    """Run a flow to its end, making its calls asynchronously.

    An async form is awaited, and a plain ``def`` runs in the thread that `asgiref` keeps for
    code that is not thread-safe, with this context.

    Args:
        flow: The flow.
        first: The call that the flow waits for, None if it has not begun.

    Returns:
        What the flow returns.
    """
    try:
        call = next(flow) if first is None else first
        while True:
            try:
                if call.async_function is not None:
                    answer = await _await_form(call, call.async_function)
                elif call.blocking or call.function is None:
                    answer = await _amake(call)
                else:
                    answer, is_awaitable = _ask(call.function, call.args)
                    if is_awaitable:
                        answer = await _resolve(answer)
            except BaseException as error:  # noqa: BLE001 - cancellation reaches the flow as well
                call = flow.throw(error)
            else:
                call = flow.send(answer)
    except StopIteration as end:
        result: T = end.value
        return result


class _Waiter:
    """Who waits for what a thread does, which goes on when they go."""

    is_gone = False


def _run_while_plain(flow: Flow[T], waiter: _Waiter) -> tuple[Call | None, T | None]:
    """Run a flow up to the first call that belongs on the event loop, and return that.

    Args:
        flow: The flow.
        waiter: Who waits for it. If they have gone by the end of a call, the flow is cancelled.

    Returns:
        The call, None if the flow has ended; and what the flow has returned then.
    """
    try:
        call = next(flow)
        while True:
            # All that may run code of others is in here: a `StopIteration` of theirs is no answer.
            try:
                function = call.function
                if function is None or not _is_for_thread(call, function):
                    return call, None
                answer, is_awaitable = _ask(function, call.args)
            except BaseException as error:  # noqa: BLE001 - the flow decides what it means
                call = flow.throw(asyncio.CancelledError() if waiter.is_gone else error)
            else:
                if waiter.is_gone:
                    call = flow.throw(asyncio.CancelledError())
                elif is_awaitable:
                    return Call(None, _resolve, (answer,)), None
                else:
                    call = flow.send(answer)
    except StopIteration as end:
        return None, end.value


def _is_for_thread(call: Call, function: Callable[..., object]) -> bool:
    """Tell whether `arun` would make a call in the thread, or may as well."""
    return call.is_same_in_thread or (
        call.async_function is None and call.blocking and (call.is_plain or not is_async(function))
    )


async def arun_in_thread(flow: Flow[T]) -> T:
    """Run a flow to its end as `arun` does, with one hop for all calls that need the thread.

    The flow itself runs there as well, up to the first call that belongs on the event loop.

    Args:
        flow: The flow.

    Returns:
        What the flow returns.
    """
    waiter = _Waiter()
    try:
        call, result = await call_in_thread(partial(_run_while_plain, flow, waiter))
    finally:
        waiter.is_gone = True
    return result if call is None else await arun(flow, call)


def twin_of(name: str) -> Callable[[AsyncMethod], AsyncMethod]:
    """Make an async method follow overrides of its sync form, and refuse to be a truth value.

    A subclass may override the sync form alone. The async form must not go on without it, so it
    runs the override in a thread. To type checkers the method stays the ``async def`` that it is,
    as which it overrides Django's and can be overridden.

    Args:
        name: The name of the sync form. The async one has an ``a`` before it.
    """

    def decorate(method: AsyncMethod) -> AsyncMethod:
        # By the class that it is written in: what is there may be decorated further, and what a
        # subclass has may look like it, by `functools.wraps`.
        place = method.__module__, method.__qualname__

        def overridden(instance: object) -> bool:
            own = vars(instance)
            if name in own:
                return f"a{name}" not in own
            is_behind = False  # behind the class of this method
            for base in type(instance).__mro__:
                names = vars(base)
                if (base.__module__, f"{base.__qualname__}.a{name}") == place:
                    is_behind = True
                elif name in names and f"a{name}" not in names:
                    return True
                if is_behind and name in names:
                    return False
            return False

        @wraps(method)
        def wrapper(self: object, /, *args: Any, **kwargs: Any) -> Pending[Any]:
            if overridden(self):
                override: Callable[..., object] = getattr(self, name)

                @wraps(method)
                async def follow() -> object:
                    return await _amake(Call(partial(override, *args, **kwargs)))

                return Pending(follow())
            return Pending(method(self, *args, **kwargs))

        # It returns an awaitable, but is no `async def`: say so to whoever asks.
        return cast("AsyncMethod", markcoroutinefunction(wrapper))

    return decorate
