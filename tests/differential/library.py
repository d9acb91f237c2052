"""The side of the library: runs the actions of a history with Django.

The actions of a `World` happen once, for all users; those of a `Person` happen to each. Both have
the same names in `tests.differential.expected`, the side of the reference.
"""

from __future__ import annotations

import copy
import json
import pickle
from contextlib import ExitStack
from functools import partial
from typing import Any, NamedTuple
from unittest import mock

from asgiref.sync import async_to_sync
from django.contrib.auth.models import AnonymousUser
from django.core.exceptions import PermissionDenied
from django.test import override_settings

from djem_async.explain import Explanation, Reason

from . import results, stage
from .histories import MODEL, OURS, STAGE, History
from .results import only_ours
from .scripts import Script, arun, play, run, written

PK = 54
ERRORS = {"denied": PermissionDenied, "boom": stage.Boom}


class Library(NamedTuple):
    """What is tested."""

    user: Any  # the user model with the mixin
    plain_user: Any  # one without
    backend: Any


class World:
    """The models, rows and settings of one history; a context manager that puts all back."""

    def __init__(
        self, history: History, library: Library, permissions: dict[str, Any], group: Any
    ) -> None:
        self.kind = history["user"]
        self.library = library
        self.permissions = permissions
        self.group = group
        self.objects = stage.create_objects()
        self.saved = 100
        self.is_scoped = '"scope"' in json.dumps(history)
        self.current: Any = None  # scope
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
        self.setting("DJEM_UNIVERSAL_OLP", False)
        self.setting("DJEM_PERM_LOG_VERBOSITY", 0)
        self.setting("DJEM_OPEN_BY_DEFAULT", True)
        self.backends([MODEL, OURS])
        if self.is_scoped:
            scope = {"perm_cache_scope": lambda _: self.current}
            self._stack.enter_context(mock.patch.multiple(self.library.user, create=True, **scope))
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

    def given(self, name: str | None) -> list[Any]:
        return [] if name == "nothing given" else [self.find(name)]

    def scope(self, value: Any) -> None:
        self.current = value

    # Settings

    def setting(self, name: str, value: Any) -> None:
        self._stack.enter_context(override_settings(**{name: value}))

    def backends(self, names: list[str]) -> None:
        ours = f"{self.library.backend.__module__}.{self.library.backend.__qualname__}"
        known = {MODEL: MODEL, OURS: ours}
        paths = [known.get(name, f"{STAGE}.{name}") for name in names]
        self.setting("AUTHENTICATION_BACKENDS", paths)

    def say(self, backend: str, level: str, perm: str, answer: Any) -> None:
        stage.said[backend, level, perm] = answer

    # Rows

    def hold(self, perm: str, value: bool) -> None:
        if self.kind != "anonymous":
            change(self.row.user_permissions, self.permissions[perm], value)

    def join(self, value: bool) -> None:
        if self.kind != "anonymous":
            change(self.row.groups, self.group, value)

    def group_hold(self, perm: str, value: bool) -> None:
        change(self.group.permissions, self.permissions[perm], value)

    # Objects

    def save(self, name: str) -> None:
        obj = self.objects[name]
        if obj.pk is None:
            self.saved += 1
        stage.save(obj, obj.pk or self.saved, obj._state.db or "default")

    def set_pk(self, name: str, number: int) -> None:
        self.objects[name].pk = number

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
        return play(script, self.user, self, ERRORS, has_mixin=self.kind == "mixin")

    def _make(self, source: str, argument: Any, call: str, *args: Any) -> Any:
        """Make a call of a script; in the async API, what has an async form is awaited."""
        groups = argument if source == "group" else argument.groups.all()
        editors = groups.filter(name="editors")
        instance = editors if call in ("exists", "aexists") else self.user
        return getattr(instance, call)(*args)

    def _play(self, script: Script, source: str, codename: str, obj: Any, argument: Any) -> Any:
        make = partial(self._make, source, argument)
        return run(self._calls(script, source, codename, obj, argument), make)

    async def _aplay(
        self, script: Script, source: str, codename: str, obj: Any, argument: Any
    ) -> Any:
        async def make(call: str, *args: Any) -> Any:
            return await self._make(source, argument, f"a{call}", *args)

        return await arun(self._calls(script, source, codename, obj, argument), make)


def facts(explanation: Explanation) -> list[Any]:
    """Return what the reference knows of an explanation, see `tests.reference.Trace`."""
    is_by_method = explanation.reason in (Reason.USER_METHOD, Reason.GROUP_METHOD)
    lines = explanation.lines if is_by_method and not explanation.nested else ()
    nested = [facts(each) for each in explanation.nested]
    is_cached = is_by_method and explanation.cached
    return [explanation.granted, str(explanation.reason), is_cached, [*map(str, lines)], nested]


def change(rows: Any, row: Any, value: bool) -> None:
    (rows.add if value else rows.remove)(row)


class Person(results.Person):
    def load(self) -> Any:
        user = self.world.user = self.world.load()
        return user

    def question(self, api: str, name: str, *args: Any) -> Any:
        self.world.user = self.user
        *args, target = args  # type: ignore[assignment]
        args = (*args, self.world.find(target))
        instance = self.user
        if name.startswith("backend_"):
            instance, name = self.world.library.backend(), name.removeprefix("backend_")
            args = (self.user, *args)
        found = self._call(api, instance, name, *args)
        if isinstance(found, Explanation):
            return facts(found)
        return only_ours(found) if isinstance(found, set) else found

    def _call(self, api: str, instance: Any, name: str, *args: Any) -> Any:
        if api == "sync":
            return getattr(instance, name)(*args)
        return async_to_sync(getattr(instance, f"a{name}"))(*args)

    def clear(self) -> None:
        if self.has_mixin:
            self._call(self.apis[0], self.user, "clear_perm_cache")

    def make_copy(self, how: str) -> None:
        copies = {
            "copy": copy.copy,
            "deepcopy": copy.deepcopy,
            "pickle": lambda user: pickle.loads(pickle.dumps(user)),
        }
        self.before, self.user = self.user, copies[how](self.user)

    def end_log(self) -> Any:
        return self._call(self.apis[-1], self.user, "end_log")
