"""``SharedUserMiddleware``."""

from __future__ import annotations

import asyncio
from functools import partial
from typing import Any

import pytest
from asgiref.sync import async_to_sync, iscoroutinefunction, sync_to_async
from django.conf import settings
from django.contrib.auth import alogin, alogout, login, logout
from django.contrib.auth.models import AnonymousUser
from django.core.exceptions import ImproperlyConfigured
from django.db import connection
from django.http import HttpResponse
from django.template.loader import render_to_string
from django.test.utils import CaptureQueriesContext
from django.utils.functional import SimpleLazyObject

from djem_async.auth import permission_required

from .conftest import MODEL_BACKEND
from .testapp.models import User
from .testapp.views import USE_THING, Site

SHARED = "djem_async.middleware.SharedUserMiddleware"


@pytest.fixture(params=["sync-sync", "sync-async", "async-sync", "async-async"])
def site(request, settings, db):
    """A site with the middleware; the parameters are the modes of the view and the client."""
    settings.MIDDLEWARE = [*settings.MIDDLEWARE, SHARED]
    User.objects.create_user("other")
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


BOTH = [(auser, request_user), (request_user, auser)]


@pytest.mark.parametrize("steps", BOTH)
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


@pytest.mark.parametrize("first", [[], [auser], [request_user]], ids=["", "auser", "user"])
def test_signing_in_and_out_changes_both(site, user, first):
    other = User.objects.get(username="other")
    sign_in = partial(login, user=other, backend=MODEL_BACKEND)
    asign_in = partial(alogin, user=other, backend=MODEL_BACKEND)
    for change in (sign_in, asign_in, logout, alogout):
        *_, one, two = look(site, user, *first, change, auser, request_user)
        assert one is two
        assert one.is_anonymous if change in {logout, alogout} else one is other


USERS = {
    "other": lambda request: User.objects.exclude(pk=request.user.pk).get(),
    "lazy other": lambda _: SimpleLazyObject(User.objects.filter(username="other").get),
    "anonymous": lambda _: AnonymousUser(),
}


def replace_user(get_response):
    def middleware(request):
        request.user = USERS[settings.REPLACE_USER](request)
        return get_response(request)

    return middleware


@pytest.mark.parametrize("is_before", [True, False], ids=["before", "after"])
@pytest.mark.parametrize("name", USERS)
@pytest.mark.parametrize("steps", BOTH)
def test_user_that_other_middleware_sets_wins(site, user, name, is_before, steps):
    *django, shared = site.settings.MIDDLEWARE
    site.settings.REPLACE_USER, replace = name, f"{__name__}.replace_user"
    site.settings.MIDDLEWARE = [*django, *([replace, shared] if is_before else [shared, replace])]

    first, second = look(site, user, *steps)
    assert first is second
    assert first.get_username() == ("" if name == "anonymous" else "other")


def test_it_must_follow_the_authentication_middleware(site):
    *django, shared = site.settings.MIDDLEWARE
    site.settings.MIDDLEWARE = [shared, *django]
    with pytest.raises(ImproperlyConfigured, match=r"after django\.contrib\.auth"):
        look(site, None)


@permission_required(USE_THING, raise_exception=True)
async def page(request, pk):
    return HttpResponse(render_to_string("testapp/thing.html", {"thing": pk}, request))


@pytest.mark.parametrize("client", ["sync", "async"])
def test_template_of_an_async_view_finds_the_decisions_of_the_view(settings, user, thing, client):
    site = Site(settings, client=client)
    site.serve(page, "<int:pk>/")
    settings.MIDDLEWARE = [*settings.MIDDLEWARE, SHARED]
    assert site.get(f"/{thing.pk}/", user).content.strip() == b"<b>a thing</b>"
