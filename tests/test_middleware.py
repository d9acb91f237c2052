"""``SharedUserMiddleware``."""

import asyncio
from typing import Any

import pytest
from asgiref.sync import async_to_sync, iscoroutinefunction, sync_to_async
from django.core.exceptions import ImproperlyConfigured
from django.db import connection
from django.http import HttpResponse
from django.test.utils import CaptureQueriesContext
from django.utils.functional import SimpleLazyObject

from .testapp.models import User
from .testapp.views import Site

SHARED = "djem_async.middleware.SharedUserMiddleware"


@pytest.fixture(params=["sync-sync", "sync-async", "async-sync", "async-async"])
def site(request, settings, db):
    """A site with the middleware; the parameters are the modes of the view and the client."""
    settings.MIDDLEWARE = [*settings.MIDDLEWARE, SHARED]
    return Site(settings, "function", *request.param.split("-"))


def look(site: Site, user: Any, *steps: Any) -> list[Any]:
    """Let a view call functions with its request, sync or async, and return their results."""
    found: list[Any] = []

    async def async_view(request):
        for step in steps:
            run = step if iscoroutinefunction(step) else sync_to_async(step)
            found.append(await run(request))
        return HttpResponse()

    site.serve(async_to_sync(async_view) if site.mode == "sync" else async_view)
    assert site.get("/", user).status_code == 200
    return found


async def auser(request):
    return await request.auser()


def request_user(request):
    user = request.user
    bool(user)  # loads it
    return user._wrapped if isinstance(user, SimpleLazyObject) else user


@pytest.mark.parametrize("steps", [(auser, request_user), (request_user, auser)])
def test_request_user_and_auser_are_one_instance(site, user, steps):
    first, second, again = look(site, user, *steps, auser)
    assert type(first) is User
    assert first == user
    assert first is second is again

    first, second = look(site, None, *steps)
    assert first is second
    assert first.is_anonymous


def test_user_is_fetched_once_and_only_if_asked_for(site, user):
    async def gather(request):
        return await asyncio.gather(*(request.auser() for _ in range(5)))

    look(site, user, gather)
    with CaptureQueriesContext(connection) as asked:
        (found,) = look(site, user, gather)
        look(site, user, auser, request_user, auser)
    with CaptureQueriesContext(connection) as not_asked:
        look(site, user)
        look(site, user)

    assert len({id(one) for one in found}) == 1
    assert len(asked) - len(not_asked) == 2 * 2  # the session and the user


def test_it_must_follow_the_authentication_middleware(site):
    *django, shared = site.settings.MIDDLEWARE
    site.settings.MIDDLEWARE = [shared, *django]
    with pytest.raises(ImproperlyConfigured, match=r"after django\.contrib\.auth"):
        look(site, None)
