"""The users that django-impersonate puts in place of those of the session."""

import pytest

from tests.frameworks.views import WAYS


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
