"""Calls that wait for one thread are made in one hop, and each as if it had a hop of its own."""

from __future__ import annotations

import asyncio
import gc
import threading
import time
import traceback
import weakref
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, nullcontext, suppress
from contextvars import Context, ContextVar, copy_context
from functools import partial
from typing import TYPE_CHECKING, Any, cast

import asgiref.sync
import pytest
from asgiref.local import Local
from asgiref.sync import SyncToAsync, ThreadSensitiveContext, async_to_sync, sync_to_async
from django.utils import translation

from djem_async import _hops
from djem_async._hops import call_in_thread, call_once_in_thread

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Iterator

PATIENCE = 10  # seconds, for what should take none


@pytest.fixture(autouse=True)
async def _nothing_is_left() -> AsyncIterator[None]:
    yield
    try:
        async with asyncio.timeout(PATIENCE):
            # A line ends after the last of its calls, which may have been given up.
            while _hops._lines:  # noqa: ASYNC110
                await asyncio.sleep(0.001)
    finally:
        _hops._lines.clear()
    assert not _hops._alone


@pytest.fixture
def hops(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """What has been called in a thread, by a hop each."""
    made: list[Any] = []
    original = SyncToAsync.__call__

    async def counted(self: Any, *args: Any, **kwargs: Any) -> Any:
        made.append(self.func)
        return await original(self, *args, **kwargs)

    monkeypatch.setattr(SyncToAsync, "__call__", counted)
    return made


class Gate:
    """Holds a thread until it is opened."""

    def __init__(self) -> None:
        self._reached = threading.Event()
        self._opened = threading.Event()

    def pass_(self) -> None:
        self._reached.set()
        assert self._opened.wait(PATIENCE)

    async def reached(self) -> None:
        assert await asyncio.to_thread(self._reached.wait, PATIENCE)

    def open(self) -> None:
        self._opened.set()


@pytest.fixture
def gate() -> Iterator[Gate]:
    gate = Gate()
    yield gate
    gate.open()


async def settled(*tasks: asyncio.Task[Any]) -> list[Any]:
    """Wait for tasks, and return what came of each."""
    async with asyncio.timeout(PATIENCE):
        return await asyncio.gather(*tasks, return_exceptions=True)


async def started(awaitable: Awaitable[Any]) -> asyncio.Task[Any]:
    """Begin something in a task, as far as its first wait."""

    async def begun() -> Any:
        return await awaitable

    task = asyncio.create_task(begun())
    await asyncio.sleep(0)
    return task


class Unusual(BaseException):
    pass


def fail(error: BaseException) -> Any:
    raise error


# One hop


async def test_a_call_is_made_in_the_thread_that_asgiref_would_choose():
    assert await call_in_thread(threading.get_ident) == await sync_to_async(threading.get_ident)()


async def test_simultaneous_calls_share_a_hop_and_are_made_in_order(hops):
    made: list[int] = []

    def call(number: int) -> int:
        made.append(number)
        return -number

    answers = await asyncio.gather(*(call_in_thread(lambda n=n: call(n)) for n in range(50)))
    assert answers == [-number for number in range(50)]
    assert made == list(range(50))
    assert len(hops) == 1


async def test_calls_that_join_while_a_hop_is_made_share_the_next_one(hops, gate):
    made: list[int] = []
    first = await started(call_in_thread(gate.pass_))
    await gate.reached()
    later = [await started(call_in_thread(lambda n=n: made.append(n))) for n in range(20)]
    between = await started(sync_to_async(made.append)(-1))
    gate.open()
    await settled(first, *later, between)
    # What others have put in between did not have to wait for all of them.
    assert sorted(made) == list(range(-1, 20))
    assert [number for number in made if number >= 0] == list(range(20))
    assert len(hops) == 3


async def test_calls_one_after_the_other_are_hops_of_their_own(hops):
    for number in range(3):
        assert await call_in_thread(lambda n=number: n) == number
        assert _hops._lines == {}
    assert len(hops) == 3


async def test_other_code_for_the_thread_does_not_wait_for_calls_that_join_later(gate):
    made: list[str] = []

    async def joining() -> None:
        for _ in range(3):
            await call_in_thread(lambda: made.append("joined"))

    first = await started(call_in_thread(gate.pass_))
    await gate.reached()
    other = await started(sync_to_async(made.append)("other"))
    joined = await started(joining())
    gate.open()
    await settled(first, other, joined)
    assert made == ["other", *["joined"] * 3]


# Contexts


colour: ContextVar[str] = ContextVar("colour", default="none")


async def test_each_call_has_the_context_of_its_caller_and_what_it_changes_shows_there_alone():
    async def paint(name: str) -> tuple[str, str]:
        colour.set(name)

        def mix() -> str:
            before = colour.get()
            colour.set(f"{before}+blue")
            return before

        return await call_in_thread(mix), colour.get()

    names = [f"colour {number}" for number in range(10)]
    found = await asyncio.gather(*(paint(name) for name in names))
    assert found == [(name, f"{name}+blue") for name in names]
    assert colour.get() == "none"


async def test_data_of_asgiref_travels_with_each_call():
    local = Local()

    async def paint(name: str) -> tuple[str, str]:
        local.colour = name

        def mix() -> str:
            before: str = local.colour
            local.colour = f"{before}+blue"
            return before

        return await call_in_thread(mix), local.colour

    names = [f"colour {number}" for number in range(10)]
    found = await asyncio.gather(*(paint(name) for name in names))
    assert found == [(name, f"{name}+blue") for name in names]
    assert not hasattr(local, "colour")


async def test_the_language_travels_with_each_call():
    async def speak(language: str, other: str) -> tuple[str, str]:
        with translation.override(language):

            def switch() -> str:
                before = translation.get_language()
                translation.activate(other)
                return before

            return await call_in_thread(switch), translation.get_language()

    languages = ["de", "fr", "ja", "en"]
    pairs = list(zip(languages, languages[::-1], strict=True))
    assert await asyncio.gather(*(speak(*pair) for pair in pairs)) == pairs


async def test_a_context_is_that_of_the_call_and_not_of_when_it_is_made(gate):
    first = await started(call_in_thread(gate.pass_))
    await gate.reached()
    colour.set("red")
    call = await started(call_in_thread(colour.get))
    colour.set("green")
    gate.open()
    assert await settled(first, call) == [None, "red"]


async def test_a_variable_that_a_call_sets_to_none_is_set():
    unset: ContextVar[str | None] = ContextVar("unset")
    await call_in_thread(lambda: unset.set(None))
    assert unset.get() is None


async def test_what_alone_is_in_a_context_shows_as_well():
    local = Local()

    async def changed() -> list[object]:
        await call_in_thread(lambda: colour.set("red"))
        return [colour.get()]

    async def changed_of_asgiref() -> list[object]:
        local.colour = "green"
        found = [await call_in_thread(lambda: local.colour)]
        await call_in_thread(lambda: setattr(local, "colour", "red"))
        return [*found, local.colour]

    async def changed_for_another_of_the_same_data() -> list[object]:
        class Holder:
            data = "the same"

        held: ContextVar[Holder] = ContextVar("held")
        held.set(Holder())
        after = Holder()
        await call_in_thread(lambda: held.set(after))
        return [held.get() is after]

    for work, expected in (
        (changed, ["red"]),
        (changed_of_asgiref, ["green", "red"]),
        (changed_for_another_of_the_same_data, [True]),
    ):
        task = asyncio.get_running_loop().create_task(work(), context=Context())
        assert await task == expected


async def test_what_a_call_changes_before_it_fails_shows_as_well():
    def change() -> None:
        colour.set("red")
        raise ValueError("x")

    with pytest.raises(ValueError, match="x"):
        await call_in_thread(change)
    assert colour.get() == "red"


async def test_nothing_shows_of_a_call_that_was_given_up(gate):
    seen: list[str] = []

    async def impatient() -> None:
        try:
            await call_in_thread(lambda: (gate.pass_(), colour.set("red")))
        finally:
            seen.append(colour.get())

    task = await started(impatient())
    await gate.reached()
    task.cancel()
    gate.open()
    (error,) = await settled(task)
    assert isinstance(error, asyncio.CancelledError)
    assert seen == ["none"]
    await sync_to_async(int)()  # the call has ended


# Results


async def test_a_result_is_handed_over_while_a_later_call_of_the_hop_waits_for_what_follows():
    ready = threading.Event()

    async def first() -> str:
        answer: str = await call_in_thread(lambda: "first")
        ready.set()
        return answer

    waiting = call_in_thread(lambda: ready.wait(PATIENCE))
    assert await asyncio.gather(first(), waiting) == ["first", True]


async def test_results_of_a_hop_are_handed_over_one_after_the_other():
    events = [threading.Event() for _ in range(5)]

    async def call(number: int) -> bool:
        def wait() -> bool:
            return number == 0 or events[number - 1].wait(PATIENCE)

        answer: bool = await call_in_thread(wait)
        events[number].set()
        return answer

    assert await asyncio.gather(*(call(number) for number in range(5))) == [True] * 5


async def test_a_result_is_handed_over_before_the_next_hop(gate):
    ready = threading.Event()

    async def first() -> None:
        await call_in_thread(gate.pass_)
        ready.set()

    task = await started(first())
    await gate.reached()
    joined = await started(call_in_thread(lambda: ready.wait(PATIENCE)))
    gate.open()
    assert await settled(task, joined) == [None, True]


async def test_results_are_looked_for_as_long_as_a_hop_takes(gate, monkeypatch):
    looks: list[float] = []
    look = _hops._Line._hand_over_meanwhile

    def counted(line: Any) -> None:
        looks.append(time.monotonic())
        look(line)

    monkeypatch.setattr(_hops._Line, "_hand_over_meanwhile", counted)
    calls = [asyncio.create_task(call_in_thread(call)) for call in (gate.pass_, int)]
    await gate.reached()
    # Those that join make a hop of their own in the same line.
    calls += [asyncio.create_task(call_in_thread(call)) for call in (int, int)]
    async with asyncio.timeout(PATIENCE):
        while len(looks) < 3:  # noqa: ASYNC110
            await asyncio.sleep(0.001)
    gate.open()
    await settled(*calls)
    looks.clear()
    await asyncio.sleep(5 * _hops._MEANWHILE)
    assert looks == []


@pytest.mark.parametrize("kind", [ValueError, Unusual, KeyError, StopAsyncIteration, GeneratorExit])
async def test_an_exception_reaches_its_caller_alone(kind):
    error = kind("x")
    calls: list[Callable[[], Any]] = [lambda: 1, lambda: fail(error), lambda: 3]
    found = await settled(*[await started(call_in_thread(call)) for call in calls])
    assert found == [1, error, 3]
    assert found[1] is error


@pytest.mark.parametrize("kind", [KeyboardInterrupt, SystemExit])
async def test_what_ends_the_program_reaches_its_caller_alone(kind):
    async def call() -> Any:
        try:
            return await call_in_thread(lambda: fail(kind("x")))
        except BaseException as error:
            return type(error)

    found = await asyncio.gather(call_in_thread(lambda: 1), call(), call_in_thread(lambda: 3))
    assert found == [1, kind, 3]


async def test_a_call_may_itself_be_cancelled():
    calls = [lambda: 1, lambda: fail(asyncio.CancelledError("x")), lambda: 3]
    one, two, three = await settled(*[await started(call_in_thread(call)) for call in calls])
    assert (one, type(two), three) == (1, asyncio.CancelledError, 3)


async def test_what_a_call_refers_to_is_not_kept():
    class Thing:
        pass

    thing = Thing()
    kept = weakref.ref(thing)
    await call_in_thread(lambda thing=thing: None)
    with pytest.raises(ValueError, match="x"):
        await call_in_thread(lambda thing=thing: fail(ValueError("x")))
    task = await started(call_in_thread(lambda thing=thing: None))
    task.cancel()
    await settled(task)
    await sync_to_async(int)()
    del thing, task
    gc.collect()
    assert kept() is None


# Cancellation


async def test_a_call_that_is_cancelled_before_its_turn_is_never_made(gate):
    made: list[int] = []
    first = await started(call_in_thread(gate.pass_))
    await gate.reached()
    calls = [await started(call_in_thread(lambda n=n: made.append(n) or n)) for n in range(4)]
    calls[1].cancel()
    calls[2].cancel()
    await asyncio.sleep(0)
    assert calls[1].cancelled()  # without waiting for the thread
    gate.open()
    found = await settled(first, *calls)
    assert [found[1], found[4]] == [0, 3]
    assert all(isinstance(error, asyncio.CancelledError) for error in found[2:4])
    assert made == [0, 3]


async def test_a_call_that_opened_the_line_may_be_cancelled():
    first = await started(call_in_thread(lambda: pytest.fail("It was cancelled.")))
    second = await started(call_in_thread(lambda: 2))
    first.cancel()
    found = await settled(first, second)
    assert isinstance(found[0], asyncio.CancelledError)
    assert found[1] == 2


async def test_a_call_that_is_cancelled_while_it_is_made_neither_waits_nor_loses_others(gate):
    made: list[str] = []

    def held() -> None:
        gate.pass_()
        made.append("held")

    first, second = await started(call_in_thread(held)), await started(call_in_thread(lambda: 2))
    await gate.reached()
    first.cancel()
    await asyncio.sleep(0)
    assert first.cancelled()
    assert made == []
    gate.open()
    assert await settled(second) == [2]
    assert made == ["held"]  # a thread cannot be stopped


@pytest.mark.parametrize("alone", [True, False])
async def test_what_a_cancelled_call_awaits_is_cancelled(alone):
    reached = asyncio.Event()
    seen: list[str] = []

    async def endless() -> None:
        reached.set()
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            seen.append("cancelled")
            raise

    tasks = [await started(call_in_thread(async_to_sync(endless)))]
    if not alone:
        tasks.append(await started(call_in_thread(lambda: "others go on")))
    async with asyncio.timeout(PATIENCE):
        await reached.wait()
    tasks[0].cancel()
    found = await settled(*tasks)
    assert isinstance(found[0], asyncio.CancelledError)
    assert found[1:] == ([] if alone else ["others go on"])
    await sync_to_async(int)()
    assert seen == ["cancelled"]


async def test_only_what_the_cancelled_call_awaits_is_cancelled():
    reached, go_on = asyncio.Event(), asyncio.Event()

    async def slow() -> str:
        reached.set()
        await go_on.wait()
        return "done"

    first = await started(call_in_thread(async_to_sync(slow)))
    second = await started(call_in_thread(lambda: 2))
    async with asyncio.timeout(PATIENCE):
        await reached.wait()
    second.cancel()
    await asyncio.sleep(0)
    go_on.set()
    found = await settled(first, second)
    assert found[0] == "done"
    assert isinstance(found[1], asyncio.CancelledError)


async def test_a_call_that_ends_as_it_is_cancelled_leaves_nothing_behind(gate):
    task = await started(call_in_thread(gate.pass_))
    await gate.reached()
    gate.open()
    await sync_to_async(int)()  # the call has been made, and its result may be on its way
    task.cancel()
    await settled(task)
    assert await call_in_thread(lambda: 1) == 1


# Lines that end


def others() -> list[asyncio.Task[Any]]:
    return [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]


async def test_all_who_wait_end_when_all_tasks_are_cancelled_at_once():
    tasks = [await started(call_in_thread(lambda: 1)) for _ in range(3)]
    for task in others():
        task.cancel()
    found = await settled(*tasks)
    assert [type(error) for error in found] == [asyncio.CancelledError] * 3
    async with asyncio.timeout(PATIENCE):
        assert await call_in_thread(lambda: 1) == 1


@pytest.mark.parametrize("when", ["before its first step", "in a hop"])
async def test_all_who_wait_end_when_what_makes_the_calls_is_cancelled(gate, when):
    before = set(others())
    first = asyncio.create_task(call_in_thread(gate.pass_ if when == "in a hop" else int))
    await asyncio.sleep(0)
    (runner,) = set(others()) - before - {first}
    if when == "in a hop":
        await gate.reached()
    second = await started(call_in_thread(lambda: 2)) if when == "in a hop" else None
    runner.cancel()
    gate.open()
    for found in await settled(*(task for task in (first, second) if task)):
        assert found in (None, 0, 2) or isinstance(found, asyncio.CancelledError)
    await settled(runner)
    async with asyncio.timeout(PATIENCE):
        assert await call_in_thread(lambda: 1) == 1


async def test_calls_of_a_hop_whose_line_has_ended_are_not_made(gate):
    before, made = set(others()), []
    first = asyncio.create_task(call_in_thread(gate.pass_))
    second = asyncio.create_task(call_in_thread(lambda: made.append("nobody waits for it")))
    await asyncio.sleep(0)
    (runner,) = set(others()) - before - {first, second}
    await gate.reached()
    runner.cancel()
    found = await settled(first, second)
    assert [type(error) for error in found] == [asyncio.CancelledError] * 2
    gate.open()
    await sync_to_async(int)()  # the thread has gone on
    assert await call_in_thread(lambda: 1) == 1
    assert made == []


async def test_what_has_been_made_when_its_line_ends_is_handed_over(gate, monkeypatch):
    monkeypatch.setattr(_hops, "_MEANWHILE", PATIENCE)
    calls = (lambda: 1, gate.pass_)
    first, second = [asyncio.create_task(call_in_thread(call)) for call in calls]
    await gate.reached()
    (line,) = _hops._lines.values()
    line._runner.cancel()
    found, error = await settled(first, second)
    assert found == 1
    assert isinstance(error, asyncio.CancelledError)


def test_a_loop_may_end_while_calls_wait(gate):
    made: list[str] = []

    async def main() -> None:
        await started(call_in_thread(gate.pass_))
        await gate.reached()
        for _ in range(3):
            await started(call_in_thread(lambda: made.append("nobody waits for it")))
        asyncio.get_running_loop().call_soon(gate.open)

    asyncio.run(main())
    assert _hops._lines == {}
    assert made == []
    assert asyncio.run(call_in_thread(lambda: 1)) == 1


def test_a_loop_may_end_before_a_call_has_its_turn():
    async def main() -> None:
        asyncio.create_task(call_in_thread(lambda: None))  # noqa: RUF006 - the loop cancels it
        await asyncio.sleep(0)

    asyncio.run(main())
    assert _hops._lines == {}


def one_call(call: Callable[[], object]) -> Awaitable[Any]:
    return call_in_thread(call)


def shared_call(call: Callable[[], object]) -> Awaitable[Any]:
    return call_once_in_thread({}, call)


EITHER = pytest.mark.parametrize("calling", [one_call, shared_call])


@EITHER
async def test_an_executor_that_refuses_is_an_error_for_all(monkeypatch, calling):
    executor = ThreadPoolExecutor(max_workers=1)
    executor.shutdown()
    with monkeypatch.context() as patch:
        patch.setattr(SyncToAsync, "single_thread_executor", executor)
        found = await settled(*[await started(calling(lambda: 1)) for _ in range(3)])
        assert [type(error) for error in found] == [RuntimeError] * 3
        names = {frame.name for frame in traceback.extract_tb(found[0].__traceback__)}
        assert "submit" in names  # where it arose
    assert await calling(lambda: 1) == 1


async def test_a_task_that_cannot_be_made_is_an_error_of_that_call_alone():
    loop = asyncio.get_running_loop()

    def refuse(loop: Any, coroutine: Any, **options: Any) -> Any:
        coroutine.close()
        raise MemoryError

    loop.set_task_factory(refuse)
    with pytest.raises(MemoryError):
        await call_in_thread(lambda: 1)
    loop.set_task_factory(None)
    assert _hops._lines == {}
    async with asyncio.timeout(PATIENCE):
        assert await call_in_thread(lambda: 1) == 1


async def test_a_call_that_ends_while_its_line_ends_is_handed_over(gate, monkeypatch):
    task = await started(call_in_thread(gate.pass_))
    await gate.reached()
    (line,) = _hops._lines.values()
    hand_over = line._hand_over

    def hand_over_just_before() -> None:
        hand_over()
        gate.open()
        until = time.monotonic() + PATIENCE
        while not line._made and time.monotonic() < until:
            time.sleep(0.001)
        monkeypatch.undo()

    monkeypatch.setattr(line, "_hand_over", hand_over_just_before)
    line._runner.cancel()
    (error,) = await settled(task)
    assert isinstance(error, asyncio.CancelledError)


def test_nothing_is_kept_of_a_loop_that_was_closed_in_the_middle_of_a_call(gate):
    running: dict[object, Any] = {}

    async def give_up() -> None:
        pending.append(await started(call_in_thread(gate.pass_)))
        await gate.reached()
        # It has to wait for the one before it.
        pending.extend([await started(call_once_in_thread(running, lambda: 1)) for _ in range(2)])

    pending: list[Any] = []
    with closing(asyncio.new_event_loop()) as loop:
        loop.run_until_complete(give_up())
    assert running
    (line,) = _hops._lines.values()
    runner: Any = line._runner
    gate.open()
    assert asyncio.run(call_in_thread(lambda: 1)) == 1
    assert _hops._lines == {}
    # Not by the garbage collector: Python 3.11 may crash if what that ends sets context variables.
    for task in (runner, *pending):
        task._log_destroy_pending = False
        copy_context().run(task.get_coro().close)
    assert running == {}


@pytest.mark.parametrize("number", [2, 20])
async def test_each_of_those_who_share_a_call_gets_its_exception_as_it_was(number):
    running: dict[object, Any] = {}
    calls = [call_once_in_thread(running, lambda: fail(ValueError("x"))) for _ in range(number)]
    errors = await asyncio.gather(*calls, return_exceptions=True)
    lengths = [len(traceback.extract_tb(error.__traceback__)) for error in errors]
    alone = len(lengths) and len(traceback.extract_tb(errors[0].__traceback__))
    assert max(lengths) == alone <= 8


# Which thread


def test_loops_in_several_threads_keep_apart():
    barrier = threading.Barrier(3)

    async def calls() -> list[int]:
        barrier.wait(PATIENCE)
        return await asyncio.gather(*(call_in_thread(lambda n=n: n) for n in range(10)))

    with ThreadPoolExecutor(3) as executor:
        futures = [executor.submit(asyncio.run, calls()) for _ in range(3)]
        assert [future.result(PATIENCE) for future in futures] == [list(range(10))] * 3


def test_below_a_sync_caller_calls_are_made_in_its_thread():
    async def calls() -> list[int]:
        return await asyncio.gather(*(call_in_thread(threading.get_ident) for _ in range(3)))

    assert async_to_sync(calls)() == [threading.get_ident()] * 3


async def test_each_thread_sensitive_context_has_a_thread_of_its_own(hops):
    gates = [Gate(), Gate()]
    # It has begun before the others end, whose identities may be given anew.
    outside = await call_in_thread(threading.get_ident)
    hops.clear()

    async def request(number: int) -> tuple[int, int]:
        async with ThreadSensitiveContext():

            def first() -> int:
                gates[number].open()
                gates[1 - number].pass_()  # both threads are here at the same time
                return threading.get_ident()

            one, two = await asyncio.gather(
                call_in_thread(first), call_in_thread(threading.get_ident)
            )
            return one, two

    (a, b), (c, d) = await asyncio.gather(request(0), request(1))
    assert a == b
    assert c == d
    assert len({a, c, outside}) == 3
    assert len(hops) == 2


async def test_a_call_may_come_back_to_the_loop_and_call_again(gate):
    """It must not stand in the line that waits for itself."""

    async def inner() -> list[Any]:
        return await asyncio.gather(call_in_thread(threading.get_ident), call_in_thread(int))

    def outer() -> tuple[int, Any]:
        return threading.get_ident(), async_to_sync(inner)()

    tasks = [await started(call_in_thread(call)) for call in (outer, outer, lambda: "other")]
    (one, inside), (two, inside_two), other = await settled(*tasks)
    assert inside == [one, 0]
    assert inside_two == [two, 0]
    assert one == two
    assert other == "other"


async def test_a_call_may_come_back_many_times():
    async def inner(depth: int) -> int:
        if not depth:
            return 0
        found: int = await call_in_thread(lambda: async_to_sync(inner)(depth - 1))
        return found + 1

    async with asyncio.timeout(PATIENCE):
        assert await asyncio.gather(*(inner(5) for _ in range(3))) == [5] * 3


@EITHER
async def test_an_event_loop_inside_a_call_is_refused_the_thread_that_it_blocks(calling):
    async def inner() -> Any:
        async with asyncio.timeout(PATIENCE / 5):
            return await sync_to_async(int)()

    async def own_inner() -> Any:
        async with asyncio.timeout(PATIENCE / 5):
            return await calling(int)

    for coroutine in (inner, own_inner):
        for calls in (1, 2):
            found = await settled(
                *[
                    await started(calling(lambda c=coroutine: asyncio.run(c())))
                    for _ in range(calls)
                ]
            )
            # As `asgiref` has it: they would wait for each other for ever.
            assert [str(error) for error in found] == [
                "Single thread executor already being used, would deadlock"
            ] * calls
    assert await call_in_thread(lambda: 1) == 1
    assert await sync_to_async(int)() == 0


def test_what_a_sync_caller_leaves_running_is_told_so():
    tasks: list[asyncio.Task[Any]] = []
    over = asyncio.Event()

    async def left_running() -> Any:
        await over.wait()
        return await call_in_thread(lambda: 1)

    async def leave() -> None:
        tasks.append(asyncio.create_task(left_running()))
        await asyncio.sleep(0)

    async def main() -> list[Any]:
        await sync_to_async(async_to_sync(leave))()
        over.set()
        return await settled(*tasks)

    (error,) = asyncio.run(main())
    # The thread that waited for it does so no more; `asgiref` says how.
    assert isinstance(error, RuntimeError)


# Other versions


async def use_all() -> None:
    """Make calls in all ways that matter."""
    await call_in_thread(lambda: colour.set("blue"))
    assert colour.get() == "blue"
    colour.set("red")
    made: list[int] = []
    answers = await asyncio.gather(
        *(call_in_thread(lambda n=n: made.append(n) or colour.get()) for n in range(5))
    )
    assert answers == ["red"] * 5
    assert made == list(range(5))
    running: dict[object, Any] = {}
    assert (
        await asyncio.gather(*(call_once_in_thread(running, lambda: 7) for _ in range(3)))
        == [7] * 3
    )
    assert running == {}
    with pytest.raises(ValueError, match="x"):
        await call_in_thread(lambda: fail(ValueError("x")))

    async def inner() -> Any:
        return await call_in_thread(lambda: "inner")

    found = await asyncio.gather(
        call_in_thread(lambda: async_to_sync(inner)()), call_in_thread(lambda: 2)
    )
    assert found == ["inner", 2]
    async with ThreadSensitiveContext():
        assert await call_in_thread(lambda: 3) == 3


async def test_calls_are_right_without_the_private_function_of_asgiref(monkeypatch):
    monkeypatch.setattr(_hops, "_take_over", _hops._set_variables)
    async with asyncio.timeout(PATIENCE):
        await use_all()


async def test_calls_are_right_where_asgiref_tells_nothing_of_its_threads(monkeypatch, hops):

    monkeypatch.setattr(_hops, "SyncToAsync", type("Other", (), {"threadlocal": threading.local()}))
    async with asyncio.timeout(PATIENCE):
        await use_all()
    hops.clear()
    await asyncio.gather(*(call_in_thread(int) for _ in range(3)))
    assert len(hops) == 3  # each for itself


async def test_calls_are_right_where_asgiref_has_no_such_variables(monkeypatch, hops):
    monkeypatch.setattr(_hops, "_deadlock", None)
    monkeypatch.setattr(_hops, "_executors", None)
    async with asyncio.timeout(PATIENCE):
        assert await asyncio.gather(*(call_in_thread(int) for _ in range(3))) == [0, 0, 0]
        assert len(hops) == 1
        await use_all()


def test_the_private_function_of_asgiref_is_used_where_there_is_one():
    assert _hops._take_over is asgiref.sync._restore_context  # type: ignore[attr-defined]


async def test_tasks_may_begin_at_once():
    # From Python 3.12 on.
    asyncio.get_running_loop().set_task_factory(getattr(asyncio, "eager_task_factory", None))
    async with asyncio.timeout(PATIENCE):
        await use_all()
        for _ in range(2):
            await asyncio.gather(*(use_all() for _ in range(3)))


# One call for all who want it


async def test_a_call_is_shared_by_all_who_want_it_at_a_time(hops):
    running: dict[object, Any] = {}
    made: list[int] = []

    def call() -> int:
        made.append(1)
        return len(made)

    for count in (1, 2):
        calls = (call_once_in_thread(running, call) for _ in range(10))
        assert await asyncio.gather(*calls) == [count] * 10
        assert running == {}
    assert len(hops) == 2


async def test_what_a_shared_call_changes_shows_where_it_was_asked_for_first():
    shared: _hops.Shared = {}

    async def ask(name: str) -> tuple[str, str]:
        colour.set(name)

        def mix() -> str:
            colour.set(f"{colour.get()}+blue")
            return name

        return await call_once_in_thread(shared, mix), colour.get()

    found = await asyncio.gather(ask("red"), ask("green"))
    assert found == [("red", "red+blue"), ("red", "green")]


async def test_a_shared_call_may_be_joined_at_any_time():
    running: dict[object, Any] = {}
    made: list[int] = []

    def call() -> int:
        made.append(1)
        return len(made)

    # One begins in each turn of the loop, also between the end of a call and those who wait for it.
    tasks = [await started(call_once_in_thread(running, call)) for _ in range(200)]
    answers = await settled(*tasks)
    assert answers == sorted(answers)
    assert set(answers) == set(range(1, len(made) + 1))
    assert running == {}


async def test_shared_calls_of_different_things_are_different():
    one: dict[object, Any] = {}
    two: dict[object, Any] = {}
    found = await asyncio.gather(
        call_once_in_thread(one, lambda: 1), call_once_in_thread(two, lambda: 2)
    )
    assert found == [1, 2]


@pytest.mark.parametrize("kind", [ValueError, Unusual, KeyboardInterrupt, SystemExit])
async def test_an_exception_of_a_shared_call_reaches_all_and_is_not_kept(kind):
    running: dict[object, Any] = {}

    async def ask() -> Any:
        try:
            return await call_once_in_thread(running, lambda: fail(kind("x")))
        except BaseException as error:
            return type(error)

    for _ in range(2):
        async with asyncio.timeout(PATIENCE):
            assert await asyncio.gather(*(ask() for _ in range(3))) == [kind] * 3
        assert running == {}
    assert await call_once_in_thread(running, lambda: 1) == 1


@pytest.mark.parametrize("cancelled", [0, 1, 2])
async def test_a_shared_call_goes_on_for_others_when_one_is_cancelled(gate, cancelled):
    running: dict[object, Any] = {}
    tasks = [
        await started(call_once_in_thread(running, lambda: gate.pass_() or 1)) for _ in range(3)
    ]
    await gate.reached()
    tasks[cancelled].cancel()
    await asyncio.sleep(0)
    gate.open()
    found = await settled(*tasks)
    assert isinstance(found.pop(cancelled), asyncio.CancelledError)
    assert found == [1, 1]
    assert running == {}


async def test_a_shared_call_is_made_anew_when_who_makes_it_is_cancelled(gate):
    """By one of the others alone, and not one after the other."""
    running: dict[object, Any] = {}
    made: list[str] = []

    async def ask(name: str) -> str:
        def call() -> str:
            made.append(name)
            gate.pass_()
            return name

        return await call_once_in_thread(running, call)

    tasks = [await started(ask(name)) for name in "abc"]
    await gate.reached()
    tasks[0].cancel()
    await asyncio.wait([tasks[0]])
    await asyncio.sleep(0)  # until the others have noticed
    gate.open()
    error, *found = await settled(*tasks)
    assert isinstance(error, asyncio.CancelledError)
    assert found == ["b", "b"]
    assert made == ["a", "b"]
    assert running == {}


async def test_what_a_shared_call_awaits_is_cancelled_with_who_makes_it_alone():
    running: dict[object, Any] = {}
    is_reached = asyncio.Event()

    async def wait(name: str) -> str:
        if name == "first":
            is_reached.set()
            await asyncio.sleep(PATIENCE)
        return name

    first, second = [
        await started(call_once_in_thread(running, partial(async_to_sync(wait), name)))
        for name in ("first", "second")
    ]
    await is_reached.wait()
    first.cancel()
    error, found = await settled(first, second)
    assert isinstance(error, asyncio.CancelledError)
    assert found == "second"
    assert running == {}


async def test_those_who_wait_go_on_when_who_makes_a_shared_call_is_dropped(gate):
    running: dict[object, Any] = {}
    dropped: Any = call_once_in_thread(running, gate.pass_)
    context = copy_context()
    context.run(dropped.send, None)
    await gate.reached()
    waiting = await started(call_once_in_thread(running, lambda: 1))
    context.run(dropped.close)
    await asyncio.sleep(0)
    gate.open()
    assert await settled(waiting) == [1]
    assert running == {}


async def test_nothing_shows_of_a_shared_call_of_one_who_is_cancelled(gate):
    def call() -> None:
        colour.set("blue")
        gate.pass_()

    async def ask() -> str:
        colour.set("red")
        with suppress(TimeoutError):
            async with asyncio.timeout(0.01):
                await call_once_in_thread({}, call)
        gate.open()
        await call_in_thread(int)  # by then the other is over
        return colour.get()

    assert await ask() == "red"


async def test_nothing_shows_of_a_shared_call_of_one_who_is_dropped(gate):
    def call() -> None:
        colour.set("blue")
        gate.pass_()

    colour.set("red")
    dropped: Any = call_once_in_thread({}, call)
    dropped.send(None)
    await gate.reached()
    dropped.close()
    gate.open()
    assert colour.get() == "red"


async def test_what_is_awaited_in_a_context_is_told_of_each_error_once():
    seen: list[int] = []

    async def stubborn() -> None:
        for number in range(3):
            try:
                await asyncio.sleep(0.01)
            except asyncio.CancelledError:
                seen.append(number)

    async def wait() -> None:
        await _hops._await_in(copy_context(), stubborn())

    task = await started(wait())
    task.cancel()
    (error,) = await settled(task)
    assert isinstance(error, asyncio.CancelledError)
    assert seen == [0]


async def test_what_is_awaited_in_a_context_may_get_over_an_error():
    failing: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    async def wait() -> None:
        with pytest.raises(ValueError, match="x"):
            await failing
        await asyncio.sleep(0)

    task = await started(_hops._await_in(copy_context(), wait()))
    failing.set_exception(ValueError("x"))
    assert await settled(task) == [None]


async def test_who_is_cancelled_is_so_whatever_comes_of_a_shared_call():
    """Even if what it awaits goes on."""
    is_reached = asyncio.Event()

    async def stubborn() -> int:
        is_reached.set()
        with suppress(asyncio.CancelledError):
            await asyncio.sleep(PATIENCE)
        return 1

    shared: _hops.Shared = {}
    task = await started(call_once_in_thread(shared, async_to_sync(stubborn)))
    other = await started(call_once_in_thread(shared, lambda: 2))
    await is_reached.wait()
    task.cancel()
    error, found = await settled(task, other)
    assert isinstance(error, asyncio.CancelledError)
    assert found == 1


async def test_tasks_that_share_a_context_may_call_at_the_same_time():
    context = copy_context()
    calls = (shared_call(lambda: 1), shared_call(lambda: 2), call_in_thread(lambda: 3))
    tasks = [
        asyncio.get_running_loop().create_task(cast("Any", call), context=context) for call in calls
    ]
    assert await settled(*tasks) == [1, 2, 3]


@EITHER
async def test_a_mark_of_asgiref_stays_what_it_is(calling):
    for mark in (True, False):
        async with ThreadSensitiveContext():
            SyncToAsync.deadlock_context.set(mark)
            assert await calling(lambda: colour.set("green") and 1) == 1
            assert SyncToAsync.deadlock_context.get() is mark
    assert colour.get() == "green"


@EITHER
async def test_an_executor_that_refuses_leaves_no_mark(monkeypatch, calling):
    executor = ThreadPoolExecutor(max_workers=1)
    executor.shutdown()
    with monkeypatch.context() as patch:
        patch.setattr(SyncToAsync, "single_thread_executor", executor)
        with pytest.raises(RuntimeError, match="shutdown"):
            await calling(lambda: 1)
    assert await calling(lambda: 1) == 1


async def test_many_shared_calls_of_different_things_share_hops(hops):
    calls = (call_once_in_thread({}, lambda n=n: n) for n in range(50))
    assert await asyncio.gather(*calls) == list(range(50))
    assert len(hops) == 2  # the first had nobody to wait for


async def test_a_shared_call_waits_in_a_line_that_there_is(hops, gate):
    blocking = await started(call_in_thread(gate.pass_))
    await gate.reached()
    calls = [await started(call_in_thread(lambda: 1)), await started(shared_call(lambda: 2))]
    gate.open()
    assert await settled(blocking, *calls) == [None, 1, 2]
    assert len(hops) == 2


async def test_a_shared_call_that_all_have_given_up_is_made_anew_for_the_next(gate):
    running: dict[object, Any] = {}
    made: list[str] = []
    blocking = await started(call_in_thread(gate.pass_))
    await gate.reached()
    given_up = [
        await started(call_once_in_thread(running, lambda: made.append("given up")))
        for _ in range(3)
    ]
    for task in given_up:
        task.cancel()
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    next_one = await started(call_once_in_thread(running, lambda: made.append("next")))
    gate.open()
    await settled(blocking, *given_up, next_one)
    assert "next" in made
    assert running == {}


async def test_nobody_is_told_of_the_exception_of_a_shared_call_that_all_have_given_up(gate):
    reported: list[Any] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: reported.append(context))

    def call() -> None:
        gate.pass_()
        raise ValueError("x")

    task = await started(call_once_in_thread({}, call))
    await gate.reached()
    task.cancel()
    await settled(task)
    gate.open()
    await sync_to_async(int)()
    await asyncio.sleep(0)
    del task
    gc.collect()
    await asyncio.sleep(0)
    assert reported == []


async def test_a_shared_call_is_shared_within_a_thread_alone():
    running: dict[object, Any] = {}

    async def own() -> int:
        async with ThreadSensitiveContext():
            found: int = await call_once_in_thread(running, threading.get_ident)
            return found

    found = await asyncio.gather(own(), own(), call_once_in_thread(running, threading.get_ident))
    assert len(set(found)) == 3
    assert running == {}


def test_loops_in_several_threads_do_not_share_a_call():
    running: dict[object, Any] = {}
    barrier = threading.Barrier(3)

    async def calls() -> list[int]:
        barrier.wait(PATIENCE)
        return await asyncio.gather(*(call_once_in_thread(running, lambda: 1) for _ in range(5)))

    with ThreadPoolExecutor(3) as executor:
        futures = [executor.submit(asyncio.run, calls()) for _ in range(3)]
        assert [future.result(PATIENCE) for future in futures] == [[1] * 5] * 3
    assert running == {}


async def test_a_context_does_not_keep_what_was_called():
    class Thing:
        pass

    thing = Thing()
    kept = weakref.ref(thing)
    await call_once_in_thread({}, lambda thing=thing: None)
    context = copy_context()
    del thing
    gc.collect()
    assert kept() is None
    assert context is not None


@pytest.mark.parametrize("is_own", [True, False])
async def test_a_thread_is_marked_as_asgiref_marks_it(is_own):
    """The one thread that cannot wait for itself, and one that is of a context."""

    def mark() -> object:
        return SyncToAsync.deadlock_context.get(False)

    async def marks(context: Any) -> list[object]:
        async with context:
            return [await call_in_thread(mark), await sync_to_async(mark)()]

    # In a context that asgiref has not marked before.
    work = marks(ThreadSensitiveContext() if is_own else nullcontext())
    found = await asyncio.get_running_loop().create_task(work, context=Context())
    assert found[0] is found[1] is not is_own
