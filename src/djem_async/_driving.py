"""Runs flows: the same rules, driven synchronously or asynchronously."""

import asyncio
from collections.abc import Callable, Coroutine
from functools import partial, wraps
from inspect import isawaitable
from threading import Event
from typing import Any, TypeVar, cast

from asgiref.sync import async_to_sync, markcoroutinefunction

from ._flow import Call, Flow
from ._hops import call_in_thread
from ._lazy import is_lazy
from ._pending import Pending
from ._twins import follows_sync, is_async
from .exceptions import AsyncMethodError, NotADecisionError

T = TypeVar("T")
AsyncMethod = TypeVar("AsyncMethod", bound=Callable[..., Coroutine[Any, Any, Any]])


def run(flow: Flow[T]) -> T:
    """Run a flow to its end, making its calls synchronously.

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

    Returns:
        What the flow returns.
    """
    try:
        call = next(flow) if first is None else first
        while True:
            try:
                answer = await _amake(call)
            except BaseException as error:  # noqa: BLE001 - cancellation reaches the flow as well
                call = flow.throw(error)
            else:
                call = flow.send(answer)
    except StopIteration as end:
        result: T = end.value
        return result


async def arun_in_thread(flow: Flow[T]) -> T:
    """Run a flow to its end as `arun` does, with one hop for all calls that need the thread.

    The flow itself runs there as well, up to the first call that belongs on the event loop.

    Returns:
        What the flow returns.
    """
    is_cancelled = Event()
    try:
        call, result = await call_in_thread(partial(_run_in_thread, flow, is_cancelled))
    finally:
        is_cancelled.set()  # the thread goes on
    return result if call is None else await arun(flow, call)


def _run_in_thread(flow: Flow[T], is_cancelled: Event) -> tuple[Call | None, Any]:
    """Run a flow up to the first call that belongs on the event loop.

    Returns:
        The call, None if the flow has ended; and what the flow has returned then.
    """
    try:
        call = next(flow)
        while call.blocking and not _is_async(call):
            try:
                answer = _call(call)
                is_awaitable = _is_awaitable(answer)
            except BaseException as error:  # noqa: BLE001 - the flow decides what it means
                call = flow.throw(error)
            else:
                if is_cancelled.is_set():
                    call = flow.throw(asyncio.CancelledError())
                elif is_awaitable:
                    return Call(None, _resolved, (answer,), scope=call.scope), None
                else:
                    call = flow.send(answer)
    except StopIteration as end:
        return None, end.value
    return call, None


def _make(call: Call) -> object:
    answer, function = None, call.function
    if function is not None:
        answer = _call(call)
        if not _is_awaitable(answer):
            return answer
    error: Exception
    if function is not None and not is_async(function):
        error = NotADecisionError(
            f"{call.label} is a plain method, but returned {answer!r}, which a sync check can't"
            " await. Declare it with `async def`, or use `await user.ahas_perm(...)`."
        )
    else:
        try:
            asyncio.get_running_loop()
        except RuntimeError:
            if function is None:
                return async_to_sync(_acall)(call)
            return async_to_sync(_await)(call, answer)
        error = AsyncMethodError(
            f"{call.label} is async, and a sync check can't run it while this thread runs an event"
            " loop. Use `await user.ahas_perm(...)` instead of `user.has_perm(...)`."
        )
    close = getattr(answer, "close", None)
    if close is not None:
        close()
    raise error


async def _amake(call: Call) -> object:
    if _is_async(call):
        return await _acall(call)
    answer = await call_in_thread(partial(_call, call)) if call.blocking else _call(call)
    return await _await(call, answer) if _is_awaitable(answer) else answer


def _is_async(call: Call) -> bool:
    return call.async_function is not None or is_async(call.function)


def _call(call: Call) -> object:
    """Call the sync form of a call."""
    function: Any = call.function
    try:
        with call.scope():
            return function(*call.args)
    except StopIteration as error:
        # It would end the flow as if it were its result, and hangs a thread's future on
        # Python 3.11 and 3.12.
        raise RuntimeError(f"{call.label} raised StopIteration") from error


async def _acall(call: Call) -> object:
    """Call the async form of a call, or its sync form if that is ``async def``."""
    function: Any = call.function if call.async_function is None else call.async_function
    with call.scope():
        answer = function(*call.args)
        if not _is_awaitable(answer):
            raise NotADecisionError(
                f"{getattr(function, '__qualname__', function)} must be `async def`: its name or"
                f" its mark says so, but it returned {answer!r}."
            )
        return await _resolved(answer)


async def _await(call: Call, answer: object) -> object:
    """Await what a call has returned, in the scope of the call."""
    with call.scope():
        return await _resolved(answer)


def _is_awaitable(answer: object) -> bool:
    """Tell whether an answer has to be awaited: a ``def`` may return such a one as well.

    A lazy object is not looked into: that may take a query.
    """
    is_plain = answer is None or type(answer) is bool or is_lazy(answer)
    return not is_plain and isawaitable(answer)


async def _resolved(answer: Any) -> object:
    # In a loop: what a coroutine returns may be a coroutine that someone forgot to await.
    while _is_awaitable(answer):
        answer = await answer
    return answer


def twin(method: AsyncMethod) -> AsyncMethod:
    """Make an async method follow overrides of its sync form, and refuse to be a truth value.

    A subclass may override the sync form alone, which has the same name without the ``a``. The
    async form must not ignore that, so it runs the override in a thread. To type checkers the
    method stays an ``async def``, which overrides Django's and can be overridden.
    """
    name = method.__name__.removeprefix("a")

    @wraps(method)
    def wrapper(self: object, /, *args: Any, **kwargs: Any) -> Pending[Any]:
        if not follows_sync(self, name):
            return Pending(method(self, *args, **kwargs))

        @wraps(method)
        async def follow() -> object:
            return await _amake(Call(partial(getattr(self, name), *args, **kwargs)))

        return Pending(follow())

    # It returns an awaitable, but is no `async def`: say so to whoever asks.
    return cast("AsyncMethod", markcoroutinefunction(wrapper))
