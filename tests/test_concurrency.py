"""Checks that share a user: tasks, threads, recursion, clears and cancelled checks."""

import asyncio
import contextvars
import gc
import threading
from collections.abc import Callable
from typing import Any

import pytest
from asgiref.sync import async_to_sync, sync_to_async
from django.db import connections
from django.db.models import prefetch_related_objects
from django.db.models.base import ModelBase
from django.template import Context, Template

from djem_async.auth import ObjectPermissionsBackend
from djem_async.exceptions import PermissionRecursionError
from djem_async.logs import Loggable
from tests.conftest import PERM, Gate, assert_nothing_active, grant, known_user, set_caches, stored
from tests.testapp.models import Thing, ThingProxy, User

pytestmark = pytest.mark.usefixtures("connections_of_threads")
transactional = pytest.mark.django_db(transaction=True)


def closing_connections(function: Callable[..., Any], *args: Any) -> Any:
    try:
        return function(*args)
    finally:
        connections.close_all()


async def in_thread(function: Callable[..., Any], *args: Any) -> Any:
    """Run in a thread of its own, with a database connection of its own."""
    return await asyncio.to_thread(closing_connections, function, *args)


async def in_form(form: str, user: User, name: str, *args: Any) -> Any:
    """Call the sync form of a method in another thread, or await the async form."""
    if form == "sync":
        return await in_thread(getattr(user, name), *args)
    return await getattr(user, f"a{name}")(*args)


async def cancelled_inside(gate: Gate, awaitable: Any) -> contextvars.Context:
    """Begin something, cancel it while it is held up, and return its context."""
    context = contextvars.copy_context()
    task = asyncio.get_running_loop().create_task(awaitable, context=context)
    await gate.reached()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    return context


def things(count: int) -> list[Thing]:
    return [stored(pk, f"thing {pk}") for pk in range(1, count + 1)]


# Tasks and threads that share a user


def decide(thing: Thing, user: User) -> bool:
    user.log(f"{thing.pk} first")
    threading.Event().wait(0.001)  # so that another thread has its turn
    user.log(f"{thing.pk} second")
    return thing.pk % 2 == 0


async def adecide(thing: Thing, user: User) -> bool:
    user.log(f"{thing.pk} first")
    for _ in range(thing.pk % 4):
        await asyncio.sleep(0)
    user.log(f"{thing.pk} second")
    return thing.pk % 2 == 0


def judge(user: User, thing: Thing, granted: bool) -> None:
    """Assert that the check which has just ended has its own answer and its own log."""
    assert granted is (thing.pk % 2 == 0)
    log = user.get_last_log(raw=True)
    result = f"\nRESULT: Permission {'Granted' if granted else 'Denied'}"
    assert log[2] == f"Object: thing {thing.pk} ({thing.pk})"
    assert log[5:] == [f"{thing.pk} first", f"{thing.pk} second", result]
    assert_nothing_active(user)


def check_all(user: User) -> None:
    for thing in things(10):
        judge(user, thing, user.has_perm(PERM, thing))


async def acheck_all(user: User) -> None:
    async def check(thing: Thing) -> None:
        judge(user, thing, await user.ahas_perm(PERM, thing))

    async with asyncio.TaskGroup() as tasks:
        for thing in things(10) * 3:
            tasks.create_task(check(thing))


async def all_at_once(user: User) -> None:
    loops = [in_thread(async_to_sync(acheck_all), user) for _ in range(2)]
    await asyncio.gather(*(in_thread(check_all, user) for _ in range(4)), acheck_all(user), *loops)


FORMS: list[dict[str, Any]] = [
    {"_user_can_use_thing": decide},
    {"_user_can_use_thing": adecide},
    {"_user_can_use_thing": decide, "_auser_can_use_thing": adecide},
]


@pytest.mark.parametrize("methods", FORMS, ids=["def", "async def", "twins"])
@pytest.mark.parametrize("crowd", [acheck_all, all_at_once])
async def test_checks_share_a_user(settings, access_methods, crowd, methods):
    settings.DJEM_PERM_LOG_VERBOSITY = 2
    # From Python 3.12 on a task may begin at once, in the middle of the one that creates it.
    asyncio.get_running_loop().set_task_factory(getattr(asyncio, "eager_task_factory", None))
    access_methods(Thing, **methods)
    user = known_user()
    user.start_log("mine")
    for _ in range(2):
        await asyncio.create_task(crowd(user), context=contextvars.Context())
    assert user.end_log() == ("mine", [])


def test_each_of_several_first_checks_logs_once(user, thing, access_methods):
    async def check() -> list[bool]:
        return await asyncio.gather(*(user.ahas_perm(PERM, thing) for _ in range(3)))

    access_methods(Thing, _user_can_use_thing=lambda self, user: user.log("asked") or True)
    user.start_log("mine")
    assert async_to_sync(check)() == [True] * 3
    assert user.end_log() == ("mine", ["asked"] * 3)


# Recursion

BACKEND = ObjectPermissionsBackend()


def render(**context: Any) -> str:
    source = f"{{% load djem_async %}}{{% ifperm user '{PERM}' obj %}}yes{{% endifperm %}}"
    return Template(source).render(Context(context))


ENTRANCES: dict[str, Callable[[Any, User, Any], Any]] = {
    "has_perm": lambda api, user, obj: api(user).has_perm(PERM, obj),
    "has_perms": lambda api, user, obj: api(user).has_perms([PERM], obj),
    "backend": lambda api, user, obj: api(BACKEND).has_perm(user, PERM, obj),
    "user's set": lambda api, user, obj: PERM in api(user).get_all_permissions(obj),
    "backend's set": lambda api, user, obj: PERM in api(BACKEND).get_all_permissions(user, obj),
    "template": lambda api, user, obj: render(user=user, obj=obj) == "yes",
}


@pytest.mark.parametrize("inner", ENTRANCES)
@pytest.mark.parametrize("outer", ENTRANCES)
def test_reentered_check_is_refused_and_runs_its_method_once(
    api, user, thing, access_methods, outer, inner
):
    def reenter(self: Any, groups: Any) -> Any:
        calls.append(self)
        return ENTRANCES[inner](api, user, Thing.objects.get(pk=self.pk))

    calls: list[Any] = []
    access_methods(Thing, _group_can_use_thing=reenter)
    with pytest.raises(PermissionRecursionError, match=f"{PERM}.*{thing.pk}"):
        ENTRANCES[outer](api, user, thing)
    assert calls == [thing]


WAYS: dict[str, Callable[[User, Thing], Any]] = {
    "await": lambda user, thing: user.ahas_perm(PERM, thing),
    "task": lambda user, thing: asyncio.create_task(user.ahas_perm(PERM, thing)),
    "gather": lambda user, thing: asyncio.gather(user.ahas_perm(PERM, thing)),
    "sync_to_async": lambda user, thing: sync_to_async(user.has_perm)(PERM, thing),
    "to_thread": lambda user, thing: asyncio.to_thread(user.has_perm, PERM, thing),
    "another instance": lambda user, thing: known_user(user.pk).ahas_perm(PERM, thing),
}


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("obj", [things(1)[0], Thing()], ids=["saved", "unsaved"])
@pytest.mark.parametrize("verbosity", [0, 2])
async def test_reentered_check_is_refused_across_tasks_and_threads(
    settings, access_methods, verbosity, obj, way
):
    async def reenter(thing: Thing, user: User) -> bool:
        calls.append(thing)
        return await WAYS[way](user, thing)

    settings.DJEM_PERM_LOG_VERBOSITY = verbosity
    user, calls = known_user(), list[Any]()
    access_methods(Thing, _user_can_use_thing=reenter)
    with pytest.raises(PermissionRecursionError):
        await user.ahas_perm(PERM, obj)
    assert len(calls) == 1
    assert_nothing_active(user)
    access_methods(Thing, _user_can_use_thing=lambda self, user: True)
    assert await user.ahas_perm(PERM, obj) is True


async def test_task_that_outlives_its_check_may_make_the_same_check(access_methods):
    user, (thing,), over, tasks = known_user(), things(1), asyncio.Event(), list[Any]()

    async def later() -> bool:
        await over.wait()
        user.clear_perm_cache()
        set_caches(user)
        return await user.ahas_perm(PERM, thing)

    async def decide(self: Thing, user: User) -> bool:
        if tasks:
            return True
        tasks.append(asyncio.create_task(later()))
        await asyncio.sleep(0)
        return False

    access_methods(Thing, _user_can_use_thing=decide)
    assert await user.ahas_perm(PERM, thing) is False
    over.set()
    assert await tasks[0] is True
    assert await user.ahas_perm(PERM, thing) is True


def test_recursion_error_names_the_chain(api, access_methods):
    chain = things(3)
    decide = lambda self, user: api(user).has_perm(PERM, chain[self.pk % 3])  # noqa: E731
    access_methods(Thing, _user_can_use_thing=decide)
    with pytest.raises(PermissionRecursionError) as raised:
        api(known_user()).has_perm(PERM, chain[0])
    titles = [f"{PERM} on Thing {pk}" for pk in (1, 2, 3, 1)]
    assert " -> ".join(titles) in str(raised.value)


def test_endless_chain_of_checks_is_a_permission_recursion_error(api, access_methods):
    def decide(self: Thing, user: User) -> bool:
        return user.has_perm(PERM, Thing(pk=self.pk + 1))

    async def adecide(self: Thing, user: User) -> bool:
        return await user.ahas_perm(PERM, Thing(pk=self.pk + 1))

    access_methods(Thing, _user_can_use_thing=decide, _auser_can_use_thing=adecide)
    with pytest.raises(PermissionRecursionError, match=PERM):
        api(known_user()).has_perm(PERM, Thing(pk=1))


def test_recursion_error_of_an_access_method_comes_through(api, access_methods):
    def decide(self: Thing, user: User) -> bool:
        if self.pk == 14:
            raise error
        return user.has_perm(PERM, Thing(pk=self.pk + 1))

    error = RecursionError("mine")
    access_methods(Thing, _user_can_use_thing=decide)
    with pytest.raises(RecursionError) as raised:
        api(known_user()).has_perm(PERM, Thing(pk=1))
    assert raised.value is error


@pytest.mark.parametrize("granted", [True, False])
def test_checks_of_something_else_are_no_recursion(api, user, thing, access_methods, granted):
    user = grant(user, "testapp.change_thing")
    others = [Thing.objects.create()]
    others.append(ThingProxy.objects.get(pk=thing.pk))
    asked = [(user, PERM, other) for other in others]
    asked += [(user, "testapp.change_thing", thing)]
    asked.append((grant(User.objects.create_user("other"), PERM), PERM, thing))

    def decide(self: Any, asking: User) -> bool:
        if (type(self), self, asking) != (Thing, thing, user):
            return granted
        return all(api(asker).has_perm(perm, obj) for asker, perm, obj in asked)

    access_methods(Thing, _user_can_use_thing=decide)
    assert api(user).has_perm(PERM, thing) is granted


# Flags that flip within a check


class Countdown:
    """The flag of a user who is inactive once, the given number of questions from now."""

    def __get__(self, user: Any, owner: Any) -> bool:
        user.countdown -= 1
        return user.countdown != 0

    def __set__(self, user: Any, value: bool) -> None: ...


@pytest.mark.parametrize("prefetched", [False, True])
@pytest.mark.parametrize("is_object", [False, True])
@pytest.mark.parametrize("verbosity", [0, 1])
def test_moment_of_inactivity_grants_nothing_and_leaves_no_denial(
    api, user, thing, settings, prefetched, is_object, verbosity
):
    settings.DJEM_PERM_LOG_VERBOSITY = verbosity
    kind = type.__new__(ModelBase, "Flick", (User,), {"is_active": Countdown()})
    for countdown in range(1, 14):
        flickering = User.objects.get(pk=user.pk)
        flickering.__class__ = kind
        if prefetched:  # Django's own queries, as for every unusual user
            prefetch_related_objects([flickering], "groups")
        for perm in (PERM, "testapp.change_thing"):
            flickering.clear_perm_cache()
            flickering.countdown = countdown
            granted = api(flickering).has_perm(perm, thing if is_object else None)
            assert granted is False or perm == PERM, countdown
            flickering.countdown = -1
            for obj in (thing, None):
                assert api(flickering).has_perm(PERM, obj) is True, countdown
                assert api(flickering).has_perm("testapp.change_thing", obj) is False, countdown


@pytest.mark.parametrize("flag", ["is_active", "is_superuser"])
def test_flag_that_an_access_method_flips_is_not_cached(api, user, thing, access_methods, flag):
    def flip(self: Any, user: Any) -> bool:
        setattr(user, flag, not getattr(user, flag))
        return False

    access_methods(Thing, _user_can_use_thing=flip, _group_can_use_thing=lambda self, groups: True)
    api(user).has_perm(PERM, thing)
    user.is_active, user.is_superuser = True, False
    assert api(user).has_perm("testapp.change_thing", thing) is False
    for _ in range(2):
        assert api(user).has_perm(PERM, thing) is True


# Clears and checks in flight


@transactional
@pytest.mark.parametrize("before", [True, False])
@pytest.mark.parametrize(("form", "has_twin"), [("sync", 0), ("async", 0), ("async", 1)])
async def test_decision_in_flight_is_not_stored_after_a_clear(
    user, thing, gate, access_methods, form, has_twin, before
):
    state = {"granted": before}

    def decide(self: Thing, user: User) -> bool:
        granted = state["granted"]
        gate.pass_through()
        return granted

    async def adecide(self: Thing, user: User) -> bool:
        return await asyncio.to_thread(decide, self, user)

    twin = {"_auser_can_use_thing": adecide} if has_twin else {}
    access_methods(Thing, _user_can_use_thing=decide, **twin)
    check = asyncio.create_task(in_form(form, user, "has_perm", PERM, thing))
    await gate.reached()
    state["granted"] = not before
    user.clear_perm_cache()
    assert await in_form("sync", user, "has_perm", PERM, thing) is not before
    gate.open()
    assert await check is before
    for again in ("sync", "async"):
        assert await in_form(again, user, "has_perm", PERM, thing) is not before


# Cancelled checks


@pytest.mark.parametrize(("cleared", "nested"), [(False, False), (True, False), (True, True)])
@pytest.mark.parametrize("verbosity", [0, 2])
async def test_thread_that_outlives_its_cancelled_check_replaces_nothing(
    settings, gate, access_methods, verbosity, cleared, nested
):
    settings.DJEM_PERM_LOG_VERBOSITY = verbosity
    user, (thing, other), state, ended = known_user(), things(2), {"granted": True}, list[Any]()

    def decide(self: Thing, user: User) -> bool:
        granted = state["granted"]
        if granted:
            gate.pass_through()
            user.log("this goes nowhere")
            ended.append(user.has_perm(PERM, other))
        return granted

    def outer(self: Thing, user: User) -> bool:
        return user.has_perm(PERM, proxy) if nested and self == thing else decide(self, user)

    proxy = ThingProxy.from_db("default", ["id", "name", "owner_id"], [1, "thing", None])
    access_methods(Thing, _user_can_use_thing=outer)
    access_methods(ThingProxy, _user_can_use_thing=decide)
    context = await cancelled_inside(gate, user.ahas_perm(PERM, thing))
    context.run(assert_nothing_active, user)
    state["granted"] = False
    if cleared:
        user.clear_perm_cache()
        set_caches(user)
    assert await in_thread(user.has_perm, PERM, thing) is False
    following = context.run(asyncio.create_task, user.ahas_perm(PERM, thing))
    gate.open()
    assert await following is False
    await sync_to_async(int)()  # the thread is through
    assert ended == [False]
    for obj in (thing, other, proxy):
        assert await user.ahas_perm(PERM, obj) is False
    context.run(assert_nothing_active, user)


async def test_slow_end_log_of_a_cancelled_check_ends_no_other_log(settings, gate, access_methods):
    async def check() -> None:
        user.start_log("mine")
        user.log("before")
        await user.ahas_perm(PERM)

    settings.DJEM_PERM_LOG_VERBOSITY = 1
    access_methods(User, end_log=lambda self: gate.pass_through() and Loggable.end_log(self))
    user = known_user()
    context = await cancelled_inside(gate, check())
    gate.open()
    await sync_to_async(int)()  # the thread is through
    with pytest.raises(KeyError, match="mine"):
        user.get_log("mine")
    context.run(user.log, "after")
    assert context.run(Loggable.end_log, user) == ("mine", ["before", "after"])


@pytest.mark.parametrize("verbosity", [0, 2])
@pytest.mark.parametrize("closed_by", ["close", "garbage collection"])
async def test_check_that_is_closed_inside_another_one_leaves_it_alone(
    settings, access_methods, verbosity, closed_by
):
    settings.DJEM_PERM_LOG_VERBOSITY = verbosity
    user, (thing, other), dropped = known_user(), things(2), list[Any]()

    async def decide(self: Thing, user: User) -> bool:
        user.log("before")
        if self == other:
            if closed_by == "close":
                dropped[0].close()
            dropped.clear()
            gc.collect()
        else:
            await asyncio.sleep(0)
        user.log("after")
        return True

    access_methods(Thing, _user_can_use_thing=decide)
    dropped.append(user.ahas_perm(PERM, thing))
    contextvars.copy_context().run(dropped[0].send, None)
    user.start_log("mine")
    assert await user.ahas_perm(PERM, other) is True
    lines = ["before", "after"]
    assert user.end_log() == ("mine", [] if verbosity else lines)
    if verbosity:
        log = user.get_log(f"auto-{PERM}-{other.pk}", raw=True)
        assert log[5:] == [*lines, "\nRESULT: Permission Granted"]
    assert_nothing_active(user)
