"""The rules: who is asked, in which order, and what the answers mean.

Nothing here knows how the answers are found, nor whether a thread or an event loop waits for
them: a check is asked through the small protocols below, and may be a table in a test.
"""

from collections.abc import Callable, Iterable, Sequence
from typing import Any, Protocol, TypeVar

from django.core.exceptions import PermissionDenied

from ._entries import IMPLICIT
from ._flow import Flow
from .access import Source

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)


class PermissionCheck(Protocol[T_co]):
    """What has to be known to decide one permission: on one object, or on many."""

    @property
    def is_active(self) -> bool:
        """Whether the user is signed in and active."""
        ...

    @property
    def is_implicit(self) -> bool:
        """Whether the user is a superuser whom access methods do not concern."""
        ...

    def model_level(self) -> Flow[bool]:
        """Ask whether the user has the permission at all."""
        ...

    def object_level(self) -> Flow[bool | T_co]:
        """Decide by access methods."""
        ...


class MethodsCheck(Protocol):
    """What has to be known to decide by access methods."""

    def methods(self) -> Sequence[Source]:
        """Name the sources for which there is an access method, in order."""
        ...

    def ask(self, source: Source) -> Flow[Any]:
        """Ask an access method; one that raises `PermissionDenied` denies.

        Returns:
            Whether it grants; or of many objects, the condition on which it does, in a tuple.
        """
        ...


def decide(check: PermissionCheck[T]) -> Flow[bool | T]:
    """Decide a permission on objects.

    Returns:
        Whether the permission is granted, or what the object level makes of it.
    """
    if not (yield from check.model_level()):
        return False
    # Only here: the model level of an inactive user is up to all backends, and is logged.
    if not check.is_active:
        return False
    if check.is_implicit:
        return True
    return (yield from check.object_level())


def decide_by_methods(check: MethodsCheck) -> Flow[Any]:
    """Decide a permission that an active user has at the model level, but not implicitly.

    Returns:
        Whether the permission is granted; or of many objects, a tuple of conditions, each of which
        suffices.
    """
    sources = check.methods()
    granted: Any = not sources  # nobody to ask: the object level is open
    for source in sources:
        answer = yield from check.ask(source)
        if answer is True:
            return True
        if not isinstance(answer, bool):
            granted = answer if isinstance(granted, bool) else granted + answer
    return granted


def decide_for_user(
    answers: Iterable[Flow[bool]],
    *,
    is_superuser: bool,
    is_universal: bool,
    has_object: bool,
    note: Callable[[str], Flow[None]],
) -> Flow[bool]:
    """Decide a permission for a user, as Django does, with universal OLP.

    Args:
        answers: The answers of the authentication backends, in order.
        is_superuser: Whether the user is an active superuser.
        is_universal: Whether access methods concern superusers.
        has_object: Whether the check is of an object.
        note: Logs a line.

    Returns:
        Whether the permission is granted.
    """
    # `decide` has this rule as well: a backend may be asked directly, and about any kind of user.
    if is_superuser and not (is_universal and has_object):
        yield from note(IMPLICIT[is_universal])
        return True
    return (yield from first_grant(answers))


def first_grant(answers: Iterable[Flow[bool]]) -> Flow[bool]:
    """Ask backends until one grants; one that raises `PermissionDenied` vetoes the rest.

    Returns:
        Whether any of them grants.
    """
    for answer in answers:
        try:
            if (yield from answer):
                return True
        except PermissionDenied:
            return False
    return False
