"""The system checks of `AUTHENTICATION_BACKENDS`."""

from typing import Any

import pytest
from django.contrib.auth import backends as django
from django.contrib.auth.backends import BaseBackend, ModelBackend
from django.core.checks import INFO, Tags

from djem_async import auth
from djem_async.auth import ObjectPermissionsBackend
from tests.checks import amethod, find, ids, method
from tests.conftest import MODEL_BACKEND, ONE_BACKEND, OUR_BACKEND

pytestmark = pytest.mark.django_db(databases=["default", "other"])


# W002, W003: a backend of ours, and one that loads users


@pytest.mark.parametrize(
    ("user_model", "attributes", "found"),
    [
        ("testapp.User", {"_user_can_view_item": method}, ["W002"]),
        ("testapp.User", {}, ["W002"]),
        ("testapp.PlainUser", {"_user_can_view_item": method}, ["W002"]),
        ("testapp.PlainUser", {}, []),
    ],
)
@pytest.mark.parametrize("backends", [[], [MODEL_BACKEND]])
def test_a_missing_backend_is_a_warning_if_something_needs_it(
    find_in, settings, user_model, attributes, found, backends
):
    settings.AUTHENTICATION_BACKENDS = backends
    settings.AUTH_USER_MODEL = user_model
    messages = find_in(**attributes)
    assert ids(messages) == found
    for message in messages:
        assert ("Item" in message.msg) is bool(attributes)
        assert f"Use {ONE_BACKEND} in place of {MODEL_BACKEND}" in message.hint


class Deciding:
    has_perm = method
    ahas_perm = amethod


class LoadingBackend:
    def get_user(self, user_id):
        raise NotImplementedError


class NotLoading(BaseBackend):
    """Its `get_user` finds nobody."""


class OurBackend(ObjectPermissionsBackend):
    pass


@pytest.mark.parametrize(
    ("backends", "found"),
    [
        ([ModelBackend, ObjectPermissionsBackend], []),
        ([auth.ModelBackend], []),
        ([auth.ModelBackend, ObjectPermissionsBackend], []),
        ([LoadingBackend, ObjectPermissionsBackend], []),
        ([LoadingBackend, OurBackend, ModelBackend], []),
        ([ObjectPermissionsBackend], ["W003"]),
        ([ObjectPermissionsBackend, ModelBackend], ["W003"]),
        ([NotLoading, ObjectPermissionsBackend, ModelBackend], ["W003"]),
        ([Deciding, ObjectPermissionsBackend, ModelBackend], ["W003"]),
        ([OurBackend, ModelBackend, ObjectPermissionsBackend], ["W003"]),
    ],
)
def test_a_backend_that_loads_users_is_listed_first(settings, backends, found):
    settings.AUTHENTICATION_BACKENDS = [f"{cls.__module__}.{cls.__name__}" for cls in backends]
    settings.DJEM_OPEN_BY_DEFAULT = False
    messages = find()
    assert ids(messages) == found
    assert all(ONE_BACKEND in message.hint for message in messages)


# W005: one form


def sync_form(self, user_obj, *args, **kwargs):
    return True


async def async_form(self, user_obj, *args, **kwargs):
    return True


def backend(*bases: type, **forms: Any) -> type:
    return type("Backend", bases, forms)


Rules = backend(authenticate=sync_form, has_perm=sync_form, has_module_perms=sync_form)
Djem = backend(BaseBackend, has_perm=sync_form, get_user_permissions=sync_form)


@pytest.mark.parametrize("user_model", ["testapp.PlainUser", "testapp.User"])
@pytest.mark.parametrize(
    ("cls", "alone"),
    [
        (django.RemoteUserBackend, None),
        (django.AllowAllUsersRemoteUserBackend, None),
        (Rules, "has_perm()"),
        (Djem, "has_perm()"),
        (backend(Djem), "has_perm()"),
        (backend(ModelBackend, get_all_permissions=sync_form), "get_all_permissions()"),
        (backend(ModelBackend, get_group_permissions=sync_form), "get_group_permissions()"),
        (backend(ModelBackend, ahas_perm=async_form), "ahas_perm()"),
        (backend(ObjectPermissionsBackend, ahas_perm=async_form), "ahas_perm()"),
        (backend(auth.ModelBackend, ahas_perm=async_form), "ahas_perm()"),
        (backend(auth.ModelBackend, has_perm=sync_form), None),
        (backend(Rules, ahas_perm=async_form, ahas_module_perms=async_form), None),
        (backend(Djem, ahas_perm=async_form, aget_user_permissions=async_form), None),
        (backend(ModelBackend, has_perm=sync_form, ahas_perm=async_form), None),
        (backend(ModelBackend, authenticate=sync_form), None),
        # Its inherited async form calls the override.
        (backend(ObjectPermissionsBackend, has_perm=sync_form), None),
    ],
)
def test_a_backend_with_a_method_in_one_form_only_is_a_warning(
    settings, monkeypatch, user_model, cls, alone
):
    monkeypatch.setitem(globals(), "Backend", cls)
    path = f"{__name__}.Backend"
    settings.AUTH_USER_MODEL = user_model
    settings.DJEM_OPEN_BY_DEFAULT = True
    settings.AUTHENTICATION_BACKENDS = [MODEL_BACKEND, path, OUR_BACKEND]
    messages = find(tags=[Tags.security])
    # `OLPMixin` asks a backend in the form that it has.
    assert ids(messages) == (["W005"] if alone and user_model == "testapp.PlainUser" else [])
    for message in messages:
        assert path in message.msg
        assert f" {alone}" in message.msg
        assert "OLPMixin" in message.hint


# I001: two backends where one does


@pytest.mark.parametrize(
    ("backends", "is_found"),
    [
        ([MODEL_BACKEND, OUR_BACKEND], True),
        ([ONE_BACKEND], False),
        ([f"{__name__}.LoadingBackend", MODEL_BACKEND, OUR_BACKEND], False),
    ],
)
def test_one_backend_is_recommended_in_place_of_two(settings, backends, is_found):
    settings.SILENCED_SYSTEM_CHECKS = []
    settings.AUTHENTICATION_BACKENDS = backends
    messages = find()
    assert [message.id for message in messages] == ["djem_async.I001"] * is_found
    for message in messages:
        assert message.level == INFO
        assert "login(request, user)" in message.msg
        assert f"Use {ONE_BACKEND}" in message.hint


# W014: other backends that decide on objects


class ModelLevelOnly(Deciding):
    answers_for_objects = False


class OfOurs(auth.ModelBackend):
    has_perm = method  # type: ignore[assignment]
    ahas_perm = amethod  # type: ignore[assignment]


@pytest.mark.parametrize("ours", [OUR_BACKEND, ONE_BACKEND])
@pytest.mark.parametrize(
    ("other", "choice", "is_found"),
    [
        (Deciding, None, True),
        (Deciding, True, False),
        (Deciding, False, False),
        *((cls, None, False) for cls in (ModelLevelOnly, LoadingBackend, OfOurs)),
    ],
)
def test_open_by_default_is_chosen_next_to_backends_that_decide_on_objects(
    settings, ours, other, choice, is_found
):
    settings.AUTHENTICATION_BACKENDS = [MODEL_BACKEND, ours, f"{__name__}.{other.__name__}"]
    if choice is not None:
        settings.DJEM_OPEN_BY_DEFAULT = choice
    messages = find()
    assert ids(messages) == ["W014"] * is_found
    for message in messages:
        assert "Deciding" in message.msg
        assert "DJEM_OPEN_BY_DEFAULT" in message.hint
    settings.AUTHENTICATION_BACKENDS = [MODEL_BACKEND, f"{__name__}.{other.__name__}"]
    assert "W014" not in ids(find())
