"""What goes wrong in libraries like this one: a test for each trap."""

import asyncio
import copy
import functools
import gc
import pickle
import threading
import weakref
from typing import Any

import pytest
from asgiref.sync import SyncToAsync, async_to_sync, sync_to_async
from django.contrib.auth import get_user
from django.contrib.auth.backends import ModelBackend
from django.contrib.auth.middleware import AuthenticationMiddleware
from django.contrib.auth.models import AnonymousUser
from django.core.exceptions import PermissionDenied
from django.db import connections
from django.http import HttpResponse
from django.views import View

from djem_async import _driving
from djem_async._lazy import unwrapped
from djem_async.access import nonblocking
from djem_async.auth import ObjectPermissionsBackend, PermissionRequiredMixin
from djem_async.exceptions import AsyncMethodError, NotADecisionError
from djem_async.logs import _active, _history
from djem_async.middleware import SharedUserMiddleware
from tests.conftest import grant
from tests.testapp.models import OtherThing, PlainUser, Thing, ThingProxy, User

PERM = "testapp.use_thing"
DJANGOS = ("_perm_cache", "_user_perm_cache", "_group_perm_cache")


def deny(self: Any, argument: Any) -> bool:
    return False


async def agrant(self: Any, argument: Any) -> bool:
    return True


async def adeny(self: Any, argument: Any) -> bool:
    return False


def signed_in(kind: Any = User) -> Any:
    """An active user who may use things, made without the database."""
    user = kind(pk=1, is_active=True)
    user._perm_cache = user._user_perm_cache = {PERM}
    user._group_perm_cache = set()
    return user


# The async form of a check decides otherwise than the sync one


@pytest.mark.parametrize("source", ["user", "group"])
@pytest.mark.parametrize("kind", [User, PlainUser])
def test_ahas_perm_is_no_union_of_permission_sets(api, thing, access_methods, kind, source):
    """The other source, which has no method, would leave the permission open, and grant."""
    access_methods(Thing, **{f"_{source}_can_use_thing": deny})
    user = signed_in(kind)
    assert api(user).has_perm(PERM, thing) is False
    assert api(ObjectPermissionsBackend()).has_perm(user, PERM, thing) is False


@pytest.mark.parametrize("method", [deny, adeny])
@pytest.mark.parametrize("kind", [User, PlainUser])
def test_ahas_perm_does_not_skip_access_methods(api, thing, access_methods, kind, method):
    access_methods(Thing, _user_can_use_thing=method)
    assert api(signed_in(kind)).has_perm(PERM, thing) is False
    assert api(signed_in(kind)).has_perm(PERM) is True


class DeniesInSync(ModelBackend):
    """As django-guardian, rules and djem have it: Django's ``ahas_perm`` knows nothing of it."""

    def has_perm(self, user_obj: Any, perm: str, obj: Any = None) -> bool:
        if obj is not None:
            raise PermissionDenied
        return super().has_perm(user_obj, perm)


def test_ahas_perm_does_not_skip_the_sync_rules_of_another_backend(api, user, thing, settings):
    settings.AUTHENTICATION_BACKENDS = [
        f"{__name__}.DeniesInSync",
        "djem_async.auth.ObjectPermissionsBackend",
    ]
    assert api(user).has_perm(PERM) is True
    assert api(user).has_perm(PERM, thing) is False


@pytest.mark.parametrize("verbosity", [0, 1])
def test_a_superuser_under_universal_olp_gets_one_answer(
    api, user, thing, access_methods, settings, verbosity
):
    settings.DJEM_UNIVERSAL_OLP, settings.DJEM_PERM_LOG_VERBOSITY = True, verbosity
    access_methods(Thing, _user_can_use_thing=deny)
    user.is_superuser = True
    assert api(user).has_perm(PERM, thing) is False


# A coroutine is taken for an answer


@pytest.mark.parametrize("name", ["_user_can_use_thing", "_group_can_use_thing"])
@pytest.mark.parametrize("method", [adeny, lambda self, argument: adeny(self, argument)])
@pytest.mark.parametrize("kind", [User, PlainUser])
def test_an_async_method_under_a_sync_check_does_not_grant(
    thing, access_methods, kind, method, name
):
    access_methods(Thing, **{name: method})
    try:
        assert signed_in(kind).has_perm(PERM, thing) is False
    except NotADecisionError:
        assert method is not adeny


async def test_an_async_method_under_a_sync_check_does_not_grant_on_an_event_loop(access_methods):
    access_methods(Thing, _user_can_use_thing=adeny)
    with pytest.raises(AsyncMethodError, match=r"await user\.ahas_perm"):
        signed_in().has_perm(PERM, Thing())


def test_a_check_that_nobody_awaited_does_not_grant(thing):
    for user in (signed_in(), AnonymousUser()):
        backend = ObjectPermissionsBackend()
        with pytest.raises(TypeError, match="was not awaited"):
            bool(backend.ahas_perm(user, PERM, thing))
    with pytest.raises(TypeError, match="was not awaited"):
        bool(signed_in().ahas_perm(PERM, thing))


@pytest.mark.parametrize("is_async", [False, True])
def test_stop_iteration_of_an_access_method_neither_hangs_nor_grants(
    thing, access_methods, is_async
):
    """On Python 3.11 and 3.12 it would hang the thread's future."""
    access_methods(Thing, _user_can_use_thing=lambda self, user: next(iter(())))

    async def acheck() -> Any:
        async with asyncio.timeout(10):
            return await signed_in().ahas_perm(PERM, thing)

    check = asyncio.run if is_async else signed_in().has_perm
    args = (acheck(),) if is_async else (PERM, thing)
    with pytest.raises(RuntimeError, match="raised StopIteration"):
        check(*args)


# Two objects share a decision


@pytest.mark.django_db(databases=["default", "other"])
@pytest.mark.parametrize(
    "twin",
    [
        lambda thing: Thing(),
        lambda thing: Thing(pk=thing.pk),
        lambda thing: ThingProxy.objects.get(pk=thing.pk),
        lambda thing: OtherThing.objects.create(pk=thing.pk),
        lambda thing: Thing.objects.using("other").create(pk=thing.pk),
        lambda thing: Thing.objects.create(),
    ],
    ids=["unsaved", "unsaved with its key", "proxy", "other model", "other database", "other row"],
)
def test_an_object_does_not_share_the_decision_of_another(api, user, thing, access_methods, twin):
    def method(self: Any, user: Any) -> bool:
        return self is thing

    access_methods(Thing, _user_can_use_thing=method)
    access_methods(OtherThing, _user_can_use_thing=method)
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
@pytest.mark.parametrize("is_superuser", [True, False])
def test_an_object_that_is_false_is_still_an_object(
    api, user, thing, access_methods, settings, falsy, answer, is_superuser
):
    settings.DJEM_UNIVERSAL_OLP = True
    user.is_superuser = is_superuser
    access_methods(Thing, _user_can_use_thing=lambda self, user: answer, **falsy)
    assert not thing
    assert api(user).has_perm(PERM, thing) is answer
    assert api(user).has_perms([PERM], thing) is answer
    assert (PERM in api(user).get_user_permissions(thing)) is answer


# The cache


@pytest.mark.parametrize(
    "copied", [copy.copy, copy.deepcopy, lambda user: pickle.loads(pickle.dumps(user))]
)
@pytest.mark.parametrize("kind", [User, PlainUser])
def test_the_cache_does_not_travel_with_a_copy(api, thing, access_methods, kind, copied):
    answers = [True, False]
    access_methods(Thing, _user_can_use_thing=lambda self, user: answers.pop(0))
    user, backend = signed_in(kind), api(ObjectPermissionsBackend())
    assert backend.has_perm(user, PERM, thing) is True
    twin = copied(user)
    twin._perm_cache = twin._user_perm_cache = {PERM}
    twin._group_perm_cache = set()
    assert backend.has_perm(twin, PERM, thing) is False
    assert backend.has_perm(user, PERM, thing) is True


@pytest.mark.parametrize("missing", DJANGOS)
def test_clearing_goes_on_where_a_cache_is_missing(api, missing):
    user = signed_in()
    delattr(user, missing)
    api(user).clear_perm_cache()
    assert not any(hasattr(user, name) for name in DJANGOS)


class Gate:
    """Holds a method up in its thread until it is opened."""

    def __init__(self) -> None:
        self.entered, self.opened, self.left = (threading.Event() for _ in range(3))

    def pass_through(self) -> None:
        self.entered.set()
        assert self.opened.wait(10)

    async def cancelled_inside(self, check: Any) -> None:
        """Begin a check, cancel it while it is held up, and let its thread go on."""
        task = asyncio.create_task(check)
        assert await asyncio.to_thread(self.entered.wait, 10)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    async def open(self) -> None:
        self.opened.set()
        assert await asyncio.to_thread(self.left.wait, 10)


@pytest.fixture
def gate():
    gate = Gate()
    yield gate
    gate.opened.set()
    # A server does not drop a database that the thread is still connected to.
    SyncToAsync.single_thread_executor.submit(connections.close_all).result()


@pytest.mark.parametrize("cleared", [False, True])
@pytest.mark.django_db(transaction=True)
async def test_a_cancelled_check_whose_thread_finishes_later_stores_nothing(
    access_methods, gate, cleared
):
    calls: list[Any] = []

    def slow(self: Any, user: Any) -> bool:
        calls.append(user)
        if len(calls) == 1:
            gate.pass_through()
            gate.left.set()
        return len(calls) == 1

    access_methods(Thing, _user_can_use_thing=slow)
    user, thing = signed_in(), await Thing.objects.acreate()
    await gate.cancelled_inside(user.ahas_perm(PERM, thing))
    if cleared:
        await user.aclear_perm_cache()
        user._user_perm_cache, user._group_perm_cache = {PERM}, set()
    await gate.open()
    assert await user.ahas_perm(PERM, thing) is False
    assert len(calls) == 2


@pytest.mark.django_db(transaction=True)
async def test_a_check_in_the_thread_of_a_cancelled_one_stores_nothing_after_a_clear(
    access_methods, gate
):
    """The access method goes on in its thread, with a check that it began before the clear."""
    answers = [True, False]

    def inner(self: Any, user: Any) -> bool:
        if len(answers) == 2:
            gate.pass_through()
        return answers.pop(0)

    def outer(self: Any, user: Any) -> bool:
        granted = user.has_perm(PERM, proxy)
        gate.left.set()
        return granted

    access_methods(Thing, _user_can_use_thing=outer)
    access_methods(ThingProxy, _user_can_use_thing=inner)
    thing, proxy = await Thing.objects.acreate(), await ThingProxy.objects.acreate()
    user = signed_in()
    await gate.cancelled_inside(user.ahas_perm(PERM, thing))
    await user.aclear_perm_cache()
    user._user_perm_cache, user._group_perm_cache = {PERM}, set()
    await gate.open()
    assert await user.ahas_perm(PERM, proxy) is False


class Fetching(ModelBackend):
    """Has no async form of its own, so it fetches permissions in a thread."""

    gate: Gate

    def get_all_permissions(self, user_obj: Any, obj: Any = None) -> set[str]:
        return super().get_all_permissions(user_obj, obj)

    def _get_user_permissions(self, user_obj: Any) -> Any:
        fetched = super()._get_user_permissions(user_obj)
        list(fetched)
        self.gate.pass_through()
        return fetched

    def _get_group_permissions(self, user_obj: Any) -> Any:
        self.gate.left.set()
        return super()._get_group_permissions(user_obj)


def revoke_all(user: Any) -> None:
    """Run in a thread of its own: asgiref's is held up."""
    user.user_permissions.clear()
    connections.close_all()


@pytest.mark.django_db(transaction=True)
async def test_permissions_fetched_by_a_cancelled_check_are_not_stored_after_a_clear(
    gate, settings, monkeypatch
):
    settings.AUTHENTICATION_BACKENDS = [f"{__name__}.Fetching"]
    monkeypatch.setattr(Fetching, "gate", gate, raising=False)
    user = await User.objects.acreate_user("user.name")
    await sync_to_async(grant)(user, PERM)
    user = await User.objects.aget(pk=user.pk)
    await gate.cancelled_inside(user.ahas_perm(PERM))
    await asyncio.to_thread(revoke_all, user)
    await user.aclear_perm_cache()
    await gate.open()
    await sync_to_async(int)()  # by now the thread is done with the rest of it
    assert [name for name in DJANGOS if hasattr(user, name)] == []
    assert await user.ahas_perm(PERM) is False


@pytest.mark.parametrize("is_over", [False, True])
async def test_a_check_that_timed_out_can_be_tried_again(gate, access_methods, is_over):
    """Its thread may still be at it: that is no recursion."""

    def slow(self: Any, user: Any) -> bool:
        gate.pass_through()
        gate.left.set()
        return False

    user, thing = signed_in(), Thing()
    user.has_perm = functools.partial(User.has_perm, user)  # so that it runs in a thread
    access_methods(Thing, _user_can_use_thing=slow)
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.2):
            await user.ahas_perm(PERM, thing)
    if is_over:
        await gate.open()
    else:
        del user.has_perm
    access_methods(Thing, _user_can_use_thing=nonblocking(lambda self, user: True))
    assert await user.ahas_perm(PERM, thing) is True
    await gate.open()


# Logs


@pytest.mark.parametrize("verbosity", [1, 2])
@pytest.mark.parametrize("kind", [PlainUser, AnonymousUser])
def test_logging_does_not_fail_for_users_without_logs(
    api, thing, access_methods, settings, kind, verbosity
):
    settings.DJEM_PERM_LOG_VERBOSITY = verbosity
    access_methods(Thing, _user_can_use_thing=deny)
    user = AnonymousUser() if kind is AnonymousUser else signed_in(kind)
    assert api(user).has_perm(PERM, thing) is False
    assert api(user).has_perm(PERM) is (kind is PlainUser)
    assert api(user).get_all_permissions(thing) == set()
    assert not hasattr(user, "get_log")


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
    if verbosity:
        assert user.get_last_log(raw=True)[-1] == "\nRESULT: Error (ValueError)"


@pytest.mark.parametrize("verbosity", [0, 1])
def test_a_method_that_logs_works_with_logging_off(
    api, user, thing, access_methods, settings, verbosity
):
    settings.DJEM_PERM_LOG_VERBOSITY = verbosity
    access_methods(Thing, _user_can_use_thing=lambda self, user: not user.log("asked"))
    assert api(user).has_perm(PERM, thing) is True


async def test_logs_of_gathered_tasks_do_not_mix(access_methods, settings):
    settings.DJEM_PERM_LOG_VERBOSITY = 1

    async def slow(self: Any, user: Any) -> bool:
        for _ in range(3):
            user.log(self.name)
            await asyncio.sleep(0)
        return self.name == "good"

    access_methods(Thing, _user_can_use_thing=slow)
    user = signed_in()

    async def check(thing: Thing) -> list[str]:
        await user.ahas_perm(PERM, thing)
        return [entry for entry in user.get_last_log(raw=True) if not entry.tags]

    # Unsaved objects: their logs have one name.
    logs = await asyncio.gather(*(check(Thing(name=name)) for name in ("good", "bad", "good")))
    assert logs == [[name] * 3 for name in ("good", "bad", "good")]


async def test_a_context_that_outlives_users_keeps_none_of_them_and_does_not_grow(
    access_methods, settings
):
    settings.DJEM_PERM_LOG_VERBOSITY = 2
    access_methods(Thing, _user_can_use_thing=agrant)
    users: list[Any] = []

    async def request() -> None:
        user = signed_in()
        assert await user.ahas_perm(PERM, Thing())
        users.append(weakref.ref(user))

    def kept() -> int:
        layers, _, count = _history.get()
        return count + sum(size for _, size in layers)

    before = kept()  # of earlier tests
    for _ in range(200):
        await request()
    gc.collect()
    assert not any(user() for user in users)
    assert _active.get() == ()
    assert kept() < before + 20


# Django


def test_the_backend_may_stand_first_when_signing_in_by_force(client, user, settings):
    settings.AUTHENTICATION_BACKENDS = settings.AUTHENTICATION_BACKENDS[::-1]
    client.force_login(user)
    assert get_user(client) == user


async def respond(request: Any) -> HttpResponse:
    user = await request.auser()
    granted = await request.user.ahas_perm(PERM)
    return HttpResponse(f"{granted} {unwrapped(request.user) is user}")


def test_an_async_view_has_one_user(client, user, async_rf):
    """Django has two, and `SynchronousOnlyOperation` for ``request.user``."""
    client.force_login(user)
    request = async_rf.get("/")
    request.session = client.session

    async def handle() -> HttpResponse:
        AuthenticationMiddleware(respond).process_request(request)
        return await SharedUserMiddleware(respond)(request)

    assert async_to_sync(handle)().content == b"True True"


def test_a_method_in_both_forms_needs_no_event_loop_in_a_sync_view(
    user, thing, access_methods, monkeypatch
):
    """On a disconnect under ASGI, `async_to_sync` fails in a sync view."""

    def forbidden(*args: Any) -> Any:
        raise AssertionError("async_to_sync was used.")

    monkeypatch.setattr(_driving, "async_to_sync", forbidden)
    access_methods(
        Thing,
        _user_can_use_thing=deny,
        _auser_can_use_thing=adeny,
        _group_can_use_thing=lambda self, groups: True,
        _agroup_can_use_thing=agrant,
    )
    assert user.has_perm(PERM, thing) is True
    assert PERM in user.get_all_permissions(thing)


class AsyncView(PermissionRequiredMixin, View):
    permission_required = PERM

    async def get(self, request: Any) -> HttpResponse:
        return HttpResponse("granted")


@pytest.mark.parametrize("is_allowed", [True, False])
def test_the_permission_mixin_works_on_async_views(user, async_rf, is_allowed):
    if not is_allowed:
        user.user_permissions.clear()
    request = async_rf.get("/")
    request.user = user

    async def auser() -> Any:
        return user

    request.auser = auser
    view = async_to_sync(AsyncView.as_view())
    if is_allowed:
        assert view(request).content == b"granted"
    else:
        with pytest.raises(PermissionDenied):
            view(request)
