"""The users that django-impersonate and django-hijack put in place of others."""

import pytest
from asgiref.sync import async_to_sync
from django.urls import include, path

from tests.frameworks import views
from tests.frameworks.views import WAYS

pytestmark = pytest.mark.urls(__name__)
urlpatterns = [*views.urlpatterns, path("hijack/", include("hijack.urls"))]


@pytest.mark.parametrize("way", WAYS)
def test_impersonated_user_counts(browser, user_with, owner, other, post, way, settings):
    settings.MIDDLEWARE = [*settings.MIDDLEWARE, "impersonate.middleware.ImpersonateMiddleware"]
    browser.client.force_login(user_with("admin", is_superuser=True))
    assert browser.get(way, post).status_code == 200
    for user, status in [(other, 403), (owner, 200)]:
        session = browser.client.session
        session["_impersonate"] = user.pk
        session.save()
        response = browser.get(way, post)
        assert response.status_code == status
    assert response.content.decode() in {"", "owner"}


@pytest.mark.parametrize("way", WAYS)
def test_hijacked_user_counts(browser, user_with, owner, other, post, way, settings):
    settings.MIDDLEWARE = [*settings.MIDDLEWARE, "hijack.middleware.HijackUserMiddleware"]
    client = browser.client
    post_to = client.post if browser.mode == "sync" else async_to_sync(client.post)
    for user, status in [(other, 403), (owner, 200)]:
        client.force_login(user_with(f"admin of {user}", is_superuser=True))
        assert browser.get(way, post).status_code == 200
        assert post_to("/hijack/acquire/", {"user_pk": user.pk}).status_code == 302
        response = browser.get(way, post)
        assert response.status_code == status
    assert response.content.decode() in {"", "owner"}
