"""The system checks: each mistake has an id, and a hint that names its cure."""

from __future__ import annotations

from functools import partialmethod, wraps
from typing import Any

import pytest
from asgiref.sync import markcoroutinefunction, sync_to_async
from django.apps import apps as installed
from django.contrib.auth.backends import BaseBackend, ModelBackend
from django.contrib.auth.models import AbstractBaseUser, AbstractUser, PermissionsMixin
from django.core.checks import Error, Tags, run_checks
from django.core.checks import Warning as CheckWarning
from django.core.exceptions import ImproperlyConfigured
from django.core.management import CommandError, call_command
from django.db import models
from django.test.utils import isolate_apps
from django.utils.functional import cached_property

from djem_async import checks
from djem_async.access import nonblocking
from djem_async.auth import ObjectPermissionsBackend
from djem_async.models import Loggable, OLPMixin

from .testapp.models import Thing

# Django's own checks ask MySQL and MariaDB for their version.
pytestmark = pytest.mark.django_db(databases=["default", "other"])

# Model definitions of a test go to an app of Django's, emptied: an app without a user model.
APP = "sessions"

MODEL_BACKEND = "django.contrib.auth.backends.ModelBackend"
OUR_BACKEND = "djem_async.auth.ObjectPermissionsBackend"


@pytest.fixture
def apps():
    with isolate_apps(f"django.contrib.{APP}") as isolated:
        yield isolated


def find(app_configs: Any = None, tags: Any = None) -> list[Any]:
    """Run Django's checks and keep the messages of this package."""
    found = run_checks(app_configs=app_configs, tags=tags)
    return [message for message in found if message.id.startswith("djem_async.")]


def find_without_annotations() -> list[Any]:
    """Find messages for another user model than the one that the test models are annotated with."""
    return [message for message in find() if message.id != "djem_async.W008"]


@pytest.fixture
def find_in(apps):
    """Find messages about models that are defined on the spot."""

    def define(*bases: type, meta: dict[str, Any] | None = None, **attributes: Any) -> list[Any]:
        make(*bases, meta=meta, **attributes)
        return find(apps.get_app_configs())

    return define


def make(*bases: type, meta: dict[str, Any] | None = None, **attributes: Any) -> type[models.Model]:
    options = type("Meta", (), {"app_label": APP, **(meta or {})})
    names = {"__module__": __name__, "Meta": options, **attributes}
    return type("Item", bases or (models.Model,), names)


def ids(messages: list[Any]) -> list[str]:
    return sorted(message.id.removeprefix("djem_async.") for message in messages)


def method(self, user):
    return True


async def amethod(self, user):
    return True


# A project without mistakes


def test_the_test_project_is_without_fault(capsys):
    call_command("check", fail_level="DEBUG")

    assert "no issues" in capsys.readouterr().out


def test_the_checks_make_no_queries(django_assert_num_queries):
    with django_assert_num_queries(0):
        for check in (
            checks.check_settings,
            checks.check_user_model,
            checks.check_access_methods,
            checks.check_backends,
        ):
            assert check() == []


def test_the_checks_run_with_djangos_for_models_and_security(settings):
    settings.AUTHENTICATION_BACKENDS = [OUR_BACKEND]
    settings.DJEM_UNIVERSAL_OLP = "yes"

    assert ids(find(tags=[Tags.security])) == ["E004", "W003"]
    assert ids(find(tags=[Tags.models])) == []


def test_access_methods_and_user_models_are_checked_with_models(apps, settings):
    settings.AUTHENTICATION_BACKENDS = [OUR_BACKEND]
    make(_user_can_view_item=None)

    assert ids(find(apps.get_app_configs(), [Tags.models])) == ["E005"]
    assert ids(find(apps.get_app_configs(), [Tags.security])) == ["W003"]


def test_other_apps_than_those_asked_for_are_left_alone(apps):
    make(_user_can_view_item=None)

    assert ids(find(apps.get_app_configs())) == ["E005"]
    assert find() == []
    assert find([installed.get_app_config("auth")]) == []


def test_an_error_stops_the_command(settings):
    settings.DJEM_UNIVERSAL_OLP = "yes"

    with pytest.raises(CommandError, match=r"djem_async\.E004"):
        call_command("check")


# E001: the order of bases


class Base(AbstractBaseUser):
    USERNAME_FIELD = "password"

    class Meta:
        abstract = True
        app_label = APP


class MyPermissions(PermissionsMixin):
    """Somebody's own variation."""

    class Meta:
        abstract = True


@pytest.mark.parametrize(
    "bases",
    [
        (AbstractUser, OLPMixin),
        (Base, PermissionsMixin, OLPMixin),
        (PermissionsMixin, OLPMixin, Base),
        (MyPermissions, OLPMixin, Base),
    ],
)
def test_the_mixin_after_what_it_extends_is_an_error(find_in, bases):
    (message,) = find_in(*bases)

    assert isinstance(message, Error)
    assert ids([message]) == ["E001"]
    assert message.obj.__name__ == "Item"
    assert "Item lists OLPMixin after" in message.msg
    assert "class Item(OLPMixin, AbstractUser)" in message.hint


@pytest.mark.parametrize(
    "bases",
    [
        (OLPMixin, AbstractUser),
        (Base, OLPMixin, PermissionsMixin),
        (OLPMixin, Base, PermissionsMixin),
        (OLPMixin, MyPermissions, Base),
        (OLPMixin, Base),
        (AbstractUser,),
        (OLPMixin, models.Model),
    ],
)
def test_the_mixin_before_what_it_extends_is_right(find_in, bases):
    assert find_in(*bases) == []


# E002, E003, E005: the methods themselves


def no_argument(self):
    return True


def two_arguments(self, user, more):
    return True


def keyword_argument(self, user, *, more):
    return True


@staticmethod
def static_without_argument():
    return True


@pytest.mark.parametrize("name", ["_user_can_view_item", "_group_can_view_item"])
@pytest.mark.parametrize(
    "wrong",
    [
        no_argument,
        two_arguments,
        keyword_argument,
        static_without_argument,
        partialmethod(method, 1),
    ],
)
def test_the_wrong_number_of_arguments_is_an_error(find_in, name, wrong):
    (message,) = find_in(**{name: wrong})

    argument = "user" if "user" in name else "groups"
    assert isinstance(message, Error)
    assert ids([message]) == ["E002"]
    assert f"Item.{name} cannot be called with one argument, the {argument}" in message.msg
    assert f"def {name}(self, {argument})" in message.hint


def variable(self, *args):
    return True


def with_default(self, user, more=None, **kwargs):
    return True


def decorated(function):
    @wraps(function)
    def wrapper(*args, **kwargs):
        return function(*args, **kwargs)

    return wrapper


class Granting:
    """A callable object: no method, so it is called with the user alone."""

    def __call__(self, user):
        return True


@pytest.mark.parametrize(
    "right",
    [
        method,
        amethod,
        variable,
        with_default,
        staticmethod(lambda user: True),
        classmethod(lambda cls, user: True),
        partialmethod(two_arguments, more=1),
        partialmethod(lambda self, more, user: True, 1),
        decorated(method),
        nonblocking(lambda self, user: True),
        Granting(),
        bool,
        property(lambda self: None),
        cached_property(lambda self: None),
    ],
    ids=lambda right: getattr(right, "__name__", type(right).__name__),
)
def test_what_can_be_called_with_one_argument_is_right(find_in, right):
    assert find_in(_user_can_view_item=right) == []


def test_what_does_not_tell_its_arguments_is_let_be(find_in):
    """`dict.get` and its like are written in C; this one has no signature to read."""
    assert find_in(_user_can_view_item=staticmethod(max)) == []


@pytest.mark.parametrize("name", ["_auser_can_view_item", "_agroup_can_view_item"])
def test_a_twin_that_is_not_async_is_an_error(find_in, name):
    (message,) = find_in(**{name: method})

    assert isinstance(message, Error)
    assert ids([message]) == ["E003"]
    assert f"Item.{name} is not `async def`" in message.msg
    assert f"name it {name.replace('_a', '_')}" in message.hint


def test_the_other_name_of_a_twin_differs_in_its_prefix_alone(find_in):
    (message,) = find_in(_auser_can_add_item=method)
    assert "name it _user_can_add_item." in message.hint


@pytest.mark.parametrize(
    "right",
    [
        amethod,
        decorated(amethod),
        staticmethod(sync_to_async(lambda user: True)),
        markcoroutinefunction(lambda self, user: None),
        partialmethod(amethod),
        classmethod(amethod),
    ],
    ids=lambda right: getattr(right, "__name__", type(right).__name__),
)
def test_a_twin_that_is_as_good_as_async_is_right(find_in, right):
    assert find_in(_auser_can_view_item=right) == []


@pytest.mark.parametrize(
    "wrong",
    [
        None,
        True,
        "allow",
        models.BooleanField(default=True),
        models.ManyToManyField("auth.Group", related_name="+"),
    ],
    ids=lambda wrong: type(wrong).__name__,
)
def test_what_is_no_method_is_an_error(find_in, wrong):
    (message,) = find_in(_user_can_view_item=wrong)

    assert isinstance(message, Error)
    assert ids([message]) == ["E005"]
    assert "Item._user_can_view_item is" in message.msg
    assert "takes the user, or remove it" in message.hint


def test_each_method_is_reported_by_itself(find_in):
    found = find_in(
        _user_can_view_item=no_argument,
        _auser_can_view_item=no_argument,
        _group_can_change_item=None,
        _agroup_can_change_item=method,
    )

    assert ids(found) == ["E002", "E002", "E003", "E003", "E005"]


def test_inherited_methods_are_reported_for_the_model(find_in, apps):
    class Mixin:
        _user_can_view_item = no_argument

    (message,) = find_in(Mixin, models.Model)

    assert message.obj is apps.get_model(APP, "Item")


def test_a_mistake_that_a_subclass_has_corrected_is_none(find_in):
    class Mixin:
        _user_can_view_item = no_argument

    assert find_in(Mixin, models.Model, _user_can_view_item=method) == []


# W001: permissions that a model does not have


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
    async_or_not = amethod if name.startswith("_a") else method
    (message,) = find_in(meta={"permissions": [("publish", "Publish")]}, **{name: async_or_not})

    assert isinstance(message, CheckWarning)
    assert ids([message]) == ["W001"]
    assert f"Item.{name} is for a permission that Item does not have" in message.msg
    assert message.msg.endswith(f"Did you mean {guess}?") if guess else "Did you" not in message.msg
    assert "add '" in message.hint
    assert "to Meta.permissions" in message.hint


@pytest.mark.parametrize("codename", ["add_item", "change_item", "delete_item", "view_item"])
def test_the_default_permissions_are_known(find_in, codename):
    assert find_in(**{f"_user_can_{codename}": method}) == []


def test_permissions_of_a_model_are_known(find_in):
    meta = {"default_permissions": ("view", "share"), "permissions": (("use", "Use"),)}

    assert find_in(meta=meta, _user_can_use=method, _user_can_share_item=method) == []


@pytest.mark.parametrize("codename", ["add_item", "change_item", "delete_item", "view_item"])
def test_default_permissions_that_were_given_up_are_not_known(find_in, codename):
    found = find_in(meta={"default_permissions": ()}, **{f"_user_can_{codename}": method})

    assert ids(found) == ["W001"]


def test_permissions_of_ancestors_are_known(apps):
    class Parent(models.Model):
        _user_can_use = method
        _user_can_change_parent = method

        class Meta:
            app_label = APP
            permissions = [("use", "Use")]

    class Abstract(models.Model):
        class Meta:
            abstract = True
            permissions = [("share", "Share")]

    class Child(Abstract, Parent):
        _user_can_use = method
        _user_can_share = method
        _user_can_change_child = method
        _user_can_delete_parent = method

        class Meta(Abstract.Meta):
            app_label = APP

    class Proxy(Child):
        _user_can_change_proxy = method
        _user_can_add_child = method
        _user_can_polish = method

        class Meta:
            app_label = APP
            proxy = True
            permissions = [("polish", "Polish")]

    assert {Parent, Child, Proxy} <= set(apps.get_models())
    assert find(apps.get_app_configs()) == []


def test_permissions_of_descendants_are_not_known(apps):
    class Parent(models.Model):
        _user_can_change_child = method

        class Meta:
            app_label = APP

    class Child(Parent):
        class Meta:
            app_label = APP

    (message,) = find(apps.get_app_configs())

    assert (ids([message]), message.obj) == (["W001"], Parent)


# E004: settings


@pytest.mark.parametrize(
    ("name", "value", "choices"),
    [
        ("DJEM_UNIVERSAL_OLP", "False", "True, False"),
        ("DJEM_UNIVERSAL_OLP", 1, "True, False"),
        ("DJEM_UNIVERSAL_OLP", None, "True, False"),
        ("DJEM_PERM_LOG_VERBOSITY", 3, "0, 1, 2"),
        ("DJEM_PERM_LOG_VERBOSITY", -1, "0, 1, 2"),
        ("DJEM_PERM_LOG_VERBOSITY", True, "0, 1, 2"),
        ("DJEM_PERM_LOG_VERBOSITY", "1", "0, 1, 2"),
        ("DJEM_PERM_LOG_VERBOSITY", None, "0, 1, 2"),
        ("DJEM_DEFAULT_403", "yes", "True, False"),
        ("DJEM_DEFAULT_403", 0, "True, False"),
    ],
)
def test_an_invalid_setting_is_an_error(settings, name, value, choices):
    setattr(settings, name, value)

    (message,) = find()

    assert isinstance(message, Error)
    assert ids([message]) == ["E004"]
    assert f"{name} is {value!r}. It must be one of: {choices}." in message.msg
    assert "settings" in message.hint


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("DJEM_UNIVERSAL_OLP", True),
        ("DJEM_UNIVERSAL_OLP", False),
        ("DJEM_PERM_LOG_VERBOSITY", 0),
        ("DJEM_PERM_LOG_VERBOSITY", 1),
        ("DJEM_PERM_LOG_VERBOSITY", 2),
        ("DJEM_DEFAULT_403", True),
        ("DJEM_DEFAULT_403", False),
    ],
)
def test_a_valid_setting_is_right(settings, name, value):
    setattr(settings, name, value)

    assert find() == []


def test_every_invalid_setting_is_reported(settings):
    settings.DJEM_UNIVERSAL_OLP = settings.DJEM_PERM_LOG_VERBOSITY = settings.DJEM_DEFAULT_403 = "x"

    assert ids(find()) == ["E004"] * 3


@pytest.mark.parametrize("value", ["False", "True", 1, None])
def test_an_invalid_setting_grants_nothing(api, user, thing, settings, access_methods, value):
    access_methods(Thing, _user_can_use_thing=lambda *_: False)
    user.is_superuser = True
    settings.DJEM_UNIVERSAL_OLP = value

    with pytest.raises(ImproperlyConfigured, match="DJEM_UNIVERSAL_OLP"):
        api(user).has_perm("testapp.use_thing", thing)


@pytest.mark.parametrize("value", ["1", 3, True])
def test_an_invalid_verbosity_is_an_error_when_something_is_checked(api, user, settings, value):
    settings.DJEM_PERM_LOG_VERBOSITY = value

    for perm in ("testapp.use_thing", "testapp.change_thing"):
        with pytest.raises(ImproperlyConfigured, match="DJEM_PERM_LOG_VERBOSITY"):
            api(user).has_perm(perm)


# W002, W003, W005: backends


@pytest.mark.parametrize("backends", [[], [MODEL_BACKEND]])
def test_a_missing_backend_is_a_warning(settings, backends):
    settings.AUTHENTICATION_BACKENDS = backends

    (message,) = find()

    assert isinstance(message, CheckWarning)
    assert ids([message]) == ["W002"]
    assert f"{OUR_BACKEND} is missing from AUTHENTICATION_BACKENDS" in message.msg
    assert "so nothing asks the access methods of " in message.msg
    assert "Product" in message.msg
    assert f"Add it after {MODEL_BACKEND}" in message.hint


def test_a_missing_backend_that_nothing_needs_is_right(apps, settings):
    settings.AUTHENTICATION_BACKENDS = [MODEL_BACKEND]
    settings.AUTH_USER_MODEL = "testapp.PlainUser"
    assert find(apps.get_app_configs()) == []

    make(_user_can_view_item=method)
    (message,) = find(apps.get_app_configs())
    assert "so nothing asks the access methods of Item:" in message.msg


def test_a_missing_backend_is_a_warning_for_the_mixin_alone(apps, settings):
    settings.AUTHENTICATION_BACKENDS = [MODEL_BACKEND]

    (message,) = find(apps.get_app_configs())

    assert ids([message]) == ["W002"]
    assert "so nothing asks access methods:" in message.msg


@pytest.mark.parametrize("backends", [[OUR_BACKEND], [OUR_BACKEND, MODEL_BACKEND]])
def test_the_backend_in_front_of_those_that_load_users_is_a_warning(settings, backends):
    settings.AUTHENTICATION_BACKENDS = backends

    (message,) = find()

    assert isinstance(message, CheckWarning)
    assert ids([message]) == ["W003"]
    assert f"{OUR_BACKEND} is listed" in message.msg
    assert f"List it after {MODEL_BACKEND}" in message.hint


class LoadingBackend:
    def get_user(self, user_id):
        raise NotImplementedError


class BarrenBackend(BaseBackend):
    """It has a `get_user`, which knows nobody."""


class SpeechlessBackend:
    """It has no `get_user`."""


class OurBackend(ObjectPermissionsBackend):
    pass


@pytest.mark.parametrize(
    ("backends", "found"),
    [
        ([LoadingBackend, ObjectPermissionsBackend], []),
        ([LoadingBackend, ObjectPermissionsBackend, ModelBackend], []),
        ([LoadingBackend, OurBackend], []),
        ([BarrenBackend, ObjectPermissionsBackend, ModelBackend], ["W003"]),
        ([SpeechlessBackend, ObjectPermissionsBackend, ModelBackend], ["W003"]),
        ([OurBackend, ModelBackend], ["W003"]),
        ([OurBackend, ModelBackend, ObjectPermissionsBackend], ["W003"]),
    ],
)
def test_the_order_of_backends(settings, backends, found):
    settings.AUTHENTICATION_BACKENDS = [f"{cls.__module__}.{cls.__name__}" for cls in backends]

    assert ids(find()) == found


class LikeRules:
    """A backend on its own that knows no async."""

    def authenticate(self, *args, **kwargs):
        return None

    def has_perm(self, user, perm, *args, **kwargs):
        return True

    def has_module_perms(self, user, app_label):
        return True


class LikeGuardian:
    supports_object_permissions = True

    def authenticate(self, request, username=None, password=None):
        return None

    def has_perm(self, user_obj, perm, obj=None):
        return True

    def get_all_permissions(self, user_obj, obj=None):
        return set()


class LikeDjem(BaseBackend):
    """What it inherits in async form knows nothing of its own rules."""

    def has_perm(self, user_obj, perm, obj=None):
        return True

    def get_user_permissions(self, user_obj, obj=None):
        return set()


class AllPermissions(ModelBackend):
    def get_all_permissions(self, user_obj, obj=None):
        return set()


class GroupPermissions(ModelBackend):
    def get_group_permissions(self, user_obj, obj=None):
        return set()


class Inheriting(LikeDjem):
    pass


class AsyncOnly(ModelBackend):
    async def ahas_perm(self, user_obj, perm, obj=None):
        return True


class AsyncObjectRules(ObjectPermissionsBackend):
    """Its sync form knows nothing of this."""

    async def ahas_perm(self, user_obj, perm, obj=None):
        return True


@pytest.mark.parametrize(
    ("backend", "method"),
    [
        (LikeRules, "has_perm()"),
        (LikeGuardian, "has_perm()"),
        (LikeDjem, "has_perm()"),
        (Inheriting, "has_perm()"),
        (AllPermissions, "get_all_permissions()"),
        (GroupPermissions, "get_group_permissions()"),
        (AsyncOnly, "ahas_perm()"),
        (AsyncObjectRules, "ahas_perm()"),
    ],
)
def test_a_backend_with_a_method_in_one_form_only_is_a_warning(settings, backend, method):
    path = f"{__name__}.{backend.__name__}"
    settings.AUTHENTICATION_BACKENDS = [MODEL_BACKEND, path, OUR_BACKEND]

    (message,) = find()

    assert isinstance(message, CheckWarning)
    assert ids([message]) == ["W005"]
    assert message.msg.startswith(f"{path} has ")
    found = message.msg.partition(" in one form only")[0].removeprefix(f"{path} has ")
    assert method in found.split(", ")
    assert "Use OLPMixin" in message.hint
    assert "add the other form in a subclass" in message.hint


class CompletedRules(LikeRules):
    """The cure that the hint names."""

    async def ahas_perm(self, user, perm, *args, **kwargs):
        return True

    async def ahas_module_perms(self, user, app_label):
        return True


class CompletedDjem(LikeDjem):
    async def ahas_perm(self, user_obj, perm, obj=None):
        return True

    async def aget_user_permissions(self, user_obj, obj=None):
        return set()


class BothForms(ModelBackend):
    def has_perm(self, user_obj, perm, obj=None):
        return True

    async def ahas_perm(self, user_obj, perm, obj=None):
        return True


class SignsIn(ModelBackend):
    def authenticate(self, request, **kwargs):
        return None

    def user_can_authenticate(self, user):
        return True


class OwnObjectRules(ObjectPermissionsBackend):
    """Its inherited async form follows the override."""

    def has_perm(self, user_obj, perm, obj=None):
        return True


@pytest.mark.parametrize(
    "path",
    [
        *(
            f"django.contrib.auth.backends.{name}"
            for name in (
                "BaseBackend",
                "ModelBackend",
                "RemoteUserBackend",
                "AllowAllUsersModelBackend",
                "AllowAllUsersRemoteUserBackend",
            )
        ),
        *(
            f"{__name__}.{cls.__name__}"
            for cls in (
                CompletedRules,
                CompletedDjem,
                BothForms,
                SignsIn,
                OwnObjectRules,
                LoadingBackend,
            )
        ),
    ],
)
def test_a_backend_with_both_forms_is_right(settings, path):
    settings.AUTHENTICATION_BACKENDS = [MODEL_BACKEND, path, OUR_BACKEND]

    assert find() == []


# W004: settings that need the mixin


@pytest.mark.parametrize(
    ("name", "value"), [("DJEM_UNIVERSAL_OLP", True), ("DJEM_PERM_LOG_VERBOSITY", 1)]
)
def test_a_setting_that_needs_the_mixin_is_a_warning_without_it(settings, name, value):
    settings.AUTH_USER_MODEL = "testapp.PlainUser"
    setattr(settings, name, value)

    (message,) = find_without_annotations()

    assert isinstance(message, CheckWarning)
    assert ids([message]) == ["W004"]
    assert f"{name} is set, but has no effect: the user model testapp.PlainUser" in message.msg
    assert "djem_async.models.OLPMixin" in message.hint


def test_settings_that_are_off_need_no_mixin(settings):
    settings.AUTH_USER_MODEL = "testapp.PlainUser"
    assert find_without_annotations() == []

    settings.DJEM_UNIVERSAL_OLP = False
    settings.DJEM_PERM_LOG_VERBOSITY = 0
    settings.DJEM_DEFAULT_403 = True
    assert find_without_annotations() == []


# W006: one form overridden


@pytest.mark.parametrize("name", ["has_perm", "has_perms", "has_module_perms"])
def test_an_async_form_that_is_overridden_alone_is_a_warning(find_in, name):
    (message,) = find_in(OLPMixin, AbstractUser, **{f"a{name}": amethod})

    assert isinstance(message, CheckWarning)
    assert ids([message]) == ["W006"]
    assert f"Item overrides a{name}() but not {name}()" in message.msg
    assert f"Override {name}() as well, or {name}() alone" in message.hint


def test_the_class_that_overrides_is_named(find_in):
    class Mixin:
        ahas_perm = amethod

    (message,) = find_in(Mixin, OLPMixin, AbstractUser)

    assert "Mixin overrides ahas_perm()" in message.msg
    assert message.obj.__name__ == "Item"


@pytest.mark.parametrize(
    "attributes", [{"has_perm": method}, {"has_perm": method, "ahas_perm": amethod}]
)
def test_a_sync_form_may_be_overridden_alone(find_in, attributes):
    assert find_in(OLPMixin, AbstractUser, **attributes) == []


# W007: overrides that are never called


class OwnBase(AbstractUser):
    def has_perm(self, perm, obj=None):
        return True

    async def ahas_perm(self, perm, obj=None):
        return True

    class Meta:
        abstract = True


class PlainMixin:
    def has_perm(self, perm, obj=None):
        return True


class LoggableMixin(Loggable):
    def has_perm(self, perm, obj=None):
        return True


@pytest.mark.parametrize(
    ("bases", "names"),
    [
        ((OLPMixin, OwnBase), ["OwnBase.has_perm()", "OwnBase.ahas_perm()"]),
        ((OLPMixin, PlainMixin, AbstractUser), ["PlainMixin.has_perm()"]),
        ((OLPMixin, LoggableMixin, AbstractUser), ["LoggableMixin.has_perm()"]),
    ],
)
def test_an_override_behind_the_mixin_is_a_warning(find_in, bases, names):
    found = find_in(*bases)

    assert [message.msg.split()[0] for message in found] == names
    for message in found:
        assert isinstance(message, CheckWarning)
        assert message.id == "djem_async.W007"
        assert "is never called: OLPMixin is listed ahead of" in message.msg
        assert "in Item, or in a class that is listed ahead of OLPMixin" in message.hint


def test_a_mistake_is_found_behind_a_model_that_is_no_user(apps):
    make()
    options = type("Meta", (), {"app_label": APP})
    names = {"__module__": __name__, "Meta": options}
    type("Late", (AbstractUser, OLPMixin), names)
    assert ids(find(apps.get_app_configs())) == ["E001"]


def test_an_override_in_front_of_the_mixin_is_right(find_in):
    assert find_in(PlainMixin, OLPMixin, AbstractUser) == []
