"""Users whose flags take a query to read: both APIs answer alike."""

from collections.abc import Callable
from typing import Any

import pytest
from asgiref.sync import async_to_sync

from djem_async.auth import ObjectPermissionsBackend
from djem_async.shortcuts import aget_objects_for_user
from tests.conftest import PERM, Api, adeny, allow, deny, grant
from tests.testapp.models import Thing, User

pytestmark = pytest.mark.django_db


def flag_by_query(name: str) -> property:
    """Return a property that finds a flag in the database each time."""

    def is_set(self: User) -> bool:
        return User.objects.filter(pk=self.pk, **{name: True}).exists()

    return property(is_set, lambda self, value: None)


@pytest.fixture(params=["defer", "only", "property"])
def load(request: pytest.FixtureRequest, access_methods: Callable[..., None]) -> Any:
    """Return a function that loads a user whose flags are not known yet."""

    def load(**flags: bool) -> User:
        user = grant(User.objects.create_user("user.name", **flags), PERM)
        rows = User.objects.all()
        if request.param == "defer":
            rows = rows.defer("is_active", "is_superuser")
        if request.param == "only":
            rows = rows.only("pk")
        if request.param == "property":
            access_methods(User, **{name: flag_by_query(name) for name in NAMES})
        return rows.get(pk=user.pk)

    return load


NAMES = ("is_active", "is_superuser")
CASES = [
    ({}, [True, True, False]),
    ({"is_active": False}, [False, False, False]),
    ({"is_superuser": True}, [True, True, True]),
]


@pytest.mark.parametrize("verbosity", [0, 2])
@pytest.mark.parametrize(("flags", "right"), CASES)
def test_checks_answer_alike(api, load, access_methods, settings, verbosity, flags, right):
    settings.DJEM_PERM_LOG_VERBOSITY = verbosity
    things = [Thing.objects.create(), Thing.objects.create()]
    access_methods(Thing, _user_can_use_thing=lambda self, user: self.pk == things[0].pk)
    user = load(**flags)
    for _ in range(2):
        asked = [api(user).has_perm(PERM), *(api(user).has_perm(PERM, thing) for thing in things)]
        assert asked == right
    assert api(user).has_module_perms("testapp") is right[0]
    assert (PERM in api(user).get_all_permissions(things[1])) is right[2]


@pytest.mark.parametrize(("flags", "right"), CASES)
def test_checks_with_async_methods_answer_alike(load, access_methods, flags, right):
    # The first belongs on the event loop; after it flags are read there.
    access_methods(Thing, _auser_can_use_thing=adeny, _group_can_use_thing=allow)
    user, thing = load(**flags), Thing.objects.create()
    assert Api("async", user).has_perm(PERM, thing) is right[1]
    assert Api("async", ObjectPermissionsBackend()).has_perm(user, PERM, thing) is right[1]


@pytest.mark.parametrize(("flags", "right"), CASES)
def test_lists_and_prefetches_answer_alike(api, load, access_methods, flags, right):
    access_methods(Thing, _quser_can_use_thing=classmethod(lambda cls, user: True))
    user, thing = load(**flags), Thing.objects.create()
    found = async_to_sync(aget_objects_for_user)(user, PERM, Thing)
    assert list(found) == [thing] * right[1]
    api(user).prefetch_perms([PERM], [thing])
    access_methods(Thing, _quser_can_use_thing=classmethod(deny))
    assert api(user).has_perm(PERM, thing) is right[1]


def test_a_flag_that_is_deferred_again_is_loaded(api, load):
    user = load()
    for _ in range(2):
        assert api(user).has_perm(PERM) is True
        vars(user).pop("is_active", None)
