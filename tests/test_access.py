"""How access methods are found and asked, and their errors; `tests.test_answers` has answers."""

import asyncio
import functools
from typing import Any, NamedTuple

import pytest
from asgiref.sync import sync_to_async
from django.contrib.auth.models import Group
from django.core.exceptions import PermissionDenied, SynchronousOnlyOperation
from django.db.models import QuerySet

from djem_async.access import AccessDecorators, nonblocking
from djem_async.exceptions import AsyncMethodError, NotADecisionError
from tests.conftest import PERM, aallow, adeny, allow, decorated, deny
from tests.testapp.models import SpecialThing, Thing, ThingProxy, User

SOURCES = ("user", "group")
FORMS = ("user", "auser", "group", "agroup")


# Names


# Kinds of attributes


def shifted(self: Any, answer: Any, argument: Any) -> Any:
    return answer


class Toggle(NamedTuple):
    """Isn't bound, so it is called with the user alone."""

    answer: Any

    def __call__(self, argument: Any) -> Any:
        return self.answer


KINDS = {
    "decorated": lambda answer: decorated(lambda self, argument: answer),
    "nonblocking and decorated": lambda answer: decorated(nonblocking(lambda *args: answer)),
    "staticmethod": lambda answer: staticmethod(functools.partial(shifted, 0, answer)),
    "classmethod": lambda answer: classmethod(lambda cls, argument: answer and cls is Thing),
    "partialmethod": lambda answer: functools.partialmethod(shifted, answer),
    "property": lambda answer: property(lambda self: lambda argument: answer),
    "callable object": Toggle,
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("source", SOURCES)
@pytest.mark.parametrize("answer", [True, False, None])
def test_every_kind_of_attribute_that_can_be_called_decides(
    api, user, thing, access_methods, kind, source, answer
):
    access_methods(Thing, **{f"_{source}_can_use_thing": KINDS[kind](answer)})
    assert api(user).has_perm(PERM, thing) is bool(answer)


@pytest.mark.parametrize(
    ("value", "error", "message"),
    [(value, TypeError, r"Thing\._{form}_can_use_thing") for value in (True, False, None, "yes")]
    + [(property(lambda self: self.misspelt), AttributeError, "misspelt")],
)
@pytest.mark.parametrize("form", FORMS)
def test_what_is_not_a_method_does_not_open_the_permission(
    api, user, thing, access_methods, form, value, error, message
):
    access_methods(Thing, **{f"_{form}_can_use_thing": value})
    with pytest.raises(error, match=message.format(form=form)):
        api(user).has_perm(PERM, thing)


def test_a_property_may_deny(api, user, thing, access_methods):
    def denying(self: Any) -> Any:
        raise PermissionDenied

    access_methods(Thing, _group_can_use_thing=property(denying), _user_can_use_thing=allow)
    assert api(user).has_perm(PERM, thing) is False
    assert PERM not in api(user).get_all_permissions(thing)


# Which form is asked


@pytest.mark.parametrize("source", SOURCES)
def test_each_api_asks_its_own_form(api, user, thing, access_methods, source):
    access_methods(Thing, **{f"_{source}_can_use_thing": deny, f"_a{source}_can_use_thing": aallow})
    assert api(user).has_perm(PERM, thing) is (api.mode == "async")


@pytest.mark.parametrize("model", [ThingProxy, SpecialThing])
@pytest.mark.parametrize("form", FORMS)
def test_the_form_of_the_nearest_class_is_asked_in_both_apis(
    api, user, thing, access_methods, form, model
):
    source = form.removeprefix("a")
    name, twin = f"_{source}_can_use_thing", f"_a{source}_can_use_thing"
    access_methods(Thing, **{name: allow, twin: aallow})
    access_methods(model, **{f"_{form}_can_use_thing": adeny if form.startswith("a") else deny})
    obj = model.objects.create()
    assert api(user).has_perm(PERM, thing) is True
    assert api(user).has_perm(PERM, obj) is False
    assert PERM not in api(user).get_all_permissions(obj)


def test_a_twin_that_is_not_async_is_refused(api, user, thing, access_methods):
    access_methods(Thing, _auser_can_use_thing=allow)
    with pytest.raises(NotADecisionError, match="async def"):
        api(user).has_perm(PERM, thing)


@pytest.mark.parametrize("form", FORMS)
async def test_a_sync_check_that_needs_an_async_method_raises_on_an_event_loop(
    universal_superuser, access_methods, form
):
    access_methods(Thing, **{f"_{form}_can_use_thing": aallow})
    for error in (AsyncMethodError, SynchronousOnlyOperation):
        with pytest.raises(error, match=r"aallow.*await user\.ahas_perm"):
            universal_superuser.has_perm(PERM, Thing())
    assert await sync_to_async(universal_superuser.has_perm)(PERM, Thing()) is True
    source = form.removeprefix("a")
    access_methods(Thing, **{f"_{source}_can_use_thing": deny, f"_a{source}_can_use_thing": aallow})
    assert universal_superuser.has_perm(PERM, Thing()) is False  # by its own form


# What they are given


@pytest.mark.parametrize("form", ["group", "agroup", "async group"])
def test_a_group_method_is_given_a_lazy_queryset(
    api, user, thing, access_methods, form, django_assert_num_queries
):
    seen: list[Any] = []

    def in_staff(self: Any, groups: Any) -> bool:
        return not seen.append(groups) and groups.filter(name="staff").exists()

    async def ain_staff(self: Any, groups: Any) -> bool:
        return not seen.append(groups) and await groups.filter(name="staff").aexists()

    name = f"_{form.removeprefix('async ')}_can_use_thing"
    access_methods(Thing, **{name: in_staff if form == "group" else ain_staff})
    Group.objects.create(name="others")
    api(user).has_perm(PERM)
    with django_assert_num_queries(1):
        assert api(user).has_perm(PERM, thing) is False
    user.groups.create(name="staff")
    user.clear_perm_cache()
    assert api(user).has_perm(PERM, thing) is True
    assert all(isinstance(groups, QuerySet) for groups in seen)
    assert [group.name for group in seen[-1]] == ["staff"]


# Threads and contexts


def test_nonblocking_returns_the_method_and_refuses_async_ones():
    assert nonblocking(method := decorated(allow)) is method
    with pytest.raises(TypeError, match="aallow is async"):
        nonblocking(aallow)


def test_access_decorators_return_the_method():
    access = AccessDecorators[User]()  # what type checkers make of it is in `tests/typing`
    for method in (allow, aallow, nonblocking(lambda self, argument: True)):
        for decorate in (access.user, access.group, access.q_user, access.q_group):
            assert decorate(method) is method


# Errors


class Unusual(BaseException):
    pass


def answering(*answers: Any) -> dict[str, dict[str, Any]]:
    """Write methods that raise each of the answers that is an exception, and return the others."""
    left = list(answers)

    def plain(self: Any, argument: Any) -> Any:
        answer = left.pop(0)
        if isinstance(answer, BaseException):
            raise answer
        return answer

    async def native(self: Any, argument: Any) -> Any:
        return plain(self, argument)

    return {
        "def": {"_user_can_use_thing": plain},
        "nonblocking": {"_user_can_use_thing": nonblocking(decorated(plain))},
        "async def": {"_user_can_use_thing": native},
        "async twin": {"_auser_can_use_thing": native},
        "group": {"_user_can_use_thing": deny, "_group_can_use_thing": plain},
        "user before group": {"_user_can_use_thing": plain, "_group_can_use_thing": allow},
    }


ASKED = list(answering())


@pytest.mark.parametrize("kind", [ValueError, Unusual, asyncio.CancelledError, RecursionError])
@pytest.mark.parametrize("form", ASKED)
def test_any_exception_propagates_and_nothing_is_kept(api, user, thing, access_methods, kind, form):
    errors = [kind("x"), kind("x")]
    access_methods(Thing, **answering(*errors, True)[form])
    for error in errors:
        with pytest.raises(kind, match="x") as raised:
            api(user).has_perm(PERM, thing)
        if kind is not asyncio.CancelledError:  # asyncio makes a new one of it
            assert raised.value is error
    assert api(user).has_perm(PERM, thing) is True


@pytest.mark.timeout(20)
@pytest.mark.parametrize("form", ASKED)
def test_stop_iteration_is_an_error_and_does_not_hang(api, user, thing, access_methods, form):
    access_methods(Thing, **answering(StopIteration(True))[form])
    with pytest.raises(RuntimeError, match="StopIteration"):
        api(user).has_perm(PERM, thing)


def test_method_of_an_instance_is_nearer_than_any_of_its_class(api, user, thing, access_methods):
    access_methods(Thing, _auser_can_use_thing=aallow)
    assert api(user).has_perm(PERM, Thing.objects.get(pk=thing.pk)) is True
    thing._user_can_use_thing = lambda user: False
    assert api(user).has_perm(PERM, thing) is False
