"""Answers that are served without asking anybody are those that asking would give.

The reference is the same question put where nothing is known: to another instance of the user, and
with a further backend, which says nothing, but has to be asked in every check.
"""

from __future__ import annotations

import asyncio
import copy
import functools
import types
from contextlib import contextmanager
from functools import partial
from itertools import product
from typing import TYPE_CHECKING, Any
from unittest import mock

import pytest
from asgiref.sync import async_to_sync
from django.contrib.auth.backends import BaseBackend, ModelBackend
from django.contrib.auth.models import Group, Permission
from django.contrib.sessions.models import Session
from django.core.exceptions import ImproperlyConfigured, PermissionDenied
from django.db import DatabaseError, connection, models
from django.db.models.query_utils import DeferredAttribute
from django.test import override_settings
from django.test.utils import isolate_apps

from djem_async import _backends, _objects
from djem_async._backends import are_all_known
from djem_async._cache import (
    Decision,
    Generation,
    ObjectKey,
    Shortcut,
    Trust,
    permission_cache,
)
from djem_async._entries import AUTO, Entry
from djem_async._warm import learn_log, learn_shortcut, look_up
from djem_async.access import nonblocking
from djem_async.auth import ObjectPermissionsBackend
from djem_async.exceptions import PermissionRecursionError
from tests.conftest import Api, as_djangos, permission
from tests.testapp.models import (
    CompositeThing,
    Document,
    OtherThing,
    SpecialThing,
    Thing,
    ThingProxy,
    User,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

pytestmark = pytest.mark.usefixtures("learns")

PERM = "testapp.use_thing"
DJANGOS = "django.contrib.auth.backends.ModelBackend"
OURS = "djem_async.auth.ObjectPermissionsBackend"


def named(kind: type) -> str:
    return f"{__name__}.{kind.__qualname__}"


class Quiet(BaseBackend):
    """Grants and denies nothing."""

    def has_perm(self, user_obj: Any, perm: str, obj: Any = None) -> bool:
        return False


@contextmanager
def nothing_kept(settings: Any) -> Iterator[None]:
    backends = [*settings.AUTHENTICATION_BACKENDS, named(Quiet)]
    with override_settings(AUTHENTICATION_BACKENDS=backends):
        assert not are_all_known()
        yield


def reference(api: Api, settings: Any, user: User, obj: Any = None, perm: str = PERM) -> bool:
    """Ask where nothing is known."""
    stranger = type(user).objects.get(pk=user.pk)
    stranger.is_active, stranger.is_superuser = user.is_active, user.is_superuser
    with nothing_kept(settings):
        answer = api(stranger).has_perm(perm, obj)
        is_implicit = user.is_superuser and not settings.DJEM_UNIVERSAL_OLP
        assert is_implicit or look_up(stranger, perm, obj) is None
    return answer


# Worlds: what access methods there are, and what kind of object has them


class Base(models.Model):
    class Meta:
        abstract = True
        app_label = "testapp"


with isolate_apps("tests.testapp"):

    class Heir(Base):
        class Meta:
            app_label = "testapp"

    class MakesUp(models.Model):
        """Has methods that no class has."""

        made_up: Any = {}

        class Meta:
            app_label = "testapp"

        def __getattr__(self, name: str) -> Any:
            try:
                return partial(type(self).made_up[name], self)
            except KeyError:
                raise AttributeError(name) from None

    class Watched(models.Model):
        class Meta:
            app_label = "testapp"

        def __getattribute__(self, name: str) -> Any:
            return super().__getattribute__(name)

    class Looked(models.Model):
        """Tells when somebody asks for the dictionary of an object."""

        looks: Any = []

        class Meta:
            app_label = "testapp"

        @property
        def __dict__(self) -> Any:
            type(self).looks.append(self)
            return {}

    class OwnAttribute(DeferredAttribute):
        pass

    class OwnField(models.AutoField):
        descriptor_class = OwnAttribute

    class WithOwnAttribute(models.Model):
        id = OwnField(primary_key=True)

        class Meta:
            app_label = "testapp"

    class OwnPk(models.Model):
        """Its primary key is not what its attribute says."""

        class Meta:
            app_label = "testapp"

        @property
        def pk(self) -> Any:
            return self.id

        @pk.setter
        def pk(self, value: Any) -> None:
            self.id = value


def saved(model: type[models.Model], **fields: Any) -> Any:
    """Make an object that counts as saved, without a database."""
    obj = model(**fields)
    obj._state.adding, obj._state.db = False, "default"
    return obj


# What makes the object, the class that is given methods, and whether answers are kept.
SHAPES: dict[str, tuple[Callable[[], Any], type, bool]] = {
    "model": (lambda: saved(Thing, pk=1), Thing, True),
    "proxy": (lambda: saved(ThingProxy, pk=1), ThingProxy, True),
    "proxy's model": (lambda: saved(ThingProxy, pk=1), Thing, True),
    "child": (lambda: saved(SpecialThing, thing_ptr_id=1, id=1), SpecialThing, True),
    "child's parent": (lambda: saved(SpecialThing, thing_ptr_id=1, id=1), Thing, True),
    "heir": (lambda: saved(Heir, pk=1), Heir, True),
    "abstract base": (lambda: saved(Heir, pk=1), Base, True),
    "uuid": (lambda: saved(Document), Document, True),
    "text": (lambda: saved(Session, pk="a"), Session, True),
    "composite": (lambda: saved(CompositeThing, tenant=1, number=2), CompositeThing, False),
    "own pk": (lambda: saved(OwnPk, id=1), OwnPk, False),
    "watched": (lambda: saved(Watched, id=1), Watched, False),
    "own attribute": (lambda: saved(WithOwnAttribute, id=1), WithOwnAttribute, False),
    "unsaved": (Thing, Thing, False),
    "no pk": (lambda: saved(Thing), Thing, False),
    "pk of another type": (lambda: saved(Thing, pk=True), Thing, False),
}

METHODS = ("_user_can_use_thing", "_group_can_use_thing")
ASYNC_METHODS = ("_auser_can_use_thing", "_agroup_can_use_thing")


def say(answer: Any) -> Any:
    """Make a method."""

    def method(self: Any, argument: Any) -> Any:
        if isinstance(answer, BaseException):
            raise answer
        return answer

    return method


def asay(answer: Any) -> Any:
    async def method(self: Any, argument: Any) -> Any:
        return say(answer)(self, argument)

    return method


class OnInstances:
    """A method that instances have, and the class itself has not."""

    def __init__(self, method: Any) -> None:
        self.method = method

    def __get__(self, obj: Any, owner: type) -> Any:
        if obj is None:
            raise AttributeError
        return types.MethodType(self.method, obj)


FORMS: dict[str, Callable[[Any], Any]] = {
    "def": say,
    "async def": asay,
    "nonblocking": lambda answer: nonblocking(say(answer)),
    "property": lambda answer: property(lambda self: partial(say(answer), self)),
    "instances alone": lambda answer: OnInstances(say(answer)),
    "class method": lambda answer: classmethod(say(answer)),
}


def denying_property(self: Any) -> Any:
    raise PermissionDenied


def worlds() -> Iterator[tuple[str, dict[str, Any]]]:
    yield "open", {}
    for form, make in FORMS.items():
        for name in METHODS:
            for answer in (True, False):
                yield f"{form} {name} {answer}", {name: make(answer)}
    for answer in (None, 1, "", [0], PermissionDenied()):
        yield f"answer {answer!r}", {METHODS[0]: say(answer)}
    for answers in ((False, True), (False, False), (True, False)):
        yield f"both {answers}", dict(zip(METHODS, map(say, answers), strict=True))
    for name, twin in zip(METHODS, ASYNC_METHODS, strict=True):
        yield f"twin of {name}", {name: say(True), twin: asay(True)}
        yield f"twin of denying {name}", {name: say(False), twin: asay(False)}
        yield f"async twin of {name}", {name: asay(True), twin: asay(True)}
        yield f"async twin of denying {name}", {name: asay(False), twin: asay(False)}
        yield f"{twin} alone", {twin: asay(False)}
    yield "twins that grant alone", {ASYNC_METHODS[0]: asay(False), ASYNC_METHODS[1]: asay(True)}
    yield "denying property", {METHODS[0]: property(denying_property)}
    yield (
        "denying property and group",
        {
            METHODS[0]: property(denying_property),
            METHODS[1]: say(True),
        },
    )


WORLDS = dict(worlds())


def forget_decisions(user: User) -> None:
    """Make all objects ones that are asked for the first time, but keep how to ask them."""
    for table in permission_cache(user).generation._tables.values():
        table.clear()


@pytest.mark.parametrize("shape", SHAPES)
def test_answers_do_not_depend_on_what_is_known(api, user, settings, shape):
    make, owner, is_kept = SHAPES[shape]
    for world, methods in WORLDS.items():
        with pytest.MonkeyPatch.context() as patch:
            for name, method in methods.items():
                patch.setattr(owner, name, method, raising=False)
            expected = reference(api, settings, user, make())
            asked = User.objects.get(pk=user.pk)
            answers = [api(asked).has_perm(PERM, make()) for _ in range(2)]
            obj = make()
            answers += [api(asked).has_perm(PERM, obj) for _ in range(3)]
            forget_decisions(asked)
            answers += [api(asked).has_perm(PERM, each) for each in (make(), obj)]
            assert answers == [expected] * 7, world
            assert (look_up(asked, PERM, obj) is expected) is is_kept, world
            assert api(asked).has_perm("testapp.delete_thing", obj) is False, world


@pytest.mark.parametrize("world", ["open", "def _user_can_use_thing False", "both (False, True)"])
@pytest.mark.parametrize("is_universal", [False, True])
def test_superusers_get_the_same_answers(api, user, settings, access_methods, world, is_universal):
    settings.DJEM_UNIVERSAL_OLP = is_universal
    access_methods(Thing, **WORLDS[world])
    user.is_superuser = True
    expected = reference(api, settings, user, saved(Thing, pk=1))
    assert expected is (not is_universal or "(" in world or world == "open")
    for _ in range(3):
        assert api(user).has_perm(PERM, saved(Thing, pk=1)) is expected
        assert api(user).has_perm(PERM) is True
    assert look_up(user, PERM, saved(Thing, pk=1)) is expected


@pytest.mark.parametrize("flag", [True, False])
@pytest.mark.parametrize("shape", [name for name in SHAPES if not SHAPES[name][2]])
def test_nothing_is_kept_of_objects_without_a_plain_key(api, user, shape, flag):
    user.is_superuser = flag
    assert api(user).has_perm(PERM, SHAPES[shape][0]())
    assert permission_cache(user).generation.trust.shortcuts == {}


def test_what_only_an_object_has_is_asked_by_a_shortcut(api, user, access_methods):
    access_methods(Thing, _user_can_use_thing=lambda self, user: False)
    for pk in (1, 2):  # the first check of a user finds out no more than it needs
        assert not api(user).has_perm(PERM, saved(Thing, pk=pk))
    obj = saved(Thing, pk=1)
    obj._user_can_use_thing = lambda user: True
    assert isinstance(look_up(user, PERM, obj), Shortcut)
    assert isinstance(look_up(user, PERM, saved(Thing, pk=3)), Shortcut)


@pytest.mark.parametrize("verbosity", [0, 1, 2])
@pytest.mark.parametrize("pk", [2, None, "text"])
def test_a_method_may_give_the_object_another_identity(
    api, user, settings, access_methods, verbosity, pk
):
    settings.DJEM_PERM_LOG_VERBOSITY = verbosity

    def move(self: Any, user: Any) -> bool:
        self.pk = pk
        return True

    access_methods(Thing, _user_can_use_thing=move)
    for number in range(3):
        assert api(user).has_perm(PERM, saved(Thing, pk=number + 10))


@pytest.mark.parametrize("shape", [name for name in SHAPES if not SHAPES[name][2]])
def test_superusers_need_no_identity_of_objects(api, user, access_methods, shape):
    make, owner, _ = SHAPES[shape]
    access_methods(owner, **WORLDS["def _user_can_use_thing False"])
    obj = make()
    for is_superuser in (True, False, True):
        user.is_superuser = is_superuser
        for _ in range(2):
            assert api(user).has_perm(PERM, obj) is is_superuser
            assert look_up(user, PERM, obj) is None


@pytest.mark.parametrize("names", [METHODS, ASYNC_METHODS])
@pytest.mark.parametrize("granting", [0, 1])
def test_methods_that_an_object_makes_up_are_asked(api, user, monkeypatch, names, granting):
    make_method = asay if names is ASYNC_METHODS else say
    made_up = {name: make_method(False) for name in names}
    monkeypatch.setattr(MakesUp, "made_up", {})
    assert api(user).has_perm(PERM, saved(MakesUp, pk=1)) is True  # it has none: open
    monkeypatch.setattr(MakesUp, "made_up", made_up)
    user.clear_perm_cache()
    for pk in (1, 1, 2):
        assert api(user).has_perm(PERM, saved(MakesUp, pk=pk)) is False
    made_up[names[granting]] = make_method(True)
    assert api(user).has_perm(PERM, saved(MakesUp, pk=3)) is True
    assert look_up(user, PERM, saved(MakesUp, pk=3)) is None


OF_THE_CLASS: dict[str, dict[str, Any]] = {
    "open": {},
    "user": {METHODS[0]: say(False)},
    "group": {METHODS[1]: say(False)},
    "granting user": {METHODS[0]: say(True)},
}
OF_ONE: dict[str, dict[str, Any]] = {
    "user": {METHODS[0]: True},
    "group": {METHODS[1]: True},
    "denying user": {METHODS[0]: False},
    "denying group": {METHODS[1]: False},
}


@pytest.mark.parametrize("order", ["one first", "others first"])
@pytest.mark.parametrize(
    ("of_class", "of_one"),
    # Decisions of the same source are those of the row.
    [pair for pair in product(OF_THE_CLASS, OF_ONE) if pair[0].split()[-1] != pair[1].split()[-1]],
)
def test_methods_of_one_instance_do_not_decide_for_others_of_its_row(
    api, user, settings, access_methods, of_class, of_one, order
):
    access_methods(Thing, **OF_THE_CLASS[of_class])
    one, other, another = (saved(Thing, pk=1) for _ in range(3))
    for name, answer in OF_ONE[of_one].items():
        setattr(one, name, lambda argument, answer=answer: answer)
    expected = {id(obj): reference(api, settings, user, obj) for obj in (one, other)}
    expected[id(another)] = expected[id(other)]
    asked = [one, other, one, another, one, other]
    for obj in asked if order == "one first" else asked[::-1]:
        assert api(user).has_perm(PERM, obj) is expected[id(obj)]


# One thing changes, and the answer follows


def check(api: Api, user: Any, obj: Any = None) -> tuple[bool, ...]:
    """Check the model level, and two objects."""
    return tuple(api(user).has_perm(PERM, obj) for obj in (None, *THINGS))


THINGS = saved(Thing, pk=1), saved(Thing, pk=2), saved(OtherThing, pk=1)
COLD = True, False, True, True


def only_even(self: Any, user: Any) -> bool:
    return self.pk % 2 == 0


@pytest.fixture
def warm(api, user, access_methods):
    """A user of whom all answers are known."""
    access_methods(Thing, _user_can_use_thing=only_even)
    for _ in range(2):
        assert check(api, user) == COLD
    assert tuple(look_up(user, PERM, obj) for obj in (None, *THINGS)) == COLD
    return user


@pytest.mark.parametrize("is_of_class", [True, False])
@pytest.mark.parametrize("name", [*METHODS, *ASYNC_METHODS])
def test_a_method_that_becomes_none_is_an_error(api, warm, monkeypatch, name, is_of_class):
    obj = saved(Thing, pk=4)
    monkeypatch.setattr(Thing if is_of_class else obj, name, None, raising=False)
    for _ in range(2):
        with pytest.raises(TypeError, match=f"{name} must be a method, but is None"):
            api(warm).has_perm(PERM, obj)


@pytest.mark.parametrize("name", [*METHODS, *ASYNC_METHODS])
def test_a_class_without_methods_may_be_given_one(api, warm, access_methods, name):
    make = asay if name in ASYNC_METHODS else say
    access_methods(OtherThing, **{name: make(False)})
    for _ in range(2):
        assert check(api, warm) == (True, False, True, False)


NOTHING = False, False, False, False
ALL = True, True, True, True


def test_the_user_is_deactivated(api, warm):
    warm.is_active = False
    assert check(api, warm) == NOTHING
    warm.is_active = True
    assert check(api, warm) == COLD


@pytest.mark.parametrize("flag", [True, 1, "yes", object()])
@pytest.mark.parametrize("is_universal", [False, True])
def test_the_user_becomes_a_superuser(api, warm, settings, flag, is_universal):
    settings.DJEM_UNIVERSAL_OLP = is_universal
    for _ in range(2):
        assert check(api, warm) == COLD
        warm.is_superuser = flag
        for _ in range(2):
            assert check(api, warm) == (COLD if is_universal else ALL)
        assert api(warm).has_perm("testapp.no_such_permission") is True
        warm.is_superuser = False
        assert api(warm).has_perm("testapp.no_such_permission") is False


def test_universal_olp_is_switched(api, warm, settings):
    warm.is_superuser = True
    for is_universal in (False, True, False, True):
        settings.DJEM_UNIVERSAL_OLP = is_universal
        for _ in range(2):
            assert check(api, warm) == (COLD if is_universal else ALL)


def test_logs_are_switched_on_and_off(api, warm, settings):
    for verbosity in (0, 1, 2, 0, 1):
        settings.DJEM_PERM_LOG_VERBOSITY = verbosity
        for _ in range(2):
            assert check(api, warm) == COLD
            warm.start_log("mine")
            assert api(warm).has_perm(PERM, THINGS[0]) is False
            warm.discard_log()
            if verbosity:
                # From the cache, but logged: the last log is the one of this check.
                assert warm.get_last_log().endswith("RESULT: Permission Denied")
                warm.start_log("other")
                warm.end_log()
            else:
                assert look_up(warm, PERM, THINGS[0]) is False
    settings.DJEM_PERM_LOG_VERBOSITY = 0
    assert check(api, warm) == COLD
    assert warm.get_last_log() == ""


def test_another_setting_changes_nothing(api, warm, settings):
    settings.DJEM_DEFAULT_403 = True
    for _ in range(2):
        assert check(api, warm) == COLD


class Granting(Quiet):
    def has_perm(self, user_obj: Any, perm: str, obj: Any = None) -> bool:
        return True


class Vetoing(Quiet):
    def has_perm(self, user_obj: Any, perm: str, obj: Any = None) -> bool:
        raise PermissionDenied


def test_backends_come_and_go(api, warm, settings):
    for backends, expected in (
        ([named(Granting), DJANGOS, OURS], ALL),
        ([DJANGOS, OURS], COLD),
        ([named(Vetoing), DJANGOS, OURS], NOTHING),
        ([DJANGOS, OURS, named(Vetoing)], COLD),
        ([OURS, DJANGOS], COLD),
        ([OURS], NOTHING),
        ([DJANGOS], (True, False, False, False)),
        ([DJANGOS, OURS, named(Granting)], ALL),
        ([DJANGOS, OURS], COLD),
    ):
        settings.AUTHENTICATION_BACKENDS = backends
        for _ in range(2):
            assert check(api, warm) == expected, backends


@pytest.mark.parametrize("is_veto", [True, False])
def test_groups_that_refuse_to_be_asked_for_deny(api, user, access_methods, monkeypatch, is_veto):
    def refuse(self: Any) -> Any:
        if is_veto:
            raise PermissionDenied
        raise ZeroDivisionError

    access_methods(Thing, _group_can_use_thing=lambda self, groups: True)
    assert api(user).has_perm(PERM, THINGS[0])
    monkeypatch.setattr(User, "groups", property(refuse))
    for count in range(2):  # not kept
        if is_veto:
            assert api(user).has_perm(PERM, THINGS[1]) is False, count
        else:
            with pytest.raises(ZeroDivisionError):
                api(user).has_perm(PERM, THINGS[1])


def forget(user: User, *names: str) -> None:
    for name in names:
        delattr(user, name)


CACHES = "_perm_cache", "_user_perm_cache", "_group_perm_cache"


@pytest.mark.parametrize("revoked", [False, True])
def test_djangos_caches_are_deleted(api, warm, revoked):
    if revoked:
        warm.user_permissions.clear()
    forget(warm, "_perm_cache")
    assert check(api, warm) == COLD  # Django makes it anew of the two others
    forget(warm, *CACHES)
    for _ in range(2):
        assert check(api, warm) == (NOTHING if revoked else COLD)


def test_djangos_cache_is_replaced(api, warm):
    for _ in range(2):
        warm._perm_cache = {"testapp.delete_thing"}
        for _ in range(2):
            assert check(api, warm) == NOTHING
            assert api(warm).has_perm("testapp.delete_thing") is True
        warm._perm_cache = {PERM}
        for _ in range(2):
            assert check(api, warm) == COLD
            assert api(warm).has_perm("testapp.delete_thing") is False


def test_the_caches_are_cleared(api, warm, access_methods):
    warm.user_permissions.clear()
    assert check(api, warm) == COLD
    api(warm).clear_perm_cache()
    assert check(api, warm) == NOTHING
    warm.groups.add(group := Group.objects.create(name="users"))
    group.permissions.set(User._meta.get_field("user_permissions").related_model.objects.all())
    access_methods(Thing, _user_can_use_thing=say(True))
    assert check(api, warm) == NOTHING
    api(warm).clear_perm_cache()
    assert check(api, warm) == ALL


def test_the_object_becomes_another(api, warm, access_methods):
    access_methods(Thing, _user_can_use_thing=lambda self, user: self._state.db == "default")
    warm.clear_perm_cache()
    obj = saved(Thing, pk=1)
    assert api(warm).has_perm(PERM, obj) is True
    for alias in ("other", "default", None, "other"):
        obj._state.db = alias
        for _ in range(2):
            assert api(warm).has_perm(PERM, obj) is (alias == "default")
    access_methods(Thing, _user_can_use_thing=only_even)
    warm.clear_perm_cache()
    for pk in (1, 2, 3, 2, 1, 4, 3):
        obj.pk = pk
        assert api(warm).has_perm(PERM, obj) is (pk % 2 == 0)


@pytest.mark.parametrize("pk", [True, 1.0, None])
def test_the_primary_key_becomes_one_of_another_type(api, warm, access_methods, pk):
    access_methods(Thing, _user_can_use_thing=lambda self, user: type(self.pk) is int)
    warm.clear_perm_cache()
    obj = saved(Thing, pk=1)
    for _ in range(2):
        obj.pk = 1
        assert api(warm).has_perm(PERM, obj) is True
        obj.pk = pk
        assert api(warm).has_perm(PERM, obj) is False


def test_an_object_that_is_not_saved_any_more_is_asked(api, warm, access_methods):
    obj = saved(Thing, pk=2)
    assert api(warm).has_perm(PERM, obj) is True
    access_methods(Thing, _user_can_use_thing=say(False))
    assert api(warm).has_perm(PERM, obj) is True
    obj._state.adding = True
    assert api(warm).has_perm(PERM, obj) is False
    obj._state.adding = False
    assert api(warm).has_perm(PERM, obj) is True


@pytest.mark.parametrize("on", ["class", "instance"])
def test_the_check_of_the_user_is_replaced(api, warm, on):
    with mock.patch.object(User if on == "class" else warm, "has_perm") as replaced:
        for granted in (False, True):
            replaced.return_value = granted
            assert check(api, warm) == (granted,) * 4
        assert replaced.call_count == 8
    assert check(api, warm) == COLD


@pytest.mark.parametrize("on", ["class", "instance"])
def test_the_async_check_of_the_user_is_replaced(warm, on):
    """It is the nearer form, so that sync checks of objects ask it for the model level."""

    async def deny(self: Any, perm: str, obj: Any = None) -> bool:
        return False

    replaced = deny if on == "class" else partial(deny, warm)
    with mock.patch.object(User if on == "class" else warm, "ahas_perm", replaced):
        assert [warm.has_perm(PERM, thing) for thing in THINGS] == [False] * 3
    assert [warm.has_perm(PERM, thing) for thing in THINGS] == list(COLD[1:])


@pytest.mark.parametrize("on", ["class", "instance"])
def test_the_model_level_of_the_user_is_replaced(api, warm, on):
    original = User.has_perm

    def objects_alone(self: Any, perm: str, obj: Any = None) -> bool:
        return obj is not None and original(self, perm, obj)

    replaced = objects_alone if on == "class" else partial(objects_alone, warm)
    with mock.patch.object(User if on == "class" else warm, "has_perm", replaced):
        assert check(api, warm) == NOTHING
    assert check(api, warm) == COLD


def subclass(**methods: Any) -> Any:
    meta = type("Meta", (), {"app_label": "testapp", "proxy": True})
    with isolate_apps("tests.testapp"):
        return type("Other", (User,), {"__module__": __name__, "Meta": meta, **methods})


def while_staff(self: Any, perm: str, obj: Any = None) -> bool:
    return self.is_staff and User.has_perm(self, perm, obj)


async def awhile_staff(self: Any, perm: str, obj: Any = None) -> bool:
    return self.is_staff and await User.ahas_perm(self, perm, obj)


@pytest.mark.parametrize(
    ("form", "methods"),
    [
        ("sync", {"has_perm": while_staff}),
        ("async", {"has_perm": while_staff}),
        ("sync", {"has_perm": while_staff, "ahas_perm": awhile_staff}),
        ("async", {"has_perm": while_staff, "ahas_perm": awhile_staff}),
        ("async", {"ahas_perm": awhile_staff}),
    ],
)
def test_a_check_of_a_subclass_is_asked_every_time(user, access_methods, form, methods):
    access_methods(Thing, _user_can_use_thing=only_even)
    api, user = Api(form), subclass(**methods).objects.get(pk=user.pk)
    for is_staff in (False, True, False, True):
        user.is_staff = is_staff
        for _ in range(2):
            assert check(api, user) == (COLD if is_staff else NOTHING)


def test_where_a_subclass_has_an_async_check_alone_objects_are_asked_through_it(
    user, access_methods
):
    access_methods(Thing, _user_can_use_thing=only_even)
    user = subclass(ahas_perm=awhile_staff).objects.get(pk=user.pk)
    for is_staff in (False, True, False):
        user.is_staff = is_staff
        for _ in range(2):
            # Its own sync form is Django's. What backends ask is the one that is up to date.
            assert user.has_perm(PERM, THINGS[1]) is is_staff


def test_a_copy_knows_nothing(api, warm, access_methods):
    access_methods(Thing, _user_can_use_thing=say(True))
    warm.user_permissions.clear()
    copied = copy.copy(warm)
    assert check(api, copied) == NOTHING
    assert check(api, warm) == COLD
    copied._perm_cache = {PERM}
    assert check(api, copied) == ALL
    assert check(api, warm) == COLD


@pytest.mark.parametrize("world", ["open", "def _user_can_use_thing True"])
@pytest.mark.parametrize("is_universal", [False, True])
def test_an_anonymous_user_is_denied_on_objects(
    api, user, access_methods, settings, world, is_universal
):
    settings.DJEM_UNIVERSAL_OLP = is_universal
    access_methods(Thing, **WORLDS[world])
    guest = subclass(is_anonymous=True).objects.get(pk=user.pk)
    for is_superuser in (False, True):
        guest.is_superuser = is_superuser
        for _ in range(3):
            # Django grants to a superuser without asking anybody.
            expected = is_superuser and not is_universal
            assert api(guest).has_perm(PERM, THINGS[0]) is expected
            assert api(guest).has_perm(PERM) is is_superuser


def test_no_backend_is_needed_to_grant_to_a_superuser(api, user, settings):
    settings.AUTHENTICATION_BACKENDS = []
    with pytest.raises(ImproperlyConfigured):
        api(user).has_perm(PERM)
    user.is_superuser = True
    for _ in range(2):
        assert api(user).has_perm(PERM) is True
        assert api(user).has_perm(PERM, THINGS[0]) is True


def test_a_denial_while_the_user_was_inactive_is_not_repeated(api, user, monkeypatch):
    original = ModelBackend.has_perm

    def has_perm(self: Any, user_obj: Any, perm: str, obj: Any = None) -> bool:
        user_obj.is_active = False
        try:
            return original(self, user_obj, perm, obj)
        finally:
            user_obj.is_active = True

    thing = saved(Thing, pk=1)
    with monkeypatch.context() as patch:
        patch.setattr(ModelBackend, "has_perm", as_djangos(has_perm))
        assert api(user).has_perm(PERM) is False
        assert api(user).has_perm(PERM, thing) is False
    assert api(user).has_perm(PERM) is True
    assert api(user).has_perm(PERM, thing) is True


def test_without_what_has_to_be_fetched_there_is_no_permission(api, user, monkeypatch):
    """As when the user is inactive while it is fetched: no query may be made in its place."""
    monkeypatch.setattr(_backends, "fill_permission_caches", lambda backend, user: None)
    assert api(user).has_perm(PERM) is False


def test_a_fetch_that_failed_is_made_again(api, user):
    def fail(*args: Any) -> Any:
        raise DatabaseError("x")

    with connection.execute_wrapper(fail):
        for _ in range(2):
            with pytest.raises(DatabaseError, match="x"):
                within_seconds(api, user)
    assert within_seconds(api, user) is True


def within_seconds(api: Api, user: User) -> Any:
    """Check, but do not wait for ever."""
    if api.mode == "sync":
        return user.has_perm(PERM)

    async def acheck() -> bool:
        async with asyncio.timeout(10):
            return await user.ahas_perm(PERM)

    return async_to_sync(acheck)()


# Arguments that are not what they seem


class SaysEqual(str):
    """Claims to be any permission."""

    __slots__ = ()

    def __eq__(self, other: object) -> bool:
        return True

    def __hash__(self) -> int:
        return hash(PERM)


@pytest.mark.parametrize("obj", [None, *THINGS[1:]])
def test_a_permission_that_claims_to_be_another_is_not_recalled(api, warm, obj):
    for _ in range(2):
        assert api(warm).has_perm(SaysEqual("testapp.delete_thing"), obj) is False


@pytest.mark.parametrize("obj", [object(), "thing", 0, False, [], Thing])
def test_what_is_no_model_instance_is_denied_every_time(api, warm, obj):
    for _ in range(2):
        assert api(warm).has_perm(PERM, obj) is False
        assert look_up(warm, PERM, obj) is None


# Lines of access methods


@pytest.mark.parametrize("granted", [True, False])
@pytest.mark.parametrize("name", [*METHODS, *ASYNC_METHODS])
def test_lines_are_logged_again_into_an_active_log(api, user, access_methods, name, granted):
    def explain(self: Any, argument: Any) -> bool:
        user.log("because", tag="why")
        return granted

    async def aexplain(self: Any, argument: Any) -> bool:
        return explain(self, argument)

    method = mock.Mock(side_effect=explain)
    if name in ASYNC_METHODS:
        method = mock.AsyncMock(side_effect=aexplain)
    access_methods(Thing, **{name: lambda self, argument: method(self, argument)})
    if name in ASYNC_METHODS:
        access_methods(Thing, **{name: aexplain})
    user.start_log("mine")
    for _ in range(3):
        assert api(user).has_perm(PERM, THINGS[0]) is granted
        user.start_log("inner")
        assert api(user).has_perm(PERM, THINGS[0]) is granted
        _, inner = user.end_log()
        assert [(entry, entry.tags) for entry in inner] == [("because", ("why",))]
    assert user.end_log() == ("mine", ["because"] * 3)
    assert api(user).has_perm(PERM, THINGS[0]) is granted  # nowhere to log to


def test_lines_of_methods_that_only_an_object_has_are_logged_once(api, user, access_methods):
    def explain(argument: Any) -> bool:
        user.log("because")
        return False

    access_methods(Thing, _user_can_use_thing=lambda self, user: False)
    assert not api(user).has_perm(PERM, saved(Thing, pk=2))
    thing = saved(Thing, pk=1)
    thing._user_can_use_thing = explain
    for _ in range(3):
        user.start_log("mine")
        assert api(user).has_perm(PERM, thing) is False
        assert user.end_log() == ("mine", ["because"])


# What is learned


@pytest.mark.parametrize("obj", ["text", 7, object()])
def test_superusers_have_permissions_on_anything(api, user, obj):
    user.is_superuser = True
    for _ in range(2):
        assert api(user).has_perm(PERM, obj) is True


def test_nothing_is_learned_of_objects_when_the_model_level_is_of_another_time(user):
    assert user.has_perm(PERM)
    generation = permission_cache(user).generation
    user.is_superuser = True
    learn_shortcut(user, generation, PERM, saved(Thing, pk=1))
    assert generation.trust.shortcuts == {}


@pytest.mark.parametrize("known", [None, True, False])
@pytest.mark.parametrize("notes", [(), (Entry("noted", AUTO),)])
@pytest.mark.parametrize("lines", [(), (Entry("noted", AUTO),), (Entry("noted"),)])
def test_a_log_is_learned_with_its_answer_and_if_it_is_the_librarys(known, notes, lines):
    trust = Trust(verbosity=1)
    if known is not None:
        trust.model_level[PERM] = known
    learn_log(trust, PERM, None, lines, notes=notes, was_asked=True, granted=True)
    is_same = [(str(each), each.tags) for each in lines] == [(str(e), e.tags) for e in notes]
    assert bool(trust.logs) is (known is True and is_same)


@pytest.mark.parametrize("names", [METHODS[:1], METHODS])
def test_looking_for_methods_makes_no_dictionary(api, user, access_methods, names):
    """Objects have none until somebody asks for it, and it takes memory."""
    access_methods(Looked, **{name: say(True) for name in names})
    things = [saved(Looked, id=pk) for pk in range(1, 5)]
    Looked.looks.clear()
    for _ in range(2):
        assert all(api(user).has_perm(PERM, thing) for thing in things)
    assert Looked.looks == []


def test_an_object_of_a_class_with_a_plan_is_asked_by_it(api, user, access_methods, monkeypatch):
    access_methods(Thing, _user_can_use_thing=only_even)
    assert not api(user).has_perm(PERM, saved(Thing, pk=1))
    monkeypatch.setattr(_objects, "decided", mock.Mock(side_effect=AssertionError))
    assert api(user).has_perm(PERM, saved(Thing, pk=2))
    assert not api(user).has_perm(PERM, saved(Thing, pk=3))


def test_what_a_set_has_asked_is_not_asked_again(api, user, access_methods):
    asked: list[Any] = []

    def decide(self: Any, user: Any) -> bool:
        asked.append(self.pk)
        return True

    access_methods(Thing, _user_can_use_thing=decide)
    assert api(user).has_perm(PERM, saved(Thing, pk=1))
    thing = saved(Thing, pk=2)
    assert PERM in api(user).get_user_permissions(thing)
    for _ in range(2):
        assert api(user).has_perm(PERM, thing)
    assert asked == [1, 2]


class Claims:
    """An attribute of an object that says to be a method of it."""

    def __init__(self, obj: Any, function: Any = None) -> None:
        self.__self__ = obj
        if function is not None:
            self.__func__ = function

    def __call__(self, argument: Any) -> bool:
        return True


@pytest.mark.parametrize("function", [None, only_even])
@pytest.mark.parametrize("name", METHODS)
def test_what_claims_to_be_a_method_decides_for_its_object_alone(
    api, user, access_methods, name, function
):
    other = METHODS[1 - METHODS.index(name)]
    access_methods(Thing, **{other: lambda self, argument: False})
    thing = saved(Thing, pk=1)
    setattr(thing, name, Claims(thing, function))
    assert api(user).has_perm(PERM, thing) is True
    assert api(user).has_perm(PERM, saved(Thing, pk=1)) is False


PARTS = (
    "get_all_permissions",
    "get_user_permissions",
    "_get_permissions",
)


@pytest.mark.parametrize("name", PARTS)
@pytest.mark.parametrize("is_disguised", [False, True])
def test_a_patch_of_djangos_backend_is_heard(api, user, monkeypatch, name, is_disguised):
    def nothing(*args: Any, **kwargs: Any) -> set[str]:
        return set()

    if is_disguised:
        nothing = functools.wraps(getattr(ModelBackend, name))(nothing)
    monkeypatch.setattr(ModelBackend, name, nothing)
    assert api(user).has_perm(PERM) is False
    assert api(User.objects.get(pk=user.pk)).has_perm(PERM, saved(Thing, pk=1)) is False


@pytest.mark.parametrize("name", ["_get_user_permissions", "_get_group_permissions"])
def test_a_patch_of_what_djangos_backend_selects_is_heard(api, user, monkeypatch, name):
    group = Group.objects.create(name="viewers")
    group.permissions.add(permission("testapp.view_thing"))
    user.groups.add(group)
    monkeypatch.setattr(ModelBackend, name, lambda self, user: Permission.objects.none())
    is_group = name == "_get_group_permissions"
    assert api(user).has_perm(PERM) is is_group
    assert api(user).has_perm("testapp.view_thing") is not is_group


def test_a_patch_of_our_backend_is_heard_every_time(api, user, monkeypatch):
    has_perm, ahas_perm = ObjectPermissionsBackend.has_perm, ObjectPermissionsBackend.ahas_perm
    things = [saved(Thing, pk=pk) for pk in (1, 2)]

    def deny(*args: Any) -> bool:
        has_perm(*args)
        return False

    async def adeny(*args: Any) -> bool:
        await ahas_perm(*args)
        return False

    assert api(user).has_perm(PERM, things[0]) is True
    monkeypatch.setattr(ObjectPermissionsBackend, "has_perm", deny)
    monkeypatch.setattr(ObjectPermissionsBackend, "ahas_perm", adeny)
    user.clear_perm_cache()
    for _ in range(3):
        assert [api(user).has_perm(PERM, thing) for thing in things] == [False, False]


@pytest.mark.parametrize("name", METHODS)
def test_a_method_of_another_object_decides_for_the_one_that_has_it_alone(
    api, user, access_methods, name
):
    other = METHODS[1 - METHODS.index(name)]
    access_methods(Thing, **{name: only_even, other: lambda self, argument: False})
    thing = saved(Thing, pk=1)
    setattr(thing, name, getattr(saved(Thing, pk=2), name))
    assert api(user).has_perm(PERM, thing) is True
    user.clear_perm_cache()
    assert api(user).has_perm(PERM, thing) is True
    generation = permission_cache(user).generation
    (record,) = [each for table in generation._tables.values() for each in table.values()]
    assert record.granted is None  # it does not follow for others


# Other backends are asked every time


calls: list[Any] = []


class First(Quiet):
    def has_perm(self, user_obj: Any, perm: str, obj: Any = None) -> Any:
        calls.append((type(self).__name__, obj is not None))
        return False


class Last(First):
    pass


class LastVeto(First):
    def has_perm(self, user_obj: Any, perm: str, obj: Any = None) -> Any:
        super().has_perm(user_obj, perm, obj)
        raise PermissionDenied


class LastGrant(First):
    def has_perm(self, user_obj: Any, perm: str, obj: Any = None) -> Any:
        return not super().has_perm(user_obj, perm, obj)


@pytest.mark.parametrize(
    ("last", "denied_by_method"), [(Last, False), (LastVeto, False), (LastGrant, True)]
)
def test_other_backends_are_asked_in_place_and_in_order(
    api, user, access_methods, settings, last, denied_by_method
):
    settings.AUTHENTICATION_BACKENDS = [named(First), DJANGOS, OURS, named(last)]

    def method(self: Any, user: Any) -> bool:
        calls.append("method")
        return only_even(self, user)

    access_methods(Thing, _user_can_use_thing=method)
    calls.clear()
    for count in range(3):
        assert api(user).has_perm(PERM, THINGS[0]) is denied_by_method
        asked = ["method"] if count == 0 else []
        assert calls == [("First", True), ("First", False), *asked, (last.__name__, True)]
        calls.clear()
        assert api(user).has_perm(PERM, THINGS[1]) is True
        assert calls == [("First", True), ("First", False), *asked]
        calls.clear()
        assert api(user).has_perm(PERM) is True
        assert calls == [("First", False)]
        calls.clear()


@pytest.mark.parametrize("is_universal", [False, True])
def test_other_backends_are_asked_for_superusers_only_with_universal_olp(
    api, user, settings, is_universal
):
    settings.DJEM_UNIVERSAL_OLP = is_universal
    settings.AUTHENTICATION_BACKENDS = [named(Vetoing), DJANGOS, OURS]
    user.is_superuser = True
    for _ in range(3):
        assert api(user).has_perm(PERM) is True
        assert api(user).has_perm(PERM, THINGS[2]) is not is_universal


class OwnUserPermissions(ModelBackend):
    def get_user_permissions(self, user_obj: Any, obj: Any = None) -> Any:
        return super().get_user_permissions(user_obj, obj)


class OwnAsyncGroupPermissions(ModelBackend):
    async def aget_group_permissions(self, user_obj: Any, obj: Any = None) -> Any:
        return await super().aget_group_permissions(user_obj, obj)


class OwnQuery(ModelBackend):
    def _get_group_permissions(self, user_obj: Any) -> Any:
        return super()._get_group_permissions(user_obj)


class OwnSets(ModelBackend):
    def _get_permissions(self, user_obj: Any, obj: Any, from_name: str) -> Any:
        return super()._get_permissions(user_obj, obj, from_name)  # type: ignore[misc]


class OwnCheck(ModelBackend):
    def has_perm(self, user_obj: Any, perm: str, obj: Any = None) -> bool:
        return super().has_perm(user_obj, perm, obj)


class OwnAttribute(ModelBackend):
    def __init__(self) -> None:
        self.get_all_permissions = super().get_all_permissions  # type: ignore[method-assign]


class MadeUp(ModelBackend):
    def __getattr__(self, name: str) -> Any:
        raise AttributeError(name)


class Intercepted(ModelBackend):
    def __getattribute__(self, name: str) -> Any:
        return super().__getattribute__(name)


class Untouched(ModelBackend):
    def user_can_authenticate(self, user: Any) -> bool:
        return True


@pytest.mark.parametrize(
    ("backend", "asked"),
    [
        (OwnUserPermissions, 3),
        (OwnAsyncGroupPermissions, 3),
        (OwnQuery, 3),
        (OwnSets, 3),
        (OwnCheck, 3),
        (OwnAttribute, 3),
        (MadeUp, 3),
        (Intercepted, 3),
        (Untouched, 1),
        (ModelBackend, 1),
    ],
)
def test_a_backend_that_differs_from_djangos_is_asked_every_time(
    api, user, settings, monkeypatch, backend, asked
):
    settings.AUTHENTICATION_BACKENDS = [
        DJANGOS if backend is ModelBackend else named(backend),
        OURS,
    ]
    check, acheck = ModelBackend.has_perm, ModelBackend.ahas_perm
    calls.clear()

    def counted(self: Any, user_obj: Any, perm: str, obj: Any = None) -> bool:
        calls.append((type(self), obj))
        return check(self, user_obj, perm, obj)

    async def acounted(self: Any, user_obj: Any, perm: str, obj: Any = None) -> bool:
        calls.append((type(self), obj))
        return await acheck(self, user_obj, perm, obj)

    monkeypatch.setattr(ModelBackend, "has_perm", as_djangos(counted))
    monkeypatch.setattr(ModelBackend, "ahas_perm", as_djangos(acounted, "ahas_perm"))
    for _ in range(3):
        assert api(user).has_perm(PERM) is True
    assert calls == [(backend, None)] * asked
    calls.clear()
    for _ in range(3):
        assert api(user).has_perm(PERM, THINGS[2]) is True
    # One of Django's own has no say on objects, and the model level is known.
    assert calls == ([(backend, THINGS[2]), (backend, None)] * 3 if asked == 3 else [])


class OfOurs(ObjectPermissionsBackend):
    def has_perm(self, user_obj: Any, perm: str, obj: Any = None) -> bool:
        calls.append(obj)
        return super().has_perm(user_obj, perm, obj)


class AsyncOfOurs(ObjectPermissionsBackend):
    async def ahas_perm(self, user_obj: Any, perm: str, obj: Any = None) -> bool:
        calls.append(obj)
        return await super().ahas_perm(user_obj, perm, obj)


class SetsOfOurs(ObjectPermissionsBackend):
    def get_user_permissions(self, user_obj: Any, obj: Any = None) -> set[str]:
        raise AssertionError


@pytest.mark.parametrize(
    ("form", "backend", "is_asked"),
    [
        ("sync", OfOurs, True),
        ("async", OfOurs, True),
        ("sync", AsyncOfOurs, True),
        ("async", AsyncOfOurs, True),
        ("sync", SetsOfOurs, False),
        ("async", SetsOfOurs, False),
    ],
)
def test_a_backend_that_differs_from_ours_is_asked_every_time(
    user, settings, access_methods, form, backend, is_asked
):
    access_methods(Thing, _user_can_use_thing=only_even)
    settings.AUTHENTICATION_BACKENDS = [DJANGOS, named(backend)]
    calls.clear()
    for _ in range(3):
        assert Api(form)(user).has_perm(PERM, THINGS[0]) is False
    assert calls == [THINGS[0]] * (3 if is_asked else 0)


class SignsIn:
    """Says nothing about permissions."""

    def authenticate(self, request: Any, **credentials: Any) -> None:
        return None


def test_a_backend_that_only_signs_users_in_is_no_hindrance(api, user, settings):
    settings.AUTHENTICATION_BACKENDS = [named(SignsIn), DJANGOS, OURS]
    for _ in range(2):
        assert api(user).has_perm(PERM, THINGS[2]) is True
    assert look_up(user, PERM, THINGS[2]) is True


# What a review found


@pytest.fixture
def known_user(user):
    assert user.has_perm("testapp.use_thing")
    return user


def test_a_check_begins_when_it_is_awaited(known_user):
    @async_to_sync
    async def run() -> None:
        check = known_user.ahas_perm("testapp.use_thing")
        await known_user.user_permissions.aclear()
        await known_user.aclear_perm_cache()
        assert await check is False
        check = known_user.ahas_perm("testapp.use_thing")
        known_user.is_superuser = True
        assert await check is True

    run()


def test_each_check_is_an_object_of_its_own(known_user):
    @async_to_sync
    async def run() -> None:
        checks = [known_user.ahas_perm("testapp.use_thing") for _ in range(3)]
        assert len({*checks}) == 3
        assert [await done for done in asyncio.as_completed(checks)] == [True] * 3

    run()


def test_an_answer_does_not_outlive_the_set_it_came_from(user):
    assert user.has_perm("testapp.use_thing")
    user._perm_cache = set()
    assert not user.has_perm("testapp.use_thing")


def test_what_follows_from_a_decision_goes_with_it():
    generation, key = Generation(), ObjectKey(Thing, "default", int, 1)
    generation.keep("p", key, {"user": Decision(True)}, granted=True)
    generation.keep("p", key, {"user": Decision(False)})
    assert generation.table("p", key)[1].granted is None


@pytest.mark.parametrize("perm", [["a", "b"], {"a": 1}])
def test_a_permission_that_is_no_name_changes_nothing_for_superusers(api, user, perm):
    user.is_superuser = True
    assert api(user).has_perm(perm) is True
    assert user._olp_cache.generation.trust.model_level == {}


@pytest.mark.parametrize("with_object", [False, True])
def test_a_fetch_that_is_denied_is_a_veto(api, user, thing, with_object, monkeypatch):
    def deny(backend, user):
        raise PermissionDenied

    monkeypatch.setattr(_backends, "fill_permission_caches", deny)
    args = ("testapp.use_thing", thing) if with_object else ("testapp.use_thing",)
    assert api(user).has_perm(*args) is False


def test_groups_that_are_denied_are_a_veto(api, user, thing, access_methods, monkeypatch):
    def deny(user):
        raise PermissionDenied

    access_methods(Thing, _group_can_use_thing=lambda self, groups: True)
    monkeypatch.setattr(_objects, "_groups", deny)
    assert api(user).has_perm("testapp.use_thing", thing) is False


def test_a_fetch_that_checks_what_is_being_checked_is_refused(api, user):
    def ask(execute, sql, params, many, context):
        user.has_perm("testapp.use_thing")
        return execute(sql, params, many, context)

    with connection.execute_wrapper(ask), pytest.raises(PermissionRecursionError):
        api(user).has_perm("testapp.use_thing")


def test_nothing_is_learned_from_before_the_flag_changed(
    api, user, thing, access_methods, monkeypatch
):
    access_methods(Thing, _user_can_use_thing=lambda self, user: False)
    fill = _backends.fill_permission_caches

    def promote(backend, user):
        fill(backend, user)
        user.is_superuser = True

    monkeypatch.setattr(_backends, "fill_permission_caches", promote)
    api(user).has_perm("testapp.use_thing", thing)
    assert api(user).has_perm("testapp.use_thing", thing) is True


# What is learned in the course of a check


@pytest.mark.parametrize("world", ["open", "def _user_can_use_thing True"])
def test_a_backend_that_is_asked_but_not_configured_teaches_nothing(
    api, user, settings, access_methods, world
):
    access_methods(Thing, **WORLDS[world])
    settings.AUTHENTICATION_BACKENDS = [DJANGOS]
    for _ in range(2):
        assert api(user).has_perm(PERM)
        assert api(ObjectPermissionsBackend()).has_perm(user, PERM, THINGS[0]) is True
        # Nobody that is configured grants on objects.
        assert api(user).has_perm(PERM, THINGS[0]) is False


@pytest.mark.parametrize("world", ["open", "def _user_can_use_thing True"])
@pytest.mark.parametrize("is_universal", [False, True])
def test_a_backend_that_vetoes_is_asked_whatever_superusers_have(
    api, user, settings, access_methods, world, is_universal
):
    access_methods(Thing, **WORLDS[world])
    settings.DJEM_UNIVERSAL_OLP = is_universal
    settings.AUTHENTICATION_BACKENDS = [DJANGOS, named(Vetoing), OURS]
    user.is_superuser = True
    for _ in range(3):
        assert api(user).has_perm(PERM) is True
        assert api(ObjectPermissionsBackend()).has_perm(user, PERM, THINGS[0]) is True
        assert api(user).has_perm(PERM, THINGS[0]) is not is_universal


@pytest.mark.parametrize("is_universal", [False, True])
def test_what_is_learned_of_a_superuser_counts_for_superusers_alone(
    api, user, settings, access_methods, is_universal
):
    access_methods(Thing, **{METHODS[0]: only_even})
    settings.DJEM_UNIVERSAL_OLP = is_universal
    user.user_permissions.clear()
    for is_superuser in (True, False, True, False):
        user.is_superuser = is_superuser
        for _ in range(3):
            for thing in THINGS[:2]:
                granted = is_superuser and (not is_universal or thing.pk % 2 == 0)
                assert api(user).has_perm(PERM, thing) is granted
            assert api(ObjectPermissionsBackend()).has_perm(user, PERM, THINGS[0]) is (
                is_superuser and not is_universal
            )


def test_a_superuser_who_is_demoted_in_the_middle_of_a_check_is_denied_from_then_on(
    api, user, access_methods
):
    def demote(self: Any, argument: Any) -> bool:
        user.is_superuser = False
        return False

    access_methods(Thing, **{METHODS[0]: demote})
    user.user_permissions.clear()
    user.is_superuser = True
    with override_settings(DJEM_UNIVERSAL_OLP=True):
        for _ in range(3):
            assert api(user).has_perm(PERM, THINGS[0]) is False
            assert api(user).has_perm(PERM) is False
