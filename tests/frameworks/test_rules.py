"""django-rules, whose backend has a sync form only: one answer for visitors and users alike."""

from __future__ import annotations

import pytest
import rules

from tests.frameworks import views
from tests.frameworks.models import Note

pytestmark = pytest.mark.urls(__name__)
PERM = "frameworks.view_note"
urlpatterns = views.urls(PERM, Note)


@rules.predicate
def is_public(user, note):
    # Without a note, it is asked for the model level, ahead of access methods.
    return note is not None and note.is_public


@pytest.fixture(autouse=True)
def _rules(settings):
    backends = [*settings.AUTHENTICATION_BACKENDS, "rules.permissions.ObjectPermissionBackend"]
    settings.AUTHENTICATION_BACKENDS = backends
    rules.set_perm(PERM, is_public)
    yield
    rules.remove_perm(PERM)


@pytest.mark.parametrize("way", views.WAYS)
@pytest.mark.parametrize("is_visitor", [True, False])
def test_rule_decides(browser, other, note, way, is_visitor):
    if not is_visitor:
        browser.client.force_login(other)
    assert browser.get(way, note).status_code == 403
    Note.objects.update(is_public=True)
    assert browser.get(way, note).status_code == 200


@pytest.mark.parametrize("way", views.WAYS)
@pytest.mark.parametrize("is_open", [True, False])
def test_setting_closes_what_no_access_method_decides(
    browser, user_with, note, way, is_open, settings
):
    settings.DJEM_OPEN_BY_DEFAULT = is_open
    browser.client.force_login(user_with("reader", "view_note"))
    assert browser.get(way, note).status_code == (200 if is_open else 403)
    Note.objects.update(is_public=True)
    assert browser.get(way, note).status_code == 200
