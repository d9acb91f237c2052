"""Django Ninja: the user of a token counts, whoever the session belongs to."""

from typing import Any

import pytest
from django.contrib.auth import get_user_model
from django.core.exceptions import PermissionDenied
from django.urls import path
from ninja import NinjaAPI
from ninja.security import HttpBearer, django_auth

from djem_async.auth import permission_required
from djem_async.shortcuts import aget_object_for_user, get_object_for_user
from tests.frameworks.models import Post

pytestmark = pytest.mark.urls(__name__)
change_post = permission_required(("frameworks.change_post", "post"), raise_exception=True)
api = NinjaAPI()


class Bearer(HttpBearer):
    def authenticate(self, request: Any, token: str) -> Any:
        request.user = get_user_model().objects.get(username=token)
        return request.user


class AsyncBearer(HttpBearer):
    async def authenticate(self, request: Any, token: str) -> Any:
        request.user = await get_user_model().objects.aget(username=token)
        return request.user


async def session(request: Any) -> Any:
    user = await request.auser()
    return user if user.is_authenticated else None


@api.get("sync/ninja/{post}/", auth=[Bearer(), django_auth])
@change_post
def view(request: Any, post: int) -> Any:
    return request.user.get_username()


@api.get("async/ninja/{post}/", auth=[AsyncBearer(), session])
@change_post
async def aview(request: Any, post: int) -> Any:
    return (await request.auser()).get_username()


@api.get("sync/by-hand/{pk}/", auth=[Bearer(), django_auth])
def by_hand(request: Any, pk: int) -> Any:
    return get_object_for_user(request.auth, "frameworks.change_post", Post, pk=pk).pk


@api.get("async/by-hand/{pk}/", auth=[AsyncBearer(), session])
async def aby_hand(request: Any, pk: int) -> Any:
    post = await aget_object_for_user(request.auth, "frameworks.change_post", Post, pk=pk)
    return post.pk


@api.exception_handler(PermissionDenied)
def denied(request: Any, error: Any) -> Any:
    return api.create_response(request, {"reason": error.explanation.reason}, status=403)


urlpatterns = [path("", api.urls)]


@pytest.mark.parametrize("has_session", [False, True])
def test_user_of_token_counts(browser, owner, other, post, has_session):
    for user, by_session, status in [(owner, other, 200), (other, owner, 403)]:
        if has_session:
            browser.client.force_login(by_session)
        response = browser.get("ninja", post, token=user)
        assert response.status_code == status
        assert ("owner" in response.content.decode()) is (status == 200)
    assert browser.get("ninja", post).status_code == (200 if has_session else 401)


@pytest.mark.parametrize("view", ["ninja", "by-hand"])
@pytest.mark.parametrize("by_session", [True, False])
def test_denied_with_the_reason(browser, owner, other, user_with, post, view, by_session):
    assert browser.get(view, post).status_code == 401
    for user, status, reason in [
        (owner, 200, None),
        (other, 403, "user_method"),
        (user_with("reader"), 403, "model_level"),
        (user_with("closed", "change_post", is_active=False), 403, "inactive"),
    ]:
        if by_session and user.is_active:
            browser.client.force_login(user)
            response = browser.get(view, post)
        else:
            response = browser.get(view, post, token=user)
        assert response.status_code == status
        assert reason is None or response.json() == {"reason": reason}
