"""Finding the object that a view is about by the arguments in its URL."""

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import InvalidOperation
from typing import Any

from django.core.exceptions import ImproperlyConfigured, ValidationError
from django.db import DataError
from django.db.models import Model, QuerySet
from django.db.models.manager import BaseManager
from django.http import Http404
from django.shortcuts import aget_object_or_404, get_object_or_404

from .._flow import Call, Flow
from .._lazy import is_storable


@dataclass(frozen=True, eq=False, repr=False)
class Lookup:
    """How a view finds an object by the arguments in its URL.

    `permission_required` and `PermissionRequiredMixin` take it in a pair with the permission. The
    view gets the object, and no longer gets the arguments that found it. Permissions with equal
    lookups fetch the object once.

    Args:
        klass: The model, a manager or a queryset.
        into: The keyword argument in which the view gets the object.
        **lookups: Each the name of the view argument that holds the value of a lookup.

    Raises:
        ImproperlyConfigured: One of these is something else, or there are no lookups.

    Example:
        ::

            @permission_required(
                ("blog.change_post", Lookup(Post, "post", slug="slug", blog__slug="blog"))
            )
            def edit(request, post): ...
    """

    klass: Any  # for type checkers, a manager would be a descriptor
    into: str
    lookups: tuple[tuple[str, str], ...]

    def __init__(
        self, klass: type[Model] | BaseManager[Any] | QuerySet[Any], into: str, **lookups: str
    ) -> None:
        given: Any = klass
        kind = given if isinstance(given, type) else type(given)
        if not issubclass(kind, Model if kind is given else (BaseManager, QuerySet)):
            raise ImproperlyConfigured(
                f"A Lookup can't find objects in {klass!r}. Pass a model, a manager or a queryset."
            )
        if isinstance(klass, QuerySet) and klass.query.is_sliced:
            raise ImproperlyConfigured(
                "A Lookup can't find objects in a queryset that has been sliced. Pass it without"
                " the slice."
            )
        names: tuple[Any, ...] = (into, *lookups.values())
        if not lookups or not all(isinstance(name, str) and name.isidentifier() for name in names):
            raise ImproperlyConfigured(
                f"Lookup(..., {into!r}, **{lookups!r}) has to name the view argument for the"
                " object, and at least one field with the view argument that has its value:"
                ' Lookup(Post, "post", slug="slug").'
            )
        object.__setattr__(self, "klass", klass)
        object.__setattr__(self, "into", into)
        object.__setattr__(self, "lookups", tuple(sorted(lookups.items())))

    # By identity, because managers of two models may be equal.
    def _key(self) -> tuple[object, ...]:
        return id(self.klass), self.into, self.lookups

    def __eq__(self, other: object) -> bool:
        """Tell whether another lookup finds the same object."""
        return self._key() == other._key() if isinstance(other, Lookup) else NotImplemented

    def __hash__(self) -> int:
        """Return a hash by what it finds."""
        return hash(self._key())

    def __repr__(self) -> str:
        """Show it as it is written, but not the objects in a queryset."""
        lookups = "".join(f", {name}={argument!r}" for name, argument in self.lookups)
        return f"Lookup({self.model.__name__}, {self.into!r}{lookups})"

    @property
    def model(self) -> type[Model]:
        """The model of the object."""
        model: type[Model] = self.klass if isinstance(self.klass, type) else self.klass.model
        return model

    @property
    def arguments(self) -> frozenset[str]:
        """The view arguments that it uses."""
        return frozenset(argument for _, argument in self.lookups)


def fetch(lookup: Lookup, arguments: Mapping[str, object]) -> Flow[Model]:
    """Fetch the object of a lookup.

    Args:
        lookup: The lookup.
        arguments: The arguments of the view.

    Raises:
        Http404: There is no such object.
        ImproperlyConfigured: The lookup doesn't find objects.
    """
    values = {name: arguments[argument] for name, argument in lookup.lookups}
    missing = Http404(f"No {lookup.model.__name__} matches {values!r}.")
    # None would find rows without a value, which the URL doesn't name.
    if any(value is None or not is_storable(value) for value in values.values()):
        raise missing
    klass = lookup.klass
    queryset: Any = (klass._default_manager if klass is lookup.model else klass).all()
    try:
        queryset = queryset.filter(**values)
    except (TypeError, ValueError, ArithmeticError, ValidationError) as error:
        raise missing from error
    try:
        found = yield Call(get_object_or_404, aget_object_or_404, (queryset,))
    except (ValueError, OverflowError, InvalidOperation, ValidationError, DataError) as error:
        raise missing from error
    if not isinstance(found, Model):
        raise ImproperlyConfigured(f"{lookup!r} selects values. Pass it a queryset of objects.")
    return found
