"""Reports the results of checks to explanations and to receivers of the signal."""

from __future__ import annotations

import logging
from functools import partial
from typing import TYPE_CHECKING, Any, Final, TypeVar

from django.db.models import Model

from ._check_logs import unlogged
from ._entries import Nested
from ._flow import Call, Flow
from ._lazy import plain_text, unwrapped
from ._log_stack import leaving_no_logs
from ._running import is_explained
from ._store import type_of
from .explain import Explanation, Reason
from .signals import permission_checked

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from ._running import Check

T = TypeVar("T")
_LOGGER: Final = logging.getLogger("djem_async")


def is_told() -> bool:
    """Tell whether the result of a check that begins in this context has to be reported."""
    return bool(permission_checked.receivers) or is_explained()


def traced(check: Check, perm: str, obj: object, flow: Flow[T]) -> Flow[T]:
    """Make a check, and report its result if somebody needs it.

    Args:
        check: The check.
        perm: The permission.
        obj: The object, or the model of a list, or None.
        flow: The check to make.
    """
    return _traced(check, perm, obj, flow) if is_told() else flow


def _traced(check: Check, perm: str, obj: object, flow: Flow[T]) -> Flow[T]:
    check.nested = []
    try:
        granted = yield from flow
    except Exception as error:
        yield from tell(check, explanation_of(check, perm, obj, error=error))
        raise
    yield from tell(check, explanation_of(check, perm, obj, granted=bool(granted)))
    return granted


def explanation_of(
    check: Check, perm: str, obj: Any, *, granted: bool = False, error: Exception | None = None
) -> Explanation:
    """Build the explanation of a check that has ended."""
    step, nested = check.step, check.nested or []
    found, name = unwrapped(obj), plain_text(perm)
    is_list = isinstance(found, type)
    model: Any = found if is_list else type(found)
    # Leave out the lines of nested checks that have explanations of their own.
    said = set(_lines_of(nested))
    lines = [line for line in step.lines if not (isinstance(line, Nested) and str(line) in said)]
    return Explanation(
        granted=granted,
        perm=name if isinstance(name, str) else type(name).__name__,
        user=getattr(check.user, "pk", None),
        object=found.pk if issubclass(model, Model) and not is_list else None,
        model=model._meta.label if issubclass(model, Model) else None,
        reason=step.reason if error is None else Reason.ERROR,
        decided_by=step.by if error is None or step.reason.is_access_method else None,
        lines=tuple(lines),
        cached=step.cached,
        nested=tuple(nested),
        error=None if error is None else type(error).__name__,
    )


def _lines_of(explanations: Iterable[Explanation]) -> Iterator[str]:
    for each in explanations:
        yield from map(str, each.lines)
        yield from _lines_of(each.nested)


def nest(check: Check, explanation: Explanation) -> None:
    """Add an explanation to that of the outer check."""
    outer = None if check.outer is None else check.outer.check
    if outer is not None and outer.nested is not None:
        outer.nested.append(explanation)


def tell(check: Check, explanation: Explanation) -> Flow[None]:
    """Report the result of a check to its outer check and to receivers of the signal."""
    if check.is_model_level_step(explanation.perm, explanation.model):
        return
    nest(check, explanation)
    if permission_checked.receivers and not check.is_quiet:
        sender = type_of(check.user)
        told = {"explanation": explanation, "is_nested": check.is_nested}
        send = partial(permission_checked.send_robust, sender, **told)
        asend = partial(permission_checked.asend_robust, sender, **told)
        try:
            # Receivers don't write to the log of the check, which stays the last one.
            with leaving_no_logs(), unlogged(check, is_void=True):
                yield Call(send, asend, scope=check.calling("quiet"))
        except Exception:
            # For example, a sync check on the event loop can't call async receivers.
            _LOGGER.exception("permission_checked could not be sent to all of its receivers.")
