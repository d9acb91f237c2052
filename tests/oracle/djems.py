"""What djem does: the reference, with the entries of `tests.oracle.differences`."""

import copy
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from typing import Any, NamedTuple

from tests import reference
from tests.differential import expected
from tests.differential.histories import PERMS_OF, History
from tests.differential.scripts import Script
from tests.reference import BOTH, LEFT_OUT, Log, Object, codename_of

from .differences import DIFFERENCES


class Incomparable(BaseException):
    """From here on djem is out of its mind: its stack has overflown."""


class coroutine:
    pass


class Known(NamedTuple):
    """A remembered answer."""

    answer: Any
    key: Any  # of the object that it was about
    has_lines: bool
    is_defined: bool


class World(expected.World):
    def __init__(self, history: History) -> None:
        self.noted: set[str] = set()
        super().__init__(history, Backend(), User)

    def differs(self, name: str) -> None:
        assert name in DIFFERENCES
        self.noted.add(name)

    def _play(self, script: Script, user: Any, asked: list[str]) -> Any:
        if script[0] == "async def":
            self.differs("coroutine")
            return coroutine()
        stack = list(user.active)
        try:
            answer = super()._play(script, user, asked)
        finally:
            if user.active != stack:
                self.differs("own log")
        if isinstance(answer, reference.Unawaited):
            self.differs("coroutine")
            return coroutine()
        return answer

    def give_reason(self, reason: str, lines: list[reference.Entry]) -> None:
        if reason:
            self.differs("reason")

    def decided(self, answer: Any) -> Any:
        return answer

    def scope(self, value: Any) -> None:
        super().scope(value)
        if value is not None:
            self.differs("scope")

    def method(self, place: str, source: str, codename: str, script: Script) -> None:
        super().method(place, source, codename, script)
        if script[0] == "twin":
            self.differs("twin")
            del self.scripts[place, source, codename]


class User(expected.User):
    def __post_init__(self) -> None:
        super().__post_init__()
        self.known: dict[str, Known] = {}
        self.asking = 0
        self.lines = 0  # logged by access methods

    @property
    def knows_both_forms(self) -> bool:
        return False

    @property
    def memory(self) -> dict[Any, Any]:
        return self.memories.setdefault(None, {})

    def ask_backends(self, perm: str, obj: Object | None) -> bool:
        level = "model" if obj is None else "object"
        if self.has_mixin and self.world.said.get(("Async", level, perm)):
            self.world.differs("async backend")
        return super().ask_backends(perm, obj)

    def has_perm(self, perm: str, obj: Object | None = LEFT_OUT) -> bool:
        if self.has_mixin and obj is None and self.asking:
            self.world.differs("null")
        obj = None if obj is LEFT_OUT else obj
        if self.has_mixin and (not isinstance(perm, str) or (obj is not None and obj.is_key)):
            self.world.differs("argument")
        if not self.has_mixin:
            return bool(self.is_active and self.is_superuser) or self.ask_backends(perm, obj)
        if self.settings.verbosity:
            return self.logged_has_perm(perm, obj, self.settings.verbosity)
        with self.running("user", perm, obj):
            return self.check(perm, obj)[0]

    def logged_has_perm(self, perm: str, obj: Object | None = None, verbosity: int = 1) -> bool:
        if not self.has_mixin:
            self.world.differs("no mixin")
            raise AttributeError
        obj_logged = self.unless_false(obj)
        if obj_logged is not None and obj_logged.model is None:
            self.world.differs("no model")
            raise AttributeError
        name = f"auto-{perm}" if obj_logged is None else f"auto-{perm}-{obj_logged.pk}"
        self.start_own(name)
        if verbosity > 1:
            about = [] if obj_logged is None else [f"Object: {obj_logged.text} ({obj_logged.pk})"]
            user = f"User: {self.username} ({self.pk})"
            self.log(f"Permission: {perm}", user, *about, "", tag="auto")
        try:
            with self.running("user", perm, obj):
                granted, line = self.check(perm, obj)
        except Exception:
            self.world.differs("error")
            raise
        if line:
            self.log(line, tag="auto")
        self.log(f"\nRESULT: Permission {'Granted' if granted else 'Denied'}", tag="auto")
        self.end_log()
        return granted

    def unless_false(self, obj: Object | None) -> Object | None:
        if obj is not None and obj.model == "Stone":
            self.world.differs("false object")
            return None
        return obj

    def start_own(self, name: str) -> None:
        try:
            self.start_log(name)
        except ValueError:
            self.world.differs("name")
            raise

    def check(self, perm: str, obj: Object | None) -> tuple[bool, str | None]:
        is_universal = self.settings.is_universal
        if self.is_active and self.is_superuser:
            if not is_universal:
                return True, "Active superuser: Implicit permission"
            if self.unless_false(obj) is None:
                return True, "Active superuser: Implicit permission (model-level)"
        return self.ask_backends(perm, obj), None

    def log(self, *lines: object, tag: str | None = None) -> None:
        self.lines += 1
        if self.asking and not self.active:
            self.world.differs("log")
        super().log(*lines, tag=tag)

    def get_last_log(self, raw: bool = True) -> Any:
        if self.asking and not self.finished:
            self.world.differs("last log")
        return super().get_last_log(raw)

    def cache_of(self, source: str) -> Any:
        flag = self.has_mixin and bool(self.is_superuser)
        if self.memory.setdefault((source, "superuser"), flag) != flag:
            self.world.differs("superuser")
        return source

    def clear_perm_cache(self) -> None:
        self.known = {}
        if "user" in self.memory:
            self.memory.clear()
        elif self.memory:
            self.world.differs("clear")

    @contextmanager
    def running(self, layer: str, perm: str, obj: Object | None) -> Iterator[None]:
        try:
            with super().running(layer, perm, obj):
                yield
        except reference.PermissionRecursionError:
            self.world.differs("recursion")
            raise Incomparable from None


class Backend(reference.ObjectPermissionsBackend):
    def has_perm(self, user: Any, perm: str, obj: Object | None) -> Any:
        if obj is None or user.unless_false(obj) is None:
            return False
        with user.running("backend", perm, obj):
            return self.model_level(user, perm, obj) and self.answer(user, perm, obj, BOTH)

    def permissions(self, user: Any, obj: Object | None, sources: Iterable[str]) -> set[str]:
        if user.unless_false(obj) is None or not user.is_active or user.is_anonymous:
            for perm in obj.perms if obj is not None and user.is_anonymous else ():
                self.note_marks(user, perm, obj)
            return set()
        assert obj is not None
        if obj.model is None:
            user.world.differs("no model")
            raise AttributeError
        perms = set(PERMS_OF[obj.model])
        if perms != obj.perms:
            user.world.differs("lineage")
        if user.is_superuser and not user.settings.is_universal:
            return perms
        is_logged = user.settings.verbosity > 0
        if is_logged and not user.has_mixin:
            user.world.differs("no mixin")
            raise AttributeError
        if is_logged:
            user.start_own(f"temp-{obj.pk}")
        try:
            granted = {
                perm
                for perm in sorted(perms)
                if self.model_level(user, perm, obj) and self.answer(user, perm, obj, sources)
            }
        except Exception:
            if is_logged:
                user.world.differs("error")
            raise
        if is_logged:
            user.discard_log()
        return granted

    def note_marks(self, user: Any, perm: str, obj: Any) -> None:
        methods = [obj.method(source, codename_of(perm)) for source in BOTH]
        if any(isinstance(each, reference.WithoutModelLevel) for each in methods):
            user.world.differs("mark")

    def model_level(self, user: Any, perm: str, obj: Object) -> bool:
        granted = user.logged_has_perm(perm) if user.settings.verbosity else user.has_perm(perm)
        if isinstance(perm, str) and not granted:
            self.note_marks(user, perm, obj)
        if not user.settings.verbosity:
            return granted
        lines = [
            *user.get_last_log()[:-1],
            f"Model-level Result: {'Granted' if granted else 'Denied'}\n",
        ]
        user.log(*lines, tag="auto")
        return granted

    def answer(self, user: Any, perm: str, obj: Object, sources: Iterable[str]) -> Any:
        known = user.known
        if isinstance(perm, str) and obj.model and self.belongs_elsewhere(user, perm, obj):
            user.world.differs("elsewhere")
        by_user = by_group = None
        if "user" in sources:
            by_user = self.asked(user, perm, obj, "user", known)
        if not by_user and "group" in sources:
            by_group = self.asked(user, perm, obj, "group", known)
        if by_user is None and by_group is None and not user.settings.is_open:
            user.world.differs("closed")
        return by_user or by_group or (by_user is None and by_group is None)

    def asked(self, user: Any, perm: str, obj: Object, source: str, known: Any) -> Any:
        if not user.is_active:
            self.note_marks(user, perm, obj)
            return False
        differs = user.world.differs
        if not isinstance(perm, str):
            differs("argument")
            raise AttributeError
        if obj.model is None:
            differs("no model")
            raise AttributeError
        if user.is_superuser and not user.settings.is_universal:
            differs("implicit")
        name = f"{source}-{perm}-{obj.pk}"
        codename = perm.rpartition(".")[2]
        method = obj.method(source, codename)
        if codename != codename_of(perm):
            differs("dot")
        if name not in user.known:
            store, lines = user.known, user.lines
            user.asking += 1
            try:
                answer = None if method is None else method(user)
            except reference.PermissionDenied:
                answer = False
            finally:
                user.asking -= 1
            if store is not known and method is not None:
                differs("flight")
            is_defined = method is not None
            store[name] = Known(answer, obj.key, user.lines > lines, is_defined)
            if is_defined and answer is None:
                differs("none")
            with suppress(reference.NotADecisionError, expected.Boom):
                expected.World.decided(user.world, answer)
                return answer
            differs("no answer")
            return answer
        answer, key, has_lines, was_defined = user.known[name]
        if was_defined or method is not None:
            if was_defined != (method is not None):
                differs("absence")
            if None in (key, obj.key):
                differs("unsaved")
            elif key != obj.key:
                differs("key")
            if type(answer).__name__ == "Unclear":
                differs("doubt")
            if has_lines and user.active:
                differs("replay")
        return answer


class Person(expected.Person):
    def question(self, api: str, name: str, *args: Any) -> Any:
        if name == "backend_has_perm" and self.world.settings.verbosity:
            self.world.differs("backend log")
        found = super().question(api, name, *args)
        if name == "backend_has_perm" and type(found) is not bool:
            self.world.differs("raw")
        return found

    def make_copy(self, how: str) -> None:
        old, new = self.user, self.load()
        new.is_active, new.is_superuser = old.is_active, old.is_superuser
        # What both have from then on is in the same dictionaries, though there is nothing yet.
        if how == "copy" or old.known or old.active or old.finished or old.memory:
            self.world.differs("copy")
        if how == "copy":
            new.known, new.active, new.finished = old.known, old.active, old.finished
        elif any(type(known.answer).__name__ == "coroutine" for known in old.known.values()):
            raise TypeError
        else:
            new.known = dict(old.known)
            new.active = [Log(log.name, entries=list(log.entries)) for log in old.active]
            new.finished = copy.deepcopy(old.finished)
        new.memories = {None: dict(old.memory)}
        self.before, self.user = old, new
