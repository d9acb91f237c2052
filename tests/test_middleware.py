"""``SharedUserMiddleware``."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from asgiref.sync import async_to_sync, iscoroutinefunction, sync_to_async
from django.contrib.auth import alogin, alogout, login, logout
from django.contrib.auth.middleware import RemoteUserMiddleware
from django.contrib.auth.models import AnonymousUser
from django.core.exceptions import ImproperlyConfigured, SynchronousOnlyOperation
from django.db import connection
from django.http import HttpResponse
from django.template.loader import render_to_string
from django.test.utils import CaptureQueriesContext
from django.utils.functional import SimpleLazyObject

from djem_async._lazy import unwrapped
from djem_async.auth import permission_required
from djem_async.middleware import SharedUserMiddleware

from .testapp.models import User
from .testapp.views import USE_THING, Site

BACKEND = "django.contrib.auth.backends.ModelBackend"
SHARED = "djem_async.middleware.SharedUserMiddleware"


@pytest.fixture(params=["sync-sync", "sync-async", "async-sync", "async-async"])
def site(request, settings, db):
    """A site with the middleware; the parameters are the modes of the view and the client."""
    settings.MIDDLEWARE = [*settings.MIDDLEWARE, SHARED]
    return Site(settings, "function", *request.param.split("-"))


@pytest.fixture
def other(db):
    return User.objects.create_user("other")


def look(site: Site, user: Any, *steps: Any, **extra: Any) -> list[Any]:
    """Let a view take steps with its request, and return what they return.

    A step is a function of the request, sync or async.
    """
    found: list[Any] = []

    def view(request):
        for step in steps:
            run = async_to_sync(step) if iscoroutinefunction(step) else step
            found.append(run(request))
        return HttpResponse()

    async def async_view(request):
        for step in steps:
            run = step if iscoroutinefunction(step) else sync_to_async(step)
            found.append(await run(request))
        return HttpResponse()

    site.serve(view if site.mode == "sync" else async_view)
    assert site.get("/", user, **extra).status_code == 200
    return found


async def auser(request):
    return await request.auser()


def request_user(request):
    return unwrapped(request.user)


@pytest.mark.parametrize(
    "steps", [(auser, request_user), (request_user, auser), (auser, request_user, auser)]
)
def test_both_are_one_instance(site, user, steps):
    first, *more = look(site, user, *steps)

    assert type(first) is User
    assert first == user
    assert all(found is first for found in more)


def test_without_the_middleware_they_are_two(site, user):
    site.settings.MIDDLEWARE = site.settings.MIDDLEWARE[:-1]

    first, second = look(site, user, auser, request_user)

    assert first == second
    assert first is not second


def test_an_anonymous_user_is_shared_too(site):
    first, second = look(site, None, auser, request_user)

    assert first is second
    assert first.is_anonymous


def test_the_user_is_fetched_once(site, user):
    queries = []

    def count(request):
        with CaptureQueriesContext(
            connection,
        ) as captured:
            request_user(request)
            async_to_sync(request.auser)()
            async_to_sync(request.auser)()
            request_user(request)
        queries.extend(captured.captured_queries)

    look(site, user, count)

    assert len([query for query in queries if "testapp_user" in query["sql"]]) == 1


def test_nothing_is_fetched_for_a_view_that_asks_for_no_user(site, user):
    look(site, user, auser)
    with CaptureQueriesContext(connection) as asked:
        look(site, user, auser)
    with CaptureQueriesContext(connection) as not_asked:
        look(site, user)

    # The session and the user.
    assert len(asked) - len(not_asked) == 2


def test_tasks_of_one_request_get_one_instance(site, user):
    async def gather(request):
        return await asyncio.gather(*(request.auser() for _ in range(5)))

    (found,) = look(site, user, gather)

    assert len({id(one) for one in found}) == 1


def test_a_lazy_user_that_was_taken_before_is_the_same(site, user):
    taken = []
    first, second = look(site, user, lambda request: taken.append(request.user), auser)

    assert first is None
    assert unwrapped(taken[0]) is second


def test_signing_in_and_out_changes_both(site, user, other):
    def sign_in(request):
        login(request, other, BACKEND)

    async def asign_in(request):
        await alogin(request, other, BACKEND)

    async def asign_out(request):
        await alogout(request)

    for sign_in_form in (sign_in, asign_in):
        for look_before in ([], [auser], [request_user]):
            *_, first, second = look(site, user, *look_before, sign_in_form, auser, request_user)
            assert first is second is other

    for sign_out in (logout, asign_out):
        for look_before in ([], [auser], [request_user]):
            *_, first, second = look(site, user, *look_before, sign_out, auser, request_user)
            assert first is second
            assert first.is_anonymous


# With other middleware that decides who the user is


def impersonate(get_response):
    """Put an instance in place of the user, after a look at who it is."""

    def middleware(request):
        if request.user.is_authenticated:
            request.user = User.objects.get(username="other")
        return get_response(request)

    return middleware


def impersonate_lazily(get_response):
    def middleware(request):
        request.user = SimpleLazyObject(lambda: User.objects.get(username="other"))
        return get_response(request)

    return middleware


def make_anonymous(get_response):
    def middleware(request):
        request.user = AnonymousUser()
        return get_response(request)

    return middleware


@pytest.mark.parametrize("is_before", [True, False], ids=["before", "after"])
@pytest.mark.parametrize("name", ["impersonate", "impersonate_lazily", "make_anonymous"])
@pytest.mark.parametrize("steps", [(auser, request_user), (request_user, auser)])
def test_a_user_that_other_middleware_puts_in_place_wins(site, user, other, name, is_before, steps):
    *django, shared = site.settings.MIDDLEWARE
    replace = f"{__name__}.{name}"
    site.settings.MIDDLEWARE = [*django, *([replace, shared] if is_before else [shared, replace])]

    first, second = look(site, user, *steps)

    assert first is second
    assert first == (AnonymousUser() if name == "make_anonymous" else other)


class HeaderUserMiddleware(RemoteUserMiddleware):
    header = "HTTP_REMOTE_USER"


@pytest.mark.parametrize("steps", [(auser, request_user), (request_user, auser)])
def test_the_user_that_the_web_server_knows_is_signed_in_by_the_first_request(site, other, steps):
    *django, shared = site.settings.MIDDLEWARE
    site.settings.MIDDLEWARE = [*django, f"{__name__}.HeaderUserMiddleware", shared]
    site.settings.AUTHENTICATION_BACKENDS = [
        "django.contrib.auth.backends.RemoteUserBackend",
        "djem_async.auth.ObjectPermissionsBackend",
    ]

    # The second is where the async form of Django 5.2 looks for that header.
    headers = {"remote-user": "other", "http-remote-user": "other"}
    first, second = look(site, None, *steps, headers=headers)

    assert first is second
    assert first == other


# Where it is listed


def test_it_must_follow_the_authentication_middleware(site):
    *django, shared = site.settings.MIDDLEWARE
    site.settings.MIDDLEWARE = [shared, *django]
    site.require("testapp.use_thing", route="")

    with pytest.raises(ImproperlyConfigured, match=r"after django\.contrib\.auth"):
        site.get("/")
    assert not site.has_run


def test_it_is_async_where_what_follows_is():
    async def aget_response(request):
        return HttpResponse()

    assert iscoroutinefunction(SharedUserMiddleware(aget_response))
    assert not iscoroutinefunction(SharedUserMiddleware(lambda request: HttpResponse()))


# What it is for


@permission_required(USE_THING, raise_exception=True)
async def page(request, pk):
    context = {"thing": pk}
    return HttpResponse(render_to_string("testapp/thing.html", context, request))


@pytest.mark.parametrize("client", ["sync", "async"])
def test_a_template_of_an_async_view_finds_the_decisions_of_the_view(settings, user, thing, client):
    site = Site(settings, client=client)
    site.serve(page, "<int:pk>/")

    # Django's context processor passes `request.user`, which nothing is known about.
    with pytest.raises(SynchronousOnlyOperation):
        site.get(f"/{thing.pk}/", user)

    settings.MIDDLEWARE = [*settings.MIDDLEWARE, SHARED]
    response = site.get(f"/{thing.pk}/", user)
    assert response.content.strip() == b"<b>a thing</b>"
