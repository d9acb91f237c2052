"""The app in a project: its configuration, and signing in with its backend installed."""

import pytest
from asgiref.sync import async_to_sync
from django.contrib.auth import aauthenticate, authenticate
from django.http import HttpResponse
from django.test import AsyncClient, Client
from django.urls import path

from djem_async.auth import ObjectPermissionsBackend
from tests.conftest import MODEL_BACKEND, ONE_BACKEND, OUR_BACKEND
from tests.testapp.models import User

ORDERS = [[MODEL_BACKEND, OUR_BACKEND], [OUR_BACKEND, MODEL_BACKEND]]


@pytest.fixture(params=["sync", "async"])
def call(request):
    """Call a function in its sync form, or in its async one."""

    def make(function, async_function, *args, **kwargs):
        if request.param == "sync":
            return function(*args, **kwargs)
        return async_to_sync(async_function)(*args, **kwargs)

    return make


@pytest.fixture(params=[Client, AsyncClient])
def visit(request, call, settings):
    """Sign in with the test client, and return the primary key of the user a view sees."""
    settings.ROOT_URLCONF = (path("", lambda request: HttpResponse(str(request.user.pk))),)

    def make(name, *args, **kwargs):
        client = request.param()
        call(getattr(client, name), getattr(client, f"a{name}"), *args, **kwargs)
        get = async_to_sync(client.get) if request.param is AsyncClient else client.get
        return get("/").content.decode()

    return make


@pytest.fixture
def secret(db):
    return User.objects.create_user("secret", password="open sesame")


@pytest.mark.parametrize("backends", [[MODEL_BACKEND], [ONE_BACKEND], *ORDERS])
def test_signing_in_works_wherever_the_backend_is_listed(visit, settings, secret, backends):
    settings.AUTHENTICATION_BACKENDS = backends
    assert visit("force_login", secret) == str(secret.pk)
    assert visit("login", username="secret", password="open sesame") == str(secret.pk)
    assert visit("login", username="secret", password="wrong") == "None"


@pytest.mark.parametrize("backends", [[OUR_BACKEND], *ORDERS])
def test_the_backend_does_not_authenticate(call, settings, secret, backends):
    settings.AUTHENTICATION_BACKENDS = backends
    credentials = {"username": "secret", "password": "open sesame"}
    found = call(authenticate, aauthenticate, **credentials)
    assert found == (secret if MODEL_BACKEND in backends else None)
    assert getattr(found, "backend", MODEL_BACKEND) == MODEL_BACKEND
    assert call(authenticate, aauthenticate, username="secret", password="wrong") is None


def test_the_backend_does_not_load_users():
    """Django would sign users in with it, and find none of them afterwards."""
    assert not hasattr(ObjectPermissionsBackend, "get_user")
    assert not hasattr(ObjectPermissionsBackend, "aget_user")
