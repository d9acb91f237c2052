"""`OLPMixin`: `has_perms`, and overrides in subclasses."""

from collections.abc import Iterator
from typing import Any

import pytest
from asgiref.sync import async_to_sync
from django.contrib.auth.models import AbstractUser, Group
from django.test.utils import isolate_apps

from djem_async.models import OLPMixin
from tests.conftest import PERM, adeny, deny, permission
from tests.testapp.models import Thing, User

DELETE = "testapp.delete_thing"


def user_class(*bases: type, **attributes: Any) -> type[Any]:
    """Make a user model that inherits from ``bases``, and uses the table of `User`."""
    meta = {"app_label": "testapp", "db_table": User._meta.db_table}
    if issubclass(bases[0], User):
        meta = {"app_label": "testapp", "proxy": True}
    names = {"__module__": __name__, "Meta": type("Meta", (), meta), **attributes}
    with isolate_apps("tests.testapp"):
        return type("StrictUser", bases, names)


@pytest.mark.parametrize(
    ("perms", "granted"),
    [
        ([], True),
        ((PERM, PERM), True),
        ({PERM}, True),
        ([PERM, DELETE], False),
        ([DELETE, PERM], False),
    ],
)
@pytest.mark.parametrize("kind", [list, iter])
@pytest.mark.parametrize("on_object", [False, True])
def test_has_perms_needs_all_permissions(api, user, thing, perms, granted, kind, on_object):
    assert api(user).has_perms(kind(perms), *[thing] * on_object) is granted


def test_has_perms_stops_at_the_first_denial(api, user):
    def perms() -> Iterator[str]:
        yield DELETE
        raise AssertionError("Another permission was asked for.")

    assert api(user).has_perms(perms()) is False


@pytest.mark.parametrize("perms", [PERM, "", 42, None])
def test_has_perms_refuses_what_is_not_an_iterable_of_permissions(api, user, perms):
    with pytest.raises(ValueError, match="must be an iterable of permissions"):
        api(user).has_perms(perms)


# Overrides in a subclass


def only_staff(self: Any, *args: Any, **kwargs: Any) -> Any:
    return self.is_staff and User.has_perm(self, *args, **kwargs)


async def aonly_staff(self: Any, *args: Any, **kwargs: Any) -> Any:
    return self.is_staff and await User.ahas_perm(self, *args, **kwargs)


@pytest.mark.parametrize("is_staff", [False, True])
@pytest.mark.parametrize(
    "overrides",
    [{"has_perm": only_staff}, {"has_perm": only_staff, "ahas_perm": aonly_staff}],
    ids=["has_perm", "both"],
)
@pytest.mark.parametrize("verbosity", [0, 2])
@pytest.mark.parametrize("depth", [1, 2])
def test_an_overridden_has_perm_is_called_by_every_check(
    api, user, thing, access_methods, settings, overrides, is_staff, verbosity, depth
):
    settings.DJEM_PERM_LOG_VERBOSITY = verbosity
    kind = user_class(User, **overrides)
    user = (kind if depth == 1 else user_class(kind)).objects.get(pk=user.pk)
    user.is_staff = is_staff
    access_methods(Thing, _user_can_delete_thing=lambda self, user: user.has_perm(PERM))
    user.user_permissions.add(permission(DELETE))
    assert api(user).has_perm(PERM) is is_staff
    assert api(user).has_perm(PERM, thing) is is_staff
    assert api(user).has_perms([PERM], thing) is is_staff
    assert (PERM in api(user).get_all_permissions(thing)) is is_staff
    assert api(user).has_perm(DELETE, obj=thing) is is_staff


def test_an_override_that_a_subclass_extends_in_both_forms_is_called_by_both_apis(api, user):
    async def aextend(self: Any, *args: Any) -> Any:
        return await kind.ahas_perm(self, *args)

    kind = user_class(User, has_perm=only_staff)
    extended = user_class(kind, has_perm=lambda *args: kind.has_perm(*args), ahas_perm=aextend)
    user = extended.objects.get(pk=user.pk)
    for user.is_staff in (False, True):
        assert api(user).has_perm(PERM) is user.is_staff


METHODS = {
    "has_perm": (PERM,),
    "has_perms": ([PERM],),
    "has_module_perms": ("testapp",),
    "get_user_permissions": (),
    "get_group_permissions": (),
    "get_all_permissions": (),
}


@pytest.mark.parametrize("name", METHODS)
def test_an_overridden_sync_method_is_called_by_both_apis(api, user, name):
    user.groups.add(group := Group.objects.create(name="staff"))
    group.permissions.add(permission(PERM))
    args = METHODS[name]
    assert getattr(api(user), name)(*args)
    empty = deny if name.startswith("has") else lambda self, obj=None: set()
    user = user_class(User, **{name: empty}).objects.get(pk=user.pk)
    assert not getattr(api(user), name)(*args)


@pytest.mark.parametrize("name", ["has_perm", "has_perms", "has_module_perms"])
@pytest.mark.parametrize("form", ["sync", "both"])
def test_an_override_listed_after_the_mixin_is_the_same_in_both_apis(user, name, form):
    """The mixin may replace it, but not in one API alone."""

    class Base(AbstractUser):
        class Meta:
            abstract = True
            app_label = "testapp"

    for override, method in {name: deny, f"a{name}": adeny}.items():
        if form == "both" or override == name:
            setattr(Base, override, method)
    kind = user_class(OLPMixin, Base, groups=None, user_permissions=None)
    found = []
    for is_async in (False, True):
        user = kind.objects.get(pk=user.pk)
        user.is_superuser = True
        check = getattr(user, f"a{name}" if is_async else name)
        found.append((async_to_sync(check) if is_async else check)(*METHODS[name]))
    assert found[0] is found[1]


def test_an_overridden_clear_perm_cache_is_called_by_both_apis(api, user):
    cleared: list[Any] = []
    kind = user_class(User, clear_perm_cache=lambda self: cleared.append(self))
    user = kind.objects.get(pk=user.pk)
    api(user).clear_perm_cache()
    assert cleared == [user]


def test_check_that_a_user_instance_overrides_counts_in_both_apis(api, user):
    user.has_perm = lambda perm, obj=None: False
    assert api(user).has_perm(PERM) is False
