"""Tests of checks that share a user: tasks, threads, hops, clears in flight, cancellation."""

from __future__ import annotations

import asyncio
import contextvars
import gc
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import pytest
from asgiref.sync import SyncToAsync, async_to_sync, sync_to_async
from django.contrib.auth.backends import ModelBackend
from django.contrib.auth.models import Group
from django.db import connections

from djem_async._cache import permission_cache
from djem_async.exceptions import PermissionRecursionError
from djem_async.logs import Entry, Loggable
from tests.conftest import grant, permission
from tests.testapp.models import Product, Supplier, Thing, User

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("begins")]

PERM = "testapp.use_thing"
PATIENCE = 10  # seconds, for what should take none


@pytest.fixture(autouse=True)
def _connections_of_threads() -> Iterator[None]:
    """Close the connections that async code has opened in a thread of its own."""
    yield
    SyncToAsync.single_thread_executor.submit(connections.close_all).result()


def closing_connections(function: Callable[..., Any], *args: Any) -> Any:
    try:
        return function(*args)
    finally:
        connections.close_all()


async def in_thread(function: Callable[..., Any], *args: Any) -> Any:
    """Run in another thread, with a database connection of its own."""
    return await asyncio.to_thread(closing_connections, function, *args)


def in_context(coroutine: Any) -> tuple[asyncio.Task[Any], contextvars.Context]:
    """Make a task, and hand out its context."""
    context = contextvars.copy_context()
    return asyncio.get_running_loop().create_task(coroutine, context=context), context


def assert_nothing_active(user: User) -> None:
    with pytest.raises(KeyError, match="No active log"):
        user.log("line")
    with pytest.raises(KeyError, match="No active log"):
        user.end_log()


class Hold:
    """A place in the code where the first to come waits until it is released."""

    def __init__(self) -> None:
        self._first = threading.Lock()
        self._reached = threading.Event()
        self._released = threading.Event()

    def wait(self) -> None:
        if self._first.acquire(blocking=False):
            self._reached.set()
            assert self._released.wait(PATIENCE)

    async def await_(self) -> None:
        if self._first.acquire(blocking=False):
            self._reached.set()
            await self._poll(self._released)

    async def reached(self) -> None:
        await self._poll(self._reached)

    def release(self) -> None:
        self._released.set()

    @staticmethod
    async def _poll(event: threading.Event) -> None:
        deadline = time.monotonic() + PATIENCE
        while not event.is_set():
            assert time.monotonic() < deadline
            await asyncio.sleep(0.001)


@pytest.fixture
def hold() -> Iterator[Hold]:
    hold = Hold()
    yield hold
    hold.release()


@pytest.fixture
def things(db: None) -> list[Thing]:
    return [Thing.objects.create(pk=number, name=f"thing {number}") for number in range(1, 11)]


def even(thing: Thing) -> bool:
    return thing.pk % 2 == 0


def expected_log(user: User, thing: Thing, *lines: str) -> str:
    granted = "Granted" if even(thing) else "Denied"
    return "\n".join(
        [
            f"Permission: {PERM}",
            f"User: user.name ({user.pk})",
            f"Object: {thing.name} ({thing.pk})",
            "",
            "Model-level Result: Granted\n",
            *lines,
            f"\nRESULT: Permission {granted}",
        ]
    )


# Methods that log, wait for others, and log again: if anything can get mixed up, it does.


def decide(thing: Thing, user: User) -> bool:
    user.log(f"{thing.pk} first")
    time.sleep(0.001)
    user.log(f"{thing.pk} second")
    return even(thing)


async def adecide(thing: Thing, user: User) -> bool:
    user.log(f"{thing.pk} first")
    for _ in range(thing.pk % 4):
        await asyncio.sleep(0)
    user.log(f"{thing.pk} second")
    return even(thing)


FORMS = {"def": decide, "async def": adecide}


# Tasks


@pytest.mark.parametrize("form", FORMS)
async def test_many_tasks_share_a_user(
    user: User,
    things: list[Thing],
    settings: Any,
    form: str,
    access_methods: Callable[..., None],
) -> None:
    settings.DJEM_PERM_LOG_VERBOSITY = 2
    access_methods(Thing, _user_can_use_thing=FORMS[form])

    async def check(thing: Thing) -> None:
        assert await user.ahas_perm(PERM, thing) is even(thing)
        lines = [f"{thing.pk} first", f"{thing.pk} second"]
        assert user.get_last_log() == expected_log(user, thing, *lines)
        assert user.get_log(f"auto-{PERM}-{thing.pk}") == user.get_last_log()
        assert_nothing_active(user)

    async with asyncio.TaskGroup() as tasks:
        for number in range(200):
            tasks.create_task(check(things[number % len(things)]))


async def test_many_users_and_objects_are_never_confused(
    things: list[Thing], settings: Any, access_methods: Callable[..., None]
) -> None:
    settings.DJEM_PERM_LOG_VERBOSITY = 1
    users = [User(pk=number, username=f"user {number}") for number in range(1, 8)]
    for user in users:
        user._perm_cache = user._user_perm_cache = {PERM}
        user._group_perm_cache = set()

    async def decide(thing: Thing, user: User) -> bool:
        for _ in range((thing.pk * user.pk) % 5):
            await asyncio.sleep(0)
        user.log(f"{user.pk} {thing.pk}")
        return (thing.pk + user.pk) % 3 == 0

    access_methods(Thing, _user_can_use_thing=decide)

    async def check(user: User, thing: Thing) -> None:
        granted = await user.ahas_perm(PERM, thing)
        assert granted is ((thing.pk + user.pk) % 3 == 0)
        assert user.get_last_log(raw=True)[1] == f"{user.pk} {thing.pk}"

    for _ in range(2):
        await asyncio.gather(*(check(user, thing) for user in users for thing in things))


async def test_an_access_method_may_gather_checks(
    user: User, things: list[Thing], settings: Any, access_methods: Callable[..., None]
) -> None:
    settings.DJEM_PERM_LOG_VERBOSITY = 1
    box, *parts = things

    async def decide(thing: Thing, user: User) -> bool:
        await asyncio.sleep(0)
        if thing.pk != box.pk:
            user.log(f"part {thing.pk}")
            return even(thing)
        granted = await asyncio.gather(*(user.ahas_perm(PERM, part) for part in parts))
        for part in parts:
            user.log(*user.get_log(f"auto-{PERM}-{part.pk}", raw=True)[1:2])
        return any(granted)

    access_methods(Thing, _user_can_use_thing=decide)
    assert await user.ahas_perm(PERM, box) is True
    assert user.get_last_log(raw=True)[1:-1] == [f"part {part.pk}" for part in parts]
    assert user.get_last_log(raw=True)[-1] == "\nRESULT: Permission Granted"
    assert_nothing_active(user)


async def test_a_check_in_a_child_task_leaves_the_log_of_its_parent_alone(
    user: User, thing: Thing, settings: Any
) -> None:
    settings.DJEM_PERM_LOG_VERBOSITY = 1
    user.start_log("mine")
    user.log("before")

    async def check() -> str:
        user.log("of the child")
        await user.ahas_perm(PERM, thing)
        return user.get_last_log()

    log = await asyncio.create_task(check())
    user.log("after")
    assert user.end_log() == ("mine", ["before", "after"])
    assert user.get_log(f"auto-{PERM}-{thing.pk}") == log


async def test_eager_tasks_have_logs_of_their_own(
    user: User, things: list[Thing], settings: Any, access_methods: Callable[..., None]
) -> None:
    # From Python 3.12 on a task may begin at once, in the middle of the one that creates it.
    asyncio.get_running_loop().set_task_factory(getattr(asyncio, "eager_task_factory", None))
    settings.DJEM_PERM_LOG_VERBOSITY = 1
    access_methods(Thing, _user_can_use_thing=adecide)
    user.start_log("mine")
    for _ in range(2):
        granted = await asyncio.gather(*(user.ahas_perm(PERM, thing) for thing in things))
        assert granted == [even(thing) for thing in things]
    for thing in things:
        lines = user.get_log(f"auto-{PERM}-{thing.pk}", raw=True)[1:-1]
        assert lines == [f"{thing.pk} first", f"{thing.pk} second"]
    assert user.end_log() == ("mine", [])
    assert_nothing_active(user)


# Threads


def test_many_threads_share_a_user(
    user: User, things: list[Thing], settings: Any, access_methods: Callable[..., None]
) -> None:
    settings.DJEM_PERM_LOG_VERBOSITY = 2
    access_methods(Thing, _user_can_use_thing=decide)
    threads = 6
    together = threading.Barrier(threads)

    def check_all(first: int) -> None:
        together.wait(PATIENCE)
        for number in range(len(things)):
            thing = things[(first + number) % len(things)]
            assert user.has_perm(PERM, thing) is even(thing)
            lines = [f"{thing.pk} first", f"{thing.pk} second"]
            assert user.get_last_log() == expected_log(user, thing, *lines)
            assert_nothing_active(user)

    with ThreadPoolExecutor(threads) as pool:
        checks = [pool.submit(closing_connections, check_all, i) for i in range(threads)]
    for check in checks:
        check.result()


def test_several_event_loops_share_a_user(
    user: User, things: list[Thing], settings: Any, access_methods: Callable[..., None]
) -> None:
    settings.DJEM_PERM_LOG_VERBOSITY = 1
    access_methods(Thing, _user_can_use_thing=adecide)

    async def check_all() -> list[bool]:
        return list(await asyncio.gather(*(user.ahas_perm(PERM, thing) for thing in things)))

    with ThreadPoolExecutor(3) as pool:
        loops = [pool.submit(closing_connections, async_to_sync(check_all)) for _ in range(3)]
    for loop in loops:
        assert loop.result() == [even(thing) for thing in things]
    assert_nothing_active(user)


async def test_threads_and_tasks_share_a_user(
    user: User, things: list[Thing], settings: Any, access_methods: Callable[..., None]
) -> None:
    settings.DJEM_PERM_LOG_VERBOSITY = 2
    access_methods(Thing, _user_can_use_thing=decide, _auser_can_use_thing=adecide)

    def check(thing: Thing) -> None:
        assert user.has_perm(PERM, thing) is even(thing)
        lines = [f"{thing.pk} first", f"{thing.pk} second"]
        assert user.get_last_log() == expected_log(user, thing, *lines)

    async def acheck(thing: Thing) -> None:
        assert await user.ahas_perm(PERM, thing) is even(thing)
        lines = [f"{thing.pk} first", f"{thing.pk} second"]
        assert user.get_last_log() == expected_log(user, thing, *lines)

    for _ in range(2):
        await asyncio.gather(
            *(in_thread(check, thing) for thing in things), *(acheck(thing) for thing in things)
        )
        user.clear_perm_cache()


@pytest.mark.parametrize("outer", ["sync", "async"])
async def test_checks_nest_through_hops(
    user: User,
    things: list[Thing],
    settings: Any,
    outer: str,
    access_methods: Callable[..., None],
) -> None:
    settings.DJEM_PERM_LOG_VERBOSITY = 1

    def decide(thing: Thing, user: User) -> bool:
        user.log(f"begin {thing.pk}")
        if thing.pk < 4:
            # Alternates: a sync check in a thread, an async one on a loop.
            following = things[thing.pk]
            if even(thing):
                user.has_perm(PERM, following)
            else:
                async_to_sync(user.ahas_perm)(PERM, following)
            user.log(*user.get_last_log(raw=True)[1:-1])
        user.log(f"end {thing.pk}")
        return True

    access_methods(Thing, _user_can_use_thing=decide)
    if outer == "sync":
        await in_thread(user.has_perm, PERM, things[0])
    else:
        await user.ahas_perm(PERM, things[0])
    assert user.get_log(f"auto-{PERM}-1", raw=True)[1:-1] == [
        *(f"begin {number}" for number in (1, 2, 3, 4)),
        *(f"end {number}" for number in (4, 3, 2, 1)),
    ]
    assert_nothing_active(user)


# Recursion


async def recurse_in_place(user: User, thing: Thing) -> bool:
    return await user.ahas_perm(PERM, thing)


async def recurse_gathered(user: User, thing: Thing) -> bool:
    return any(await asyncio.gather(user.ahas_perm(PERM, thing)))


async def recurse_in_a_task(user: User, thing: Thing) -> bool:
    async with asyncio.TaskGroup() as tasks:
        task = tasks.create_task(user.ahas_perm(PERM, thing))
    return task.result()


async def recurse_waiting(user: User, thing: Thing) -> bool:
    return await asyncio.wait_for(user.ahas_perm(PERM, thing), PATIENCE)


async def recurse_in_a_thread(user: User, thing: Thing) -> bool:
    return await sync_to_async(user.has_perm)(PERM, thing)


async def recurse_in_a_copied_context(user: User, thing: Thing) -> bool:
    granted: bool = await in_thread(user.has_perm, PERM, thing)
    return granted


async def recurse_through_another_instance(user: User, thing: Thing) -> bool:
    same = await Thing.objects.aget(pk=thing.pk)
    return await (await User.objects.aget(pk=user.pk)).ahas_perm(PERM, same)


@pytest.mark.parametrize(
    "recurse",
    [
        recurse_in_place,
        recurse_gathered,
        recurse_in_a_task,
        recurse_waiting,
        recurse_in_a_thread,
        recurse_in_a_copied_context,
        recurse_through_another_instance,
    ],
)
@pytest.mark.parametrize("verbosity", [0, 2])
async def test_a_check_that_enters_itself_is_refused_wherever_it_does_so(
    user: User,
    thing: Thing,
    settings: Any,
    verbosity: int,
    recurse: Callable[[User, Thing], Awaitable[bool]],
    access_methods: Callable[..., None],
) -> None:
    settings.DJEM_PERM_LOG_VERBOSITY = verbosity
    calls = []

    async def decide(thing: Thing, user: User) -> bool:
        calls.append(thing)
        return await recurse(user, thing)

    access_methods(Thing, _user_can_use_thing=decide)
    with pytest.raises((PermissionRecursionError, ExceptionGroup)) as caught:
        await user.ahas_perm(PERM, thing)
    error = caught.value
    if isinstance(error, ExceptionGroup):
        [error] = error.exceptions
    assert isinstance(error, PermissionRecursionError)
    assert len(calls) == 1
    assert_nothing_active(user)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("nested", [False, True])
async def test_a_task_that_outlives_its_check_may_make_the_same_check(
    user: User,
    things: list[Thing],
    settings: Any,
    form: str,
    nested: bool,
    access_methods: Callable[..., None],
) -> None:
    settings.DJEM_PERM_LOG_VERBOSITY = 1
    first, second, *_ = things  # denied and granted by the user methods
    over = asyncio.Event()
    tasks: list[asyncio.Task[bool]] = []
    answers = {first.pk: iter([False, True]), second.pk: iter([True])}

    async def later() -> bool:
        if not nested:
            await over.wait()
        user.clear_perm_cache()
        return await user.ahas_perm(PERM, second if nested else first)

    async def about_groups(thing: Thing, groups: Any) -> bool:
        if not tasks:
            tasks.append(asyncio.create_task(later()))
            await asyncio.sleep(0)
        elif thing.pk == second.pk:
            # The task's own check goes on when the one that created it is over.
            await over.wait()
            return await user.ahas_perm(PERM, first)
        return next(answers[thing.pk])

    method = decide if form == "def" else adecide
    access_methods(
        Thing,
        _user_can_use_thing=lambda thing, user: method(first, user),
        _group_can_use_thing=about_groups,
    )
    assert await user.ahas_perm(PERM, first) is False
    over.set()
    assert await tasks[0] is True
    assert await user.ahas_perm(PERM, first) is True  # what the task computed has been kept
    assert user.get_last_log(raw=True)[-1] == "\nRESULT: Permission Granted"


# Clears, against checks in flight


class HeldModelBackend(ModelBackend):
    """Waits between the queries and keeping what they found."""

    hold: Hold

    def get_group_permissions(self, user_obj: Any, obj: Any = None) -> set[str]:
        permissions = super().get_group_permissions(user_obj, obj)
        if obj is None:
            self.hold.wait()
        return permissions

    async def aget_group_permissions(self, user_obj: Any, obj: Any = None) -> set[str]:
        permissions = await super().aget_group_permissions(user_obj, obj)
        if obj is None:
            await self.hold.await_()
        return permissions


class HeldSyncModelBackend(ModelBackend):
    """The same without async forms, so that it runs in a thread for async checks as well."""

    hold: Hold

    def get_group_permissions(self, user_obj: Any, obj: Any = None) -> set[str]:
        permissions = super().get_group_permissions(user_obj, obj)
        if obj is None:
            self.hold.wait()
        return permissions


@pytest.fixture
def hold_backend(
    settings: Any, monkeypatch: pytest.MonkeyPatch, hold: Hold
) -> Callable[[type], None]:
    def use(backend: type) -> None:
        monkeypatch.setattr(backend, "hold", hold, raising=False)
        settings.AUTHENTICATION_BACKENDS = [
            f"{__name__}.{backend.__qualname__}",
            "djem_async.auth.ObjectPermissionsBackend",
        ]

    return use


def start_check(form: str, user: User, *args: Any) -> asyncio.Task[bool]:
    if form == "sync":
        return asyncio.create_task(in_thread(user.has_perm, *args))
    return asyncio.create_task(user.ahas_perm(*args))


async def clear(form: str, user: User) -> None:
    if form == "sync":
        user.clear_perm_cache()
    else:
        await user.aclear_perm_cache()


async def test_a_clear_before_a_fetch_has_its_turn_loses_nothing(user: User, hold: Hold) -> None:
    busy = asyncio.create_task(sync_to_async(hold.wait)())
    await hold.reached()
    check = asyncio.create_task(user.ahas_perm(PERM))
    await asyncio.sleep(0.01)
    user.clear_perm_cache()
    hold.release()
    assert await check is True
    await busy
    assert permission_cache(user).generation.model_level == {}  # of another generation


@pytest.mark.parametrize("first", ["aget_user_permissions", "aget_group_permissions"])
async def test_what_a_user_holds_in_one_way_is_not_all_there_is(user: User, first: str) -> None:
    perm = "testapp.view_thing"

    def join() -> User:
        group = Group.objects.create(name="viewers")
        group.permissions.add(permission(perm))
        user.groups.add(group)
        return User.objects.get(pk=user.pk)

    user = await sync_to_async(join)()
    assert await getattr(user, first)() == {PERM if first == "aget_user_permissions" else perm}
    assert await user.ahas_perm(perm) is True
    assert await user.ahas_perm(PERM) is True


def held_def(hold: Hold, state: dict[str, bool]) -> Any:
    def decide(thing: Thing, user: User) -> bool:
        granted = state["granted"]
        user.log(f"read {granted}")
        hold.wait()
        return granted

    return decide


def held_async_def(hold: Hold, state: dict[str, bool]) -> Any:
    async def decide(thing: Thing, user: User) -> bool:
        granted = state["granted"]
        user.log(f"read {granted}")
        await hold.await_()
        return granted

    return decide


HELD = {"def": held_def, "async def": held_async_def}


@pytest.mark.parametrize("before", [True, False])
@pytest.mark.parametrize("method", HELD)
@pytest.mark.parametrize("form", ["sync", "async"])
async def test_a_decision_in_flight_is_not_kept_after_a_clear(
    user: User,
    thing: Thing,
    hold: Hold,
    form: str,
    method: str,
    before: bool,
    access_methods: Callable[..., None],
) -> None:
    state = {"granted": before}
    access_methods(Thing, _user_can_use_thing=HELD[method](hold, state))
    check = start_check(form, user, PERM, thing)
    await hold.reached()
    state["granted"] = not before
    await clear(form, user)
    # A check that begins after the clear, while the other one is still running.
    assert await in_thread(user.has_perm, PERM, thing) is not before
    hold.release()
    assert await check is before
    for again in ("sync", "async"):
        assert await start_check(again, user, PERM, thing) is not before


@pytest.mark.parametrize("before", [True, False])
@pytest.mark.parametrize("backend", [HeldModelBackend, HeldSyncModelBackend])
@pytest.mark.parametrize("obj", ["model level", "object level"])
@pytest.mark.parametrize("form", ["sync", "async"])
async def test_model_level_permissions_in_flight_are_not_kept_after_a_clear(
    user: User,
    thing: Thing,
    hold: Hold,
    hold_backend: Callable[[type], None],
    form: str,
    obj: str,
    backend: type,
    before: bool,
) -> None:
    hold_backend(backend)
    add, remove = grant, user.user_permissions.clear
    if not before:
        await in_thread(remove)
    target = thing if obj == "object level" else None
    check = start_check(form, user, PERM, target)
    await hold.reached()
    if before:
        await in_thread(remove)
    else:
        await in_thread(add, user, PERM)
    await clear(form, user)
    assert await in_thread(user.has_perm, PERM, target) is not before
    hold.release()
    assert await check is before
    assert ("testapp.use_thing" in user._perm_cache) is not before
    for again in ("sync", "async"):
        assert await start_check(again, user, PERM, target) is not before
        assert await start_check(again, user, PERM) is not before


@pytest.mark.parametrize("name", ["get_all_permissions", "has_module_perms"])
@pytest.mark.parametrize("form", ["sync", "async"])
async def test_sets_in_flight_are_not_kept_after_a_clear(
    user: User,
    hold: Hold,
    hold_backend: Callable[[type], None],
    form: str,
    name: str,
) -> None:
    hold_backend(HeldModelBackend)
    args = ["testapp"] if name == "has_module_perms" else []
    if form == "sync":
        asking = asyncio.create_task(in_thread(getattr(user, name), *args))
    else:
        asking = asyncio.create_task(getattr(user, f"a{name}")(*args))
    await hold.reached()
    await in_thread(user.user_permissions.clear)
    await clear(form, user)
    hold.release()
    assert await asking
    assert await user.ahas_perm(PERM) is False
    assert await in_thread(user.has_perm, PERM) is False


@pytest.mark.parametrize("name", ["_perm_cache", "_user_perm_cache", "_group_perm_cache"])
async def test_deleting_one_of_djangos_caches_counts_as_a_clear_of_it(
    user: User, thing: Thing, hold: Hold, name: str, access_methods: Callable[..., None]
) -> None:
    state = {"granted": True}
    access_methods(Thing, _user_can_use_thing=held_async_def(hold, state))
    await user.ahas_perm(PERM)
    setattr(user, name, {PERM})
    check = start_check("async", user, PERM, thing)
    await hold.reached()
    state["granted"] = False
    delattr(user, name)
    assert not hasattr(user, name)
    hold.release()
    assert await check is True
    assert await user.ahas_perm(PERM, thing) is False


async def test_djangos_caches_of_another_user_are_that_users_own_inside_a_check(
    user: User, thing: Thing, access_methods: Callable[..., None]
) -> None:
    other = await User.objects.acreate(username="other")
    backend = ModelBackend()

    async def decide(thing: Thing, user: User) -> bool:
        # Not through the other user, so there is no check of that one.
        assert await backend.ahas_perm(user, PERM)
        return await backend.ahas_perm(other, PERM)

    access_methods(Thing, _user_can_use_thing=decide)
    for _ in range(2):
        assert await user.ahas_perm(PERM, thing) is False
        assert user._user_perm_cache == {PERM}
        assert other._user_perm_cache == set()
        user.clear_perm_cache()


async def test_what_a_task_stores_after_its_check_is_over_is_for_all(
    user: User, thing: Thing, access_methods: Callable[..., None]
) -> None:
    other = await sync_to_async(grant)(await User.objects.acreate(username="other"), PERM)
    over = asyncio.Event()
    tasks: list[asyncio.Task[bool]] = []

    async def decide(thing: Thing, asking: User) -> bool:
        if asking.pk == other.pk:
            # In a check of another user, begun inside a check of this one that is over now.
            await over.wait()
            user.clear_perm_cache()
            user._perm_cache = {PERM}
        else:
            tasks.append(asyncio.create_task(other.ahas_perm(PERM, thing)))
            await asyncio.sleep(0)
        return True

    access_methods(Thing, _auser_can_use_thing=decide)
    await other.ahas_perm(PERM)
    assert await user.ahas_perm(PERM, thing) is True
    over.set()
    assert await tasks[0] is True
    assert user._perm_cache == {PERM}


# A check that begins after a clear never has an older answer, wherever an older check stands

STAGES = ["before the model level", "in the model level", "before reading", "after reading", "log"]


class HeldFirstBackend:
    """Waits before anything is known."""

    hold: Hold

    def has_perm(self, user_obj: Any, perm: str, obj: Any = None) -> bool:
        if obj is None:
            self.hold.wait()
        return False

    async def ahas_perm(self, user_obj: Any, perm: str, obj: Any = None) -> bool:
        if obj is None:
            await self.hold.await_()
        return False


@pytest.mark.parametrize("revoked", ["model level", "object level"])
@pytest.mark.parametrize("stage", STAGES)
@pytest.mark.parametrize("form", ["sync", "async"])
async def test_no_check_after_a_clear_has_an_older_grant(
    user: User,
    thing: Thing,
    settings: Any,
    monkeypatch: pytest.MonkeyPatch,
    form: str,
    stage: str,
    revoked: str,
    access_methods: Callable[..., None],
) -> None:
    settings.DJEM_PERM_LOG_VERBOSITY = 1
    # A hold for each stage; those that do not matter here are released beforehand.
    holds = {name: Hold() for name in STAGES}
    for name, hold in holds.items():
        if name != stage:
            hold.release()
    state = {"granted": True}

    async def decide(thing: Thing, user: User) -> bool:
        await holds["before reading"].await_()
        granted = state["granted"]
        await holds["after reading"].await_()
        return granted

    def end_log(self: User) -> tuple[str, list[Entry]]:
        holds["log"].wait()
        return Loggable.end_log(self)

    async def aend_log(self: User) -> tuple[str, list[Entry]]:
        await holds["log"].await_()
        return Loggable.end_log(self)

    access_methods(Thing, _user_can_use_thing=decide)
    access_methods(User, end_log=end_log, aend_log=aend_log)
    monkeypatch.setattr(HeldFirstBackend, "hold", holds["before the model level"], raising=False)
    monkeypatch.setattr(HeldModelBackend, "hold", holds["in the model level"], raising=False)
    settings.AUTHENTICATION_BACKENDS = [
        f"{__name__}.HeldFirstBackend",
        f"{__name__}.HeldModelBackend",
        "djem_async.auth.ObjectPermissionsBackend",
    ]

    old = start_check(form, user, PERM, thing)
    await holds[stage].reached()
    if revoked == "model level":
        await in_thread(user.user_permissions.clear)
    else:
        state["granted"] = False
    user.clear_perm_cache()

    assert await start_check("sync", user, PERM, thing) is False
    assert await start_check("async", user, PERM, thing) is False
    holds[stage].release()
    await old  # its caller may get either answer
    assert await start_check("sync", user, PERM, thing) is False
    assert await start_check("async", user, PERM, thing) is False
    assert (await user.aget_all_permissions(thing)) == set()


async def test_a_check_inside_a_check_that_cleared_is_not_older_than_the_clear(
    user: User, thing: Thing, access_methods: Callable[..., None]
) -> None:
    other = await Thing.objects.acreate()
    state = {"granted": True}

    async def decide(thing: Thing, asking: User) -> bool:
        if thing.pk == other.pk:
            return state["granted"]
        assert await asking.ahas_perm(PERM, other) is True
        state["granted"] = False
        asking.clear_perm_cache()
        return await asking.ahas_perm(PERM, other)

    access_methods(Thing, _user_can_use_thing=decide)
    assert await user.ahas_perm(PERM, thing) is False
    assert await user.ahas_perm(PERM, other) is False


# Cancellation


@pytest.mark.parametrize("cleared", [True, False])
@pytest.mark.parametrize("verbosity", [0, 2])
async def test_a_thread_that_outlives_its_cancelled_check(
    user: User,
    thing: Thing,
    settings: Any,
    hold: Hold,
    verbosity: int,
    cleared: bool,
    access_methods: Callable[..., None],
) -> None:
    settings.DJEM_PERM_LOG_VERBOSITY = verbosity
    other = await Thing.objects.acreate()
    state = {"granted": True}
    begun: list[Thing] = []
    ended: list[object] = []

    def decide(thing: Thing, asking: User) -> bool:
        granted = state["granted"]
        begun.append(thing)
        if len(begun) == 1:
            hold.wait()
            try:
                asking.log("this goes nowhere")
                ended.append(asking.has_perm(PERM, other))
            except BaseException as error:
                ended.append(error)
        return granted

    access_methods(Thing, _user_can_use_thing=decide)
    task, context = in_context(user.ahas_perm(PERM, thing))
    await hold.reached()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    context.run(assert_nothing_active, user)

    # The thread is still in the access method.
    state["granted"] = False
    if cleared:
        user.clear_perm_cache()
    assert await in_thread(user.has_perm, PERM, thing) is False
    following = context.run(asyncio.create_task, user.ahas_perm(PERM, thing))
    hold.release()
    assert await following is False
    await sync_to_async(lambda: None)()  # the thread is through
    assert ended == [False]
    # What it has found out does not take the place of what was found out since.
    assert await user.ahas_perm(PERM, thing) is False
    assert await user.ahas_perm(PERM, other) is False
    context.run(assert_nothing_active, user)
    assert_nothing_active(user)


@pytest.mark.parametrize("obj", ["model level", "object level"])
async def test_a_thread_that_outlives_its_cancelled_check_keeps_nothing_after_a_clear(
    user: User,
    thing: Thing,
    hold: Hold,
    hold_backend: Callable[[type], None],
    obj: str,
) -> None:
    hold_backend(HeldSyncModelBackend)
    target = thing if obj == "object level" else None
    task = start_check("async", user, PERM, target)
    await hold.reached()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await in_thread(user.user_permissions.clear)
    user.clear_perm_cache()
    hold.release()
    await sync_to_async(lambda: None)()  # the thread is through
    assert await user.ahas_perm(PERM, target) is False
    assert await in_thread(user.has_perm, PERM, target) is False


async def test_a_thread_that_a_timeout_has_given_up_leaves_nothing_behind_when_it_ends(
    user: User, thing: Thing, settings: Any, hold: Hold, access_methods: Callable[..., None]
) -> None:
    # The context of a thread comes back to the task even then, with the check still running.
    settings.DJEM_PERM_LOG_VERBOSITY = 1
    access_methods(Thing, _user_can_use_thing=held_def(hold, {"granted": True}))
    user.start_log("mine")
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(sync_to_async(user.has_perm)(PERM, thing), 0.05)
    await hold.reached()
    hold.release()
    await sync_to_async(lambda: None)()  # the thread is through
    assert await user.ahas_perm(PERM, thing) is True
    assert user.get_last_log(raw=True)[1:] == ["read True", "\nRESULT: Permission Granted"]
    assert user.end_log() == ("mine", [])


@pytest.mark.parametrize("hops_by_itself", [False, True])
@pytest.mark.parametrize("verbosity", [0, 2])
async def test_a_cancelled_check_leaves_the_logs_around_it_alone(
    user: User,
    thing: Thing,
    settings: Any,
    hold: Hold,
    verbosity: int,
    hops_by_itself: bool,
    access_methods: Callable[..., None],
) -> None:
    # The thread that is given up is in a check of another user by then.
    settings.DJEM_PERM_LOG_VERBOSITY = verbosity
    other = await sync_to_async(grant)(await User.objects.acreate(username="other"), PERM)

    def decide(thing: Thing, asking: User) -> bool:
        asking.log(f"{asking.username} asked")
        if asking.pk == user.pk:
            return other.has_perm(PERM, thing)
        hold.wait()
        return True

    async def adecide(thing: Thing, asking: User) -> bool:
        return await sync_to_async(decide)(thing, asking)

    async def check() -> None:
        user.start_log("mine")
        other.start_log("theirs")
        try:
            await user.ahas_perm(PERM, thing)
        finally:
            user.log("after")
            other.log("after")

    methods = {"_auser_can_use_thing": adecide} if hops_by_itself else {}
    access_methods(Thing, _user_can_use_thing=decide, **methods)
    task, context = in_context(check())
    await hold.reached()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    name, lines = context.run(user.end_log)
    assert name == "mine"
    # What the thread has logged may be lost with it, where there is no log of the check.
    assert lines in ([["after"]] if verbosity else [["after"], ["user.name asked", "after"]])
    assert context.run(other.end_log) == ("theirs", ["after"])
    context.run(assert_nothing_active, user)
    context.run(assert_nothing_active, other)
    hold.release()


async def test_an_access_method_may_give_up_an_inner_check(
    user: User, things: list[Thing], settings: Any, hold: Hold, access_methods: Callable[..., None]
) -> None:
    settings.DJEM_PERM_LOG_VERBOSITY = 1
    outer, inner, *_ = things

    def decide(thing: Thing, user: User) -> bool:
        hold.wait()
        return True

    async def adecide(thing: Thing, user: User) -> bool:
        if thing.pk == inner.pk:
            return await sync_to_async(decide)(thing, user)
        user.log("before")
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(user.ahas_perm(PERM, inner), 0.05)
        user.log("after")
        return False

    access_methods(Thing, _user_can_use_thing=adecide)
    assert await user.ahas_perm(PERM, outer) is False
    assert user.get_last_log(raw=True)[1:] == ["before", "after", "\nRESULT: Permission Denied"]
    assert user.get_log(f"auto-{PERM}-{inner.pk}", raw=True)[-1] == (
        "\nRESULT: Error (CancelledError)"
    )
    hold.release()
    assert await user.ahas_perm(PERM, inner) is True
    assert_nothing_active(user)


class Stepped:
    """A coroutine that is resumed by hand, in a context of its own."""

    def __init__(self, coroutine: Any) -> None:
        self.coroutine = coroutine
        self.context = contextvars.copy_context()
        self.result: Any = None
        self._waits_for: Any = None

    def resume(self, error: BaseException | None = None) -> bool:
        """Run to the next place where it waits, and tell whether there is one."""
        try:
            if error is None:
                self._waits_for = self.context.run(self.coroutine.send, None)
            else:
                self._waits_for = self.context.run(self.coroutine.throw, error)
        except StopIteration as end:
            self.result = end.value
            return False
        return True

    async def until_ready(self) -> None:
        if self._waits_for is None:
            await asyncio.sleep(0)
        else:
            self._waits_for._asyncio_future_blocking = False
            await asyncio.wait([self._waits_for])

    async def run(self, steps: int | None = None) -> int:
        """Run through so many waits, or to the end, and count them."""
        taken = 0
        while (steps is None or taken < steps) and self.resume():
            taken += 1
            if taken != steps:
                await self.until_ready()
        return taken

    async def cancel(self) -> None:
        going = self.resume(asyncio.CancelledError())
        while going:
            await self.until_ready()
            going = self.resume()


async def auser_method(thing: Thing, user: User) -> bool:
    user.log("user asked")
    assert await Thing.objects.filter(pk=thing.pk).aexists()
    user.log("user answered")
    return False


def user_method(thing: Thing, user: User) -> bool:
    user.log("user asked")
    assert Thing.objects.filter(pk=thing.pk).exists()
    user.log("user answered")
    return False


async def agroup_method(thing: Thing, groups: Any) -> bool:
    return not await groups.aexists()


async def slow_end_log(self: User) -> tuple[str, list[Entry]]:
    await asyncio.sleep(0)
    ended = Loggable.end_log(self)
    await asyncio.sleep(0)
    return ended


@pytest.fixture
def stepped_check(
    user: User, thing: Thing, access_methods: Callable[..., None]
) -> Callable[[str], Stepped]:
    def make(method: str) -> Stepped:
        access_methods(
            Thing,
            _user_can_use_thing=user_method if method == "def" else auser_method,
            _group_can_use_thing=agroup_method,
        )
        access_methods(User, aend_log=slow_end_log)
        return Stepped(user.ahas_perm(PERM, thing))

    return make


COMPLETE_LOG = [
    "Model-level Result: Granted\n",
    "user asked",
    "user answered",
    "\nRESULT: Permission Granted",
]


async def assert_checks_as_new(user: User, thing: Thing, verbosity: int) -> None:
    assert_nothing_active(user)
    known = getattr(user, "_user_perm_cache", None)
    assert known in (None, {PERM})
    assert await user.ahas_perm(PERM, thing) is True
    assert_nothing_active(user)
    if verbosity:
        assert user.get_last_log(raw=True)[4:] == COMPLETE_LOG


@pytest.mark.parametrize("verbosity", [0, 2])
@pytest.mark.parametrize("method", ["def", "async def"])
async def test_a_check_may_be_cancelled_wherever_it_waits(
    user: User,
    thing: Thing,
    settings: Any,
    verbosity: int,
    method: str,
    stepped_check: Callable[[str], Stepped],
    begins: str,
) -> None:
    settings.DJEM_PERM_LOG_VERBOSITY = verbosity
    whole = stepped_check(method)
    waits = await whole.run()
    assert whole.result is True
    is_one_hop = (method, verbosity, begins) == ("def", 0, "in a thread")
    assert waits >= (2 if is_one_hop else 3)
    for steps in range(1, waits + 1):
        user.clear_perm_cache()
        check = stepped_check(method)
        assert await check.run(steps) == steps
        with pytest.raises(asyncio.CancelledError):
            await check.cancel()
        check.context.run(assert_nothing_active, user)
        following = check.context.run(
            asyncio.create_task, assert_checks_as_new(user, thing, verbosity)
        )
        await following


@pytest.mark.parametrize("verbosity", [0, 2])
@pytest.mark.parametrize("closed_by", ["close", "garbage collection"])
@pytest.mark.parametrize("method", ["def", "async def"])
async def test_a_check_may_be_closed_wherever_it_waits(
    user: User,
    thing: Thing,
    settings: Any,
    verbosity: int,
    closed_by: str,
    method: str,
    stepped_check: Callable[[str], Stepped],
) -> None:
    settings.DJEM_PERM_LOG_VERBOSITY = verbosity

    def forget() -> None:
        # Closing a query that Django iterates over is a matter between Django and asyncio.
        user.clear_perm_cache()
        user._perm_cache = user._user_perm_cache = {PERM}
        user._group_perm_cache = set()

    forget()
    waits = await stepped_check(method).run()
    assert waits >= 2
    for steps in range(1, waits + 1):
        forget()
        check = stepped_check(method)
        assert await check.run(steps) == steps
        context = check.context
        if closed_by == "close":
            context.run(check.coroutine.close)
        else:
            context.run(check.__dict__.clear)
            context.run(gc.collect)
        context.run(assert_nothing_active, user)
        await context.run(asyncio.create_task, assert_checks_as_new(user, thing, verbosity))


@pytest.mark.parametrize("verbosity", [0, 2])
@pytest.mark.parametrize("closed_by", ["close", "garbage collection"])
async def test_a_check_that_is_closed_elsewhere_touches_no_other_context(
    user: User,
    thing: Thing,
    settings: Any,
    verbosity: int,
    closed_by: str,
    access_methods: Callable[..., None],
) -> None:
    settings.DJEM_PERM_LOG_VERBOSITY = verbosity
    other = await Thing.objects.acreate()
    dropped: list[Stepped] = []

    async def decide(thing: Thing, asking: User) -> bool:
        asking.log("before")
        if thing.pk == other.pk:
            # In the middle of a check, another one is closed.
            if closed_by == "close":
                dropped.pop().coroutine.close()
            else:
                dropped.clear()
                gc.collect()
        else:
            await asyncio.Event().wait()
        asking.log("after")
        return True

    access_methods(Thing, _user_can_use_thing=decide)
    await user.ahas_perm(PERM)
    check = Stepped(user.ahas_perm(PERM, thing))
    await check.run(1)
    dropped.append(check)
    del check

    user.start_log("mine")
    user.log("before")
    assert await user.ahas_perm(PERM, other) is True
    user.log("after")
    lines = [] if verbosity else ["before", "after"]
    assert user.end_log() == ("mine", ["before", *lines, "after"])
    assert_nothing_active(user)
    if verbosity:
        log = user.get_log(f"auto-{PERM}-{other.pk}", raw=True)
        assert log[5:] == ["before", "after", "\nRESULT: Permission Granted"]


# The documented example, all at once


async def test_the_documented_models_under_load(user: User, settings: Any) -> None:
    settings.DJEM_PERM_LOG_VERBOSITY = 1
    user = await sync_to_async(grant)(user, "testapp.delete_product", "testapp.manage_supplier")
    suppliers = [await Supplier.objects.acreate(name=f"supplier {n}") for n in range(2)]
    await suppliers[0].managers.aadd(user)
    products = [
        await Product.objects.acreate(
            code=f"P{number}",
            active=number % 4 == 0,
            stock=int(number % 4 == 1),
            supplier=suppliers[number % 4 == 3],
        )
        for number in range(20)
    ]
    reasons = [
        ["Cannot delete active product lines"],
        ["Cannot delete products with stock on hand"],
        ["Product can be deleted"],
        ["Model-level Result: Granted\n", "\nRESULT: Permission Denied"],
    ]

    async def check(number: int) -> None:
        granted = await user.ahas_perm("testapp.delete_product", products[number])
        assert granted is (number % 4 == 2)
        assert user.get_last_log(raw=True)[1:-1] == reasons[number % 4]

    for _ in range(2):
        await asyncio.gather(*(check(number) for number in range(20)))
