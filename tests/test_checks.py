"""The system checks: each mistake has an id, and a hint that names the fix."""

import functools
from collections import abc
from typing import Annotated, Any, Literal, NewType, Optional, Protocol, TypeGuard, TypeVar, Union

import pytest
from asgiref.sync import markcoroutinefunction, sync_to_async
from django.apps import apps as installed
from django.contrib.auth import models as auth
from django.contrib.auth.models import AbstractUser, Group, PermissionsMixin
from django.core.checks import Tags, run_checks
from django.core.management import CommandError, call_command
from django.db import models
from django.db.models import Manager, QuerySet
from django.utils.functional import cached_property

from djem_async import protocols
from djem_async.access import nonblocking
from djem_async.models import Loggable, OLPMixin
from tests.checks import APP, amethod, find, ids, make, method
from tests.conftest import OUR_BACKEND, decorated
from tests.testapp.models import Supplier, Thing, User

# Django's own checks ask MySQL and MariaDB for their version.
pytestmark = pytest.mark.django_db(databases=["default", "other"])


# What is checked


def test_the_test_project_has_no_mistakes(capsys, settings):
    call_command("check", fail_level="DEBUG")
    assert "no issues" in capsys.readouterr().out
    settings.DJEM_UNIVERSAL_OLP = "yes"
    with pytest.raises(CommandError, match=r"djem_async\.E004"):
        call_command("check")


def test_the_checks_have_the_tags_models_and_security(apps, settings):
    settings.AUTHENTICATION_BACKENDS = [OUR_BACKEND]
    settings.DJEM_UNIVERSAL_OLP = "yes"
    make(_user_can_view_item=None)
    assert ids(find(apps.get_app_configs(), [Tags.models])) == ["E005"]
    assert ids(find(apps.get_app_configs(), [Tags.security])) == ["E004", "W003"]
    assert find([installed.get_app_config("auth")], [Tags.models]) == []


# E001: the order of bases


class Base(auth.AbstractBaseUser):
    USERNAME_FIELD = "password"

    class Meta:
        abstract = True
        app_label = APP


class MyPermissions(PermissionsMixin):
    """Somebody's own variation."""

    class Meta:
        abstract = True


WRONG_ORDERS = [
    *((AbstractUser, OLPMixin), (Base, PermissionsMixin, OLPMixin)),
    *((PermissionsMixin, OLPMixin, Base), (MyPermissions, OLPMixin, Base)),
]
RIGHT_ORDERS = [
    *((OLPMixin, AbstractUser), (Base, OLPMixin, PermissionsMixin), (OLPMixin, Base)),
    *((OLPMixin, MyPermissions, Base), (AbstractUser,), (OLPMixin, models.Model)),
]


@pytest.mark.parametrize(
    ("bases", "found"),
    [(bases, ["E001"]) for bases in WRONG_ORDERS] + [(bases, []) for bases in RIGHT_ORDERS],
)
def test_the_mixin_is_listed_before_what_it_extends(find_in, bases, found):
    messages = find_in(*bases)
    assert ids(messages) == found
    for message in messages:
        assert message.obj.__name__ == "Item"
        assert "class Item(OLPMixin, AbstractUser)" in message.hint


# E002, E003, E005: the methods themselves


def no_argument(self):
    return True


def two_arguments(self, user, more):
    return True


def keyword_argument(self, user, *, more):
    return True


class Granting:
    """A callable object isn't bound, so it is called with the user alone."""

    def __call__(self, user):
        return True


ASYNC = [
    *(amethod, decorated(amethod), functools.partialmethod(amethod), classmethod(amethod)),
    staticmethod(sync_to_async(lambda user: True)),
    markcoroutinefunction(lambda self, user: None),
]
RIGHT = [
    *(method, decorated(method), nonblocking(decorated(method)), *ASYNC),
    *(lambda self, *args: True, lambda self, user, more=None, **kwargs: True),
    *(staticmethod(lambda user: True), classmethod(lambda cls, user: True)),
    functools.partialmethod(two_arguments, more=1),
    functools.partialmethod(lambda self, more, user: True, 1),
    *(Granting(), bool, property(lambda self: None), cached_property(lambda self: None)),
    staticmethod(max),  # has no signature
]
NO_METHODS = [
    *(None, True, "allow", models.BooleanField()),
    models.ManyToManyField(Group, related_name="+"),
]
WRONG = [
    *(no_argument, two_arguments, keyword_argument),
    *(staticmethod(lambda: True), functools.partialmethod(method, 1)),
]
MISTAKES = [
    *(("E002", f"_{source}_can_view_item", each) for source in ("user", "group") for each in WRONG),
    *(("E003", f"_a{source}_can_view_item", method) for source in ("user", "group")),
    *(("E005", "_user_can_view_item", each) for each in NO_METHODS),
]
HINTS = {"E002": "def {name}(self, {argument})", "E003": " {twin}", "E005": ""}


@pytest.mark.parametrize(("number", "name", "wrong"), MISTAKES)
def test_what_cannot_be_a_method_is_an_error(find_in, number, name, wrong):
    (message,) = find_in(**{name: wrong})
    assert ids([message]) == [number]
    assert f"Item.{name}" in message.msg
    argument = "groups" if "group" in name else "user"
    hint = HINTS[number].format(name=name, argument=argument, twin=name.replace("_a", "_"))
    assert hint in message.hint
    assert ("`async def`" in message.hint) >= (number == "E003")


@pytest.mark.parametrize(
    ("name", "right"),
    [("_user_can_view_item", each) for each in RIGHT]
    + [("_auser_can_view_item", each) for each in ASYNC],
    ids=lambda right: getattr(right, "__name__", type(right).__name__),
)
def test_what_can_be_called_with_one_argument_is_right(find_in, name, right):
    assert find_in(**{name: right}) == []


def test_each_method_is_reported_for_the_model_that_has_it(find_in, apps):
    class Mixin:
        _user_can_view_item = no_argument
        _user_can_add_item = no_argument

    found = find_in(
        Mixin,
        models.Model,
        _user_can_add_item=method,  # corrects it
        _auser_can_view_item=no_argument,
        _group_can_change_item=None,
        _agroup_can_change_item=method,
    )
    assert ids(found) == ["E002", "E002", "E003", "E003", "E005"]
    assert {message.obj for message in found} == {apps.get_model(APP, "Item")}


# W001, W012, W013: permissions


@pytest.mark.parametrize(
    ("name", "guess"),
    [
        ("_user_can_delete_itme", "delete_item"),
        ("_auser_can_veiw_item", "view_item"),
        ("_group_can_publsh", "publish"),
        ("_agroup_can_change_items", "change_item"),
        ("_user_can_change", "change_item"),
        ("_user_can_xyz", None),
        ("_user_can_", None),
    ],
)
def test_a_method_for_an_unknown_permission_is_a_warning(find_in, name, guess):
    meta = {"permissions": [("publish", "Publish")]}
    (message,) = find_in(meta=meta, **{name: amethod})
    assert ids([message]) == ["W001"]
    assert f"Item.{name}" in message.msg
    assert ("Did you mean" in message.msg) is bool(guess)
    assert (guess or "") in message.msg
    assert "Meta.permissions" in message.hint


@pytest.mark.parametrize(
    ("default", "known"), [(("add", "change", "delete", "view"), 4), (("share",), 0), ((), 0)]
)
def test_permissions_of_a_model_are_known_and_dropped_ones_are_not(find_in, default, known):
    meta = {"default_permissions": default, "permissions": [("use", "Use")]}
    names = ["use", *(f"{action}_item" for action in ("add", "change", "delete", "view"))]
    names += ["share_item"] * ("share" in default)
    found = find_in(meta=meta, **{f"_user_can_{name}": method for name in names})
    assert ids(found) == ["W001"] * (4 - known)


def test_children_and_proxies_need_access_methods_for_their_own_permissions(apps):
    class Parent(models.Model):
        _user_can_use = method
        _user_can_change_child = method  # declared by another model
        _user_can_view_parent = method

        class Meta:
            app_label = APP
            permissions = [("use", "Use")]

    class Abstract(models.Model):
        class Meta:
            abstract = True
            permissions = [("share", "Share")]

    class Child(Abstract, Parent):
        _user_can_share = method
        _user_can_delete_parent = method

        class Meta(Abstract.Meta):
            app_label = APP
            default_permissions = ("add", "change", "delete")

    class Proxy(Child):
        _user_can_change_proxy = method
        _user_can_add_child = method
        _user_can_polish = method

        class Meta:
            app_label = APP
            proxy = True
            permissions = [("polish", "Polish")]

    assert {Parent, Child, Proxy} <= set(apps.get_models())
    found = find(apps.get_app_configs())
    assert ids(found) == ["W012", "W012"]
    assert [message.obj for message in found] == [Child, Proxy]
    assert "inherited 'delete_parent', but none for its own 'delete_child'." in found[0].msg
    assert "inherited 'add_child', 'delete_parent', 'view_parent', but" in found[1].msg
    assert "its own 'add_proxy', 'delete_proxy', 'view_proxy'." in found[1].msg
    assert "`_user_can_delete_child`" in found[0].hint


@pytest.mark.parametrize(
    ("codename", "is_found"),
    [("use-it", True), ("use.it", True), ("use it", True), ("2fa", False), ("class", False)],
)
def test_a_permission_that_no_method_can_be_named_after_is_a_warning(find_in, codename, is_found):
    found = find_in(meta={"permissions": [(codename, "Use it")]})
    assert ids(found) == ["W013"] * is_found
    assert all(repr(codename) in message.msg for message in found)


# E004, W004: settings


@pytest.mark.parametrize("name", ["DJEM_UNIVERSAL_OLP", "DJEM_PERM_LOG_VERBOSITY"])
@pytest.mark.parametrize(("has_mixin", "value"), [(True, True), (False, True), (False, False)])
def test_a_setting_that_needs_the_mixin_is_a_warning_without_it(
    apps, settings, name, has_mixin, value
):
    settings.AUTH_USER_MODEL = "testapp.User" if has_mixin else "testapp.PlainUser"
    setattr(settings, name, int(value) if name == "DJEM_PERM_LOG_VERBOSITY" else value)
    settings.DJEM_DEFAULT_403 = True
    messages = find(apps.get_app_configs())
    assert ids(messages) == (["W004"] if value and not has_mixin else [])
    for message in messages:
        assert name in message.msg
        assert "testapp.PlainUser" in message.msg
        assert "djem_async.models.OLPMixin" in message.hint


def test_a_misspelt_setting_is_a_warning(settings):
    settings.DJEM_OPEN_BY_DEFUALT = False
    settings.DJEM_SOMETHING_ELSE = True
    (message,) = find(tags=[Tags.security])
    assert ids([message]) == ["W016"]
    assert "DJEM_OPEN_BY_DEFAULT" in message.hint


def test_each_invalid_setting_is_an_error(settings):
    wrong = {"DJEM_UNIVERSAL_OLP": 1, "DJEM_PERM_LOG_VERBOSITY": True, "DJEM_DEFAULT_403": "x"}
    for name, value in wrong.items():
        setattr(settings, name, value)
    messages = find()
    assert ids(messages) == ["E004"] * 3
    for message, (name, value) in zip(messages, wrong.items(), strict=True):
        assert f"{name} is {value!r}" in message.msg


# W006, W007, W015: overrides


class AsyncAlone:
    ahas_perm = amethod


class Overriding(Loggable):
    has_perm = method


def with_none(self, perm, obj=None):
    return True


async def awith_none(self, perm, *, obj=None):
    return True


class OwnBase(AbstractUser):
    has_perm = method
    ahas_perm = amethod

    class Meta:
        abstract = True


@pytest.mark.parametrize(
    ("bases", "attributes", "found"),
    [
        *(
            ((OLPMixin, AbstractUser), {f"a{name}": amethod}, [f"W006 Item overrides a{name}"])
            for name in ("has_perm", "has_perms", "has_module_perms")
        ),
        ((AsyncAlone, OLPMixin, AbstractUser), {}, ["W006 AsyncAlone overrides ahas_perm"]),
        ((OLPMixin, AbstractUser), {"has_perm": method}, []),
        ((OLPMixin, AbstractUser), {"has_perm": method, "ahas_perm": amethod}, []),
        ((Overriding, OLPMixin, AbstractUser), {}, []),
        ((OLPMixin, Overriding, AbstractUser), {}, ["W007 Overriding.has_perm"]),
        *(
            ((OLPMixin, type("Hidden", (), {name: method}), Base), {}, [f"W007 Hidden.{name}"])
            for name in ("has_module_perms", "get_all_permissions")
        ),
        ((OLPMixin, OwnBase), {}, ["W007 OwnBase.has_perm", "W007 OwnBase.ahas_perm"]),
        *(
            ((type("Passing", (), {name: passing}), OLPMixin, AbstractUser), {}, [found])
            for passing, name, found in (
                (with_none, "has_perm", "W015 Passing.has_perm"),
                (with_none, "has_perms", "W015 Passing.has_perms"),
                (decorated(with_none), "has_perm", "W015 Passing.has_perm"),
            )
        ),
        (
            (OLPMixin, AbstractUser),
            {"has_perm": method, "ahas_perm": awith_none},
            ["W015 Item.ahas_perm"],
        ),
        *(
            ((OLPMixin, AbstractUser), {"has_perm": passing_on}, [])
            for passing_on in (
                lambda self, perm, *args, **kwargs: True,
                lambda self, perm, obj="not given": True,
            )
        ),
    ],
)
def test_an_override_that_is_not_called_is_a_warning(find_in, bases, attributes, found):
    messages = find_in(*bases, **attributes)
    assert ids(messages) == [each[:4] for each in found]
    for message, each in zip(messages, found, strict=True):
        assert f"{each[5:]}()" in message.msg
        assert message.obj.__name__ == "Item"


# W008: annotations

AnyUser = TypeVar("AnyUser", bound=AbstractUser)
AnySupplier = TypeVar("AnySupplier", bound=Supplier)
EitherOf = TypeVar("EitherOf", Supplier, User)
NoUser = TypeVar("NoUser", Supplier, Thing)
Free = TypeVar("Free")
NewUser = NewType("NewUser", User)


class HasName(Protocol):
    def get_username(self) -> str: ...


class LaterUser(User):
    class Meta:
        app_label = "testapp"
        abstract = True


UNKNOWN = ("Decimal", "not (python", Any, Free, None)
USERS = [
    *(User, AbstractUser, auth.AbstractBaseUser, PermissionsMixin, OLPMixin, models.Model, object),
    *(HasName, protocols.SupportsLogging, protocols.SupportsObjectPermissions, NewUser, "User"),
    *(User | auth.AnonymousUser, Optional[User], Annotated[User, "x"], AnyUser),  # noqa: UP045
    *(EitherOf, "Literal['anna']", *UNKNOWN),
]
NOT_USERS = [
    *(Supplier, auth.AnonymousUser, "Supplier", Supplier | None, AnySupplier, NoUser, LaterUser),
    *(Union[Supplier, Thing], int, list[User], QuerySet[Group]),  # noqa: UP007
]
GROUPS = [
    *(QuerySet, QuerySet[Group], "QuerySet[Group]", "QuerySet[Decimal]", Manager[Group], object),
    *(Optional[QuerySet[Group]], abc.Iterable[Group], abc.Collection[Group]),  # noqa: UP045
    *UNKNOWN,
]
NOT_GROUPS = [
    *(Group, User, "User", Group | None, abc.Iterable[User], abc.Collection[str], list[Group]),
    abc.Sequence[Group],
]
BOOLS = [
    *(bool, "bool", Literal[True], Literal[True, False], TypeGuard[User], abc.Awaitable[bool]),
    *(abc.Coroutine[Any, Any, bool], bool | abc.Awaitable[bool], abc.Awaitable, "Never", *UNKNOWN),
]
NOT_BOOLS = [
    *(str, "str", "None", int, object, bool | None, Literal["yes"], Literal[1], list[bool]),
    *(abc.Awaitable[str], abc.Coroutine[Any, Any, str], abc.AsyncIterator[bool]),
]
PLACES = [
    *(("user", "argument", USERS, True), ("user", "argument", NOT_USERS, False)),
    *(("group", "argument", GROUPS, True), ("group", "argument", NOT_GROUPS, False)),
    *(("user", "return", BOOLS, True), ("user", "return", NOT_BOOLS, False)),
]


@pytest.mark.parametrize(
    ("source", "place", "annotation", "is_right"),
    [(*where, each, is_right) for *where, annotations, is_right in PLACES for each in annotations],
)
def test_the_annotations_of_a_method_are_checked(find_in, source, place, annotation, is_right):
    def access_method(self, argument):
        return True

    if annotation is not None:
        access_method.__annotations__ = {place: annotation}
    name = f"_{source}_can_view_item"
    messages = find_in(**{name: access_method})
    assert ids(messages) == ([] if is_right else ["W008"])
    for message in messages:
        assert f"Item.{name}" in message.msg
        assert f"{__file__}:{access_method.__code__.co_firstlineno}" in message.msg


def wrong(self: Thing, user: Supplier) -> str:
    return ""


async def awrong(self: Thing, user: "Decimal") -> str:  # noqa: F821 - can't be resolved
    return ""


@pytest.mark.parametrize(
    ("attribute", "count"),
    [
        (wrong, 2),
        (awrong, 1),
        (decorated(wrong), 2),
        (classmethod(wrong), 2),
        (staticmethod(functools.partial(wrong, None)), 0),  # not a function
    ],
)
def test_each_annotation_is_checked_in_every_kind_of_function(find_in, attribute, count):
    assert ids(find_in(_user_can_view_item=attribute)) == ["W008"] * count


def test_method_without_source_is_named_without_its_place(access_methods):
    made: dict[str, Any] = {"__name__": "made"}
    exec(compile("def _user_can_use_thing(self): return True", "nowhere.py", "exec"), made)
    access_methods(Thing, _user_can_use_thing=made["_user_can_use_thing"])
    found = {"defined in" in each.msg for each in run_checks() if each.id == "djem_async.E002"}
    assert found == {False}
