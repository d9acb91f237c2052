"""The machine itself: it replays what it has done, and sees what it has to see."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest
from asgiref.sync import async_to_sync, sync_to_async

from djem_async._entries import entries_of
from djem_async._owned import _creating
from djem_async._pending import Pending
from djem_async.logs import Loggable, _store
from djem_async.models import OLPMixin

from . import scenarios, threads
from .explorer import Case, Explorer
from .loop import EVERYBODY, Cancellation
from .storages import LiveStorage
from .world import Program, World

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator


SEEDS = range(20)

Start = Callable[[World], Program]
Run = Callable[..., list[str]]


@pytest.fixture(scope="module")
def explorer() -> Iterator[Explorer]:
    with Explorer(LiveStorage()).ready() as explorer:
        yield explorer


@pytest.fixture
def run(explorer: Explorer, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Run a scenario of a test's own, with a few seeds, and return all problems."""

    def run(
        scenario: Start, cancellation: Cancellation | None = None, seeds: Iterable[int] = SEEDS
    ) -> list[str]:
        monkeypatch.setitem(scenarios.SCENARIOS, "own", scenario)
        cases = [Case("own", seed, cancellation) for seed in seeds]
        return [problem for case in cases for problem in explorer.run(case).problems]

    return run


def scenario(**tasks: Callable[..., Any]) -> Start:
    return lambda w: Program({name: partial(task, w) for name, task in tasks.items()})


@pytest.mark.parametrize("name", ["anything", "threads", "several_loops", "blocked_thread"])
def test_a_case_replays_exactly(explorer: Explorer, name: str) -> None:
    for seed in range(4):
        case = Case(name, seed, Cancellation(EVERYBODY, 20))
        first, *others = (explorer.run(Case.parse(str(case))) for _ in range(3))
        assert len(first.trace) > 5
        assert all(other == first for other in others)


def test_seeds_lead_to_different_orders(explorer: Explorer) -> None:
    traces = {" ".join(explorer.run(Case("many_objects", seed)).trace) for seed in range(10)}
    assert len(traces) == 10


def test_tasks_run_in_all_orders(run: Run) -> None:
    orders = set()

    def program(w: World) -> Program:
        order: list[str] = []

        async def step(name: str) -> None:
            await asyncio.sleep(0)
            order.append(name)
            if len(order) == 3:
                orders.add("".join(order))

        return Program({name: partial(step, name) for name in "abc"})

    assert run(program, seeds=range(100)) == []
    assert len(orders) == 6


def test_a_task_is_cancelled_at_each_suspension(run: Run) -> None:
    reached = []

    async def walk(w: World) -> None:
        for step in range(3):
            reached.append(step)
            await asyncio.sleep(0)
        reached.append(3)

    assert run(scenario(a=walk)) == []
    assert reached == [0, 1, 2, 3] * len(SEEDS)
    for at in (1, 2, 3):
        reached.clear()
        assert run(scenario(a=walk), Cancellation("a", at)) == []
        assert reached == list(range(at)) * len(SEEDS)


def test_an_interrupted_thread_races(run: Run) -> None:
    totals = set()

    def program(w: World) -> Program:
        total = 0

        def add() -> None:
            nonlocal total
            found = total
            w.pause()
            total = found + 1
            totals.add(total)

        return Program(threads={"a": add, "b": add})

    assert run(program) == []
    assert totals == {1, 2}


def test_locks_of_the_library_are_controlled(run: Run) -> None:
    from djem_async import _owned

    assert isinstance(_creating, type(threading.RLock()))

    def program(w: World) -> Program:
        assert type(_owned._creating) is not type(_creating)
        inside = []

        def hold() -> None:
            with _owned._creating:
                inside.append(1)
                w.pause()
                assert inside == [1]
                inside.clear()

        return Program(threads={"a": hold, "b": hold, "c": hold})

    assert run(program) == []


# What it must not overlook


async def wait_for_nobody(w: World) -> None:
    await asyncio.get_running_loop().create_future()


def block_the_thread(w: World) -> Program:
    free = asyncio.Event()

    async def wait() -> None:
        await sync_to_async(async_to_sync(free.wait))()

    async def set_free() -> None:
        await sync_to_async(free.set)()

    return Program({"a": wait, "b": set_free})


@pytest.mark.parametrize("program", [scenario(a=wait_for_nobody), block_the_thread])
def test_a_deadlock(run: Run, program: Any) -> None:
    problems = run(program)
    assert any("Nobody can go on" in problem for problem in problems)


@pytest.fixture
def is_impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(threads, "MANY", 2000)


async def spin(w: World) -> None:
    while True:  # noqa: ASYNC110 - what it waits for never comes
        await asyncio.sleep(0)


async def forget_a_task(w: World) -> None:
    async def fail() -> None:
        raise ValueError("nobody looks")

    task = asyncio.get_running_loop().create_task(fail())
    await asyncio.sleep(0)
    await asyncio.wait([task])


async def forget_a_check(w: World) -> None:
    w.user.ahas_perm("testapp.slow", w.things[0])


async def leave_a_log_active(w: World) -> None:
    w.user.start_log("left")


async def fail(w: World) -> None:
    raise ValueError("wrong")


async def cancel_oneself(w: World) -> None:
    raise asyncio.CancelledError


async def call_from_elsewhere(w: World) -> None:
    loop = asyncio.get_running_loop()
    await sync_to_async(lambda: loop.call_soon(print))()


KEPT: list[object] = []


async def keep_the_user(w: World) -> None:
    KEPT.append(w.user)


async def keep_a_log_scope(w: World) -> None:
    from djem_async.logs import LogScope

    KEPT.append(LogScope(Loggable()))


@pytest.mark.usefixtures("is_impatient")
@pytest.mark.parametrize(
    ("task", "problem"),
    [
        (spin, "It never ends"),
        (forget_a_task, "Task exception was never retrieved"),
        (forget_a_check, "was never awaited"),
        (leave_a_log_active, "a log is still active"),
        (fail, "ends with ValueError"),
        (cancel_oneself, "nobody has asked for that"),
        (call_from_elsewhere, "Non-thread-safe"),
        (keep_the_user, "is still alive"),
        (keep_a_log_scope, "more of LogScope"),
    ],
)
def test_a_problem(run: Run, task: Callable[[World], Any], problem: str) -> None:
    problems = run(scenario(a=task))
    KEPT.clear()
    assert any(problem in found for found in problems)


class Broken:
    """Ways in which the library must not be."""

    @staticmethod
    def grants(user: OLPMixin, perm: str, obj: Any = None) -> Any:
        async def grant() -> bool:
            return True

        return Pending(grant())

    @staticmethod
    def forgets_nothing(user: OLPMixin) -> None:
        pass

    @staticmethod
    def shows_any_log(user: OLPMixin, tags: Any = None, raw: bool = False) -> Any:
        return entries_of(_store(user).last)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("name", "broken", "known_by", "problem"),
    [
        ("ahas_perm", Broken.grants, "many_objects", "is True, from"),
        ("clear_perm_cache", Broken.forgets_nothing, "threads", "allows"),
        ("get_last_log", Broken.shows_any_log, "many_objects", "the last log"),
    ],
)
def test_a_broken_library(
    explorer: Explorer,
    monkeypatch: pytest.MonkeyPatch,
    name: str,
    broken: Any,
    known_by: str,
    problem: str,
) -> None:
    monkeypatch.setattr(OLPMixin, name, broken)
    problems = [p for seed in SEEDS for p in explorer.run(Case(known_by, seed)).problems]
    assert any(problem in found for found in problems)


def test_a_swallowed_cancellation(run: Run) -> None:
    async def swallow(w: World) -> None:
        with suppress(asyncio.CancelledError):
            await asyncio.sleep(0)

    assert any("but goes on" in found for found in run(scenario(a=swallow), Cancellation("a", 1)))
