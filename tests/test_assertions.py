"""`djem_async.test`, which is for the tests of projects."""

import re

import pytest
from django.contrib.auth.models import AnonymousUser
from django.db.models import Q

from djem_async.test import assert_lists_agree
from tests.conftest import grant
from tests.testapp.models import Page, User

PERM = "testapp.read_page"


@pytest.fixture
def users(db):
    names = ("anna", "ben")
    return [grant(User.objects.create_user(name), PERM) for name in names] + [AnonymousUser()]


@pytest.fixture
def pages(users):
    return [Page.objects.create(title=str(user), owner=user) for user in users[:2]]


def is_owner(page, user):
    return page.owner_id == user.pk


@pytest.mark.parametrize("has_python_form", [True, False])
def test_forms_that_agree_pass(users, pages, access_methods, has_python_form):
    access_methods(Page, _quser_can_read_page=classmethod(lambda cls, user: Q(owner=user)))
    if has_python_form:
        access_methods(Page, _user_can_read_page=is_owner)
    assert_lists_agree(PERM, users, Page.objects.all())
    users[0].has_perm(PERM, pages[0])
    Page.objects.update(owner=users[1])  # what a user remembers isn't asked
    Page.objects.create(owner=users[0])
    assert_lists_agree(PERM, users, Page.objects.all())


@pytest.mark.parametrize(
    ("form", "message"),
    [
        (lambda cls, user: Q(title__in=["anna", "ben"]), r"anna: listed, but denied .*: ben \(2\)"),
        (lambda cls, user: Q(title="anna"), r"ben: granted by a check, but not listed: ben"),
    ],
)
def test_rows_that_differ_are_named(users, pages, access_methods, form, message):
    message = message.replace("(2", rf"({pages[1].pk}")
    access_methods(Page, _user_can_read_page=is_owner, _quser_can_read_page=classmethod(form))
    with pytest.raises(AssertionError, match=message) as caught:
        assert_lists_agree(PERM, users, Page.objects.all())
    assert f"The lists of {PERM} disagree with checks." in str(caught.value)
    form = "tests.testapp.models.Page._quser_can_read_page"
    assert f"Lists come from {form}." in str(caught.value)
    # Each of the rows is explained.
    tree = rf"    {PERM} on testapp.Page {pages[1].pk}, user \d+: (denied|granted)\n +user_method: "
    assert re.search(tree + r"tests.*\._user_can_read_page", str(caught.value))
    assert "cached" not in str(caught.value)


@pytest.mark.parametrize(("answer", "amount"), [(True, "all"), (False, "none")])
def test_what_proves_nothing_fails(users, pages, access_methods, answer, amount):
    access_methods(Page, _quser_can_read_page=classmethod(lambda cls, user: answer))
    with pytest.raises(AssertionError, match=f"on {amount} of the 2 objects, so this proves"):
        assert_lists_agree(PERM, users[:2], Page.objects.all())
    with pytest.raises(AssertionError, match="no objects"):
        assert_lists_agree(PERM, users, Page.objects.none())
