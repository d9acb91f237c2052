"""What a check costs in queries and thread hops. Times change with the machine, counts do not."""

import asyncio
import gc
import sys
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from asgiref.sync import async_to_sync, sync_to_async
from django.db import connection

from benchmarks.counting import Counts, counting
from djem_async.access import nonblocking
from djem_async.auth import ObjectPermissionsBackend
from tests.conftest import PERM, grant, stored
from tests.testapp.models import Thing, User

pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.usefixtures("connections_of_threads"),
]


@pytest.fixture
def fresh() -> Callable[[], User]:
    """Return a function that fetches a user with nothing cached."""
    pk = grant(User.objects.create_user("user.name"), PERM).pk
    return lambda: User.objects.get(pk=pk)


def decide(thing: Thing, user: User) -> bool:
    return True


async def adecide(thing: Thing, user: User) -> bool:
    return True


# Forms of access methods that need no thread in the async API, and one that does.
IN_PLACE = [
    pytest.param({"_user_can_use_thing": nonblocking(lambda self, user: True)}, id="nonblocking"),
    pytest.param({"_user_can_use_thing": nonblocking(lambda self, user: 2)}, id="a number"),
    pytest.param({"_user_can_use_thing": adecide}, id="async def"),
    pytest.param({"_user_can_use_thing": decide, "_auser_can_use_thing": adecide}, id="twins"),
    pytest.param({}, id="no method"),
]
PLAIN = pytest.param({"_user_can_use_thing": decide}, id="plain def")


def things(number: int) -> list[Thing]:
    return [stored(pk) for pk in range(1, number + 1)]


async def counted(work: Callable[[], Awaitable[Any]]) -> Counts:
    # Some databases make queries when they are connected to.
    await sync_to_async(lambda: connection.ensure_connection())()
    with counting() as counts:
        await work()
    return counts


def count(work: Callable[[], Awaitable[Any]]) -> tuple[int, int]:
    """Count queries and hops on an event loop without sync code above it."""
    counts = asyncio.run(counted(work))
    return counts.queries, counts.hops


def check_all(user: User, objects: list[Any]) -> Callable[[], Awaitable[None]]:
    async def check() -> None:
        assert all(await asyncio.gather(*(user.ahas_perm(PERM, obj) for obj in objects)))

    return check


# Cold


@pytest.mark.parametrize("methods", [*IN_PLACE, PLAIN])
def test_first_check_takes_one_query_and_one_hop(fresh, access_methods, methods):
    access_methods(Thing, **methods)
    count(check_all(fresh(), things(1)))  # which form a method has may be found out once
    assert count(check_all(fresh(), things(1))) == (1, 1)
    assert count(check_all(fresh(), [None])) == (1, 1)


@pytest.mark.parametrize("methods", [*IN_PLACE, PLAIN])
@pytest.mark.parametrize("run", [lambda work: asyncio.run(counted(work)), async_to_sync(counted)])
def test_gathered_first_checks_share_the_query_and_hops(fresh, access_methods, methods, run):
    access_methods(Thing, **methods)
    counts = run(check_all(fresh(), things(200)))
    assert 1 <= counts.queries <= 2
    assert 1 <= counts.hops <= 50


@pytest.mark.parametrize("methods", [PLAIN, IN_PLACE[0], IN_PLACE[3]])
def test_first_checks_of_the_sync_api_take_one_query_and_no_hop(fresh, access_methods, methods):
    access_methods(Thing, **methods)
    user = fresh()
    with counting() as counts:
        assert all(user.has_perm(PERM, thing) for thing in things(200))
    assert (counts.queries, counts.hops) == (1, 0)


@pytest.mark.parametrize("flags", [{"is_active": False}, {"is_superuser": True}])
def test_check_that_needs_nothing_takes_no_query_and_no_hop(fresh, access_methods, flags):
    access_methods(Thing, _user_can_use_thing=decide)
    user = fresh()
    vars(user).update(flags)
    for obj in (None, *things(1)):
        assert count(lambda obj=obj: user.ahas_perm(PERM, obj)) == (0, 0)
        assert count(lambda: user.ahas_module_perms("testapp")) == (0, 0)
        with counting() as counts:
            assert user.has_perm(PERM, obj) is user.is_active
            assert user.has_module_perms("testapp") is user.is_active
        assert counts.queries == 0


# Warm


@pytest.mark.parametrize("verbosity", [0, 1, 2])
@pytest.mark.parametrize("methods", [*IN_PLACE, PLAIN])
def test_cached_answer_costs_nothing(fresh, access_methods, settings, methods, verbosity):
    access_methods(Thing, **methods)
    settings.DJEM_PERM_LOG_VERBOSITY = verbosity
    user, objects = fresh(), [None, *things(10)]
    count(check_all(user, objects))
    assert count(check_all(user, objects)) == (0, 0)
    assert count(lambda: ObjectPermissionsBackend().ahas_perm(user, PERM, objects[1])) == (0, 0)
    with counting() as counts:
        assert all(user.has_perm(PERM, obj) for obj in objects)
    assert (counts.queries, counts.hops) == (0, 0)


@pytest.mark.parametrize("verbosity", [0, 1, 2])
def test_cached_answer_takes_few_calls_of_functions(fresh, access_methods, settings, verbosity):
    access_methods(Thing, _user_can_use_thing=decide)
    settings.DJEM_PERM_LOG_VERBOSITY = verbosity
    user, calls = fresh(), 0
    for obj in (None, *things(1)):
        user.has_perm(PERM, obj)
        # The fewest of some, because objects that other tests have left may make calls meanwhile.
        calls += min(calls_of(user.has_perm, PERM, obj) for _ in range(5))
    assert calls < 60  # several times as many without the fast path


def calls_of(function, *args):
    calls = list[Any]()
    gc.disable()
    sys.setprofile(lambda _, event, arg: event == "call" and calls.append(arg))
    function(*args)
    sys.setprofile(None)
    gc.enable()
    return len(calls)


@pytest.mark.parametrize("methods", IN_PLACE)
def test_new_objects_take_no_hop_once_the_model_level_is_known(fresh, access_methods, methods):
    access_methods(Thing, **methods)
    user = fresh()
    assert user.has_perm(PERM)
    assert count(check_all(user, things(200))) == (0, 0)


@pytest.mark.parametrize("verbosity", [0, 1, 2])
def test_new_object_takes_one_hop_if_its_method_needs_one(
    fresh, access_methods, settings, verbosity
):
    settings.DJEM_PERM_LOG_VERBOSITY = verbosity
    access_methods(Thing, _user_can_use_thing=decide)
    user, (first, second) = fresh(), things(2)
    count(check_all(user, [first]))
    assert count(check_all(user, [second])) == (0, 1)


# The counting itself: a counter that sees nothing would let every test above pass.


def test_queries_and_hops_are_counted_in_every_thread(fresh):
    def query() -> None:
        assert User.objects.count() == 1

    async def work() -> None:
        await sync_to_async(query)()
        await sync_to_async(int, thread_sensitive=False)()
        await asyncio.to_thread(int)
        with ThreadPoolExecutor() as executor:
            await asyncio.get_running_loop().run_in_executor(executor, int)
        await User.objects.acount()

    fresh()
    counts = asyncio.run(counted(work))
    assert (counts.queries, counts.hops) == (2, 5)
    assert async_to_sync(counted)(lambda: sync_to_async(int)()).hops == 1
