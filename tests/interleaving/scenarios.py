"""What the tasks and threads of a schedule do."""

from __future__ import annotations

import asyncio
from copy import copy
from functools import partial
from typing import TYPE_CHECKING, Any

from asgiref.sync import ThreadSensitiveContext, async_to_sync, sync_to_async

from .methods import SOUND, SYNC
from .moments import label
from .world import Program, World

if TYPE_CHECKING:
    from collections.abc import Callable

    from django.db.models import Model

    from .world import Start

SCENARIOS: dict[str, Callable[[World], Program]] = {}


def scenario(function: Callable[[World], Program]) -> Callable[[World], Program]:
    SCENARIOS[function.__name__] = function
    return function


def choose(w: World) -> tuple[str, Model]:
    """Choose a permission and an object."""
    return w.choices.draw(SOUND), w.choices.draw(w.things)


async def repeat(times: int, check: Start) -> None:
    for _ in range(times):
        await check()


@scenario
def one_object(w: World) -> Program:
    """All ask the same."""
    name, thing = choose(w)
    return Program({task: partial(w.check, name, copy(thing)) for task in "abcd"})


@scenario
def many_objects(w: World) -> Program:
    """Each asks something else, twice; of two users."""

    def check() -> Start:
        return partial(w.check, *choose(w), w.choices.draw((w.user, w.user, w.other_user)))

    return Program({task: partial(repeat, 2, check()) for task in "abcde"})


@scenario
def crowd(w: World) -> Program:
    """All share one fetch of the model level."""

    def judge() -> None:
        if w.is_undisturbed and w.has_database and w.queries != 1:
            w.problem(f"{w.queries} queries")

    asked = [(name, thing) for name in ("inline", "slow", "twin", "open") for thing in w.things]
    tasks = {f"{name}:{label(thing)}": partial(w.check, name, thing) for name, thing in asked}
    return Program(tasks, judge=judge)


async def change(w: World, name: str, thing: Model, *, value: bool) -> None:
    """Grant or revoke somewhere, clear, and ask: what was true before must be gone."""
    key: tuple[Any, ...] = w.choices.draw(("user", "group")), name, label(thing)
    if w.choices.chance(0.5):
        key = ("held", w.user.pk, name)
    await sync_to_async(w.set)(*key, value=value)
    w.choices.draw((w.clear, w.delete_caches))(w.user)
    await w.check(name, thing)


@scenario
def changes(w: World) -> Program:
    name, thing = choose(w)
    tasks: dict[str, Start] = {
        task: partial(repeat, 3, partial(w.check, name, copy(thing))) for task in "abc"
    }

    async def revoke_and_grant() -> None:
        for value in w.choices.draw([(False,), (False, True), (False, True, False)]):
            await change(w, name, thing, value=value)

    return Program({**tasks, "changer": revoke_and_grant})


@scenario
def failures(w: World) -> Program:
    """A query fails, or an access method; the check that needs it fails, and is made again."""
    name, thing = choose(w)
    names = w.choices.draw(((name,), (name, "failing", "slow", "plain")))
    w.fails_at = w.choices.draw((0, 1, 2, 3, 4))

    async def ask() -> None:
        for _ in range(3):
            await w.tolerantly(w.check(w.choices.draw(names), thing))

    return Program(dict.fromkeys("abc", ask))


@scenario
def threads(w: World) -> Program:
    """Threads and tasks, one of which changes what is true."""
    name, thing = w.choices.draw(SYNC), w.choices.draw(w.things)

    def ask() -> None:
        for _ in range(3):
            w.check_sync(name, copy(thing))
        w.check_sync(w.choices.draw(SYNC), w.choices.draw(w.things))

    def revoke_and_grant() -> None:
        for value in (False, True):
            w.set("held", w.user.pk, name, value=value)
            w.set("user", name, label(thing), value=value)
            w.clear(w.user)
            w.check_sync(name, thing)

    tasks = {"a": partial(w.check, name, thing), "b": partial(w.check, *choose(w))}
    return Program(tasks, {"c": ask, "d": ask, "changer": revoke_and_grant})


@scenario
def blocked_thread(w: World) -> Program:
    """The thread of all hops is blocked by code that waits for a task which may need it."""
    name, thing = choose(w)
    tasks: dict[str, Start] = {
        "a": partial(sync_to_async(async_to_sync(w.check)), name, thing),
        "b": partial(w.check, name, thing),
        "c": partial(w.check, "bridged", w.things[0]),
        "d": partial(w.check, "plain", w.things[0]),
    }
    return Program(tasks)


@scenario
def thread_sensitive_contexts(w: World) -> Program:
    """As in ASGI, where each request has a thread of its own."""
    name, thing = choose(w)

    async def request() -> None:
        async with ThreadSensitiveContext():
            await w.check(name, thing)
            await w.check(*choose(w))

    return Program({"a": request, "b": request, "c": partial(w.check, name, thing)})


@scenario
def anything(w: World) -> Program:
    names = [w.choices.draw(SOUND) for _ in range(2)]

    async def act() -> None:
        for _ in range(w.choices.draw((2, 3, 4))):
            name, thing = w.choices.draw(names), copy(w.choices.draw(w.things))
            match w.choices.draw(range(8)):
                case 0:
                    await change(w, name, thing, value=w.choices.chance(0.5))
                case 1:
                    w.delete_caches(w.user)
                case 2:
                    await w.tolerantly(w.check("failing", thing))
                case 3:
                    await asyncio.gather(w.check(name, thing), w.check(*choose(w)))
                case 4:
                    await w.check(name, None)
                case _:
                    await w.check(name, thing)

    return Program(dict.fromkeys("abcd", act))
