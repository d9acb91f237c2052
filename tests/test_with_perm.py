"""`with_perm` of the backend: which users may do something to an object."""

from typing import Any

import pytest
from django.core.exceptions import ImproperlyConfigured
from django.db.models import Q
from django.utils.functional import SimpleLazyObject

from djem_async.models import OLPMixin
from djem_async.test import capture_checks
from tests.conftest import MODEL_BACKEND, OUR_BACKEND, grant, permission
from tests.testapp.models import Page, User

PERM = "testapp.read_page"


@pytest.fixture
def users(db: None) -> dict[str, User]:
    return {
        "owner": grant(User.objects.create_user("owner"), PERM),
        "holder": grant(User.objects.create_user("holder"), PERM),
        "inactive": grant(User.objects.create_user("inactive", is_active=False), PERM),
        "without": User.objects.create_user("without"),
        "super": User.objects.create_superuser("super"),
    }


@pytest.fixture
def page(users: dict[str, User]) -> Page:
    return Page.objects.create(owner=users["owner"])


def may(obj: Any, perm: Any = PERM, **given: Any) -> set[str]:
    found = User.objects.with_perm(perm, backend=OUR_BACKEND, obj=obj, **given)
    return {user.username for user in found.order_by("pk")}


def is_owner(page: Page, user: User) -> bool:
    return page.owner_id == user.pk


async def is_owner_later(page: Page, user: User) -> bool:
    return is_owner(page, user)


@pytest.mark.parametrize(
    "methods",
    [
        {"_user_can_read_page": is_owner},
        {"_auser_can_read_page": is_owner_later},
        {"_quser_can_read_page": classmethod(lambda cls, user: Q(owner=user))},
        {"_group_can_read_page": lambda page, groups: False, "_user_can_read_page": is_owner},
        {},
    ],
)
@pytest.mark.parametrize("is_universal", [True, False])
def test_users_are_those_to_whom_a_check_grants(
    users, page, access_methods, settings, methods, is_universal
):
    settings.DJEM_UNIVERSAL_OLP = is_universal
    access_methods(Page, **methods)
    granted = {name for name, user in users.items() if user.has_perm(PERM, page)}
    assert may(page) == may(page, permission(PERM)) == may(page, is_active=None) == granted
    assert ("super" in granted) is (not is_universal or not methods)
    assert may(page, is_active=False) == set()
    asked = granted if is_universal else granted - {"super"}
    assert may(page, include_superusers=False) == asked


def test_nobody_is_found_without_an_object(users):
    assert may(None) == may("page") == set()


def test_users_have_their_say(page, monkeypatch):
    def has_perm(user: User, perm: str, obj: Any = None) -> bool:
        return user.username != "owner" and OLPMixin.has_perm(user, perm, obj)

    monkeypatch.setattr(User, "has_perm", has_perm)
    with capture_checks() as told:
        may(page)
    assert told == []
    assert may(page) == may(SimpleLazyObject(lambda: page)) == {"holder", "super"}


def test_most_of_it_is_one_query(page, access_methods, django_assert_num_queries):
    access_methods(Page, _user_can_read_page=is_owner)
    with django_assert_num_queries(2):
        assert may(page) == {"owner", "super"}


@pytest.mark.parametrize(
    ("backends", "message"),
    [
        (
            [MODEL_BACKEND, OUR_BACKEND, "tests.backends.GrantsModelLevel"],
            "may also decide on objects",
        ),
        (["tests.backends.ModelLevelAlone", MODEL_BACKEND, OUR_BACKEND], "may grant or deny"),
        ([OUR_BACKEND], "No backend in AUTHENTICATION_BACKENDS checks"),
    ],
)
def test_backends_of_which_no_query_knows_the_answers_are_an_error(
    page, settings, backends, message
):
    settings.AUTHENTICATION_BACKENDS = backends
    with pytest.raises(ImproperlyConfigured, match=message):
        may(page)


def test_permission_that_is_not_about_the_object_is_an_error(page):
    with pytest.raises(ImproperlyConfigured, match=r"Did you mean 'testapp\.read_page'\?"):
        may(page, "testapp.raed_page")
