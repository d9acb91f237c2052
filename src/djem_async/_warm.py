"""The warm path: answers that need nobody to be asked, ahead of everything else.

The answer of a check can be repeated if asking again could only give the same. So it is kept
in a `Trust`, which counts as long as

* the user is active, and the superuser flag is the same;
* the user's class and instance have the methods that they had;
* no setting has changed;
* Django's caches of model-level permissions are the sets that they were.

And it is kept only where all who were asked are known to answer the same for that long: Django's
own backends, this package's, and the user's own methods as `OLPMixin` has them. Any other backend
is asked in every check.
"""

from __future__ import annotations

from inspect import getattr_static
from operator import is_not
from typing import TYPE_CHECKING, Any, Final, TypeAlias, TypeVar, cast
from weakref import WeakKeyDictionary

from django.db.models import Model
from django.db.models.fields.related_descriptors import ForeignKeyDeferredAttribute
from django.db.models.query_utils import DeferredAttribute

from . import conf as settings
from ._cache import Generation, Shortcut, Trust, object_key, shared_record
from ._check_logs import model_level_log, part_of_object_log, repeat, repeat_for_model_level
from ._entries import CheckLog, Entries, are_same
from ._plans import plan_for
from ._twins import is_declared
from .access import all_names_for
from .logs import write_entries

if TYPE_CHECKING:
    from collections.abc import Callable

    from ._cache import ObjectKey, PermissionCache, Record

T = TypeVar("T")


Known: TypeAlias = "bool | Shortcut | None"
"""What is known ahead of a check: its answer, a shortcut to what is left of it, or nothing."""


def looked_up_first(
    otherwise: Callable[[Any, str, Any, Known], T],
) -> Callable[..., bool | T]:
    """Make a function that repeats the answer of a check, if asking again could only give the same.

    The log of the check is repeated as well.

    Args:
        otherwise: What to go on with where the answer is not known: it gets the user, with
            `OLPMixin`, the permission, the object, which is None for a check of the model level,
            and a shortcut to what is left of the check, or None if all of it has to be made.

    Returns:
        A function of the user, the permission and the object.
    """

    # In line and without a call more than needed: this is what a request does most often.
    def look_up(user: Any, perm: str, obj: Any = None) -> bool | T:
        known: Known = None
        try:
            own: dict[str, Any] = user.__dict__
            kind: Any = user.__class__
            cache: PermissionCache = own["_olp_cache"]
            trust = cache.generation.trust
            if (
                type(perm) is str  # another might claim to be equal
                and trust.epoch.is_current
                and trust.is_superuser is user.is_superuser
                and user.is_active
                and cache.owner() is user
                and kind.has_perm is trust.has_perm
                and kind.ahas_perm is trust.ahas_perm
                and "has_perm" not in own
                and "ahas_perm" not in own
            ):
                if obj is None:
                    granted = trust.model_level[perm]
                    if not trust.verbosity or repeat_for_model_level(user, perm, trust):
                        return granted
                else:
                    shortcut: Any = trust.shortcuts[perm][type(obj)]
                    state = obj._state
                    if state.db is not shortcut.alias:
                        shortcut = trust.find(perm, type(obj), state.db)  # pyright: ignore[reportUnknownArgumentType]
                    pk: Any = getattr(obj, shortcut.pk_name)
                    if type(pk) is shortcut.pk_type and not state.adding:
                        record = shortcut.table.get(pk)
                        if record is None and (record := shortcut.same) is None:
                            known = shortcut
                        elif (silent := record.silent) is shortcut.sure:
                            return silent  # type: ignore[no-any-return]
                        else:
                            known = _look_twice(user, perm, obj, pk, trust, shortcut, record)
                            if known is True or known is False:
                                return known
        except Exception:  # noqa: BLE001, S110 - nothing is known, or what is odd the check will tell
            pass
        return otherwise(user, perm, obj, known)

    return look_up


def _known(_user: object, _perm: str, _obj: object, known: Known) -> Known:
    return known


look_up: Final[Callable[[Any, str, Any], Known]] = looked_up_first(_known)
"""Return what is known of a user's check of a permission on an object, see `looked_up_first`."""


def _look_twice(
    user: Any, perm: str, obj: Any, pk: object, trust: Trust, shortcut: Shortcut, record: Record
) -> Known:
    """Repeat an answer that depends on the object itself, or that has to be logged."""
    granted = record.granted
    if granted is None or (granted is shortcut.doubt and _has_own(obj, shortcut)):
        return shortcut
    if not trust.verbosity:
        write_entries(user, record.entries)
        return granted
    log = shortcut.log
    if log is not None and repeat(user, perm, obj, pk, trust.verbosity, log, record):
        return granted
    return None


def trust_in(user: Any, generation: Generation) -> Trust:
    """Return what may be trusted as of now, and filled if a check that begins now succeeds.

    Args:
        user: The user.
        generation: What is known about the user.
    """
    kind = cast("Any", type(user))
    trust = generation.trust
    now = settings.epoch, user.is_superuser, kind.has_perm, kind.ahas_perm
    then = trust.epoch, trust.is_superuser, trust.has_perm, trust.ahas_perm
    if any(map(is_not, now, then)):
        trust = generation.trust = Trust(*now, settings.conf.DJEM_PERM_LOG_VERBOSITY)
    return trust


def is_ordinary(perm: object, obj: object) -> bool:
    """Tell whether a check is about a model instance or none, and its permission is a plain string.

    Args:
        perm: The permission.
        obj: The object, None for a check of the model level.
    """
    return type(perm) is str and (obj is None or issubclass(type(obj), Model))


def learn_shortcut(user: Any, generation: Generation, perm: str, obj: Model) -> Shortcut | None:
    """Find out where `look_up` can have the answers of checks of an object and its like from.

    Args:
        user: The user, who does not have permissions implicitly.
        generation: What is known about the user. That includes the answer of the model level,
            if it counts for more than one check.
        perm: The permission.
        obj: The object.

    Returns:
        The shortcut; None if there is none.
    """
    if perm not in generation.trust.model_level:
        return None
    # What was asked when the user had other flags does not count now.
    trust = trust_in(user, generation)
    is_held, found = trust.model_level.get(perm), _plain_key(obj)
    if found is None or is_held is None:
        return None
    key, pk_name = found
    names = all_names_for(perm)
    if not is_held:
        shortcut = Shortcut(key, pk_name, same=_ANSWERS[False])
    elif any(is_declared(key.model, name) for name in names):
        # Methods that only this object has may grant what those of its class have denied. What
        # those have granted stays granted.
        shortcut = Shortcut(
            key,
            pk_name,
            table=generation.table(perm, key),
            names=names,
            doubt=False,
            plan=plan_for(obj, perm),
        )
    else:
        # With nobody to ask, the object level is open.
        shortcut = Shortcut(key, pk_name, same=_ANSWERS[True], names=names, doubt=True)
    trust.add(perm, key, shortcut)
    return shortcut


def keep_answer(trust: Trust, perm: str, obj: Any, *, granted: bool) -> None:
    """Keep an answer that is the same for all objects of a class.

    Args:
        trust: What was trusted when the check began.
        perm: The permission.
        obj: One of the objects, None for the model level.
        granted: The answer.
    """
    if obj is None:
        trust.model_level[perm] = granted
        return
    found = _plain_key(obj)
    if found is not None:
        key, pk_name = found
        trust.add(perm, key, Shortcut(key, pk_name, same=_ANSWERS[granted]))


def learn_log(
    trust: Trust,
    perm: str,
    obj: Any,
    lines: Entries,
    *,
    notes: Entries,
    was_asked: bool,
    granted: bool,
) -> None:
    """Keep what is the same in the log of each check whose answer is known.

    Args:
        trust: What the answers rest on.
        perm: The permission.
        obj: The object, None for a check of the model level.
        lines: What was logged between the header and the result.
        notes: What the check itself has logged of it.
        was_asked: Whether backends were asked, and so the model level before the object.
        granted: The answer of the check.
    """
    # What others log in between may be another line each time.
    if obj is None:
        if trust.model_level.get(perm) is granted and are_same(lines, notes):
            trust.logs[perm] = model_level_log(perm, notes, granted=granted)
        return
    key = object_key(obj)
    if key is None:
        return
    shortcut = trust.find(perm, key.model, key.alias)
    record = None if shortcut is None else shortcut.record(key.pk)
    if shortcut is None or record is None:
        return
    model_level = trust.logs.get(perm) if was_asked else None
    before = notes if model_level is None else part_of_object_log(model_level)
    if are_same(lines, (*before, *record.entries)):
        shortcut.log = CheckLog(before, model_level)


def _plain_key(obj: Model) -> tuple[ObjectKey, str] | None:
    """Return the key of an object, and the attribute that holds its primary key."""
    key = object_key(obj)
    if key is None:
        return None
    pk_name = _pk_name(key.model)
    return None if pk_name is None else (key, pk_name)


def _has_own(obj: object, shortcut: Shortcut) -> bool:
    own = vars(obj)
    if any(name in own for name in shortcut.names):
        return True
    # A class that had no access methods may have been given some.
    return shortcut.doubt is True and any(hasattr(type(obj), name) for name in shortcut.names)


def _pk_name(model: type[Model]) -> str | None:
    """Name the attribute that holds the primary key, None if there is more to it than that."""
    try:
        return _pk_names[model]
    except KeyError:
        name = model._meta.pk.attname
        is_plain = (
            getattr_static(model, "pk") is getattr_static(Model, "pk")
            and type(getattr_static(model, name)) in _PLAIN_ATTRIBUTES
            and model.__getattribute__ is object.__getattribute__
            and not hasattr(model, "__getattr__")
        )
        return _pk_names.setdefault(model, name if is_plain else None)


_pk_names: WeakKeyDictionary[type[Model], str | None] = WeakKeyDictionary()
# Each reads what is in the `__dict__` of the object.
_PLAIN_ATTRIBUTES: Final = (DeferredAttribute, ForeignKeyDeferredAttribute)


_ANSWERS: Final = {granted: shared_record(None, None, granted) for granted in (True, False)}
