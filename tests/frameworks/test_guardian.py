"""django-guardian, for a model without access methods, and next to one with some."""

from __future__ import annotations

import pytest
from guardian.shortcuts import assign_perm
from guardian.utils import get_anonymous_user

from tests.frameworks import views
from tests.frameworks.models import Note, Post

pytestmark = pytest.mark.urls(__name__)
PERM = "frameworks.view_note"
urlpatterns = views.urls(PERM, Note)


@pytest.fixture(autouse=True)
def _guardian(settings):
    backends = [*settings.AUTHENTICATION_BACKENDS, "guardian.backends.ObjectPermissionBackend"]
    settings.AUTHENTICATION_BACKENDS = backends
    settings.DJEM_OPEN_BY_DEFAULT = False


@pytest.mark.parametrize("way", views.WAYS)
@pytest.mark.parametrize("is_visitor", [True, False])
def test_guardian_decides(browser, user_with, note, way, is_visitor):
    user = get_anonymous_user() if is_visitor else user_with("reader", "view_note")
    if not is_visitor:
        browser.client.force_login(user)
    assert browser.get(way, note).status_code == 403
    assign_perm(PERM, user, note)
    assert browser.get(way, note).status_code == 200
    assert browser.get(way, Note.objects.create()).status_code == 403


def test_either_may_grant(owner, other, post):
    perm = "frameworks.change_post"
    assert owner.has_perm(perm, post)
    assert not other.has_perm(perm, post)
    assign_perm(perm, other, post)
    assert other.has_perm(perm, post)
    assert not other.has_perm(perm, Post.objects.create(owner=owner))
