"""Instance-based logging: named logs kept on an instance, safe under tasks and threads.

Finished logs belong to the instance. The stack of active ones belongs to the execution context,
as does the knowledge of which logs this context has finished. Each is in a `ContextVar` with
an immutable value, because tasks copy their parent's context: a mutable value would be shared
by all of them. It refers to instances weakly, so that a long-lived context keeps none alive.
"""

from __future__ import annotations

import weakref
from contextvars import ContextVar
from typing import TYPE_CHECKING, Final, Literal, Self, TypeAlias, overload

from ._driving import twin_of
from ._entries import Entries, Entry, FinishedLog, entries_of
from ._lazy import plain_text
from ._owned import Owned, owned

if TYPE_CHECKING:
    from collections.abc import Iterable
    from types import TracebackType

__all__ = ["Entry", "Loggable"]

# The lines of an active log: what was there before, and what the last call added. Logging to it
# makes a new one, in constant time.
Lines: TypeAlias = "tuple[Lines, Entries] | None"


def _flatten(lines: Lines) -> Entries:
    chunks: list[Entries] = []
    while lines is not None:
        lines, chunk = lines
        chunks.append(chunk)
    return tuple(entry for chunk in reversed(chunks) for entry in chunk)


class _LogStore(Owned):
    """The finished logs of one instance."""

    __slots__ = ("by_name", "last", "reference")

    def __init__(self, owner: object) -> None:
        super().__init__(owner)
        self.reference: _StoreRef = weakref.ref(self)
        self.by_name: dict[str, FinishedLog] = {}
        self.last: FinishedLog | None = None


_StoreRef: TypeAlias = "weakref.ref[_LogStore]"


class _Frame:
    """An active log; never changed. One without a name collects lines for the library.

    Args:
        store: Of the instance whose log it is.
        name: Its name.
        lines: Its lines so far.
        scope: What ends it, if it is one of the library's own.
        awaits: The permission whose model-level result is to come.
    """

    __slots__ = ("_scope", "awaits", "lines", "name", "store")

    store: _StoreRef
    name: str | None
    lines: Lines
    awaits: str | None

    def __init__(
        self,
        store: _StoreRef,
        name: str | None,
        lines: Lines = None,
        scope: LogScope | None = None,
        awaits: str | None = None,
    ) -> None:
        self.store = store
        self.name = name
        self.lines = lines
        self._scope = scope
        self.awaits = awaits

    @property
    def scope(self) -> LogScope | None:
        """What ends it."""
        return self._scope

    def is_active(self) -> bool:
        """Tell whether it is still to be written to."""
        scope = self.scope
        return self.store() is not None and (scope is None or scope.is_open)

    def followed_by(self, entries: Entries, awaits: str | None) -> _Frame:
        """Return it with more entries."""
        return _Frame(self.store, self.name, (self.lines, entries), self.scope, awaits)


_active: ContextVar[tuple[_Frame, ...]] = ContextVar("djem_async_active_logs", default=())


# What one context has finished, by instance and name, for each instance from the newest. It is an
# immutable mapping that grows cheaply: a few dicts, each over twice as large as the next. Adding
# merges the small ones, so that it takes logarithmic time and never changes one that another
# context can see.
class _Layer(dict[_StoreRef, dict[str, FinishedLog]]):  # noqa: PLW1641 - nor have dicts
    # By identity: `asgiref` leaves a variable as it is where the new value equals the old one, and
    # dicts of the same logs are equal, in whatever order these were finished.
    __slots__ = ()
    __eq__ = object.__eq__
    __ne__ = object.__ne__


_Layers: TypeAlias = tuple[tuple[_Layer, int], ...]  # each with its size

# The latest of them, from the newest: adding to a chain is cheaper still. A link has the logs of
# one check.
_Chain: TypeAlias = "tuple[_StoreRef, tuple[FinishedLog, ...], _Chain] | None"
_LONGEST_CHAIN: Final = 64

_History: TypeAlias = tuple[_Layers, _Chain, int]  # with the length of the chain
_history: ContextVar[_History] = ContextVar("djem_async_finished_logs", default=((), None, 0))


def _with_chain(layers: _Layers, chain: _Chain) -> _Layers:
    top = _Layer()
    last: _StoreRef | None = None
    names: dict[str, FinishedLog] = {}
    while chain is not None:
        store, logs, chain = chain
        if store is not last:  # mostly, all are of one instance
            if store() is None:
                continue
            last, names = store, top.setdefault(store, {})
        for log in reversed(logs):
            if log[0] not in names:
                names[log[0]] = log
    size = sum(map(len, top.values()))
    # Those of instances that are no more go.
    layers = tuple(each for each in layers if any(store() is not None for store in each[0]))
    while layers and layers[-1][1] <= 2 * size:
        for store, older in layers[-1][0].items():
            if store() is not None:
                # A dict from the newest, so what both have stays where the newer one has it.
                newer = top.get(store, {})
                top[store] = newer | {name: log for name, log in older.items() if name not in newer}
        layers, size = layers[:-1], sum(map(len, top.values()))
    return (*layers, (top, size))


def _finished_here(store: _StoreRef, name: str | None = None) -> FinishedLog | None:
    """Return the log of a name that this context finished last; without a name, the last of all."""
    layers, chain, _ = _history.get()
    while chain is not None:
        its_store, logs, chain = chain
        if its_store is store:
            for log in reversed(logs):
                if name is None or log[0] == name:
                    return log
    for layer, _ in reversed(layers):
        names = layer.get(store, {})
        if names and (name is None or name in names):
            return next(iter(names.values())) if name is None else names[name]
    return None


def _store(instance: object) -> _LogStore:
    store = instance.__dict__.get("_log_store")
    if type(store) is _LogStore and store.owner() is instance:
        return store  # what `owned` finds, without the calls
    return owned(instance, "_log_store", _LogStore)


def _position(store: _LogStore, active: tuple[_Frame, ...]) -> int | None:
    """Find the innermost active log of an instance."""
    for position in range(len(active) - 1, -1, -1):
        if active[position].store() is store and active[position].is_active():
            return position
    return None


def _still_active() -> tuple[_Frame, ...]:
    active = _active.get()
    if not active or all(frame.is_active() for frame in active):
        return active
    return tuple(frame for frame in active if frame.is_active())


def _replace(position: int, *frames: _Frame) -> None:
    active = _active.get()
    _active.set((*active[:position], *frames, *active[position + 1 :]))


def _top(store: _LogStore) -> tuple[int, _Frame] | None:
    active = _active.get()
    position = _position(store, active)
    return None if position is None else (position, active[position])


def _write(store: _LogStore, entries: Entries) -> bool:
    top = _top(store)
    if top is None:
        return False
    if entries:
        position, frame = top
        _replace(position, frame.followed_by(entries, frame.awaits))
    return True


@overload
def _read(entries: Entries, tags: Iterable[str] | None, raw: Literal[False]) -> str: ...
@overload
def _read(entries: Entries, tags: Iterable[str] | None, raw: Literal[True]) -> list[Entry]: ...
@overload
def _read(entries: Entries, tags: Iterable[str] | None, raw: bool) -> str | list[Entry]: ...
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
    and are written nowhere; override `end_log` to persist them.

    One instance may be shared by tasks and threads. Each has its own active logs: a task begins
    with those that were active where it was created, and what it starts, writes and ends
    is its own.
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
        store = _store(self)
        for frame in _active.get():
            if frame.name == name and frame.store() is store and frame.is_active():
                raise ValueError(f'A log named "{name}" is already active.')
        _active.set((*_still_active(), _Frame(store.reference, name)))

    def end_log(self) -> tuple[str, list[Entry]]:
        """End the active log, so that it can be read, and make the one before it active.

        This is the hook to persist logs: override it, call ``super().end_log()`` and save what
        that returns. ORM calls are fine here: the async API runs an override in a thread.

        Returns:
            The name of the log and a copy of its entries.

        Raises:
            KeyError: No log is active in this context.
        """
        store = _store(self)
        top = _top(store)
        if top is None or top[1].name is None:
            raise KeyError("No active log to finish.")
        position, frame = top
        assert frame.name is not None  # noqa: S101 - for the type checkers
        entries = _flatten(frame.lines)
        _replace(position)
        finish(self, ((frame.name, (entries,), ()),))
        return frame.name, list(entries)

    @twin_of("end_log")
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
        top = _top(_store(self))
        if top is None or top[1].name is None:
            raise KeyError("No active log to discard.")
        _replace(top[0])

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
        store = _store(self)
        written = _write(store, tuple(Entry(line, tags) for line in lines))
        # Left of a check that was given up, but whose access method runs on, there are frames
        # that are not active any more.
        if not written and all(frame.store() is not store for frame in _active.get()):
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
            name: Its name. If several contexts have finished one of this name, it is the latest
                of this context, else the latest of all.
            tags: Keep the entries that have any of these tags; all entries if empty.
            raw: Return a list of the entries instead of text.

        Returns:
            The lines joined by newlines, or a copied list of them.

        Raises:
            KeyError: No log of this name has been finished.
            TypeError: ``tags`` is a string.
        """
        store = _store(self)
        name = plain_text(name)
        log = _finished_here(store.reference, name) or store.by_name.get(name)
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

        It is the last one of this context, so that right after a check it is the log of that
        check, whatever other tasks do. In a context that has finished none it is the last one
        of the instance.

        An access method that is running for a check may ask for the log of a check that it has
        made also where automatic logs are off: without any finished log, it is empty.

        Args:
            tags: Keep the entries that have any of these tags; all entries if empty.
            raw: Return a list of the entries instead of text.

        Returns:
            The lines joined by newlines, or a copied list of them.

        Raises:
            KeyError: No log has been finished.
            TypeError: ``tags`` is a string.
        """
        store = _store(self)
        last = _finished_here(store.reference) or store.last
        if last is not None:
            return _read(entries_of(last), tags, raw)
        top = _top(store)
        if top is not None and top[1].name is None:
            return _read((), tags, raw)
        raise KeyError("No finished logs to retrieve.")


class LogScope(_Frame):
    """A log that the library keeps active from now on to its end, which has to come.

    That is the end of the block, or `end` in a `finally`, which is faster. Then the log is gone,
    however it ended, and so are logs that were started meanwhile and left active.

    Args:
        instance: Whose log it is.
        name: Its name, or None for lines that are collected, and not part of a log that
            the code in the block may end.
        awaits: The permission whose model-level result the log waits for. Lines that are
            collected for nothing in particular go on to the log that is active outside the block.
    """

    # It is its own first frame, because most often there is no other.
    __slots__ = ("_after", "_before", "entries", "is_open")

    store: _StoreRef
    name: str | None
    lines: Lines
    awaits: str | None
    entries: Entries
    is_open: bool
    _before: tuple[_Frame, ...]
    _after: tuple[_Frame, ...]

    def __init__(
        self, instance: Loggable, name: str | None = None, awaits: str | None = None
    ) -> None:
        # The store weakly: a copy of the context, such as a timer has, may keep this for long.
        self.store = _store(instance).reference
        self.name = name
        self.lines = None
        self.awaits = awaits
        self.is_open = True
        self.entries = ()
        # What is active before and after the beginning.
        self._before = _still_active()
        self._after = (*self._before, self)
        _active.set(self._after)

    @property
    def scope(self) -> LogScope:
        """What ends it."""
        return self

    def end(self) -> None:
        """End it."""
        before, after = self._before, self._after
        self._before = self._after = ()
        if _active.get() is after:
            # Nothing was logged, which is what happens most often.
            self.is_open = False
            _active.set(before)
            return
        self.settle()
        position = self._position()
        if position is not None:
            lines = _active.get()[position].lines
            _replace(position)
            if lines is not None:
                self.entries = _flatten(lines)
                store = self.store()
                if self.name is None and self.awaits is None and store is not None:
                    _write(store, self.entries)
        # A task started meanwhile, or a thread that was given up, may still have the log in its
        # context.
        self.is_open = False

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.end()

    def peek(self) -> Entries:
        """Return the lines logged so far."""
        position = self._position()
        return () if position is None else _flatten(_active.get()[position].lines)

    def settle(self) -> bool:
        """Make it the active log again, dropping what was started in the block and left active.

        Returns:
            Whether it is; not so if code in the block has ended it.
        """
        position = self._position()
        if position is not None:
            active = _active.get()
            # What other instances started stays, unless it is of a block within this one: that
            # must be of a thread that was given up.
            above = active[position + 1 :]
            if above:
                kept = (
                    frame
                    for frame in above
                    if frame.scope is None and frame.store is not self.store
                )
                _active.set((*active[: position + 1], *kept))
        return position is not None

    def _position(self) -> int | None:
        # None where the log has been ended, and in a context that the block does not run in:
        # a coroutine that was dropped is closed wherever the garbage collector runs.
        active = _active.get()
        for position in range(len(active) - 1, -1, -1):
            if active[position].scope is self:
                return position
        return None


def write_entries(instance: Loggable, entries: Entries) -> None:
    """Add entries, tags and all, to the active log of an instance, if it has one.

    Args:
        instance: The instance.
        entries: The entries.
    """
    _write(_store(instance), entries)


def finish(instance: Loggable, logs: tuple[FinishedLog, ...]) -> None:
    """Keep logs that have ended.

    Args:
        instance: Whose logs they are.
        logs: The logs, at least one, in order.
    """
    store = _store(instance)
    by_name = store.by_name
    for log in logs:
        by_name[log[0]] = log
    store.last = logs[-1]
    reference = store.reference
    layers, chain, count = _history.get()
    while chain is not None and chain[0] is not reference and chain[0]() is None:
        chain, count = chain[2], count - 1  # of an instance that is no more
    chain = reference, logs, chain
    if count < _LONGEST_CHAIN:
        _history.set((layers, chain, count + 1))
    else:
        _history.set((_with_chain(layers, chain), None, 0))


def is_logging() -> bool:
    """Tell whether any log is active in this context."""
    return bool(_still_active())


def awaits_model_level(instance: Loggable, perm: str) -> bool:
    """Tell whether the active log is one of a check that waits for its model-level result.

    Args:
        instance: The instance.
        perm: The permission checked.
    """
    top = _top(_store(instance))
    return top is not None and top[1].awaits == perm


def model_level_result(instance: Loggable, perm: str, entry: Entry) -> None:
    """Log the result that a check has waited for, if its log is the active one.

    Args:
        instance: The instance.
        perm: The permission checked.
        entry: What to log.
    """
    top = _top(_store(instance))
    if top is not None and top[1].awaits == perm:
        position, frame = top
        _replace(position, frame.followed_by((entry,), None))
