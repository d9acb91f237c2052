"""Decides what a user may do with the rows of a model, as checks and lists do."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from django.contrib.admin.utils import NestedObjects
from django.db.models import Model, Q

from ..._driving import run
from ..._lazy import unwrapped
from ..._lineage import perm_for
from ..._methods import has_access_method
from ..._prefetch import prefetch
from ...auth._views import denied
from ...exceptions import NoQueryFormError
from ...shortcuts import permitted

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

    from django.db.models import QuerySet

SEEING: Final = ("view", "change")
"""The actions that let a user see an object, as in Django's admin: one is enough."""


def perms_of(model: type[Model], actions: Iterable[str]) -> list[str]:
    """Return the names of the permissions for actions on a model."""
    return [perm_for(action, model) for action in actions]


def may(user: Any, obj: Model, *actions: str) -> bool:
    """Tell whether a user may do one of several actions with a saved object."""
    if obj._state.adding:
        return False  # it was built from the request, maybe with the key of another object
    return any(user.has_perm(perm, obj) for perm in perms_of(type(obj), actions))


def require_add(user: Any, obj: Model) -> None:
    """Raise an error if an access method denies adding an object.

    Raises:
        PermissionDenied: It denies. Without an access method, the model level decides.
    """
    perm = perm_for("add", type(obj))
    if has_access_method(type(obj), perm):
        denial = run(denied(user, perm, obj))
        if denial is not None:
            raise denial


def prefetch_rows(user: Any, rows: Collection[Model], *actions: str) -> None:
    """Decide actions on all rows with few queries, so that `may` finds the answers cached."""
    perms = {perm for model in set(map(type, rows)) for perm in perms_of(model, actions)}
    run(prefetch(unwrapped(user), sorted(perms), rows))


def visible(user: Any, queryset: QuerySet[Any], most: int) -> QuerySet[Any]:
    """Keep the rows that a user may view or change.

    Args:
        user: The user.
        queryset: The rows.
        most: How many rows are checked one by one if there is no query form.

    Raises:
        NoQueryFormError: There is none, and there are more rows.
    """
    try:
        view, change = (
            permitted(user, perm, queryset.model) for perm in perms_of(queryset.model, SEEING)
        )
    except NoQueryFormError:
        rows = list(queryset[: most + 1])
        if len(rows) > most:
            raise
        prefetch_rows(user, rows, *SEEING)
        seen = queryset.model._base_manager.using(queryset.db).filter(
            pk__in=[row.pk for row in rows if may(user, row, *SEEING)]
        )
        # A query can't be used with another database, where other rows have the same keys.
        return queryset.filter(pk__in=seen.values("pk"))
    return queryset.filter(Q(view) | Q(change))


class Deletion:
    """The objects that are deleted along with others, and those that prevent it."""

    def __init__(self, user: Any, objs: Any, alias: str) -> None:
        collector = NestedObjects(using=alias, origin=objs)
        collector.collect(objs)
        # The links of many-to-many fields have no permissions.
        found: list[Model] = [row for rows in collector.model_objs.values() for row in rows]
        self._deleted = [row for row in found if not row._meta.auto_created]
        self._protected = list(collector.protected)
        self._user = user
        prefetch_rows(user, [*self._deleted, *self._protected], "delete", *SEEING)

    def denied(self) -> list[Model]:
        """Return the objects that the user may not delete."""
        return [row for row in self._deleted if not may(self._user, row, "delete")]

    def hides_protected(self) -> bool:
        """Tell whether there is an object in the way that the user may not view."""
        return not all(may(self._user, row, *SEEING) for row in self._protected)

    def texts(self, deleted: list[str], protected: list[str]) -> tuple[list[str], list[str]]:
        """Return the texts for the page, without objects that the user may not view."""
        return self._shown(self._deleted, deleted), self._shown(self._protected, protected)

    def _shown(self, rows: list[Model], texts: list[str]) -> list[str]:
        seen = [row for row in rows if may(self._user, row, *SEEING)]
        if len(seen) == len(rows):
            return texts
        lines = [f"{row._meta.verbose_name}: {row}" for row in seen]
        return [*lines, f"{len(rows) - len(seen)} more, which you may not view"]
