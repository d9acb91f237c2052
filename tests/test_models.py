"""`OLPMixin`: Django's permission methods, universal OLP, and one answer in both forms."""

from itertools import permutations
from typing import Any

import pytest
from asgiref.sync import async_to_sync
from django.contrib.auth.models import AbstractUser, Group
from django.core.exceptions import PermissionDenied
from django.db import models
from django.test.utils import isolate_apps
from django.utils.functional import SimpleLazyObject

from djem_async import models as models_module
from djem_async._warm import look_up
from djem_async.models import Loggable, OLPMixin
from tests.conftest import grant, permission
from tests.testapp.models import Thing, User

pytestmark = pytest.mark.usefixtures("learns")

PERM = "testapp.use_thing"
DELETE = "testapp.delete_thing"


def user_class(*bases: type, **attributes: Any) -> type[Any]:
    """Make a user model that inherits from ``bases``, and uses the table of `User`."""
    meta = {"app_label": "testapp", "db_table": User._meta.db_table}
    if any(issubclass(base, User) for base in bases):
        meta = {"app_label": "testapp", "proxy": True}
    with isolate_apps("tests.testapp"):
        return type(
            "StrictUser",
            bases,
            {"__module__": __name__, "Meta": type("Meta", (), meta), **attributes},
        )


def as_user(kind: type[Any], user: User) -> Any:
    return kind.objects.get(pk=user.pk)


# As Django's


def test_the_model_level(api, user):
    assert api(user).has_perm(PERM) is True
    assert api(user).has_perm(DELETE) is False
    assert api(user).has_perm("testapp.no_such_permission") is False


def test_permissions_through_groups(api, user):
    group = Group.objects.create(name="staff")
    group.permissions.add(permission(DELETE))
    user.groups.add(group)
    assert api(user).has_perm(DELETE) is True
    assert api(user).get_group_permissions() == {DELETE}
    assert api(user).get_user_permissions() == {PERM}
    assert api(user).get_all_permissions() == {PERM, DELETE}


def test_modules(api, user):
    assert api(user).has_module_perms("testapp") is True
    assert api(user).has_module_perms("auth") is False


@pytest.mark.parametrize("is_universal", [False, True])
def test_an_active_superuser_has_every_permission_at_the_model_level(
    api, user, settings, is_universal
):
    settings.DJEM_UNIVERSAL_OLP = is_universal
    user.is_superuser = True
    assert api(user).has_perm("no.such_permission") is True
    assert api(user).has_perms([PERM, "no.such_permission"]) is True
    assert api(user).has_module_perms("no_such_app") is True
    assert api(user).get_all_permissions() > {PERM, DELETE}
    user.is_active = False
    user.clear_perm_cache()
    assert api(user).has_perm(PERM) is False
    assert api(user).has_module_perms("testapp") is False
    assert api(user).get_all_permissions() == set()


# Several permissions


@pytest.mark.parametrize(
    ("perms", "granted"),
    [
        ([], True),
        ([PERM], True),
        ((PERM, PERM), True),
        ({PERM}, True),
        (iter([PERM]), True),
        ([PERM, DELETE], False),
        ([DELETE, PERM], False),
    ],
)
@pytest.mark.parametrize("with_object", [False, True])
def test_several_permissions_must_all_be_granted(api, user, thing, perms, granted, with_object):
    perms = list(perms)
    assert api(user).has_perms(perms, *[thing] * with_object) is granted
    assert api(user).has_perms((perm for perm in perms), *[thing] * with_object) is granted


def test_several_permissions_on_an_object(api, user, thing, access_methods):
    user = grant(user, DELETE)
    assert api(user).has_perms([PERM, DELETE], thing) is True
    access_methods(Thing, _user_can_delete_thing=lambda self, user: False)
    user.clear_perm_cache()
    assert api(user).has_perms([PERM, DELETE], thing) is False
    assert api(user).has_perms([PERM, DELETE]) is True
    assert api(user).has_perms([PERM], obj=thing) is True


def test_no_permission_is_asked_for_after_one_that_is_denied(api, user):
    def perms() -> Any:
        yield DELETE
        raise AssertionError("Another permission was asked for.")

    assert api(user).has_perms(perms()) is False


@pytest.mark.parametrize("perms", [PERM, "", 42, None])
def test_permissions_must_come_in_an_iterable(api, user, perms):
    with pytest.raises(ValueError, match="must be an iterable of permissions"):
        api(user).has_perms(perms)


# Universal OLP


def test_superusers_are_subject_to_access_methods_only_with_universal_olp(
    api, user, thing, access_methods, settings
):
    user.is_superuser = True
    access_methods(Thing, _user_can_delete_thing=lambda self, user: self.name == "good")
    good = Thing.objects.create(name="good")
    assert api(user).has_perm(DELETE, thing) is True
    settings.DJEM_UNIVERSAL_OLP = True
    assert api(user).has_perm(DELETE, thing) is False
    assert api(user).has_perm(DELETE, good) is True
    assert api(user).has_perm(PERM, thing) is True  # no access method
    assert api(user).has_perms([PERM, DELETE], thing) is False
    assert DELETE not in api(user).get_all_permissions(thing)
    settings.DJEM_UNIVERSAL_OLP = False
    assert api(user).has_perm(DELETE, thing) is True


def test_universal_olp_leaves_the_veto_to_other_backends(api, user, thing, settings):
    settings.DJEM_UNIVERSAL_OLP = True
    settings.AUTHENTICATION_BACKENDS = [
        f"{__name__}.Vetoes",
        "djem_async.auth.ObjectPermissionsBackend",
    ]
    user.is_superuser = True
    assert api(user).has_perm(PERM) is True
    assert api(user).has_perm(PERM, thing) is False


class Vetoes:
    def has_perm(self, user_obj: Any, perm: str, obj: Any = None) -> bool:
        raise PermissionDenied


@pytest.mark.parametrize("is_universal", [False, True])
def test_without_the_backend_an_ordinary_user_has_nothing_on_an_object(
    api, user, thing, settings, is_universal
):
    settings.DJEM_UNIVERSAL_OLP = is_universal
    settings.AUTHENTICATION_BACKENDS = ["django.contrib.auth.backends.ModelBackend"]
    assert api(user).has_perm(PERM, thing) is False
    user.is_superuser = True
    assert api(user).has_perm(PERM, thing) is not is_universal


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
def test_an_overridden_check_is_honoured_everywhere(
    api, user, thing, access_methods, settings, overrides, is_staff, verbosity
):
    settings.DJEM_PERM_LOG_VERBOSITY = verbosity
    user = as_user(user_class(User, **overrides), user)
    user.is_staff = is_staff
    assert api(user).has_perm(PERM) is is_staff
    assert api(user).has_perm(PERM, thing) is is_staff
    assert api(user).has_perms([PERM], thing) is is_staff
    assert (PERM in api(user).get_all_permissions(thing)) is is_staff
    access_methods(Thing, _user_can_use_thing=lambda self, user: user.has_perm(PERM))
    user.clear_perm_cache()
    assert api(user).has_perm(PERM, obj=thing) is is_staff


def test_an_override_counts_whatever_class_the_user_claims_to_have(api, user):
    kind = user_class(User, has_perm=only_staff, __class__=property(lambda self: User))
    user = as_user(kind, user)
    assert user.__class__ is User
    assert api(user).has_perm(PERM) is False


def test_a_cache_without_permissions_is_an_error_in_both_apis(api, user):
    user._perm_cache = None
    with pytest.raises(TypeError):
        api(user).has_perm(PERM)


def test_an_override_may_be_inherited(api, user):
    strict = user_class(User, has_perm=only_staff)
    user = as_user(user_class(strict), user)
    assert api(user).has_perm(PERM) is False


def never(self: Any, *args: Any, **kwargs: Any) -> bool:
    return False


async def anever(self: Any, *args: Any, **kwargs: Any) -> bool:
    return False


def nothing(self: Any, obj: Any = None) -> set[str]:
    return set()


@pytest.mark.parametrize(
    ("name", "override", "args"),
    [
        ("has_perms", never, ([PERM],)),
        ("has_module_perms", never, ("testapp",)),
        ("get_user_permissions", nothing, ()),
        ("get_group_permissions", nothing, ()),
        ("get_all_permissions", nothing, ()),
    ],
)
def test_other_overridden_methods_are_honoured_in_both_apis(api, user, name, override, args):
    user.groups.add(group := Group.objects.create(name="staff"))
    group.permissions.add(permission(PERM))
    assert getattr(api(user), name)(*args)
    user = as_user(user_class(User, **{name: override}), user)
    assert not getattr(api(user), name)(*args)


@pytest.mark.parametrize("name", ["has_perm", "has_perms", "has_module_perms"])
@pytest.mark.parametrize("form", ["sync", "both"])
def test_an_override_listed_after_the_mixin_counts_the_same_in_both_apis(user, name, form):
    """The mixin may replace it, but not in one API alone."""
    overrides = {name: never, **({f"a{name}": anever} if form == "both" else {})}

    class Base(AbstractUser):
        class Meta:
            abstract = True
            app_label = "testapp"

    for attribute, value in overrides.items():
        setattr(Base, attribute, value)
    groups = models.ManyToManyField(Group, related_name="+", db_table="testapp_user_groups")
    user = as_user(user_class(OLPMixin, Base, groups=groups, user_permissions=None), user)
    user._perm_cache = user._user_perm_cache = {PERM}
    user._group_perm_cache = set()
    args = {"has_perm": (PERM,), "has_perms": ([PERM],), "has_module_perms": ("testapp",)}[name]
    in_sync = getattr(user, name)(*args)
    assert async_to_sync(getattr(user, f"a{name}"))(*args) is in_sync


def test_an_overridden_clear_is_honoured_in_both_apis(api, user):
    cleared: list[Any] = []
    user = as_user(user_class(User, clear_perm_cache=lambda self: cleared.append(self)), user)
    api(user).clear_perm_cache()
    assert cleared == [user]


def test_an_overridden_end_of_logs_is_honoured_in_both_apis(api, user, settings):
    """It may do ORM work: the async API runs it where queries may be made."""
    settings.DJEM_PERM_LOG_VERBOSITY = 1

    def end_log(self: Any) -> Any:
        name, entries = Loggable.end_log(self)
        Thing.objects.create(name=name)
        return name, entries

    user = as_user(user_class(User, end_log=end_log), user)
    assert api(user).has_perm(PERM) is True
    assert Thing.objects.get().name == f"auto-{PERM}"


# Logs: what only the mixin does


def test_an_object_whose_text_is_a_query_can_be_logged(api, user, thing, access_methods, settings):
    settings.DJEM_PERM_LOG_VERBOSITY = 2
    access_methods(Thing, __str__=lambda self: f"one of {Thing.objects.count()}")
    assert api(user).has_perm(PERM, thing) is True
    assert f"Object: one of 1 ({thing.pk})" in user.get_last_log()


@pytest.mark.parametrize("verbosity", [0, 1, 2])
def test_a_check_that_is_closed_leaves_nothing_behind(user, thing, settings, verbosity):
    settings.DJEM_PERM_LOG_VERBOSITY = verbosity
    user._user_perm_cache, user._group_perm_cache = {PERM}, set()

    class Waiting:
        def __await__(self) -> Any:
            yield

    async def wait(self: Any, user: Any) -> None:
        await Waiting()

    thing._auser_can_use_thing = wait.__get__(thing)
    pending = user.ahas_perm(PERM, thing)
    pending.send(None)
    pending.close()
    with pytest.raises(KeyError, match="No active log"):
        user.log("outside")
    with pytest.raises(KeyError, match="No log found"):
        user.get_log(f"auto-{PERM}-{thing.pk}")
    del thing._auser_can_use_thing
    assert user.has_perm(PERM, thing) is True


# What is kept, and what is not


@pytest.mark.parametrize("is_steadily", [True, False])
@pytest.mark.parametrize("at", range(1, 12))
def test_nothing_is_kept_of_a_user_whose_superuser_flag_has_flickered(
    api, user, monkeypatch, at, is_steadily
):
    """In whichever moment: later checks go by what the flag is then."""
    perm, looks = "testapp.delete_thing", 0

    def is_superuser(self: Any) -> bool:
        nonlocal looks
        looks += 1
        return (looks == at) is not is_steadily

    user.is_superuser = is_steadily
    with monkeypatch.context() as patch:
        patch.setattr(User, "is_superuser", property(is_superuser, lambda self, value: None))
        api(user).has_perm(perm)
        assert looks
    assert api(user).has_perm(perm) is is_steadily


def test_a_known_answer_of_the_model_level_is_not_looked_for_again(api, user, monkeypatch):
    perm = "testapp.delete_thing"
    assert api(user).has_perm(perm) is False
    monkeypatch.setattr("djem_async.models.decide_for_user", None)
    assert api(user).has_perm(perm) is False
    thing = Thing(pk=1)
    thing._state.adding, thing._state.db = False, "default"
    assert api(user).has_perm(perm, thing) is False


def test_the_logged_check_of_a_superuser_under_universal_olp_becomes_known(api, user, settings):
    settings.DJEM_UNIVERSAL_OLP, settings.DJEM_PERM_LOG_VERBOSITY = True, 1
    user.is_superuser = True
    thing = Thing.objects.create()
    for _ in range(2):
        assert api(user).has_perm("testapp.use_thing", thing) is True
    assert look_up(user, "testapp.use_thing", thing) is True


def test_all_of_djangos_caches_can_be_deleted_in_any_order(user):
    names = ("_user_perm_cache", "_group_perm_cache", "_perm_cache")
    for order in permutations(names):
        assert user.has_perm("testapp.use_thing")
        for name in order:
            delattr(user, name)
        assert not any(hasattr(user, name) for name in names)
    with pytest.raises(AttributeError, match="_user_perm_cache"):
        del user._user_perm_cache


def test_what_is_public_is_named():
    assert sorted(models_module.__all__) == ["Loggable", "OLPMixin"]
    assert OLPMixin._perm_cache is vars(OLPMixin)["_perm_cache"]


class TakesObjects:
    """A backend of others, which has to be given the object itself."""

    given: list[Any] = []

    def has_perm(self, user_obj: User, perm: str, obj: Any = None) -> bool:
        self.given.append(obj)
        return False


@pytest.mark.parametrize("is_there", [True, False])
def test_other_backends_are_given_what_a_lazy_object_stands_for(api, user, settings, is_there):
    settings.AUTHENTICATION_BACKENDS = [f"{__name__}.TakesObjects"]
    thing = Thing(pk=1) if is_there else None
    lazy = SimpleLazyObject(lambda: thing)
    TakesObjects.given.clear()
    assert api(user).has_perm("testapp.use_thing", lazy) is False
    assert [given is (thing if is_there else lazy) for given in TakesObjects.given] == [True]
