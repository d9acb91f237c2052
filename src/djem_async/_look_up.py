"""The fast path: answers from the cache, before anything else runs."""

from __future__ import annotations

from functools import partial
from inspect import getattr_static
from typing import TYPE_CHECKING, Any, Final, Literal, TypeAlias

from django.contrib.auth.base_user import AbstractBaseUser
from django.core.exceptions import SynchronousOnlyOperation
from django.db.models import NOT_PROVIDED, Model
from django.db.models.query_utils import DeferredAttribute

from ._backends import configured_backends
from ._check_logs import log_remembered
from ._context import active_logs
from ._lazy import plain_text
from ._log_stack import innermost, log_store, write
from ._methods import all_names_for, exemptions
from ._running import is_in_access_method
from ._store import SILENT, type_of
from ._telling import is_told
from ._twins import are_ours
from .conf import conf

if TYPE_CHECKING:
    from ._running import Check
    from ._store import Generation


Known: TypeAlias = bool | Literal["ask"] | None
"""What is known before a check: its answer, who decides, or nothing. See `look_up`."""

NOT_GIVEN: Final[Any] = NOT_PROVIDED
"""The default of ``obj``, which tells a model-level check from an object that is None."""


def look_up(user: Any, generation: Generation, perm: str, obj: Any) -> Known:
    """Return the answer of a check if it follows from the cache, and log the check.

    Returns:
        The answer; "ask" if only access methods have to be asked; None if the check has to be made.
    """
    if is_told() or (obj is None and is_in_access_method()):
        return None  # explained, or an explicit None, which is denied
    if obj is NOT_GIVEN:
        obj = None
    if generation.stock_in is not conf.epoch:
        return None
    try:
        is_active, is_superuser = user.is_active, user.is_superuser
    except SynchronousOnlyOperation:
        return None  # the fields have been deferred
    if not is_active:
        return None
    if type(perm) is not str:
        perm = plain_text(perm)
        if type(perm) is not str:
            return None
    kind = type_of(obj)
    if obj is not None and not issubclass(kind, Model):
        return None
    held, is_implicit = True, False
    if is_superuser:
        is_implicit = not conf.DJEM_UNIVERSAL_OLP
    else:
        perms = generation.caches[False].get("_perm_cache")
        if perms is None:
            return None
        held = perm in perms
    decision = SILENT[None][held]
    if obj is None or is_implicit:
        pass
    elif not held:
        if generation.once(exemptions, kind, perm):
            return None
    else:
        # The cache is shared with instances of the row that don't have this one's own methods.
        if obj._state.adding or not all_names_for(perm).isdisjoint(obj.__dict__):
            return None
        pk: Any = obj.pk
        decisions = generation.decisions.get((perm, kind, obj._state.db, type_of(pk), None))
        found = None if decisions is None else decisions.get(pk)
        if found is None:
            return None if conf.DJEM_PERM_LOG_VERBOSITY else "ask"
        decision = found
    if conf.DJEM_PERM_LOG_VERBOSITY:
        is_logged = log_remembered(user, perm, obj, decision, held=held)
        return decision.granted if is_logged else None
    if decision.entries:
        write(innermost(log_store(user), active_logs.get()), decision.entries)
    return decision.granted


def learn(check: Check) -> None:
    """Enable `look_up` for a user, if answers depend on nothing but the cache.

    This holds until a setting changes if all backends are stock, the user's permission and log
    methods are those of `djem_async.models.OLPMixin`, and the flags are plain values.
    """
    if check.generation.stock_in is conf.epoch:
        return
    epoch = conf.epoch
    user: Any = check.user
    kind = type_of(user)
    if (
        configured_backends().are_usual
        and are_ours(user, "has_perm", "ahas_perm", "log", "end_log", "aend_log")
        and kind.is_anonymous is AbstractBaseUser.is_anonymous
        and all(map(partial(_is_plain, kind), ("is_active", "is_superuser")))
    ):
        check.generation.stock_in = epoch


def _is_plain(kind: type, name: str) -> bool:
    """Tell whether an attribute is a field or a value, so that reading it makes no query."""
    attribute: object = getattr_static(kind, name, None)
    return isinstance(attribute, DeferredAttribute) or not hasattr(attribute, "__get__")
