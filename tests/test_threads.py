"""Plain access methods of async checks run in asgiref's thread, as in `sync_to_async`."""

import asyncio
import itertools
import sys
import threading
from collections.abc import Awaitable, Callable
from contextvars import ContextVar, copy_context
from typing import Any

import pytest
from asgiref.local import Local
from asgiref.sync import ThreadSensitiveContext, async_to_sync, sync_to_async
from django.db import connections
from django.utils import translation

from benchmarks.counting import counting
from tests.conftest import PATIENCE, PERM, known_user, set_caches, stored
from tests.testapp.models import Thing, User


@pytest.fixture
def check(access_methods: Any) -> Callable[..., Awaitable[bool]]:
    """Check an object whose access method is the given function."""
    user, methods = known_user(), dict[int, Any]()
    access_methods(Thing, _user_can_use_thing=lambda self, user: methods[self.pk]())

    def check(method: Callable[[], Any]) -> Awaitable[bool]:
        methods[pk := len(methods) + 1] = method
        return user.ahas_perm(PERM, stored(pk))

    return check


async def started(awaitable: Any) -> asyncio.Task[Any]:
    """Begin something in a task, as far as its first wait."""
    task = asyncio.create_task(awaitable)
    await asyncio.sleep(0)
    return task


async def settled(*awaitables: Any) -> list[Any]:
    """Wait for all, and return the result or the exception of each."""
    async with asyncio.timeout(PATIENCE):
        return await asyncio.gather(*awaitables, return_exceptions=True)


def place() -> tuple[int, Any]:
    """Return what a method finds where it runs: the thread, and its database connection."""
    return threading.get_ident(), connections["default"]


# Which thread


@pytest.mark.parametrize("verbosity", [0, 2])
@pytest.mark.parametrize("count", [1, 50])
async def test_method_runs_in_the_thread_of_sync_to_async(check, settings, verbosity, count):
    settings.DJEM_PERM_LOG_VERBOSITY = verbosity
    places: list[Any] = []
    calls = [check(lambda: places.append(place())) for _ in range(count)]
    assert await settled(*calls) == [False] * count
    assert places == [await sync_to_async(place)()] * count
    assert places[0][0] != threading.get_ident()


def test_method_below_a_sync_caller_runs_in_the_thread_of_the_caller(check):
    places: list[Any] = []

    async def main() -> list[Any]:
        return await settled(*(check(lambda: places.append(place())) for _ in range(5)))

    async_to_sync(main)()
    assert places == [place()] * 5


async def test_each_thread_sensitive_context_has_its_own_thread(check):
    together = threading.Barrier(2)

    async def request() -> list[Any]:
        async with ThreadSensitiveContext():
            places: list[Any] = []

            def method() -> None:
                together.wait(PATIENCE)  # both threads are here at the same time
                places.append(place())

            await settled(check(method), check(lambda: places.append(place())))
            assert places == [await sync_to_async(place)()] * 2
            return places[0]

    outside, *inside = await settled(sync_to_async(place)(), request(), request())
    assert len({ident for ident, _ in [outside, *inside]}) == 3


# Contexts

colour: ContextVar[str] = ContextVar("colour", default="none")
local = Local()

VARIABLES: dict[str, tuple[Callable[[], Any], Callable[[str], Any]]] = {
    "ContextVar": (colour.get, colour.set),
    "Local": (lambda: getattr(local, "value", None), lambda value: setattr(local, "value", value)),
    "language": (translation.get_language, translation.activate),
}


@pytest.mark.parametrize("verbosity", [0, 2])
@pytest.mark.parametrize("variable", VARIABLES)
async def test_context_travels_into_each_method_and_back(check, settings, variable, verbosity):
    settings.DJEM_PERM_LOG_VERBOSITY = verbosity
    get, set_ = VARIABLES[variable]
    outside = get()

    async def paint(value: str, other: str) -> list[Any]:
        set_(value)
        found: list[Any] = []

        def method() -> bool:
            found.append(get())
            set_(other)
            return True

        assert await check(method) is True
        return [*found, get()]

    pairs = [("de", "fr"), ("fr", "ja"), ("ja", "de"), ("en", "en")] * 5
    assert await settled(*(paint(*pair) for pair in pairs)) == [list(pair) for pair in pairs]
    assert get() == outside


# Checks that come back to the event loop


@pytest.mark.parametrize("count", [1, 3])
async def test_async_to_sync_in_methods_does_not_deadlock(access_methods, count):
    def descend(self: Thing, user: User) -> bool:
        async def further() -> list[bool]:
            return await asyncio.gather(
                *(user.ahas_perm(PERM, stored(self.pk * 10 + n)) for n in range(1, count + 1))
            )

        places.append(place())
        return self.pk > 1_000 or all(async_to_sync(further)())

    user, places = known_user(), list[Any]()
    access_methods(Thing, _user_can_use_thing=descend)
    checks = [user.ahas_perm(PERM, stored(pk)) for pk in range(1, count + 1)]
    assert await settled(*checks) == [True] * count
    assert {ident for ident, _ in places} == {(await sync_to_async(place)())[0]}


async def test_event_loop_that_waits_for_the_thread_it_blocks_is_an_error(check):
    async def inner() -> bool:
        async with asyncio.timeout(PATIENCE):
            return await check(lambda: True)

    found = await settled(*(check(lambda: asyncio.run(inner())) for _ in range(2)))
    assert [type(error) for error in found] == [RuntimeError] * 2  # asgiref's, about a deadlock
    assert await check(lambda: True) is True


# Many at once


async def test_gathered_checks_share_hops_and_are_made_in_order(check):
    made: list[int] = []
    with counting() as counts:
        found = await settled(*(check(lambda n=n: made.append(n) or n % 2) for n in range(200)))
    assert found == [False, True] * 100
    assert made == list(range(200))
    assert 1 <= counts.hops <= 50


async def test_result_is_not_held_back_by_slow_neighbours(check):
    """A method waits for the answer of the check twenty before it."""
    answered = [threading.Event() for _ in range(100)]

    async def ask(n: int) -> bool:
        granted = await check(lambda: n < 20 or answered[n - 20].wait(PATIENCE))
        answered[n].set()
        return granted

    assert await settled(*map(ask, range(100))) == [True] * 100


async def test_method_may_wait_for_what_a_neighbour_holds_until_it_is_answered(check):
    lock = asyncio.Lock()

    async def hold() -> bool:
        async with lock:
            return await check(lambda: True)

    async def take() -> bool:
        async with lock:
            return True

    checks = [check(lambda: True), hold(), check(async_to_sync(take))]
    assert await settled(*checks) == [True] * 3


async def test_other_code_for_the_thread_has_its_turn(check, gate):
    made: list[str] = []

    async def in_turn() -> None:
        for _ in range(3):
            await check(lambda: made.append("check"))

    first = await started(check(gate.pass_through))
    await gate.reached()
    others = [await started(sync_to_async(made.append)("other")), await started(in_turn())]
    gate.open()
    await settled(first, *others)
    assert made == ["other", *["check"] * 3]


# Exceptions


class Unusual(BaseException):
    pass


class Falsy(Exception):
    def __bool__(self) -> bool:
        return False


@pytest.mark.parametrize("verbosity", [0, 2])
@pytest.mark.parametrize("kind", [ValueError, Falsy, Unusual, StopIteration, GeneratorExit])
async def test_exception_reaches_its_own_check_alone(check, settings, kind, verbosity):
    settings.DJEM_PERM_LOG_VERBOSITY = verbosity
    error = kind("x")

    def fail() -> Any:
        raise error

    before, found, after = await settled(check(lambda: True), check(fail), check(lambda: True))
    # A StopIteration would end the event loop's own iteration.
    assert (found.__cause__ if kind is StopIteration else found) is error
    assert (before, after) == (True, True)


# Cancellation


async def test_check_cancelled_before_its_turn_is_not_made(check, gate):
    made: list[int] = []
    first = await started(check(gate.pass_through))
    await gate.reached()
    checks = [await started(check(lambda n=n: made.append(n) or True)) for n in range(4)]
    for cancelled in checks[1:3]:
        cancelled.cancel()
    found = await settled(*checks[1:3])  # without waiting for the thread
    assert [type(error) for error in found] == [asyncio.CancelledError] * 2
    gate.open()
    assert await settled(first, checks[0], checks[3]) == [True] * 3
    assert made == [0, 3]


@pytest.mark.parametrize("cancelled", [0, 1])
async def test_cancelling_a_check_leaves_its_neighbours_alone(check, cancelled):
    reached, go_on = asyncio.Event(), asyncio.Event()

    async def slow() -> bool:
        reached.set()
        return await go_on.wait()

    checks = [await started(check(async_to_sync(slow))), await started(check(lambda: True))]
    async with asyncio.timeout(PATIENCE):
        await reached.wait()
    checks[cancelled].cancel()
    await asyncio.sleep(0)
    go_on.set()
    found = await settled(*checks)
    assert isinstance(found.pop(cancelled), asyncio.CancelledError)
    assert found == [True]


async def awaited(awaitable: Awaitable[Any]) -> Any:
    return await awaitable


def test_checks_in_line_may_be_closed_after_their_event_loop(check, gate):
    async def main() -> None:
        for one in checks:
            copy_context().run(one.send, None)

    checks: list[Any] = [check(gate.pass_through) for _ in range(2)]
    asyncio.run(main())
    gate.open()
    for one in checks:
        one.close()


def test_loop_that_ends_while_checks_stand_in_line_ends_them(check, gate):
    async def main() -> list[asyncio.Task[Any]]:
        methods = (lambda: True, gate.pass_through, lambda: True, lambda: True)
        tasks = [asyncio.create_task(awaited(check(method))) for method in methods]
        await gate.reached()  # in the second hop, with others behind it
        return tasks

    tasks = asyncio.run(main())
    gate.open()
    assert [task.cancelled() for task in tasks] == [False, True, True, True]
    assert asyncio.run(awaited(check(lambda: True))) is True


# Clearing


def test_clear_wins_at_any_line_of_a_drop_in_another_thread(access_methods):
    def trace(_frame: Any, event: str, _arg: Any) -> Any:
        if event == "line" and next(lines) == number:
            clear.start()
            clear.join(0.05)  # it may have to wait for the drop
        return trace

    access_methods(Thing, _user_can_use_thing=lambda self, user: user.is_staff)
    for number in range(100):
        user, lines, before = known_user(), itertools.count(), sys.gettrace()
        clear = threading.Thread(target=user.clear_perm_cache)
        assert user.has_perm(PERM, stored()) is False
        sys.settrace(trace)
        del user._perm_cache
        sys.settrace(before)
        if next(lines) <= number:
            break
        clear.join()
        user.is_staff = True
        set_caches(user)
        assert user.has_perm(PERM, stored()) is True
    assert 5 < number < 99
