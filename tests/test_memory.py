"""A context that lives long, such as a consumer's, keeps no instance alive and does not grow."""

from __future__ import annotations

import asyncio
import contextvars
import gc
import weakref
from typing import TYPE_CHECKING, Any

import pytest

from djem_async._cache import permission_cache
from djem_async.access import nonblocking
from tests.testapp.models import Thing, User

if TYPE_CHECKING:
    from collections.abc import Callable

PERM = "testapp.use_thing"
MANY = 10_000


def context_size() -> int:
    """Count the objects that the library's context variables refer to, here and now."""
    context = contextvars.copy_context()
    seen: dict[int, object] = {}
    left = [value for var, value in context.items() if var.name.startswith("djem_async")]
    while left:
        item = left.pop()
        if id(item) not in seen and not isinstance(item, type):
            seen[id(item)] = item
            left.extend(gc.get_referents(item))
    return len(seen)


def make_user(number: int) -> User:
    """Make a user with everything that a check would ask the database for."""
    user = User(pk=number, username=f"user {number}")
    user._perm_cache = user._user_perm_cache = {PERM}
    user._group_perm_cache = set()
    return user


def make_thing(number: int = 1) -> Thing:
    thing = Thing(pk=number, name="thing")
    thing._state.adding = False
    thing._state.db = "default"
    return thing


@nonblocking
def log_and_decide(thing: Thing, user: User) -> bool:
    user.log("asked")
    user.start_log("details")
    user.log(f"of {user.pk}")
    user.end_log()
    return user.pk % 2 == 0


@nonblocking
def log_and_fail(thing: Thing, user: User) -> bool:
    user.log("asked")
    raise ValueError("wrong")


class Watch:
    """Watches how many instances are alive, and how large the context is."""

    def __init__(self) -> None:
        self._instances: list[weakref.ref[object]] = []
        self.sizes: list[int] = []

    def add(self, instance: object) -> None:
        self._instances.append(weakref.ref(instance))
        if len(self._instances) % (MANY // 20) == 0:
            self.sizes.append(context_size())

    def alive(self) -> int:
        gc.collect()
        return sum(reference() is not None for reference in self._instances)


def assert_nothing_is_kept(watch: Watch) -> None:
    assert watch.alive() == 0
    assert len(watch.sizes) >= 2
    assert max(watch.sizes) <= watch.sizes[0] + 20


@pytest.fixture(params=[0, 2])
def verbosity(request: pytest.FixtureRequest, settings: Any) -> int:
    settings.DJEM_PERM_LOG_VERBOSITY = request.param
    return int(request.param)


def test_a_user_who_is_asked_once_keeps_the_decision_alone(
    access_methods: Callable[..., None],
) -> None:
    """What makes later checks faster is found out from the second one on."""
    access_methods(Thing, _user_can_use_thing=lambda thing, user: True)
    user = make_user(0)
    assert user.has_perm(PERM, make_thing(1))
    assert permission_cache(user).generation.trust.shortcuts == {}
    assert user.has_perm(PERM, make_thing(2))
    assert list(permission_cache(user).generation.trust.shortcuts) == [PERM]


@pytest.mark.usefixtures("verbosity")
def test_many_users_in_one_thread(access_methods: Callable[..., None]) -> None:
    access_methods(Thing, _user_can_use_thing=log_and_decide)
    thing, watch = make_thing(), Watch()
    for number in range(MANY):
        user = make_user(number)
        assert user.has_perm(PERM, thing) is (number % 2 == 0)
        watch.add(user)
        del user
    assert_nothing_is_kept(watch)


@pytest.mark.usefixtures("verbosity")
async def test_many_users_in_one_task(access_methods: Callable[..., None]) -> None:
    access_methods(Thing, _user_can_use_thing=log_and_decide)
    thing, watch = make_thing(), Watch()
    for number in range(MANY):
        user = make_user(number)
        assert await user.ahas_perm(PERM, thing) is (number % 2 == 0)
        watch.add(user)
        del user
    assert_nothing_is_kept(watch)


@pytest.mark.usefixtures("verbosity")
async def test_many_users_whose_checks_hop_to_a_thread(
    access_methods: Callable[..., None],
) -> None:
    def decide(thing: Thing, user: User) -> bool:
        return log_and_decide(thing, user)

    access_methods(Thing, _user_can_use_thing=decide)
    thing, watch = make_thing(), Watch()
    for number in range(MANY // 10):
        user = make_user(number)
        assert await user.ahas_perm(PERM, thing) is (number % 2 == 0)
        watch.add(user)
        del user
    assert_nothing_is_kept(watch)


@pytest.mark.usefixtures("verbosity")
async def test_many_users_in_child_tasks(access_methods: Callable[..., None]) -> None:
    access_methods(Thing, _user_can_use_thing=log_and_decide)
    thing, watch = make_thing(), Watch()

    async def check(number: int) -> None:
        user = make_user(number)
        assert await user.ahas_perm(PERM, thing) is (number % 2 == 0)

    for number in range(MANY // 20):
        user = make_user(number)
        user.start_log("of the parent")
        await asyncio.gather(user.ahas_perm(PERM, thing), check(number))
        user.end_log()
        watch.add(user)
        watch.sizes.append(context_size())
        del user
    assert_nothing_is_kept(watch)


@pytest.mark.usefixtures("verbosity")
async def test_many_checks_that_fail(access_methods: Callable[..., None]) -> None:
    access_methods(Thing, _user_can_use_thing=log_and_fail)
    thing, watch = make_thing(), Watch()
    for number in range(MANY // 10):
        user = make_user(number)
        with pytest.raises(ValueError, match="wrong"):
            await user.ahas_perm(PERM, thing)
        with pytest.raises(ValueError, match="wrong"):
            user.has_perm(PERM, thing)
        watch.add(user)
        del user
    assert_nothing_is_kept(watch)


@pytest.mark.usefixtures("verbosity")
async def test_many_checks_that_are_cancelled(access_methods: Callable[..., None]) -> None:
    async def decide(thing: Thing, user: User) -> bool:
        user.log("asked")
        await asyncio.sleep(60)
        return True

    access_methods(Thing, _user_can_use_thing=decide)
    thing, watch = make_thing(), Watch()
    for number in range(MANY // 10):
        user = make_user(number)
        check = user.ahas_perm(PERM, thing)
        check.send(None)  # in this context, not in that of a task
        with pytest.raises(asyncio.CancelledError):
            check.throw(asyncio.CancelledError())
        watch.add(user)
        del user, check
    assert_nothing_is_kept(watch)


@pytest.mark.usefixtures("verbosity")
def test_a_user_keeps_none_of_the_objects_alive(
    api: Any, access_methods: Callable[..., None]
) -> None:
    access_methods(Thing, _user_can_use_thing=log_and_decide)
    user, watch = make_user(1), Watch()
    for number in range(100):
        thing = make_thing(number)
        api(user).has_perm(PERM, thing)
        watch.add(thing)
        del thing
    assert watch.alive() == 0


def test_a_user_that_is_checked_for_ever_does_not_grow(
    api: Any, settings: Any, access_methods: Callable[..., None]
) -> None:
    settings.DJEM_PERM_LOG_VERBOSITY = 1
    access_methods(Thing, _user_can_use_thing=log_and_decide)
    user = make_user(1)
    sizes = []
    for _ in range(200):
        api(user).has_perm(PERM, make_thing())
        sizes.append(context_size())
    assert max(sizes[100:]) <= max(sizes[:100]) + 20
