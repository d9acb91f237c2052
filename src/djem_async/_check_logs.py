"""The automatic logs of permission checks: what the library writes into them, and when."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from django.core.exceptions import SynchronousOnlyOperation

from ._entries import AUTO, CheckLog, Entries, Entry, FinishedLog, header_lines
from ._flow import Call, Flow
from .conf import conf
from .logs import Loggable, LogScope, awaits_model_level, finish, is_logging, write_entries

if TYPE_CHECKING:
    from ._cache import Record, Trust

_log: Final = Loggable.log
_end_log: Final = Loggable.end_log
_aend_log: Final = Loggable.aend_log

_RESULTS: Final[dict[bool, Entries]] = {
    granted: (Entry(f"\nRESULT: Permission {word}", AUTO),)
    for granted, word in ((True, "Granted"), (False, "Denied"))
}

MODEL_LEVEL_RESULTS: Final = {
    granted: Entry(f"Model-level Result: {word}\n", AUTO)
    for granted, word in ((True, "Granted"), (False, "Denied"))
}
"""What is logged of the model level where an object is checked."""


def logged(user: Any, perm: str, obj: object, decision: Flow[bool]) -> Flow[tuple[bool, Entries]]:
    """Log a check.

    Args:
        user: The user, with `Loggable`.
        perm: The permission.
        obj: The object, None for a check of the model level.
        decision: The check.

    Returns:
        The decision, and what was logged between the header and the result.
    """
    # The model-level check of an object-level one has no header, and what it logs also goes
    # into the log of the latter.
    is_part = obj is None and awaits_model_level(user, perm)
    pk: object = getattr(obj, "pk", None)
    name = f"auto-{perm}" if obj is None else f"auto-{perm}-{pk}"
    with LogScope(user, name, None if obj is None else perm) as log:
        try:
            if conf.DJEM_PERM_LOG_VERBOSITY > 1 and not is_part:
                of_object: tuple[object, ...] = ()
                if obj is not None:
                    try:
                        text = str(obj)
                    except SynchronousOnlyOperation:
                        # Its `__str__` makes a query, so ask for it where queries may be made.
                        text = yield Call(str, None, (obj,))
                    of_object = text, pk
                lines = header_lines(perm, user.get_username(), user.pk, *of_object)
                user.log(*lines, tag="auto")
            start = len(log.peek())
            granted = yield from decision
        except GeneratorExit:
            # The coroutine is being closed: there is no more waiting, not even for a log.
            raise
        except BaseException as error:
            yield from _end(user, log, f"\nRESULT: Error ({type(error).__name__})")
            raise
        entries = log.peek()
        yield from _end(user, log, *_RESULTS[granted])
    if is_part:
        write_entries(user, entries)
    return granted, entries[start:]


def _end(user: Any, log: LogScope, result: str) -> Flow[None]:
    if log.settle():
        user.log(result, tag="auto")
        yield Call(user.end_log, user.aend_log)


def model_level_log(perm: str, lines: Entries, *, granted: bool) -> FinishedLog:
    """Return the log of a check of the model level, but for its header.

    Args:
        perm: The permission.
        lines: What was logged before the result.
        granted: The decision.
    """
    return f"auto-{perm}", (lines, _RESULTS[granted]), ()


def part_of_object_log(log: FinishedLog) -> Entries:
    """Return what a check of the model level leaves in the log of the object that it is for.

    Args:
        log: Its own log, as `model_level_log` returns it.
    """
    _, (lines, result), _ = log
    return *lines, MODEL_LEVEL_RESULTS[result is _RESULTS[True]]


def repeat_for_model_level(user: Any, perm: str, trust: Trust) -> bool:
    """Leave the log of a check of the model level whose answer is known.

    Args:
        user: The user.
        perm: The permission.
        trust: What the answer rests on.

    Returns:
        Whether that was possible. If not, nothing was done, and the check has to be made.
    """
    log = trust.logs.get(perm)
    # It may be a part of another check, whose log has to have the lines.
    if log is None or is_logging() or not _logs_plainly(user):
        return False
    name, parts, _ = log
    header = (perm, user.get_username(), user.pk) if trust.verbosity > 1 else ()
    finish(user, ((name, parts, header),))
    return True


def repeat(
    user: Any, perm: str, obj: Any, pk: object, verbosity: int, log: CheckLog, record: Record
) -> bool:
    """Leave the log of a check of an object whose answer is known.

    Args:
        user: The user.
        perm: The permission.
        obj: The object.
        pk: Its primary key.
        verbosity: How much of a check is logged.
        log: What the logs of such checks have in common.
        record: The answer.

    Returns:
        Whether that was possible. If not, nothing was done, and the check has to be made.
    """
    if not _logs_plainly(user):
        return False
    latest_pk, latest_record, logs = log.latest
    # By identity: what equals the primary key may be another text.
    if latest_pk is not pk or latest_record is not record:
        header = (perm, user.get_username(), user.pk, str(obj), pk) if verbosity > 1 else ()
        parts = log.before, record.entries, _RESULTS[record.granted is True]
        last = f"auto-{perm}-{pk}", parts, header
        logs = (last,) if log.model_level is None else (log.model_level, last)
        if not header:
            log.latest = pk, record, logs
    finish(user, logs)
    return True


def _logs_plainly(user: Any) -> bool:
    """Tell whether the logs of a user are those of `Loggable`, and no override or patch."""
    kind: Any = user.__class__
    own: dict[str, Any] = user.__dict__
    return (
        kind.end_log is _end_log
        and kind.aend_log is _aend_log
        and kind.log is _log
        and "end_log" not in own
        and "aend_log" not in own
        and "log" not in own
    )
