"""What is remembered of a user is remembered for one scope, such as a tenant."""

from collections.abc import Callable
from contextvars import ContextVar
from typing import Any

import pytest
from asgiref.sync import async_to_sync

from djem_async import shortcuts
from djem_async.shortcuts import get_objects_for_user
from tests.conftest import PERM, known_user, permission, stored
from tests.testapp.models import Thing, User

tenant: ContextVar[Any] = ContextVar("tenant", default=None)


@pytest.fixture(autouse=True)
def _scope(access_methods: Callable[..., None]) -> None:
    tenant.set(None)
    access_methods(User, perm_cache_scope=lambda self: tenant.get())


@pytest.fixture
def asked(access_methods: Callable[..., None]) -> list[Any]:
    """Things are for tenant 1."""
    asked: list[Any] = []

    def decide(self: Thing, user: User) -> bool:
        asked.append(tenant.get())
        return tenant.get() == 1

    access_methods(Thing, _user_can_use_thing=decide)
    return asked


def test_decisions_are_remembered_for_each_scope(api, user, asked, django_assert_num_queries):
    for tenant_now in (1, 2, 1, 2):
        tenant.set(tenant_now)
        assert api(user).has_perm(PERM, stored()) is (tenant_now == 1)
    assert asked == [1, 2]
    api(user).clear_perm_cache()
    for tenant_now in (1, 2):
        tenant.set(tenant_now)
        assert api(user).has_perm(PERM, stored()) is (tenant_now == 1)
    assert asked == [1, 2] * 2


@pytest.mark.parametrize("ask", ["has_perm", "get_all_permissions", "has_module_perms"])
def test_the_model_level_is_remembered_for_each_scope(api, user, ask):
    arguments = {"has_perm": [PERM], "has_module_perms": ["testapp"]}.get(ask, [])
    for tenant_now, is_held in ((1, True), (2, False), (1, True), (2, False)):
        tenant.set(tenant_now)
        user.user_permissions.set([permission(PERM)] if tenant_now == 1 else [])
        assert bool(getattr(api(user), ask)(*arguments)) is is_held
    tenant.set(1)
    assert user._perm_cache == {PERM}
    assert not get_objects_for_user(User.objects.get(pk=user.pk), PERM, Thing)


def test_deleting_a_cache_of_django_deletes_it_in_all_scopes(api, user):
    for tenant_now in (1, 2):
        tenant.set(tenant_now)
        assert api(user).has_perm(PERM) is True
    user.user_permissions.clear()
    tenant.set(3)
    with pytest.raises(AttributeError):
        del user._user_perm_cache
    for tenant_now in (1, 2):
        tenant.set(tenant_now)
        assert api(user).has_perm(PERM) is False


def test_a_check_keeps_to_the_scope_that_it_began_with(api, user, access_methods):
    def decide(self: Thing, user: User) -> bool:
        tenant.set(2)
        # A check that begins now is of the other scope.
        return self.pk == 1 and api(user).has_perm(PERM, stored(2)) is False

    access_methods(Thing, _user_can_use_thing=decide)
    tenant.set(1)
    assert api(user).has_perm(PERM, stored(1)) is True
    access_methods(Thing, _user_can_use_thing=lambda self, user: None)
    for tenant_now, pk, granted in ((1, 1, True), (2, 1, False), (1, 2, False), (2, 2, False)):
        tenant.set(tenant_now)
        assert api(user).has_perm(PERM, stored(pk)) is granted


def test_the_scope_is_read_once_by_a_check(api, user, thing, access_methods):
    calls: list[User] = []
    access_methods(User, perm_cache_scope=lambda self: calls.append(self))
    for number in range(1, 4):
        assert api(user).has_perm(PERM, thing) is True
        assert len(calls) == number


@pytest.mark.parametrize("first", [1, True, 1.0])
def test_scopes_of_different_types_are_different(api, asked, first):
    user = known_user()
    for scope in (first, 1, True, 1.0):
        tenant.set(scope)
        user._perm_cache = {PERM}
        api(user).has_perm(PERM, stored())
    assert len(asked) == 3


def test_at_most_a_hundred_scopes_are_kept(api, asked):
    user = known_user()
    for number in [*range(101), 100, 1, 0]:
        tenant.set(number)
        user._perm_cache = {PERM}
        api(user).has_perm(PERM, stored())
    assert asked == [*range(101), 0]


def test_a_scope_that_cannot_be_hashed_is_an_error(api, user):
    tenant.set([])
    with pytest.raises(TypeError, match="hash"):
        api(user).has_perm(PERM)


def test_an_async_scope_is_an_error(api, user, access_methods):
    async def scope(self: User) -> None: ...

    access_methods(User, perm_cache_scope=scope)
    with pytest.raises(TypeError, match="must be `def`"):
        api(user).has_perm(PERM)


def test_a_prefetch_warms_its_own_scope(api, user, asked):
    tenant.set(1)
    api(user).prefetch_perms([PERM], [stored()])
    for tenant_now in (1, 2):
        tenant.set(tenant_now)
        assert api(user).has_perm(PERM, stored()) is (tenant_now == 1)
    assert asked == [1, 2]


def test_a_check_that_is_made_anew_keeps_scopes_apart(api, user, thing, access_methods):
    def in_scope(number: int, asking: User) -> bool:
        tenant.set(number)
        return asking.has_perm(PERM, other)

    def decide(self: Thing, asking: User) -> bool:
        if self.pk == thing.pk:
            return [in_scope(number, asking) for number in (2, 1)] == [True, False]
        return tenant.get() == 2

    other = Thing.objects.create()
    access_methods(Thing, _user_can_use_thing=decide)
    get = shortcuts.get_object_for_user
    if api.mode == "async":
        get = async_to_sync(shortcuts.aget_object_for_user)
    tenant.set(1)
    assert get(user, PERM, Thing, pk=thing.pk) == thing
    for number in (1, 2):
        tenant.set(number)
        assert api(user).has_perm(PERM, other) is (number == 2)
