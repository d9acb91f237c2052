"""The reference: what the library promises, as a program that can be read in one go.

It says what a check decides, what a set of permissions holds and what a log tells, for one user
in one thread. It knows nothing of the library's code, nor of Django, tasks or speed, and does
the plain thing everywhere. What it remembers is no cache: that decisions live as long as the
instance, until a clear, is part of the promise, and `User.memory` is the plainest way to say so.

The tables in `tests.test_decision_matrix` hold it to the promises; `tests.differential` and
`tests.oracle` hold the library to it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Protocol

BOTH = ("user", "group")


class PermissionDenied(Exception):
    """Stands for Django's: an access method denies with it, and another backend vetoes."""


class PermissionRecursionError(RecursionError):
    pass


class NotADecisionError(TypeError):
    pass


class Unawaited(NamedTuple):
    """What a plain method returns that forgets to await: only the async API can make up for it."""

    answer: Any


class Entry(NamedTuple):
    text: str
    tags: tuple[str, ...] = ()

    def __str__(self) -> str:
        return self.text


@dataclass(eq=False)
class Log:
    name: str | None  # lines without a name are collected, and no log that could be ended
    awaits: str | None = None  # the permission whose model-level result is to come
    entries: list[Entry] = field(default_factory=list)


Method = Callable[["User"], Any]


@dataclass(eq=False)
class Object:
    """An object to check; without a model it is some other value."""

    model: str | None
    pk: Any = None
    alias: str | None = "default"
    text: str = "object"
    is_saved: bool = True
    perms: frozenset[str] = frozenset()  # of its model, and of the models that this inherits from
    method: Callable[[str, str], Method | None] = lambda source, codename: None

    @property
    def key(self) -> tuple[Any, ...] | None:
        parts = self.pk if isinstance(self.pk, tuple) else (self.pk,)
        return (self.model, self.alias, self.pk) if self.is_saved and None not in parts else None


@dataclass
class Database:
    """The permissions that a user holds now, directly and by groups."""

    everything: set[str]  # all permissions that exist
    held: dict[str, set[str]]  # by source


class Backend(Protocol):
    """An authentication backend. Other ones than the two below may grant, deny and veto."""

    def has_perm(self, user: User, perm: str, obj: Object | None) -> Any: ...
    def permissions(self, user: User, obj: Object | None, sources: Iterable[str]) -> set[str]: ...


@dataclass
class Settings:
    is_universal: bool
    verbosity: int
    backends: list[Backend]


class ModelBackend:
    """Django's: it has no say about objects, and asks the database once for each source."""

    def has_perm(self, user: User, perm: str, obj: Object | None) -> bool:
        return perm in self.permissions(user, obj, BOTH)

    def permissions(self, user: User, obj: Object | None, sources: Iterable[str]) -> set[str]:
        if obj is not None or not user.is_active:
            return set()
        return {perm for source in sources for perm in self.held(user, source)}

    def held(self, user: User, source: str) -> set[str]:
        now = user.database.everything if user.is_superuser else user.database.held[source]
        return user.memory.setdefault(user.cache_of(source), set(now))


class ObjectPermissionsBackend:
    """As docs/access-methods.md and docs/reference.md have it."""

    def has_perm(self, user: User, perm: str, obj: Object | None) -> bool:
        return obj is not None and obj.model is not None and self.decide(user, perm, obj, BOTH)

    def permissions(self, user: User, obj: Object | None, sources: Iterable[str]) -> set[str]:
        if obj is None or obj.model is None or not user.is_active or user.is_anonymous:
            return set()
        if user.is_superuser and not user.settings.is_universal:
            return set(obj.perms)
        granted = set()
        for perm in sorted(obj.perms):
            # The model level is logged as usual, what is about the object is not.
            with user.collecting(awaits=perm, on=user.settings.verbosity > 0):
                if self.decide(user, perm, obj, sources):
                    granted.add(perm)
        return granted

    def decide(self, user: User, perm: str, obj: Object, sources: Iterable[str]) -> bool:
        with user.running("backend", perm, obj):
            memory = user.memory
            granted = user.has_perm(perm)  # through the user, so that every backend has its say
            user.note_model_level(perm, granted)
            if not granted or not user.is_active or user.is_anonymous:
                return False
            if user.is_superuser and not user.settings.is_universal:
                return True
            methods = [(source, obj.method(source, perm.rpartition(".")[2])) for source in sources]
            asked = [(source, method) for source, method in methods if method is not None]
            return not asked or any(self.ask(user, memory, perm, obj, *each) for each in asked)

    def ask(
        self, user: User, memory: Any, perm: str, obj: Object, source: str, method: Method
    ) -> bool:
        key = (source, perm, obj.key)
        if obj.key is None or key not in memory:
            with user.collecting() as lines:
                try:
                    granted = truth(method(user), user.is_async)
                except PermissionDenied as denied:
                    granted = False
                    lines.entries.extend(Entry(text) for text in [str(denied)] if text)
            if obj.key is not None:
                # Not `user.memory`: that may be a new one, if the method has cleared the cache.
                memory[key] = granted, lines.entries
        else:
            granted, entries = memory[key]
            user.write(entries)
        return granted


def truth(answer: Any, is_async: bool) -> bool:
    if isinstance(answer, Unawaited) and is_async:
        answer = answer.answer
    if not answer:
        return False
    # Querysets and model instances, which grant as well, are unknown here.
    if type(answer) in (bool, int, float) and math.isfinite(answer):
        return True
    raise NotADecisionError


class Loggable:
    """As docs/logging.md has it, in one context."""

    def __init__(self) -> None:
        self.active: list[Log] = []
        self.finished: dict[str, list[Entry]] = {}  # the last one is the last that was finished

    def start_log(self, name: str) -> None:
        if any(log.name == name for log in self.active):
            raise ValueError(f'A log named "{name}" is already active')
        self.active.append(Log(name))

    def log(self, *lines: object, tag: str | None = None) -> None:
        if not self.active:
            raise KeyError("No active log to append to. Has one been started?")
        self.write(Entry(str(line), (tag,) if tag else ()) for line in lines)

    def write(self, entries: Iterable[Entry]) -> None:
        if self.active:
            self.active[-1].entries.extend(entries)

    def end_log(self) -> tuple[str, list[Entry]]:
        if not self.active or self.active[-1].name is None:
            raise KeyError("No active log to finish")
        log = self.active.pop()
        self.finished.pop(log.name, None)
        self.finished[log.name] = log.entries
        return log.name, list(log.entries)

    def discard_log(self) -> None:
        if not self.active or self.active[-1].name is None:
            raise KeyError("No active log to discard")
        self.active.pop()

    def get_log(self, name: str) -> list[Entry]:
        if name not in self.finished:
            raise KeyError(f'No log found for "{name}". Has it been finished?')
        return list(self.finished[name])

    def get_last_log(self, raw: bool = True) -> list[Entry]:
        if self.finished:
            return list(self.finished[list(self.finished)[-1]])
        if self.active and self.active[-1].name is None:  # in an access method this is safe
            return []
        raise KeyError("No finished logs to retrieve")


@dataclass(eq=False)
class User(Loggable):
    """As docs/caching.md and docs/logging.md have it; without `has_mixin`, one of Django's own."""

    settings: Settings
    database: Database
    is_active: Any = True
    is_superuser: Any = False
    is_anonymous: bool = False
    has_mixin: bool = True
    is_async: bool = False  # which API is used
    username: str = "user.name"
    pk: int = 54

    def __post_init__(self) -> None:
        super().__init__()
        self.memory: dict[Any, Any] = {}
        self.checks: list[Any] = []

    def has_perm(self, perm: str, obj: Object | None = None) -> bool:
        if not self.has_mixin:
            return bool(self.is_active and self.is_superuser) or self.ask_backends(perm, obj)
        with self.running("user", perm, obj):
            return (self.logged if self.settings.verbosity else self.decide)(perm, obj)

    def decide(self, perm: str, obj: Object | None) -> bool:
        is_universal = self.settings.is_universal
        if self.is_active and self.is_superuser and not (is_universal and obj is not None):
            level = " (model-level)" if is_universal else ""
            if self.settings.verbosity:
                self.log(f"Active superuser: Implicit permission{level}", tag="auto")
            return True
        return self.ask_backends(perm, obj)

    def ask_backends(self, perm: str, obj: Object | None) -> bool:
        for backend in self.settings.backends:
            try:
                if backend.has_perm(self, perm, obj):
                    return True
            except PermissionDenied:
                return False
        return False

    def logged(self, perm: str, obj: Object | None) -> bool:
        is_part = obj is None and bool(self.active) and self.active[-1].awaits == perm
        log = Log(f"auto-{perm}") if obj is None else Log(f"auto-{perm}-{obj.pk}", awaits=perm)
        self.active.append(log)
        try:
            if self.settings.verbosity == 2 and not is_part:
                about = [] if obj is None else [f"Object: {obj.text} ({obj.pk})"]
                user = f"User: {self.username} ({self.pk})"
                self.log(f"Permission: {perm}", user, *about, "", tag="auto")
            granted = self.decide(perm, obj)
        except Exception as error:
            self.log(f"\nRESULT: Error ({type(error).__name__})", tag="auto")
            self.end_log()
            raise
        lines = list(log.entries)
        self.log(f"\nRESULT: Permission {'Granted' if granted else 'Denied'}", tag="auto")
        self.end_log()
        if is_part:
            self.write(lines)
        return granted

    def note_model_level(self, perm: str, granted: bool) -> None:
        if self.active and self.active[-1].awaits == perm:
            self.active[-1].awaits = None
            result = "Granted" if granted else "Denied"
            self.log(f"Model-level Result: {result}\n", tag="auto")

    def has_perms(self, perms: Iterable[str], obj: Object | None = None) -> bool:
        return all(self.has_perm(perm, obj) for perm in perms)

    def has_module_perms(self, label: str) -> bool:
        if self.is_active and self.is_superuser:
            return True
        backends = [each for each in self.settings.backends if isinstance(each, ModelBackend)]
        return any(
            perm.startswith(f"{label}.")
            for backend in backends
            for perm in backend.permissions(self, None, BOTH)
        )

    def permissions(self, obj: Object | None = None, sources: Iterable[str] = BOTH) -> set[str]:
        sets = [each.permissions(self, obj, sources) for each in self.settings.backends]
        return set().union(*sets)

    def cache_of(self, source: str) -> Any:
        # Only Django keeps what was cached before the flag changed.
        return (source, "superuser") if self.has_mixin and self.is_superuser else source

    def clear_perm_cache(self) -> None:
        self.memory = {}

    @contextmanager
    def running(self, layer: str, perm: str, obj: Object | None) -> Iterator[None]:
        # The same row in another instance is the same question.
        check = (layer, perm, obj if obj is None or obj.key is None else obj.key)
        if check in self.checks:
            raise PermissionRecursionError
        self.checks.append(check)
        try:
            yield
        finally:
            self.checks.pop()

    @contextmanager
    def collecting(self, awaits: str | None = None, on: bool = True) -> Iterator[Log]:
        """Collect lines, hand them on to the log outside unless a model-level result is awaited.

        A log that is started meanwhile and left active is dropped.
        """
        lines = Log(None, awaits)
        if not on or not self.has_mixin:
            yield lines
            return
        depth = len(self.active)
        self.active.append(lines)
        try:
            yield lines
        finally:
            del self.active[depth:]
            if awaits is None:
                self.write(lines.entries)
