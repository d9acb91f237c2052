"""`ObjectPermissionsBackend`: called directly and through users of every kind."""

import subprocess
import sys
from contextlib import suppress
from types import SimpleNamespace
from typing import Any

import pytest
from django.contrib.auth.models import AnonymousUser
from django.core.exceptions import ImproperlyConfigured, PermissionDenied
from django.utils.functional import SimpleLazyObject

from djem_async.auth import ObjectPermissionsBackend
from tests.conftest import OUR_BACKEND, PERM, aallow, allow, grant
from tests.testapp.models import Gate, PlainUser, SpecialThing, Thing, ThingProxy, User

SETS = ("get_user_permissions", "get_group_permissions", "get_all_permissions")


@pytest.fixture
def backend(api):
    return api(ObjectPermissionsBackend())


@pytest.fixture(params=[0, 2])
def verbosity(request, settings):
    settings.DJEM_PERM_LOG_VERBOSITY = request.param


@pytest.fixture
def never(access_methods):
    """Access methods that must not run."""

    def fail(self: Any, argument: Any) -> Any:
        raise AssertionError("An access method was called.")

    access_methods(Thing, _user_can_use_thing=fail, _group_can_use_thing=fail)


def assert_denied(backend: Any, api: Any, user: Any, obj: Any) -> None:
    assert backend.has_perm(user, PERM, obj) is False
    assert api(user).has_perm(PERM, obj) is False
    for name in SETS:
        assert getattr(backend, name)(user, obj) == set()


# Objects and names of permissions


@pytest.mark.usefixtures("never")
def test_without_an_object_it_abstains(backend, user):
    for none in ((), (None,)):
        assert backend.has_perm(user, PERM, *none) is False
        for name in SETS:
            assert getattr(backend, name)(user, *none) == set()


LIKE_A_THING = SimpleNamespace(pk=1, _state=None, _user_can_use_thing=lambda user: True)
NO_INSTANCES = [0.5, [], Thing, Thing.objects, LIKE_A_THING]


@pytest.mark.parametrize("obj", [*NO_INSTANCES, SimpleLazyObject(lambda: None)])
@pytest.mark.usefixtures("verbosity")
def test_it_abstains_for_objects_that_are_not_model_instances(backend, api, user, obj):
    assert_denied(backend, api, user, obj)


@pytest.mark.parametrize("falsy", [{"__len__": lambda self: 0}, {"__bool__": lambda self: False}])
@pytest.mark.parametrize("answer", [True, False])
@pytest.mark.usefixtures("verbosity")
def test_the_truth_value_of_an_object_never_matters(
    backend, api, user, thing, access_methods, falsy, answer
):
    access_methods(Thing, _user_can_use_thing=lambda self, user: answer, **falsy)
    assert not thing
    assert api(user).has_perm(PERM, thing) is answer
    assert api(user).has_perms([PERM], thing) is answer
    assert backend.has_perm(user, PERM, thing) is answer
    for name in ("get_user_permissions", "get_all_permissions"):
        assert (PERM in getattr(backend, name)(user, thing)) is answer


# The model level


def decide(user: Any, perm: str, obj: Any = None) -> Any:
    user.calls.append((perm, obj))
    return user.answer


async def adecide(user: Any, perm: str, obj: Any = None) -> Any:
    return decide(user, perm, obj)


class Grants:
    """The other form is out of date where a class overrides one."""

    has_perm = allow
    ahas_perm = aallow


def duck_user(answer: Any, *bases: type, **forms: Any) -> Any:
    """Make a user that isn't a model; its forms decide the model level."""
    flags = {"is_active": True, "is_anonymous": False, "pk": 1}
    return type("DuckUser", bases, {**flags, **forms, "answer": answer, "calls": []})()


SYNC, ASYNC = {"has_perm": decide}, {"ahas_perm": adecide}


@pytest.mark.parametrize("bases", [(), (Grants,)])
@pytest.mark.parametrize("forms", [SYNC, ASYNC, SYNC | ASYNC], ids="-".join)
@pytest.mark.parametrize("answer", [True, False, None, 1, ""])
def test_the_model_level_is_what_the_user_says(backend, thing, bases, forms, answer):
    user = duck_user(answer, *bases, **forms)
    assert backend.has_perm(user, PERM, thing) is bool(answer)
    assert user.calls == [(PERM, None)]
    assert (PERM in backend.get_all_permissions(user, thing)) is bool(answer)


def veto(*_: Any) -> Any:
    raise PermissionDenied


async def aveto(*_: Any) -> Any:
    raise PermissionDenied


@pytest.mark.parametrize("forms", [{"has_perm": veto}, {"ahas_perm": aveto}], ids="-".join)
@pytest.mark.usefixtures("never", "verbosity")
def test_a_user_may_veto_the_model_level(backend, user, thing, access_methods, forms):
    access_methods(User, **forms)
    assert backend.has_perm(user, PERM, thing) is False
    assert backend.get_all_permissions(user, thing) == set()


# Users


@pytest.fixture
def model_level_for_all(settings):
    settings.AUTHENTICATION_BACKENDS = ["tests.backends.GrantsModelLevel", OUR_BACKEND]


class ActiveAnonymousUser(AnonymousUser):
    is_active = True


@pytest.mark.parametrize("kind", [AnonymousUser, ActiveAnonymousUser])
@pytest.mark.usefixtures("model_level_for_all", "never", "verbosity")
def test_anonymous_users_are_denied(api, backend, thing, kind):
    assert api(kind()).has_perm(PERM) is True
    assert_denied(backend, api, kind(), thing)


@pytest.mark.parametrize("kind", [User, PlainUser])
@pytest.mark.parametrize("is_superuser", [False, True])
@pytest.mark.parametrize("is_universal", [False, True])
@pytest.mark.usefixtures("model_level_for_all", "never", "verbosity")
def test_inactive_users_are_denied(api, backend, thing, settings, kind, is_superuser, is_universal):
    settings.DJEM_UNIVERSAL_OLP = is_universal
    user = kind(pk=1, is_active=False, is_superuser=is_superuser)
    assert_denied(backend, api, user, thing)


NOBODIES = [User, Thing(pk=1), None, SimpleNamespace(is_active=True, is_anonymous=False)]


@pytest.mark.parametrize("nobody", [*NOBODIES, SimpleLazyObject(lambda: None)])
@pytest.mark.usefixtures("model_level_for_all", "never", "verbosity")
def test_what_is_no_user_is_never_granted(backend, thing, nobody):
    with suppress(AttributeError, TypeError):
        assert backend.has_perm(nobody, PERM, thing) is False


def test_a_group_method_needs_a_user_with_groups(backend, thing, access_methods):
    access_methods(Thing, _group_can_use_thing=lambda self, groups: True)
    with pytest.raises(ImproperlyConfigured, match="groups"):
        backend.has_perm(duck_user(True, **SYNC), PERM, thing)


def test_djangos_own_user_model_works():
    """In a process of its own: one process has one user model."""
    run = subprocess.run(
        [sys.executable, "-W", "error", "-m", "tests.stock_user"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (run.returncode, run.stdout, run.stderr) == (0, "", "")


@pytest.mark.usefixtures("verbosity")
def test_access_methods_get_what_lazy_users_and_objects_wrap(
    api, backend, user, thing, access_methods
):
    seen: list[Any] = []
    access_methods(Thing, _user_can_use_thing=lambda self, user: bool(seen.append((self, user))))
    lazy_user = SimpleLazyObject(lambda: SimpleLazyObject(lambda: user))
    loading = SimpleLazyObject(lambda: Thing.objects.get(pk=thing.pk))  # makes a query
    assert backend.has_perm(lazy_user, PERM, SimpleLazyObject(lambda: loading)) is False
    assert api(lazy_user).has_perm(PERM, thing) is False
    # Once, because the lazy user and the user have one cache.
    [(found, asking)] = seen
    assert type(found) is Thing
    assert found == thing
    assert asking is user
    assert backend.get_all_permissions(lazy_user, loading) == set()


# Permission sets


ALL = {f"testapp.{action}_thing" for action in ("add", "change", "delete", "view", "use")}
OF_CHILD = {f"testapp.{action}_specialthing" for action in ("add", "change", "delete", "view")}
OF_PROXY = {f"testapp.{action}_thingproxy" for action in ("add", "change", "delete", "view")}


@pytest.mark.parametrize(
    ("model", "expected"),
    [
        (Thing, ALL),
        (ThingProxy, ALL | OF_PROXY),
        (SpecialThing, ALL | OF_CHILD),
        (Gate, {"testapp.open_gate"}),
    ],
)
@pytest.mark.parametrize("is_superuser", [False, True])
def test_sets_have_the_permissions_of_the_model_and_its_parents(
    api, backend, user, model, expected, is_superuser
):
    if is_superuser:
        user.is_superuser = True
    else:
        user = grant(user, *expected, "testapp.change_otherthing")
    obj = model.objects.create()
    for name in SETS:
        assert getattr(backend, name)(user, obj) == expected
    assert api(user).get_all_permissions(obj) == expected


@pytest.mark.django_db(databases=["default", "other"])
def test_sets_for_objects_of_another_database_and_for_unsaved_ones(backend, user):
    assert backend.get_all_permissions(user, Thing.objects.using("other").create()) == {PERM}
    assert backend.get_all_permissions(user, Thing()) == {PERM}


@pytest.mark.parametrize("name", ["has_perm", *SETS])
def test_an_unawaited_call_raises(user, thing, name):
    args = (user, PERM, thing) if name == "has_perm" else (user, thing)
    with pytest.raises(TypeError, match=rf"a{name}\(\) was not awaited"):
        bool(getattr(ObjectPermissionsBackend(), f"a{name}")(*args))
