"""What access methods may answer: everything that grants is listed, everything falsy denies.

Any other answer raises `NotADecisionError`: it is truthy, so taking it for a decision would grant.
"""

import asyncio
import enum
import math
from collections.abc import Callable
from decimal import Decimal
from fractions import Fraction
from types import FunctionType
from typing import Any
from unittest.mock import AsyncMock, MagicMock, Mock

import pytest
from asgiref.sync import markcoroutinefunction
from django.core.exceptions import PermissionDenied
from django.db.models import Exists, F, Q, TextChoices, Value
from django.http import HttpResponse
from django.utils.functional import SimpleLazyObject, lazystr

from djem_async.access import nonblocking
from djem_async.exceptions import NotADecisionError
from tests.conftest import PERM, grant
from tests.testapp.models import OtherThing, Thing, User

State = enum.IntEnum("State", {"CLOSED": 0, "OPEN": 1})
Flags = enum.Flag("Flags", {"NONE": 0, "READ": 1})
Plain = enum.Enum("Plain", ["OPEN"])


class Label(TextChoices):
    NOTHING = ""
    ALLOWED = "allowed"


class Empty:
    def __len__(self) -> int:
        return 0


class Posing:
    """An awaitable of a denial that says it is a bool."""

    __class__ = property(lambda self: bool)  # type: ignore[assignment]

    def __await__(self) -> Any:
        yield from asyncio.sleep(0).__await__()
        return False


def a_generator() -> Any:
    yield True


async def an_async_generator() -> Any:
    yield True


async def a_coroutine(answer: Any) -> Any:
    return answer


def things(**values: Any) -> Any:
    return Thing.objects.filter(**values)


# Functions make those answers that are of one use, or of the database.
GRANTING = [
    *(True, 1, -1, 0.5, Decimal("0.1"), Thing(pk=1), User()),
    lambda: things(name="a thing"),
    lambda: things(name="a thing").values("pk"),
]
DENYING = [
    *(False, None, 0, 0.0, Decimal(0), "", [], {}, Q(), Empty()),
    *(State.CLOSED, Label.NOTHING, Flags.NONE),
    lambda: things(name="no thing"),
    lambda: things(name="no thing").values("pk"),
    lambda: Thing.objects.none(),
    lambda: SimpleLazyObject(lambda: things(name="no thing").first()),  # makes a query
]
REFUSED = [
    *(math.nan, -math.inf, Decimal("nan"), Decimal("snan"), Decimal("inf"), 1j, Fraction(1, 2)),
    *(State.OPEN, Label.ALLOWED, Flags.READ, Plain.OPEN),
    *(Q(name="no thing"), F("name"), Value(False), Exists(Thing.objects.none()), Thing.objects),
    *("no", lazystr("no"), b"no", [False], (False, "reason"), {False}, {"allowed": False}),
    *(HttpResponse(status=403), PermissionDenied("not raised"), ..., NotImplemented, object()),
    lambda: Mock(),
    lambda: Mock(spec=bool),
    lambda: MagicMock(),
    lambda: AsyncMock(),
    lambda: iter([]),
    lambda: map(bool, []),
    lambda: a_generator(),
    lambda: an_async_generator(),
    lambda: lambda: False,
    lambda: len,
    lambda: Thing,
    lambda: PermissionDenied,
]


def each(answers: list[Any], wanted: Any) -> list[Any]:
    word = {True: "grants", False: "denies"}.get(wanted, "is refused")
    names = (f"{type(answer).__name__} {number}" for number, answer in enumerate(answers))
    return [
        pytest.param(answer, wanted, id=f"{word} {name}")
        for name, answer in zip(names, answers, strict=True)
    ]


def made(answer: Any) -> Any:
    return answer() if isinstance(answer, FunctionType) else answer


def plain(answer: Any) -> Any:
    return lambda self, argument: made(answer)


def native(answer: Any) -> Any:
    async def method(self: Any, argument: Any) -> Any:
        await asyncio.sleep(0)
        return made(answer)

    return method


def outcome(check: Callable[..., Any], *args: Any) -> Any:
    try:
        return check(*args)
    except NotADecisionError as error:
        return type(error)


@pytest.fixture
def checks(api, user, thing, access_methods) -> Callable[..., list[Any]]:
    """Give one model a user method and another a group method, and check both of them twice."""
    grant(user, "testapp.change_otherthing")
    other = OtherThing.objects.create()

    def check(method: Any) -> list[Any]:
        asking = User.objects.get(pk=user.pk)
        access_methods(Thing, _user_can_use_thing=method)
        access_methods(OtherThing, _group_can_change_otherthing=method)
        pairs = [(PERM, thing), ("testapp.change_otherthing", other)] * 2
        return [outcome(api(asking).has_perm, *pair) for pair in pairs]

    return check


WRITTEN = {"def": plain, "async def": native, "nonblocking": lambda a: nonblocking(plain(a))}


@pytest.mark.parametrize(
    ("answer", "wanted"),
    [*each(GRANTING, True), *each(DENYING, False), *each(REFUSED, NotADecisionError)],
)
def test_an_answer_grants_denies_or_is_refused(checks, answer, wanted):
    for form, written in WRITTEN.items():
        assert checks(written(answer)) == [wanted] * 4, form


def test_the_error_says_to_return_a_bool(api, user, thing, access_methods):
    access_methods(Thing, _user_can_use_thing=lambda self, user: Q(name="no thing"))
    with pytest.raises(NotADecisionError, match="bool"):
        api(user).has_perm(PERM, thing)


@pytest.mark.parametrize(
    ("answer", "awaited"), [(True, True), (False, False), (None, False), ("no", NotADecisionError)]
)
def test_a_coroutine_is_awaited_or_refused(api, checks, answer, awaited):
    wanted = awaited if api.mode == "async" else NotADecisionError
    assert checks(plain(lambda: a_coroutine(answer))) == [wanted] * 4


@pytest.mark.parametrize("answer", [False, None, "no"])
def test_a_coroutine_returned_by_an_async_method_does_not_grant(checks, answer):
    assert True not in checks(native(lambda: a_coroutine(answer)))


@pytest.mark.parametrize("form", WRITTEN)
def test_an_awaitable_that_poses_as_a_bool_does_not_grant(checks, form):
    assert True not in checks(WRITTEN[form](lambda: Posing()))


def test_a_def_that_is_marked_as_async_runs_once(api, user, thing, access_methods):
    calls: list[Any] = []

    @markcoroutinefunction
    def method(self: Any, user: Any) -> Any:
        calls.append(user)
        return a_coroutine(True)

    access_methods(Thing, _user_can_use_thing=method)
    assert api(user).has_perm(PERM, thing) is True
    assert calls == [user]


def test_an_unawaited_check_inside_a_method_raises(api, user, thing, access_methods):
    async def method(self: Any, user: Any) -> Any:
        return not user.ahas_perm("testapp.change_thing")

    access_methods(Thing, _user_can_use_thing=method)
    with pytest.raises(TypeError, match="was not awaited"):
        api(user).has_perm(PERM, thing)


def test_an_error_of_the_truth_value_propagates(api, user, thing, access_methods):
    class Unclear:
        def __bool__(self) -> bool:
            raise ValueError("unclear")

    access_methods(Thing, _user_can_use_thing=lambda self, user: Unclear())
    with pytest.raises(ValueError, match="unclear"):
        api(user).has_perm(PERM, thing)
