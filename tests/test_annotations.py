"""System checks judge the annotations of access methods."""

from __future__ import annotations

import functools
from collections.abc import (
    AsyncIterator,
    Awaitable,
    Callable,
    Collection,
    Coroutine,
    Iterable,
    Sequence,
)
from typing import (
    Annotated,
    Any,
    Generic,
    Literal,
    NewType,
    Optional,
    Protocol,
    TypeGuard,
    TypeVar,
    Union,
)

import pytest
from django.contrib.auth.models import (
    AbstractBaseUser,
    AbstractUser,
    AnonymousUser,
    Group,
    PermissionsMixin,
)
from django.db.models import Manager, Model, QuerySet

from djem_async._annotations import place_of
from djem_async.checks import check_access_methods
from djem_async.models import OLPMixin
from djem_async.protocols import SupportsLogging, SupportsObjectPermissions
from tests.testapp.models import Supplier, Thing, User

AnyUser = TypeVar("AnyUser", bound=AbstractUser)
AnySupplier = TypeVar("AnySupplier", bound=Supplier)
Free = TypeVar("Free")
EitherOf = TypeVar("EitherOf", Supplier, User)
NoUser = TypeVar("NoUser", Supplier, Thing)
NewUser = NewType("NewUser", User)


class HasName(Protocol):
    def get_username(self) -> str: ...


class Box(Generic[Free]):
    pass


class LaterUser(User):
    class Meta:
        app_label = "testapp"
        abstract = True


def method(annotation: Any = None, answer: Any = None) -> Callable[..., Any]:
    def _user_can_use_thing(self: Thing, argument: Any) -> Any:
        return True

    given = {"argument": annotation, "return": answer}
    _user_can_use_thing.__annotations__ = {k: v for k, v in given.items() if v is not None}
    return _user_can_use_thing


@pytest.fixture
def found(access_methods: Callable[..., None]) -> Callable[..., list[str]]:
    """Check access methods of `Thing`, and return the messages about their annotations."""

    def find(**methods: Any) -> list[str]:
        access_methods(Thing, **methods)
        return [
            message.msg
            for message in check_access_methods()
            if message.obj is Thing and message.id == "djem_async.W008"
        ]

    return find


@pytest.mark.parametrize(
    "annotation",
    [
        User,
        AbstractUser,
        AbstractBaseUser,
        PermissionsMixin,
        OLPMixin,
        Model,
        object,
        Any,
        HasName,
        SupportsLogging,
        SupportsObjectPermissions,
        User | AnonymousUser,
        Union[AnonymousUser, AbstractUser],  # noqa: UP007 - another type
        Optional[User],  # noqa: UP045
        Annotated[User, "signed in"],
        AnyUser,
        EitherOf,
        Free,
        NewUser,
        "User",
        "User | None",
        "Decimal",
        "not (python",
        "Literal['anna']",
        None,
    ],
    ids=str,
)
def test_a_user_method_may_take_any_type_of_the_user(found: Any, annotation: Any) -> None:
    assert found(_user_can_use_thing=method(annotation)) == []


@pytest.mark.parametrize(
    ("annotation", "name"),
    [
        (Supplier, "Supplier"),
        (AnonymousUser, "AnonymousUser"),
        ("Supplier", "Supplier"),
        (Supplier | None, "tests.testapp.models.Supplier | None"),
        (AnySupplier, "~AnySupplier"),
        (NoUser, "~NoUser"),
        (Union[Supplier, Thing], "typing.Union["),  # noqa: UP007
        (LaterUser, "LaterUser"),
        (int, "int"),
        (list[User], "list[tests.testapp.models.User]"),
        (Box[User], "tests.test_annotations.Box[tests.testapp.models.User]"),
        (QuerySet[Group], "QuerySet"),
    ],
)
def test_a_user_method_takes_nothing_else(found: Any, annotation: Any, name: str) -> None:
    [message] = found(_user_can_use_thing=method(annotation))
    assert message.startswith(f"Thing._user_can_use_thing takes {name}")
    assert "which is no type of User, going by its annotations. It is defined in " in message


@pytest.mark.parametrize(
    "annotation",
    [
        QuerySet,
        QuerySet[Group],
        QuerySet[User],  # Django makes it a plain `QuerySet`
        "QuerySet[Group]",
        "QuerySet[Decimal]",
        Optional[QuerySet[Group]],  # noqa: UP045
        Manager[Group],
        Iterable[Group],
        Collection[Group],
        Collection,
        object,
        Any,
        Free,
        None,
    ],
    ids=str,
)
def test_a_group_method_may_take_any_type_of_the_queryset(found: Any, annotation: Any) -> None:
    assert found(_group_can_use_thing=method(annotation)) == []


@pytest.mark.parametrize(
    "annotation",
    [
        Group,
        User,
        "User",
        Iterable[User],
        Collection[str],
        list[Group],
        Sequence[Group],
        Group | None,
    ],
    ids=str,
)
def test_a_group_method_takes_nothing_else(found: Any, annotation: Any) -> None:
    [message] = found(_group_can_use_thing=method(annotation))
    assert ", not a queryset of groups, going by its annotations." in message


@pytest.mark.parametrize(
    "annotation",
    [
        bool,
        "bool",
        Literal[True],
        Literal[True, False],
        TypeGuard[User],
        Awaitable[bool],
        Coroutine[Any, Any, bool],
        bool | Awaitable[bool],
        Awaitable,
        Free,
        Any,
        "Never",
        "Decimal",
    ],
    ids=str,
)
def test_a_method_may_answer_with_a_bool(found: Any, annotation: Any) -> None:
    assert found(_user_can_use_thing=method(answer=annotation)) == []


@pytest.mark.parametrize(
    ("annotation", "name"),
    [
        (str, "str"),
        ("str", "str"),
        ("None", "None"),
        (int, "int"),
        (object, "object"),
        (bool | None, "bool | None"),
        (Literal["yes"], "typing.Literal['yes']"),
        (Literal[1], "typing.Literal[1]"),
        (Awaitable[str], "collections.abc.Awaitable[str]"),
        (Coroutine[Any, Any, str], "collections.abc.Coroutine[typing.Any, typing.Any, str]"),
        (AsyncIterator[bool], "collections.abc.AsyncIterator[bool]"),
        (list[bool], "list[bool]"),
    ],
)
def test_a_method_answers_with_nothing_else(found: Any, annotation: Any, name: str) -> None:
    [message] = found(_user_can_use_thing=method(answer=annotation))
    assert message.startswith(f"Thing._user_can_use_thing returns {name}, not bool, ")


def test_the_file_and_line_are_named(found: Any) -> None:
    def _user_can_use_thing(self: Thing, user: Supplier) -> str:
        return ""

    code = _user_can_use_thing.__code__
    place = f" It is defined in {__file__}:{code.co_firstlineno}."
    messages = found(_user_can_use_thing=_user_can_use_thing)
    assert len(messages) == 2
    assert all(message.endswith(place) for message in messages)


def test_what_has_no_place_names_none() -> None:
    assert place_of(functools.partial(int)) == ""


def test_every_message_about_a_method_names_the_place(access_methods: Any) -> None:
    def _auser_can_use(self: Thing) -> bool:
        return True

    access_methods(Thing, _auser_can_use=_auser_can_use)
    place = f"{__file__}:{_auser_can_use.__code__.co_firstlineno}."
    found = [message for message in check_access_methods() if message.obj is Thing]
    assert {message.id for message in found} == {
        "djem_async.E002",
        "djem_async.E003",
        "djem_async.W001",
    }
    assert all(place in message.msg for message in found)


def test_decorated_static_and_class_methods_are_judged(found: Any) -> None:
    def wrapped(self: Thing, user: Supplier) -> bool:
        return True

    @functools.wraps(wrapped)
    def wrapper(*args: Any) -> Any:
        return wrapped(*args)

    def static(user: Supplier) -> bool:
        return True

    assert len(found(_user_can_use_thing=wrapper)) == 1
    assert len(found(_user_can_use_thing=staticmethod(static))) == 1
    assert len(found(_user_can_use_thing=classmethod(wrapped))) == 1


def test_async_methods_are_judged_by_what_they_return(found: Any) -> None:
    async def right(self: Thing, user: User) -> bool:
        return True

    async def wrong(self: Thing, user: User) -> str:
        return ""

    assert found(_user_can_use_thing=right, _auser_can_use_thing=right) == []
    assert len(found(_user_can_use_thing=wrong, _auser_can_use_thing=wrong)) == 2


def test_what_is_no_function_is_left_alone(found: Any) -> None:
    def three(user: Supplier, self: Thing, extra: int) -> str:
        return ""

    class Callable_:
        def __call__(self, user: Supplier) -> str:
            return ""

    partial = functools.partial(three, extra=1)
    assert found(_user_can_use_thing=staticmethod(partial)) == []
    assert found(_user_can_use_thing=Callable_()) == []


def test_one_unresolvable_annotation_does_not_hide_the_other(found: Any) -> None:
    [message] = found(_user_can_use_thing=method("Decimal", "str"))
    assert "returns str, not bool" in message


def test_the_model_of_the_groups_may_be_another(found: Any, monkeypatch: Any) -> None:
    monkeypatch.setattr(User._meta.get_field("groups"), "related_model", Supplier)
    assert found(_group_can_use_thing=method(Iterable[Supplier])) == []
    assert len(found(_group_can_use_thing=method(Iterable[Group]))) == 1
