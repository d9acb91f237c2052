"""What is asked of a user: which permission, on which object, and what a mistake there comes to."""

import enum
import uuid
from collections.abc import Callable
from typing import Any

import pytest
from django.contrib.auth.models import Permission
from django.db import models
from django.test.utils import isolate_apps

from djem_async.auth import ObjectPermissionsBackend
from djem_async.shortcuts import get_objects_for_user
from tests.conftest import PERM, allow, deny, grant, known_user, permission, stored
from tests.testapp.models import (
    OtherThing,
    PlainUser,
    Product,
    SpecialThing,
    Supplier,
    Thing,
    ThingProxy,
    User,
)

# An object that is None


@pytest.fixture
def ask_inside(api: Any, access_methods: Callable[..., None]) -> Callable[..., bool]:
    """Return a function that makes a check within an access method of another."""

    def ask(user: Any, name: str, *args: Any) -> bool:
        def decide(self: Thing, _: Any) -> bool:
            return getattr(user, name)(*args)

        async def adecide(self: Thing, _: Any) -> bool:
            return await getattr(user, f"a{name}")(*args)

        access_methods(Thing, _user_can_use_thing=decide, _auser_can_use_thing=adecide)
        return api(known_user(pk=2)).has_perm(PERM, stored())

    return ask


@pytest.mark.parametrize("is_superuser", [False, True])
@pytest.mark.parametrize(("name", "asked"), [("has_perm", PERM), ("has_perms", [PERM])])
def test_an_explicit_none_denies_inside_an_access_method(
    api, ask_inside, name, asked, is_superuser
):
    user = known_user()
    user.is_superuser = is_superuser
    assert ask_inside(user, name, asked, None) is False
    assert ask_inside(user, name, asked) is True
    assert getattr(api(user), name)(asked, None) is True


def test_an_explicit_none_is_logged(settings, ask_inside):
    settings.DJEM_PERM_LOG_VERBOSITY = 1
    user = known_user()
    ask_inside(user, "has_perm", PERM, None)
    entries = user.get_log(f"auto-{PERM}", raw=True)
    assert [(entry, entry.tags) for entry in entries] == [
        ("Object: None (an explicit None denies inside an access method)", ("auto",)),
        ("\nRESULT: Permission Denied", ("auto",)),
    ]


def has_perm_that_passes_on(self: User, perm: str, obj: Any = None) -> bool:
    return super(User, self).has_perm(perm, obj)


def has_perm_that_leaves_out(self: User, perm: str, *args: Any) -> bool:
    return super(User, self).has_perm(perm, *args)


@pytest.mark.parametrize(
    ("override", "granted"), [(has_perm_that_passes_on, False), (has_perm_that_leaves_out, True)]
)
def test_an_override_may_pass_none_on_for_the_model_level_of_an_object(
    api, access_methods, ask_inside, override, granted
):
    access_methods(User, has_perm=override)
    # The model level of another object is a step of the library's own.
    access_methods(Product, _user_can_view_product=allow)
    user = known_user()
    user._perm_cache = {PERM, "testapp.view_product"}
    assert ask_inside(user, "has_perm", "testapp.view_product", Product(pk=1)) is True
    assert ask_inside(user, "has_perm", PERM) is granted


# Arguments that are nothing to check


class Perms(enum.StrEnum):
    USE = PERM


class TextPerms(models.TextChoices):
    USE = PERM


class PlainEnum(enum.Enum):
    USE = PERM


@pytest.mark.parametrize("is_superuser", [False, True])
@pytest.mark.parametrize("perm", [PlainEnum.USE, 1, None, Permission(codename="use_thing"), b"x"])
def test_a_name_that_is_no_string_is_refused(api, perm, is_superuser):
    user = known_user()
    user.is_superuser = is_superuser
    for _ in range(2):
        for args in ((), (stored(),)):
            with pytest.raises(TypeError, match=r"such as 'app.view_model'"):
                api(user).has_perm(perm, *args)
        api(user).has_perm(PERM)  # warm from here on
    assert api(ObjectPermissionsBackend()).has_perm(user, perm, stored()) is False


@pytest.mark.parametrize("is_superuser", [False, True])
@pytest.mark.parametrize(
    "obj",
    [1, True, "1", "", b"1", uuid.uuid4(), Thing.objects.all()],
    ids=lambda o: type(o).__name__,
)
def test_a_key_or_a_queryset_instead_of_an_object_is_refused(api, obj, is_superuser):
    user = known_user()
    user.is_superuser = is_superuser
    for _ in range(2):
        with pytest.raises(TypeError, match="get_object_for_user"):
            api(user).has_perm(PERM, obj)
        api(user).has_perm(PERM)
    assert api(ObjectPermissionsBackend()).has_perm(user, PERM, obj) is False


@pytest.mark.parametrize("perm", [Perms.USE, TextPerms.USE], ids=["StrEnum", "TextChoices"])
def test_a_member_of_an_enum_of_strings_is_its_value(api, access_methods, perm):
    calls: list[Any] = []
    access_methods(Thing, _user_can_use_thing=lambda self, user: not calls.append(user))
    user = known_user()
    for name in (PERM, perm, perm):
        assert api(user).has_perm(name, stored()) is True
        assert api(user).has_perm(name) is True
    assert len(calls) == 1


# Permissions of other models


OTHERS = [
    ("testapp.delete_product", Supplier),
    ("testapp.use_thing", OtherThing),
    ("testapp.change_thingproxy", Thing),
    ("testapp.change_specialthing", Thing),
    ("auth.change_group", Thing),
]


@pytest.mark.parametrize(("perm", "model"), OTHERS)
@pytest.mark.parametrize("kind", [User, PlainUser])
@pytest.mark.usefixtures("db")
def test_a_permission_of_another_model_is_not_open(api, perm, model, kind):
    user = kind.objects.create(**{kind.USERNAME_FIELD: "holder"})
    user.user_permissions.add(permission(perm))
    obj = model(pk=1)
    obj._state.adding = False
    backend = api(ObjectPermissionsBackend())
    for _ in range(2):
        assert api(user).has_perm(perm) is True
        assert backend.has_perm(user, perm, obj) is False
    assert perm not in backend.get_all_permissions(user, obj)


@pytest.mark.parametrize(
    ("perm", "obj"),
    [
        (PERM, ThingProxy()),
        ("testapp.change_thingproxy", ThingProxy()),
        (PERM, SpecialThing()),
        ("testapp.no_model_has_it", Thing()),
        ("nowhere.use_thing", Thing()),
    ],
    ids=str,
)
def test_a_permission_of_its_own_or_of_nobody_is_open(api, perm, obj):
    user = known_user()
    user._perm_cache = {perm}
    assert api(user).has_perm(perm, obj) is True


def test_superusers_are_granted_permissions_of_other_models_as_by_django(api, superuser, settings):
    perm, supplier = "testapp.delete_product", Supplier(pk=1)
    assert api(superuser).has_perm(perm, supplier) is True
    settings.DJEM_UNIVERSAL_OLP = True
    assert api(superuser).has_perm(perm, supplier) is False


def test_a_model_owns_by_method_what_none_of_its_permissions_is_called(api, access_methods):
    user = known_user()
    user._perm_cache = {"testapp.add_product", "auth.change_supplier", "testapp.change_supplier"}
    methods = {"_user_can_add_product": allow, "_user_can_change_supplier": allow}
    assert api(user).has_perm("testapp.add_product", Supplier(pk=1)) is False
    api(user).clear_perm_cache()
    user._perm_cache = {"testapp.add_product", "auth.change_supplier", "testapp.change_supplier"}
    access_methods(Supplier, **methods)
    assert api(user).has_perm("testapp.add_product", Supplier(pk=1)) is True
    assert api(user).has_perm("testapp.change_supplier", Supplier(pk=1)) is True


@isolate_apps("tests.testapp", "django.contrib.auth", "django.contrib.contenttypes")
def test_models_of_one_name_are_kept_apart_by_the_app(api, monkeypatch):
    class Group(models.Model):
        """Not `django.contrib.auth.models.Group`, which owns ``auth.change_group``."""

        _user_can_change_group = allow

        class Meta:
            app_label = "testapp"

    user = known_user()
    user._perm_cache = {"auth.change_group", "testapp.change_group"}
    assert api(user).has_perm("testapp.change_group", Group(pk=1)) is True
    assert api(user).has_perm("auth.change_group", Group(pk=1)) is False


def test_a_prefetch_grants_no_permission_of_another_model(api, access_methods, db):
    access_methods(Supplier, _quser_can_change_supplier=classmethod(lambda cls, user: True))
    user = grant(User.objects.create_user("user.name"), "testapp.delete_product")
    supplier = Supplier.objects.create()
    api(user).prefetch_perms(["testapp.delete_product"], [supplier])
    assert api(user).has_perm("testapp.delete_product", supplier) is False


def test_the_codename_is_what_follows_the_first_dot(api, access_methods):
    user = known_user()
    user._perm_cache = {"testapp.a.use_thing"}
    access_methods(Thing, _user_can_use_thing=allow, **{"_user_can_a.use_thing": deny})
    assert api(user).has_perm("testapp.a.use_thing", stored()) is False


def test_a_codename_is_normalized_as_names_in_python_are(api, access_methods):
    micro_sign = "testapp.use_\u00b5scope"
    user = known_user()
    user._perm_cache = {micro_sign}
    exec("def _user_can_use_\u00b5scope(self, user): return False", methods := {})
    methods.pop("__builtins__")
    access_methods(Thing, **methods)
    assert api(user).has_perm(micro_sign, stored()) is False


# Closed by default


@pytest.fixture
def closed(settings: Any) -> None:
    settings.DJEM_OPEN_BY_DEFAULT = False


@pytest.mark.usefixtures("closed")
def test_without_an_access_method_a_closed_permission_is_denied(api, user, thing, access_methods):
    backend = api(ObjectPermissionsBackend())
    for _ in range(2):
        assert api(user).has_perm(PERM) is True
        assert api(user).has_perm(PERM, thing) is False
        assert backend.get_all_permissions(user, thing) == set()
    assert not get_objects_for_user(user, PERM, Thing)
    api(user).prefetch_perms([PERM], [thing])
    assert api(user).has_perm(PERM, thing) is False
    access_methods(Thing, _user_can_use_thing=allow)
    assert api(grant(user)).has_perm(PERM, thing) is True
    assert backend.get_group_permissions(grant(user), thing) == set()


@pytest.mark.usefixtures("closed")
def test_superusers_are_granted_what_is_closed_unless_they_are_asked(
    api, superuser, thing, settings
):
    backend = api(ObjectPermissionsBackend())
    assert api(superuser).has_perm(PERM, thing) is True
    assert PERM in backend.get_all_permissions(superuser, thing)
    assert thing in get_objects_for_user(superuser, PERM, Thing)
    settings.DJEM_UNIVERSAL_OLP = True
    assert api(superuser).has_perm(PERM, thing) is False
    assert PERM not in backend.get_all_permissions(superuser, thing)
    assert not get_objects_for_user(superuser, PERM, Thing)


def test_the_default_counts_at_once(api, user, thing, settings):
    for is_open in (True, False) * 2:
        settings.DJEM_OPEN_BY_DEFAULT = is_open
        assert api(user).has_perm(PERM, thing) is is_open
        assert (PERM in api(user).get_all_permissions(thing)) is is_open
        found = User.objects.with_perm(
            PERM, backend="djem_async.auth.ObjectPermissionsBackend", obj=thing
        )
        assert found.exists() is is_open
