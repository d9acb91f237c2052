"""Logs every permission check to the standard library's logger ``djem_async``.

Add ``djem_async.contrib.logging`` to ``INSTALLED_APPS``.
"""

import logging
from typing import Any, Final, cast

from ...explain import Explanation, escaped

_LOGGER: Final = logging.getLogger("djem_async")


def log_check(explanation: Explanation, **_kwargs: Any) -> None:
    """Log a check: a receiver of `djem_async.signals.permission_checked`.

    Denials have the level WARNING, and grants DEBUG. The record has all that
    `Explanation.as_dict` returns as attributes.

    Args:
        explanation: The explanation of the check.
    """
    level = logging.DEBUG if explanation.granted else logging.WARNING
    if _LOGGER.isEnabledFor(level):
        of = _escaped(explanation.as_dict())
        result = "granted" if explanation.granted else "denied"
        on = [str(of[name]) for name in ("model", "object") if of[name] is not None]
        where = f"on {' '.join(on)}" if on else "at the model level"
        why = ": ".join(filter(None, [of["reason"], of["error"], " ".join(of["lines"])]))
        message = "Permission %s: %s %s, user %s (%s)"
        _LOGGER.log(level, message, result, of["perm"], where, of["user"], why, extra=of)


def _escaped(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _escaped(each) for name, each in cast("dict[str, Any]", value).items()}
    if isinstance(value, list):
        return [_escaped(each) for each in cast("Any", value)]
    return escaped(value) if isinstance(value, str) else value
