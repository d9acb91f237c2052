"""What a check costs in queries and thread hops. Times change with the machine, counts do not."""

from __future__ import annotations

import asyncio
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import pytest
from asgiref.sync import SyncToAsync, async_to_sync, sync_to_async
from django.db import connection, connections

from benchmarks.counting import Counts, counting
from djem_async._decision import decide_for_user
from djem_async.access import nonblocking
from tests.conftest import grant
from tests.testapp.models import Thing, User

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator

pytestmark = pytest.mark.django_db(transaction=True)

PERM = "testapp.use_thing"


@pytest.fixture(autouse=True)
def _connections_of_threads() -> Iterator[None]:
    """Close the connections that async code has opened in a thread of its own."""
    yield
    SyncToAsync.single_thread_executor.submit(connections.close_all).result()


@pytest.fixture
def fresh() -> Callable[[], User]:
    """Return a function that fetches a user of whom nothing is cached."""
    pk = grant(User.objects.create_user("user.name"), PERM).pk
    return lambda: User.objects.get(pk=pk)


@nonblocking
def _decide_in_place(_thing: Thing, _user: User) -> bool:
    return True


def _decide(_thing: Thing, _user: User) -> bool:
    return True


async def _adecide(_thing: Thing, _user: User) -> bool:
    return True


# Forms of access methods that do no I/O, as far as the async API knows, and those that may.
IN_PLACE = [
    pytest.param({"_user_can_use_thing": _decide_in_place}, id="nonblocking"),
    pytest.param({"_user_can_use_thing": _adecide}, id="async def"),
    pytest.param({"_auser_can_use_thing": _adecide}, id="async twin"),
    pytest.param({}, id="no method"),
]
IN_THREAD = [pytest.param({"_user_can_use_thing": _decide}, id="plain def")]
PLAIN = [IN_PLACE[0], *IN_THREAD, IN_PLACE[3]]  # what needs no event loop


def things(number: int) -> list[Thing]:
    """Make things that look as if they had been fetched."""
    return [
        Thing.from_db("default", ["id", "name", "owner_id"], [pk, "thing", None])
        for pk in range(1, number + 1)
    ]


def run(work: Callable[[], Awaitable[Any]]) -> Counts:
    """Count what work does on an event loop that has no sync code above it."""

    async def counted() -> Counts:
        # Some databases make queries when they are connected to.
        await sync_to_async(lambda: connection.ensure_connection())()
        with counting() as counts:
            await work()
        return counts

    return asyncio.run(counted())


def ask_all(user: User, objects: list[Thing]) -> Callable[[], Awaitable[list[bool]]]:
    async def ask() -> list[bool]:
        answers = await asyncio.gather(*(user.ahas_perm(PERM, thing) for thing in objects))
        assert all(answers)
        return answers

    return ask


# Cold


@pytest.mark.parametrize("methods", IN_PLACE)
def test_a_first_check_takes_one_hop(
    fresh: Any, access_methods: Callable[..., None], methods: dict[str, Any]
) -> None:
    access_methods(Thing, **methods)
    counts = run(ask_all(fresh(), things(1)))
    assert 1 <= counts.queries <= 2
    assert counts.hops == 1


@pytest.mark.parametrize("methods", IN_THREAD)
def test_a_first_check_takes_one_hop_if_the_access_method_is_known_to_need_it(
    fresh: Any, access_methods: Callable[..., None], methods: dict[str, Any]
) -> None:
    access_methods(Thing, **methods)
    counts = run(ask_all(fresh(), things(1)))
    assert 1 <= counts.queries <= 2
    assert 1 <= counts.hops <= 2  # the method may be known from another test
    counts = run(ask_all(fresh(), things(1)))
    assert 1 <= counts.queries <= 2
    assert counts.hops == 1


@pytest.mark.parametrize("methods", IN_THREAD)
def test_first_checks_of_many_objects_share_that_hop(
    fresh: Any, access_methods: Callable[..., None], methods: dict[str, Any]
) -> None:
    access_methods(Thing, **methods)
    run(ask_all(fresh(), things(1)))
    counts = run(ask_all(fresh(), things(200)))
    assert 1 <= counts.queries <= 2
    assert counts.hops == 1


@pytest.mark.parametrize("flags", [{"is_active": False}, {"is_superuser": True}])
def test_a_first_check_that_needs_nothing_takes_no_hop(
    fresh: Any, access_methods: Callable[..., None], flags: dict[str, bool]
) -> None:
    access_methods(Thing, _user_can_use_thing=_decide)
    run(ask_all(fresh(), things(1)))
    user = fresh()
    vars(user).update(flags)
    counts = run(lambda: user.ahas_perm(PERM, things(1)[0]))
    assert (counts.queries, counts.hops) == (0, 0)


def test_a_first_check_of_the_model_level_takes_one_hop(fresh: Any) -> None:
    user = fresh()
    counts = run(lambda: user.ahas_perm(PERM))
    assert 1 <= counts.queries <= 2
    assert counts.hops == 1


@pytest.mark.parametrize("methods", PLAIN)
def test_first_checks_without_an_event_loop_take_no_hop(
    fresh: Any, access_methods: Callable[..., None], methods: dict[str, Any]
) -> None:
    access_methods(Thing, **methods)
    user, objects = fresh(), things(200)
    with counting() as counts:
        assert all(user.has_perm(PERM, thing) for thing in objects)
    assert 1 <= counts.queries <= 2
    assert counts.hops == 0


@pytest.mark.parametrize("methods", IN_PLACE)
def test_concurrent_first_checks_share_one_fetch_in_one_hop(
    fresh: Any, access_methods: Callable[..., None], methods: dict[str, Any]
) -> None:
    access_methods(Thing, **methods)
    counts = run(ask_all(fresh(), things(200)))
    assert 1 <= counts.queries <= 2
    assert counts.hops == 1


def test_concurrent_first_checks_share_one_fetch_below_sync_code(
    fresh: Any, access_methods: Callable[..., None]
) -> None:
    access_methods(Thing, _user_can_use_thing=_decide_in_place)
    user = fresh()

    async def counted() -> Counts:
        with counting() as counts:
            await ask_all(user, things(200))()
        return counts

    counts = async_to_sync(counted)()
    assert 1 <= counts.queries <= 2
    assert counts.hops == 1


@pytest.mark.parametrize("methods", IN_PLACE)
def test_checks_that_wait_for_the_same_fetch_make_one_whole_check(
    fresh: Any,
    access_methods: Callable[..., None],
    methods: dict[str, Any],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    made: list[Any] = []

    def decide(check: Any) -> Any:
        made.append(check)
        return decide_for_user(check)

    monkeypatch.setattr("djem_async.models.decide_for_user", decide)
    access_methods(Thing, **methods)
    run(ask_all(fresh(), things(200)))
    assert len(made) == 1  # of the model level, on which the objects rest


def test_nothing_is_fetched_for_an_inactive_user(fresh: Any) -> None:
    user = fresh()
    user.is_active = False
    with counting() as counts:
        assert not user.has_perm(PERM)
        assert not user.has_module_perms("testapp")
    for perm in (PERM, "testapp.view_thing"):
        of_async = run(lambda perm=perm: user.ahas_perm(perm))
        assert (of_async.queries, of_async.hops) == (counts.queries, 0) == (0, 0)


def test_nothing_is_fetched_for_a_user_who_says_to_be_anonymous(
    fresh: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(User, "is_anonymous", True)
    user = fresh()
    counts = run(lambda: user.ahas_perm(PERM))
    assert (counts.queries, counts.hops) == (0, 0)
    with counting() as counts:
        assert not user.has_perm(PERM)
    assert counts.queries == 0


# Warm


@pytest.mark.parametrize("verbosity", [0, 1, 2])
@pytest.mark.parametrize("methods", IN_PLACE + IN_THREAD)
def test_a_remembered_decision_costs_nothing(
    fresh: Any,
    access_methods: Callable[..., None],
    settings: Any,
    methods: dict[str, Any],
    verbosity: int,
) -> None:
    access_methods(Thing, **methods)
    settings.DJEM_PERM_LOG_VERBOSITY = verbosity
    user, objects = fresh(), things(10)
    run(ask_all(user, objects))
    counts = run(ask_all(user, objects))
    assert (counts.queries, counts.hops) == (0, 0)
    with counting() as counts:
        assert all(user.has_perm(PERM, thing) for thing in objects)
    assert (counts.queries, counts.hops) == (0, 0)


@pytest.mark.parametrize("verbosity", [0, 1, 2])
def test_a_remembered_permission_costs_nothing(fresh: Any, settings: Any, verbosity: int) -> None:
    settings.DJEM_PERM_LOG_VERBOSITY = verbosity
    user = fresh()
    run(lambda: user.ahas_perm(PERM))
    counts = run(lambda: user.ahas_perm(PERM))
    assert (counts.queries, counts.hops) == (0, 0)
    with counting() as counts:
        assert user.has_perm(PERM)
    assert (counts.queries, counts.hops) == (0, 0)


@pytest.mark.parametrize("methods", IN_PLACE)
def test_checks_of_new_objects_stay_on_the_event_loop_once_the_model_level_is_known(
    fresh: Any, access_methods: Callable[..., None], methods: dict[str, Any]
) -> None:
    access_methods(Thing, **methods)
    user = fresh()
    assert user.has_perm(PERM)
    counts = run(ask_all(user, things(200)))
    assert (counts.queries, counts.hops) == (0, 0)


def test_concurrent_checks_share_the_hops_of_plain_access_methods(
    fresh: Any, access_methods: Callable[..., None]
) -> None:
    access_methods(Thing, _user_can_use_thing=_decide)
    user = fresh()
    assert user.has_perm(PERM)
    counts = run(ask_all(user, things(1_000)))
    assert counts.queries == 0
    assert 1 <= counts.hops <= 100


@pytest.mark.parametrize("verbosity", [0, 1, 2])
def test_another_object_takes_one_hop_if_the_access_method_needs_one(
    fresh: Any, access_methods: Callable[..., None], settings: Any, verbosity: int
) -> None:
    settings.DJEM_PERM_LOG_VERBOSITY = verbosity
    access_methods(Thing, _user_can_use_thing=_decide)
    first, second = things(2)
    user = fresh()
    run(ask_all(user, [first]))
    counts = run(ask_all(user, [second]))
    assert (counts.queries, counts.hops) == (0, 1)


# The counting itself: a counter that sees nothing would let every test above pass.


def test_every_query_is_counted_in_whichever_thread_it_is_made(fresh: Any) -> None:
    def query() -> None:
        assert User.objects.count() == 1

    async def queries() -> None:
        await sync_to_async(query)()
        await User.objects.acount()

    fresh()
    with counting() as counts:
        query()
        thread = threading.Thread(target=lambda: (query(), connection.close()))
        thread.start()
        thread.join()
    # The thread has connected, for which some databases make queries of their own.
    assert sum(statement.startswith("SELECT COUNT") for statement in counts.statements) == 2
    counts = run(queries)
    assert (counts.queries, counts.hops) == (2, 2)


def test_hops_are_counted_however_they_are_made() -> None:
    async def hops() -> None:
        await sync_to_async(int)()
        await sync_to_async(int, thread_sensitive=False)()
        await asyncio.to_thread(int)
        with ThreadPoolExecutor() as executor:
            await asyncio.get_running_loop().run_in_executor(executor, int)

    async def below_sync_code() -> Counts:
        with counting() as counts:
            await sync_to_async(int)()
        return counts

    assert run(hops).hops == 4
    assert async_to_sync(below_sync_code)().hops == 1


def test_what_happens_before_and_after_is_not_counted(fresh: Any) -> None:
    fresh()
    with counting() as counts:
        pass
    assert User.objects.count() == 1
    assert (counts.queries, counts.hops) == (0, 0)
