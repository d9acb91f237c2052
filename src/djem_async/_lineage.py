"""The models whose permissions an object can have."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.db.models import Model

if TYPE_CHECKING:
    from collections.abc import Iterator

    from django.db.models.options import Options


def lineage(model: type[Model]) -> Iterator[Options[Any]]:
    """Return the options of a model and of all models that it inherits from.

    They are its own, those of the concrete model of a proxy, and of multi-table parents.
    """
    for base in model.__mro__:
        if issubclass(base, Model) and base is not Model and not base._meta.abstract:
            yield base._meta
