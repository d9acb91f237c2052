"""Instance-based logging: named logs kept on an instance, safe under tasks and threads."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, overload

from ._context import active_logs
from ._driving import twin
from ._entries import Entries, Entry, FinishedLog, entries_of
from ._lazy import plain_text
from ._log_stack import (
    ActiveLog,
    begin,
    finish,
    finished_here,
    innermost,
    leave,
    log_store,
    log_to_end,
)
from ._twins import ours

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["Entry", "Loggable"]


def _read(entries: Entries, tags: Iterable[str] | None, raw: bool) -> str | list[Entry]:
    if isinstance(tags, str):
        raise TypeError(f"`tags` is a string. Give a list of tags: tags=[{tags!r}].")
    wanted = frozenset(tags or ())
    kept = [entry for entry in entries if not wanted or not wanted.isdisjoint(entry.tags)]
    return kept if raw else "\n".join(kept)


def _text(given: object, title: str) -> str:
    if not issubclass(type(given), str):
        raise TypeError(f"{title} must be a string, not {type(given).__name__}.")
    text: str = plain_text(given)
    return text


class Loggable:
    """Create, keep and read named logs on an instance. Any class can inherit it.

    Logs nest: starting one suspends the active one. They stay in memory as long as the instance
    does. Override `end_log` to store them.

    Tasks and threads can share an instance. Each has its own active logs. A task inherits the logs
    that were active where it was created, and can add lines to them.
    """

    def start_log(self, name: str) -> None:
        """Start a log and make it the active one.

        Args:
            name: Its name.

        Raises:
            ValueError: A log of this name is already active in this context.
            TypeError: ``name`` is not a string.
        """
        name = _text(name, "The name of a log")
        store = log_store(self)
        for log in active_logs.get():
            if log.name == name and log.is_active and log.store() is store:
                raise ValueError(f'A log named "{name}" is already active.')
        begin(ActiveLog(store, name, is_of_check=False))

    @ours
    def end_log(self) -> tuple[str, list[Entry]]:
        """End the active log, so that it can be read, and make the one before it active.

        This is the hook to persist logs: override it, call ``super().end_log()`` and save what
        that returns. ORM calls are fine here: the async API runs an override in a thread.

        Returns:
            The name of the log and a copy of its entries.

        Raises:
            KeyError: No log is active in this context.
        """
        store = log_store(self)
        log = log_to_end(store, active_logs.get())
        if log is None or log.name is None:
            raise KeyError("No active log to finish.")
        leave(log)
        entries = tuple(log.lines)
        finish(store, FinishedLog(log.name, entries))
        return log.name, list(entries)

    @ours
    @twin
    async def aend_log(self) -> tuple[str, list[Entry]]:
        """End the active log, see `end_log`.

        An override of `end_log` is run in a thread; override this method as well to persist logs
        natively.

        Returns:
            The name of the log and a copy of its entries.

        Raises:
            KeyError: No log is active in this context.
        """
        return Loggable.end_log(self)

    def discard_log(self) -> None:
        """Drop the active log and make the one before it active.

        Raises:
            KeyError: No log is active in this context.
        """
        log = log_to_end(log_store(self), active_logs.get())
        if log is None:
            raise KeyError("No active log to discard.")
        leave(log)

    @ours
    def log(self, *lines: object, tag: str | None = None) -> None:
        """Add lines to the active log.

        Inside an access method that is running for a check this always works: if no log is
        active, the lines go nowhere.

        Args:
            *lines: The lines.
            tag: A tag for each of them.

        Raises:
            KeyError: No log is active in this context.
            TypeError: ``tag`` is not a string.
        """
        if tag is not None and not isinstance(tag, str):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise TypeError(
                f"`tag` must be a string, not {tag!r}. Log the lines of each tag apart."
            )
        tags = (tag,) if tag else ()
        entries = [Entry(line, tags) for line in lines]
        store = log_store(self)
        log = innermost(store, active_logs.get())
        if log is not None:
            log.lines.extend(entries)
        # After its check was cancelled, an access method may go on with logs that have ended.
        elif all(ended.store() is not store for ended in active_logs.get()):
            raise KeyError("No active log to append to. Has one been started?")

    @overload
    def get_log(
        self, name: str, tags: Iterable[str] | None = None, raw: Literal[False] = False
    ) -> str: ...
    @overload
    def get_log(
        self, name: str, tags: Iterable[str] | None = None, *, raw: Literal[True]
    ) -> list[Entry]: ...
    @overload
    def get_log(self, name: str, tags: Iterable[str] | None, raw: Literal[True]) -> list[Entry]: ...
    @overload
    def get_log(
        self, name: str, tags: Iterable[str] | None = None, raw: bool = False
    ) -> str | list[Entry]: ...
    def get_log(
        self, name: str, tags: Iterable[str] | None = None, raw: bool = False
    ) -> str | list[Entry]:
        """Return a finished log.

        Args:
            name: Its name. If several tasks or threads have finished a log of this name, it's the
                latest one of this task or thread, or else the latest of all.
            tags: Keep the entries that have any of these tags; all entries if empty.
            raw: Return a list of the entries instead of text.

        Returns:
            The lines joined by newlines, or a copied list of them. An instance keeps the logs of
            its latest 1,000 names.

        Raises:
            KeyError: No log of this name has been finished.
            TypeError: ``tags`` is a string.
        """
        store = log_store(self)
        name = plain_text(name)
        log = finished_here(store, name) or store.by_name.get(name)
        if log is None:
            raise KeyError(f'No log found for "{name}". Has it been finished?')
        return _read(entries_of(log), tags, raw)

    @overload
    def get_last_log(
        self, tags: Iterable[str] | None = None, raw: Literal[False] = False
    ) -> str: ...
    @overload
    def get_last_log(
        self, tags: Iterable[str] | None = None, *, raw: Literal[True]
    ) -> list[Entry]: ...
    @overload
    def get_last_log(self, tags: Iterable[str] | None, raw: Literal[True]) -> list[Entry]: ...
    @overload
    def get_last_log(
        self, tags: Iterable[str] | None = None, raw: bool = False
    ) -> str | list[Entry]: ...
    def get_last_log(
        self, tags: Iterable[str] | None = None, raw: bool = False
    ) -> str | list[Entry]:
        """Return the log that was finished last.

        It's the last one of this task or thread, which keeps 64 logs. So right after a check, it's
        the log of that check, whatever other tasks do. If this task or thread has finished no log,
        it's the last one of the instance.

        Inside an access method, it's empty if there is no finished log. So access methods can
        read the log of a nested check even if automatic logs are off.

        Args:
            tags: Keep the entries that have any of these tags; all entries if empty.
            raw: Return a list of the entries instead of text.

        Returns:
            The lines joined by newlines, or a copied list of them.

        Raises:
            KeyError: No log has been finished.
            TypeError: ``tags`` is a string.
        """
        store = log_store(self)
        last = finished_here(store) or store.last
        if last is not None:
            return _read(entries_of(last), tags, raw)
        log = innermost(store, active_logs.get())
        if log is not None and log.name is None:
            return _read((), tags, raw)
        raise KeyError("No finished logs to retrieve.")
