"""The side of the reference: runs the actions of a history without Django.

See `tests.differential.library`, which has the same actions.
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from tests import reference
from tests.reference import BOTH, Entry, Object

from . import histories, results
from .histories import MODEL, OURS, History
from .results import only_ours
from .scripts import Script, play, run

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

SETTINGS = {
    "DJEM_UNIVERSAL_OLP": "is_universal",
    "DJEM_PERM_LOG_VERBOSITY": "verbosity",
    "DJEM_OPEN_BY_DEFAULT": "is_open",
}
SOURCES = {"get_user_permissions": ("user",), "get_group_permissions": ("group",)}


class Boom(ValueError):
    pass


ERRORS = {"denied": reference.PermissionDenied, "boom": Boom}


class World:
    """What the actions of a history do to all users."""

    def __init__(
        self,
        history: History,
        ours: reference.ObjectPermissionsBackend | None = None,
        user: type[User] | None = None,
    ) -> None:
        self.history = history
        self.kind = history["user"]
        self.ours = ours or reference.ObjectPermissionsBackend()
        self.user = user or User
        self.direct = set(history["held"])
        self.held_by_editors: set[str] = set()
        self.is_editor = False
        self.database = reference.Database(set(histories.EXISTING), {})
        self.join(False)
        self.settings = reference.Settings(is_universal=False, verbosity=0, backends=[])
        self.said: dict[tuple[str, str, str], Any] = {}
        self.backends([MODEL, OURS])
        self.scripts: dict[tuple[str, str, str], Script] = {}
        self.objects = {
            name: self._create(name, *about)
            for name, about in histories.OBJECTS.items()
            if about[0] != "lazy"
        }
        self.objects["lazy paper"] = self.objects["paper"]
        self.settings.installed = [self._create("", model) for model in histories.INSTALLED]
        self.saved = 100
        self.trace: list[Any] = []
        # Set where it is nobody's business what is remembered from here on, see `Person.ask`.
        self.is_undetermined = False
        self.has_cleared = False

    def _create(
        self, name: str, model: str | None, pk: int | None = None, alias: str | None = None
    ) -> Object:
        return Object(
            model,
            pk,
            alias,
            text=name,
            is_saved=pk is not None,
            is_key=name == "text",
            perms=histories.permissions_of(model),
            method=lambda source, codename: self._method(name, model, source, codename),
        )

    def find(self, name: str | None) -> Object | None:
        return None if name is None else self.objects[name]

    def given(self, name: str | None) -> list[Object | None]:
        return [] if name == "nothing given" else [self.find(name)]

    def scope(self, value: Any) -> None:
        self.settings.scope = value
        self.has_cleared = True

    def setting(self, name: str, value: Any) -> None:
        setattr(self.settings, SETTINGS[name], value)

    def backends(self, names: list[str]) -> None:
        kinds: dict[str, Any] = {
            MODEL: reference.ModelBackend(),
            OURS: self.ours,
            **{name: Voice(self.said, name) for name in histories.VOICES},
        }
        self.settings.backends = [kinds[name] for name in names]

    def say(self, backend: str, level: str, perm: str, answer: Any) -> None:
        self.said[backend, level, perm] = answer

    def hold(self, perm: str, value: bool) -> None:
        (self.direct.add if value else self.direct.discard)(perm)

    def join(self, value: bool) -> None:
        self.is_editor = value
        by_group = self.held_by_editors if value else set()
        self.database.held = {"user": self.direct, "group": by_group}

    def group_hold(self, perm: str, value: bool) -> None:
        (self.held_by_editors.add if value else self.held_by_editors.discard)(perm)

    def save(self, name: str) -> None:
        obj = self.objects[name]
        if obj.pk is None:
            self.saved += 1
        obj.pk, obj.alias, obj.is_saved = obj.pk or self.saved, obj.alias or "default", True

    def set_pk(self, name: str, number: int) -> None:
        self.objects[name].pk = number

    def method(self, place: str, source: str, codename: str, script: Script) -> None:
        self.scripts[place, source, codename] = script

    def _method(self, name: str, model: str | None, source: str, codename: str) -> Any:
        keys = ((place, source, codename) for place in histories.BASES.get(model or "", ()))
        script = next((self.scripts[key] for key in keys if key in self.scripts), None)
        if script is None:
            return None

        def method(user: Any) -> Any:
            return self._play(script, user, [source, codename, name])

        mark = script[3]
        return reference.WithoutModelLevel(method, mark == "everybody") if mark else method

    def _play(self, script: Script, user: Any, asked: list[str]) -> Any:
        def make(call: str, *args: Any) -> Any:
            if call == "exists":
                return self.is_editor and self.kind != "anonymous"
            with user.using(API_OF.get(script[0], user.is_async)):
                return getattr(user, call)(*args)

        self.trace.append(asked)
        lines = user.active[-1].entries if user.active else []
        try:
            answer = run(play(script, user, self, ERRORS, has_mixin=user.has_mixin), make)
        except reference.PermissionDenied as denied:
            self.give_reason(str(denied), lines)
            raise reference.PermissionDenied from None
        if script[0] == "forgetful" and not user.is_async:
            return reference.Unawaited(answer)
        return self.decided(answer)

    def give_reason(self, reason: str, lines: list[Entry]) -> None:
        lines.extend([Entry(reason)] if reason else [])

    def decided(self, answer: Any) -> Any:
        return reference.truth(answer, is_async=True)


# Whether the checks that an access method makes are async. One that has both forms is of the kind
# that the API likes.
API_OF = {"def": False, "nonblocking": False, "forgetful": False, "async def": True, "twin": True}


class User(reference.User):
    """A user of a world."""

    world: World

    @property
    def knows_both_forms(self) -> bool:
        """Whether a backend is asked that has only the form of the other API."""
        return self.has_mixin  # Django's own users do not

    def permissions(self, obj: Object | None = None, sources: Iterable[str] = BOTH) -> set[str]:
        # Django's own has none by groups, and asks nobody.
        return (
            set()
            if self.is_anonymous and "user" not in sources
            else super().permissions(obj, sources)
        )

    @contextmanager
    def using(self, is_async: bool) -> Iterator[None]:
        before, self.is_async = self.is_async, is_async
        try:
            yield
        finally:
            self.is_async = before

    def get_log(self, name: str, raw: bool = True) -> list[Entry]:
        return super().get_log(name)

    def clear_perm_cache(self) -> None:
        super().clear_perm_cache()
        self.world.has_cleared = True


class Voice:
    """A backend that says what the history wants."""

    reason = "other_backend"

    def __init__(self, said: dict[Any, Any], name: str) -> None:
        self.said = said
        self.name = name

    def has_perm(self, user: Any, perm: str, obj: Object | None) -> Any:
        if not user.knows_both_forms and self.name == ("Sync" if user.is_async else "Async"):
            return False
        answer = self.said.get((self.name, "model" if obj is None else "object", perm), False)
        if answer in ERRORS:
            raise ERRORS[answer]
        return answer

    def permissions(self, user: Any, obj: Object | None, sources: Iterable[str]) -> set[str]:
        return set()


class Person(results.Person):
    def load(self) -> User:
        is_anonymous = self.kind == "anonymous"
        user = self.world.user(
            self.world.settings,
            self.world.database,
            is_active=self.world.history["is_active"] and not is_anonymous,
            is_superuser=self.world.history["is_superuser"] and not is_anonymous,
            is_anonymous=is_anonymous,
            has_mixin=self.has_mixin,
        )
        user.world = self.world
        return user

    def question(self, api: str, name: str, *args: Any) -> Any:
        self.world.has_cleared = False
        self.user.is_async = api == "async"
        *args, target = args  # type: ignore[assignment]
        obj = self.world.find(target)
        is_backend, name = name.startswith("backend_"), name.removeprefix("backend_")
        asked: Any = self.world.ours if is_backend else self.user
        users = (self.user,) if is_backend else ()
        if name.startswith("get_"):
            return only_ours(asked.permissions(*users, obj, SOURCES.get(name, BOTH)))
        if name == "explain_perm" and not self.has_mixin:
            raise AttributeError
        try:
            return getattr(asked, name)(*users, *args, obj)
        except reference.PermissionRecursionError:
            # A check that enters itself fails, whether or not it has asked for the model level
            # before. If the cache was cleared meanwhile, that makes a difference to what is known.
            self.world.is_undetermined |= self.world.has_cleared
            raise

    def clear(self) -> None:
        if self.has_mixin:
            self.user.clear_perm_cache()

    def make_copy(self, how: str) -> None:
        """Begin with an empty memory; a user of Django's own takes Django's caches along."""
        self.reload()
        self.user.is_active = self.before.is_active
        self.user.is_superuser = self.before.is_superuser
        if not self.has_mixin:
            known = self.before.memory
            self.user.memory.update({source: known[source] for source in BOTH if source in known})
