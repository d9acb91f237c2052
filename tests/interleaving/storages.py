"""Where the permissions of the model level are kept, and the backends that read them there."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from django.contrib.auth.backends import BaseBackend, ModelBackend
from django.contrib.auth.models import Group, Permission
from django.contrib.contenttypes.models import ContentType
from django.db import connections

from tests.testapp.models import Gate, Thing, User

from .methods import KINDS, SOUND
from .moments import here

if TYPE_CHECKING:
    from collections.abc import Callable

    from .moments import Key

USERS = (1, 2)


class MemoryBackend(BaseBackend):
    """Keeps nothing, and does not need a thread."""

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
        name = perm.partition(".")[2]
        return any(here().read(source, user.pk, name) for source in ("held", "held by group"))


class OwnBackend(ModelBackend):
    """One of a project, for whose answers there is no other way than to ask it."""

    def has_perm(self, user_obj: Any, perm: str, obj: Any = None) -> bool:
        here().pause()
        return super().has_perm(user_obj, perm, obj)


class Storage:
    """Keeps nothing: the values of the world are all there is."""

    backend: ClassVar[str] = f"{__name__}.MemoryBackend"
    has_database: ClassVar[bool] = False  # or the backend reads the values anew for each check
    shares_fetch: ClassVar[bool] = False  # checks at once need one query for the model level

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
    shares_fetch = True

    def __init__(self) -> None:
        self._set_journal("WAL")  # in which a reader that is interrupted does not keep writers out
        # Those that cannot be answered belong to another model, or no set could be asked for.
        own, other = (ContentType.objects.get_for_model(model) for model in (Thing, Gate))
        self._permissions = {
            name: Permission.objects.create(
                codename=name, name=name, content_type=own if name in SOUND else other
            ).pk
            for name in KINDS
        }
        members = Group.objects.create(name="members")
        self._groups: dict[int, int] = {}
        for pk in USERS:
            user = User.objects.create(pk=pk, username=f"user {pk}")
            user.user_permissions.set(self._permissions.values())
            group = Group.objects.create(name=f"group of user {pk}")
            user.groups.set([members, group])
            self._groups[pk] = group.pk
        self._changed: set[tuple[str, int, str]] = set()

    def end(self) -> None:
        for source, pk, name in self._changed:
            self._write(source, pk, name, source == "held")
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
        if key[0] in {"held", "held by group"}:
            self._changed.add(key)
            self._write(*key, value)

    def _write(self, source: str, pk: int, name: str, value: bool) -> None:
        permission = self._permissions[name]
        if source == "held":
            rows = User.user_permissions.through.objects.filter(user_id=pk)
            given = {"user_id": pk}
        else:
            rows = Group.permissions.through.objects.filter(group_id=self._groups[pk])
            given = {"group_id": self._groups[pk]}
        if value:
            rows.model.objects.get_or_create(permission_id=permission, **given)
        else:
            rows.filter(permission_id=permission).delete()


class OwnStorage(DatabaseStorage):
    backend = f"{__name__}.OwnBackend"
    shares_fetch = False


def query(execute: Callable[..., Any], sql: str, params: Any, many: bool, context: Any) -> Any:
    """Let others run before and after each query that the library makes."""
    world = here()
    if not world.is_writing:
        world.query()
        world.pause()
    answer = execute(sql, params, many, context)
    world.pause()
    return answer
