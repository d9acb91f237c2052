"""Decorators for access methods."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from copy import copy
from enum import IntEnum
from functools import update_wrapper
from types import FunctionType
from typing import TYPE_CHECKING, Any, Final, Generic, TypeVar, overload

from asgiref.sync import iscoroutinefunction

__all__ = ["AccessDecorators", "nonblocking", "without_model_level"]

if TYPE_CHECKING:
    from django.contrib.auth.models import Group
    from django.db.models import Q, QuerySet
    from django.db.models.expressions import Combinable

F = TypeVar("F", bound=Callable[..., bool])
A = TypeVar("A")
U = TypeVar("U")
M = TypeVar("M")
R = TypeVar("R", bound=bool | Awaitable[bool])
C = TypeVar("C", bound="Q | Combinable | bool | None")

_NONBLOCKING: Final = "_djem_async_nonblocking"
_EXEMPTION: Final = "_djem_async_without_model_level"


def nonblocking(method: F) -> F:
    """Mark an access method that does no I/O and does not wait.

    The async API then calls it in place, instead of in a thread.

    Args:
        method: A plain ``def`` access method.

    Returns:
        The same method.

    Raises:
        TypeError: The method is ``async def``, which never needs a thread.

    Example:
        ::

            from django.contrib.auth.models import User
            from django.db import models

            from djem_async.access import nonblocking


            class Product(models.Model):
                @nonblocking
                def _user_can_change_product(self, user: User) -> bool:
                    return user.is_staff
    """
    if iscoroutinefunction(method):  # pyright: ignore[reportDeprecated]
        raise TypeError(
            f"{method.__qualname__} is async, so it runs on the event loop anyway. Remove"
            " `@nonblocking`."
        )
    setattr(method, _NONBLOCKING, True)
    return method


class Exemption(IntEnum):
    """The users that an access method may grant to without the model level."""

    NOBODY = 0
    ACTIVE_USERS = 1
    EVERYBODY = 2
    """Also `django.contrib.auth.models.AnonymousUser`."""


@overload
def without_model_level(method: A, /) -> A: ...
@overload
def without_model_level(*, anonymous: bool = False) -> Callable[[A], A]: ...
def without_model_level(method: Any = None, /, *, anonymous: bool = False) -> Any:
    """Mark an access method that can grant a permission without the model level.

    Usually, users without the permission at the model level are denied. A marked access method is
    also called for them, and can grant it: "authors may edit their own articles". The model level
    is still checked first. If a backend raises `PermissionDenied` there, or the user is inactive,
    the method isn't called.

    Mark all forms of an access method alike: ``def``, ``async def`` and query form. Otherwise,
    checks and lists raise `ImproperlyConfigured`.

    Args:
        method: The access method. ``@classmethod`` may be above or below this decorator.
        anonymous: Whether the method is also called for visitors who aren't signed in, with
            `django.contrib.auth.models.AnonymousUser` or with no groups.

    Returns:
        A copy of the method, because another access method may use the same function unmarked; or
        a decorator.

    Raises:
        TypeError: It's used on something other than a method.

    Example:
        ::

            from django.contrib.auth.models import User
            from django.db import models

            from djem_async.access import without_model_level


            class Article(models.Model):
                author: models.ForeignKey[User, User] = models.ForeignKey(
                    User, on_delete=models.CASCADE
                )

                @without_model_level
                def _user_can_change_article(self, user: User) -> bool:
                    return self.author == user
    """

    def mark(marked: A) -> A:
        if not callable(marked) and not isinstance(marked, classmethod):
            raise TypeError(
                f"`without_model_level` marks a method, not {marked!r}. For visitors, write"
                " `@without_model_level(anonymous=True)`."
            )
        made: A = _copy(marked)
        exemption = Exemption.EVERYBODY if anonymous else Exemption.ACTIVE_USERS
        setattr(getattr(made, "__func__", made), _EXEMPTION, exemption)
        return made

    return mark if method is None else mark(method)


def _copy(method: Any) -> Any:
    kind: Any = method.__class__
    wrappers: Any = classmethod, staticmethod
    if issubclass(kind, wrappers):
        return kind(_copy(method.__func__))
    if kind is not FunctionType:
        return copy(method)
    code, names, closure = method.__code__, method.__globals__, method.__closure__
    made = FunctionType(code, names, method.__name__, method.__defaults__, closure)
    made.__kwdefaults__ = method.__kwdefaults__
    update_wrapper(made, method)
    del made.__wrapped__  # type: ignore[attr-defined]
    return made


def exemption_of(method: object) -> Exemption:
    """Return the exemption that a method is marked with.

    Args:
        method: The method, as its class defines it.
    """
    mark: object = getattr(getattr(method, "__func__", method), _EXEMPTION, None)
    return mark if isinstance(mark, Exemption) else Exemption.NOBODY  # a mock has any attribute


def is_nonblocking(method: object) -> bool:
    """Tell whether a method is marked with `nonblocking`.

    Args:
        method: The method, bound or not, or None for none.
    """
    return getattr(method, _NONBLOCKING, False) is True


class AccessDecorators(Generic[U]):
    """Decorators that let a type checker judge the signatures of access methods.

    They need no plugin, and change nothing at run time: each returns the method it is given. Bind
    them to the user model once, where all models can import them, and use them as ``@access.user``
    and ``@access.group``. A method that takes a wider type of user than the model is right.

    ``@access.q_user`` and ``@access.q_group`` are for query forms. Write them under
    ``@classmethod``.

    Example:
        ::

            from django.contrib.auth.models import Group, User
            from django.db import models
            from django.db.models import Exists, QuerySet

            from djem_async.access import AccessDecorators

            access = AccessDecorators[User]()


            class Product(models.Model):
                @access.user
                def _user_can_change_product(self, user: User) -> bool:
                    return user.is_staff

                @access.group
                async def _group_can_view_product(self, groups: QuerySet[Group]) -> bool:
                    return await groups.filter(name="Viewers").aexists()

                @classmethod
                @access.q_group
                def _qgroup_can_delete_product(cls, groups: QuerySet[Group]) -> Exists:
                    return Exists(groups.filter(name="Managers"))
    """

    __slots__ = ()

    def user(self, method: Callable[[M, U], R], /) -> Callable[[M, U], R]:
        """Declare a method that is asked about the user, ``def`` or ``async def``.

        Args:
            method: The access method.

        Returns:
            The same method.
        """
        return method

    def group(
        self, method: Callable[[M, QuerySet[Group]], R], /
    ) -> Callable[[M, QuerySet[Group]], R]:
        """Declare a method that is asked about the groups of the user, see `user`."""
        return method

    def q_user(self, method: Callable[[type[M], U], C], /) -> Callable[[type[M], U], C]:
        """Declare a query form that is asked about the user.

        Args:
            method: The query form, without ``@classmethod``.

        Returns:
            The same method.
        """
        return method

    def q_group(
        self, method: Callable[[type[M], QuerySet[Group]], C], /
    ) -> Callable[[type[M], QuerySet[Group]], C]:
        """Declare a query form that is asked about the groups of the user, see `q_user`."""
        return method
