"""The rules: who is asked, in which order, and what the answers mean.

Nothing here knows how the answers are found, nor whether a thread or an event loop waits for
them: a check is asked through the small protocols below, and may be a table in a test.
"""

from collections.abc import Callable, Iterable, Sequence
from typing import Any, Protocol, TypeVar

from django.core.exceptions import PermissionDenied

from ._entries import IMPLICIT
from ._flow import Flow
from ._methods import Source
from .explain import Reason

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)


class PermissionCheck(Protocol[T_co]):
    """What has to be known to decide one permission: on one object, or on many."""

    def model_level(self) -> Flow[bool]:
        """Ask whether the user has the permission at all."""
        ...

    def is_active(self) -> Flow[bool]:
        """Tell whether the user is signed in and active."""
        ...

    def exempt_sources(self) -> Flow[Sequence[Source]]:
        """Name the access methods that the user may be granted by without the model level."""
        ...

    def is_vetoed(self) -> Flow[bool]:
        """Tell whether the model level denied by raising `PermissionDenied`."""
        ...

    def note_model_level(self, granted: bool, *, is_required: bool) -> Flow[None]:
        """Log what the model level answered, and whether that counts."""
        ...

    def is_implicit(self) -> Flow[bool]:
        """Tell whether the user is a superuser who is granted without access methods."""
        ...

    def object_level(self, exempt: Sequence[Source] | None = None) -> Flow[bool | T_co]:
        """Decide by access methods, see `decide_by_methods`."""
        ...

    def because(self, reason: Reason) -> None:
        """Take note of the step that decides, as far as is known."""
        ...


class MethodsCheck(Protocol):
    """What has to be known to decide by access methods."""

    @property
    def is_open(self) -> bool:
        """Whether the permission is granted where there is no access method for it."""
        ...

    def methods(self) -> Sequence[Source]:
        """Name the sources for which there is an access method, in order."""
        ...

    def ask(self, source: Source) -> Flow[Any]:
        """Ask an access method; one that raises `PermissionDenied` denies.

        Returns:
            Whether it grants; or of many objects, the condition on which it does, in a tuple.
        """
        ...

    def because(self, reason: Reason) -> None:
        """Take note of the step that decides, as far as is known."""
        ...


def decide(check: PermissionCheck[T]) -> Flow[bool | T]:
    """Decide a permission on objects.

    Returns:
        Whether the permission is granted, or what the object level makes of it.
    """
    has_permission = yield from check.model_level()
    # Only here: the model level of an inactive user is up to all backends, and is logged.
    is_active = yield from check.is_active()
    is_held = is_active and has_permission
    exempt: Sequence[Source] = () if is_held else (yield from check.exempt_sources())
    if exempt and not has_permission:
        exempt = () if (yield from check.is_vetoed()) else exempt
    yield from check.note_model_level(has_permission, is_required=not exempt)
    if exempt:
        return (yield from check.object_level(exempt))
    if not is_active:
        check.because(Reason.INACTIVE)
    if not is_held:
        return False
    if (yield from check.is_implicit()):
        check.because(Reason.SUPERUSER)
        return True
    return (yield from check.object_level())


def decide_by_methods(check: MethodsCheck, exempt: Sequence[Source] | None = None) -> Flow[Any]:
    """Decide a permission of an active user, who isn't granted it implicitly, by access methods.

    Args:
        check: The check.
        exempt: The sources that may grant without the model level. None if the user has the
            permission at the model level; then all may.

    Returns:
        Whether the permission is granted; or of many objects, a tuple of conditions, each of which
        suffices.
    """
    sources: list[Source] = [
        source for source in check.methods() if exempt is None or source in exempt
    ]
    if not sources:
        check.because(Reason.NO_METHOD)
    granted: Any = not sources and exempt is None and check.is_open
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
    because: Callable[[Reason], None],
) -> Flow[bool]:
    """Decide a permission for a user, as Django does, with universal OLP.

    Args:
        answers: The answers of the authentication backends, in order.
        is_superuser: Whether the user is an active superuser.
        is_universal: Whether access methods concern superusers.
        has_object: Whether the check is of an object.
        note: Logs a line.
        because: Takes note of the step that decides.

    Returns:
        Whether the permission is granted.
    """
    # `decide` has this rule as well: a backend may be asked directly, and about any kind of user.
    if is_superuser and not (is_universal and has_object):
        yield from note(IMPLICIT[is_universal])
        because(Reason.SUPERUSER)
        return True
    return (yield from first_grant(answers))


def any_veto(answers: Iterable[Flow[bool]]) -> Flow[bool]:
    """Tell whether a backend raises `PermissionDenied`, where all of them have denied."""
    for answer in answers:
        try:
            yield from answer
        except PermissionDenied:
            return True
    return False


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
