"""The machine itself: it replays what it has done, and sees what it has to see."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest
from asgiref.sync import async_to_sync, sync_to_async

from djem_async.models import OLPMixin

from . import scenarios, threads
from .explorer import Case, Explorer
from .loop import EVERYBODY, Cancellation
from .storages import Storage
from .world import Program, World

if TYPE_CHECKING:
    from collections.abc import Iterator

SEEDS = range(10)

Start = Callable[[World], Program]
Run = Callable[..., list[str]]


@pytest.fixture(scope="module")
def explorer() -> Iterator[Explorer]:
    with Explorer(Storage()).ready() as explorer:
        yield explorer


@pytest.fixture
def run(explorer: Explorer, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Run a scenario of a test's own, with a few seeds, and return all problems."""

    def run(scenario: Start, cancellation: Cancellation | None = None) -> list[str]:
        monkeypatch.setitem(scenarios.SCENARIOS, "own", scenario)
        cases = [Case("own", seed, cancellation) for seed in SEEDS]
        return [problem for case in cases for problem in explorer.run(case).problems]

    return run


def scenario(**tasks: Callable[..., Any]) -> Start:
    return lambda w: Program({name: partial(task, w) for name, task in tasks.items()})


@pytest.mark.parametrize("name", ["anything", "blocked_thread", "bridges"])
def test_a_case_replays_exactly(explorer: Explorer, name: str) -> None:
    for seed in range(4):
        case = Case(name, seed, Cancellation(EVERYBODY, 20))
        first, *others = (explorer.run(Case.parse(str(case))) for _ in range(2))
        assert all(other == first for other in others)


def test_a_task_is_cancelled_at_each_suspension(run: Run) -> None:
    reached = []

    async def walk(w: World) -> None:
        for step in range(3):
            reached.append(step)
            await asyncio.sleep(0)

    for at in (1, 2, 3):
        reached.clear()
        assert run(scenario(a=walk), Cancellation("a", at)) == []
        assert reached == list(range(at)) * len(SEEDS)


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
    assert any("Nobody can go on" in problem for problem in run(program))


async def spin(w: World) -> None:
    while True:  # noqa: ASYNC110 - what it waits for never comes
        await asyncio.sleep(0)


async def forget_a_check(w: World) -> None:
    w.user.ahas_perm("testapp.slow", w.things[0])


async def leave_a_log_active(w: World) -> None:
    w.user.start_log("left")


async def fail(w: World) -> None:
    raise ValueError("wrong")


KEPT: list[object] = []


async def keep_the_user(w: World) -> None:
    KEPT.append(w.user)


@pytest.mark.parametrize(
    ("task", "problem"),
    [
        (spin, "It never ends"),
        (forget_a_check, "was never awaited"),
        (leave_a_log_active, "a log is still active"),
        (fail, "ends with ValueError"),
        (keep_the_user, "is still alive"),
    ],
)
def test_a_problem(
    run: Run, monkeypatch: pytest.MonkeyPatch, task: Callable[[World], Any], problem: str
) -> None:
    monkeypatch.setattr(threads, "MANY", 1000)
    problems = run(scenario(a=task))
    KEPT.clear()
    assert any(problem in found for found in problems)


def test_a_swallowed_cancellation(run: Run) -> None:
    async def swallow(w: World) -> None:
        with suppress(asyncio.CancelledError):
            await asyncio.sleep(0)

    assert any("but goes on" in found for found in run(scenario(a=swallow), Cancellation("a", 1)))


class Broken:
    """Ways in which the library must not be."""

    @staticmethod
    async def grants(user: OLPMixin, perm: str, obj: Any = None) -> Any:
        return True

    @staticmethod
    def forgets_nothing(user: OLPMixin) -> None:
        pass

    @staticmethod
    def shows_no_log(user: OLPMixin, tags: Any = None, raw: bool = False) -> Any:
        return []


@pytest.mark.parametrize(
    ("name", "broken", "known_by", "problem"),
    [
        ("ahas_perm", Broken.grants, "many_objects", "is True, from"),
        ("clear_perm_cache", Broken.forgets_nothing, "threads", "is allowed"),
        ("get_last_log", Broken.shows_no_log, "many_objects", "the last log"),
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
