"""The automatic logs of permission checks: what the library writes into them, and when."""

from __future__ import annotations

from contextlib import contextmanager
from functools import partial
from itertools import islice
from typing import TYPE_CHECKING, Any, Final

from ._entries import AUTO, IMPLICIT, Entry, FinishedLog, header_lines
from ._flow import Call, Flow, where_allowed
from ._log_stack import (
    ActiveLog,
    ends_in_void,
    finish,
    innermost,
    log_store,
    still_active,
    write,
)
from ._twins import are_ours
from .conf import conf

if TYPE_CHECKING:
    from collections.abc import Generator

    from ._running import Check
    from ._store import Decision

_RESULTS: Final = {
    granted: Entry(f"\nRESULT: Permission {word}", AUTO)
    for granted, word in ((True, "Granted"), (False, "Denied"))
}
_IMPLICIT_ENTRIES: Final = {level: Entry(line, AUTO) for level, line in IMPLICIT.items()}
_MODEL_LEVEL_RESULTS: Final = {
    granted: Entry(f"Model-level Result: {word}\n", AUTO)
    for granted, word in ((True, "Granted"), (False, "Denied"), (None, "Denied (not required)"))
}


def logged(check: Check, perm: str, obj: object, decision: Flow[bool]) -> Flow[bool]:
    """Log a check of a user."""
    if not check.verbosity:
        return (yield from decision)
    store, before = log_store(check.user), check.logs
    # The model-level check within an object-level one has no header. Its lines are also written
    # to the log of the object-level check.
    outer = innermost(store, before)
    asked = next((question.asked for _, question in islice(check.chain(), 1, None)), None)
    is_part = obj is None and asked == "backend" and outer is not None and outer.perm == perm
    if obj is None:
        log = ActiveLog(store, f"auto-{perm}")
    else:
        log = ActiveLog(store, f"auto-{perm}-{getattr(obj, 'pk', None)}", perm=perm)
    check.logs = (*still_active(before), log)
    try:
        try:
            if check.verbosity > 1 and not is_part:
                yield from note(check, *(yield from _header(check, perm, obj)))
            granted = yield from decision
        except GeneratorExit:
            # The coroutine is being closed, so nothing can be awaited any more.
            raise
        except BaseException as error:
            yield from _end(check, log, f"\nRESULT: Error ({type(error).__name__})")
            raise
        entries = tuple(log.lines)
        yield from _end(check, log, _RESULTS[granted])
    finally:
        log.is_open = False
        check.logs = before
    if is_part:
        write(outer, entries)
    return granted


def _header(check: Check, perm: str, obj: object) -> Flow[list[str]]:
    user = check.user
    username = yield from where_allowed(user.get_username)
    if obj is None:
        return header_lines(perm, username, user.pk)
    text = yield from where_allowed(partial(_text_of, check), obj)
    return header_lines(perm, username, user.pk, text, getattr(obj, "pk", None))


def _text_of(check: Check, obj: object) -> str:
    with check.calling()():
        return str(obj)


def note(check: Check, *lines: str) -> Flow[None]:
    """Write lines of the library to the log of a check."""
    user = check.user
    if not check.verbosity:
        return
    if are_ours(user, "log"):
        entries = tuple(Entry(line, AUTO) for line in lines)
        write(innermost(log_store(user), check.logs), entries)
    else:
        log = partial(user.log, tag="auto")
        yield Call(log, None, lines, blocking=False, scope=check.calling())


def _end(check: Check, log: ActiveLog, result: str) -> Flow[None]:
    if not log.is_open:
        return  # code that the check has called has ended it
    yield from note(check, result)
    user = check.user
    if log.name is not None and (ends_in_void(check.logs) or are_ours(user, "end_log", "aend_log")):
        finish(log_store(user), FinishedLog(log.name, tuple(log.lines)))
    else:
        yield Call(user.end_log, user.aend_log, scope=check.calling())


def note_model_level(check: Check, perm: str, *, granted: bool | None) -> Flow[None]:
    """Log the result of the model level, if the check of the object is logged.

    None is a denial that an access method may still override.
    """
    log = innermost(log_store(check.user), check.logs)
    if log is not None and log.perm == perm:
        yield from note(check, _MODEL_LEVEL_RESULTS[granted])


def log_remembered(user: Any, perm: str, obj: Any, decision: Decision, *, held: bool) -> bool:
    """Write the logs of a check whose answer is cached, as `logged` would.

    Returns:
        Whether that was possible. If not, nothing was written, and the check has to be made.
    """
    header: tuple[object, ...] = ()
    pk: object = getattr(obj, "pk", None)
    if conf.DJEM_PERM_LOG_VERBOSITY > 1:
        try:
            header = perm, user.get_username(), user.pk
            if obj is not None:
                header = *header, str(obj), pk
        except Exception:  # noqa: BLE001 - such as a query on an event loop, or a faulty `__str__`
            return False
    is_universal, result = conf.DJEM_UNIVERSAL_OLP, _RESULTS[decision.granted]
    implicit = (_IMPLICIT_ENTRIES[is_universal],) if user.is_superuser else ()
    if obj is None:
        logs = [FinishedLog(f"auto-{perm}", (*implicit, result), header)]
    elif implicit and not is_universal:
        logs = [FinishedLog(f"auto-{perm}-{pk}", (*implicit, result), header)]
    else:
        entries = (*implicit, _MODEL_LEVEL_RESULTS[held], *decision.entries, result)
        logs = [
            FinishedLog(f"auto-{perm}", (*implicit, _RESULTS[held])),
            FinishedLog(f"auto-{perm}-{pk}", entries, header),
        ]
    finish(log_store(user), *logs)
    return True


@contextmanager
def dropped(check: Check, perm: str | None = None, *, is_void: bool = False) -> Generator[None]:
    """Discard the logs of a check that the library makes for itself.

    Args:
        check: The check.
        perm: The permission, if the model level is logged as usual.
        is_void: Whether logs that are finished meanwhile are kept for this context only.
    """
    before = check.logs
    log = ActiveLog(log_store(check.user), perm=perm)
    log.is_void = is_void
    check.logs = (*before, log)
    try:
        yield
    finally:
        log.is_open = False
        check.logs = before


@contextmanager
def unlogged(check: Check, *, is_void: bool = False) -> Generator[None]:
    """Make no logs of a check, and discard those that are finished meanwhile."""
    verbosity, check.verbosity = check.verbosity, 0
    try:
        with dropped(check, is_void=is_void):
            yield
    finally:
        check.verbosity = verbosity
