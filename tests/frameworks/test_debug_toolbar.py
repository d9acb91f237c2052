"""django-debug-toolbar: the panel has the checks of its request, and of no other."""

from __future__ import annotations

import asyncio
import json
import re
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from asgiref.sync import async_to_sync, sync_to_async
from debug_toolbar.toolbar import DebugToolbar
from django.contrib.auth import get_user_model
from django.http import HttpResponse, StreamingHttpResponse
from django.template import Context, Template
from django.test import AsyncClient, Client
from django.urls import include, path

from djem_async.signals import permission_checked
from tests.frameworks import views
from tests.frameworks.models import Post

pytestmark = pytest.mark.urls(__name__)
PERM = "frameworks.change_post"
PANEL = "PermissionsPanel"


def show(request: Any) -> bool:
    return True


def ask(user: Any, *posts: Post) -> HttpResponse:
    """Check as a template does, which sends the signal for each user model."""
    loop = "{% for p in posts %}{% ifperm u perm p %}+{% else %}-{% endifperm %}{% endfor %}"
    context = Context({"u": user, "perm": PERM, "posts": posts})
    return HttpResponse(Template("{% load djem_async %}" + loop).render(context))


def posts(request: Any, pk: int) -> HttpResponse:
    return ask(request.user, *Post.objects.all())


async def aposts(request: Any, pk: int) -> HttpResponse:
    user = await request.auser()
    found = [post async for post in Post.objects.all()]
    # Tasks and threads of a request belong to it.
    for task in [asyncio.create_task(sync_to_async(ask)(user, post)) for post in found]:
        await task
    return HttpResponse()


def superuser() -> Any:
    return get_user_model()(pk=1, is_superuser=True)


def repeated(request: Any, pk: int) -> HttpResponse:
    first, second = Post.objects.order_by("pk")
    return ask(request.user, first, second, first, first)


async def arepeated(request: Any, pk: int) -> HttpResponse:
    await request.auser()
    return await sync_to_async(repeated)(request, pk)


# Two requests meet here before and after each check.
meetings: dict[str, Any] = {}


def meet(request: Any, pk: int) -> HttpResponse:
    for key in (pk, pk + 1):
        meetings["sync"].wait()
        response = ask(superuser(), Post(pk=key))
    meetings["sync"].wait()
    return response


async def ameet(request: Any, pk: int) -> HttpResponse:
    for key in (pk, pk + 1):
        await meetings["async"].wait()
        response = await sync_to_async(ask)(superuser(), Post(pk=key))
    await meetings["async"].wait()
    return response


def stream(request: Any, pk: int) -> StreamingHttpResponse:
    return StreamingHttpResponse(ask(superuser(), Post(pk=key)).content for key in (pk,))


async def fail(request: Any, pk: int) -> HttpResponse:
    raise ZeroDivisionError


urlpatterns = [
    *views.urls(PERM, Post),
    path("sync/posts/<int:pk>/", posts),
    path("async/posts/<int:pk>/", aposts),
    path("sync/repeated/<int:pk>/", repeated),
    path("async/repeated/<int:pk>/", arepeated),
    path("sync/meet/<int:pk>/", meet),
    path("async/meet/<int:pk>/", ameet),
    path("sync/stream/<int:pk>/", stream),
    path("async/fail/<int:pk>/", fail),
    path("__debug__/", include("debug_toolbar.urls")),
]


@pytest.fixture(autouse=True)
def _toolbar(settings):
    toolbar = "debug_toolbar.middleware.DebugToolbarMiddleware"
    settings.MIDDLEWARE = [toolbar, *settings.MIDDLEWARE]


def stats(response: Any) -> dict[str, Any]:
    """Read what the panel has recorded for a response, from the store."""
    toolbar = DebugToolbar.fetch(response["djdt-request-id"], PANEL)
    assert toolbar is not None
    return toolbar.get_panel_by_id(PANEL).get_stats()


def rows(response: Any) -> list[dict[str, Any]]:
    return [check for group in stats(response)["groups"] for check in group["checks"]]


def content(response: Any) -> str:
    """Read the panel as the browser does."""
    query = {"request_id": response["djdt-request-id"], "panel_id": PANEL}
    return Client().get("/__debug__/render_panel/", query).json()["content"]


@pytest.mark.parametrize("way", views.WAYS)
def test_checks_of_a_request_are_shown(browser, owner, other, post, way):
    for user, granted in [(owner, True), (other, False)]:
        browser.client.force_login(user)
        response = browser.get(way, post)
        found = stats(response)
        (check,) = rows(response)
        assert check["granted"] is granted
        assert (check["perm"], check["object"], check["user"]) == (PERM, post.pk, user.pk)
        assert check["reason"] == "user_method"
        assert check["decided_by"] == "tests.frameworks.models.Post._user_can_change_post"
        assert not check["cached"]
        assert 0 < check["milliseconds"] < 60_000
        assert (found["number"], found["denied"]) == (1, int(not granted))
        assert f"frameworks.Post {post.pk}" in content(response)
        assert ("denied" in content(response)) is not granted
        assert ("<details open>" in content(response)) is not granted  # a denial isn't folded
        assert f"<td>{user.pk}</td>" in content(response)
    assert not permission_checked.receivers


def test_objects_that_are_checked_one_at_a_time_get_a_hint(browser, owner, post):
    browser.client.force_login(owner)
    Post.objects.bulk_create(Post(owner=owner) for _ in range(3))
    response = browser.get("posts", 0)
    assert len(rows(response)) == 4
    assert "prefetch_perms" not in content(response)
    Post.objects.create(owner=owner)
    response = browser.get("posts", 0)
    (hint,) = stats(response)["hints"]
    assert (hint["perm"], hint["number"]) == (PERM, 5)
    assert "prefetch_perms" in content(response)


def test_a_group_with_many_rows_is_folded(browser, owner, other):
    browser.client.force_login(owner)
    Post.objects.bulk_create(Post(owner=user) for user in [owner, owner, owner, other])
    assert "<details open>" in content(browser.get("posts", 0))
    Post.objects.create(owner=other)
    response = browser.get("posts", 0)
    text = " ".join(re.sub("<.*?>", "", content(response)).split())
    assert f"{PERM} on 5 objects of frameworks.Post: 3 granted, 2 denied" in text
    assert "<details>" in content(response)
    assert "<details open>" not in content(response)


def test_repeated_checks_are_one_row(browser, owner, post):
    browser.client.force_login(owner)
    Post.objects.create(owner=owner)
    response = browser.get("repeated", post)
    (group,) = stats(response)["groups"]
    assert [(row["object"], row["times"]) for row in group["checks"]] == [
        (post.pk, 3),
        (post.pk + 1, 1),
    ]
    assert (group["objects"], group["granted"], group["denied"]) == (2, 2, 0)
    assert stats(response)["number"] == 4
    assert content(response).count("granted (3 times)") == 1


def test_nested_checks_follow_the_check_that_made_them(browser, owner, post, monkeypatch):
    def nested(self: Post, user: Any) -> bool:
        return bool(self.pk == post.pk or ask(user, post).content == b"+")

    monkeypatch.setattr(Post, "_user_can_change_post", nested)
    browser.client.force_login(owner)
    response = browser.get("ifperm", Post.objects.create(owner=owner))
    outer, inner = rows(response)
    assert (outer["indent"], inner["indent"]) == ("", "↳ ")
    assert inner["object"] == post.pk
    assert inner["milliseconds"] <= outer["milliseconds"]
    assert stats(response)["number"] == 1


def test_two_requests_in_threads_have_their_own_checks(settings):
    settings.MIDDLEWARE = settings.MIDDLEWARE[:1]
    meetings["sync"] = threading.Barrier(2, timeout=20)
    with ThreadPoolExecutor(2) as threads:
        responses = list(threads.map(Client().get, ["/sync/meet/10/", "/sync/meet/20/"]))
    assert keys(responses) == [[10, 11], [20, 21]]


async def test_two_requests_in_tasks_have_their_own_checks(settings):
    settings.MIDDLEWARE = settings.MIDDLEWARE[:1]
    meetings["async"] = asyncio.Barrier(2)
    requests = (AsyncClient().get(f"/async/meet/{key}/") for key in (10, 20))
    assert keys(await asyncio.gather(*requests)) == [[10, 11], [20, 21]]
    assert not permission_checked.receivers


def keys(responses: Any) -> list[list[int]]:
    return [[check["object"] for check in rows(each)] for each in responses]


def test_a_request_that_fails_leaves_no_receiver(settings):
    settings.MIDDLEWARE = settings.MIDDLEWARE[:1]
    with pytest.raises(ZeroDivisionError):
        async_to_sync(AsyncClient().get)("/async/fail/1/")
    assert not permission_checked.receivers


def test_a_request_without_checks_says_so(settings):
    settings.MIDDLEWARE = settings.MIDDLEWARE[:1]
    response = Client().get("/sync/stream/1/")
    assert b"".join(response.streaming_content) == b"+"  # made after the panel has its checks
    assert rows(response) == []
    assert "no permission checks" in content(response)


@pytest.mark.parametrize("autoescape", [True, False])
def test_what_the_panel_shows_is_escaped(browser, owner, post, monkeypatch, settings, autoescape):
    hostile = "<script>alert(1)</script>\ud800"
    engine = settings.TEMPLATES[0]
    options = {**engine["OPTIONS"], "autoescape": autoescape}
    settings.TEMPLATES = [{**engine, "OPTIONS": options}]

    def nested(self: Post, user: Any) -> bool:
        from django.core.exceptions import PermissionDenied

        raise PermissionDenied(hostile)

    monkeypatch.setattr(Post, "_user_can_change_post", nested)
    browser.client.force_login(owner)
    response = browser.get("ifperm", post)
    html = content(response)
    assert "<script>" not in html
    assert "&lt;script&gt;" in html
    query = {"request_id": response["djdt-request-id"], "exclude_history": True}
    history = Client().get("/__debug__/history_sidebar/", query).json()
    assert "1 of 1 denied" in history[PANEL]["button"]
    json.dumps(history, ensure_ascii=False).encode()
