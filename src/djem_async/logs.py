"""Instance-based logging: named logs kept on an instance, safe under tasks and threads.

Finished logs belong to the instance. The stack of active ones belongs to the execution context,
as does the knowledge of which logs this context has finished. Both are in one `ContextVar` with
an immutable value, because tasks copy their parent's context: a mutable value would be shared
by all of them. It refers to instances weakly, so that a long-lived context keeps none alive.
"""

import weakref
from collections.abc import Iterable, Mapping
from contextvars import ContextVar
from dataclasses import dataclass
from types import TracebackType
from typing import Literal, NamedTuple, Self, TypeAlias, TypeVar, overload

from ._driving import preserved, twin_of
from ._entries import Entries, Entry
from ._owned import Owned, owned

__all__ = ["Entry", "Loggable"]

K = TypeVar("K")
V = TypeVar("V")


# The lines of an active log: what was there before, and what the last call added. Logging to it
# makes a new one, in constant time.
Lines: TypeAlias = "tuple[Lines, Entries] | None"


def _flatten(lines: Lines) -> Entries:
    chunks: list[Entries] = []
    while lines is not None:
        lines, chunk = lines
        chunks.append(chunk)
    return tuple(entry for chunk in reversed(chunks) for entry in chunk)


class _Finished(NamedTuple):
    name: str
    entries: Entries


class _LogStore(Owned):
    """The finished logs of one instance."""

    __slots__ = ("by_name", "last")

    def __init__(self, owner: object) -> None:
        super().__init__(owner)
        self.by_name: dict[str, Entries] = {}
        self.last: _Finished | None = None

    def add(self, finished: _Finished) -> None:
        self.by_name[finished.name] = finished.entries
        self.last = finished


_StoreRef: TypeAlias = "weakref.ref[_LogStore]"


class _Frame(NamedTuple):
    """An active log. One without a name collects lines for the library."""

    store: _StoreRef
    name: str | None
    lines: Lines = None
    scope: "LogScope | None" = None  # the library's own frames end with their scope
    awaits: str | None = None  # the permission whose model-level result is to come

    def is_active(self) -> bool:
        return self.store() is not None and (self.scope is None or self.scope.is_open)


# An immutable mapping that grows cheaply: a few dicts, each over twice as large as the next. Adding
# merges the small ones, so that it takes logarithmic time and never changes one that another
# context can see.
_Layers: TypeAlias = tuple[Mapping[K, V], ...]


def _added(layers: _Layers[K, V], key: K, value: V) -> _Layers[K, V]:
    top: dict[K, V] = {key: value}
    while layers and len(layers[-1]) <= 2 * len(top):
        top = {k: v for k, v in layers[-1].items() if not _is_dead(k)} | top
        layers = layers[:-1]
    return (*layers, top)


def _is_dead(key: object) -> bool:
    return isinstance(key, weakref.ref) and key() is None


def _found(layers: _Layers[K, V], key: K) -> V | None:
    for layer in reversed(layers):
        if key in layer:
            return layer[key]
    return None


class _Own(NamedTuple):
    """The logs of one instance that one context has finished."""

    last: _Finished
    by_name: _Layers[str, Entries]


# Compared by identity: asgiref compares the values of context variables to find those that
# a thread has changed, and equal logs may be different ones.
@dataclass(frozen=True, slots=True, eq=False)
class _Context:
    active: tuple[_Frame, ...] = ()
    own: _Layers[_StoreRef, _Own] = ()


_context: ContextVar[_Context] = ContextVar("djem_async_logs", default=_Context())  # noqa: B039 - immutable


preserved.append(_context)


def _store(instance: object) -> _LogStore:
    return owned(instance, "_log_store", _LogStore)


def _position(store: _LogStore, active: tuple[_Frame, ...]) -> int | None:
    """Find the innermost active log of an instance."""
    for position in range(len(active) - 1, -1, -1):
        if active[position].store() is store and active[position].is_active():
            return position
    return None


def _push(frame: _Frame) -> None:
    context = _context.get()
    active = tuple(other for other in context.active if other.is_active())
    _context.set(_Context((*active, frame), context.own))


def _replace(position: int, *frames: _Frame) -> None:
    context = _context.get()
    active = (*context.active[:position], *frames, *context.active[position + 1 :])
    _context.set(_Context(active, context.own))


def _top(store: _LogStore) -> tuple[int, _Frame] | None:
    active = _context.get().active
    position = _position(store, active)
    return None if position is None else (position, active[position])


def _write(store: _LogStore, entries: Entries) -> bool:
    top = _top(store)
    if top is None:
        return False
    if entries:
        position, frame = top
        _replace(position, frame._replace(lines=(frame.lines, entries)))
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
        """
        store = _store(self)
        for frame in _context.get().active:
            if frame.name == name and frame.store() is store and frame.is_active():
                raise ValueError(f'A log named "{name}" is already active.')
        _push(_Frame(weakref.ref(store), name))

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
        finished = _Finished(frame.name, _flatten(frame.lines))
        _replace(position)
        store.add(finished)
        context = _context.get()
        own = _found(context.own, frame.store)
        by_name = _added(() if own is None else own.by_name, finished.name, finished.entries)
        added = _added(context.own, frame.store, _Own(finished, by_name))
        _context.set(_Context(context.active, added))
        return finished.name, list(finished.entries)

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
        """
        tags = (tag,) if tag else ()
        store = _store(self)
        written = _write(store, tuple(Entry(line, tags) for line in lines))
        # Left of a check that was given up, but whose access method runs on, there are frames
        # that are not active any more.
        if not written and all(frame.store() is not store for frame in _context.get().active):
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
        own = _found(_context.get().own, weakref.ref(store))
        entries = None if own is None else _found(own.by_name, name)
        if entries is None:
            entries = store.by_name.get(name)
        if entries is None:
            raise KeyError(f'No log found for "{name}". Has it been finished?')
        return _read(entries, tags, raw)

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
        own = _found(_context.get().own, weakref.ref(store))
        last = store.last if own is None else own.last
        if last is not None:
            return _read(last.entries, tags, raw)
        top = _top(store)
        if top is not None and top[1].name is None:
            return _read((), tags, raw)
        raise KeyError("No finished logs to retrieve.")


class LogScope:
    """A log that the library keeps active for the length of a block.

    When the block ends, the log is gone, however it ended, and so are logs that were started
    in the block and left active.

    Args:
        instance: Whose log it is.
        name: Its name, or None for lines that are collected, and not part of a log that
            the code in the block may end.
        awaits: The permission whose model-level result the log waits for.
        hand_on: Whether the lines go on to the log that is active outside the block, if any.
    """

    __slots__ = ("_awaits", "_hand_on", "_name", "_store", "entries", "is_open")

    def __init__(
        self,
        instance: Loggable,
        name: str | None = None,
        *,
        awaits: str | None = None,
        hand_on: bool = False,
    ) -> None:
        # Weakly: a copy of the context, such as a timer has, may keep this for long.
        self._store = weakref.ref(_store(instance))
        self._name = name
        self._awaits = awaits
        self._hand_on = hand_on
        self.entries: Entries = ()
        self.is_open: bool = False

    def __enter__(self) -> Self:
        self.is_open = True
        _push(_Frame(self._store, self._name, None, self, self._awaits))
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.settle()
        position = self._position()
        if position is not None:
            self.entries = self.peek()
            _replace(position)
            store = self._store()
            if self._hand_on and store is not None:
                _write(store, self.entries)
        # A task started meanwhile, or a thread that was given up, may still have the log in its
        # context.
        self.is_open = False

    def peek(self) -> Entries:
        """Return the lines logged so far."""
        position = self._position()
        return () if position is None else _flatten(_context.get().active[position].lines)

    def settle(self) -> bool:
        """Make it the active log again, dropping what was started in the block and left active.

        Returns:
            Whether it is; not so if code in the block has ended it.
        """
        position = self._position()
        if position is not None:
            context = _context.get()
            # What other instances started stays, unless it is of a block within this one: that
            # must be of a thread that was given up.
            kept = (
                frame
                for frame in context.active[position + 1 :]
                if frame.scope is None and frame.store is not self._store
            )
            active = (*context.active[: position + 1], *kept)
            _context.set(_Context(active, context.own))
        return position is not None

    def _position(self) -> int | None:
        # None where the log has been ended, and in a context that the block does not run in:
        # a coroutine that was dropped is closed wherever the garbage collector runs.
        active = _context.get().active
        return next((i for i, frame in enumerate(active) if frame.scope is self), None)


def write_entries(instance: Loggable, entries: Entries) -> None:
    """Add entries, tags and all, to the active log of an instance, if it has one.

    Args:
        instance: The instance.
        entries: The entries.
    """
    _write(_store(instance), entries)


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
        _replace(position, frame._replace(lines=(frame.lines, (entry,)), awaits=None))
