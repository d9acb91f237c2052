"""What goes wrong in libraries for object-level permissions: a test for each trap.

Some are in other files: superusers under universal OLP (`tests.test_decision_matrix`), an async
method under a sync check on an event loop (`tests.test_access`), answers such as a `Q`
(`tests.test_answers`), two users in an async view (`tests.test_middleware`) and signing in by a
backend without `get_user` (`tests.test_apps`).
"""

from __future__ import annotations

import asyncio
import contextvars
import copy
import gc
import pickle
import threading
import weakref
from typing import Any
from unittest.mock import AsyncMock

import pytest
from asgiref.sync import async_to_sync
from django.contrib.auth.backends import ModelBackend
from django.contrib.auth.models import AnonymousUser
from django.core.exceptions import PermissionDenied
from django.http import HttpResponse
from django.views import View

from djem_async.auth import ObjectPermissionsBackend, PermissionRequiredMixin
from tests.conftest import permission
from tests.testapp.models import OtherThing, PlainUser, Thing, ThingProxy, User

PERM = "testapp.use_thing"
DJANGOS = ("_perm_cache", "_user_perm_cache", "_group_perm_cache")
OURS = "djem_async.auth.ObjectPermissionsBackend"


def deny(self: Any, argument: Any) -> bool:
    return False


async def agrant(self: Any, argument: Any) -> bool:
    return True


async def adeny(self: Any, argument: Any) -> bool:
    return False


@pytest.fixture
def superuser(settings) -> User:
    """Holds every model-level permission, without the database."""
    settings.DJEM_UNIVERSAL_OLP = True
    return User(pk=1, username="user.name", is_active=True, is_superuser=True)


@pytest.fixture
def plain_user(db) -> PlainUser:
    user = PlainUser.objects.create(name="plain")
    user.user_permissions.add(permission(PERM))
    return user


@pytest.fixture(params=["user", "plain_user"])
def anyone(request) -> Any:
    return request.getfixturevalue(request.param)


@pytest.mark.parametrize("source", ["user", "group"])
@pytest.mark.parametrize("method", [deny, adeny])
def test_ahas_perm_is_not_a_union_of_permission_sets(
    api, anyone, thing, access_methods, source, method
):
    """The other source has no method, which would leave the permission open."""
    access_methods(Thing, **{f"_{source}_can_use_thing": method})
    assert api(anyone).has_perm(PERM) is True
    assert api(anyone).has_perm(PERM, thing) is False
    assert api(ObjectPermissionsBackend()).has_perm(anyone, PERM, thing) is False


class DeniesInSync(ModelBackend):
    """Has no async form, as in django-guardian and rules: Django's `ahas_perm` skips its rules."""

    def has_perm(self, user_obj: Any, perm: str, obj: Any = None) -> bool:
        if obj is not None:
            raise PermissionDenied
        return super().has_perm(user_obj, perm)


def test_ahas_perm_asks_the_sync_rules_of_another_backend(api, user, thing, settings):
    settings.AUTHENTICATION_BACKENDS = [f"{__name__}.DeniesInSync", OURS]
    assert api(user).has_perm(PERM) is True
    assert api(user).has_perm(PERM, thing) is False


def test_an_unawaited_check_raises(anyone, user, thing):
    backend = ObjectPermissionsBackend()
    checks = [user.ahas_perm(PERM, thing), user.ahas_perms([PERM], thing)]
    checks += [backend.ahas_perm(each, PERM, thing) for each in (anyone, AnonymousUser())]
    for check in checks:
        with pytest.raises(TypeError, match="was not awaited"):
            bool(check)


@pytest.mark.django_db(databases=["default", "other"])
@pytest.mark.parametrize(
    "twin",
    [
        lambda thing: ThingProxy.objects.get(pk=thing.pk),
        lambda thing: OtherThing.objects.create(pk=thing.pk),
        lambda thing: Thing.objects.using("other").create(pk=thing.pk),
        lambda thing: Thing.objects.create(),
    ],
    ids=["proxy", "other model", "other database", "other row"],
)
def test_an_object_does_not_share_the_decision_of_another(api, user, thing, access_methods, twin):
    for model in (Thing, OtherThing):
        access_methods(model, _user_can_use_thing=lambda self, user: self is thing)
    assert api(user).has_perm(PERM, thing) is True
    assert api(user).has_perm(PERM, twin(thing)) is False
    assert api(user).has_perm(PERM, thing) is True


@pytest.mark.parametrize("pk", [None, 1])
def test_two_unsaved_objects_do_not_share_a_decision(api, user, access_methods, pk):
    access_methods(Thing, _user_can_use_thing=lambda self, user: self.name == "good")
    assert api(user).has_perm(PERM, Thing(pk=pk, name="good")) is True
    assert api(user).has_perm(PERM, Thing(pk=pk, name="bad")) is False


@pytest.mark.parametrize("falsy", [{"__len__": lambda self: 0}, {"__bool__": lambda self: False}])
@pytest.mark.parametrize("answer", [True, False])
def test_a_falsy_object_is_still_an_object(api, anyone, thing, access_methods, falsy, answer):
    access_methods(Thing, _user_can_use_thing=lambda self, user: answer, **falsy)
    assert not thing
    assert api(anyone).has_perm(PERM, thing) is answer
    assert api(anyone).has_perms([PERM], thing) is answer
    assert (PERM in api(anyone).get_user_permissions(thing)) is answer


@pytest.mark.parametrize(
    "copied", [copy.copy, copy.deepcopy, lambda user: pickle.loads(pickle.dumps(user))]
)
def test_the_cache_does_not_travel_with_a_copy(api, anyone, thing, access_methods, copied):
    answers = [True, False]
    access_methods(Thing, _user_can_use_thing=lambda self, user: answers.pop(0))
    assert api(anyone).has_perm(PERM, thing) is True
    assert api(copied(anyone)).has_perm(PERM, thing) is False
    assert api(anyone).has_perm(PERM, thing) is True


@pytest.mark.parametrize("missing", DJANGOS)
def test_clearing_goes_on_where_a_cache_is_missing(api, user, missing):
    user.get_all_permissions()
    assert all(hasattr(user, name) for name in DJANGOS)
    delattr(user, missing)
    api(user).clear_perm_cache()
    assert not any(hasattr(user, name) for name in DJANGOS)


@pytest.mark.parametrize(("is_cleared", "is_nested"), [(False, False), (True, False), (True, True)])
async def test_a_cancelled_check_whose_thread_finishes_later_stores_nothing(
    superuser, access_methods, is_cleared, is_nested
):
    """A check that the access method makes goes on, and stores nothing after a clear."""
    entered, opened, left = (threading.Event() for _ in range(3))
    answers = [True, False]

    def slow(self: Any, user: Any) -> bool:
        entered.set()
        assert opened.wait(10)
        return answers.pop(0)

    def outer(self: Any, user: Any) -> bool:
        granted = user.has_perm(PERM, proxy) if is_nested else slow(self, user)
        left.set()
        return granted

    access_methods(Thing, _user_can_use_thing=outer)
    access_methods(ThingProxy, _user_can_use_thing=slow)
    thing, proxy = (kind.from_db("default", ["id"], [1]) for kind in (Thing, ThingProxy))
    task = asyncio.create_task(superuser.ahas_perm(PERM, thing))
    assert await asyncio.to_thread(entered.wait, 10)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    if is_cleared:
        await superuser.aclear_perm_cache()
    opened.set()
    assert await asyncio.to_thread(left.wait, 10)
    assert await superuser.ahas_perm(PERM, thing) is False
    assert answers == []


@pytest.mark.parametrize("verbosity", [1, 2])
def test_logging_does_not_fail_for_users_without_logs(
    api, plain_user, thing, access_methods, settings, verbosity
):
    settings.DJEM_PERM_LOG_VERBOSITY = verbosity
    access_methods(Thing, _user_can_use_thing=deny)
    for user in (plain_user, AnonymousUser()):
        assert api(user).has_perm(PERM, thing) is False
        assert api(user).has_perm(PERM) is (user is plain_user)
        assert api(user).get_all_permissions(thing) == set()


@pytest.mark.parametrize("verbosity", [0, 1, 2])
def test_an_exception_in_an_access_method_leaves_no_log_active(
    api, user, thing, access_methods, settings, verbosity
):
    settings.DJEM_PERM_LOG_VERBOSITY = verbosity

    def fail(self: Any, user: Any) -> bool:
        user.start_log("left active")
        raise ValueError("x")

    access_methods(Thing, _user_can_use_thing=fail)
    for _ in range(2):
        with pytest.raises(ValueError, match="x"):
            api(user).has_perm(PERM, thing)
        with pytest.raises(KeyError, match="No active log"):
            user.end_log()


async def test_logs_of_gathered_tasks_do_not_mix(superuser, access_methods, settings):
    settings.DJEM_PERM_LOG_VERBOSITY = 1

    async def slow(self: Any, user: Any) -> bool:
        for _ in range(3):
            user.log(self.name)
            await asyncio.sleep(0)
        return True

    access_methods(Thing, _user_can_use_thing=slow)

    async def check(thing: Thing) -> list[str]:
        await superuser.ahas_perm(PERM, thing)
        return [entry for entry in superuser.get_last_log(raw=True) if not entry.tags]

    # Unsaved objects: their logs have one name.
    logs = await asyncio.gather(*(check(Thing(name=name)) for name in "aba"))
    assert logs == [[name] * 3 for name in "aba"]


async def test_a_context_keeps_no_user_alive_and_does_not_grow(access_methods, settings):
    settings.DJEM_UNIVERSAL_OLP, settings.DJEM_PERM_LOG_VERBOSITY = True, 2
    access_methods(Thing, _user_can_use_thing=agrant)
    users: list[Any] = []

    async def serve(requests: int) -> int:
        for _ in range(requests):
            user = User(pk=1, is_active=True, is_superuser=True)
            assert await user.ahas_perm(PERM, Thing())
            users.append(weakref.ref(user))
        del user
        gc.collect()
        assert not any(user() for user in users)
        users.clear()
        return len(gc.get_objects())

    await serve(200)
    variables = len(contextvars.copy_context())
    size = await serve(200)
    assert await serve(400) < size + 200
    assert len(contextvars.copy_context()) == variables


async def test_a_sync_check_of_a_method_in_both_forms_needs_no_event_loop(
    superuser, access_methods
):
    """On a disconnect under ASGI, `async_to_sync` fails in a sync view, as it does here."""
    for source in ("user", "group"):
        forms = {f"_{source}_can_use_thing": deny, f"_a{source}_can_use_thing": agrant}
        access_methods(Thing, **forms)
    assert superuser.has_perm(PERM, Thing()) is False


class AsyncView(PermissionRequiredMixin, View):
    permission_required = PERM

    async def get(self, request: Any) -> HttpResponse:
        return HttpResponse("granted")


def test_the_permission_mixin_works_on_async_views(user, async_rf):
    request, view = async_rf.get("/"), async_to_sync(AsyncView.as_view())
    request.user, request.auser = user, AsyncMock(return_value=user)
    assert view(request).content == b"granted"
    user.is_active = False
    with pytest.raises(PermissionDenied):
        view(request)
