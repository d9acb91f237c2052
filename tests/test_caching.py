"""The permission cache: what is cached, for which key, and what clears it."""

import copy
import pickle
from collections.abc import Callable
from datetime import date
from decimal import Decimal
from typing import Any
from uuid import UUID

import pytest
from asgiref.sync import async_to_sync
from django.contrib.auth.backends import ModelBackend
from django.contrib.auth.models import Group
from django.core.exceptions import PermissionDenied
from django.db import connection

from djem_async.auth import ObjectPermissionsBackend
from tests.conftest import MODEL_BACKEND, OUR_BACKEND, PERM, grant, permission, set_caches
from tests.testapp import models
from tests.testapp.models import CompositeThing, OtherThing, PlainUser, Thing, ThingProxy, User

DJANGOS = ("_perm_cache", "_user_perm_cache", "_group_perm_cache")


class Method:
    """An access method that records the objects it is called for."""

    def __init__(self, answer: Any = True) -> None:
        self.answer = answer
        self.calls: list[Any] = []

    def __get__(self, obj: Any, owner: type) -> Any:
        return lambda argument: self.call(obj)

    def call(self, obj: Any) -> Any:
        self.calls.append(obj)
        if isinstance(self.answer, BaseException):
            raise self.answer
        return self.answer


@pytest.fixture
def method(access_methods: Any) -> Method:
    method = Method()
    access_methods(Thing, _user_can_use_thing=method)
    return method


def saved(model: Any = Thing, alias: str = "default", **fields: Any) -> Any:
    """Make an object that counts as saved, without a query."""
    obj = model(**fields)
    obj._state.adding, obj._state.db = False, alias
    return obj


def caches_of(user: Any) -> list[str]:
    return [name for name in DJANGOS if hasattr(user, name)]


# One decision for each source, permission and row


@pytest.mark.parametrize("answer", [True, False, None, PermissionDenied()])
def test_method_is_called_once(api, user, thing, method, answer):
    method.answer = answer
    first = api(user).has_perm(PERM, thing)
    method.answer = not first
    assert api(user).has_perm(PERM, thing) is first is (answer is True)
    assert api(user).has_perm(PERM, Thing.objects.get(pk=thing.pk)) is first
    assert len(method.calls) == 1


@pytest.mark.parametrize("pk", [1, "1", b"1", UUID(int=1), date(2026, 1, 1), (1, "1")])
def test_decision_counts_for_each_instance_of_a_row(api, user, method, pk):
    for _ in range(2):
        assert api(user).has_perm(PERM, saved(pk=pk)) is True
    assert len(method.calls) == 1


def test_sync_and_async_api_backend_and_sets_share_decisions(user, thing, method):
    backend = ObjectPermissionsBackend()
    assert PERM in user.get_user_permissions(thing)
    assert user.has_perm(PERM, thing)
    assert async_to_sync(user.ahas_perm)(PERM, thing)
    assert PERM in async_to_sync(user.aget_all_permissions)(thing)
    assert backend.has_perm(user, PERM, thing)
    assert async_to_sync(backend.ahas_perm)(user, PERM, thing)
    assert len(method.calls) == 1


ROWS: list[Callable[[], Any]] = [
    *(lambda pk=pk: saved(pk=pk) for pk in (1, 2, "1", True, 1.0, Decimal(1))),
    lambda: saved(pk=1, alias="other"),
    lambda: saved(ThingProxy, pk=1),
    lambda: saved(models.SpecialThing, pk=1, thing_ptr_id=1),
    lambda: saved(OtherThing, pk=1),
    *(
        lambda pk=pk: saved(CompositeThing, tenant=pk[0], number=pk[1])
        for pk in ((1, 1), (1, 2), (2, 1), (1, True))
    ),
]


def test_object_is_never_served_the_decision_of_another(api, user, access_methods):
    objects = [make() for make in ROWS]
    for model in (Thing, OtherThing, CompositeThing):
        access_methods(model, _user_can_use_thing=lambda self, user: self is allowed)
    for allowed in objects:
        user.clear_perm_cache()
        for _ in range(2):
            assert [api(user).has_perm(PERM, obj) for obj in objects] == [
                obj is allowed for obj in objects
            ]


@pytest.mark.parametrize("is_in_place", [True, False])
@pytest.mark.parametrize("pk", [2, True, 1.0, "1", None])
def test_object_that_becomes_another_row_is_checked_anew(
    api, user, access_methods, pk, is_in_place
):
    key = (int, 1)
    access_methods(Thing, _user_can_use_thing=lambda self, user: (type(self.pk), self.pk) == key)
    obj = saved(pk=1)
    for _ in range(2):
        obj.pk = 1
        assert api(user).has_perm(PERM, obj) is True
        obj = obj if is_in_place else saved(pk=1)
        obj.pk = pk
        assert api(user).has_perm(PERM, obj) is False


@pytest.mark.parametrize(
    "make",
    [
        Thing,
        lambda: Thing(pk=1),
        lambda: saved(pk=None),
        lambda: saved(pk=[1]),
        lambda: CompositeThing(tenant=1, number=1),
        lambda: saved(CompositeThing, tenant=1),
        lambda: saved(CompositeThing, tenant=1, number=[1]),
    ],
)
def test_object_without_a_lasting_identity_is_not_cached(api, user, access_methods, make):
    method = Method(True)
    for model in (Thing, CompositeThing):
        access_methods(model, _user_can_use_thing=method)
    obj = make()
    assert api(user).has_perm(PERM, obj) is True
    method.answer = False
    assert api(user).has_perm(PERM, obj) is False
    assert api(user).has_perm(PERM, make()) is False
    assert len(method.calls) == 3


@pytest.mark.parametrize("granted", [True, False])
def test_instance_with_a_method_of_its_own_shares_no_decision(api, user, method, granted):
    own, method.answer = saved(pk=1), not granted
    own._user_can_use_thing = lambda user: granted
    backend = api(ObjectPermissionsBackend())
    for obj, expected in ((own, granted), (saved(pk=1), not granted)) * 2:
        assert api(user).has_perm(PERM, obj) is backend.has_perm(user, PERM, obj) is expected
        for found in (api(user).get_all_permissions(obj), backend.get_user_permissions(user, obj)):
            assert (PERM in found) is expected


def test_object_that_its_method_saves_was_unsaved_when_checked(api, user, access_methods):
    def save(self: Any, user: Any) -> bool:
        self.save()
        return self.name == "good"

    access_methods(Thing, _user_can_use_thing=save)
    thing = Thing(name="good")
    assert api(user).has_perm(PERM, thing)
    thing.name = "bad"
    assert not api(user).has_perm(PERM, thing)


def test_decisions_on_an_object_whose_key_changes_meanwhile_are_not_cached(
    api, user, access_methods
):
    calls: list[Any] = []

    def move(self: Any, user: Any) -> bool:
        calls.append(self.pk)
        if self.pk == 1:
            self.pk = 2
        return False

    def by_group(self: Any, groups: Any) -> bool:
        calls.append(self.pk)
        return True

    access_methods(Thing, _user_can_use_thing=move, _group_can_use_thing=by_group)
    for pk, expected in ((3, [3, 3]), (1, [1, 2]), (1, [1, 2]), (2, [2, 2]), (2, [])):
        assert api(user).has_perm(PERM, saved(pk=pk))
        assert calls == expected
        calls.clear()


def test_exception_is_not_cached_and_leaves_earlier_decisions(api, user, thing, access_methods):
    by_user, by_group = Method(False), Method(ValueError("x"))
    access_methods(Thing, _user_can_use_thing=by_user, _group_can_use_thing=by_group)
    for _ in range(2):
        with pytest.raises(ValueError, match="x"):
            api(user).has_perm(PERM, thing)
    by_group.answer = True
    for _ in range(2):
        assert api(user).has_perm(PERM, thing) is True
    assert (len(by_user.calls), len(by_group.calls)) == (1, 3)


# Flags and settings that change between checks

OBJECTS = (None, saved(pk=1), saved(pk=2), saved(OtherThing, pk=1))
COLD = [True, False, True, False]  # the permission is not about the last of them
ALL, NOTHING = [True] * 4, [False] * 4


def check_all(api: Any, user: Any) -> list[bool]:
    """Check the model level and three objects, one of which is denied by its method."""
    return [api(user).has_perm(PERM, obj) for obj in OBJECTS]


@pytest.fixture
def warm(api: Any, user: User, access_methods: Any) -> User:
    """A user with all answers cached."""
    access_methods(Thing, _user_can_use_thing=lambda self, user: self.pk % 2 == 0)
    for _ in range(2):
        assert check_all(api, user) == COLD
    return user


def test_deactivated_user_is_denied_until_activated(api, warm):
    for is_active, expected in ((False, NOTHING), (True, COLD)) * 2:
        warm.is_active = is_active
        assert check_all(api, warm) == expected
        assert bool(api(warm).get_all_permissions(OBJECTS[2])) is is_active


def test_superuser_flag_counts_at_once(api, warm, settings):
    for is_universal in (False, True) * 2:
        settings.DJEM_UNIVERSAL_OLP = is_universal
        for is_superuser, expected in ((True, COLD if is_universal else ALL), (False, COLD)):
            warm.is_superuser = is_superuser
            for _ in range(2):
                assert check_all(api, warm) == expected
                backend = api(ObjectPermissionsBackend())
                assert backend.has_perm(warm, PERM, OBJECTS[1]) is expected[1]
                assert ("testapp.add_thing" in api(warm).get_all_permissions()) is is_superuser
                for perm in ("testapp.add_thing", "testapp.unknown"):
                    assert api(warm).has_perm(perm) is is_superuser


def test_changed_backends_count_at_once(api, warm, settings):
    granting, vetoing = "tests.backends.Grants", "tests.backends.Vetoes"
    for backends, expected in (
        ([granting, MODEL_BACKEND, OUR_BACKEND], ALL),
        ([MODEL_BACKEND, OUR_BACKEND], COLD),
        ([vetoing, MODEL_BACKEND, OUR_BACKEND], NOTHING),
        ([MODEL_BACKEND, OUR_BACKEND, vetoing], COLD),
        ([OUR_BACKEND], NOTHING),
        ([MODEL_BACKEND], [True, False, False, False]),
        ([MODEL_BACKEND, OUR_BACKEND, granting], ALL),
        ([OUR_BACKEND, MODEL_BACKEND], COLD),
    ):
        settings.AUTHENTICATION_BACKENDS = backends
        for _ in range(2):
            assert check_all(api, warm) == expected, backends


# Django's caches of the model level


def test_replaced_cache_of_django_counts_at_once(api, warm):
    assert User._perm_cache is not None  # as the class attribute that it is
    for _ in range(2):
        warm._perm_cache = {"testapp.delete_thing"}
        for _ in range(2):
            assert check_all(api, warm) == NOTHING
            assert api(warm).has_perm("testapp.delete_thing") is True
        warm._perm_cache = {PERM}
        for _ in range(2):
            assert check_all(api, warm) == COLD
            assert api(warm).has_perm("testapp.delete_thing") is False


@pytest.mark.parametrize("names", [DJANGOS, ["_user_perm_cache"]])
def test_deleting_caches_of_django_drops_the_model_level(api, user, names):
    assert api(user).has_perm(PERM) is True
    user.user_permissions.clear()
    assert api(user).has_perm(PERM) is True
    for name in names:  # as code out there does
        if hasattr(user, name):
            delattr(user, name)
    assert api(user).has_perm(PERM) is False


@pytest.mark.parametrize("missing", DJANGOS)
def test_missing_cache_does_not_protect_the_others(api, missing):
    user = User()
    set_caches(user)
    delattr(user, missing)
    for _ in range(2):
        api(user).clear_perm_cache()
        assert caches_of(user) == []
    with pytest.raises(AttributeError, match=missing):
        getattr(user, missing)
    with pytest.raises(AttributeError, match="_group_perm_cache"):
        del user._group_perm_cache
    setattr(user, missing, permissions := {PERM})
    assert getattr(user, missing) is permissions
    assert caches_of(user) == [missing]


# Clears


@pytest.mark.parametrize("through_group", [False, True])
def test_clear_forgets_decisions_and_the_model_level(api, user, thing, method, through_group):
    perm = "testapp.change_thing"
    assert api(user).has_perm(PERM, thing)
    method.answer = False
    assert not api(user).has_perm(perm, thing)
    if through_group:
        user.groups.add(group := Group.objects.create(name="staff"))
        group.permissions.add(permission(perm))
    else:
        user.user_permissions.add(permission(perm))
    assert not api(user).has_perm(perm, thing)
    assert api(user).has_perm(PERM, thing)
    api(user).clear_perm_cache()
    assert not api(user).has_perm(PERM, thing)
    assert api(user).has_perm(perm, thing)
    assert api(user).has_perm(perm)


def test_refreshing_the_user_clears(api, user, thing, method):
    user = User.objects.defer("first_name").get(pk=user.pk)
    assert api(user).has_perm(PERM, thing) is True
    user.user_permissions.clear()
    method.answer = False
    assert user.first_name == ""  # loads a deferred field
    assert api(user).has_perm(PERM, thing) is True
    api(user).refresh_from_db()
    assert api(user).has_perm(PERM) is False
    grant(user, PERM)
    api(user).refresh_from_db(fields=["is_active"])
    assert api(user).has_perm(PERM) is True
    assert api(user).has_perm(PERM, thing) is False


def test_clear_inside_a_check_wins_over_it(api, user, thing, access_methods):
    def clear(self: Any, user: Any) -> bool:
        calls.append(caches_of(user))
        user.clear_perm_cache()
        return True

    calls: list[Any] = []
    access_methods(Thing, _user_can_use_thing=clear)
    access_methods(ThingProxy, _user_can_use_thing=lambda _, user: user.has_perm(PERM, thing))
    for count, obj in enumerate([thing, saved(ThingProxy, pk=5)] * 2, 1):
        assert api(user).has_perm(PERM, obj) is True
        assert len(calls) == count
        assert calls[-1] != []
        assert caches_of(user) == []


class OwnBackend(ModelBackend):
    def get_group_permissions(self, user_obj: Any, obj: Any = None) -> set[str]:
        return super().get_group_permissions(user_obj, obj)


@pytest.mark.parametrize("backend", [MODEL_BACKEND, f"{__name__}.OwnBackend"])
@pytest.mark.parametrize(
    "check",
    [
        lambda user: user.has_perm(PERM),
        lambda user: user.has_perms([PERM]),
        lambda user: PERM in user.get_all_permissions(),
        lambda user: user.has_module_perms("testapp"),
        lambda user: user.has_perm(PERM, saved(pk=1)),
    ],
)
def test_clear_during_a_fetch_wins_over_it(api, user, settings, method, check, backend):
    def clear(execute: Any, *args: Any) -> Any:
        user.clear_perm_cache()
        return execute(*args)

    settings.AUTHENTICATION_BACKENDS = [backend, OUR_BACKEND]
    for _ in range(2):
        with connection.execute_wrapper(clear):
            assert check(api(user))
        assert caches_of(user) == []
    assert len(method.calls) in (0, 2)


# Copies

COPIES: dict[str, Callable[[Any], Any]] = {
    "copy": copy.copy,
    "deepcopy": copy.deepcopy,
    "pickle": lambda user: pickle.loads(pickle.dumps(user)),
}


@pytest.mark.parametrize("copied", COPIES)
@pytest.mark.parametrize("verbosity", [0, 2])
def test_copy_has_an_empty_cache_and_no_logs(api, user, thing, method, settings, copied, verbosity):
    settings.DJEM_PERM_LOG_VERBOSITY = verbosity
    assert api(user).has_perm(PERM, thing)
    method.answer = False
    twin = COPIES[copied](user)
    assert twin == user
    assert caches_of(twin) == []
    with pytest.raises(KeyError):
        twin.get_log(f"auto-{PERM}")
    assert not api(twin).has_perm(PERM, thing)
    api(twin).clear_perm_cache()
    assert api(user).has_perm(PERM, thing)


@pytest.mark.parametrize("copied", COPIES)
def test_copy_of_a_user_without_the_mixin_has_no_decisions(api, thing, method, copied):
    user, backend = PlainUser(pk=1, name="plain"), api(ObjectPermissionsBackend())
    set_caches(user)
    for _ in range(2):
        assert backend.has_perm(user, PERM, thing)
    assert len(method.calls) == 1
    method.answer = False
    assert not backend.has_perm(COPIES[copied](user), PERM, thing)
    assert backend.has_perm(user, PERM, thing)
