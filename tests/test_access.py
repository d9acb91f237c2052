"""Access methods, in all the ways they can be written."""

import asyncio
import functools
import threading
from contextvars import ContextVar
from types import SimpleNamespace
from typing import Any

import pytest
from asgiref.sync import async_to_sync, sync_to_async
from django.contrib.auth.models import Group
from django.core.exceptions import PermissionDenied, SynchronousOnlyOperation
from django.db.models import QuerySet

from djem_async import access
from djem_async.access import (
    SOURCES,
    AccessDecorators,
    find_access_method,
    is_nonblocking,
    method_names,
    names_for,
    nonblocking,
)
from djem_async.auth import ObjectPermissionsBackend
from djem_async.exceptions import AsyncMethodError, NotADecisionError
from tests.conftest import grant
from tests.testapp.models import OtherThing, Thing, ThingProxy, User

pytestmark = pytest.mark.usefixtures("begins")

PERM = "testapp.use_thing"


class Toggle:
    """A callable object that remembers what it was called with."""

    def __init__(self, answer: Any = True) -> None:
        self.answer = answer
        self.calls: list[tuple[Any, ...]] = []

    def __call__(self, *args: Any) -> Any:
        self.calls.append(args)
        if isinstance(self.answer, BaseException):
            raise self.answer
        return self.answer


# Finding them


@pytest.mark.parametrize(
    ("source", "names"),
    [
        ("user", ("_user_can_use_thing", "_auser_can_use_thing")),
        ("group", ("_group_can_use_thing", "_agroup_can_use_thing")),
    ],
)
def test_names(source, names):
    assert method_names(source, "use_thing") == names
    for name in names:
        obj = SimpleNamespace(**{name: Toggle()})
        found = find_access_method(obj, source, PERM)
        assert found is not None
        assert getattr(obj, name) in found
        (other,) = set(SOURCES) - {source}
        assert find_access_method(obj, other, PERM) is None
        assert find_access_method(obj, source, "testapp.change_thing") is None


@pytest.mark.parametrize("perm", ["testapp.use_thing", "use_thing", "a.b.use_thing", ".use_thing"])
def test_the_codename_is_what_follows_the_last_dot(perm):
    obj = SimpleNamespace(_user_can_use_thing=Toggle())
    assert find_access_method(obj, "user", perm) == (obj._user_can_use_thing, None)


def test_a_method_that_equals_everything_is_not_taken_for_undefined():
    class Lenient(Toggle):
        __hash__ = None

        def __eq__(self, other: object) -> bool:
            return True

    found = find_access_method(SimpleNamespace(_user_can_use_thing=Lenient()), "user", PERM)
    assert found is not None


# Kinds of attributes that can be called


def plain(self: Any, user: Any) -> bool:
    return self.name == "a thing" and user.username == "user.name"


async def native(self: Any, user: Any) -> bool:
    await asyncio.sleep(0)
    return plain(self, user)


def decorated(method: Any) -> Any:
    @functools.wraps(method)
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        return method(*args, **kwargs)

    return wrapper


def with_an_argument(self: Any, answer: Any, argument: Any) -> Any:
    return answer


async def native_with_an_argument(self: Any, answer: Any, argument: Any) -> Any:
    return answer


class AsyncObject:
    async def __call__(self, user: Any) -> bool:
        return user.username == "user.name"


METHODS = {
    "def": plain,
    "async def": native,
    "lambda": lambda self, user: plain(self, user),
    "decorated": decorated(plain),
    "nonblocking": nonblocking(decorated(plain)),
    "property": property(lambda self: lambda user: plain(self, user)),
    "property of an async def": property(lambda self: functools.partial(native, self)),
    "staticmethod": staticmethod(lambda user: user.username == "user.name"),
    "classmethod": classmethod(lambda cls, user: cls is Thing),
    "partialmethod": functools.partialmethod(with_an_argument, True),
    "async partialmethod": functools.partialmethod(native_with_an_argument, True),
    "callable object": Toggle(),
    "bound method": Toggle().__call__,
    "a value that is true": lambda self, user: "yes",
}


@pytest.mark.parametrize("kind", METHODS)
def test_methods_of_every_kind_can_grant(api, user, thing, access_methods, kind):
    access_methods(Thing, _user_can_use_thing=METHODS[kind])
    assert api(user).has_perm(PERM, thing) is True


DENYING = {
    "def": lambda self, user: False,
    "forgotten return": lambda self, user: None,
    "a value that is false": lambda self, user: "",
    "decorated": decorated(lambda self, user: False),
    "nonblocking": nonblocking(decorated(lambda self, user: False)),
    "property": property(lambda self: lambda user: False),
    "staticmethod": staticmethod(lambda user: False),
    "classmethod": classmethod(lambda cls, user: False),
    "partialmethod": functools.partialmethod(with_an_argument, False),
    "async partialmethod": functools.partialmethod(native_with_an_argument, False),
    "callable object": Toggle(False),
    "empty callable object": type("Empty", (Toggle,), {"__len__": lambda self: 0})(False),
    "PermissionDenied": Toggle(PermissionDenied()),
    "a kind of PermissionDenied": Toggle(type("Refused", (PermissionDenied,), {})()),
}


@pytest.mark.parametrize("kind", DENYING)
@pytest.mark.parametrize("source", SOURCES)
def test_methods_of_every_kind_can_deny(api, user, thing, access_methods, kind, source):
    access_methods(Thing, **{f"_{source}_can_use_thing": DENYING[kind]})
    assert api(user).has_perm(PERM, thing) is False


def test_an_async_callable_object_needs_the_async_api(user, thing, access_methods):
    access_methods(Thing, _user_can_use_thing=AsyncObject())
    assert async_to_sync(user.ahas_perm)(PERM, thing) is True
    user.clear_perm_cache()
    with pytest.raises(NotADecisionError, match="AsyncObject"):
        user.has_perm(PERM, thing)


def test_an_async_callable_object_as_the_async_twin_serves_both_apis(
    api, user, thing, access_methods
):
    access_methods(Thing, _auser_can_use_thing=AsyncObject())
    assert api(user).has_perm(PERM, thing) is True


@pytest.mark.parametrize("form", ["user", "auser", "group", "agroup"])
def test_a_property_that_fails_does_not_open_the_permission(api, user, thing, access_methods, form):
    broken = property(lambda self: self.misspelt)
    access_methods(Thing, **{f"_{form}_can_use_thing": broken})
    with pytest.raises(AttributeError, match="misspelt"):
        api(user).has_perm(PERM, thing)


def test_a_property_that_raises_permission_denied_denies(api, user, thing, access_methods):
    def refuse(self: Any) -> Any:
        raise PermissionDenied

    access_methods(Thing, _user_can_use_thing=property(refuse))
    assert api(user).has_perm(PERM, thing) is False
    assert api(ObjectPermissionsBackend()).has_perm(user, PERM, thing) is False
    user = grant(user, "testapp.change_thing")
    assert api(user).get_all_permissions(thing) == {"testapp.change_thing"}


def test_a_property_that_raises_stop_iteration_is_an_error(api, user, thing, access_methods):
    access_methods(Thing, _user_can_use_thing=property(lambda self: next(iter(()))))
    with pytest.raises(RuntimeError, match="StopIteration"):
        api(user).has_perm(PERM, thing)


@pytest.mark.parametrize("form", ["user", "auser", "group", "agroup"])
@pytest.mark.parametrize("value", [True, False, None, "yes"])
def test_an_attribute_that_is_no_method_is_an_error(api, user, thing, access_methods, form, value):
    access_methods(Thing, **{f"_{form}_can_use_thing": value})
    with pytest.raises(TypeError, match=rf"^Thing\._{form}_can_use_thing must be a method"):
        api(user).has_perm(PERM, thing)


# Arguments


@pytest.mark.parametrize("form", ["user", "auser"])
def test_the_user_is_the_very_instance_that_is_checked(api, user, thing, access_methods, form):
    seen: list[Any] = []

    async def method(self: Any, user: Any) -> bool:
        seen.extend((self, user))
        return True

    access_methods(Thing, **{f"_{form}_can_use_thing": method})
    assert api(user).has_perm(PERM, thing)
    assert seen[0] is thing
    assert seen[1] is user


def test_the_groups_are_a_queryset_that_has_not_been_fetched(
    api, user, thing, access_methods, django_assert_num_queries
):
    staff, _ = (Group.objects.create(name=name) for name in ("staff", "others"))
    user.groups.add(staff)
    groups = Toggle()
    access_methods(Thing, _group_can_use_thing=groups)
    api(user).has_perm(PERM)
    with django_assert_num_queries(0):
        assert api(user).has_perm(PERM, thing) is True
    ((queryset,),) = groups.calls
    assert isinstance(queryset, QuerySet)
    assert list(queryset) == [staff]


def in_staff(self: Any, groups: Any) -> bool:
    return groups.filter(name="staff").exists()


async def ain_staff(self: Any, groups: Any) -> bool:
    return await groups.filter(name="staff").aexists()


@pytest.mark.parametrize(
    "methods",
    [
        {"_group_can_use_thing": in_staff},
        {"_group_can_use_thing": ain_staff},
        {"_agroup_can_use_thing": ain_staff},
    ],
    ids=["def", "async def", "async twin"],
)
def test_groups_can_be_asked_for_in_both_forms(api, user, thing, access_methods, methods):
    access_methods(Thing, **methods)
    assert api(user).has_perm(PERM, thing) is False
    user.groups.add(Group.objects.create(name="staff"))
    user.clear_perm_cache()
    assert api(user).has_perm(PERM, thing) is True


# Answers


def a_generator(self: Any, user: Any) -> Any:
    yield True


async def an_async_generator(self: Any, user: Any) -> Any:
    yield True


async def answers_with_a_generator(self: Any, user: Any) -> Any:
    return a_generator(self, user)


@pytest.mark.parametrize(
    "method",
    [
        a_generator,
        an_async_generator,
        answers_with_a_generator,
        lambda self, user: user.has_perm,
        lambda self, user: lambda: False,
        lambda self, user: len,
    ],
    ids=["generator", "async generator", "coroutine of one", "method", "function", "builtin"],
)
def test_what_is_true_but_never_meant_is_refused(api, user, thing, access_methods, method):
    access_methods(Thing, _user_can_use_thing=method)
    with pytest.raises(NotADecisionError, match="cannot be a decision"):
        api(user).has_perm(PERM, thing)


@pytest.mark.parametrize("mark", [nonblocking, lambda method: method], ids=["nonblocking", "plain"])
@pytest.mark.parametrize(("name", "granted"), [("a thing", True), ("no thing", False)])
def test_the_truth_value_of_a_queryset_is_a_query_also_in_async(
    api, user, thing, access_methods, mark, name, granted
):
    access_methods(
        Thing, _user_can_use_thing=mark(lambda self, user: Thing.objects.filter(name=name))
    )
    assert api(user).has_perm(PERM, thing) is granted


def test_an_async_method_may_return_a_queryset(api, user, thing, access_methods):
    async def method(self: Any, user: Any) -> Any:
        return Thing.objects.filter(name="no thing")

    access_methods(Thing, _user_can_use_thing=method)
    assert api(user).has_perm(PERM, thing) is False


class NoTruth:
    def __bool__(self) -> bool:
        raise ValueError("no truth value")


def test_an_error_of_the_truth_value_propagates(api, user, thing, access_methods):
    access_methods(Thing, _user_can_use_thing=lambda self, user: NoTruth())
    with pytest.raises(ValueError, match="no truth value"):
        api(user).has_perm(PERM, thing)


class Denied:
    def __bool__(self) -> bool:
        raise PermissionDenied


def test_permission_denied_by_the_truth_value_denies(api, user, thing, access_methods):
    access_methods(Thing, _user_can_use_thing=lambda self, user: Denied())
    assert api(user).has_perm(PERM, thing) is False


def test_a_forgotten_await_does_not_grant(user, thing, access_methods):
    """The method means to ask for another permission, and hands on the question."""
    other = OtherThing.objects.create()

    def method(self: Any, user: Any) -> Any:
        return user.ahas_perm("testapp.change_otherthing", other)

    access_methods(Thing, _user_can_use_thing=method)
    with pytest.raises(NotADecisionError, match="Declare it with `async def`"):
        user.has_perm(PERM, thing)
    assert async_to_sync(user.ahas_perm)(PERM, thing) is False


def test_a_forgotten_await_inside_a_method_does_not_grant(api, user, thing, access_methods):
    async def method(self: Any, user: Any) -> Any:
        return user.is_active and not user.ahas_perm("testapp.change_thing")

    access_methods(Thing, _user_can_use_thing=method)
    with pytest.raises(TypeError, match="was not awaited"):
        api(user).has_perm(PERM, thing)


# The two forms


def test_each_api_takes_its_own_form(api, user, thing, access_methods):
    async def aasked(self: Any, user: Any) -> bool:
        asked.append("async")
        return True

    asked: list[str] = []
    access_methods(
        Thing,
        _user_can_use_thing=lambda self, user: not asked.append("sync"),
        _auser_can_use_thing=aasked,
    )
    assert api(user).has_perm(PERM, thing) is True
    assert asked == [api.mode]


@pytest.mark.parametrize("form", ["user", "auser"])
def test_a_proxy_that_overrides_one_form_is_heard_in_both_apis(
    api, user, thing, access_methods, form
):
    """The form it inherits would give the answer of its parent, and grant."""

    async def agrant(self: Any, user: Any) -> bool:
        return True

    async def adeny(self: Any, user: Any) -> bool:
        return False

    access_methods(Thing, _user_can_use_thing=lambda self, user: True, _auser_can_use_thing=agrant)
    override = adeny if form == "auser" else lambda self, user: False
    access_methods(ThingProxy, **{f"_{form}_can_use_thing": override})
    assert api(user).has_perm(PERM, thing) is True
    assert api(user).has_perm(PERM, ThingProxy.objects.get(pk=thing.pk)) is False


def test_a_twin_must_be_async(api, user, thing, access_methods):
    access_methods(Thing, _auser_can_use_thing=lambda self, user: True)
    with pytest.raises(NotADecisionError, match="must be `async def`"):
        api(user).has_perm(PERM, thing)


async def grant_natively(self: Any, user: Any) -> bool:
    return True


@pytest.mark.parametrize("form", ["user", "auser"])
async def test_the_sync_api_cannot_run_an_async_method_where_a_loop_runs(access_methods, form):
    access_methods(Thing, **{f"_{form}_can_use_thing": grant_natively})
    user, thing = User(pk=1, is_active=True), Thing(name="a thing")
    user._perm_cache = {PERM}
    with pytest.raises(AsyncMethodError, match=r"grant_natively is async.*`await user\.ahas_perm"):
        user.has_perm(PERM, thing)
    with pytest.raises(SynchronousOnlyOperation):
        user.has_perm(PERM, thing)
    assert await sync_to_async(user.has_perm)(PERM, thing) is True


# Threads and contexts


def signed_in() -> User:
    user = User(pk=1, username="user.name", is_active=True)
    user._user_perm_cache, user._group_perm_cache = {PERM}, set()
    return user


async def thread_of(access_methods: Any, **methods: Any) -> int:
    threads: list[int] = []
    for name, mark in methods.items():
        access_methods(Thing, **{name: mark(lambda *_: not threads.append(threading.get_ident()))})
    assert await signed_in().ahas_perm(PERM, Thing())
    (thread,) = threads
    return thread


async def test_a_plain_method_runs_in_a_thread(access_methods):
    thread = await thread_of(access_methods, _user_can_use_thing=lambda method: method)
    assert thread != threading.get_ident()


@pytest.mark.parametrize("source", SOURCES)
async def test_a_nonblocking_method_runs_on_the_event_loop(access_methods, source):
    thread = await thread_of(access_methods, **{f"_{source}_can_use_thing": nonblocking})
    assert thread == threading.get_ident()


async def test_an_async_method_runs_on_the_event_loop(access_methods):
    threads: list[int] = []

    async def method(self: Any, user: Any) -> bool:
        threads.append(threading.get_ident())
        return True

    access_methods(Thing, _user_can_use_thing=method)
    assert await signed_in().ahas_perm(PERM, Thing())
    assert threads == [threading.get_ident()]


def test_names_are_made_once():
    assert names_for("user", "testapp.use_thing") is names_for("user", "testapp.use_thing")
    assert not hasattr(AccessDecorators(), "__dict__")
    assert access.__all__ == ["AccessDecorators", "nonblocking"]


async def test_nonblocking_is_a_promise_that_django_holds_the_method_to(access_methods, db):
    access_methods(Thing, _user_can_use_thing=nonblocking(lambda self, user: Thing.objects.count()))
    with pytest.raises(SynchronousOnlyOperation):
        await signed_in().ahas_perm(PERM, Thing())


request_id: ContextVar[str] = ContextVar("request_id", default="none")


@pytest.mark.parametrize("mark", [nonblocking, lambda method: method], ids=["nonblocking", "plain"])
async def test_context_variables_travel_into_a_method_and_back(access_methods, mark):
    seen: list[str] = []

    def method(self: Any, user: Any) -> bool:
        seen.append(request_id.get())
        request_id.set("of the method")
        return True

    access_methods(Thing, _user_can_use_thing=mark(method))
    request_id.set("of the caller")
    assert await signed_in().ahas_perm(PERM, Thing())
    assert seen == ["of the caller"]
    assert request_id.get() == "of the method"


# The mark


def test_nonblocking_marks_a_method_and_returns_it():
    def method(self: Any, user: Any) -> bool:
        return True

    assert not is_nonblocking(method)
    assert nonblocking(method) is method
    assert is_nonblocking(method)
    assert is_nonblocking(decorated(method))


def test_nonblocking_refuses_an_async_method():
    with pytest.raises(TypeError, match=r"^native is async.*Remove the mark\.$"):
        nonblocking(native)


def test_a_mark_is_no_guess():
    """A mock has every attribute, and is not marked for that."""
    from unittest.mock import Mock

    assert not is_nonblocking(Mock())


# Errors


class Unusual(BaseException):
    pass


@pytest.mark.parametrize("kind", [ValueError, Unusual, asyncio.CancelledError, RecursionError])
@pytest.mark.parametrize("form", ["def", "nonblocking", "async def", "group"])
def test_any_exception_propagates_and_nothing_is_kept(api, user, thing, access_methods, kind, form):
    error = kind("x")
    method = Toggle(error)

    async def amethod(self: Any, user: Any) -> Any:
        return method(user)

    methods: dict[str, Any] = {
        "def": {"_user_can_use_thing": lambda self, user: method(user)},
        "nonblocking": {"_user_can_use_thing": nonblocking(lambda self, user: method(user))},
        "async def": {"_user_can_use_thing": amethod},
        "group": {
            "_user_can_use_thing": lambda self, user: False,
            "_group_can_use_thing": lambda self, groups: method(groups),
        },
    }
    access_methods(Thing, **methods[form])
    for _ in range(2):
        with pytest.raises(kind, match="x") as raised:
            api(user).has_perm(PERM, thing)
        if kind is not asyncio.CancelledError:  # asyncio makes a new one of it
            assert raised.value is error
    assert len(method.calls) == 2
    method.answer = True
    assert api(user).has_perm(PERM, thing) is True


@pytest.mark.parametrize("kind", [KeyboardInterrupt, SystemExit])
def test_what_ends_the_program_is_not_held_back(access_methods, kind):
    error = kind()
    access_methods(Thing, _user_can_use_thing=nonblocking(lambda *_: Toggle(error)()))
    user = signed_in()
    user._perm_cache = {PERM}
    for check in (user.has_perm, lambda *args: user.ahas_perm(*args).send(None)):
        with pytest.raises(kind) as raised:
            check(PERM, Thing())
        assert raised.value is error


@pytest.mark.parametrize("form", ["def", "nonblocking", "async def", "truth value"])
def test_stop_iteration_is_an_error_and_no_answer(api, user, thing, access_methods, form):
    def stop(self: Any, user: Any = None) -> Any:
        raise StopIteration(True)

    async def astop(self: Any, user: Any) -> Any:
        raise StopIteration(True)

    methods = {
        "def": stop,
        "nonblocking": nonblocking(decorated(stop)),
        "async def": astop,
        "truth value": lambda self, user: type("Stopping", (), {"__bool__": stop})(),
    }
    access_methods(Thing, _user_can_use_thing=methods[form])
    timer = threading.Timer(10, pytest.exit, ["A check hangs."])
    timer.start()
    try:
        with pytest.raises(RuntimeError, match="raised StopIteration"):
            api(user).has_perm(PERM, thing)
    finally:
        timer.cancel()


def test_an_exception_of_one_method_is_not_covered_up_by_the_other(
    api, user, thing, access_methods
):
    access_methods(
        Thing,
        _user_can_use_thing=lambda self, user: Toggle(ValueError("x"))(),
        _group_can_use_thing=lambda self, groups: True,
    )
    with pytest.raises(ValueError, match="x"):
        api(user).has_perm(PERM, thing)


def test_a_method_may_check_other_permissions(api, user, thing, access_methods):
    user = grant(user, "testapp.change_otherthing")
    other = OtherThing.objects.create()

    def by_other(self: Any, user: Any) -> bool:
        return user.has_perm("testapp.change_otherthing", other)

    async def aby_other(self: Any, user: Any) -> bool:
        return await user.ahas_perm("testapp.change_otherthing", other)

    access_methods(Thing, _user_can_use_thing=by_other, _auser_can_use_thing=aby_other)
    assert api(user).has_perm(PERM, thing) is True
    access_methods(OtherThing, _user_can_change_otherthing=lambda self, user: False)
    user.clear_perm_cache()
    assert api(user).has_perm(PERM, thing) is False
