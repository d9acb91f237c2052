"""Django Ninja: the user of a token counts, whoever the session belongs to."""

from typing import Any

import pytest
from django.contrib.auth import get_user_model
from django.urls import path
from ninja import NinjaAPI
from ninja.security import HttpBearer, django_auth

from djem_async.auth import permission_required

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
