"""`djem_async._objects`: checks of one object, and what may change in the midst of one."""

from __future__ import annotations

import asyncio
import threading
from typing import TYPE_CHECKING, Any
from unittest import mock

import pytest
from asgiref.sync import async_to_sync, sync_to_async
from django.contrib.auth.backends import ModelBackend
from django.core.exceptions import PermissionDenied
from django.db import connection
from django.utils.functional import SimpleLazyObject

from djem_async import _backends, models
from djem_async.auth import ObjectPermissionsBackend
from djem_async.exceptions import PermissionRecursionError
from tests.conftest import as_djangos
from tests.testapp.models import Thing, User

if TYPE_CHECKING:
    from collections.abc import Callable

pytestmark = pytest.mark.usefixtures("learns")

PERM = "testapp.use_thing"
DJANGOS = "django.contrib.auth.backends.ModelBackend"


def saved(pk: int) -> Thing:
    thing = Thing(pk=pk)
    thing._state.adding, thing._state.db = False, "default"
    return thing


def allow(self: Thing, argument: Any) -> bool:
    return True


def deny(self: Thing, argument: Any) -> bool:
    return False


def only_even(self: Thing, argument: Any) -> bool:
    return self.pk % 2 == 0


@pytest.fixture
def asked_backends(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """The checks of an object for which all backends were asked."""
    made: list[Any] = []
    original = models.decide_for_user

    def counted(check: Any) -> Any:
        if check.is_object_level:
            made.append(check)
        return original(check)

    monkeypatch.setattr(models, "decide_for_user", counted)
    return made


@pytest.fixture
def when_fetched(monkeypatch: pytest.MonkeyPatch) -> Callable[[Callable[[], None]], None]:
    """Do something when the model-level permissions of a user have been fetched first."""

    def use(change: Callable[[], None]) -> None:
        original, changes = _backends._fetch, [change]

        def fetch(*args: Any) -> None:
            original(*args)
            if changes:
                changes.pop()()

        monkeypatch.setattr(_backends, "_fetch", fetch)

    return use


def test_only_our_backend_is_asked_of_an_object_if_no_other_has_a_say(
    api, user, access_methods, asked_backends
):
    access_methods(Thing, _user_can_use_thing=only_even)
    assert [api(user).has_perm(PERM, saved(pk)) for pk in (1, 2, 3, 4)] == [False, True] * 2
    assert api(user).has_perm("testapp.delete_thing", saved(1)) is False
    assert api(user).has_perm(PERM, Thing(pk=2)) is True
    assert asked_backends == []


@pytest.mark.parametrize("change", ["logged", "lazy", "inactive", "implicit", "other backend"])
def test_all_backends_are_asked_where_others_have_a_say(
    api, user, access_methods, asked_backends, settings, change
):
    access_methods(Thing, _user_can_use_thing=only_even)
    even, odd = saved(2), saved(3)
    settings.DJEM_UNIVERSAL_OLP = False
    if change == "logged":
        settings.DJEM_PERM_LOG_VERBOSITY = 1
    elif change == "lazy":
        even, odd = (SimpleLazyObject(lambda thing=thing: thing) for thing in (even, odd))
    elif change == "inactive":
        user.is_active = False
    elif change == "implicit":
        user.is_superuser = True
    else:
        backends = [*settings.AUTHENTICATION_BACKENDS, "tests.test_warm.Quiet"]
        settings.AUTHENTICATION_BACKENDS = backends
    granted = [api(user).has_perm(PERM, thing) for thing in (even, odd)]
    expected = {"inactive": [False, False], "implicit": [True, True]}
    assert granted == expected.get(change, [True, False])
    assert asked_backends


@pytest.mark.parametrize("verbosity", [0, 1])
def test_an_object_that_nothing_is_kept_of_is_asked_each_time(
    api, user, access_methods, settings, verbosity
):
    settings.DJEM_PERM_LOG_VERBOSITY = verbosity
    access_methods(Thing, _user_can_use_thing=lambda self, user: self.name == "open")
    assert api(user).has_perm(PERM, Thing(name="open")) is True
    assert api(user).has_perm(PERM, Thing(name="shut")) is False


def test_a_method_that_raises_permission_denied_denies(api, user, access_methods):
    def refuse(self: Thing, argument: Any) -> bool:
        raise PermissionDenied

    access_methods(Thing, _user_can_use_thing=refuse)
    assert api(user).has_perm(PERM, saved(1)) is False
    assert api(ObjectPermissionsBackend()).has_perm(user, PERM, saved(1)) is False


def test_a_primary_key_that_raises_permission_denied_denies(api, user, access_methods, monkeypatch):
    def refuse(self: Thing) -> Any:
        raise PermissionDenied

    access_methods(Thing, _user_can_use_thing=allow)
    monkeypatch.setattr(Thing, "pk", property(refuse))
    assert api(user).has_perm(PERM, Thing()) is False


@pytest.mark.parametrize("verbosity", [0, 1])
def test_the_model_level_is_asked_once(api, user, access_methods, settings, verbosity):
    settings.DJEM_PERM_LOG_VERBOSITY = verbosity
    access_methods(Thing, _user_can_use_thing=allow)
    calls: list[Any] = []

    def deny(*args: Any) -> bool:
        calls.append(args[2:])
        return False

    with mock.patch.object(ModelBackend, "has_perm", as_djangos(deny)):
        assert api(user).has_perm(PERM, saved(1)) is False
    assert calls == [(PERM, None)]


@pytest.mark.django_db
def test_a_fetch_that_asks_what_it_is_for_is_refused(api, user, access_methods):
    """A hook on queries, say, which would ask without an end."""
    access_methods(Thing, _user_can_use_thing=allow)
    asked: list[str] = []

    def ask(execute: Any, *args: Any) -> Any:
        if not asked:
            asked.append(PERM)
            user.has_perm(PERM)
        return execute(*args)

    with (
        connection.execute_wrapper(ask),
        pytest.raises(PermissionRecursionError, match="entered itself"),
    ):
        api(user).has_perm(PERM, saved(1))
    assert asked


# Changes in the midst of the first check


def test_a_backend_that_is_removed_meanwhile_grants_nothing_later(
    api, user, access_methods, settings, when_fetched
):
    access_methods(Thing, _user_can_use_thing=allow)

    def remove() -> None:
        settings.AUTHENTICATION_BACKENDS = [DJANGOS]
        # Another check of the model level, which has its answer kept.
        other = threading.Thread(target=user.has_perm, args=(PERM,))
        other.start()
        other.join()

    when_fetched(remove)
    api(user).has_perm(PERM, saved(1))  # in the midst of the change
    assert [api(user).has_perm(PERM, saved(pk)) for pk in (1, 2, 3)] == [False] * 3


def test_a_backend_that_is_patched_meanwhile_is_heard_later(
    api, user, access_methods, monkeypatch, when_fetched
):
    access_methods(Thing, _user_can_use_thing=allow)

    async def adeny(*_args: Any) -> bool:
        return False

    def patch() -> None:
        monkeypatch.setattr(ObjectPermissionsBackend, "has_perm", lambda *_args: False)
        monkeypatch.setattr(ObjectPermissionsBackend, "ahas_perm", adeny)

    when_fetched(patch)
    api(user).has_perm(PERM, saved(1))  # in the midst of the change
    assert [api(user).has_perm(PERM, saved(pk)) for pk in (2, 3)] == [False] * 2


def test_a_user_who_becomes_a_superuser_meanwhile_is_granted_everything_later(user, access_methods):
    access_methods(Thing, _user_can_use_thing=deny)

    async def check() -> list[bool]:
        first = asyncio.ensure_future(user.ahas_perm(PERM, saved(1)))
        await asyncio.sleep(0)
        user.is_superuser = True
        assert user.has_perm(PERM)
        await first  # in the midst of the change
        return [await user.ahas_perm(PERM, saved(pk)) for pk in (2, 3)]

    assert async_to_sync(check)() == [True] * 2


def test_what_somebody_holds_by_hand_counts_for_a_check_that_is_waiting(user):
    release = threading.Event()

    async def check() -> tuple[bool, set[str]]:
        busy = asyncio.ensure_future(sync_to_async(release.wait)())
        await asyncio.sleep(0.01)
        waiting = asyncio.ensure_future(user.ahas_perm(PERM))
        await asyncio.sleep(0.01)
        user._perm_cache = set()
        release.set()
        await busy
        return await waiting, user._perm_cache

    assert async_to_sync(check)() == (False, set())


# A check that enters itself


def test_a_check_by_another_instance_of_the_user_is_the_same_check(api, user, access_methods):
    def ask_again(self: Thing, asking: User) -> bool:
        other = User.objects.get(pk=asking.pk)
        other.user_permissions.clear()
        return not other.has_perm(PERM, self)

    access_methods(Thing, _user_can_use_thing=ask_again)
    with pytest.raises(PermissionRecursionError):
        api(user).has_perm(PERM, saved(1))


def test_a_property_that_asks_what_it_decides_is_asked_no_further(api, user, monkeypatch):
    asked: list[Thing] = []

    def ask_again(self: Thing) -> Any:
        asked.append(self)
        user.has_perm(PERM, self)

    monkeypatch.setattr(Thing, "_user_can_use_thing", property(ask_again), raising=False)
    with pytest.raises(PermissionRecursionError):
        api(user).has_perm(PERM, saved(1))
    assert len(asked) <= 3
