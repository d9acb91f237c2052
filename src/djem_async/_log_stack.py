"""The logs that are active in a context, and those that have been finished.

Active logs belong to the execution context, and finished logs to the instance. The context also
remembers the logs that it finished last. It only has weak references to instances, so a long-lived
context keeps none alive.
"""

from __future__ import annotations

import weakref
from collections import OrderedDict
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final, TypeAlias

from ._context import active_logs, finished_logs
from ._entries import Nested
from ._owned import Owned, owned

if TYPE_CHECKING:
    from collections.abc import Generator

    from ._entries import Entries, Entry, FinishedLog

_MOST_IN_A_CONTEXT: Final = 64
_MOST_OF_AN_INSTANCE: Final = 1000


class LogStore(Owned):
    """The finished logs of one instance."""

    __slots__ = ("by_name", "last", "reference")

    def __init__(self, owner: object) -> None:
        super().__init__(owner)
        self.reference: _StoreRef = weakref.ref(self)
        # Its `popitem` is safe while other threads add items.
        self.by_name: OrderedDict[str, FinishedLog] = OrderedDict()
        self.last: FinishedLog | None = None


_StoreRef: TypeAlias = "weakref.ref[LogStore]"


def log_store(instance: object) -> LogStore:
    """Return the finished logs of an instance."""
    return owned(instance, "_log_store", LogStore)


class ActiveLog:
    """An active log, shared by all contexts that have inherited it.

    Args:
        store: The finished logs of its instance.
        name: Its name, or None if it collects lines for a check and nobody else can end it.
        perm: The permission that a check decides on an object.
        is_of_check: Whether a check has started it and will end it.
    """

    __slots__ = ("is_of_check", "is_open", "is_void", "lines", "name", "perm", "store")

    def __init__(
        self,
        store: LogStore,
        name: str | None = None,
        *,
        perm: str | None = None,
        is_of_check: bool = True,
    ) -> None:
        self.store: _StoreRef = store.reference
        self.name = name
        self.perm = perm
        self.is_of_check = is_of_check
        self.is_open = True
        self.is_void = False  # whether logs within it are only kept for the context
        self.lines: list[Entry] = []

    @property
    def is_active(self) -> bool:
        """Whether it can still be written to."""
        return self.is_open and self.store() is not None


def still_active(logs: tuple[ActiveLog, ...]) -> tuple[ActiveLog, ...]:
    """Return logs without those that have ended or whose instance is gone."""
    return tuple(log for log in logs if log.is_active)


def innermost(store: LogStore, logs: tuple[ActiveLog, ...]) -> ActiveLog | None:
    """Return the innermost active log of this instance, None if there is none."""
    for log in reversed(logs):
        # Code within a void log can't write to logs outside of it.
        if log.is_open and (log.is_void or log.store() is store):
            return log
    return None


def ends_in_void(logs: tuple[ActiveLog, ...]) -> bool:
    """Tell whether logs that end within these are only kept for the context."""
    return any(log.is_void and log.is_open for log in logs)


def log_to_end(store: LogStore, logs: tuple[ActiveLog, ...]) -> ActiveLog | None:
    """Return the log that can be ended now, None if there is none."""
    log = next((log for log in reversed(logs) if log.store() is store), None)
    # If the log belongs to a check that was cancelled, don't end an outer one instead.
    return None if log is None or not log.is_open or log.name is None else log


def begin(log: ActiveLog) -> None:
    """Make a log the innermost of this context."""
    active_logs.set((*still_active(active_logs.get()), log))


def leave(log: ActiveLog) -> None:
    """Deactivate a log in this context, or everywhere if it belongs to a check."""
    if log.is_of_check:
        log.is_open = False
    active_logs.set(tuple(other for other in active_logs.get() if other is not log))


def finish(store: LogStore, *logs: FinishedLog) -> None:
    """Store logs that have ended."""
    by_name = store.by_name
    for log in () if ends_in_void(active_logs.get()) else logs:
        by_name.pop(log.name, None)
        by_name[log.name] = log
        if len(by_name) > _MOST_OF_AN_INSTANCE:
            by_name.popitem(last=False)
        store.last = log
    reference = store.reference
    ended = (*finished_logs.get(), *[(reference, log) for log in logs])
    finished_logs.set(ended[-_MOST_IN_A_CONTEXT:])


def finished_here(store: LogStore, name: str | None = None) -> FinishedLog | None:
    """Return the last log of an instance that this context finished and still remembers."""
    for reference, log in reversed(finished_logs.get()):
        if reference is store.reference and name in (None, log.name):
            found: FinishedLog = log
            return found
    return None


@contextmanager
def leaving_no_logs() -> Generator[None]:
    """Forget the logs that this context finishes inside the block."""
    before = finished_logs.get()
    try:
        yield
    except GeneratorExit:
        raise  # an abandoned coroutine is being closed, in an arbitrary context
    except BaseException:
        finished_logs.set(before)
        raise
    finished_logs.set(before)


def write(log: ActiveLog | None, entries: Entries) -> None:
    """Add entries, tags and all, to an active log."""
    if log is not None and log.name is None:  # of an access method that has made a check
        log.lines.extend(Nested(each, each.tags) for each in entries)
    elif log is not None:
        log.lines.extend(entries)
