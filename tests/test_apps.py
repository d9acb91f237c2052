"""The app in a project: its configuration, and signing in past its backend."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest
from asgiref.sync import async_to_sync
from django.apps import apps
from django.contrib.auth import aauthenticate, authenticate
from django.core.checks import Error, Tags, run_checks
from django.core.checks.registry import registry
from django.http import HttpResponse
from django.test import AsyncClient, Client
from django.urls import path

from djem_async import checks
from djem_async.apps import DjemAsyncConfig
from djem_async.auth import ObjectPermissionsBackend

from .testapp.models import User

MODEL_BACKEND = "django.contrib.auth.backends.ModelBackend"
OUR_BACKEND = "djem_async.auth.ObjectPermissionsBackend"
ORDERS = [[MODEL_BACKEND, OUR_BACKEND], [OUR_BACKEND, MODEL_BACKEND]]
FORMS = [authenticate, async_to_sync(aauthenticate)]


def test_the_app_brings_checks_and_tags_and_no_models():
    config = apps.get_app_config("djem_async")

    assert config.name == "djem_async"
    assert isinstance(config, DjemAsyncConfig)
    assert DjemAsyncConfig.verbose_name == config.verbose_name == "Object-level permissions"
    assert list(config.get_models()) == []


def registered_checks():
    module = DjemAsyncConfig.__module__
    return [check for check in registry.registered_checks if check.__module__ == module]


def test_the_checks_are_registered_once():
    tags = {check.__name__: check.tags for check in registered_checks()}
    assert tags == {
        "check_settings": (Tags.security,),
        "check_user_model": (Tags.models,),
        "check_access_methods": (Tags.models,),
        "check_backends": (Tags.security,),
    }
    assert all(check.__qualname__ == check.__name__ for check in registered_checks())

    apps.get_app_config("djem_async").ready()

    assert len(registered_checks()) == 4


@pytest.mark.parametrize(
    "name", ["check_settings", "check_user_model", "check_access_methods", "check_backends"]
)
def test_what_is_registered_runs_the_check(monkeypatch, name):
    [check] = [check for check in registered_checks() if check.__name__ == name]
    asked = []
    message = Error("It is so.")

    def of_the_module(**kwargs):
        asked.append(kwargs)
        return [message]

    monkeypatch.setattr(checks, name, of_the_module)

    assert check(app_configs=None, databases=["default"]) == [message]
    assert asked == [{"app_configs": None, "databases": ["default"]}]


def test_a_mistake_is_reported_by_django(settings):
    settings.DJEM_UNIVERSAL_OLP = "yes"

    assert "djem_async.E004" in {message.id for message in run_checks(tags=[Tags.security])}


def test_a_server_that_starts_does_not_load_the_checks():
    code = "import django, sys; django.setup(); print('djem_async.checks' in sys.modules)"

    run = subprocess.run(
        [sys.executable, "-c", code],
        env=os.environ | {"DJANGO_SETTINGS_MODULE": "tests.settings"},
        capture_output=True,
        text=True,
        check=True,
    )

    assert run.stdout == "False\n"


# Signing in


@pytest.fixture(params=["sync", "async"])
def who_is(request, settings):
    """Sign a user in as tests do, and tell whom a view then sees, in each form."""
    settings.ROOT_URLCONF = (path("", lambda request: HttpResponse(str(request.user.pk))),)

    def sync_who(user):
        client = Client()
        client.force_login(user)
        return client.get("/").content.decode()

    async def async_who(user):
        client = AsyncClient()
        await client.aforce_login(user)
        return (await client.get("/")).content.decode()

    return sync_who if request.param == "sync" else async_to_sync(async_who)


@pytest.mark.parametrize("backends", [[MODEL_BACKEND], *ORDERS])
def test_force_login_works_wherever_the_backend_is_listed(who_is, settings, user, backends):
    settings.AUTHENTICATION_BACKENDS = backends

    assert who_is(user) == str(user.pk)


@pytest.fixture
def secret(db):
    """A user with a password."""
    return User.objects.create_user("secret", password="open sesame")


@pytest.mark.parametrize("backends", ORDERS)
@pytest.mark.parametrize("form", FORMS, ids=["sync", "async"])
def test_authentication_passes_by_the_backend(settings, secret, backends, form):
    settings.AUTHENTICATION_BACKENDS = backends

    found = form(username="secret", password="open sesame")

    assert found == secret
    assert found.backend == MODEL_BACKEND
    assert form(username="secret", password="wrong") is None


@pytest.mark.parametrize("form", FORMS, ids=["sync", "async"])
def test_the_backend_by_itself_authenticates_nobody(settings, secret, form):
    settings.AUTHENTICATION_BACKENDS = [OUR_BACKEND]

    assert form(username="secret", password="open sesame") is None


def test_the_backend_is_not_one_that_loads_users():
    """Django would sign people in with it, and find nobody afterwards."""
    assert not hasattr(ObjectPermissionsBackend, "get_user")
    assert not hasattr(ObjectPermissionsBackend, "aget_user")


@pytest.mark.parametrize("client", ["sync", "async"])
def test_a_client_signs_in_with_a_password(settings, secret, client):
    settings.AUTHENTICATION_BACKENDS = [OUR_BACKEND, MODEL_BACKEND]
    credentials = {"username": "secret", "password": "open sesame"}

    if client == "sync":
        assert Client().login(**credentials)
        assert not Client().login(username="secret", password="wrong")
    else:
        assert async_to_sync(AsyncClient().alogin)(**credentials)
