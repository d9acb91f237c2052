"""The side of the library: runs the actions of a history with Django.

The actions of a `World` happen once, for all users; those of a `Person` happen to each. Both have
the same names in `tests.differential.expected`, the side of the reference.
"""

from __future__ import annotations

import copy
import pickle
from contextlib import ExitStack
from typing import Any, NamedTuple

from asgiref.sync import async_to_sync
from django.contrib.auth.models import AnonymousUser
from django.core.exceptions import PermissionDenied
from django.test import override_settings

from . import stage
from .histories import CACHES, MODEL, OURS, STAGE, History
from .results import entries, only_ours, outcome
from .scripts import Script, arun, play, run, written

PK = 54
ERRORS = {"denied": PermissionDenied, "boom": stage.Boom}


class Library(NamedTuple):
    """What is tested."""

    user: Any  # the user model with the mixin
    plain_user: Any  # one without
    backend: Any


class World:
    """The models, rows and settings of one history; a context manager that puts all back.

    Args:
        history: The history.
        library: What is tested.
        permissions: The permissions, by name.
        groups: The groups, by name.
    """

    def __init__(
        self,
        history: History,
        library: Library,
        permissions: dict[str, Any],
        groups: dict[str, Any],
    ) -> None:
        self.kind = history["user"]
        self.library = library
        self.permissions = permissions
        self.groups = groups
        self.objects = stage.create_objects()
        self.saved = 100
        self.trace: list[Any] = []  # the access methods that were asked
        self.user: Any = None  # whom they are asked about
        self._stack = ExitStack()
        self._written: dict[tuple[str, str, str], list[str]] = {}
        if self.kind == "anonymous":
            return
        flags = {name: history[name] for name in ("is_active", "is_superuser")}
        if self.kind == "plain":
            self.row = library.plain_user.objects.create(pk=PK, name="user.name", **flags)
        else:
            self.row = library.user.objects.create(pk=PK, username="user.name", **flags)
        self.row.user_permissions.add(*(permissions[perm] for perm in history["held"]))

    def __enter__(self) -> World:
        self.universal(False)
        self.verbosity(0)
        self.backends([MODEL, OURS])
        return self

    def __exit__(self, *_error: object) -> None:
        self._stack.close()
        stage.said.clear()
        for key in list(self._written):
            self._remove(key)

    def load(self) -> Any:
        """Load the user from the database."""
        return AnonymousUser() if self.kind == "anonymous" else type(self.row).objects.get(pk=PK)

    def find(self, name: str | None) -> Any:
        return None if name is None else self.objects[name]

    # Settings

    def _set(self, **settings: Any) -> None:
        self._stack.enter_context(override_settings(**settings))

    def universal(self, value: bool) -> None:
        self._set(DJEM_UNIVERSAL_OLP=value)

    def verbosity(self, value: int) -> None:
        self._set(DJEM_PERM_LOG_VERBOSITY=value)

    def backends(self, names: list[str]) -> None:
        ours = f"{self.library.backend.__module__}.{self.library.backend.__qualname__}"
        paths = {MODEL: MODEL, OURS: ours}
        found = [paths.get(name, f"{STAGE}.{name}") for name in names]
        self._set(AUTHENTICATION_BACKENDS=found)

    def say(self, backend: str, level: str, perm: str, answer: Any) -> None:
        stage.said[backend, level, perm] = answer

    # Rows

    def grant(self, perm: str) -> None:
        if self.kind != "anonymous":
            self.row.user_permissions.add(self.permissions[perm])

    def revoke(self, perm: str) -> None:
        if self.kind != "anonymous":
            self.row.user_permissions.remove(self.permissions[perm])

    def join(self, group: str) -> None:
        if self.kind != "anonymous":
            self.row.groups.add(self.groups[group])

    def leave(self, group: str) -> None:
        if self.kind != "anonymous":
            self.row.groups.remove(self.groups[group])

    def grant_group(self, group: str, perm: str) -> None:
        self.groups[group].permissions.add(self.permissions[perm])

    def revoke_group(self, group: str, perm: str) -> None:
        self.groups[group].permissions.remove(self.permissions[perm])

    # Objects

    def save(self, name: str) -> None:
        obj = self.objects[name]
        if obj.pk is None or obj.pk == (None, None):
            self.saved += 1
            stage.set_pk(obj, self.saved)
        obj.save()

    def delete(self, name: str) -> None:
        obj = self.objects[name]
        if obj.pk is not None and obj.pk != (None, None):
            obj.delete()

    def set_pk(self, name: str, number: int) -> None:
        stage.set_pk(self.objects[name], number)

    def set_alias(self, name: str, alias: str) -> None:
        self.objects[name]._state.db = alias

    # Access methods

    def method(self, place: str, source: str, codename: str, script: Script) -> None:
        owner = stage.MODELS[place]
        key = (place, source, codename)
        self._remove(key)
        found = written(source, codename, script, self._play, self._aplay)
        self._written[key] = list(found)
        for name, function in found.items():
            setattr(owner, name, function)

    def _remove(self, key: tuple[str, str, str]) -> None:
        for name in self._written.pop(key, ()):
            delattr(stage.MODELS[key[0]], name)

    def _calls(self, script: Script, source: str, codename: str, obj: Any, argument: Any) -> Any:
        asked = next(name for name, other in self.objects.items() if other is obj)
        self.trace.append([source, codename, asked])
        assert source == "group" or argument is self.user
        return play(script, self.user, self.find, ERRORS, has_mixin=self.kind == "mixin")

    def _editors(self, source: str, argument: Any) -> Any:
        groups = argument if source == "group" else argument.groups.all()
        return groups.filter(name="editors")

    def _play(self, script: Script, source: str, codename: str, obj: Any, argument: Any) -> Any:
        def make(name: str, *args: Any) -> Any:
            if name == "editors":
                return self._editors(source, argument)
            if name == "is_editor":
                return self._editors(source, argument).exists()
            return getattr(self.user, name)(*args)

        return run(self._calls(script, source, codename, obj, argument), make)

    async def _aplay(
        self, script: Script, source: str, codename: str, obj: Any, argument: Any
    ) -> Any:
        async def make(name: str, *args: Any) -> Any:
            if name == "editors":
                return self._editors(source, argument)
            if name == "is_editor":
                return await self._editors(source, argument).aexists()
            return await getattr(self.user, f"a{name}")(*args)

        return await arun(self._calls(script, source, codename, obj, argument), make)


class Person:
    """One user, checked by one API or by both in turn."""

    def __init__(self, world: World, apis: tuple[str, ...]) -> None:
        self.world = world
        self.apis = apis
        self.user = world.load()
        self.before = self.user
        self.has_mixin = world.kind == "mixin"

    # Questions

    def ask(self, name: str, *args: Any) -> list[Any]:
        """Ask a question in each API, and return all that is known afterwards."""
        found = []
        for api in self.apis:
            self.world.trace = []
            self.world.user = self.user
            answer = outcome(self._question, api, name, *args)
            found.append([api, answer, self.world.trace, self._last_log()])
        return found

    def _question(self, api: str, name: str, *args: Any) -> Any:
        *args, target = args if name != "has_module_perms" else (*args, None)
        if name != "has_module_perms":
            args = [*args, self.world.find(target)]
        instance = self.user
        if name.startswith("backend_"):
            instance, name = self.world.library.backend(), name.removeprefix("backend_")
            args = [self.user, *args]
        found = self._call(api, instance, name, *args)
        return only_ours(found) if isinstance(found, set) else found

    def _call(self, api: str, instance: Any, name: str, *args: Any) -> Any:
        if api == "sync":
            return getattr(instance, name)(*args)
        return async_to_sync(getattr(instance, f"a{name}"))(*args)

    def _last_log(self) -> Any:
        if not self.has_mixin:
            return None
        return outcome(lambda: entries(self.user.get_last_log(raw=True)))

    # What happens to the user

    def set_active(self, value: Any) -> None:
        if self.world.kind != "anonymous":
            self.user.is_active = value

    def set_superuser(self, value: Any) -> None:
        if self.world.kind != "anonymous":
            self.user.is_superuser = value

    def clear(self, missing: str) -> None:
        if self.has_mixin:
            for name in CACHES:
                if missing in (name, "all") and hasattr(self.user, name):
                    delattr(self.user, name)
            self._call(self.apis[0], self.user, "clear_perm_cache")

    def reload(self) -> None:
        self.before, self.user = self.user, self.world.load()

    def copy(self, how: str) -> Any:
        return outcome(self._copy, how)

    def _copy(self, how: str) -> None:
        copies = {
            "copy": copy.copy,
            "deepcopy": copy.deepcopy,
            "pickle": lambda user: pickle.loads(pickle.dumps(user)),
        }
        self.before, self.user = self.user, copies[how](self.user)

    def switch(self) -> None:
        """Go back to the instance that was copied or replaced."""
        self.before, self.user = self.user, self.before

    # Logs

    def start_log(self, name: str) -> Any:
        return self.has_mixin and outcome(self.user.start_log, name)

    def log(self, line: str, tag: str | None) -> Any:
        return self.has_mixin and outcome(lambda: self.user.log(line, tag=tag))

    def discard_log(self) -> Any:
        return self.has_mixin and outcome(self.user.discard_log)

    def end_log(self) -> Any:
        def end() -> Any:
            name, lines = self._call(self.apis[-1], self.user, "end_log")
            return [name, entries(lines)]

        return self.has_mixin and outcome(end)

    def get_log(self, name: str) -> Any:
        return self.has_mixin and outcome(lambda: entries(self.user.get_log(name, raw=True)))
