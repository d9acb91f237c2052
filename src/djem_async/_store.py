"""The permission cache of a user instance.

A `Generation` has everything that is cached about a user in one scope between two clears. A check
takes the current generation when it begins, and only reads and writes this one. A clear installs a
new generation, so checks in flight write to one that nobody reads any more.
"""

from __future__ import annotations

import threading
from datetime import datetime, time
from decimal import Decimal
from inspect import isawaitable
from typing import TYPE_CHECKING, Any, Final, NamedTuple, TypeAlias, TypeVar, cast
from uuid import UUID

from ._owned import Owned, owned
from ._pending import close

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable

    from ._entries import Entries


T = TypeVar("T")


class Decision(NamedTuple):
    """What access methods decided, and the lines that they logged."""

    granted: bool
    entries: Entries = ()
    source: str | None = None
    """The source of the method that decided, which was called last."""


def decision(granted: bool, entries: Entries, source: str | None) -> Decision:
    """Make a decision. Decisions without log lines are shared."""
    return Decision(granted, entries, source) if entries else SILENT[source][granted]


SILENT: Final = {
    source: {granted: Decision(granted, (), source) for granted in (True, False)}
    for source in (None, "user", "group")
}
"""Decisions without log lines. All objects share them, so they take no memory."""


class ObjectKey(NamedTuple):
    """The identity of a saved object, which all its instances share.

    The type of the primary key is a part of it, because ``1 == True == 1.0``, but in a text column
    these are three rows.
    """

    model: type
    alias: str | None
    pk_type: object
    pk: Hashable


def object_key(obj: Any) -> ObjectKey | None:
    """Identify a saved object across instances.

    Returns:
        Its key. None if it's unsaved, or if its primary key is missing, can't be hashed, or has a
        type whose equal values may be different rows.
    """
    pk: object = obj.pk
    pk_type = _pk_type(pk)
    if pk_type is None or obj._state.adding:
        return None
    try:
        hash(pk)
    except TypeError:
        return None
    return ObjectKey(type(obj), obj._state.db, pk_type, pk)


def _pk_type(pk: object) -> object:
    """Return the type of a primary key, None if its equal values may be different rows."""
    kind = type(pk)
    if kind in _EXACT:
        return kind
    if issubclass(kind, tuple):  # a composite primary key
        kinds = tuple(_pk_type(part) for part in cast("tuple[object, ...]", pk))
        return None if None in kinds else kinds
    return None if issubclass(kind, _INEXACT) else kind


_EXACT: Final = frozenset({int, str, bytes, UUID})
# Subclasses of the exact types may have an equality of their own, as `bool` has. The rest can be
# equal and written differently.
_INEXACT: Final = (type(None), int, str, bytes, float, Decimal, datetime, time)


_MOST_SCOPES: Final = 100


type_of: Final[Callable[[object], Any]] = type
"""`type`, typed as `Any`."""


Decisions: TypeAlias = "dict[Hashable, dict[Hashable, Decision]]"
"""Decisions by permission, model, database, type of primary key and source, then by key."""


DJANGO_CACHES: Final = ("_perm_cache", "_user_perm_cache", "_group_perm_cache")


Caches: TypeAlias = "dict[str, set[str]]"
"""Django's own caches of model-level permissions, by the names of its attributes."""


class Generation:
    """What is cached about one user between two clears.

    Decisions of access methods stay until a clear. Django's own caches can also be deleted one by
    one.

    Args:
        decisions: The decisions of access methods.
        caches: Django's own caches, for the user without and with the superuser flag.
    """

    __slots__ = ("caches", "classes", "decisions", "stock_in")

    def __init__(
        self, decisions: Decisions | None = None, caches: tuple[Caches, ...] | None = None
    ) -> None:
        # There is a dict for each permission and model, so a decision costs one entry.
        self.decisions: Decisions = {} if decisions is None else decisions
        self.caches: tuple[Caches, ...] = ({}, {}) if caches is None else caches
        # Facts about classes, such as their access methods for a permission.
        self.classes: dict[Hashable, Any] = {}
        # The epoch of the settings in which answers only depend on this generation.
        self.stock_in: object = None

    def once(self, function: Callable[[Any, str], T], kind: type, perm: str) -> T:
        """Return the result of a function for a class and a permission, calling it once."""
        place = function, kind, perm
        found: T | None = self.classes.get(place)
        if found is None:
            found = self.classes[place] = function(kind, perm)
        return found

    def without(self, name: str) -> Generation:
        """Return a new generation with the decisions, but without one of Django's caches."""
        # Also without `_perm_cache`, which is made from the others.
        caches = tuple(
            {key: held for key, held in each.copy().items() if key not in (name, "_perm_cache")}
            for each in self.caches
        )
        return Generation(self.decisions, caches)

    def caches_of(self, user: Any) -> Caches:
        """Return Django's caches of a user. Those of a superuser have every permission."""
        return self.caches[bool(getattr(user, "is_superuser", False))]

    def recall(self, perm: str, key: ObjectKey | None, source: str | None) -> Decision | None:
        """Return a cached decision, None if there is none."""
        if key is None:
            return None
        return self.decisions.get((perm, *key[:3], source), {}).get(key.pk)

    def keep(self, perm: str, key: ObjectKey, source: str | None, decision: Decision) -> None:
        """Cache a decision on an object, see `recall`."""
        self.decisions.setdefault((perm, *key[:3], source), {})[key.pk] = decision


class PermissionCache(Owned):
    """The permission cache of one user instance."""

    __slots__ = ("_generations",)

    def __init__(self, owner: object) -> None:
        super().__init__(owner)
        self._generations: dict[Hashable, Generation] = {}

    def generation(self, scope: Hashable) -> Generation:
        """Return the generation of a scope, see `djem_async.models.OLPMixin.perm_cache_scope`."""
        # The type is a part of the key, because 1 == True == 1.0.
        key = None if scope is None else (type(scope), scope)
        found = self._generations.get(key)
        if found is None:
            if isawaitable(scope):
                close(scope)
                raise TypeError("`perm_cache_scope` must be `def`, because it is never awaited.")
            found = self._begin(key)
        return found

    def _begin(self, key: Hashable) -> Generation:
        with _replacing:
            generations = self._generations
            if key not in generations and len(generations) >= _MOST_SCOPES:
                del generations[next(iter(generations))]
            return generations.setdefault(key, Generation())

    def since(self) -> object:
        """Return another object after each clear, see `adopt`."""
        return self._generations

    def adopt(self, found: PermissionCache, since: object) -> None:
        """Replace what is cached in the scopes of a check by what the check has found."""
        with _replacing:
            is_current = self._generations is since
            self._generations = {**self._generations, **found._generations} if is_current else {}

    def clear(self) -> None:
        """Clear everything, including what checks in flight are about to store."""
        with _replacing:
            self._generations = {}

    def drop_model_level(self, name: str) -> None:
        """Clear one of Django's caches, also if a check in flight is about to fill it."""
        with _replacing:
            self._generations = {
                scope: generation.without(name) for scope, generation in self._generations.items()
            }


# Re-entrant, because a signal handler or a finalizer may clear at any point.
_replacing = threading.RLock()


def permission_cache(user: object) -> PermissionCache:
    """Return the permission cache of a user instance."""
    return owned(user, "_olp_cache", PermissionCache)


def drop_django_caches(user: Any) -> None:
    """Clear the model level of a user without `OLPMixin`, which is cached in attributes."""
    for name in DJANGO_CACHES:
        user.__dict__.pop(name, None)


def generation_of(user: Any, cache: PermissionCache | None = None) -> Generation:
    """Return the user's generation in the current scope, or that of another cache."""
    scope: Callable[[], Hashable] | None = getattr(user, "perm_cache_scope", None)
    cache = permission_cache(user) if cache is None else cache
    return cache.generation(None if scope is None else scope())
