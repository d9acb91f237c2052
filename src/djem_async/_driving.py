"""Runs flows: the same rules, driven synchronously or asynchronously."""

import asyncio
from collections.abc import Callable, Coroutine
from functools import partial, wraps
from inspect import isawaitable
from threading import Event
from typing import Any, Final, TypeVar, cast

from asgiref.sync import async_to_sync

from ._flow import Call, Each, Flow
from ._hops import call_in_thread
from ._lazy import is_lazy
from ._pending import close, pending
from ._twins import follows_sync, is_async
from .exceptions import AsyncMethodError, NotADecisionError

T = TypeVar("T")
_MOST_AT_ONCE: Final = 100  # of the async calls of many flows
AsyncMethod = TypeVar("AsyncMethod", bound=Callable[..., Coroutine[Any, Any, Any]])


def run(flow: Flow[T]) -> T:
    """Run a flow to its end, making its calls synchronously.

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

    Async forms are awaited. A plain ``def`` runs with this context in the thread that `asgiref`
    uses for thread-sensitive code.
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
    """Run a flow to its end as `arun` does, but begin in the thread to save hops.

    The flow itself runs there, up to the first call that belongs on the event loop.
    """
    is_cancelled = Event()
    try:
        call, result = await call_in_thread(partial(_run_in_thread, flow, is_cancelled))
    finally:
        is_cancelled.set()  # the thread can't be stopped
    return result if call is None else await arun(flow, call)


def _run_in_thread(flow: Flow[T], is_cancelled: Event) -> tuple[Call | None, Any]:
    """Run a flow up to the first call that belongs on the event loop.

    Returns:
        The call, or None if the flow has ended, and the result of the flow.
    """
    try:
        call = next(flow)
        while call.blocking and not _is_async(call):
            try:
                answer = _make_in_thread(call, is_cancelled)
            except BaseException as error:  # noqa: BLE001 - the flow decides what it means
                call = flow.throw(error)
            else:
                if is_cancelled.is_set():
                    if isinstance(answer, Call):
                        close(*answer.args)
                    call = flow.throw(asyncio.CancelledError())
                elif isinstance(answer, Call):
                    return answer, None
                else:
                    call = flow.send(answer)
    except StopIteration as end:
        return None, end.value
    return call, None


def _make_in_thread(call: Call, is_cancelled: Event) -> object:
    """Make a call in the thread.

    Returns:
        The answer, or the call that has to be made on the event loop to get it.
    """
    if isinstance(call, Each):
        left = _start_each(call, is_cancelled)
        return Call(None, _finish_each, (left,)) if left else None
    answer = _call(call)
    return Call(None, _resolved, (answer,), scope=call.scope) if _is_awaitable(answer) else answer


def _start_each(each: Each, is_cancelled: Event) -> list[tuple[Flow[object], Call]]:
    """Run flows in the thread.

    Returns:
        The flows that haven't ended, each with its call that belongs on the event loop.
    """
    started = ((flow, _run_in_thread(flow, is_cancelled)[0]) for flow in each.flows)
    return [(flow, call) for flow, call in started if call is not None]


async def _finish_each(left: list[tuple[Flow[object], Call]]) -> None:
    """Run flows on the event loop, several at once, until one raises an error."""
    room = asyncio.Semaphore(_MOST_AT_ONCE)

    async def finish(flow: Flow[object], call: Call) -> None:
        async with room:
            await arun(flow, call)

    tasks = [asyncio.ensure_future(finish(*each)) for each in left]
    try:
        await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def _make(call: Call) -> object:
    if isinstance(call, Each):
        for flow in call.flows:
            run(flow)
        return None
    function = call.function
    if function is None:
        _refuse_event_loop(call)
        return async_to_sync(_acall)(call)
    answer: Any = _call(call)
    if not _is_awaitable(answer):
        return answer
    if not is_async(function):
        close(answer)
        raise NotADecisionError(
            f"{call.label} is a plain method, but returned {answer!r}, which a sync check can't"
            " await. Declare it with `async def`, or use `await user.ahas_perm(...)`."
        )
    _refuse_event_loop(call, answer)
    return async_to_sync(_await)(call, answer)


def _refuse_event_loop(call: Call, answer: object = None) -> None:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return
    close(answer)
    raise AsyncMethodError(
        f"{call.label} is async, and a sync check can't run it while this thread runs an event"
        " loop. Use `await user.ahas_perm(...)` instead of `user.has_perm(...)`."
    )


async def _amake(call: Call) -> object:
    if _is_async(call):
        return await _acall(call)
    if isinstance(call, Each):
        await _finish_each(await call_in_thread(partial(_start_each, call, Event())))
        return None
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
        # Inside the flow, it would look like the end of the flow. In a thread, it makes the future
        # hang on Python 3.11 and 3.12.
        raise RuntimeError(f"{call.label} raised StopIteration") from error


async def _acall(call: Call) -> object:
    """Call the async form of a call, or its sync form if that is ``async def``."""
    function: Any = call.function if call.async_function is None else call.async_function
    with call.scope():
        answer = function(*call.args)
        if not _is_awaitable(answer):
            raise NotADecisionError(
                f"{getattr(function, '__qualname__', function)} has the name or the mark of an"
                f" async function, but returned {answer!r}. Declare it with `async def`."
            )
        return await _resolved(answer)


async def _await(call: Call, answer: object) -> object:
    """Await what a call has returned, in the scope of the call."""
    with call.scope():
        return await _resolved(answer)


def _is_awaitable(answer: object) -> bool:
    """Tell whether an answer has to be awaited. A ``def`` may return an awaitable, too.

    Lazy objects aren't evaluated, because that may make a query.
    """
    is_plain = answer is None or type(answer) is bool or is_lazy(answer)
    return not is_plain and isawaitable(answer)


async def _resolved(answer: Any) -> object:
    # In a loop, because a coroutine may return another one that nobody awaited.
    while _is_awaitable(answer):
        answer = await answer
    return answer


def twin(method: AsyncMethod) -> AsyncMethod:
    """Make an async method follow overrides of its sync form, and have no truth value.

    If a subclass only overrides the sync form, which has the same name without the ``a``, the async
    form runs the override in a thread. For type checkers, the method is still an ``async def``,
    which overrides Django's and can be overridden.
    """
    name = method.__name__.removeprefix("a")

    @wraps(method)
    async def wrapper(self: object, /, *args: Any, **kwargs: Any) -> object:
        if follows_sync(self, name):
            return await _amake(Call(partial(getattr(self, name), *args, **kwargs)))
        return await method(self, *args, **kwargs)

    return cast("AsyncMethod", pending(wrapper))
