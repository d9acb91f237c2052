"""Other authentication backends next to ours: they grant, veto, and have one API or both.

`expected` says what Django's rule makes of them: backends are asked in their order, the first that
grants decides, and so does the first that raises `PermissionDenied`.
"""

import itertools
import threading
from typing import Any

import pytest
from asgiref.sync import async_to_sync
from django.contrib.auth.backends import BaseBackend, ModelBackend
from django.core.exceptions import PermissionDenied, SynchronousOnlyOperation

from djem_async.auth import ModelBackend as OurModelBackend
from djem_async.auth import ObjectPermissionsBackend
from djem_async.exceptions import NotADecisionError, PermissionRecursionError
from tests.conftest import MODEL_BACKEND as DJANGOS
from tests.conftest import OUR_BACKEND as OURS
from tests.conftest import PERM
from tests.testapp.models import OtherThing, PlainUser, Thing, User

# What the backends below answer, for the model level and for objects.
answer: dict[str, Any] = {}


threads: list[int] = []  # where they were asked


def say(user: Any, perm: Any, obj: Any = None) -> Any:
    threads.append(threading.get_ident())
    value = answer["model" if obj is None else "object"]
    if isinstance(value, BaseException):
        raise value
    return value


class SyncOnly:
    """As django-guardian, rules and djem have it."""

    __slots__ = ()  # its instances have no `__dict__`

    def has_perm(self, user_obj: Any, perm: str, obj: Any = None) -> Any:
        return say(user_obj, perm, obj)


class AsyncOnly:
    async def ahas_perm(self, user_obj: Any, perm: str, obj: Any = None) -> Any:
        return say(user_obj, perm, obj)


class WithBoth(SyncOnly, AsyncOnly):
    pass


class AsyncNamedSync:
    has_perm = AsyncOnly.ahas_perm


def inheriting(mixin: type, base: type) -> type[Any]:
    """Make a backend whose forms may override those of Django's or of ours in part."""
    return type(f"{mixin.__name__}Of{base.__name__}", (mixin, base), {})


def having(name: str) -> type[Any]:
    """Make a backend that answers by a permission set."""

    def found(self: Any, user_obj: Any, obj: Any = None) -> set[str]:
        return {PERM} if say(user_obj, PERM, obj) else set()

    async def afound(self: Any, user_obj: Any, obj: Any = None) -> set[str]:
        return found(self, user_obj, obj)

    return type(name, (BaseBackend,), {name: afound if name.startswith("a") else found})


SETS = ("get_user_permissions", "get_group_permissions", "get_all_permissions")
BY_SETS = [having(f"{prefix}{name}") for name in SETS for prefix in ("", "a")]
MIXINS = (SyncOnly, AsyncOnly, WithBoth)
BASES = (BaseBackend, ModelBackend, ObjectPermissionsBackend)
INHERITING = itertools.starmap(inheriting, itertools.product(MIXINS, BASES))
ONE_METHOD = [*MIXINS, AsyncNamedSync, *INHERITING]
globals().update((kind.__name__, kind) for kind in BY_SETS + ONE_METHOD)


def of_each(kinds: list[type]) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("kind", kinds, ids=lambda kind: kind.__name__)


@pytest.fixture
def use(settings):
    """Configure backends: the ones of this module by their classes, all others by their paths."""

    def backends(*kinds: type | str) -> None:
        settings.AUTHENTICATION_BACKENDS = [
            kind if isinstance(kind, str) else f"{__name__}.{kind.__name__}" for kind in kinds
        ]

    answer.clear()
    answer.update(model=False, object=False)
    return backends


def fresh(user: Any) -> Any:
    return type(user).objects.get(pk=user.pk)


# Order, grants and vetoes

# Users without `OLPMixin` ask backends as Django does: each API asks its own form.
ASKED = [
    *((kind, User) for kind in ONE_METHOD),
    (WithBoth, PlainUser),
    (inheriting(WithBoth, ModelBackend), PlainUser),
]


def expected(order: list[Any], has_object: bool, held: bool, method: bool | None) -> bool:
    """Decide by Django's rule, with our backend's."""
    for backend in order:
        if backend == OURS:
            can_grant = has_object and method in (True, None)
            if can_grant and expected(order, False, held, method):
                return True
        elif backend == DJANGOS:
            if held and not has_object:
                return True
        elif isinstance(said := answer["object" if has_object else "model"], PermissionDenied):
            return False
        elif said:
            return True
    return False


ANSWERS = (True, False, PermissionDenied())


@pytest.mark.parametrize(("kind", "model"), [*ASKED, *((kind, User) for kind in BY_SETS)])
def test_backends_in_any_order_decide_by_djangos_rule(api, access_methods, use, kind, model):
    thing = Thing(pk=1)
    worlds = worlds_of(kind, model, access_methods, use)

    async def acheck_all() -> None:  # on one event loop, which takes long to start
        for user, got in worlds:
            got += [await user.ahas_perm(PERM), await user.ahas_perm(PERM, thing)]

    if api.mode == "async":
        async_to_sync(acheck_all)()
    else:
        for user, got in worlds:
            got += [user.has_perm(PERM), user.has_perm(PERM, thing)]


def worlds_of(kind: Any, model: Any, access_methods: Any, use: Any) -> Any:
    """Yield a user and a list for each world, and compare the decisions put into the list."""
    orders = [(kind, DJANGOS, OURS), (DJANGOS, kind, OURS), (DJANGOS, OURS, kind)]
    asked = list[Any]()
    for method, order in itertools.product((None, True, False), orders):
        if method is not None:  # at first there is none
            decide = lambda self, user, method=method: asked.append(user) or method  # noqa: E731
            access_methods(Thing, _user_can_use_thing=decide)
        use(*order)
        for of_model, of_object, held in itertools.product(ANSWERS, ANSWERS, (True, False)):
            answer.update(model=of_model, object=of_object)
            user = model(pk=1)
            user._user_perm_cache = user._perm_cache = {PERM} if held else set()
            user._group_perm_cache = set()
            got = list[bool]()
            yield user, got
            want = [expected(order, has_object, held, method) for has_object in (False, True)]
            if kind is order[0] and PermissionDenied in (type(of_model), type(of_object)):
                assert not asked  # a veto comes first
            asked.clear()
            assert got == want, (order, answer, held, method)


@of_each(ONE_METHOD + BY_SETS)
def test_the_answers_of_other_backends_are_not_cached(api, user, thing, access_methods, use, kind):
    access_methods(Thing, _user_can_use_thing=lambda self, user: True)
    use(kind, OURS)
    for said in (True, False, PermissionDenied(), True):
        answer.update(model=said, object=False)
        assert api(user).has_perm(PERM) is (said is True)
        assert api(user).has_perm(PERM, thing) is (said is True)
    for said, obj in itertools.product((False, True), (thing, object())):
        answer.update(model=False, object=said)
        assert api(user).has_perm(PERM, obj) is said


@of_each(ONE_METHOD)
def test_the_decision_is_a_bool_or_the_exception_of_a_backend(api, user, thing, use, kind):
    use(kind)
    for said in (1, 0, None, []):
        answer.update(model=said, object=said)
        assert api(user).has_perm(PERM) is bool(said)
        assert api(user).has_perm(PERM, thing) is bool(said)
    answer.update(model=(error := ValueError("x")), object=error)
    for args in ((PERM,), (PERM, thing)):
        with pytest.raises(ValueError, match="x") as caught:
            api(user).has_perm(*args)
        assert caught.value is error


@of_each(ONE_METHOD)
@pytest.mark.parametrize("is_universal", [False, True])
def test_backends_decide_on_objects_for_superusers_only_with_universal_olp(
    api, user, thing, use, settings, kind, is_universal
):
    settings.DJEM_UNIVERSAL_OLP = is_universal
    use(kind, DJANGOS, OURS)
    answer.update(model=PermissionDenied(), object=PermissionDenied())
    user.is_superuser = True
    assert api(user).has_perm(PERM) is True
    assert api(user).has_perm(PERM, thing) is not is_universal
    user.is_active = False
    assert api(user).has_perm(PERM, thing) is False


# Awaitables and threads


class ReturnsCoroutine:
    def has_perm(self, user_obj: Any, perm: str, obj: Any = None) -> Any:
        return WithBoth().ahas_perm(user_obj, perm, obj)


class ReturnsGenerator:
    def has_perm(self, user_obj: Any, perm: str, obj: Any = None) -> Any:
        yield False


@pytest.mark.parametrize("kind", [ReturnsCoroutine, ReturnsGenerator])
def test_coroutines_and_generators_never_grant(api, user, use, kind):
    use(kind)
    if api.mode == "async" and kind is ReturnsCoroutine:
        assert api(user).has_perm(PERM) is False
    else:
        with pytest.raises(NotADecisionError):
            api(user).has_perm(PERM)


async def test_only_async_forms_run_on_the_event_loop(use):
    answer["model"] = True
    threads.clear()
    for kind in (SyncOnly, AsyncOnly):
        use(kind)
        assert await User(pk=1).ahas_perm(PERM) is True
    assert [each == threading.get_ident() for each in threads] == [False, True]
    with pytest.raises(SynchronousOnlyOperation, match="ahas_perm"):
        User(pk=1).has_perm(PERM)  # would need a second event loop


# Permission sets and modules


@of_each(BY_SETS)
def test_permission_sets_of_all_backends_are_united(api, user, use, kind):
    use(SyncOnly, DJANGOS, kind)
    assert api(user).get_all_permissions() == {PERM}
    user.user_permissions.clear()
    user = fresh(user)
    assert api(user).get_all_permissions() == set()
    answer.update(model=True, object=True)
    (name,) = vars(kind).keys() & {f"{prefix}{name}" for prefix in ("", "a") for name in SETS}
    name = name.removeprefix("a")
    for found in (name, "get_all_permissions"):
        assert getattr(api(user), found)() == {PERM}
        assert getattr(api(user), found)(OtherThing(pk=1)) == {PERM}
    for other in {*SETS} - {name, "get_all_permissions"}:
        assert getattr(api(user), other)() == set()


class Modules:
    def has_module_perms(self, user_obj: Any, app_label: str) -> Any:
        return say(user_obj, app_label)


class AsyncModules:
    async def ahas_module_perms(self, user_obj: Any, app_label: str) -> Any:
        return say(user_obj, app_label)


@of_each([Modules, AsyncModules])
def test_other_backends_decide_on_modules(api, user, use, kind):
    use(kind, DJANGOS)
    nobody = User.objects.create_user("nobody")
    assert api(nobody).has_module_perms("testapp") is False
    assert api(user).has_module_perms("testapp") is True
    answer["model"] = True
    assert api(nobody).has_module_perms("testapp") is True
    answer["model"] = PermissionDenied()
    assert api(user).has_module_perms("testapp") is False


# Which form is asked: a pair, or the one that overrides half of a pair


class InSync:
    """Grants "sync": the backends below tell by the permission which form was asked."""

    def has_perm(self, user_obj: Any, perm: str, obj: Any = None) -> bool:
        return perm == "sync"


class InAsync:
    async def ahas_perm(self, user_obj: Any, perm: str, obj: Any = None) -> bool:
        return perm == "async"


class InBoth:
    has_perm = InSync.has_perm
    ahas_perm = InAsync.ahas_perm


class InBothOfModel(InBoth, ModelBackend):
    pass


class Completed(InAsync, InSync):
    """Adds the form that was missing."""


class SyncAnew(InBothOfModel):
    has_perm = InSync.has_perm


class AsyncAnew(InBothOfModel):
    ahas_perm = InAsync.ahas_perm


class BothAnew(SyncAnew):
    has_perm = InSync.has_perm
    ahas_perm = InAsync.ahas_perm


class UserSet(ModelBackend):
    def get_user_permissions(self, user_obj: Any, obj: Any = None) -> set[str]:
        return set()


class AsyncUserSet(ModelBackend):
    async def aget_user_permissions(self, user_obj: Any, obj: Any = None) -> set[str]:
        return set()


class SyncSetAnew(InBothOfModel):
    """A set is overridden in sync, so all of the backend is asked through its sync API."""

    get_user_permissions = UserSet.get_user_permissions


class AsyncSetAnew(InBothOfModel):
    aget_user_permissions = AsyncUserSet.aget_user_permissions


class SyncOfInstance(InBoth):
    def __init__(self) -> None:
        self.has_perm = InSync().has_perm  # type: ignore[method-assign]


PAIRS = [InBoth, InBothOfModel, Completed, BothAnew]
ONLY = {InSync: "sync", SyncAnew: "sync", SyncSetAnew: "sync"}
ONLY |= {SyncOfInstance: "sync", InAsync: "async", AsyncAnew: "async", AsyncSetAnew: "async"}


@of_each([*PAIRS, *ONLY])
def test_a_form_that_is_out_of_date_is_not_asked(api, user, use, kind):
    use(kind)
    granted = [perm for perm in ("sync", "async") if api(user).has_perm(perm)]
    assert granted == [ONLY.get(kind, api.mode)]


class LoggedUserSet(ModelBackend):
    def get_user_permissions(self, user_obj: Any, obj: Any = None) -> set[str]:
        return super().get_user_permissions(user_obj, obj)


class AsyncVeto(LoggedUserSet):
    async def ahas_perm(self, user_obj: Any, perm: str, obj: Any = None) -> bool:
        raise PermissionDenied


def test_a_veto_counts_although_a_parent_overrides_another_method(api, user, thing, use):
    for kind, is_held in ((LoggedUserSet, True), (AsyncVeto, False)):
        use(kind, DJANGOS, OURS)
        assert api(user).has_perm(PERM) is is_held
        assert api(user).has_perm(PERM, thing) is is_held


class OwnQuery(ModelBackend):
    """Overrides what both of Django's forms call."""

    def _get_user_permissions(self, user_obj: Any) -> Any:
        return user_obj.user_permissions.none()


class OwnSets(ModelBackend):
    def _get_permissions(self, user_obj: Any, obj: Any, from_name: str) -> set[str]:
        return set()


class Strict(BaseBackend):
    def has_perm(self, user_obj: Any, perm: str, obj: Any = None) -> bool:
        raise PermissionDenied

    def get_all_permissions(self, user_obj: Any, obj: Any = None) -> set[str]:
        return set()

    def has_module_perms(self, user_obj: Any, app_label: str) -> bool:
        return False


class BehindDjangos(ModelBackend, Strict):
    """Django's own methods call those of `Strict` by ``super()``."""


class NamedLikeDjangos(ModelBackend):
    get_user_permissions = UserSet.get_user_permissions


for mark in ("__module__", "__name__", "__qualname__"):
    setattr(NamedLikeDjangos, mark, getattr(ModelBackend, mark))


STRICTER = ["UserSet", "AsyncUserSet", "OwnQuery", "OwnSets"]


@pytest.mark.parametrize("kind", [*STRICTER, "BehindDjangos", "NamedLikeDjangos"])
def test_a_backend_stricter_than_djangos_denies_in_both_apis(api, user, thing, use, kind):
    use(f"{__name__}.{kind}", OURS)
    for _ in range(2):
        assert api(user).has_perm(PERM) is False
        assert api(user).has_perm(PERM, thing) is False
        assert api(user).get_all_permissions() == set()
        assert api(user).has_module_perms("testapp") is False


class StaffOnly:
    """Overrides the sync forms of a backend of ours, and calls them."""

    def has_perm(self, user_obj: Any, perm: str, obj: Any = None) -> Any:
        return user_obj.is_staff and super().has_perm(user_obj, perm, obj)

    def get_all_permissions(self, user_obj: Any, obj: Any = None) -> set[str]:
        return super().get_all_permissions(user_obj, obj) if user_obj.is_staff else set()


class AsyncStaffOnly:
    async def ahas_perm(self, user_obj: Any, perm: str, obj: Any = None) -> Any:
        return user_obj.is_staff and await super().ahas_perm(user_obj, perm, obj)

    async def aget_all_permissions(self, user_obj: Any, obj: Any = None) -> set[str]:
        return await super().aget_all_permissions(user_obj, obj) if user_obj.is_staff else set()


OUR_KINDS = (ObjectPermissionsBackend, OurModelBackend)
STAFF_ONLY = [
    *itertools.starmap(inheriting, itertools.product((StaffOnly, AsyncStaffOnly), OUR_KINDS))
]
globals().update((kind.__name__, kind) for kind in STAFF_ONLY)


@of_each(STAFF_ONLY)
@pytest.mark.parametrize("allowed", [False, True])
def test_a_subclass_of_ours_that_overrides_one_form_counts_in_both_apis(
    api, user, thing, access_methods, use, kind, allowed
):
    access_methods(Thing, _user_can_use_thing=lambda self, user: allowed)
    for is_staff in (False, True, False):
        user.is_staff = is_staff
        use(kind)
        assert api(user).has_perm(PERM) is (is_staff and issubclass(kind, OurModelBackend))
        use(DJANGOS, kind)
        assert api(user).has_perm(PERM, thing) is (is_staff and allowed)
        assert (PERM in api(user).get_all_permissions(thing)) is (is_staff and allowed)


Both = type("Both", (ObjectPermissionsBackend, ModelBackend), {})
BothReversed = type("BothReversed", (ModelBackend, ObjectPermissionsBackend), {})


@pytest.mark.parametrize(("kind", "is_held"), [(Both, False), (BothReversed, True)])
def test_a_backend_of_ours_and_djangos_is_not_mixed(api, user, thing, use, kind, is_held):
    use(kind)
    for _ in range(2):
        assert api(user).has_perm(PERM) is is_held
        assert api(user).has_perm(PERM, thing) is False


def made_by_function() -> Any:
    return SyncOnly() if answer["object"] else ModelBackend()


class MadeByInit(ModelBackend):
    def __init__(self) -> None:
        if answer["object"]:
            self.has_perm = say


@of_each([made_by_function, MadeByInit])
def test_a_backend_that_is_made_anew_is_asked_each_time(api, user, use, kind):
    use(kind, OURS)
    for is_strict in (False, True, False):
        answer["object"] = is_strict
        assert api(user).has_perm(PERM) is not is_strict


class SignsIn(ModelBackend):
    def authenticate(self, request: Any, **credentials: Any) -> None:
        return None


class Silent:
    """Says nothing about permissions."""

    __slots__ = ()


@pytest.mark.parametrize("silent", [Silent, "django.contrib.auth.backends.BaseBackend"])
def test_backends_without_permission_methods_are_left_out(api, user, thing, use, silent):
    use(silent, SignsIn, OURS)
    for perm, is_held in ((PERM, True), ("testapp.delete_thing", False)):
        assert api(user).has_perm(perm) is is_held
        assert api(user).has_perm(perm, thing) is is_held
    assert api(user).has_module_perms("testapp") is True
    assert api(user).get_all_permissions() == {PERM}
    use(silent, OURS)
    assert api(fresh(user)).has_perm(PERM, thing) is False


class OnlySets:
    def get_all_permissions(self, user_obj: Any, obj: Any = None) -> set[str]:
        return {"testapp.view_thing"}


def test_backend_without_has_perm_adds_to_sets_only(api, user, settings):
    settings.AUTHENTICATION_BACKENDS = [DJANGOS, f"{__name__}.OnlySets"]
    assert api(user).has_perm("testapp.view_thing") is False
    assert api(user).get_all_permissions() >= {PERM, "testapp.view_thing"}


class Asking:
    def has_perm(self, user_obj: Any, perm: str, obj: Any = None) -> bool:
        return user_obj.has_perm(perm)


def test_a_backend_that_asks_for_what_is_being_decided_is_refused(api, user, thing, use):
    use(Asking, OURS)
    for args in ((PERM,), (PERM, thing)):
        with pytest.raises(PermissionRecursionError, match=f"{PERM} -> {PERM}"):
            api(user).has_perm(*args)
