"""The rules: what is asked in which order, and what the answers mean.

This module doesn't know how the answers are found, nor whether a thread or an event loop waits for
them. Subclasses answer the abstract questions below. In a test, they can be a table.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from typing import Any, Generic, TypeVar

from django.core.exceptions import PermissionDenied

from ._flow import Flow
from ._methods import Source
from .explain import Reason

T = TypeVar("T")


class PermissionCheck(ABC, Generic[T]):
    """The decision about one permission, on one object or many, and the questions it depends on."""

    def decide(self) -> Flow[bool | T]:
        """Return whether the permission is granted, or the result of the object level."""
        has_permission = yield from self.model_level()
        # Not earlier: backends decide the model level of inactive users, too, and it is logged.
        is_active = yield from self.is_active()
        is_held = is_active and has_permission
        exempt: Sequence[Source] = () if is_held else (yield from self.exempt_sources())
        if exempt and not has_permission:
            exempt = () if (yield from self.is_vetoed()) else exempt
        yield from self.note_model_level(has_permission, is_required=not exempt)
        if exempt:
            return (yield from self.object_level(exempt))
        if not is_active:
            self.because(Reason.INACTIVE)
        if not is_held:
            return False
        if (yield from self.is_implicit()):
            self.because(Reason.SUPERUSER)
            return True
        return (yield from self.object_level())

    @abstractmethod
    def model_level(self) -> Flow[bool]:
        """Tell whether the user has the permission at the model level."""

    @abstractmethod
    def is_active(self) -> Flow[bool]:
        """Tell whether the user is signed in and active."""

    @abstractmethod
    def exempt_sources(self) -> Flow[Sequence[Source]]:
        """Return the sources whose access methods may grant without the model level."""

    @abstractmethod
    def is_vetoed(self) -> Flow[bool]:
        """Tell whether the model level denied by raising `PermissionDenied`."""

    @abstractmethod
    def note_model_level(self, granted: bool, *, is_required: bool) -> Flow[None]:
        """Log the answer of the model level, and whether it is required."""

    @abstractmethod
    def is_implicit(self) -> Flow[bool]:
        """Tell whether the user is a superuser who is granted without access methods."""

    @abstractmethod
    def object_level(self, exempt: Sequence[Source] | None = None) -> Flow[bool | T]:
        """Decide by access methods.

        Args:
            exempt: The sources that may grant without the model level. None if the user has the
                permission at the model level, so that all sources may grant.
        """

    @abstractmethod
    def because(self, reason: Reason) -> None:
        """Record the step that decides, as far as is known."""


class MethodsCheck(PermissionCheck[T]):
    """One permission, decided by access methods that are asked one after the other."""

    def object_level(self, exempt: Sequence[Source] | None = None) -> Flow[Any]:
        """Decide by access methods. For many objects, one of the conditions is enough."""
        sources: list[Source] = [
            source for source in self.methods() if exempt is None or source in exempt
        ]
        if not sources:
            self.because(Reason.NO_METHOD)
        granted: Any = not sources and exempt is None and self.is_open
        for source in sources:
            answer = yield from self.ask(source)
            if answer is True:
                return True
            if not isinstance(answer, bool):
                granted = answer if isinstance(granted, bool) else granted + answer
        return granted

    @property
    @abstractmethod
    def is_open(self) -> bool:
        """Whether the permission is granted if there is no access method for it."""

    @abstractmethod
    def methods(self) -> Sequence[Source]:
        """Return the sources that have an access method, in order."""

    @abstractmethod
    def ask(self, source: Source) -> Flow[Any]:
        """Ask an access method; one that raises `PermissionDenied` denies.

        Returns:
            Whether it grants. For many objects, the condition on which it does, in a tuple.
        """


def any_veto(answers: Iterable[Flow[bool]]) -> Flow[bool]:
    """Tell whether one of the backends, which have all denied, raises `PermissionDenied`."""
    for answer in answers:
        try:
            yield from answer
        except PermissionDenied:
            return True
    return False


def first_grant(answers: Iterable[Flow[bool]]) -> Flow[bool]:
    """Tell whether a backend grants; one that raises `PermissionDenied` vetoes the rest."""
    for answer in answers:
        try:
            if (yield from answer):
                return True
        except PermissionDenied:
            return False
    return False
