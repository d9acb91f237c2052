"""Our one backend, `login(request, user)`, and what the packages and the admin do after it."""

from __future__ import annotations

from typing import Any

import pytest
from django.contrib import admin
from django.contrib.auth import alogin, get_user_model, login
from django.http import HttpResponse
from django.urls import path

from tests.frameworks import test_ninja, test_rest_framework
from tests.frameworks.models import Post

pytestmark = pytest.mark.urls(__name__)


def sign_in(request: Any, name: str) -> HttpResponse:
    login(request, get_user_model().objects.get(username=name))
    return HttpResponse()


async def asign_in(request: Any, name: str) -> HttpResponse:
    await alogin(request, await get_user_model().objects.aget(username=name))
    return HttpResponse()


class PostAdmin(admin.ModelAdmin):
    """Asks for the object, which Django's own methods leave out."""

    def has_change_permission(self, request: Any, obj: Post | None = None) -> bool:
        return request.user.has_perm("frameworks.change_post", obj)

    has_view_permission = has_change_permission


site = admin.AdminSite()
site.register(Post, PostAdmin)
urlpatterns = [
    path("sync/login/<str:name>/", sign_in),
    path("async/login/<str:name>/", asign_in),
    path("admin/", site.urls),
    *test_rest_framework.urlpatterns,
    *test_ninja.urlpatterns,
]


@pytest.mark.parametrize("view", ["ninja", "permission"])
def test_session_after_login(browser, owner, other, post, view):
    assert browser.get(view, post).status_code in {401, 403}
    for user, status in [(other, 403), (owner, 200)]:
        assert browser.get("login", user.get_username()).status_code == 200
        response = browser.get(view, post)
        assert response.status_code == status
    assert "owner" in response.content.decode()


def test_admin_asks_access_method(client, owner, other, post):
    for user, status in [(other, 403), (owner, 200)]:
        client.force_login(user)
        assert client.get("/admin/frameworks/post/").status_code == 200
        assert client.get(f"/admin/frameworks/post/{post.pk}/change/").status_code == status
