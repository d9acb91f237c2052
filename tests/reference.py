"""The reference: what the library promises, as a program that can be read in one go.

It says what a check decides, what a set of permissions holds and what a log tells, for one user
in one thread. It knows nothing of the library's code, nor of Django, tasks or speed, and does
the plain thing everywhere. What it remembers is no cache: that decisions live as long as the
instance, until a clear, is part of the promise, and `User.memory` is the plainest way to say so.

`tests.test_decision_matrix` holds it to the rules of who is granted what; `tests.differential` and
`tests.oracle` hold the library to it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Protocol

BOTH = ("user", "group")
LEFT_OUT: Any = object()  # where no object is given, which is not the same as None
NULL = "Object: None (an explicit None denies inside an access method)"


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


@dataclass
class Trace:
    """What is found out about a check that is explained. The last step that says so decides it."""

    methods: int  # that were running when it began; a check within one more is nested
    reason: str = "no_method"
    is_cached: bool = False
    lines: list[str] = field(default_factory=list)
    nested: list[list[Any]] = field(default_factory=list)

    def explanation(self, granted: bool) -> list[Any]:
        is_by_method = self.reason in ("user_method", "group_method")
        # Without logs, lines of nested checks are among those of the method: say nothing of them.
        lines = self.lines if is_by_method and not self.nested else []
        return [granted, self.reason, is_by_method and self.is_cached, lines, self.nested]


Method = Callable[["User"], Any]


class WithoutModelLevel(NamedTuple):
    """An access method whose grant suffices."""

    method: Method
    anonymous: bool = False

    def __call__(self, user: User) -> Any:
        return self.method(user)

    def is_asked_about(self, user: User) -> bool:
        return bool(self.anonymous if user.is_anonymous else user.is_active)


def codename_of(perm: str) -> str:
    return perm.partition(".")[2]


@dataclass(eq=False)
class Object:
    """An object to check; without a model it is some other value, such as a key."""

    model: str | None
    pk: Any = None
    alias: str | None = "default"
    text: str = "object"
    is_saved: bool = True
    is_key: bool = False
    perms: frozenset[str] = frozenset()  # of its model, and of the models that this inherits from
    method: Callable[[str, str], Method | None] = lambda source, codename: None

    def owns(self, perm: str) -> bool:
        """Tell whether its model declares a permission, or has a method for what is not its own."""
        codename = codename_of(perm)
        return perm in self.perms or (
            codename not in map(codename_of, self.perms)
            and any(self.method(source, codename) for source in BOTH)
        )

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

    reason: str | None  # for what it grants

    def has_perm(self, user: User, perm: str, obj: Object | None) -> Any: ...
    def permissions(self, user: User, obj: Object | None, sources: Iterable[str]) -> set[str]: ...


@dataclass
class Settings:
    is_universal: bool
    verbosity: int
    backends: list[Backend]
    is_open: bool = True
    installed: list[Object] = field(default_factory=list)  # an instance of each model
    scope: Any = None  # what else users with the mixin are asked in


class ModelBackend:
    """Django's: it has no say about objects, and asks the database once for each source."""

    reason = "model_level"

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
    """As docs/howto/access-methods.md and docs/reference/api.md have it."""

    reason = None  # it says so itself

    def has_perm(self, user: User, perm: str, obj: Object | None) -> bool:
        if obj is None or obj.model is None or not isinstance(perm, str):
            return False
        return self.decide(user, perm, obj, BOTH)

    def permissions(self, user: User, obj: Object | None, sources: Iterable[str]) -> set[str]:
        if obj is None or obj.model is None or not (user.is_active or user.is_anonymous):
            return set()
        if user.is_superuser and not user.settings.is_universal:
            return set(obj.perms)
        granted = set()
        for perm in sorted(obj.perms):
            # The model level is logged as usual, what is about the object is dropped.
            with user.collecting(awaits=perm):
                if self.decide(user, perm, obj, sources):
                    granted.add(perm)
        return granted

    def decide(self, user: User, perm: str, obj: Object, sources: Iterable[str]) -> bool:
        with user.running("backend", perm, obj):
            memory = user.memory
            granted = user.has_perm(perm)  # through the user, so that every backend has its say
            is_vetoed = not granted and user.was_vetoed
            is_held = granted and user.is_active and not user.is_anonymous
            is_elsewhere = self.belongs_elsewhere(user, perm, obj)
            methods = [(source, obj.method(source, codename_of(perm))) for source in sources]
            asked = [
                (source, method)
                for source, method in methods
                if method is not None and not is_elsewhere
                # A misspelt permission is nobody's, and needs the model level.
                if is_held or (obj.owns(perm) and self.suffices(user, method) and not is_vetoed)
            ]
            user.note_model_level(perm, granted, is_required=is_held or not asked)
            if is_held and user.is_superuser and not user.settings.is_universal:
                user.because("superuser")
                return True
            if not asked:
                if not (user.is_active and not user.is_anonymous):
                    user.because("inactive")
                elif is_held:
                    user.because("no_method")
                return is_held and user.settings.is_open and not is_elsewhere
            lines: list[str] = []
            for source, method in asked:
                granted, entries, is_cached = self.ask(user, memory, perm, obj, source, method)
                lines += map(str, entries)
                user.because(f"{source}_method", is_cached, lines)
                if granted:
                    return True
            return False

    def suffices(self, user: User, method: Method) -> bool:
        return isinstance(method, WithoutModelLevel) and method.is_asked_about(user)

    def belongs_elsewhere(self, user: User, perm: str, obj: Object) -> bool:
        return not obj.owns(perm) and any(other.owns(perm) for other in user.settings.installed)

    def ask(
        self, user: User, memory: Any, perm: str, obj: Object, source: str, method: Method
    ) -> tuple[bool, list[Entry], bool]:
        key = (source, perm, obj.key)
        is_cached = obj.key is not None and key in memory
        if not is_cached:
            with user.collecting() as lines, user.in_method():
                try:
                    granted = truth(method(user), user.is_async)
                except PermissionDenied as denied:
                    granted = False
                    lines.entries.extend(Entry(text) for text in [str(denied)] if text)
            entries = lines.entries
            if obj.key is not None:
                # Not `user.memory`: that may be a new one, if the method has cleared the cache.
                memory[key] = granted, entries
        else:
            granted, entries = memory[key]
            user.write(entries)
        return granted, entries, is_cached


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
    """As docs/howto/logging.md has it, in one context."""

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
    """As the pages on caching and logging have it; without `has_mixin`, one of Django's own."""

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
        self.memories: dict[Any, dict[Any, Any]] = {}  # by scope
        self.checks: list[Any] = []
        self.methods = 0  # that are running
        self.trace: Trace | None = None  # of the check that is explained
        self.was_vetoed = False

    @property
    def memory(self) -> dict[Any, Any]:
        return self.memories.setdefault(self.settings.scope if self.has_mixin else None, {})

    def has_perm(self, perm: str, obj: Object | None = LEFT_OUT) -> bool:
        if self.trace is None or self.methods == self.trace.methods:
            return self.check(perm, obj)
        explanation, error = self.explained(perm, obj)
        self.trace.nested.append(explanation)
        if error is not None:
            raise error
        return bool(explanation[0])

    def explain_perm(self, perm: str, obj: Object | None = LEFT_OUT) -> list[Any]:
        """As docs/howto/debugging.md has it: without the sentences of the library."""
        logs = self.active, dict(self.finished)
        self.active = [*self.active, Log(None)]
        try:
            return self.explained(perm, obj)[0]
        finally:
            self.active, self.finished = logs

    def explained(self, perm: str, obj: Object | None) -> tuple[list[Any], Exception | None]:
        outer, trace = self.trace, Trace(self.methods)
        self.trace = trace
        try:
            return trace.explanation(self.check(perm, obj)), None
        except Exception as error:
            self.because("error")
            return trace.explanation(False), error
        finally:
            self.trace = outer

    def because(self, reason: str, is_cached: bool = False, lines: Iterable[str] = ()) -> None:
        if self.trace is not None:
            trace = self.trace
            trace.reason, trace.is_cached, trace.lines = reason, is_cached, [*lines]

    @property
    def is_quiet(self) -> bool:
        """Whether a check is explained, which logs nothing. Access methods find logs as usual."""
        return self.trace is not None and self.methods == 0

    def check(self, perm: str, obj: Object | None) -> bool:
        is_null = obj is None and self.methods > 0
        obj = None if obj is LEFT_OUT else obj
        if not self.has_mixin:
            return bool(self.is_active and self.is_superuser) or self.ask_backends(perm, obj)
        if not isinstance(perm, str) or (obj is not None and obj.is_key):
            raise TypeError
        with self.running("null" if is_null else "user", perm, obj):
            decide = self.deny_null if is_null else self.decide
            is_logged = self.settings.verbosity and not self.is_quiet
            return self.logged(decide, perm, obj) if is_logged else decide(perm, obj)

    def deny_null(self, perm: str, obj: Object | None) -> bool:
        if self.settings.verbosity:
            self.log(NULL, tag="auto")
        return False

    def decide(self, perm: str, obj: Object | None) -> bool:
        is_universal = self.settings.is_universal
        if self.is_active and self.is_superuser and not (is_universal and obj is not None):
            level = " (model-level)" if is_universal else ""
            if self.settings.verbosity:
                self.log(f"Active superuser: Implicit permission{level}", tag="auto")
            self.because("superuser")
            return True
        return self.ask_backends(perm, obj)

    def ask_backends(self, perm: str, obj: Object | None) -> bool:
        granted = is_vetoed = False
        for backend in self.settings.backends:
            try:
                granted = bool(backend.has_perm(self, perm, obj))
            except PermissionDenied:
                is_vetoed = True
                self.because("veto")
            if granted and backend.reason is not None:
                self.because(backend.reason)
            if granted or is_vetoed:
                break
        if obj is None and not (granted or is_vetoed):
            self.because("model_level")
        self.was_vetoed = is_vetoed
        return granted

    def logged(self, decide: Callable[..., bool], perm: str, obj: Object | None) -> bool:
        is_part = obj is None and bool(self.active) and self.active[-1].awaits == perm
        log = Log(f"auto-{perm}") if obj is None else Log(f"auto-{perm}-{obj.pk}", awaits=perm)
        self.active.append(log)
        try:
            if self.settings.verbosity == 2 and not is_part:
                about = [] if obj is None else [f"Object: {obj.text} ({obj.pk})"]
                user = f"User: {self.username} ({self.pk})"
                self.log(f"Permission: {perm}", user, *about, "", tag="auto")
            granted = decide(perm, obj)
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

    def note_model_level(self, perm: str, granted: bool, *, is_required: bool = True) -> None:
        if self.active and self.active[-1].awaits == perm:
            self.active[-1].awaits = None
            denied = "Denied" if is_required else "Denied (not required)"
            result = "Granted" if granted else denied
            self.log(f"Model-level Result: {result}\n", tag="auto")

    def has_perms(self, perms: Iterable[str], obj: Object | None = LEFT_OUT) -> bool:
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
        self.memories = {}

    @contextmanager
    def in_method(self) -> Iterator[None]:
        self.methods += 1
        try:
            yield
        finally:
            self.methods -= 1

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
    def collecting(self, awaits: str | None = None) -> Iterator[Log]:
        """Collect lines, hand them on to the log outside unless a model-level result is awaited.

        A log that is started meanwhile and left active is dropped.
        """
        lines = Log(None, awaits)
        if not self.has_mixin:
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
