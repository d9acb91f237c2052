"""The warm path: answers that follow from what is remembered, ahead of everything else."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from django.contrib.auth.base_user import AbstractBaseUser
from django.db.models import Model

from . import conf as settings
from ._backends import configured_backends
from ._check_logs import log_remembered
from ._context import active_logs
from ._lazy import plain_text
from ._log_stack import innermost, log_store, write
from ._store import SILENT, PermissionCache, type_of
from ._twins import are_ours
from .access import all_names_for
from .conf import conf

if TYPE_CHECKING:
    from ._running import Check


Known: TypeAlias = bool | Literal["ask"] | None
"""What is known ahead of a check: its answer, that access methods decide, or nothing."""


def look_up(user: Any, perm: str, obj: Any) -> Known:
    """Return the answer of a check, if it follows from what is remembered, and log the check.

    Returns:
        The answer; "ask" if it is what access methods decide; None if the check has to be made.
    """
    own: dict[str, Any] = user.__dict__
    cache: Any = own.get("_olp_cache")
    if type(cache) is not PermissionCache or cache.owner() is not user:
        return None
    generation = cache.generation
    if generation.stock_in is not settings.epoch or not user.is_active:
        return None
    if type(perm) is not str:
        perm = plain_text(perm)
        if type(perm) is not str:
            return None
    kind = type_of(obj)
    is_asked = obj is not None
    if is_asked and not issubclass(kind, Model):
        return None
    if user.is_superuser:
        held = True
        is_asked = is_asked and conf.DJEM_UNIVERSAL_OLP
    else:
        perms = generation.caches[False].get("_perm_cache")
        if perms is None:
            return None
        held = perm in perms
    decision = SILENT[held]
    if held and is_asked:
        # Another instance of the row may not have the methods that this one has of its own.
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
    """Let `look_up` answer for a user, if the answers depend on nothing but what is remembered.

    This holds until a setting changes if all backends are stock, and the user's permission and log
    methods are those of `djem_async.models.OLPMixin`.
    """
    if check.generation.stock_in is settings.epoch:
        return
    epoch = settings.epoch
    user: Any = check.user
    kind = type_of(user)
    if (
        configured_backends().are_usual
        and are_ours(user, "has_perm", "ahas_perm", "log", "end_log", "aend_log")
        and kind.is_anonymous is AbstractBaseUser.is_anonymous
    ):
        check.generation.stock_in = epoch
