"""`djem_async.auth.backends`: asked directly and through users of every kind."""

import subprocess
import sys
import threading
from types import SimpleNamespace
from typing import Any

import pytest
from asgiref.sync import async_to_sync
from django.contrib.auth import authenticate, get_backends
from django.contrib.auth.backends import BaseBackend
from django.contrib.auth.models import AnonymousUser
from django.core.exceptions import ImproperlyConfigured, PermissionDenied
from django.utils.functional import SimpleLazyObject

from djem_async.access import nonblocking
from djem_async.auth import ObjectPermissionsBackend
from djem_async.models import OLPMixin
from tests.conftest import grant, permission
from tests.testapp.models import Gate, PlainUser, SpecialThing, Thing, ThingProxy, User

pytestmark = pytest.mark.usefixtures("begins")

PERM = "testapp.use_thing"
SETS = ("get_user_permissions", "get_group_permissions", "get_all_permissions")


@pytest.fixture
def backend(api):
    return api(ObjectPermissionsBackend())


@pytest.fixture
def never(access_methods):
    """Access methods that must not run."""

    def fail(self: Any, argument: Any) -> Any:
        raise AssertionError("An access method was asked.")

    access_methods(Thing, _user_can_use_thing=fail, _group_can_use_thing=fail)


@pytest.fixture
def grants(access_methods):
    access_methods(Thing, _user_can_use_thing=lambda self, user: True)


@pytest.fixture
def denies(access_methods):
    access_methods(Thing, _user_can_use_thing=lambda self, user: False)


@pytest.fixture(params=[0, 1, 2])
def verbosity(request, settings):
    settings.DJEM_PERM_LOG_VERBOSITY = request.param
    return request.param


# What it is asked about


@pytest.mark.usefixtures("never")
def test_it_has_no_say_without_an_object(backend, user):
    assert backend.has_perm(user, PERM) is False
    assert backend.has_perm(user, PERM, None) is False
    for name in SETS:
        assert getattr(backend, name)(user) == set()
        assert getattr(backend, name)(user, None) == set()


@pytest.mark.parametrize(
    "obj",
    [
        object(),
        "a thing",
        "",
        0,
        [],
        Thing,
        Thing.objects,
        SimpleNamespace(pk=1, _user_can_use_thing=lambda user: True),
        SimpleNamespace(_state=None, _user_can_use_thing=lambda user: True),
        SimpleLazyObject(lambda: None),
    ],
    ids=lambda obj: type(obj).__name__,
)
def test_it_abstains_where_the_object_is_no_model_instance(backend, api, user, obj, verbosity):
    assert backend.has_perm(user, PERM, obj) is False
    assert api(user).has_perm(PERM, obj) is False
    for name in SETS:
        assert getattr(backend, name)(user, obj) == set()


@pytest.mark.parametrize("perm", [None, 42, ("testapp.use_thing",), b"testapp.use_thing"])
def test_it_abstains_where_the_permission_is_no_string(backend, user, thing, perm):
    assert backend.has_perm(user, perm, thing) is False


@pytest.mark.parametrize("falsy", [{"__len__": lambda self: 0}, {"__bool__": lambda self: False}])
@pytest.mark.parametrize("answer", [True, False])
def test_the_truth_value_of_an_object_never_matters(
    backend, api, user, thing, access_methods, falsy, answer, verbosity
):
    access_methods(Thing, _user_can_use_thing=lambda self, user: answer, **falsy)
    assert not thing
    assert api(user).has_perm(PERM, thing) is answer
    assert backend.has_perm(user, PERM, thing) is answer
    for name in ("get_user_permissions", "get_all_permissions"):
        assert (PERM in getattr(backend, name)(user, thing)) is answer


@pytest.mark.parametrize("perm", ["use_thing", "", ".", "testapp.", ".use_thing", "a.b.use_thing"])
@pytest.mark.usefixtures("grants")
def test_malformed_names_are_denied(api, user, thing, perm):
    assert api(user).has_perm(perm, thing) is False


# The model level


@pytest.mark.usefixtures("never")
def test_without_the_model_level_no_access_method_runs(api, backend, user, thing):
    user.user_permissions.clear()
    assert backend.has_perm(user, PERM, thing) is False
    assert api(user).has_perm(PERM, thing) is False
    for name in SETS:
        assert getattr(backend, name)(user, thing) == set()


def test_with_the_model_level_an_object_without_access_methods_is_open(api, backend, user, thing):
    assert backend.has_perm(user, PERM, thing) is True
    assert api(user).has_perm(PERM, thing) is True
    for name in SETS:
        assert getattr(backend, name)(user, thing) == {PERM}


class Decided:
    """A user whose model level is what its one method says. It has no groups, and is no model."""

    is_active = True
    is_anonymous = False
    pk = 1

    def __init__(self, answer: Any) -> None:
        self.answer = answer
        self.asked: list[Any] = []


class SyncOnly(Decided):
    def has_perm(self, perm: str, obj: Any = None) -> Any:
        self.asked.append((perm, obj))
        return self.answer


class AsyncOnly(Decided):
    async def ahas_perm(self, perm: str, obj: Any = None) -> Any:
        self.asked.append((perm, obj))
        return self.answer


class BothForms(SyncOnly, AsyncOnly):
    has_perm = SyncOnly.has_perm
    ahas_perm = AsyncOnly.ahas_perm


class AsyncHasPerm(Decided):
    async def has_perm(self, perm: str, obj: Any = None) -> Any:
        self.asked.append((perm, obj))
        return self.answer


@pytest.mark.parametrize("kind", [SyncOnly, AsyncOnly, BothForms, AsyncHasPerm])
@pytest.mark.parametrize("answer", [True, False, None, 1, ""])
@pytest.mark.usefixtures("verbosity")
def test_the_model_level_is_what_the_user_says(backend, thing, kind, answer):
    user = kind(answer)
    assert backend.has_perm(user, PERM, thing) is bool(answer)
    assert user.asked == [(PERM, None)]
    assert (PERM in backend.get_all_permissions(user, thing)) is bool(answer)


def test_a_user_without_any_has_perm_is_an_error(backend, thing):
    with pytest.raises(AttributeError, match="has_perm"):
        backend.has_perm(Decided(True), PERM, thing)


def test_exceptions_of_the_model_level_propagate(backend, thing):
    class Failing(Decided):
        def has_perm(self, perm: str, obj: Any = None) -> Any:
            raise ValueError("x")

    with pytest.raises(ValueError, match="x"):
        backend.has_perm(Failing(True), PERM, thing)


class ForAnybody:
    """Grants everything at the model level, even to strangers."""

    def has_perm(self, user_obj: Any, perm: str, obj: Any = None) -> bool:
        return obj is None

    async def ahas_perm(self, user_obj: Any, perm: str, obj: Any = None) -> bool:
        return obj is None


@pytest.fixture
def for_anybody(settings):
    settings.AUTHENTICATION_BACKENDS = [
        f"{__name__}.ForAnybody",
        "djem_async.auth.ObjectPermissionsBackend",
    ]


@pytest.mark.usefixtures("for_anybody", "grants")
def test_the_model_level_may_come_from_any_backend(api, backend, thing):
    user = User.objects.create_user("user.name")
    assert api(user).has_perm("testapp.change_thing", thing) is True
    assert PERM in backend.get_all_permissions(user, thing)


# Who is asked about


class ActiveStranger(AnonymousUser):
    is_active = True


@pytest.mark.usefixtures("for_anybody", "never", "verbosity")
@pytest.mark.parametrize("kind", [AnonymousUser, ActiveStranger])
def test_anonymous_users_are_denied(api, backend, thing, kind):
    user = kind()
    assert api(user).has_perm(PERM) is True
    assert api(user).has_perm(PERM, thing) is False
    assert backend.has_perm(user, PERM, thing) is False
    for name in SETS:
        assert getattr(backend, name)(user, thing) == set()


@pytest.mark.usefixtures("for_anybody", "never", "verbosity")
@pytest.mark.parametrize("kind", [User, PlainUser])
@pytest.mark.parametrize("is_superuser", [False, True])
@pytest.mark.parametrize("is_universal", [False, True])
def test_inactive_users_are_denied(api, backend, thing, settings, kind, is_superuser, is_universal):
    settings.DJEM_UNIVERSAL_OLP = is_universal
    user = kind(pk=1, is_active=False, is_superuser=is_superuser)
    assert api(user).has_perm(PERM, thing) is False
    assert backend.has_perm(user, PERM, thing) is False
    for name in SETS:
        assert getattr(backend, name)(user, thing) == set()


@pytest.mark.usefixtures("never", "verbosity")
def test_a_superuser_is_granted_without_access_methods(api, backend, user, thing):
    user.is_superuser = True
    assert backend.has_perm(user, PERM, thing) is True
    assert api(user).has_perm(PERM, thing) is True
    for name in SETS:
        assert PERM in getattr(backend, name)(user, thing)


@pytest.mark.usefixtures("denies", "verbosity")
def test_universal_olp_asks_access_methods_about_superusers(api, backend, user, thing, settings):
    settings.DJEM_UNIVERSAL_OLP = True
    user.is_superuser = True
    assert backend.has_perm(user, PERM, thing) is False
    assert api(user).has_perm(PERM, thing) is False
    assert api(user).has_perm("testapp.delete_thing", thing) is True
    assert PERM not in backend.get_all_permissions(user, thing)
    assert "testapp.delete_thing" in backend.get_all_permissions(user, thing)


@pytest.fixture
def plain_user(db):
    user = PlainUser.objects.create(name="plain")
    user.user_permissions.add(permission(PERM))
    return PlainUser.objects.get(pk=user.pk)


@pytest.mark.usefixtures("verbosity")
@pytest.mark.parametrize("answer", [True, False])
def test_a_user_model_without_the_mixin_works(
    api, backend, plain_user, thing, access_methods, answer
):
    assert not isinstance(plain_user, OLPMixin)
    access_methods(Thing, _user_can_use_thing=lambda self, user: user is plain_user and answer)
    assert api(plain_user).has_perm(PERM, thing) is answer
    assert backend.has_perm(plain_user, PERM, thing) is answer
    for name in ("get_user_permissions", "get_all_permissions"):
        assert getattr(api(plain_user), name)(thing) == ({PERM} if answer else set())


def test_djangos_own_user_model_works():
    """In a process of its own: one process has one user model."""
    run = subprocess.run(
        [sys.executable, "-W", "error", "-m", "tests.stock_user"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (run.returncode, run.stdout, run.stderr) == (0, "", "")


@pytest.mark.usefixtures("denies", "verbosity")
def test_a_lazy_user_and_a_lazy_object_stand_for_the_real_ones(
    api, backend, user, thing, access_methods
):
    seen: list[Any] = []
    access_methods(Thing, _user_can_use_thing=lambda self, user: bool(seen.extend((self, user))))
    lazy_user = SimpleLazyObject(lambda: SimpleLazyObject(lambda: user))
    lazy_thing = SimpleLazyObject(lambda: SimpleLazyObject(lambda: thing))
    for check in (
        lambda: backend.has_perm(lazy_user, PERM, lazy_thing),
        lambda: api(lazy_user).has_perm(PERM, lazy_thing),
    ):
        user.clear_perm_cache()
        seen.clear()
        assert check() is False
        assert seen[0] is thing
        assert seen[1] is user
    assert backend.get_all_permissions(lazy_user, lazy_thing) == set()


def test_a_lazy_object_does_not_hide_a_property_that_fails(api, user, thing, access_methods):
    access_methods(Thing, _user_can_use_thing=property(lambda self: self.misspelt))
    lazy = SimpleLazyObject(lambda: SimpleLazyObject(lambda: thing))
    with pytest.raises(AttributeError, match="misspelt"):
        api(user).has_perm(PERM, lazy)


def test_a_lazy_user_shares_its_cache_and_logs(api, backend, user, thing, access_methods, settings):
    settings.DJEM_PERM_LOG_VERBOSITY = 1
    calls: list[Any] = []
    access_methods(
        Thing, _user_can_use_thing=lambda self, user: calls.append(user) or user.log("asked")
    )
    lazy_user = SimpleLazyObject(lambda: user)
    assert not backend.has_perm(lazy_user, PERM, thing)
    assert not api(user).has_perm(PERM, thing)
    assert len(calls) == 1
    assert "asked" in user.get_last_log()


@pytest.mark.parametrize("source", ["group", "agroup"])
def test_a_group_method_needs_a_user_with_groups(backend, thing, access_methods, source):
    async def method(self: Any, groups: Any) -> bool:
        return True

    access_methods(Thing, **{f"_{source}_can_use_thing": method})
    with pytest.raises(ImproperlyConfigured, match=r"SyncOnly has none.*PermissionsMixin"):
        backend.has_perm(SyncOnly(True), PERM, thing)


# Permission sets


ALL = {f"testapp.{action}_thing" for action in ("add", "change", "delete", "view", "use")}
OF_CHILD = {f"testapp.{action}_specialthing" for action in ("add", "change", "delete", "view")}
OF_PROXY = {f"testapp.{action}_thingproxy" for action in ("add", "change", "delete", "view")}


@pytest.mark.parametrize(
    ("model", "expected"),
    [
        (Thing, ALL),
        (ThingProxy, ALL | OF_PROXY),
        (SpecialThing, ALL | OF_CHILD),
        (Gate, {"testapp.open_gate"}),
    ],
)
@pytest.mark.parametrize("is_superuser", [False, True])
def test_a_set_has_the_permissions_of_the_model_and_of_those_it_inherits_from(
    api, backend, user, model, expected, is_superuser
):
    if is_superuser:
        user.is_superuser = True
    else:
        user = grant(user, *expected, "testapp.change_otherthing")
    obj = model.objects.create()
    for name in ("get_user_permissions", "get_all_permissions"):
        assert getattr(backend, name)(user, obj) == expected
        assert getattr(api(user), name)(obj) == expected


def test_a_set_has_what_a_check_would_grant(api, backend, user, thing, access_methods):
    user = grant(user, *ALL - {"testapp.view_thing"})
    access_methods(
        Thing,
        _user_can_use_thing=lambda self, user: False,
        _group_can_use_thing=lambda self, groups: True,
        _user_can_change_thing=lambda self, user: True,
        _group_can_change_thing=lambda self, groups: False,
        _user_can_delete_thing=lambda self, user: False,
    )
    granted = {perm for perm in ALL if api(user).has_perm(perm, thing)}
    assert granted == {PERM, "testapp.change_thing", "testapp.add_thing"}
    assert backend.get_all_permissions(user, thing) == granted
    assert backend.get_user_permissions(user, thing) == granted - {PERM}
    assert backend.get_group_permissions(user, thing) == {
        PERM,
        "testapp.add_thing",
        "testapp.delete_thing",  # its user method might as well be undefined
    }


@pytest.mark.django_db(databases=["default", "other"])
def test_permissions_on_objects_of_another_database_are_found(backend, user):
    elsewhere = Thing.objects.using("other").create()
    assert backend.get_all_permissions(user, elsewhere) == {PERM}


@pytest.mark.parametrize("unsaved", [True, False])
def test_a_set_of_an_unsaved_object(backend, user, unsaved, grants):
    assert backend.get_all_permissions(user, Thing()) == {PERM}


def test_an_exception_of_an_access_method_leaves_no_set(api, user, thing, access_methods):
    def fail(self: Any, user: Any) -> bool:
        raise ValueError("x")

    access_methods(Thing, _user_can_use_thing=fail)
    with pytest.raises(ValueError, match="x"):
        api(user).get_all_permissions(thing)


def test_permission_denied_leaves_one_permission_out(api, user, thing, access_methods):
    def refuse(self: Any, user: Any = None) -> Any:
        raise PermissionDenied

    user = grant(user, *ALL)
    access_methods(Thing, _user_can_use_thing=refuse)
    assert api(user).get_all_permissions(thing) == ALL - {PERM}


@pytest.mark.parametrize("verbosity", [1, 2])
@pytest.mark.parametrize("name", SETS)
def test_a_set_leaves_no_log_of_the_object(
    api, backend, user, thing, access_methods, settings, name, verbosity
):
    settings.DJEM_PERM_LOG_VERBOSITY = verbosity
    access_methods(
        Thing,
        _user_can_use_thing=lambda self, user: not user.log("asked"),
        _group_can_use_thing=lambda self, groups: not user.log("asked"),
    )
    user.start_log("active meanwhile")
    assert getattr(backend, name)(user, thing) == {PERM}
    assert user.end_log() == ("active meanwhile", [])
    with pytest.raises(KeyError, match="No log found"):
        user.get_log(f"auto-{PERM}-{thing.pk}")
    with pytest.raises(KeyError, match="No active log"):
        user.log("outside")
    # The checks of the model level are logged as ever.
    assert "RESULT: Permission Granted" in user.get_log(f"auto-{PERM}")
    assert "RESULT: Permission Denied" in user.get_log("auto-testapp.change_thing")


# Its place among Django's backends


def test_it_is_no_base_backend():
    """Django would take it for one that loads users, see its docstring."""
    assert not issubclass(ObjectPermissionsBackend, BaseBackend)
    assert not hasattr(ObjectPermissionsBackend, "get_user")
    assert not hasattr(ObjectPermissionsBackend, "aget_user")


def test_it_authenticates_nobody(api, backend):
    assert backend.authenticate(None, username="user.name", password="secret") is None


def test_signing_in_works_beside_it(db, rf, settings):
    settings.AUTHENTICATION_BACKENDS = settings.AUTHENTICATION_BACKENDS[::-1]
    user = User.objects.create_user("user.name", password="secret")
    found = authenticate(rf.post("/"), username="user.name", password="secret")
    assert found == user
    assert found.backend == "django.contrib.auth.backends.ModelBackend"
    assert authenticate(rf.post("/"), username="user.name", password="wrong") is None


def test_it_has_the_methods_of_a_permission_backend_in_both_forms():
    (_, backend) = get_backends()
    assert type(backend) is ObjectPermissionsBackend
    for name in ("authenticate", "has_perm", *SETS):
        assert callable(getattr(backend, name))
        assert callable(getattr(backend, f"a{name}"))


class Stricter(ObjectPermissionsBackend):
    """Overrides one sync form alone."""

    def has_perm(self, user_obj: Any, perm: str, obj: Any = None) -> bool:
        return user_obj.is_staff and super().has_perm(user_obj, perm, obj)

    def get_all_permissions(self, user_obj: Any, obj: Any = None) -> set[str]:
        return super().get_all_permissions(user_obj, obj) if user_obj.is_staff else set()


@pytest.mark.usefixtures("grants")
@pytest.mark.parametrize("is_staff", [False, True])
def test_a_subclass_that_overrides_sync_forms_is_honoured_in_async(
    api, user, thing, settings, is_staff
):
    settings.AUTHENTICATION_BACKENDS = [
        "django.contrib.auth.backends.ModelBackend",
        f"{__name__}.Stricter",
    ]
    user.is_staff = is_staff
    assert api(user).has_perm(PERM, thing) is is_staff
    assert api(Stricter()).has_perm(user, PERM, thing) is is_staff
    assert (PERM in api(user).get_all_permissions(thing)) is is_staff


@pytest.mark.parametrize("name", ["has_perm", *SETS])
def test_what_was_not_awaited_has_no_truth_value(user, thing, name):
    backend = ObjectPermissionsBackend()
    args = (user, PERM, thing) if name == "has_perm" else (user, thing)
    with pytest.raises(TypeError, match=rf"\.a{name}\(\) was not awaited"):
        bool(getattr(backend, f"a{name}")(*args))
    assert async_to_sync(getattr(backend, f"a{name}"))(*args) == getattr(backend, name)(*args)


def test_a_lazy_object_is_loaded_where_queries_may_be_made(api, user, thing, access_methods):
    access_methods(Thing, _user_can_use_thing=lambda self, user: self.pk == thing.pk)
    lazy = SimpleLazyObject(lambda: Thing.objects.get(pk=thing.pk))
    assert api(user).has_perm("testapp.use_thing", lazy) is True


@pytest.mark.parametrize(
    "name", ["get_user_permissions", "get_group_permissions", "get_all_permissions"]
)
def test_an_async_set_follows_an_override_of_the_sync_form(user, thing, name):
    found = {"testapp.made_up"}
    kind = type("Own", (ObjectPermissionsBackend,), {name: lambda self, user, obj=None: found})
    assert async_to_sync(getattr(kind(), f"a{name}"))(user, thing) is found


@pytest.mark.parametrize("is_held", [True, False])
def test_the_result_of_the_model_level_is_logged(api, user, thing, settings, is_held):
    settings.DJEM_PERM_LOG_VERBOSITY = 1
    if not is_held:
        user.user_permissions.clear()
    assert api(user).has_perm("testapp.use_thing", thing) is is_held
    word = "Granted" if is_held else "Denied"
    assert f"Model-level Result: {word}\n" in user.get_last_log()


@pytest.mark.parametrize("mark", [nonblocking, lambda method: method])
def test_only_what_is_marked_is_called_on_the_event_loop(user, thing, access_methods, mark):
    threads: list[int] = []

    def decide(self: Any, argument: Any) -> bool:
        threads.append(threading.get_ident())
        return False

    # Two, so that each is looked at anew.
    access_methods(Thing, _user_can_use_thing=mark(decide), _group_can_use_thing=mark(decide))

    async def check() -> int:
        assert not await user.ahas_perm("testapp.use_thing", thing)
        return threading.get_ident()

    loops = async_to_sync(check)()
    assert len(threads) == 2
    assert [thread == loops for thread in threads] == [mark is nonblocking] * 2


@pytest.mark.parametrize("perm", [7, None, b"testapp.use_thing", object()])
def test_a_permission_that_is_no_text_is_denied(user, thing, perm):
    backend: Any = ObjectPermissionsBackend()
    assert backend.has_perm(user, perm, thing) is False
    assert async_to_sync(backend.ahas_perm)(user, perm, thing) is False


@pytest.mark.parametrize("perm", [None, 7, b"testapp.use_thing", ["testapp.use_thing"]])
def test_what_is_no_name_of_a_permission_is_denied(backend, user, thing, grants, perm):
    assert backend.has_perm(user, PERM, thing) is True
    assert backend.has_perm(user, perm, thing) is False


@pytest.mark.parametrize("is_lazy_user", [True, False])
def test_the_object_of_a_check_may_be_lazy(backend, user, thing, access_methods, is_lazy_user):
    access_methods(Thing, _user_can_use_thing=lambda self, user: self.pk == thing.pk)
    asking = SimpleLazyObject(lambda: user) if is_lazy_user else user
    assert backend.has_perm(asking, PERM, SimpleLazyObject(lambda: thing)) is True
    assert backend.has_perm(asking, PERM, SimpleLazyObject(lambda: Thing(pk=0))) is False
