"""Where the permissions of the model level are kept, and the backends that read them there."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from django.contrib.auth.backends import BaseBackend
from django.contrib.auth.models import Group, Permission
from django.contrib.contenttypes.models import ContentType
from django.db import connections

from tests.testapp.models import Thing, User

from .methods import KINDS
from .moments import here

if TYPE_CHECKING:
    from collections.abc import Callable

    from .moments import Key

USERS = (1, 2)


class MemoryBackend(BaseBackend):
    """A project's own backend, which is asked each time and doesn't need a thread."""

    def has_perm(self, user_obj: Any, perm: str, obj: Any = None) -> bool:
        here().pause()
        return self._has_perm(user_obj, perm, obj)

    async def ahas_perm(self, user_obj: Any, perm: str, obj: Any = None) -> bool:
        return self._has_perm(user_obj, perm, obj)

    @staticmethod
    def _has_perm(user: Any, perm: str, obj: Any) -> bool:
        if not user.is_active or obj is not None:
            return False
        here().query()
        return here().read("held", user.pk, perm.partition(".")[2])


class Storage:
    """Keeps nothing but the values of the world."""

    backend: ClassVar[str] = f"{__name__}.MemoryBackend"
    has_database: ClassVar[bool] = False  # without one, each check reads the values anew

    def end(self) -> None:
        """Put everything back in its place."""

    def enter_thread(self) -> None:
        """Prepare a thread."""

    def write(self, key: Key, value: bool) -> None:
        """Keep a value of the world."""

    def close(self) -> None:
        """Leave everything as it was."""


class DatabaseStorage(Storage):
    """Permissions in the database, and Django's own backend."""

    backend = "django.contrib.auth.backends.ModelBackend"
    has_database = True

    def __init__(self) -> None:
        self._set_journal("WAL")  # a reader that is interrupted doesn't keep writers out
        own = ContentType.objects.get_for_model(Thing)
        self._permissions = {
            name: Permission.objects.create(codename=name, name=name, content_type=own).pk
            for name in KINDS
        }
        members = Group.objects.create(name="members")
        for pk in USERS:
            user = User.objects.create(pk=pk, username=f"user {pk}")
            user.user_permissions.set(self._permissions.values())
            user.groups.add(members)
        self._changed: set[tuple[int, str]] = set()

    def end(self) -> None:
        for pk, name in self._changed:
            self._write(pk, name, True)
        self._changed.clear()

    def close(self) -> None:
        self._set_journal("DELETE")

    @staticmethod
    def _set_journal(mode: str) -> None:
        connection = connections["default"]
        if connection.vendor == "sqlite":
            with connection.cursor() as cursor:
                cursor.execute(f"PRAGMA journal_mode = {mode}")

    def enter_thread(self) -> None:
        connections["default"].execute_wrappers[:] = [query]

    def write(self, key: Any, value: bool) -> None:
        if key[0] == "held":
            self._changed.add(key[1:])
            self._write(*key[1:], value)

    def _write(self, pk: int, name: str, value: bool) -> None:
        row = {"user_id": pk, "permission_id": self._permissions[name]}
        rows = User.user_permissions.through.objects
        if value:
            rows.get_or_create(**row)
        else:
            rows.filter(**row).delete()


def query(execute: Callable[..., Any], sql: str, params: Any, many: bool, context: Any) -> Any:
    """Let others run before and after each query that the library makes."""
    world = here()
    if world.is_writing:
        return execute(sql, params, many, context)
    world.query()
    world.pause()
    answer = execute(sql, params, many, context)
    world.pause()
    return answer
