"""What is remembered on a user instance, and how that is safe to forget.

Everything known about a user in one scope, until the next clear, is one `Generation`. A check
takes the current one when it begins, and reads and writes no other. Clearing puts a new one in
place, so what a check still in flight stores goes where nobody looks.
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
    """What access methods decided, and what they logged meanwhile."""

    granted: bool
    entries: Entries = ()
    source: str | None = None
    """Of the method that was asked last, and so decided."""


def decision(granted: bool, entries: Entries, source: str | None) -> Decision:
    """Make a decision; those of methods that logged nothing are shared."""
    return Decision(granted, entries, source) if entries else SILENT[source][granted]


SILENT: Final = {
    source: {granted: Decision(granted, (), source) for granted in (True, False)}
    for source in (None, "user", "group")
}
"""The decisions of methods that logged nothing. All objects share them, so they take no memory."""


class ObjectKey(NamedTuple):
    """What identifies a saved object, whatever instance it is.

    The type of the primary key is a part of it, because ``1 == True == 1.0``, while in a text
    column these are three rows.
    """

    model: type
    alias: str | None
    pk_type: object
    pk: Hashable


def object_key(obj: Any) -> ObjectKey | None:
    """Identify a saved object across instances.

    Returns:
        Its key, or None where it has no identity: unsaved, or with no primary key (or one that
        cannot be hashed, or of a type whose equal values may be different rows).
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
    """Return the type of a primary key, None for one that does not tell rows apart."""
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
"""By permission, model, database, type of primary key and source; then by primary key."""


DJANGO_CACHES: Final = ("_perm_cache", "_user_perm_cache", "_group_perm_cache")


Caches: TypeAlias = "dict[str, set[str]]"
"""Django's own caches of model-level permissions, by the names of its attributes."""


class Generation:
    """What is known about one user between two clears.

    Two things with two lives: what access methods decided depends on nothing but a clear, while
    Django's own caches can also be dropped one by one.

    Args:
        decisions: What access methods decided.
        caches: Django's own caches, those of the user without and with the flag of a superuser.
    """

    __slots__ = ("caches", "classes", "decisions", "stock_in")

    def __init__(
        self, decisions: Decisions | None = None, caches: tuple[Caches, ...] | None = None
    ) -> None:
        # A dict for each permission and model: a decision costs one entry with the primary key.
        self.decisions: Decisions = {} if decisions is None else decisions
        self.caches: tuple[Caches, ...] = ({}, {}) if caches is None else caches
        # What was found out about classes: their access methods for a permission, say.
        self.classes: dict[Hashable, Any] = {}
        # The epoch of the settings in which answers were found to follow from the two alone.
        self.stock_in: object = None

    def once(self, function: Callable[[Any, str], T], kind: type, perm: str) -> T:
        """Return what a function says about a class and a permission, asking it once."""
        place = function, kind, perm
        found: T | None = self.classes.get(place)
        if found is None:
            found = self.classes[place] = function(kind, perm)
        return found

    def without(self, name: str) -> Generation:
        """Return the next generation, which has the decisions, but not one of Django's caches."""
        # Nor `_perm_cache`, which is made of the others.
        caches = tuple(
            {key: held for key, held in each.copy().items() if key not in (name, "_perm_cache")}
            for each in self.caches
        )
        return Generation(self.decisions, caches)

    def caches_of(self, user: Any) -> Caches:
        """Return Django's caches of a user: a superuser's have every permission."""
        return self.caches[bool(getattr(user, "is_superuser", False))]

    def recall(self, perm: str, key: ObjectKey | None, source: str | None) -> Decision | None:
        """Return a remembered decision, None if there is none."""
        if key is None:
            return None
        return self.decisions.get((perm, *key[:3], source), {}).get(key.pk)

    def keep(self, perm: str, key: ObjectKey, source: str | None, decision: Decision) -> None:
        """Keep a decision on an object, see `recall`."""
        self.decisions.setdefault((perm, *key[:3], source), {})[key.pk] = decision


class PermissionCache(Owned):
    """The permission cache of one user instance."""

    __slots__ = ("_generations",)

    def __init__(self, owner: object) -> None:
        super().__init__(owner)
        self._generations: dict[Hashable, Generation] = {}

    def generation(self, scope: Hashable) -> Generation:
        """Return what is known in a scope, see `djem_async.models.OLPMixin.perm_cache_scope`."""
        # By its type as well, because 1 == True == 1.0.
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
        """Put what a check has found, in its scopes, in place of what was known before."""
        with _replacing:
            is_current = self._generations is since
            self._generations = {**self._generations, **found._generations} if is_current else {}

    def clear(self) -> None:
        """Forget everything, also what checks in flight are about to store."""
        with _replacing:
            self._generations = {}

    def drop_model_level(self, name: str) -> None:
        """Forget one of Django's caches, also where a check in flight is about to fill it."""
        with _replacing:
            self._generations = {
                scope: generation.without(name) for scope, generation in self._generations.items()
            }


# Re-entrant: a signal handler or a finalizer may clear wherever this thread is.
_replacing = threading.RLock()


def permission_cache(user: object) -> PermissionCache:
    """Return the permission cache of a user instance."""
    return owned(user, "_olp_cache", PermissionCache)


def drop_django_caches(user: Any) -> None:
    """Forget the model level of a user without `OLPMixin`, who keeps it in attributes."""
    for name in DJANGO_CACHES:
        user.__dict__.pop(name, None)


def generation_of(user: Any, cache: PermissionCache | None = None) -> Generation:
    """Return what is known about a user in the scope of now, or what another cache knows."""
    scope: Callable[[], Hashable] | None = getattr(user, "perm_cache_scope", None)
    cache = permission_cache(user) if cache is None else cache
    return cache.generation(None if scope is None else scope())
