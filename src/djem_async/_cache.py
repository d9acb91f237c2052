"""What is remembered on a user instance, and how that is safe to forget.

Everything known about a user until the next clear is one `Generation`. A check takes the
current one when it begins and reads and writes no other. Clearing puts a new one in place, so
what a check still in flight stores goes where nobody looks. A `Trust` is the same for the
answers of whole checks, which rest on more than a clear: settings, flags of the user, and
Django's caches.
"""

from __future__ import annotations

import threading
from collections.abc import Hashable, Mapping
from datetime import datetime, time
from decimal import Decimal
from functools import cache
from typing import TYPE_CHECKING, Any, Final, NamedTuple, TypeAlias, cast
from uuid import UUID

from ._owned import Owned, owned
from .conf import Epoch

if TYPE_CHECKING:
    from ._entries import CheckLog, Entries, FinishedLog
    from ._plans import MethodPlan
    from .access import Source


class Decision(NamedTuple):
    """What an access method decided, and what it logged meanwhile."""

    granted: bool
    entries: Entries = ()


class Record:
    """What is remembered of one permission on one object; never changed.

    Args:
        user: What the access method for the user decided.
        group: What the one for the user's groups decided.
        granted: What follows from both, given the permission at the model level; None if that is
            not known.
        entries: What the methods logged that led to it.
    """

    __slots__ = ("entries", "granted", "group", "silent", "user")

    def __init__(
        self,
        user: Decision | None = None,
        group: Decision | None = None,
        granted: bool | None = None,
        entries: Entries = (),
    ) -> None:
        self.user = user
        self.group = group
        self.granted = granted
        self.entries = entries
        # The answer that can be given without a word.
        self.silent = None if entries else granted


@cache  # there are 27 of them
def shared_record(user: bool | None, group: bool | None, granted: bool | None) -> Record:
    """Return the one record of its kind that all objects share, so that it takes no memory.

    Args:
        user: What the access method for the user decided, without logging anything.
        group: What the one for the user's groups decided, likewise.
        granted: What follows from both.
    """
    return Record(_silent(user), _silent(group), granted)


def _silent(granted: bool | None) -> Decision | None:
    return None if granted is None else SILENT[granted]


SILENT: Final = {granted: Decision(granted) for granted in (True, False)}
"""Decisions of methods that logged nothing."""

_NOTHING: Final = Record()


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

    Args:
        obj: A model instance.

    Returns:
        Its key, or None where it has no identity to go by: unsaved, or no primary key (or one
        that cannot be hashed, or of a type whose equal values may be different rows).
    """
    pk: object = obj.pk
    state = obj._state
    pk_type: object = type(pk)
    if pk_type not in _EXACT:
        pk_type = _pk_type(pk)
        if pk_type is None:
            return None
        try:
            hash(pk)
        except TypeError:
            return None
    if state.adding:
        return None
    return ObjectKey(type(obj), state.db, pk_type, pk)


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


Table: TypeAlias = dict[Hashable, Record]
"""The records of objects of one class and database, by primary keys of one type."""


_NO_ANSWER: Final = object()


class Shortcut:
    """Where to look up the answer of a check of an object of one class and database.

    Args:
        key: The key of one of the objects.
        pk_name: The attribute with the primary key.
        table: The records of the objects.
        same: The record of all objects, if they have the same.
        names: The names of access methods for the permission.
        doubt: The answer that may be another if the object has access methods of its own.
        plan: How to ask access methods, None if that differs from object to object.
    """

    __slots__ = (
        "alias",
        "doubt",
        "log",
        "names",
        "pk_name",
        "pk_type",
        "plan",
        "same",
        "sure",
        "table",
    )

    def __init__(
        self,
        key: ObjectKey,
        pk_name: str,
        *,
        table: Table | None = None,
        same: Record | None = None,
        names: tuple[str, ...] = (),
        doubt: bool | None = None,
        plan: MethodPlan | None = None,
    ) -> None:
        self.alias = key.alias
        self.pk_type: Any = key.pk_type
        self.pk_name = pk_name
        self.table: Table = {} if table is None else table
        self.same = same
        self.names = names
        self.doubt = doubt
        # The answer that needs no second look, whatever the object has and without a log.
        self.sure: object = _NO_ANSWER
        self.plan = plan
        # What the logs of checks have in common, None if not known or not needed.
        self.log: CheckLog | None = None

    def record(self, pk: object) -> Record | None:
        """Return the record of an object, None if there is none."""
        return self.table.get(pk) or self.same


_NO_EPOCH: Final = Epoch(is_current=False)


class Trust:
    """The answers of whole checks, as long as what they rest on stays as it is.

    Args:
        epoch: The epoch of the settings.
        is_superuser: The flag of the user.
        has_perm: The method of the user's class.
        ahas_perm: Its async form.
        verbosity: How much of a check is logged.
    """

    __slots__ = (
        "_elsewhere",
        "ahas_perm",
        "epoch",
        "has_perm",
        "is_superuser",
        "logs",
        "model_level",
        "shortcuts",
        "verbosity",
    )

    def __init__(
        self,
        epoch: Epoch = _NO_EPOCH,
        is_superuser: object = None,
        has_perm: Any = None,
        ahas_perm: Any = None,
        verbosity: int = 0,
    ) -> None:
        self.epoch = epoch
        self.is_superuser = is_superuser
        self.has_perm = has_perm
        self.ahas_perm = ahas_perm
        self.verbosity = verbosity
        self.model_level: dict[str, bool] = {}
        # By permission and model class: most projects have one database, or use one mostly.
        self.shortcuts: dict[str, dict[type, Shortcut]] = {}
        # By permission, model class and database alias: those for the other databases.
        self._elsewhere: dict[Hashable, Shortcut] = {}
        # The logs of checks of the model level, but for their headers.
        self.logs: dict[str, FinishedLog] = {}

    def add(self, perm: str, key: ObjectKey, shortcut: Shortcut) -> None:
        """Keep a shortcut.

        Args:
            perm: The permission.
            key: The key of an object that it is for.
            shortcut: The shortcut.
        """
        if not self.verbosity and shortcut.doubt is not True:
            shortcut.sure = True if shortcut.same is None else shortcut.same.granted
        first = self.shortcuts.setdefault(perm, {}).setdefault(key.model, shortcut)
        if first.alias == key.alias:
            self.shortcuts[perm][key.model] = shortcut
        else:
            self._elsewhere[perm, key.model, key.alias] = shortcut

    def find(self, perm: str, model: type, alias: str | None) -> Shortcut | None:
        """Return a shortcut, None if there is none.

        Args:
            perm: The permission.
            model: The class of the object.
            alias: The database of the object.
        """
        first = self.shortcuts.get(perm, {}).get(model)
        if first is None or first.alias == alias:
            return first
        return self._elsewhere.get((perm, model, alias))


class Generation:
    """What is known about one user between two clears."""

    __slots__ = ("_tables", "fetches", "is_new", "model_level", "trust")

    def __init__(self, model_level: dict[str, set[str]] | None = None) -> None:
        # A table for each permission, model, database and type: one decision then costs one entry
        # with the primary key, not a key of five parts.
        self._tables: dict[Hashable, Table] = {}
        # Until the first check that access methods decide.
        self.is_new = True
        # Django's own caches of model-level permissions, by the names of its attributes.
        self.model_level: dict[str, set[str]] = {} if model_level is None else model_level
        self.trust = Trust()
        # Those of them that are being fetched, by the thread that does it.
        self.fetches: dict[object, Any] = {}

    def held(self, perm: str) -> bool | None:
        """Tell whether a permission is among those that Django has cached, None if it has none.

        Args:
            perm: The permission.
        """
        perms = self.model_level.get("_perm_cache")
        return None if perms is None else perm in perms

    def recall(self, source: Source, perm: str, key: ObjectKey | None) -> Decision | None:
        """Return a remembered decision, None if there is none.

        Args:
            source: Which access method decided.
            perm: The permission.
            key: The object's key, None for an object without one.
        """
        if key is None:
            return None
        record = self.table(perm, key).get(key.pk, _NOTHING)
        return record.user if source == "user" else record.group

    def keep(
        self,
        perm: str,
        key: ObjectKey | None,
        decisions: Mapping[Source, Decision],
        granted: bool | None = None,
    ) -> None:
        """Keep decisions on an object, if it has a key.

        Args:
            perm: The permission.
            key: The object's key.
            decisions: What access methods decided.
            granted: What follows from it, given the permission at the model level; None if that
                is not known.
        """
        if key is not None:
            keep_record(self.table(perm, key), key.pk, decisions, granted)

    def table(self, perm: str, key: ObjectKey) -> Table:
        """Return the records of a permission on an object and its like.

        Args:
            perm: The permission.
            key: The object's key.
        """
        return self._tables.setdefault((perm, *key[:3]), {})


def keep_record(
    table: Table, pk: Hashable, decisions: Mapping[Source, Decision], granted: bool | None
) -> None:
    """Keep decisions on an object.

    Args:
        table: The records of the object and its like.
        pk: The primary key of the object.
        decisions: What access methods decided.
        granted: What follows from it, see `Generation.keep`.
    """
    with _replacing:
        kept = table.get(pk, _NOTHING)
        user = decisions.get("user", kept.user)
        group = decisions.get("group", kept.group)
        if granted is None and (user, group) == (kept.user, kept.group):
            return  # what followed still does
        if (user and user.entries) or (group and group.entries):
            entries = tuple(entry for decision in decisions.values() for entry in decision.entries)
            table[pk] = Record(user, group, granted, entries)
        else:
            table[pk] = shared_record(user and user.granted, group and group.granted, granted)


def keep_sole(table: Table, pk: Hashable, source: Source, decision: Decision) -> None:
    """Keep the decision of the one access method of an object, which is that of the check.

    Args:
        table: The records of the object and its like.
        pk: The primary key of the object.
        source: Which access method decided.
        decision: What it decided.
    """
    record = None if decision.entries else _SOLE[source, decision.granted]
    # Without the lock: mostly nothing is there to be replaced.
    if record is None or table.setdefault(pk, record) is not record:
        keep_record(table, pk, {source: decision}, decision.granted)


_SOLE: Final[dict[tuple[Source, bool], Record]] = {
    ("user", True): shared_record(True, None, True),
    ("user", False): shared_record(False, None, False),
    ("group", True): shared_record(None, True, True),
    ("group", False): shared_record(None, False, False),
}


# One lock for all: it is held for a moment, and never when a check is answered from here.
_replacing = threading.RLock()


class PermissionCache(Owned):
    """The permission cache of one user instance."""

    __slots__ = ("generation",)

    def __init__(self, owner: object) -> None:
        super().__init__(owner)
        self.generation = Generation()

    def clear(self) -> None:
        """Forget everything, also what checks in flight are about to store."""
        with _replacing:
            # What ends with the one before ends outside, and not while others wait.
            _before, self.generation = self.generation, Generation()

    def drop_model_level(self, name: str) -> None:
        """Forget one of Django's caches, and the decisions that may rest on it.

        Args:
            name: The name of Django's attribute.
        """
        after = Generation()
        with _replacing:
            # At once, so that a clear from a signal handler comes either before or after it.
            before, self.generation = self.generation, after
            for other, held in before.model_level.copy().items():
                if other not in (name, "_perm_cache"):  # which is made of the others
                    after.model_level.setdefault(other, held)


def permission_cache(user: object) -> PermissionCache:
    """Return the permission cache of a user instance.

    Args:
        user: The user, of any model.
    """
    found = user.__dict__.get("_olp_cache")
    if type(found) is PermissionCache and found.owner() is user:
        return found  # what `owned` finds, without the call
    return owned(user, "_olp_cache", PermissionCache)
