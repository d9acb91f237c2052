"""Running flows: the same steps, made synchronously and asynchronously."""

import asyncio
import functools
import inspect
import threading
from collections.abc import Callable
from contextvars import ContextVar
from typing import Any

import pytest
from asgiref.sync import (
    async_to_sync,
    iscoroutinefunction,
    markcoroutinefunction,
    sync_to_async,
)
from django.core.exceptions import PermissionDenied
from django.utils.functional import SimpleLazyObject

from djem_async._driving import arun, arun_in_thread, run, twin_of
from djem_async._flow import Call, Flow
from djem_async._pending import Pending
from djem_async.exceptions import AsyncMethodError, NotADecisionError


def asking(*calls: Call) -> Flow[list[Any]]:
    """Make calls, one after the other, and return their answers."""
    answers: list[Any] = []
    for call in calls:
        answers.append((yield call))  # noqa: PERF401 - a comprehension cannot yield
    return answers


@pytest.fixture(params=[run, async_to_sync(arun), async_to_sync(arun_in_thread)])
def drive(request) -> Callable[[Flow[Any]], Any]:
    return request.param


def add(a: int, b: int) -> int:
    return a + b


@markcoroutinefunction
def add_as_if_async(a: int, b: int) -> int:
    return a + b


async def aadd(a: int, b: int) -> int:
    await asyncio.sleep(0)
    return a + b


async def nested(a: int, b: int) -> Any:
    return aadd(a, b)


class Awaitable:
    """Neither a coroutine nor a future, and nothing to close."""

    def __await__(self) -> Any:
        return (yield from aadd(1, 2).__await__())


@pytest.mark.parametrize(
    "call",
    [
        Call(add, None, (1, 2)),
        Call(add, None, (1, 2), blocking=False),
        Call(add, aadd, (1, 2)),
        Call(None, aadd, (1, 2)),
        Call(aadd, None, (1, 2)),
        Call(aadd, aadd, (1, 2), blocking=False),
        Call(None, lambda: aadd(1, 2)),
        Call(None, functools.partial(aadd, 1), (2,)),
        Call(None, Awaitable),
        Call(None, nested, (1, 2)),
        Call(nested, None, (1, 2)),
    ],
)
def test_every_form_of_a_call_is_made(drive, call):
    assert drive(asking(call)) == [3]


def test_calls_are_made_in_order_and_the_result_is_returned(drive):
    def flow() -> Flow[str]:
        first = yield Call(add, None, (1, 2))
        second = yield Call(None, aadd, (first, 4))
        return f"{first} {second}"

    assert drive(flow()) == "3 7"


def test_a_flow_without_calls_just_returns(drive):
    assert drive(asking()) == []


def test_the_sync_api_takes_the_sync_form():
    assert run(asking(Call(lambda: "sync", lambda: aadd(0, 0)))) == ["sync"]


@pytest.mark.parametrize("drive", [arun, arun_in_thread])
async def test_the_async_api_takes_the_async_form(drive):
    assert await drive(asking(Call(lambda: "sync", lambda: aadd(0, 0)))) == [0]


async def test_a_flow_in_a_thread_may_take_the_sync_form_where_that_is_the_same():
    call = Call(threading.get_ident, lambda: aadd(0, 0), is_same_in_thread=True)
    assert await arun(asking(call)) == [0]
    assert await arun_in_thread(asking(call)) != [threading.get_ident()]


@pytest.mark.parametrize(
    "call",
    [Call(aadd, None, (1, 2)), Call(None, aadd, (1, 2)), Call(nested, None, (1, 2))],
)
async def test_the_sync_api_refuses_an_async_method_where_an_event_loop_runs(call):
    with pytest.raises(AsyncMethodError, match=rf"^{call.label} is async.*await user\.ahas_perm"):
        run(asking(call))


def test_the_sync_api_takes_an_async_method_in_a_thread_of_an_event_loop():
    async def outer() -> Any:
        return await sync_to_async(run)(asking(Call(aadd, None, (1, 2))))

    assert asyncio.run(outer()) == [3]


@pytest.mark.parametrize(
    "function",
    [lambda: aadd(1, 2), functools.partial(lambda: aadd(1, 2)), Awaitable],
)
def test_the_sync_api_refuses_an_awaitable_from_a_plain_method(function):
    # A coroutine is closed, or Python would warn that nobody awaited it.
    with pytest.raises(NotADecisionError, match=r"plain method, but returned .* cannot await"):
        run(asking(Call(function)))


@pytest.mark.parametrize("blocking", [True, False])
@pytest.mark.parametrize("function", [lambda: aadd(1, 2), Awaitable, lambda: nested(1, 2)])
@pytest.mark.parametrize("drive", [arun, arun_in_thread])
async def test_the_async_api_awaits_an_awaitable_from_a_plain_method(drive, function, blocking):
    calls = [Call(function, blocking=blocking), Call(threading.get_ident, blocking=False)]
    assert await drive(asking(*calls)) == [3, threading.get_ident()]


@pytest.mark.parametrize(
    "call",
    [Call(None, add, (1, 2)), Call(add_as_if_async, None, (1, 2))],
)
def test_an_async_form_must_be_async(drive, call):
    with pytest.raises(
        NotADecisionError, match=r"^add(_as_if_async)? must be `async def`.*returned 3"
    ):
        drive(asking(call))


@pytest.mark.parametrize("drive", [arun, arun_in_thread])
async def test_only_blocking_calls_leave_the_thread_of_the_event_loop(drive):
    here, there = (Call(threading.get_ident, blocking=blocking) for blocking in (False, True))
    first, second, third, fourth = await drive(asking(there, there, here, there))
    assert third == threading.get_ident()
    assert first == second == fourth != third


async def test_a_flow_in_a_thread_comes_back_for_what_it_is_to_await():
    async def where() -> int:
        return threading.get_ident()

    def flow() -> Flow[list[int]]:
        found = [threading.get_ident()]
        for call in (Call(threading.get_ident), Call(where), Call(threading.get_ident)):
            found.append((yield call))
            found.append(threading.get_ident())
        return found

    here = threading.get_ident()
    found = await arun_in_thread(flow())
    assert [ident == here for ident in found] == [False, False, False, True, True, False, True]


colour: ContextVar[str] = ContextVar("colour", default="none")


@pytest.mark.parametrize("blocking", [True, False])
def test_context_variables_travel_into_a_call_and_back(drive, blocking):
    def mix() -> str:
        before = colour.get()
        colour.set(f"{before}+blue")
        return before

    def flow() -> Flow[Any]:
        colour.set("red")
        before = yield Call(mix, blocking=blocking)
        return before, colour.get()

    assert drive(flow()) == ("red", "red+blue")


class Unusual(BaseException):
    pass


ERRORS = [ValueError, Unusual, asyncio.CancelledError, StopAsyncIteration, RecursionError]


def raising(error: BaseException) -> Any:
    raise error


async def araising(error: BaseException) -> Any:
    raise error


def each_way_to_raise(error: BaseException) -> list[Call]:
    return [
        Call(raising, None, (error,)),
        Call(raising, None, (error,), blocking=False),
        Call(araising, None, (error,)),
        Call(None, araising, (error,)),
        Call(None, raising, (error,)),
    ]


@pytest.mark.parametrize("kind", ERRORS)
@pytest.mark.parametrize("way", range(5))
def test_exceptions_of_any_kind_reach_the_flow_unchanged(drive, kind, way):
    error = kind("x")
    seen: list[BaseException] = []

    def flow() -> Flow[str]:
        try:
            yield each_way_to_raise(error)[way]
        except BaseException as caught:
            seen.append(caught)
        return "went on"

    assert drive(flow()) == "went on"
    assert seen == [error]


@pytest.mark.parametrize("kind", ERRORS)
@pytest.mark.parametrize("way", range(5))
def test_an_exception_that_the_flow_does_not_catch_propagates(drive, kind, way):
    error = kind("x")
    with pytest.raises(kind, match="x") as raised:
        drive(asking(each_way_to_raise(error)[way]))
    if kind is not asyncio.CancelledError:  # asyncio makes a new one of it
        assert raised.value is error


@pytest.mark.parametrize("kind", [KeyboardInterrupt, SystemExit])
def test_what_ends_the_program_is_not_held_back(kind):
    error = kind()
    with pytest.raises(kind) as raised:
        run(asking(Call(raising, None, (error,))))
    assert raised.value is error
    with pytest.raises(kind) as raised:
        arun(asking(Call(raising, None, (error,), blocking=False))).send(None)
    assert raised.value is error


@pytest.mark.parametrize("way", range(5))
def test_stop_iteration_is_an_error_and_not_the_end_of_the_flow(drive, way):
    with pytest.raises(RuntimeError, match="raised StopIteration") as raised:
        # Left alone it would hang the thread's future on Python 3.11 and 3.12.
        drive(within_5_seconds(each_way_to_raise(StopIteration(True))[way]))
    assert isinstance(raised.value.__cause__, StopIteration)


@pytest.mark.parametrize("kind", [*ERRORS, PermissionDenied])
def test_an_answer_may_fail_when_it_is_looked_at(drive, kind):
    """Even to ask whether it is awaitable may run code, say that of a lazy object."""
    error, seen = kind("x"), []

    def flow() -> Flow[str]:
        try:
            yield Call(SimpleLazyObject, None, (lambda: raising(error),))
        except BaseException as caught:
            seen.append(caught)
        return "went on"

    assert drive(flow()) == "went on"
    assert seen == [error]


def test_stop_iteration_from_looking_at_an_answer_is_an_error(drive):
    lazy = SimpleLazyObject(lambda: raising(StopIteration(True)))
    with pytest.raises(RuntimeError, match="raised StopIteration"):
        drive(within_5_seconds(Call(lambda: lazy)))


@pytest.mark.parametrize("drive", [arun, arun_in_thread])
async def test_an_answer_is_loaded_where_it_was_made(drive):
    lazy = SimpleLazyObject(threading.get_ident)
    assert await drive(asking(Call(lambda: lazy))) != [threading.get_ident()]


def within_5_seconds(call: Call) -> Flow[Any]:
    timer = threading.Timer(5, pytest.exit, ["A call hangs."])
    timer.daemon = True
    timer.start()
    try:
        return (yield call)
    finally:
        timer.cancel()


async def test_cancellation_reaches_the_flow_and_ends_the_task():
    seen: list[str] = []

    def flow() -> Flow[None]:
        try:
            yield Call(None, asyncio.sleep, (60,))
        except asyncio.CancelledError:
            seen.append("cancelled")
            yield Call(seen.append, None, ("cleaned up",), blocking=False)
            raise

    task = asyncio.create_task(arun(flow()))
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert seen == ["cancelled", "cleaned up"]


def test_closing_the_coroutine_closes_the_flow():
    seen: list[str] = []

    def flow() -> Flow[None]:
        try:
            yield Call(None, asyncio.sleep, (0,))
        finally:
            seen.append("closed")

    coroutine = arun(flow())
    coroutine.send(None)
    coroutine.close()
    assert seen == ["closed"]


class Base:
    def greet(self, name: str, *, mark: str = "!") -> str:
        return f"sync {name}{mark}"

    @twin_of("greet")
    async def agreet(self, name: str, *, mark: str = "!") -> str:
        """Greet."""
        return f"async {name}{mark}"


class SyncOverride(Base):
    def greet(self, name: str, *, mark: str = "!") -> str:
        return f"overridden {name}{mark}"


class Heir(SyncOverride):
    pass


class BothOverrides(SyncOverride):
    async def agreet(self, name: str, *, mark: str = "!") -> str:
        return "both " + await super().agreet(name, mark=mark)


class MixedInBefore(SyncOverride, Base):
    pass


class UnrelatedMixin:
    def greet(self, name: str, *, mark: str = "!") -> str:
        return f"mixed in {name}{mark}"


class WithMixin(UnrelatedMixin, Base):
    pass


class WithMixinAfter(Base, UnrelatedMixin):
    pass


class AsyncOverride(Base):
    async def agreet(self, name: str, *, mark: str = "!") -> str:
        return "more " + await super().agreet(name, mark=mark)


class SyncOverrideOfAsyncOverride(AsyncOverride):
    def greet(self, name: str, *, mark: str = "!") -> str:
        return f"last {name}{mark}"


class AsyncAlone:
    @twin_of("greet")
    async def agreet(self, name: str, *, mark: str = "!") -> str:
        return f"alone {name}{mark}"


class AsyncAloneThenSync(AsyncAlone, UnrelatedMixin):
    """The class of the twin has no sync form of its own, so another's may be the one in use."""


class AsyncAloneThenBoth(AsyncAlone, Base):
    pass


def decorated(function: Any) -> Any:
    @functools.wraps(function)
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        return function(*args, **kwargs)

    return wrapper


class Decorated(Base):
    def greet(self, name: str, *, mark: str = "!") -> str:
        return f"sync decorated {name}{mark}"

    @decorated
    @twin_of("greet")
    async def agreet(self, name: str, *, mark: str = "!") -> str:
        return f"decorated {name}{mark}"


class DecoratedWithMixinAfter(Decorated, UnrelatedMixin):
    pass


class Disguised(SyncOverride):
    """Its async form looks like the one that it overrides."""

    def greet(self, name: str, *, mark: str = "!") -> str:
        return super().greet(name, mark=mark)

    @functools.wraps(Base.agreet)
    async def agreet(self, name: str, *, mark: str = "!") -> str:
        return "disguised " + await super().agreet(name, mark=mark)


class HeirOfDisguised(Disguised):
    pass


class AsyncSyncOverride(Base):
    async def greet(self, name: str, *, mark: str = "!") -> str:  # type: ignore[override]
        return f"strange {name}{mark}"


@pytest.mark.parametrize(
    ("kind", "greeting"),
    [
        (Base, "async Ann?"),
        (SyncOverride, "overridden Ann?"),
        (Heir, "overridden Ann?"),
        (BothOverrides, "both overridden Ann?"),
        (MixedInBefore, "overridden Ann?"),
        (WithMixin, "mixed in Ann?"),
        (WithMixinAfter, "async Ann?"),
        (AsyncOverride, "more async Ann?"),
        (SyncOverrideOfAsyncOverride, "more last Ann?"),
        (AsyncSyncOverride, "strange Ann?"),
        (Disguised, "disguised overridden Ann?"),
        (HeirOfDisguised, "disguised overridden Ann?"),
        (Decorated, "decorated Ann?"),
        (DecoratedWithMixinAfter, "decorated Ann?"),
        (AsyncAlone, "alone Ann?"),
        (AsyncAloneThenSync, "mixed in Ann?"),
        (AsyncAloneThenBoth, "alone Ann?"),
    ],
)
async def test_an_async_twin_follows_an_override_of_the_sync_form_alone(kind, greeting):
    assert await kind().agreet("Ann", mark="?") == greeting


async def test_a_twin_follows_a_sync_form_set_on_the_instance():
    base = Base()
    base.greet = lambda name: f"own {name}"
    assert await base.agreet("Ann") == "own Ann"


async def test_an_override_of_the_sync_form_runs_in_a_thread():
    class Threaded(Base):
        def greet(self, name: str, *, mark: str = "!") -> Any:
            return threading.get_ident()

    assert await Threaded().agreet("Ann") != threading.get_ident()


@pytest.mark.parametrize("kind", [Base, SyncOverride])
def test_a_twin_is_a_pending_coroutine_and_says_so(kind):
    assert iscoroutinefunction(kind.agreet)
    assert iscoroutinefunction(kind().agreet)
    assert (kind.agreet.__name__, kind.agreet.__doc__) == ("agreet", "Greet.")
    pending = kind().agreet("Ann")
    assert isinstance(pending, Pending)
    assert inspect.isawaitable(pending)
    pending.close()


@pytest.mark.parametrize("kind", [Base, SyncOverride])
def test_a_twin_that_was_not_awaited_names_itself(kind):
    with pytest.raises(TypeError, match=r"^\w+\.agreet\(\) was not awaited"):
        bool(kind().agreet("Ann"))


async def test_the_async_form_is_awaited_also_where_the_sync_one_would_not_block():
    async def form() -> str:
        return "async"

    assert await arun(asking(Call(lambda: "sync", form, blocking=False))) == ["async"]
