"""Asking a user of any kind, as views, templates and explanations do."""

from __future__ import annotations

from contextlib import ExitStack, nullcontext
from typing import TYPE_CHECKING, Any

from django.core.exceptions import PermissionDenied

from ._backends import ask
from ._check_logs import unlogged
from ._entries import Denial
from ._lazy import loaded
from ._log_stack import leaving_no_logs
from ._look_up import NOT_GIVEN
from ._objects import check_of_user
from ._running import Check, is_in_access_method
from ._store import PermissionCache, drop_django_caches, generation_of, permission_cache, type_of
from ._telling import explanation_of, nest, tell, traced
from ._twins import are_ours, required_forms
from ._users import checked_user, has_djangos_methods
from .explain import Explanation, Reason

if TYPE_CHECKING:
    from ._flow import Flow


def ask_user(user: Any, perm: str, obj: object = None, *, is_quiet: bool = False) -> Flow[bool]:
    """Ask a user of any kind for a permission.

    Args:
        user: The user.
        perm: The permission.
        obj: The object to check it on; None checks the model level.
        is_quiet: Whether to send no signal.
    """
    user = yield from loaded(user)
    check = Check(user)
    if has_djangos_methods(user):
        # Django's methods would skip backends that don't have their form, sync or async.
        flow = check_of_user(check, perm, obj)
        return (yield from flow if is_quiet else traced(check, perm, obj, flow))
    scope = check.calling("quiet") if is_quiet else nullcontext
    on = () if obj is None else (obj,)
    return (yield from ask(required_forms(user, "has_perm"), perm, *on, scope=scope))


def explained(
    user: Any, perm: str, obj: Any = NOT_GIVEN, *, is_quiet: bool = False, is_anew: bool = False
) -> Flow[tuple[Explanation, Exception | None]]:
    """Ask a user of any kind for a permission, and explain the answer.

    Args:
        user: The user.
        perm: The permission.
        obj: The object to check it on, if any.
        is_quiet: Whether to leave no logs, and to send no signal.
        is_anew: Whether to ignore the cache. The answers replace what is cached.

    Returns:
        The explanation, and the exception that the check raised.
    """
    user = checked_user((yield from loaded(user)))
    if not is_anew:
        return (yield from _explained(Check(user), perm, obj, is_quiet=is_quiet))
    cache, fresh_cache = permission_cache(user), PermissionCache(user)
    since = cache.since()
    root = Check(user, generation_of(user, fresh_cache))
    root.fresh_cache = fresh_cache
    drop_django_caches(user)
    try:
        return (yield from _explained(root, perm, obj, is_quiet=is_quiet))
    finally:
        cache.adopt(fresh_cache, since)


def _explained(
    root: Check, perm: str, obj: Any, *, is_quiet: bool
) -> Flow[tuple[Explanation, Exception | None]]:
    user, on = root.user, () if obj is NOT_GIVEN else (obj,)
    root.nested = []
    root.is_quiet = root.is_quiet or is_quiet
    granted, error = False, None
    is_djangos = has_djangos_methods(user)
    with ExitStack() as stack:
        if is_quiet:
            stack.enter_context(leaving_no_logs())
            stack.enter_context(unlogged(root, is_void=True))
        try:
            if is_djangos:
                granted = yield from check_of_user(root, perm, *on)
            else:
                # Within an access method, an explicit None denies.
                scope = root.calling("access method" if is_in_access_method() else "other")
                granted = yield from ask(required_forms(user, "has_perm"), perm, *on, scope=scope)
        except Exception as raised:  # noqa: BLE001 - it is a part of the explanation
            error = raised
    obj = on[0] if on else None
    explanation = explanation_of(root, perm, obj, granted=granted, error=error)
    if not is_djangos:
        is_ours = are_ours(user, "has_perm", "ahas_perm")
        for each in reversed(root.nested):
            if is_ours or _is_same(each, explanation):
                nest(root, each)
                return each, error
        # The user model overrides the check.
        kind = type_of(user)
        root.because(Reason.OTHER_BACKEND, f"{kind.__module__}.{kind.__qualname__}")
        explanation = explanation_of(root, perm, obj, granted=granted, error=error)
    yield from tell(root, explanation)
    return explanation, error


def _is_same(one: Explanation, other: Explanation) -> bool:
    """Tell whether two explanations are about the same check, compared by primary keys."""
    names = "perm", "user", "model", "object", "granted", "error"
    is_told = other.model is None or other.object is not None
    return is_told and all(getattr(one, name) == getattr(other, name) for name in names)


def refused(user: Any, perm: str, line: str) -> Flow[Explanation]:
    """Deny a permission without asking the user.

    Args:
        user: The user.
        perm: The permission.
        line: The reason.

    Returns:
        The explanation, which receivers of the signal get.
    """
    root = Check(user)
    root.nested = []
    root.because(Reason.MODEL_LEVEL, lines=(line,))
    explanation = explanation_of(root, perm, None)
    yield from tell(root, explanation)
    return explanation


def denial_to(
    user: Any, perm: str, obj: Any = NOT_GIVEN, *, is_anew: bool = False
) -> Flow[PermissionDenied | None]:
    """Ask a user of any kind for a permission, as views do, see `explained`.

    Returns:
        What to raise if it is denied, None if it is granted.
    """
    explanation, error = yield from explained(user, perm, obj, is_anew=is_anew)
    if error is not None:
        raise error
    return None if explanation.granted else denial_of(explanation)


def denial_of(explanation: Explanation) -> PermissionDenied:
    """Make the exception for a permission that was denied, with the reasons of access methods."""
    text = " ".join(line for line in explanation.lines if isinstance(line, Denial))
    # Django REST framework sends the text of the exception to clients, even an empty one.
    denial = PermissionDenied(text) if text else PermissionDenied()
    vars(denial)["explanation"] = explanation
    return denial
