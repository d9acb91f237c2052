"""A context or user that lives long, as in a consumer, keeps nothing alive and does not grow."""

import asyncio
import contextvars
import gc
import sys
import weakref
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from asgiref.sync import sync_to_async

from djem_async.access import nonblocking
from tests.conftest import PERM, known_user, set_caches, stored
from tests.testapp.models import Thing, User

WARM_UP, MANY = 200, 500  # checks; a context keeps less than 200 logs
# Some memory comes and goes, but a leak takes at least a block for each check.
LEAK = MANY * 0.7


def log_and_decide(thing: Thing, user: User) -> bool:
    user.log("asked")
    user.start_log("details")
    user.log(f"of {user.pk}")
    user.end_log()
    return True


@nonblocking
def decide_in_place(thing: Thing, user: User) -> bool:
    return log_and_decide(thing, user)


async def decide_later(thing: Thing, user: User) -> bool:
    log_and_decide(thing, user)
    await asyncio.sleep(0)
    return True


def fail(thing: Thing, user: User) -> bool:
    log_and_decide(thing, user)
    raise ValueError("wrong")


def size() -> int:
    """Count the blocks of memory in use."""
    gc.collect()
    return sys.getallocatedblocks()


def assert_nothing_is_kept(alive: weakref.WeakSet[Any], before: int) -> None:
    assert size() - before < LEAK
    assert len(alive) == 0


async def check_sync(user: User, thing: Thing) -> None:
    assert user.has_perm(PERM, thing)


async def check_async(user: User, thing: Thing) -> None:
    assert await user.ahas_perm(PERM, thing)


async def check_failing(user: User, thing: Thing) -> None:
    with pytest.raises(ValueError, match="wrong"):
        await user.ahas_perm(PERM, thing)
    with pytest.raises(ValueError, match="wrong"):
        user.has_perm(PERM, thing)


async def check_in_child_tasks(user: User, thing: Thing) -> None:
    user.start_log("of the parent")
    await asyncio.gather(user.ahas_perm(PERM, thing), user.ahas_perm(PERM))
    user.end_log()


async def cancel(user: User, thing: Thing) -> None:
    check = user.ahas_perm(PERM, thing)
    check.send(None)  # in this context, not in that of a task
    with pytest.raises(asyncio.CancelledError):
        check.throw(asyncio.CancelledError())


ROUNDS: dict[str, tuple[Callable[[User, Thing], Awaitable[None]], Any]] = {
    "sync": (check_sync, log_and_decide),
    "async in place": (check_async, decide_in_place),
    "async def": (check_async, decide_later),
    "in a thread": (check_async, log_and_decide),
    "exception": (check_failing, fail),
    "child tasks": (check_in_child_tasks, decide_later),
    "cancelled": (cancel, decide_later),
}


@pytest.mark.parametrize("verbosity", [0, 2])
@pytest.mark.parametrize("name", ROUNDS)
async def test_context_keeps_no_user_alive_and_does_not_grow(
    settings, access_methods, name, verbosity
):
    settings.DJEM_PERM_LOG_VERBOSITY = verbosity
    check, method = ROUNDS[name]
    access_methods(Thing, _user_can_use_thing=method)
    thing, alive = stored(), weakref.WeakSet[User]()

    async def check_all(count: int) -> int:
        for number in range(count):
            user = known_user(number)
            alive.add(user)
            await check(user, thing)
            del user
        await sync_to_async(int)()  # the event loop and the thread keep what they did until then
        return size()

    before = await check_all(WARM_UP)
    for _ in range(3):
        after = await check_all(MANY)
        if after - before < LEAK:
            break
        before = after  # something else has grown, which a leak would do again
    else:
        raise AssertionError(f"{after - before} blocks of memory are kept.")
    assert len(alive) == 0


async def test_context_taken_inside_a_check_keeps_nothing_alive(settings, access_methods):
    settings.DJEM_PERM_LOG_VERBOSITY = 2
    contexts: list[contextvars.Context] = []

    async def decide(thing: Thing, user: User) -> bool:
        contexts.append(contextvars.copy_context())
        return True

    access_methods(Thing, _user_can_use_thing=decide)
    user, thing = known_user(), stored()
    assert await user.ahas_perm(PERM, thing)
    references = [weakref.ref(user), weakref.ref(thing)]
    del user, thing
    gc.collect()
    assert [reference() for reference in references] == [None, None]
    assert len(contexts) == 1


@pytest.mark.parametrize("verbosity", [0, 1])
async def test_user_keeps_no_object_alive_and_does_not_grow(settings, access_methods, verbosity):
    settings.DJEM_PERM_LOG_VERBOSITY = verbosity
    access_methods(Thing, _user_can_use_thing=decide_in_place)
    user, alive = known_user(), weakref.WeakSet[Thing]()
    for number in range(WARM_UP + MANY):
        if number == WARM_UP:
            before = size()
        for thing in (stored(number % 20), Thing(pk=number % 20)):
            alive.add(thing)
            assert user.has_perm(PERM, thing)
            assert await user.ahas_perm(PERM, thing)
        del thing
    assert_nothing_is_kept(alive, before)


@pytest.mark.parametrize("verbosity", [0, 1])
async def test_user_keeps_little_of_many_objects_after_a_clear(settings, access_methods, verbosity):
    settings.DJEM_PERM_LOG_VERBOSITY = verbosity
    access_methods(Thing, _user_can_use_thing=decide_in_place)
    user, sizes = known_user(), list[int]()
    for count in (1_200, 3_000):  # an instance keeps 1,000 logs
        for number in range(0, count, 2):
            assert await user.ahas_perm(PERM, stored(number))
            assert user.has_perm(PERM, stored(number + 1))
        user.clear_perm_cache()
        set_caches(user)
        sizes.append(size())
    assert sizes[1] - sizes[0] < 1_000
