"""`djem_async.auth.ModelBackend`: Django's backend and ours in one."""

from collections.abc import Callable
from typing import Any

import pytest
from django.contrib.auth import alogin, login
from django.contrib.auth.backends import ModelBackend as DjangoModelBackend
from django.contrib.auth.models import AnonymousUser
from django.http import HttpRequest, HttpResponse
from django.test import Client
from django.urls import path
from django.utils.functional import SimpleLazyObject

from benchmarks.counting import counting
from djem_async.auth import ModelBackend, ObjectPermissionsBackend
from djem_async.shortcuts import get_objects_for_user
from tests.conftest import MODEL_BACKEND, ONE_BACKEND, OUR_BACKEND, PERM, permission
from tests.testapp.models import PlainUser, SpecialThing, Thing, User

TWO, ONE = [MODEL_BACKEND, OUR_BACKEND], [ONE_BACKEND]
SETS = ("get_user_permissions", "get_group_permissions", "get_all_permissions")


@pytest.fixture
def one(settings: Any) -> None:
    settings.AUTHENTICATION_BACKENDS = ONE


@pytest.fixture
def users(db: None) -> dict[str, Callable[[], Any]]:
    """Functions that return users with nothing cached."""
    made: dict[str, Any] = {
        "holder": User.objects.create_user("holder"),
        "without": User.objects.create_user("without"),
        "inactive": User.objects.create_user("inactive", is_active=False),
        "super": User.objects.create_superuser("super"),
        "plain": PlainUser.objects.create(name="plain"),
    }
    for name in ("holder", "inactive", "plain"):
        made[name].user_permissions.add(permission(PERM))

    def fetching(user: Any) -> Callable[[], Any]:
        return lambda: type(user).objects.get(pk=user.pk)

    return {**{name: fetching(user) for name, user in made.items()}, "visitor": AnonymousUser}


METHODS = [
    {},
    {"_user_can_use_thing": lambda self, user: True},
    {"_user_can_use_thing": lambda self, user: False},
    {"_group_can_use_thing": lambda self, groups: not groups},
]


@pytest.mark.parametrize("methods", METHODS)
@pytest.mark.parametrize("is_universal", [False, True])
def test_answers_are_those_of_the_two_backends(
    api, users, thing, access_methods, settings, methods, is_universal
):
    settings.DJEM_UNIVERSAL_OLP = is_universal
    if is_universal:  # which is about superusers
        users = {name: users[name] for name in ("holder", "super")}
    access_methods(Thing, **methods)
    children = SpecialThing.objects.create()
    objects = [None, thing, Thing(), children, 0.5, SimpleLazyObject(lambda: None)]

    def answers(backends: list[str]) -> dict[Any, Any]:
        settings.AUTHENTICATION_BACKENDS = backends
        found: dict[Any, Any] = {}
        for name, fetch in users.items():
            found[name] = api(fetch()).has_module_perms("testapp")
            for number, obj in enumerate(objects):
                user = api(fetch())
                asked = [user.has_perm(PERM, obj) for _ in range(2)]
                found[name, number] = [*asked, user.get_all_permissions(obj)]
            for each in SETS:  # of users with nothing cached
                found[name, each] = [getattr(api(fetch()), each)(obj) for obj in (None, thing)]
            for each in ("no.such", "wrong"):
                found[name, each] = [api(fetch()).has_perm(each, obj) for obj in (None, thing)]
        return found

    assert answers(ONE) == answers(TWO)


@pytest.mark.parametrize("answer", [True, False])
def test_called_directly_it_answers_for_both_levels(api, users, thing, access_methods, answer):
    access_methods(Thing, _user_can_use_thing=lambda self, user: answer)
    for obj, half in ((None, DjangoModelBackend()), (thing, ObjectPermissionsBackend())):
        for fetch in users.values():
            one, other = api(ModelBackend()), api(half)
            assert one.has_perm(fetch(), PERM, obj) is other.has_perm(fetch(), PERM, obj)
            for name in SETS:
                assert getattr(one, name)(fetch(), obj) == getattr(other, name)(fetch(), obj)


def check(api: Any, user: Any) -> None:
    for obj in (None, *Thing.objects.all()):
        assert api(user).has_perm(PERM, obj)


ASKED = {
    "checks": check,
    "prefetch": lambda api, user: api(user).prefetch_perms([PERM], Thing.objects.all()),
    "list": lambda api, user: list(get_objects_for_user(user, PERM)),
    "set": lambda api, user: api(user).get_all_permissions(Thing.objects.get()),
    "model level": lambda api, user: api(user).get_all_permissions(),
    "module": lambda api, user: api(user).has_module_perms("testapp"),
}


@pytest.mark.parametrize(
    ("name", "asked"),
    [
        *(("holder", asked) for asked in ASKED),
        *(("plain", asked) for asked in ASKED if asked != "prefetch"),
    ],
)
def test_queries_and_hops_are_those_of_the_two_backends(
    api, users, thing, access_methods, settings, name, asked
):
    access_methods(
        Thing,
        _user_can_use_thing=lambda self, user: True,
        _quser_can_use_thing=classmethod(lambda cls, user: True),
    )

    def costs(backends: list[str]) -> list[tuple[int, int]]:
        settings.AUTHENTICATION_BACKENDS = backends
        user, found = users[name](), []
        for _ in range(2):  # cold, then warm
            with counting() as counts:
                ASKED[asked](api, user)
            found.append((counts.queries, counts.hops))
        return found

    costs(TWO)  # which form a method has may be found out once
    assert costs(TWO) == costs(ONE) == costs([f"{__name__}.SignsIn"])


class SignsIn(ModelBackend):
    def authenticate(self, *args: Any, **kwargs: Any) -> None:
        """Sign in nobody."""


# Signing in


def sign_in(request: HttpRequest) -> HttpResponse:
    login(request, User.objects.get())
    return HttpResponse(request.user.get_username())


async def asign_in(request: HttpRequest) -> HttpResponse:
    await alogin(request, await User.objects.aget())
    return HttpResponse((await request.auser()).get_username())


def who(request: HttpRequest) -> HttpResponse:
    return HttpResponse(f"{request.user.get_username()} {request.user.has_perm(PERM)}")


urlpatterns = [path("sign-in/", sign_in), path("asign-in/", asign_in), path("who/", who)]


@pytest.mark.parametrize("url", ["/sign-in/", "/asign-in/"])
@pytest.mark.urls(__name__)
@pytest.mark.usefixtures("one", "user")
def test_users_are_signed_in_without_naming_a_backend(url):
    client = Client()
    assert client.get(url).content == b"user.name"
    assert client.session["_auth_user_backend"] == ONE_BACKEND
    assert client.get("/who/").content == b"user.name True"


def test_class_is_named_as_in_the_settings():
    assert f"{ModelBackend.__module__}.{ModelBackend.__qualname__}" == ONE_BACKEND


# Users who have a permission


@pytest.mark.usefixtures("one")
def test_with_perm_needs_no_backend(users, thing, access_methods):
    def may(**given: Any) -> set[str]:
        return {user.username for user in User.objects.with_perm(PERM, **given)}

    access_methods(Thing, _user_can_use_thing=lambda self, user: user.username != "holder")
    assert may() == {"holder", "super"}
    assert may(is_active=None, include_superusers=False) == {"holder", "inactive"}
    assert may(obj=thing) == {"super"}
    assert may(obj=SimpleLazyObject(lambda: None)) == set()
