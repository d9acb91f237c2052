"""Access methods: finding them on an object, and the decorators for them."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import lru_cache
from typing import TYPE_CHECKING, Final, Generic, Literal, NamedTuple, TypeAlias, TypeVar

from ._twins import Forms, forms, is_async

__all__ = ["AccessDecorators", "nonblocking"]

if TYPE_CHECKING:
    from django.contrib.auth.models import Group
    from django.db.models import QuerySet

F = TypeVar("F", bound=Callable[..., bool])
U = TypeVar("U")
M = TypeVar("M")
R = TypeVar("R", bound=bool | Awaitable[bool])

Source: TypeAlias = Literal["user", "group"]
SOURCES: Final[tuple[Source, ...]] = ("user", "group")

_NONBLOCKING: Final = "_djem_async_nonblocking"


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
    if is_async(method):
        raise TypeError(
            f"{method.__qualname__} is async, so it cannot be marked `nonblocking`:"
            " the event loop awaits it as it is. Remove the mark."
        )
    setattr(method, _NONBLOCKING, True)
    return method


class AccessDecorators(Generic[U]):
    """Decorators that let a type checker judge the signatures of access methods.

    They need no plugin, and change nothing at run time: each returns the method it is given. Bind
    them to the user model once, where all models can import them, and use them as ``@access.user``
    and ``@access.group``. A method that takes a wider type of user than the model is right.

    Example:
        ::

            from django.contrib.auth.models import Group, User
            from django.db import models
            from django.db.models import QuerySet

            from djem_async.access import AccessDecorators

            access = AccessDecorators[User]()


            class Product(models.Model):
                @access.user
                def _user_can_change_product(self, user: User) -> bool:
                    return user.is_staff

                @access.group
                async def _group_can_view_product(self, groups: QuerySet[Group]) -> bool:
                    return await groups.filter(name="Viewers").aexists()
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
        """Declare a method that is asked about the groups of the user, ``def`` or ``async def``.

        Args:
            method: The access method.

        Returns:
            The same method.
        """
        return method


def is_nonblocking(method: object) -> bool:
    """Tell whether a method is marked with `nonblocking`.

    Args:
        method: The method, bound or not, or None for none.
    """
    return getattr(method, _NONBLOCKING, False) is True


def method_names(source: Source, codename: str) -> tuple[str, str]:
    """Name the two forms of an access method, the sync and the async one.

    Args:
        source: Whether the user or the user's groups are asked about.
        codename: The permission without its app label.
    """
    return f"_{source}_can_{codename}", f"_a{source}_can_{codename}"


@lru_cache(maxsize=1024)
def names_for(perm: str) -> tuple[tuple[str, str], ...]:
    """Name the two forms of the access methods for a permission, a pair for each of `SOURCES`.

    Args:
        perm: The permission, ``app_label.codename``.
    """
    return tuple(method_names(source, perm.rpartition(".")[2]) for source in SOURCES)


@lru_cache(maxsize=1024)
def all_names_for(perm: str) -> frozenset[str]:
    """Name all access methods for a permission.

    Args:
        perm: The permission, ``app_label.codename``.
    """
    return frozenset(name for names in names_for(perm) for name in names)


class MethodNames(NamedTuple):
    """The names of the forms of an access method; None for one that is undefined or out of date."""

    source: Source
    name: str | None
    async_name: str | None

    def bound_to(self, obj: object) -> Forms:
        """Return the forms as methods of an object.

        Args:
            obj: The object.
        """
        return (
            None if self.name is None else getattr(obj, self.name),
            None if self.async_name is None else getattr(obj, self.async_name),
        )


def find_access_methods(obj: object, perm: str) -> tuple[MethodNames, ...]:
    """Find the access methods of an object for a permission.

    Args:
        obj: The object that the permission is checked on.
        perm: The permission, ``app_label.codename``.

    Returns:
        Those that it has, in the order in which they are asked.

    Raises:
        TypeError: The object has an attribute of that name that is not callable.
    """
    found: list[MethodNames] = []
    for source, (name, async_name) in zip(SOURCES, names_for(perm), strict=True):
        function, async_function = forms(obj, name, async_name)
        has_form, has_async_form = function is not None, async_function is not None
        if has_form or has_async_form:
            names = name if has_form else None, async_name if has_async_form else None
            found.append(MethodNames(source, *names))
    return tuple(found)
