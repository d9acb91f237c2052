"""The rules: who is asked, in which order, and what the answers mean.

Nothing here knows how the answers are found, nor whether a thread or an event loop waits for
them: a check is asked through the small protocols below, and may be a table in a test.
"""

from collections.abc import Callable, Iterable, Sequence
from typing import Final, Protocol

from django.core.exceptions import PermissionDenied

from ._flow import Flow
from .access import Source


class ObjectCheck(Protocol):
    """What has to be known to decide one permission on one object."""

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

    def object_level(self) -> Flow[bool]:
        """Decide by access methods, with `decide_by_methods` or as that was remembered."""
        ...

    def methods(self) -> Sequence[Source]:
        """Name the sources for which the object defines an access method, in order."""
        ...

    def ask(self, source: Source) -> Flow[bool]:
        """Ask an access method; one that raises `PermissionDenied` denies."""
        ...


def decide(check: ObjectCheck) -> Flow[bool]:
    """Decide a permission on an object.

    Returns:
        Whether the permission is granted.
    """
    if not (yield from check.model_level()):
        return False
    # Only here: the model level of an inactive user is up to all backends, and is logged.
    if not check.is_active:
        return False
    if check.is_implicit:
        return True
    return (yield from check.object_level())


def decide_by_methods(check: ObjectCheck) -> Flow[bool]:
    """Decide a permission that an active user has at the model level, but not implicitly.

    Returns:
        Whether the permission is granted.
    """
    sources = check.methods()
    for source in sources:
        if (yield from check.ask(source)):
            return True
    return not sources  # nobody to ask: the object level is open


IMPLICIT: Final = {
    False: "Active superuser: Implicit permission",
    True: "Active superuser: Implicit permission (model-level)",
}
"""What is logged of superusers, by whether access methods concern them."""


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
