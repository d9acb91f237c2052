"""The decisions remembered on a user instance, and the generations that make clearing safe.

Everything known about a user until the next clear is one `Generation`. A check takes the
current one when it begins and reads and writes no other. Clearing puts a new one in place, so
what a check still in flight stores goes where nobody looks.
"""

import threading
from collections.abc import Hashable
from typing import Any, NamedTuple, TypeAlias, cast

from ._entries import Entries
from ._owned import Owned, owned
from .access import Source


class Decision(NamedTuple):
    """What an access method decided, and what it logged meanwhile."""

    granted: bool
    entries: Entries = ()


ObjectKey: TypeAlias = tuple[type, str | None, Hashable]
"""The model class, the database alias and the primary key."""


def object_key(obj: Any) -> ObjectKey | None:
    """Identify a saved object across instances.

    Args:
        obj: A model instance.

    Returns:
        Its key, or None where it has no identity to go by: unsaved, or no primary key (or one
        that cannot be hashed).
    """
    pk: object = obj.pk
    if obj._state.adding or any(part is None for part in _parts(pk)):
        return None
    try:
        hash(pk)
    except TypeError:
        return None
    return obj.__class__, obj._state.db, pk


def _parts(pk: object) -> tuple[object, ...]:
    # A composite primary key is a tuple.
    return cast("tuple[object, ...]", pk) if isinstance(pk, tuple) else (pk,)


class Generation:
    """What is known about one user between two clears."""

    __slots__ = ("_decisions", "model_level")

    def __init__(self, model_level: dict[str, set[str]] | None = None) -> None:
        # A table for each source, permission, model and database: one decision then costs one
        # entry with the primary key, not a key of five parts.
        self._decisions: dict[Hashable, dict[Hashable, Decision]] = {}
        # Django's own caches of model-level permissions, by the names of its attributes.
        self.model_level: dict[str, set[str]] = {} if model_level is None else model_level

    def recall(self, source: Source, perm: str, key: ObjectKey | None) -> Decision | None:
        """Return a remembered decision, None if there is none.

        Args:
            source: Which access method decided.
            perm: The permission.
            key: The object's key, None for an object without one.
        """
        if key is None:
            return None
        model, alias, pk = key
        table = self._decisions.get((source, perm, model, alias))
        return None if table is None else table.get(pk)

    def remember(
        self, source: Source, perm: str, key: ObjectKey | None, decision: Decision
    ) -> None:
        """Keep a decision; one on an object without a key is not kept.

        Args:
            source: Which access method decided.
            perm: The permission.
            key: The object's key.
            decision: The decision.
        """
        if key is not None:
            model, alias, pk = key
            self._decisions.setdefault((source, perm, model, alias), {})[pk] = decision


# One lock for all: it is held for a moment, and never when a check is answered.
_replacing = threading.Lock()


class PermissionCache(Owned):
    """The permission cache of one user instance."""

    __slots__ = ("generation",)

    def __init__(self, owner: object) -> None:
        super().__init__(owner)
        self.generation = Generation()

    def clear(self) -> None:
        """Forget everything, also what checks in flight are about to store."""
        with _replacing:
            self.generation = Generation()

    def drop_model_level(self, name: str) -> None:
        """Forget one of Django's caches, and the decisions that may rest on it.

        Args:
            name: The name of Django's attribute.
        """
        with _replacing:
            kept = self.generation.model_level.copy()
            kept.pop(name, None)
            self.generation = Generation(kept)


def permission_cache(user: object) -> PermissionCache:
    """Return the permission cache of a user instance.

    Args:
        user: The user, of any model.
    """
    return owned(user, "_olp_cache", PermissionCache)
