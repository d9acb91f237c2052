"""Access methods: finding them on an object, and the mark for those that do no I/O."""

from collections.abc import Callable
from typing import Any, Final, Literal, TypeAlias, TypeVar

from ._twins import Forms, forms, is_async, is_defined

__all__ = ["nonblocking"]

F = TypeVar("F", bound=Callable[..., Any])

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

            @nonblocking
            def _user_can_change_product(self, user: User) -> bool:
                return self.owner_id == user.pk
    """
    if is_async(method):
        raise TypeError(
            f"{method.__qualname__} is async, so it cannot be marked `nonblocking`:"
            " the event loop awaits it as it is. Remove the mark."
        )
    setattr(method, _NONBLOCKING, True)
    return method


def is_nonblocking(method: Callable[..., object]) -> bool:
    """Tell whether a method is marked with `nonblocking`.

    Args:
        method: The method, bound or not.
    """
    return getattr(method, _NONBLOCKING, False) is True


def method_names(source: Source, codename: str) -> tuple[str, str]:
    """Name the two forms of an access method, the sync and the async one.

    Args:
        source: Whether the user or the user's groups are asked about.
        codename: The permission without its app label.
    """
    return f"_{source}_can_{codename}", f"_a{source}_can_{codename}"


def find_access_method(obj: object, source: Source, perm: str) -> Forms | None:
    """Find the access method of an object for a permission.

    Args:
        obj: The object that the permission is checked on.
        source: Whether the user or the user's groups are asked about.
        perm: The permission, ``app_label.codename``.

    Returns:
        The sync and the async form, one of which may be None, or None if the object has neither.

    Raises:
        TypeError: The object has an attribute of that name that is not callable.
    """
    found = forms(obj, *method_names(source, perm.rpartition(".")[2]))
    return found if is_defined(found) else None
