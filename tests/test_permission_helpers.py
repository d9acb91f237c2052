"""`djem_async.test`: assertions on checks, model-level permissions, and capturing checks."""

import asyncio
from copy import copy

import pytest
from asgiref.sync import async_to_sync
from django.contrib.auth.backends import BaseBackend
from django.contrib.auth.models import AnonymousUser, Group, Permission
from django.core.exceptions import PermissionDenied

from djem_async import test as helpers
from djem_async.test import capture_checks
from tests.conftest import PERM, grant, permission
from tests.testapp.models import OtherThing, PlainUser, Thing, User

OTHER = "testapp.view_otherthing"


@pytest.fixture(params=["sync", "async"])
def test(request):
    """The helpers, in their sync or their async form."""

    class Forms:
        def __getattr__(self, name):
            if request.param == "sync":
                return getattr(helpers, name)
            return async_to_sync(getattr(helpers, f"a{name}"))

    return Forms()


def test_assertions_that_hold_pass(test, user, thing, access_methods):
    access_methods(Thing, _user_can_use_thing=lambda thing, user: thing.owner_id == user.pk)
    test.assert_granted(user, PERM)
    test.assert_denied(user, PERM, thing)
    test.assert_denied(user, PERM, obj=thing, reason="user_method")
    user.has_perm(PERM, thing)
    thing.owner = user  # what the user remembers isn't asked, and doesn't change
    test.assert_granted(user, PERM, thing, reason="user_method")
    assert user.has_perm(PERM, thing) is False
    test.assert_denied(AnonymousUser(), PERM, thing, reason="inactive")


def test_failure_explains_the_check(test, user, thing, access_methods):
    other = OtherThing.objects.create()

    def method(thing, user):
        user.log("Only for viewers")
        return user.has_perm(OTHER, other)

    access_methods(Thing, _user_can_use_thing=method)
    with pytest.raises(AssertionError) as caught:
        test.assert_granted(user, PERM, thing)
    tree = copy(user).explain_perm(PERM, thing)
    assert str(caught.value) == f"This should be granted:\n\n{tree}"
    for text in ("denied", "| Only for viewers", f"└── {OTHER} on testapp.OtherThing {other.pk}"):
        assert text in str(caught.value)
    with pytest.raises(AssertionError, match=rf"^This should be denied:\n\n{PERM}, user .*granted"):
        test.assert_denied(user, PERM)
    with pytest.raises(AssertionError, match="should be superuser, not user_method:\n\n"):
        test.assert_denied(user, PERM, thing, reason="superuser")
    with pytest.raises(ValueError, match="supperuser"):
        test.assert_denied(user, PERM, thing, reason="supperuser")
    with pytest.raises(KeyError):
        user.get_last_log()


@pytest.mark.parametrize("is_same_user", [True, False])
def test_line_that_equals_one_of_a_nested_check_is_kept(user, thing, access_methods, is_same_user):
    asked = user if is_same_user else User.objects.create_user("another")
    grant(user, OTHER)
    grant(asked, OTHER)
    other = OtherThing.objects.create()

    def method(thing, user):
        asked.has_perm(OTHER, other)
        user.log("Not allowed")
        return False

    def nested(other, user):
        user.log("Looked")
        raise PermissionDenied("Not allowed")

    access_methods(Thing, _user_can_use_thing=method)
    access_methods(OtherThing, _user_can_view_otherthing=nested)
    of = user.explain_perm(PERM, thing)
    assert (of.lines, of.nested[0].lines) == (("Not allowed",), ("Looked", "Not allowed"))


def test_exception_is_no_denial(test, user, thing, access_methods):
    def broken(*_):
        raise LookupError("broken")

    access_methods(Thing, _user_can_use_thing=broken)
    for check in (test.assert_denied, test.assert_granted):
        with pytest.raises(AssertionError, match="raised an exception:\n\n") as caught:
            check(user, PERM, thing)
        assert isinstance(caught.value.__cause__, LookupError)
        assert str(caught.value).endswith("\n\nLookupError: broken")
    test.assert_denied(user, PERM, thing, reason="error")


@pytest.mark.parametrize("model", [User, PlainUser])
def test_grant_and_revoke(test, db, model):
    user = model.objects.create(**{model.USERNAME_FIELD: "name"})
    assert not user.has_perm(PERM)
    assert test.grant(user, PERM, OTHER) is user
    assert user.has_perms([PERM, OTHER])
    assert test.revoke(user, PERM) is user
    assert user.get_all_permissions() == {OTHER}
    assert model.objects.get(pk=user.pk).get_all_permissions() == {OTHER}


def test_revoke_leaves_groups(test, user):
    group = Group.objects.create(name="users")
    group.permissions.add(permission(PERM))
    user.groups.add(group)
    assert test.revoke(user, PERM).has_perm(PERM)


@pytest.mark.parametrize(
    ("perm", "hint"),
    [
        (
            "testapp.use_thin",
            r"no permission 'testapp.use_thin'. Did you mean 'testapp.use_thing'\?",
        ),
        ("x", "Write 'app_label.codename'"),
    ],
)
@pytest.mark.parametrize("name", ["grant", "revoke", "assert_granted", "assert_denied"])
def test_unknown_permission_is_an_error(test, user, name, perm, hint):
    perms = (perm,) if "assert" in name else (OTHER, perm)
    with pytest.raises(ValueError, match=hint):
        getattr(test, name)(user, *perms)
    assert user.get_all_permissions() == {PERM}


def test_permission_that_is_not_stored_yet_can_be_asserted_but_not_granted(test, user):
    Permission.objects.get(codename="view_otherthing").delete()
    test.assert_denied(user, OTHER)
    with pytest.raises(ValueError, match="isn't in the database"):
        test.grant(user, OTHER)


class Knows(BaseBackend):
    def has_perm(self, user_obj, perm, obj=None):
        return perm == "books.read"


def test_permission_that_another_backend_may_know_can_be_asserted(test, user, settings):
    settings.AUTHENTICATION_BACKENDS = [f"{__name__}.Knows"]
    test.assert_granted(user, "books.read", reason="other_backend")
    test.assert_denied(user, "books.write")


@pytest.mark.parametrize("user", [AnonymousUser(), User(username="new")], ids=["anonymous", "new"])
def test_user_that_is_not_saved_is_an_error(test, db, user):
    with pytest.raises(ValueError, match=r"isn't saved"):
        test.grant(user, PERM)


def test_checks_are_captured(api, user, thing, access_methods):
    access_methods(Thing, _user_can_use_thing=lambda thing, user: user.has_perm(OTHER))
    with capture_checks() as outer:
        api(user).has_perm(PERM)
        with capture_checks() as inner:
            api(user).has_perm(PERM, thing)
    api(user).has_perm(PERM)
    assert [(each.perm, each.granted) for each in inner] == [(OTHER, False), (PERM, False)]
    assert inner[1].nested == (inner[0],)
    assert [each.perm for each in outer] == [PERM, OTHER, PERM]


@pytest.mark.django_db(transaction=True)
@pytest.mark.usefixtures("connections_of_threads")
async def test_checks_of_tasks_are_captured():
    user = await User.objects.acreate(username="user.name")
    with capture_checks() as captured:
        await asyncio.gather(*(user.ahas_perm(f"testapp.{each}") for each in "abc"))
    assert {each.perm for each in captured} == {"testapp.a", "testapp.b", "testapp.c"}
