"""The models, objects and backends that histories are about, on the side of Django.

The models are in a registry of their own, so they touch no other test.
"""

from __future__ import annotations

from typing import Any

from django.apps.registry import Apps
from django.contrib.auth.models import Group, Permission
from django.contrib.contenttypes.models import ContentType
from django.core.exceptions import PermissionDenied
from django.db import connections, models
from django.utils.functional import SimpleLazyObject

from .histories import ALIASES, GROUPS, OBJECTS, PERMS_OF

registry = Apps()


class Options:
    apps = registry
    app_label = "worlds"
    default_permissions = ()


class Guarded(models.Model):
    name = models.CharField(max_length=20, default="")

    class Meta(Options):
        abstract = True

    def __str__(self) -> str:
        return self.name


class Paper(Guarded):
    class Meta(Options):
        pass


class Draft(Paper):
    class Meta(Options):
        proxy = True


class Letter(Paper):
    class Meta(Options):
        pass


class Stone(models.Model):
    """Another model, whose instances are false."""

    name = models.CharField(max_length=20, default="")

    class Meta(Options):
        pass

    def __bool__(self) -> bool:
        return False

    def __str__(self) -> str:
        return self.name


class Cell(models.Model):
    pk = models.CompositePrimaryKey("row", "column")
    row = models.IntegerField()
    column = models.IntegerField()
    name = models.CharField(max_length=20, default="")

    class Meta(Options):
        pass

    def __str__(self) -> str:
        return self.name


MODELS = {model.__name__: model for model in (Guarded, Paper, Draft, Letter, Stone, Cell)}
TABLES = (Paper, Letter, Stone, Cell)


def create_tables() -> None:
    for alias in ALIASES:
        with connections[alias].schema_editor() as editor:
            for model in TABLES:
                editor.create_model(model)


def drop_tables() -> None:
    for alias in ALIASES:
        with connections[alias].schema_editor() as editor:
            for model in reversed(TABLES):
                editor.delete_model(model)


def create_permissions() -> dict[str, Permission]:
    """Create the permissions, and return them by name."""
    found: dict[str, Permission] = {}
    for model, perms in PERMS_OF.items():
        for perm in perms:
            label, _, codename = perm.partition(".")
            content_type, _ = ContentType.objects.get_or_create(
                app_label=label, model=model.lower()
            )
            found[perm] = Permission.objects.create(
                codename=codename, name=codename, content_type=content_type
            )
    return found


def create_groups() -> dict[str, Group]:
    return {name: Group.objects.create(name=name) for name in GROUPS}


def create_objects() -> dict[str, Any]:
    """Return the objects by name, none of which has a row in the database yet."""
    found: dict[str, Any] = {}
    for name, (model, pk, alias) in OBJECTS.items():
        if model is None:
            found[name] = name
        elif model == "lazy":
            found[name] = SimpleLazyObject(lambda: found["paper"])
        else:
            found[name] = obj = MODELS[model](name=name)
            if pk is not None:
                set_pk(obj, pk)
                obj._state.adding, obj._state.db = False, alias
    return found


def set_pk(obj: Any, number: int) -> None:
    obj.pk = (1, number) if isinstance(obj, Cell) else number
    if isinstance(obj, Letter):
        obj.id = number  # of the parent, which deleting asks for


# Other backends. What they say is in tables that histories write to; Django makes new instances of
# backends all the time.

said: dict[tuple[str, str, str], Any] = {}


class Boom(ValueError):
    """An error that is nobody's answer."""


def say(backend: object, perm: str, obj: Any) -> Any:
    level = "model" if obj is None else "object"
    answer = said.get((type(backend).__name__, level, perm), False)
    if answer == "denied":
        raise PermissionDenied
    if answer == "boom":
        raise Boom
    return answer


class Both:
    def has_perm(self, user_obj: Any, perm: str, obj: Any = None) -> Any:
        return say(self, perm, obj)

    async def ahas_perm(self, user_obj: Any, perm: str, obj: Any = None) -> Any:
        return say(self, perm, obj)


class Sync:
    def has_perm(self, user_obj: Any, perm: str, obj: Any = None) -> Any:
        return say(self, perm, obj)


class Async:
    async def ahas_perm(self, user_obj: Any, perm: str, obj: Any = None) -> Any:
        return say(self, perm, obj)
