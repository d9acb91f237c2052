"""The explorer itself: it replays what it has done, and finds what is planted."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest

from djem_async.models import OLPMixin

from . import scenarios, threads
from .explorer import Case, Explorer
from .loop import EVERYBODY, Cancellation
from .storages import Storage
from .world import Program, World

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

SEEDS = range(10)


@pytest.fixture(scope="module")
def explorer() -> Iterator[Explorer]:
    with Explorer(Storage()).ready() as explorer:
        yield explorer


@pytest.mark.parametrize("name", ["anything", "blocked_thread"])
def test_a_case_replays_exactly(explorer: Explorer, name: str) -> None:
    for seed in range(4):
        case = Case(name, seed, Cancellation(EVERYBODY, 20))
        assert explorer.run(Case.parse(str(case))) == explorer.run(case)


async def wait_for_nobody(w: World) -> None:
    await asyncio.get_running_loop().create_future()


async def spin(w: World) -> None:
    while True:  # noqa: ASYNC110 - what it waits for never comes
        await asyncio.sleep(0)


async def forget_a_check(w: World) -> None:
    w.user.ahas_perm("testapp.slow", w.things[0])


async def leave_a_log_active(w: World) -> None:
    w.user.start_log("left")


async def swallow_a_cancellation(w: World) -> None:
    with suppress(asyncio.CancelledError):
        await asyncio.sleep(0)


KEPT: list[object] = []


async def keep_the_user(w: World) -> None:
    KEPT.append(w.user)


@pytest.mark.parametrize(
    ("task", "problem"),
    [
        (wait_for_nobody, "No thread can go on"),
        (spin, "It never ends"),
        (forget_a_check, "was never awaited"),
        (leave_a_log_active, "a log is still active"),
        (swallow_a_cancellation, "but goes on"),
        (keep_the_user, "is still alive"),
    ],
)
def test_a_problem_of_a_task_is_found(
    explorer: Explorer, monkeypatch: pytest.MonkeyPatch, task: Callable[..., Any], problem: str
) -> None:
    monkeypatch.setattr(threads, "MANY", 1000)
    monkeypatch.setitem(scenarios.SCENARIOS, "own", lambda w: Program({"a": partial(task, w)}))
    plan = Cancellation("a", 1) if task is swallow_a_cancellation else None
    problems = explorer.run(Case("own", 1, plan)).problems
    KEPT.clear()
    assert any(problem in found for found in problems)


async def grant(user: OLPMixin, perm: str, obj: Any = None) -> Any:
    return True


def clear_nothing(user: OLPMixin) -> None:
    pass


def show_no_log(user: OLPMixin, tags: Any = None, raw: bool = False) -> Any:
    return []


@pytest.mark.parametrize(
    ("name", "broken", "scenario", "problem"),
    [
        ("ahas_perm", grant, "many_objects", "is True, from"),
        ("clear_perm_cache", clear_nothing, "threads", "is allowed"),
        ("get_last_log", show_no_log, "many_objects", "the last log"),
    ],
)
def test_a_broken_library_is_found(
    explorer: Explorer,
    monkeypatch: pytest.MonkeyPatch,
    name: str,
    broken: Any,
    scenario: str,
    problem: str,
) -> None:
    monkeypatch.setattr(OLPMixin, name, broken)
    problems = [p for seed in SEEDS for p in explorer.run(Case(scenario, seed)).problems]
    assert any(problem in found for found in problems)
