"""Other authentication backends beside ours: they may grant, veto, and know one API only.

How they are asked is in `djem_async._backends`.
"""

import asyncio
import threading
from contextlib import nullcontext
from itertools import combinations
from typing import Any
from unittest.mock import AsyncMock, Mock

import pytest
from asgiref.sync import async_to_sync
from django.contrib.auth.backends import BaseBackend, ModelBackend
from django.contrib.auth.models import _user_has_perm  # type: ignore[attr-defined]
from django.core.exceptions import PermissionDenied

from djem_async import _backends
from djem_async._backends import PERMISSION_METHODS
from djem_async._cache import Generation, permission_cache
from djem_async._fetch import fill_permission_caches
from djem_async._running import Running, innermost
from djem_async.exceptions import NotADecisionError
from tests.testapp.models import OtherThing, Thing, User

PERM = "testapp.use_thing"
OURS = "djem_async.auth.ObjectPermissionsBackend"
DJANGOS = "django.contrib.auth.backends.ModelBackend"

# What the backends below say. It is set by each test: Django makes new backends all the time.
answer: dict[str, Any] = {}


def say(user: User, perm: str, obj: Any) -> Any:
    value = answer["object" if obj is not None else "model"]
    if isinstance(value, BaseException):
        raise value
    return value


class WithBoth:
    def has_perm(self, user_obj: User, perm: str, obj: Any = None) -> Any:
        return say(user_obj, perm, obj)

    async def ahas_perm(self, user_obj: User, perm: str, obj: Any = None) -> Any:
        return say(user_obj, perm, obj)


class SyncOnly:
    """As django-guardian, rules and djem have it."""

    def has_perm(self, user_obj: User, perm: str, obj: Any = None) -> Any:
        return say(user_obj, perm, obj)


class AsyncOnly:
    async def ahas_perm(self, user_obj: User, perm: str, obj: Any = None) -> Any:
        return say(user_obj, perm, obj)


class AsyncNamedSync:
    async def has_perm(self, user_obj: User, perm: str, obj: Any = None) -> Any:
        return say(user_obj, perm, obj)


class SyncOfBase(SyncOnly, BaseBackend):
    """It inherits an ``ahas_perm`` that knows nothing of this one."""


class AsyncOfBase(AsyncOnly, BaseBackend):
    pass


class SyncOfModel(SyncOnly, ModelBackend):
    pass


class AsyncOfModel(AsyncOnly, ModelBackend):
    pass


class HeirOfSync(SyncOfBase):
    pass


class SyncAgain(WithBoth):
    def has_perm(self, user_obj: User, perm: str, obj: Any = None) -> Any:
        return super().has_perm(user_obj, perm, obj)

    async def ahas_perm(self, user_obj: User, perm: str, obj: Any = None) -> Any:
        raise AssertionError("An async form that is out of date was asked.")


class SyncOverAsync(SyncAgain):
    def has_perm(self, user_obj: User, perm: str, obj: Any = None) -> Any:
        return super().has_perm(user_obj, perm, obj)


class AllOfBase(BaseBackend):
    def get_all_permissions(self, user_obj: User, obj: Any = None) -> set[str]:
        return {PERM} if say(user_obj, PERM, obj) else set()


class UserOfBase(BaseBackend):
    def get_user_permissions(self, user_obj: User, obj: Any = None) -> set[str]:
        return {PERM} if say(user_obj, PERM, obj) else set()


class GroupOfBase(BaseBackend):
    def get_group_permissions(self, user_obj: User, obj: Any = None) -> set[str]:
        return {PERM} if say(user_obj, PERM, obj) else set()


class AsyncAllOfBase(BaseBackend):
    async def aget_all_permissions(self, user_obj: User, obj: Any = None) -> set[str]:
        return {PERM} if say(user_obj, PERM, obj) else set()


class AsyncUserOfBase(BaseBackend):
    async def aget_user_permissions(self, user_obj: User, obj: Any = None) -> set[str]:
        return {PERM} if say(user_obj, PERM, obj) else set()


class AsyncGroupOfBase(BaseBackend):
    async def aget_group_permissions(self, user_obj: User, obj: Any = None) -> set[str]:
        return {PERM} if say(user_obj, PERM, obj) else set()


HAS_PERM = [
    WithBoth,
    SyncOnly,
    AsyncOnly,
    AsyncNamedSync,
    SyncOfBase,
    AsyncOfBase,
    SyncOfModel,
    AsyncOfModel,
    HeirOfSync,
    SyncOverAsync,
]
PERMISSION_SETS = [
    AllOfBase,
    UserOfBase,
    GroupOfBase,
    AsyncAllOfBase,
    AsyncUserOfBase,
    AsyncGroupOfBase,
]


def of_each(kinds: list[type]) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("kind", kinds, ids=lambda kind: kind.__name__)


@pytest.fixture
def use(settings):
    def backends(*kinds: Any) -> None:
        settings.AUTHENTICATION_BACKENDS = [
            kind if isinstance(kind, str) else f"{__name__}.{kind.__name__}" for kind in kinds
        ]

    answer.clear()
    answer.update(model=False, object=False)
    return backends


@pytest.fixture
def asked(access_methods):
    """Whether the access method was asked, which grants."""
    calls: list[Any] = []
    access_methods(Thing, _user_can_use_thing=lambda self, user: not calls.append(user))
    return calls


@pytest.fixture
def nobody(db):
    """A user without any permission of Django's."""
    return User.objects.create_user("nobody")


# Grants


@of_each(HAS_PERM + PERMISSION_SETS)
def test_a_backend_grants_at_the_model_level(api, nobody, thing, asked, use, kind):
    use(kind, OURS)
    assert api(nobody).has_perm(PERM) is False
    assert api(nobody).has_perm(PERM, thing) is False
    assert not asked
    answer["model"] = True
    assert api(nobody).has_perm(PERM) is True
    assert api(nobody).has_perm(PERM, thing) is True
    assert asked == [nobody]


@of_each(HAS_PERM + PERMISSION_SETS)
@pytest.mark.parametrize("is_first", [True, False])
def test_a_backend_grants_on_an_object(api, user, thing, access_methods, use, kind, is_first):
    access_methods(Thing, _user_can_use_thing=lambda self, user: False)
    use(*([DJANGOS, kind, OURS] if is_first else [DJANGOS, OURS, kind]))
    assert api(user).has_perm(PERM, thing) is False
    answer["object"] = True
    assert api(user).has_perm(PERM, thing) is True


@of_each(HAS_PERM + PERMISSION_SETS)
def test_a_backend_answers_for_what_is_no_model_instance(api, user, use, kind):
    use(DJANGOS, OURS, kind)
    assert api(user).has_perm(PERM, object()) is False
    answer["object"] = True
    assert api(user).has_perm(PERM, object()) is True
    assert api(user).has_perm(PERM, "") is True


@of_each(HAS_PERM)
@pytest.mark.parametrize("value", [1, 0, None, "", "yes", []])
def test_the_decision_is_a_bool_whatever_a_backend_answers(api, nobody, use, kind, value):
    use(kind)
    answer["model"] = value
    assert api(nobody).has_perm(PERM) is bool(value)


# Vetoes


@of_each(HAS_PERM + PERMISSION_SETS)
def test_an_earlier_backend_vetoes(api, user, thing, asked, use, kind):
    use(kind, DJANGOS, OURS)
    answer["object"] = PermissionDenied()
    assert api(user).has_perm(PERM) is True
    assert api(user).has_perm(PERM, thing) is False
    assert not asked


@of_each(HAS_PERM + PERMISSION_SETS)
def test_an_earlier_backend_vetoes_at_the_model_level(api, user, thing, asked, use, kind):
    use(kind, DJANGOS, OURS)
    answer["model"] = PermissionDenied()
    assert api(user).has_perm(PERM) is False
    assert api(user).has_perm(PERM, thing) is False
    assert not asked


@of_each(HAS_PERM + PERMISSION_SETS)
def test_a_later_backend_comes_too_late_for_a_veto(api, user, thing, asked, use, kind):
    use(DJANGOS, OURS, kind)
    answer.update(model=PermissionDenied(), object=PermissionDenied())
    assert api(user).has_perm(PERM, thing) is True
    assert asked


@of_each(HAS_PERM)
def test_other_exceptions_of_a_backend_propagate(api, user, thing, use, kind):
    use(kind, DJANGOS, OURS)
    answer["object"] = error = ValueError("x")
    with pytest.raises(ValueError, match="x") as raised:
        api(user).has_perm(PERM, thing)
    assert raised.value is error


# What is not an answer


class ReturnsCoroutine:
    def has_perm(self, user_obj: User, perm: str, obj: Any = None) -> Any:
        return WithBoth().ahas_perm(user_obj, perm, obj)


class ReturnsGenerator:
    def has_perm(self, user_obj: User, perm: str, obj: Any = None) -> Any:
        yield True


class TwinIsSync(SyncOnly):
    def ahas_perm(self, user_obj: User, perm: str, obj: Any = None) -> Any:
        return True


def test_a_coroutine_of_a_backend_does_not_grant(api, nobody, use):
    use(ReturnsCoroutine)
    if api.mode == "sync":
        with pytest.raises(NotADecisionError):
            api(nobody).has_perm(PERM)
    else:
        assert api(nobody).has_perm(PERM) is False


def test_a_generator_of_a_backend_does_not_grant(api, nobody, use):
    use(ReturnsGenerator)
    with pytest.raises(NotADecisionError):
        api(nobody).has_perm(PERM)


def test_an_async_form_that_is_not_async_is_an_error(api, nobody, use):
    use(TwinIsSync)
    if api.mode == "sync":
        assert api(nobody).has_perm(PERM) is False
    else:
        with pytest.raises(NotADecisionError, match=r"TwinIsSync\.ahas_perm must be `async def`"):
            api(nobody).has_perm(PERM)


# Where they run


class WhichThread:
    def has_perm(self, user_obj: User, perm: str, obj: Any = None) -> bool:
        threads.append(threading.get_ident())
        return True


threads: list[int] = []


async def test_a_backend_with_a_sync_form_alone_runs_in_a_thread(use):
    use(WhichThread)
    threads.clear()
    assert await User(pk=1).ahas_perm(PERM)
    assert threads != [threading.get_ident()]


# Permission sets and modules


def test_permission_sets_of_all_backends_are_united(api, user, thing, use, access_methods):
    access_methods(Thing, _user_can_use_thing=lambda self, user: False)
    answer.update(model=True, object=True)
    for kind in PERMISSION_SETS:
        use(DJANGOS, kind, OURS)
        assert PERM in api(user).get_all_permissions(thing)
        assert PERM in api(user).get_all_permissions()
    for kind in (UserOfBase, AsyncUserOfBase):
        use(kind, OURS)
        assert api(user).get_user_permissions(thing) == {PERM}
        assert api(user).get_group_permissions(OtherThing.objects.create()) == set()
    for kind in (GroupOfBase, AsyncGroupOfBase):
        use(kind)
        assert api(user).get_group_permissions() == {PERM}
        assert api(user).get_user_permissions() == set()


def test_backends_without_permission_sets_are_left_out(api, user, use):
    use(SyncOnly, DJANGOS)
    assert api(user).get_all_permissions() == {PERM}


class Modules:
    def has_module_perms(self, user_obj: User, app_label: str) -> Any:
        return say(user_obj, app_label, None)


class AsyncModules:
    async def ahas_module_perms(self, user_obj: User, app_label: str) -> Any:
        return say(user_obj, app_label, None)


class ModulesOfModel(Modules, ModelBackend):
    pass


@of_each([Modules, AsyncModules, ModulesOfModel])
def test_modules(api, user, nobody, use, kind):
    use(kind, DJANGOS)
    assert api(nobody).has_module_perms("testapp") is False
    assert api(user).has_module_perms("testapp") is True
    answer["model"] = True
    assert api(nobody).has_module_perms("testapp") is True
    answer["model"] = PermissionDenied()
    assert api(user).has_module_perms("testapp") is False
    user.is_superuser = True
    assert api(user).has_module_perms("testapp") is True
    user.is_active = False
    assert api(user).has_module_perms("testapp") is False


# Which form of a backend to ask: one that knows all that the backend decides


class OwnHook(ModelBackend):
    """Django's two forms have this in common: it is no override of either."""

    def _get_user_permissions(self, user_obj: User) -> Any:
        return super()._get_user_permissions(user_obj).none()


class OnlySets(ModelBackend):
    def get_user_permissions(self, user_obj: User, obj: Any = None) -> set[str]:
        return set()


class OnlyAsyncSets(ModelBackend):
    async def aget_user_permissions(self, user_obj: User, obj: Any = None) -> set[str]:
        return set()


class AsyncSetsLater(OnlySets):
    async def aget_user_permissions(self, user_obj: User, obj: Any = None) -> set[str]:
        return set()


class SyncSetsLater(OnlyAsyncSets):
    def get_user_permissions(self, user_obj: User, obj: Any = None) -> set[str]:
        return set()


class AllInSync(ModelBackend):
    def has_perm(self, user_obj: User, perm: str, obj: Any = None) -> bool:
        return False

    def get_all_permissions(self, user_obj: User, obj: Any = None) -> set[str]:
        return set()


class CheckInAsyncLater(AllInSync):
    """Has an async form of what matters, but not of all."""

    async def ahas_perm(self, user_obj: User, perm: str, obj: Any = None) -> bool:
        return False


class AllInAsync(ModelBackend):
    async def ahas_perm(self, user_obj: User, perm: str, obj: Any = None) -> bool:
        return False

    async def aget_all_permissions(self, user_obj: User, obj: Any = None) -> set[str]:
        return set()


class CheckInSyncLater(AllInAsync):
    def has_perm(self, user_obj: User, perm: str, obj: Any = None) -> bool:
        return False


@of_each(
    [
        OwnHook,
        OnlySets,
        OnlyAsyncSets,
        AsyncSetsLater,
        SyncSetsLater,
        AllInSync,
        AllInAsync,
        CheckInAsyncLater,
        CheckInSyncLater,
    ]
)
def test_a_backend_that_denies_more_than_django_is_honoured_in_both_apis(api, user, use, kind):
    use(kind)
    assert api(user).has_perm(PERM) is False
    assert api(user).get_all_permissions() == set()
    assert api(user).has_module_perms("testapp") is False


class InSync:
    """Grants "sync": the backends below tell by a permission which of their forms was asked."""

    def has_perm(self, user_obj: User, perm: str, obj: Any = None) -> bool:
        return perm == "sync"


class InAsync:
    async def ahas_perm(self, user_obj: User, perm: str, obj: Any = None) -> bool:
        return perm == "async"


class InBoth(InSync, InAsync):
    has_perm = InSync.has_perm
    ahas_perm = InAsync.ahas_perm


class InBothOfModel(InBoth, ModelBackend):
    pass


class InBothWithASet(InBoth):
    def get_all_permissions(self, user_obj: User, obj: Any = None) -> set[str]:
        return set()


class AddsAsync(InAsync, InSync, ModelBackend):
    """Completes a pair: the sync form is as good as it was."""


class AddsSync(InSync, InAsync, ModelBackend):
    pass


class SyncAnew(InBothOfModel):
    """Overrides half of a pair: the other half is out of date."""

    has_perm = InSync.has_perm


class AsyncAnew(InBothOfModel):
    ahas_perm = InAsync.ahas_perm


class SyncOnceMore(SyncAnew):
    has_perm = InSync.has_perm


class AsyncAfterAll(SyncOnceMore):
    """Completes the pair again."""

    ahas_perm = InAsync.ahas_perm


class SyncOverAddsSync(AddsSync):
    has_perm = InSync.has_perm


@pytest.mark.parametrize(
    ("kind", "only"),
    [
        (InBoth, None),
        (InBothOfModel, None),
        (InBothWithASet, None),
        (AddsAsync, None),
        (AddsSync, None),
        (SyncAnew, "sync"),
        (AsyncAnew, "async"),
        (SyncOnceMore, "sync"),
        (SyncOverAddsSync, "sync"),
        (AsyncAfterAll, None),
    ],
)
def test_each_api_asks_its_own_form_unless_that_is_out_of_date(api, nobody, use, kind, only):
    use(kind)
    granted = [perm for perm in ("sync", "async") if api(nobody).has_perm(perm)]
    assert granted == [only or api.mode]


# What a backend decides in places of its own


class Restricted(ModelBackend):
    """Restricts both of Django's permission sets in the private method that they share."""

    def _get_permissions(self, user_obj: User, obj: Any, from_name: str) -> set[str]:
        return set()


class Replaced(BaseBackend):
    """Grants, but replaces its method by one that denies when it is made."""

    def __init__(self) -> None:
        self.has_perm = lambda user_obj, perm, obj=None: False

    async def ahas_perm(self, user_obj: User, perm: str, obj: Any = None) -> bool:
        return True


@pytest.mark.parametrize("backend", [Restricted, Replaced])
def test_a_backend_that_restricts_one_form_in_its_own_way_is_honoured(api, user, settings, backend):
    settings.AUTHENTICATION_BACKENDS = [f"{__name__}.{backend.__qualname__}", OURS]
    assert api(user).has_perm(PERM) is False


class EndsLogs(BaseBackend):
    """Ends a log that it did not start."""

    def has_perm(self, user_obj: User, perm: str, obj: Any = None) -> bool:
        user_obj.end_log()
        return True


def test_a_backend_that_ends_a_log_leaves_those_of_others_alone(api, user, settings):
    settings.DJEM_PERM_LOG_VERBOSITY = 1
    settings.AUTHENTICATION_BACKENDS = [f"{__name__}.EndsLogs"]
    user.start_log("mine")

    assert api(user).has_perm(PERM) is True

    assert user.end_log() == ("mine", [])


def test_djangos_base_of_backends_says_nothing_and_is_no_hindrance(api, user, thing, settings):
    settings.AUTHENTICATION_BACKENDS = ["django.contrib.auth.backends.BaseBackend", DJANGOS, OURS]
    for _ in range(2):
        assert api(user).has_perm(PERM) is True
        assert api(user).has_perm(PERM, thing) is True
        assert api(user).has_perm("testapp.delete_thing", thing) is False
        assert api(user).has_module_perms("testapp") is True
    settings.AUTHENTICATION_BACKENDS = ["django.contrib.auth.backends.BaseBackend", OURS]
    for _ in range(2):
        assert api(user).has_perm(PERM) is False
        assert api(user).has_perm(PERM, thing) is False
        assert api(user).has_module_perms("testapp") is False


# What is fetched for Django's


def test_the_permission_methods_are_those_of_djangos_backends():
    assert set(PERMISSION_METHODS) == {
        "has_perm",
        "has_module_perms",
        "get_all_permissions",
        "get_user_permissions",
        "get_group_permissions",
    }


@pytest.mark.parametrize(
    ("names", "is_enough"),
    [
        ("", False),
        ("_perm_cache", True),
        ("_user_perm_cache", False),
        ("_group_perm_cache", False),
        ("_user_perm_cache _group_perm_cache", True),
        ("_perm_cache _user_perm_cache", True),
        ("_perm_cache _group_perm_cache", True),
        ("_perm_cache _user_perm_cache _group_perm_cache", True),
    ],
)
def test_what_is_known_is_not_fetched_again(names, is_enough):
    generation = Generation({name: set() for name in names.split()})
    assert _backends._has_caches(generation) is is_enough


@pytest.mark.parametrize("inactive_at", list(combinations(range(1, 12), 2)))
def test_nothing_is_kept_of_a_user_who_was_inactive_in_the_midst_of_a_fetch(
    api, user, monkeypatch, inactive_at
):
    """Django caches that such a user holds nothing."""
    looks = 0

    def is_active(self: Any) -> bool:
        nonlocal looks
        looks += 1
        return looks not in inactive_at

    with monkeypatch.context() as patch:
        patch.setattr(User, "is_active", property(is_active, lambda self, value: None))
        api(user).has_perm(PERM)
        assert looks >= 3
    assert api(user).has_perm(PERM) is True


def test_a_check_that_joins_a_fetch_which_found_the_user_inactive_fetches_anew(
    api, user, monkeypatch
):
    fetches: list[Any] = []

    def fill(backend: Any, user: Any) -> None:
        fetches.append(user)
        if len(fetches) > 1:
            fill_permission_caches(backend, user)

    monkeypatch.setattr(_backends, "fill_permission_caches", fill)
    assert api(user).has_perm(PERM) is True
    assert len(fetches) == 2


@pytest.mark.parametrize("flag", ["is_active", "is_anonymous"])
def test_nothing_is_fetched_for_whoever_has_no_permissions(api, user, monkeypatch, flag):
    fetched: list[Any] = []
    monkeypatch.setattr(_backends, "fill_permission_caches", lambda *args: fetched.append(args))
    if flag == "is_active":
        user.is_active = False
    else:
        monkeypatch.setattr(User, flag, value=True)
    assert api(user).has_perm(PERM) is False
    assert api(user).has_module_perms("testapp") is False
    assert fetched == []


@pytest.mark.parametrize("found", [(), ("_user_perm_cache",), ("_group_perm_cache",)])
def test_what_rests_on_what_an_inactive_user_was_found_to_hold_is_forgotten(
    user, monkeypatch, found
):
    generation = permission_cache(user).generation

    def fill(backend: Any, user: Any) -> None:
        for name in (*found, "_perm_cache"):
            setattr(user, name, set())
        generation.trust.model_level[PERM] = False  # as another check does that comes between

    monkeypatch.setattr(_backends, "fill_permission_caches", fill)
    _backends._fetch(ModelBackend(), user, generation)
    assert generation.model_level == {name: set() for name in found}
    assert generation.trust.model_level == {}


@pytest.mark.parametrize("error", [None, ValueError])
def test_a_fetch_ends_with_its_call(user, monkeypatch, error):
    during: list[Any] = []

    def fill(backend: Any, user: Any) -> None:
        during.append(Running.current())
        if error is not None:
            raise error

    monkeypatch.setattr(_backends, "fill_permission_caches", fill)
    with nullcontext() if error is None else pytest.raises(error):
        _backends._fetch(ModelBackend(), user, permission_cache(user).generation)
    assert isinstance(during[0], Running)
    assert Running.current() is innermost.get() is None


def test_a_fetch_that_is_made_can_be_waited_for(user):
    generation = permission_cache(user).generation

    async def check() -> None:
        task = asyncio.create_task(user.ahas_perm(PERM))
        for _ in range(10):
            await asyncio.sleep(0)
            if task.done() or _backends.fetch_of(generation) is not None:
                break
        assert not task.done()
        assert _backends.fetch_of(generation) is not None
        assert await task is True
        assert _backends.fetch_of(generation) is None

    async_to_sync(check)()


def test_what_is_known_waits_for_no_fetch(user, monkeypatch):
    """It is not fetched anew because another check fetches, which may take its time."""
    is_fetching, may_end = threading.Event(), threading.Event()

    def fill(backend: Any, user: Any) -> None:
        is_fetching.set()
        assert may_end.wait(10)
        fill_permission_caches(backend, user)

    async def check() -> list[Any]:
        fetching = asyncio.create_task(user.ahas_perm("testapp.change_thing"))
        try:
            assert await asyncio.to_thread(is_fetching.wait, 10)
            user._perm_cache = set()
            answers = [await asyncio.to_thread(user.has_perm, PERM)]
            answers += await asyncio.wait_for(asyncio.gather(user.ahas_perm(PERM)), 5)
            return answers
        finally:
            may_end.set()
            await fetching

    monkeypatch.setattr(_backends, "fill_permission_caches", fill)
    assert async_to_sync(check)() == [False, False]


def test_what_cannot_be_fetched_is_tried_twice(api, user, monkeypatch):
    fetches: list[Any] = []
    monkeypatch.setattr(_backends, "fill_permission_caches", lambda *args: fetches.append(args))
    assert api(user).has_perm(PERM) is False
    assert len(fetches) == 2


def test_what_is_fetched_is_kept_where_the_check_that_needs_it_looks(user):
    """A clear may have come between the two."""
    generation = Generation()
    _backends._fetch(ModelBackend(), user, generation)
    assert PERM in generation.model_level["_perm_cache"]
    assert permission_cache(user).generation.model_level == {}


# Backends that stand behind Django's own in the order of inheritance, and are asked by it


class Strict(BaseBackend):
    """Denies what `closed` says."""

    def has_perm(self, user_obj: User, perm: str, obj: Any = None) -> bool:
        if ("object" if obj is not None else "model") in closed:
            raise PermissionDenied
        return super().has_perm(user_obj, perm, obj)


class StrictInBoth(Strict):
    async def ahas_perm(self, user_obj: User, perm: str, obj: Any = None) -> bool:
        if obj is None:
            await User.objects.acount()  # may be awaited only
        if ("object" if obj is not None else "model") in closed:
            raise PermissionDenied
        return await super().ahas_perm(user_obj, perm, obj)


class ViewOnly(BaseBackend):
    def get_all_permissions(self, user_obj: User, obj: Any = None) -> set[str]:
        perms = super().get_all_permissions(user_obj, obj)
        return {perm for perm in perms if "model" not in closed or ".view_" in perm}


class BehindDjango(ModelBackend, Strict):
    pass


class BehindDjangoInBoth(ModelBackend, StrictInBoth):
    pass


class BehindDjangoByPermissions(ModelBackend, ViewOnly):
    pass


closed: set[str] = set()


@pytest.fixture(params=[BehindDjango, BehindDjangoInBoth, BehindDjangoByPermissions])
def behind_django(request, settings):
    settings.AUTHENTICATION_BACKENDS = [f"{__name__}.{request.param.__name__}", OURS]
    yield request.param
    closed.clear()


@pytest.mark.parametrize("level", ["model", "object"])
@pytest.mark.parametrize("has_object", [True, False])
def test_what_stands_behind_djangos_backend_is_asked(
    api, user, thing, behind_django, level, has_object
):
    closed.add(level)
    obj = thing if has_object else None
    if behind_django is BehindDjangoByPermissions:
        expected = level != "model"
    else:
        # The check of an object is one of the model level as well.
        expected = level == "object" and not has_object
    assert _user_has_perm(User.objects.get(pk=user.pk), PERM, obj) is expected
    assert api(user).has_perm(PERM, obj) is expected


@pytest.mark.parametrize("has_object", [True, False])
def test_what_stands_behind_djangos_backend_is_asked_every_time(
    api, user, thing, behind_django, has_object
):
    args = (PERM, thing) if has_object else (PERM,)
    assert api(user).has_perm(*args)
    closed.update(("model", "object"))
    if behind_django is BehindDjangoByPermissions:
        user.clear_perm_cache()  # Django caches what it says
    assert not api(user).has_perm(*args)


# Patches


def deny(*args: Any, **options: Any) -> bool:
    raise PermissionDenied


async def adeny(*args: Any, **options: Any) -> bool:
    raise PermissionDenied


@pytest.mark.parametrize("name", ["has_perm", "ahas_perm"])
@pytest.mark.parametrize("kind", [ModelBackend, BaseBackend])
@pytest.mark.parametrize("has_object", [True, False])
def test_a_patch_of_djangos_check_is_heard_by_whoever_asks_it(
    api, user, thing, monkeypatch, name, kind, has_object
):
    args = (PERM, thing) if has_object else (PERM,)
    assert api(user).has_perm(*args)
    with monkeypatch.context() as patch:
        patch.setattr(kind, name, adeny if name == "ahas_perm" else deny)
        user.clear_perm_cache()
        is_heard = (name == "ahas_perm") is (api.mode == "async")
        assert api(user).has_perm(*args) is not is_heard
        assert api(User.objects.get(pk=user.pk)).has_perm(*args) is not is_heard
    user.clear_perm_cache()
    assert api(user).has_perm(*args)


@pytest.mark.parametrize(
    ("backends", "expected"),
    [
        ([DJANGOS, OURS], True),
        ([OURS, DJANGOS], True),
        ([DJANGOS], False),
        ([OURS], False),
        ([DJANGOS, OURS, f"{__name__}._Narrow"], False),
    ],
)
def test_a_first_check_is_known_to_fetch_once_somebody_has_looked(
    backends, expected, settings, monkeypatch
):
    settings.AUTHENTICATION_BACKENDS = backends
    monkeypatch.setattr(_backends, "_backends", None)
    assert _backends.is_fetch_likely() is False
    _backends.are_all_known()
    assert _backends.is_fetch_likely() is expected


def test_another_check_of_djangos_is_no_check_that_is_known(monkeypatch):
    assert _backends.are_all_known()
    monkeypatch.setattr(ModelBackend, "has_perm", BaseBackend.has_perm)
    assert not _backends.are_all_known()


class _Narrow(ModelBackend):
    has_perm = ModelBackend.has_perm
    ahas_perm = ModelBackend.ahas_perm

    def get_all_permissions(self, user_obj: Any, obj: Any = None) -> Any:
        return set()

    async def aget_all_permissions(self, user_obj: Any, obj: Any = None) -> Any:
        return set()


_Narrow.__name__ = "ModelBackend"


def test_a_class_with_the_name_and_the_checks_of_djangos_is_not_djangos(api, user, settings):
    settings.AUTHENTICATION_BACKENDS = [f"{__name__}._Narrow"]
    assert not _backends.are_all_known()
    assert api(user).has_perm(PERM) is False


def test_a_patch_that_has_no_code_is_heard(api, user, thing, monkeypatch):
    assert api(user).has_perm(PERM, thing)
    monkeypatch.setattr(ModelBackend, "has_perm", Mock(side_effect=PermissionDenied))
    monkeypatch.setattr(ModelBackend, "ahas_perm", AsyncMock(side_effect=PermissionDenied))
    for each in (user, User.objects.get(pk=user.pk)):
        each.clear_perm_cache()
        assert not api(each).has_perm(PERM, thing)
        assert not api(each).has_perm(PERM)


def test_a_patch_of_what_djangos_backend_derives_permissions_from_is_heard(api, user, monkeypatch):
    assert api(user).has_perm(PERM)
    monkeypatch.setattr(BaseBackend, "get_all_permissions", lambda *args: set())
    assert not api(User.objects.get(pk=user.pk)).has_perm(PERM)


class Slotted:
    __slots__ = ()

    has_perm = SyncOnly.has_perm


def test_a_backend_needs_no_dict(api, user, thing, use):
    use(Slotted)
    answer["object"] = True
    assert api(user).has_perm(PERM, thing)


def test_a_setting_that_is_changed_in_place_counts_for_new_users(api, user, thing, settings, use):
    settings.AUTHENTICATION_BACKENDS = backends = [DJANGOS, OURS]
    assert api(user).has_perm(PERM, thing)
    answer["object"] = PermissionDenied()
    backends.insert(0, f"{__name__}.SyncOnly")
    answer["model"] = False
    assert not api(User.objects.get(pk=user.pk)).has_perm(PERM, thing)


@pytest.mark.usefixtures("db")
def test_backends_are_looked_at_anew_only_where_something_has_changed(settings, monkeypatch):
    settings.AUTHENTICATION_BACKENDS = backends = [DJANGOS, OURS]
    found = _backends._current()
    assert _backends._current() is found
    settings.DJEM_UNIVERSAL_OLP = True
    assert _backends._current() is not found
    found = _backends._current()
    backends.reverse()
    assert _backends._current() is not found
    for name in ("has_perm", "ahas_perm"):
        found = _backends._current()
        with monkeypatch.context() as patch:
            patch.setattr(ModelBackend, name, deny)
            assert _backends._current() is not found
            assert not _backends.are_all_known()
        assert _backends.are_all_known()
    found = _backends._current()
    assert _backends._current() is found


# Classes that look like Django's own, or are made in a way of their own


class Pretending(ModelBackend):
    """Its name and module say that it is Django's."""

    def get_all_permissions(self, user_obj: User, obj: Any = None) -> set[str]:
        if obj is not None:
            raise PermissionDenied
        return {PERM}

    async def aget_all_permissions(self, user_obj: User, obj: Any = None) -> set[str]:
        return self.get_all_permissions(user_obj, obj)


class Imitation(Pretending):
    pass


class Borrowing(ModelBackend):
    """Its checks are Django's own, but not what they ask."""

    has_perm, ahas_perm = ModelBackend.has_perm, ModelBackend.ahas_perm
    get_all_permissions = Pretending.get_all_permissions
    aget_all_permissions = Pretending.aget_all_permissions


for mark in ("__module__", "__name__", "__qualname__"):
    setattr(Imitation, mark, getattr(ModelBackend, mark))
    setattr(Pretending, mark, getattr(ModelBackend, mark))


class ClosedFromTheStart(ModelBackend):
    def __init__(self) -> None:
        if closed:
            self.has_perm, self.ahas_perm = deny, adeny  # type: ignore[method-assign]


class ClosedWhenMade(ModelBackend):
    def __new__(cls) -> Any:
        return Veto() if closed else super().__new__(cls)


class Veto:
    has_perm = staticmethod(deny)
    ahas_perm = staticmethod(adeny)


class Making(type):
    def __call__(cls) -> Any:
        return Veto() if closed else super().__call__()


class ClosedByItsClass(ModelBackend, metaclass=Making):
    pass


def closed_by_a_function() -> Any:
    return Veto() if closed else ModelBackend()


@pytest.mark.parametrize("name", ["Pretending", "Imitation", "Borrowing"])
def test_a_class_that_pretends_to_be_djangos_is_asked(api, user, thing, settings, name):
    settings.AUTHENTICATION_BACKENDS = [f"{__name__}.{name}", OURS]
    assert api(user).has_perm(PERM)
    assert not api(user).has_perm(PERM, thing)


MADE = ["ClosedFromTheStart", "ClosedWhenMade", "ClosedByItsClass", "closed_by_a_function"]


@pytest.mark.parametrize("name", MADE)
def test_a_backend_that_is_made_in_its_own_way_is_made_anew(api, user, thing, settings, name):
    settings.AUTHENTICATION_BACKENDS = [f"{__name__}.{name}", OURS]
    for args in ((PERM,), (PERM, thing)):
        assert api(user).has_perm(*args)
        closed.add("")
        try:
            assert not api(user).has_perm(*args)
            assert not api(User.objects.get(pk=user.pk)).has_perm(*args)
        finally:
            closed.clear()


class Between(BaseBackend):
    pass


class AroundBetween(ModelBackend, Between):
    pass


def test_a_patch_of_a_class_in_between_is_heard(api, user, thing, settings, monkeypatch):
    settings.AUTHENTICATION_BACKENDS = [f"{__name__}.AroundBetween", OURS]
    assert api(user).has_perm(PERM, thing)
    monkeypatch.setattr(Between, "has_perm", deny, raising=False)
    monkeypatch.setattr(Between, "ahas_perm", adeny, raising=False)
    assert not api(User.objects.get(pk=user.pk)).has_perm(PERM, thing)


def test_a_patch_while_backends_are_looked_at_is_heard(api, user, thing, settings, monkeypatch):
    settings.AUTHENTICATION_BACKENDS = [DJANGOS, OURS]
    classify = _backends._classify

    def classify_before_the_patch(path: str, backend: object) -> Any:
        found = classify(path, backend)
        monkeypatch.setattr(ModelBackend, "has_perm", deny)
        monkeypatch.setattr(ModelBackend, "ahas_perm", adeny)
        return found

    with monkeypatch.context() as patch:
        patch.setattr(_backends, "_classify", classify_before_the_patch)
        _backends._current()
    assert not api(user).has_perm(PERM, thing)


class WithoutAsync(WithBoth):
    ahas_perm = None  # type: ignore[assignment]


class WithoutSync(WithBoth):
    has_perm = None  # type: ignore[assignment]


@pytest.mark.parametrize("kind", [WithoutAsync, WithoutSync])
def test_a_form_that_is_none_leaves_the_other(api, user, thing, use, kind):
    use(kind, DJANGOS, OURS)
    answer.update(model=PermissionDenied(), object=PermissionDenied())
    assert not api(user).has_perm(PERM)
    assert not api(user).has_perm(PERM, thing)


class FailingForm(WithBoth):
    @property
    def has_perm(self) -> Any:  # type: ignore[override]
        raise AttributeError("a mistake in it")

    @property
    def ahas_perm(self) -> Any:  # type: ignore[override]
        raise AttributeError("a mistake in it")


def test_a_form_that_fails_is_an_error(api, user, use):
    use(FailingForm, DJANGOS, OURS)
    with pytest.raises(AttributeError, match="a mistake in it"):
        api(user).has_perm(PERM)


class SignsIn:
    def __init__(self) -> None:
        self.strategy = None

    def authenticate(self, request: Any) -> None:
        pass


class SignsInAndVetoes(SignsIn):
    def __init__(self) -> None:
        vars(self).update(has_perm=deny, ahas_perm=adeny)


@pytest.mark.parametrize("kind", [SignsIn, SignsInAndVetoes])
def test_a_backend_that_only_signs_in_is_known_however_it_is_made(api, user, thing, use, kind):
    use(kind, DJANGOS, OURS)
    is_silent = kind is SignsIn
    assert _backends.are_all_known() is is_silent
    assert api(user).has_perm(PERM, thing) is is_silent


class OnTheInstance:
    """Its forms are of the instance, as a wrapper has them."""

    def __init__(self) -> None:
        for name in forms_of_instance:
            setattr(self, name, {"has_perm": lambda *_: False, "ahas_perm": adeny}[name])


forms_of_instance: set[str] = set()


@pytest.mark.parametrize("names", [{"has_perm"}, {"ahas_perm"}, {"has_perm", "ahas_perm"}])
def test_forms_of_the_instance_are_asked(api, user, use, names):
    use(OnTheInstance, DJANGOS, OURS)
    forms_of_instance.clear()
    forms_of_instance.update(names)
    is_vetoed = names == {"ahas_perm"} or (api.mode == "async" and "ahas_perm" in names)
    assert api(user).has_perm(PERM) is not is_vetoed


class OnTheInstanceToo(WithBoth):
    def __init__(self) -> None:
        async def agrant(*args: Any) -> bool:
            return True

        for name in forms_of_instance:
            setattr(self, name, {"has_perm": lambda *_: True, "ahas_perm": agrant}[name])


@pytest.mark.parametrize("names", [{"has_perm"}, {"ahas_perm"}, {"has_perm", "ahas_perm"}])
def test_forms_of_the_instance_make_those_of_the_class_out_of_date(api, nobody, use, names):
    use(OnTheInstanceToo)
    forms_of_instance.clear()
    forms_of_instance.update(names)
    assert api(nobody).has_perm(PERM)


def test_the_setting_may_be_anything_to_iterate_over(api, user, thing, settings):
    settings.AUTHENTICATION_BACKENDS = dict.fromkeys((DJANGOS, OURS)).keys()
    assert api(user).has_perm(PERM, thing)
