"""Plans: what is found out once for a class counts for an object only if it is as its class is."""

from __future__ import annotations

from types import MethodType
from typing import Any

import pytest

from djem_async import _plans
from djem_async._plans import needs_thread, plan_for
from djem_async.access import nonblocking
from tests.testapp.models import Thing

PERM = "testapp.use_thing"
USER, AUSER = "_user_can_use_thing", "_auser_can_use_thing"
GROUP, AGROUP = "_group_can_use_thing", "_agroup_can_use_thing"


@pytest.fixture(autouse=True)
def _forget_plans() -> None:
    _plans._plans.clear()


def plain(self: Any, argument: Any) -> bool:
    return True


def other(self: Any, argument: Any) -> bool:
    return True


@nonblocking
def inline(self: Any, argument: Any) -> bool:
    return True


async def native(self: Any, argument: Any) -> bool:
    return True


@pytest.mark.parametrize(
    ("methods", "sync_form", "async_form", "is_blocking"),
    [
        ({USER: plain}, USER, None, True),
        ({USER: inline}, USER, None, False),
        ({USER: native}, None, USER, True),
        ({AUSER: native}, None, AUSER, True),
        ({USER: plain, AUSER: native}, USER, AUSER, True),
        ({USER: inline, AUSER: native}, USER, AUSER, False),
        ({GROUP: plain}, GROUP, None, True),
        ({GROUP: native}, None, GROUP, True),
        ({AGROUP: native}, None, AGROUP, True),
        ({GROUP: inline, AGROUP: native}, GROUP, AGROUP, False),
    ],
)
def test_a_plan_says_where_the_forms_of_the_method_are(
    access_methods, methods, sync_form, async_form, is_blocking
):
    access_methods(Thing, **methods)
    obj = Thing()
    plan = plan_for(obj, PERM)
    assert plan is not None
    assert plan.source == ("group" if GROUP in methods or AGROUP in methods else "user")
    assert plan.is_blocking is is_blocking
    assert plan.forms_of(obj) == tuple(
        name and getattr(obj, name) for name in (sync_form, async_form)
    )


@pytest.mark.parametrize(
    "methods",
    [
        {USER: plain, GROUP: plain},  # the first may change whether the second has to be asked
        {USER: plain, AGROUP: native},
        {USER: native, AUSER: native},  # each API has its own
        {GROUP: native, AGROUP: native},
    ],
)
def test_there_is_no_plan_for_more_than_one_method(access_methods, methods):
    access_methods(Thing, **methods)
    assert plan_for(Thing(), PERM) is None


def test_a_form_that_is_out_of_date_is_not_used(access_methods):
    class Heir(Thing):
        class Meta:
            app_label = "testapp"
            proxy = True

    access_methods(Thing, **{USER: plain, AUSER: native})
    access_methods(Heir, **{USER: plain})
    heir = Heir()
    plan = plan_for(heir, PERM)
    assert plan is not None
    assert plan.forms_of(heir) == (getattr(heir, USER), None)


class Callable_:
    def __call__(self, argument: Any) -> bool:
        return True


class OfObjects:
    """Works for objects, and fails for classes."""

    def __get__(self, obj: Any, kind: type) -> Any:
        if obj is None:
            raise ValueError
        return MethodType(other, obj)


def test_there_is_no_plan_where_there_is_no_method():
    assert plan_for(Thing(), PERM) is None


@pytest.mark.parametrize("name", [USER, AUSER, GROUP, AGROUP])
@pytest.mark.parametrize(
    "method",
    [
        None,
        OfObjects(),
        property(lambda self: lambda user: True),
        classmethod(plain),
        staticmethod(lambda user: True),
        Callable_(),
    ],
)
def test_there_is_no_plan_with_what_is_no_plain_function(access_methods, name, method):
    access_methods(Thing, **{USER: plain} | {name: method})
    assert plan_for(Thing(), PERM) is None


def test_there_is_no_plan_for_an_object_with_forms_of_its_own(access_methods):
    access_methods(Thing, **{USER: plain})
    obj, another = Thing(), Thing()
    setattr(obj, USER, lambda user: False)
    assert plan_for(obj, PERM) is None
    assert plan_for(another, PERM) is not None


@pytest.mark.parametrize("name", [USER, AUSER])
def test_there_is_no_plan_by_an_object_that_has_the_method_of_its_class(access_methods, name):
    """Its own form counts more than the other, for this object alone."""
    access_methods(Thing, **{USER: plain, AUSER: native})
    obj, another = Thing(), Thing()
    setattr(obj, name, getattr(obj, name))
    assert plan_for(obj, PERM) is None
    plan = plan_for(another, PERM)
    assert plan is not None
    assert plan.forms_of(another) == (getattr(another, USER), getattr(another, AUSER))


@pytest.mark.parametrize("name", [USER, AUSER, GROUP, AGROUP])
@pytest.mark.parametrize("is_of_class", [False, True])
@pytest.mark.parametrize("method", [other, None])
def test_a_plan_is_not_for_what_has_got_another_method(access_methods, name, is_of_class, method):
    access_methods(Thing, **{USER: plain, AUSER: native})
    obj = Thing()
    plan = plan_for(obj, PERM)
    assert plan is not None
    if is_of_class:
        access_methods(Thing, **{name: method})
    else:
        setattr(obj, name, method and MethodType(method, obj))
    assert plan.forms_of(obj) is None
    assert (plan.forms_of(Thing()) is None) is is_of_class


def test_a_plan_is_not_for_an_object_with_the_method_of_another(access_methods):
    access_methods(Thing, **{USER: plain})
    obj, another = Thing(), Thing()
    plan = plan_for(obj, PERM)
    assert plan is not None
    setattr(obj, USER, getattr(another, USER))
    assert plan.forms_of(obj) is None


def test_a_plan_is_not_for_an_object_with_what_looks_like_its_method(access_methods):
    class Disguised:
        __func__ = staticmethod(plain)

        def __init__(self, obj: Any) -> None:
            self.__self__ = obj

        async def __call__(self, argument: Any) -> bool:
            return False

    access_methods(Thing, **{USER: plain})
    obj = Thing()
    plan = plan_for(obj, PERM)
    assert plan is not None
    setattr(obj, USER, Disguised(obj))
    assert plan.forms_of(obj) is None


@pytest.mark.parametrize("error", [ValueError, PermissionError, AttributeError])
def test_a_plan_is_not_for_a_class_that_has_got_a_property_that_fails(access_methods, error):
    def fail(self: Any) -> Any:
        raise error

    access_methods(Thing, **{USER: plain})
    plan = plan_for(Thing(), PERM)
    assert plan is not None
    access_methods(Thing, **{GROUP: property(fail)})
    assert plan.forms_of(Thing()) is None


def test_a_method_that_is_gone_is_not_in_the_plan(access_methods, monkeypatch):
    access_methods(Thing, **{USER: plain, AUSER: native})
    plan = plan_for(Thing(), PERM)
    monkeypatch.delattr(Thing, AUSER)
    assert plan is not None
    thing = Thing()
    assert plan.forms_of(thing) is None
    again = plan_for(thing, PERM)
    assert again is not None
    assert again.forms_of(thing) == (getattr(thing, USER), None)


def test_a_plan_is_made_once_for_a_class_and_a_codename(access_methods):
    access_methods(Thing, **{USER: plain})
    plan = plan_for(Thing(), PERM)
    assert plan is not None
    assert not hasattr(plan, "__dict__")
    assert plan_for(Thing(), PERM) is plan
    assert plan_for(Thing(), "another_app.use_thing") is plan  # it has the same access methods
    assert plan_for(Thing(), "testapp.change_thing") is None


@pytest.mark.parametrize(
    ("methods", "expected"),
    [
        ({USER: plain}, True),
        ({GROUP: plain}, True),
        ({USER: inline}, False),
        ({USER: native}, False),
        ({AUSER: native}, False),
        ({USER: plain, AUSER: native}, False),
    ],
)
def test_a_method_is_known_to_need_the_thread_once_there_is_a_plan(
    access_methods, methods, expected
):
    access_methods(Thing, **methods)
    assert needs_thread(Thing(), PERM) is False
    plan_for(Thing(), PERM)
    assert needs_thread(Thing(), PERM) is expected
    assert needs_thread(Thing(), "testapp.view_thing") is False


class _Unhashable(type):
    __hash__ = None  # type: ignore[assignment]


@pytest.mark.parametrize("obj", [None, 1, "thing", _Unhashable("Odd", (), {})()])
def test_of_what_can_have_no_plan_nothing_is_known(obj):
    assert needs_thread(obj, PERM) is False


@pytest.mark.parametrize("perm", [None, 1, b"testapp.use_thing", type("Text", (str,), {})(PERM)])
def test_of_what_is_no_plain_string_nothing_is_known(access_methods, perm):
    access_methods(Thing, **{USER: plain})
    plan_for(Thing(), PERM)
    assert needs_thread(Thing(), perm) is False
