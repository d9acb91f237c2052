"""What the tasks and threads of a schedule do."""

from __future__ import annotations

import asyncio
from functools import partial
from typing import TYPE_CHECKING, Any

from asgiref.sync import ThreadSensitiveContext, async_to_sync, sync_to_async

from .methods import FAILING, KINDS, SOUND, SYNC
from .moments import label
from .world import Program, World

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from django.db.models import Model

    from .world import Start

SCENARIOS: dict[str, Callable[[World], Program]] = {}


def scenario(function: Callable[[World], Program]) -> Callable[[World], Program]:
    SCENARIOS[function.__name__] = function
    return function


def choose(w: World) -> tuple[str, Model]:
    """Choose a permission and an object."""
    return w.choices.draw(SOUND), w.choices.draw(w.things)


async def in_turn(*steps: Callable[[], Coroutine[Any, Any, Any]]) -> None:
    for step in steps:
        await step()


def everything(w: World) -> Program:
    """Ask everything once, so that what is the same for all users is known."""

    async def ask() -> None:
        for name in KINDS:
            for thing in w.things:
                await w.tolerantly(w.check(name, thing))

    return Program({"a": ask})


# One cold user


@scenario
def one_object(w: World) -> Program:
    """All ask the same."""
    name, thing = choose(w)
    return Program({task: partial(w.check, name, w.again(thing)) for task in "abcd"})


@scenario
def many_objects(w: World) -> Program:
    """Each asks something else, twice; of two users."""

    def twice(name: str, thing: Model) -> Callable[[], Coroutine[Any, Any, None]]:
        user = w.choices.draw((w.user, w.user, w.other_user))
        return partial(in_turn, *[partial(w.check, name, thing, user)] * 2)

    return Program({task: twice(*choose(w)) for task in "abcde"})


@scenario
def crowd(w: World) -> Program:
    """All share one fetch of the model level."""

    def judge() -> None:
        if w.is_undisturbed and w.has_database and w.queries != 1:
            w.problem(f"{w.queries} queries")

    names = ("inline", "slow", "twin", "open")
    tasks = {
        f"{name} {thing}": partial(w.check, name, thing) for name in names for thing in w.things
    }
    return Program(tasks, judge=judge)


# Changes


async def change(w: World, name: str, thing: Model, *, value: bool) -> None:
    """Grant or revoke somewhere, clear, and ask: what was true before must be gone."""
    key: tuple[Any, ...]
    if w.choices.chance(0.5):
        key = ("held", w.user.pk, name)
    else:
        key = (w.choices.draw(("user", "group")), name, label(thing))
    await w.aset(*key, value=value)
    how = w.choices.draw(("clear", "aclear", "delete"))
    if how == "clear":
        w.clear(w.user)
    elif how == "aclear":
        await w.aclear(w.user)
    else:
        w.delete_caches(w.user)
    await w.check(name, thing)


@scenario
def changes(w: World) -> Program:
    name, thing = choose(w)
    tasks = {
        task: partial(in_turn, *[partial(w.check, name, w.again(thing))] * 3) for task in "abc"
    }
    values = w.choices.draw([(False,), (False, True), (False, True, False)])
    steps = [partial(change, w, name, thing, value=value) for value in values]
    return Program({**tasks, "changer": partial(in_turn, *steps)})


# Faults


@scenario
def failures(w: World) -> Program:
    """A query fails, or an access method; who has asked for it gets the error and may ask again."""
    name, thing = choose(w)
    names: tuple[str, ...] = (name,)
    if w.choices.chance(0.5):
        w.fails_at = w.choices.draw((1, 2, 3, 4))
    else:
        names = (*FAILING, "slow", "plain")

    async def ask() -> None:
        for _ in range(3):
            await w.tolerantly(w.check(w.choices.draw(names), thing))

    return Program(dict.fromkeys("abc", ask))


# Threads


@scenario
def threads(w: World) -> Program:
    """Threads and a task, one of which changes what is true."""
    name, thing = w.choices.draw(SYNC), w.choices.draw(w.things)

    def ask() -> None:
        for _ in range(3):
            w.check_sync(name, w.again(thing))
        w.check_sync(w.choices.draw(SYNC), w.choices.draw(w.things))

    def change_back_and_forth() -> None:
        for value in (False, True):
            w.set("held", w.user.pk, name, value=value)
            w.set("user", name, label(thing), value=value)
            w.clear(w.user)
            w.check_sync(name, thing)

    tasks: dict[str, Start] = {"a": partial(w.check, name, thing)}
    if w.choices.chance(0.5):
        tasks["b"] = partial(change, w, name, thing, value=False)
    return Program(tasks, {"c": ask, "d": ask, "changer": change_back_and_forth})


# The thread that all hops share


@scenario
def blocked_thread(w: World) -> Program:
    """The thread is blocked by code that waits for a task which may need that thread."""
    name, thing = choose(w)

    async def bridge() -> None:
        await sync_to_async(async_to_sync(w.check))(name, thing)

    return Program(
        {
            "a": bridge,
            "b": partial(w.check, name, thing),
            "c": partial(w.check, "bridged", w.things[0]),
            "d": partial(w.check, "plain", w.things[0]),
        }
    )


@scenario
def thread_sensitive_contexts(w: World) -> Program:
    """As in ASGI, where each request has a thread of its own."""
    name, thing = choose(w)

    async def request() -> None:
        async with ThreadSensitiveContext():
            await w.check(name, thing)
            await w.check(*choose(w))

    return Program({"a": request, "b": request, "c": partial(w.check, name, thing)})


# Everything


@scenario
def anything(w: World) -> Program:
    names = [w.choices.draw(SOUND) for _ in range(2)]

    async def act() -> None:
        for _ in range(w.choices.draw((2, 3, 4))):
            name, thing = w.choices.draw(names), w.again(w.choices.draw(w.things))
            match w.choices.draw(range(8)):
                case 0:
                    await change(w, name, thing, value=w.choices.chance(0.5))
                case 1:
                    w.delete_caches(w.user)
                case 2:
                    await w.tolerantly(w.check(w.choices.draw(FAILING), thing))
                case 3:
                    await asyncio.gather(w.check(name, thing), w.check(*choose(w)))
                case 4:
                    await w.check(name, None)
                case _:
                    await w.check(name, thing)

    return Program(dict.fromkeys("abcd", act))
