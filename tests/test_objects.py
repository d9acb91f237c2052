"""`djem_async._objects`: what the first check of an object leaves for the others."""

from __future__ import annotations

from typing import Any

import pytest
from django.core.exceptions import PermissionDenied
from django.utils.functional import SimpleLazyObject

from djem_async import _objects
from djem_async._cache import permission_cache
from djem_async.auth import ObjectPermissionsBackend
from tests.testapp.models import Thing, User

PERM = "testapp.use_thing"


def saved(pk: int) -> Thing:
    thing = Thing(pk=pk)
    thing._state.adding, thing._state.db = False, "default"
    return thing


@pytest.fixture
def whole_checks(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """Checks of an object that have asked the backends."""
    made: list[Any] = []
    original = _objects._ObjectCheck

    def counted(user: User, perm: str, obj: Thing, generation: Any) -> Any:
        made.append(obj)
        return original(user, perm, obj, generation)

    monkeypatch.setattr(_objects, "_ObjectCheck", counted)
    return made


def only_even(self: Thing, argument: Any) -> bool:
    return self.pk % 2 == 0


def test_the_first_object_of_a_user_is_asked_like_the_next_one(
    api, user, access_methods, whole_checks
):
    access_methods(Thing, _user_can_use_thing=only_even)
    assert [api(user).has_perm(PERM, saved(pk)) for pk in (1, 2, 3, 4)] == [False, True] * 2
    assert whole_checks == []
    assert permission_cache(user).generation.trust.model_level == {PERM: True}


@pytest.mark.parametrize("is_held", [True, False])
def test_with_nobody_to_ask_the_model_level_is_the_answer(api, user, whole_checks, is_held):
    perm = PERM if is_held else "testapp.delete_thing"
    assert api(user).has_perm(perm, saved(1)) is is_held
    assert whole_checks == []


@pytest.mark.parametrize("change", ["logged", "lazy", "inactive", "implicit", "other backend"])
def test_whatever_is_unusual_is_left_to_the_backends(
    api, user, access_methods, whole_checks, settings, change
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
        settings.AUTHENTICATION_BACKENDS = [
            *settings.AUTHENTICATION_BACKENDS,
            "tests.test_warm.Quiet",
        ]
    granted = [api(user).has_perm(PERM, thing) for thing in (even, odd)]
    expected = {"inactive": [False, False], "implicit": [True, True]}
    assert granted == expected.get(change, [True, False])
    assert bool(whole_checks) is (change != "implicit")


@pytest.mark.parametrize("verbosity", [0, 1])
def test_an_object_that_nothing_is_kept_of_is_asked_all_the_same(
    api, user, access_methods, settings, verbosity
):
    settings.DJEM_PERM_LOG_VERBOSITY = verbosity
    access_methods(Thing, _user_can_use_thing=lambda self, user: self.name == "open")
    assert api(user).has_perm(PERM, Thing(name="open")) is True
    assert api(user).has_perm(PERM, Thing(name="shut")) is False


def test_a_user_who_becomes_inactive_while_the_model_level_is_checked_is_denied(
    api, user, access_methods, monkeypatch
):
    access_methods(Thing, _user_can_use_thing=lambda self, user: True)
    learn = _objects.learn_shortcut
    monkeypatch.setattr("djem_async.models.learn_shortcut", deactivated(learn))
    assert api(user).has_perm(PERM, saved(1)) is False


def deactivated(learn: Any) -> Any:
    def learn_and_deactivate(user: User, *args: Any) -> None:
        learn(user, *args)
        user.is_active = False

    return learn_and_deactivate


def test_a_method_that_raises_permission_denied_denies(api, user, access_methods):
    def deny(self: Thing, argument: Any) -> bool:
        raise PermissionDenied

    access_methods(Thing, _user_can_use_thing=deny)
    assert api(user).has_perm(PERM, saved(1)) is False
    assert api(ObjectPermissionsBackend()).has_perm(user, PERM, saved(1)) is False
