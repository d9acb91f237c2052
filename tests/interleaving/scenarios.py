"""What the tasks and threads of a schedule do."""

from __future__ import annotations

import asyncio
from functools import partial
from typing import TYPE_CHECKING, Any

from asgiref.sync import ThreadSensitiveContext, async_to_sync, sync_to_async

from .methods import FAILING, KINDS, SOUND
from .moments import label
from .world import Program, World

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from django.db.models import Model

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
                if name in SOUND:
                    await sync_to_async(w.check_sync)(name, thing)

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
def plain_objects(w: World) -> Program:
    """All need a thread."""
    names = ("plain", "mixed", "twin", "bridged")
    asked = [(w.choices.draw(names), w.choices.draw(w.things)) for _ in range(6)]
    return Program({f"{i}": partial(w.check, *each) for i, each in enumerate(asked)})


@scenario
def crowd(w: World) -> Program:
    """All share one fetch of the model level."""

    def judge() -> None:
        if w.is_undisturbed and w.shares_fetch and w.queries != 1:
            w.problem(f"{w.queries} queries")

    names = ("brief", "inline", "slow", "twin", "open")
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


# Logs


@scenario
def own_logs(w: World) -> Program:
    """Tasks have logs of one name active at once."""

    async def ask() -> None:
        with w.own_log(w.user):
            await w.check(*choose(w))
            with w.own_log(w.user, "inner"):
                await w.tolerantly(w.check("raising", w.things[0]))
            await w.check(*choose(w))

    return Program(dict.fromkeys("abc", ask))


@scenario
def helpers(w: World) -> Program:
    """What tasks and threads write for an access method is in the log of its check."""
    thing = w.choices.draw(w.things)
    ask = partial(in_turn, *[partial(w.check, "helped", thing)] * 2)
    return Program(dict.fromkeys("abc", ask))


# Threads


@scenario
def threads(w: World) -> Program:
    """Only threads, one of which changes what is true."""
    name, thing = choose(w)

    def ask() -> None:
        for _ in range(3):
            w.check_sync(name, w.again(thing))

    def change() -> None:
        for value in (False, True):
            w.set("held", w.user.pk, name, value=value)
            w.set("user", name, label(thing), value=value)
            w.clear(w.user)
            w.check_sync(name, thing)

    return Program(threads={"a": ask, "b": ask, "changer": change})


@scenario
def threads_and_tasks(w: World) -> Program:
    name, thing = choose(w)

    def ask() -> None:
        w.check_sync(name, w.again(thing))
        w.check_sync(*choose(w))

    changes = partial(change, w, name, thing, value=False)
    return Program(
        {"a": partial(w.check, name, thing), "b": partial(w.check, *choose(w)), "changer": changes},
        {"c": ask, "d": ask},
    )


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
def bridges(w: World) -> Program:
    """Threads each of which starts an event loop of its own for a check, or more than one."""
    name, thing = choose(w)

    def bridge() -> None:
        async_to_sync(w.check)(name, thing)
        async_to_sync(w.check)(*choose(w))

    return Program({"a": partial(w.check, name, thing)}, {"b": bridge, "c": bridge})


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
            match w.choices.draw(range(9)):
                case 0:
                    await change(w, name, thing, value=w.choices.chance(0.5))
                case 1:
                    w.delete_caches(w.user)
                case 2:
                    await w.tolerantly(w.check(w.choices.draw(FAILING), thing))
                case 3:
                    with w.own_log(w.user):
                        await w.check(name, thing)
                case 4:
                    await asyncio.gather(w.check(name, thing), w.check(*choose(w)))
                case 5:
                    await w.check(name, None)
                case _:
                    await w.check(name, thing)

    return Program(dict.fromkeys("abcd", act))
