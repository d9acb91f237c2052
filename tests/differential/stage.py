"""The models, objects and backends that histories are about, on the side of Django.

The models are in a registry of their own, so they touch no other test.
"""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from unittest import mock

from django.apps import AppConfig, apps
from django.apps.registry import Apps
from django.contrib.auth.models import Group, Permission
from django.contrib.contenttypes.models import ContentType
from django.core.exceptions import PermissionDenied
from django.db import models
from django.utils.functional import SimpleLazyObject

from .histories import OBJECTS, PERMS_OF

registry = Apps()


def declared(model: str) -> list[tuple[str, str]]:
    return [(perm.partition(".")[2], perm) for perm in PERMS_OF[model]]


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
        permissions = declared("Paper")


class Draft(Paper):
    class Meta(Options):
        proxy = True
        permissions = declared("Draft")


class Sheet(Paper):
    class Meta(Options):
        permissions = declared("Sheet")


class Stone(models.Model):
    """Another model, whose instances are false."""

    name = models.CharField(max_length=20, default="")

    class Meta(Options):
        permissions = declared("Stone")

    def __bool__(self) -> bool:
        return False

    def __str__(self) -> str:
        return self.name


class Other(models.Model):
    class Meta(Options):
        app_label = "other"
        permissions = declared("Other")


class Value:
    """No model instance, and no key."""

    def __str__(self) -> str:
        return "value"


MODELS = {model.__name__: model for model in (Guarded, Paper, Draft, Sheet, Stone)}


@contextmanager
def installed() -> Iterator[None]:
    """Install the models."""
    configs = {}
    for label in ("worlds", "other"):
        configs[label] = config = AppConfig("tests", sys.modules[__name__])
        config.label, config.apps, config.models = label, registry, registry.all_models[label]
    with mock.patch.dict(apps.app_configs, configs):
        apps.clear_cache()
        yield
    apps.clear_cache()


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


def create_group() -> Group:
    return Group.objects.create(name="editors")


def create_objects() -> dict[str, Any]:
    """Return the objects by name; none has a row in the database, nor needs one."""
    found: dict[str, Any] = {}
    for name, (model, pk, alias) in OBJECTS.items():
        if model is None:
            found[name] = name if name == "text" else Value()
        elif model == "lazy":
            found[name] = SimpleLazyObject(lambda: found["paper"])
        else:
            found[name] = obj = MODELS[model](name=name)
            if pk is not None:
                save(obj, pk, alias)
    return found


def save(obj: Any, pk: int, alias: str | None) -> None:
    """Make an object look saved."""
    obj.pk, obj._state.adding, obj._state.db = pk, False, alias


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


class Sync:
    def has_perm(self, user_obj: Any, perm: str, obj: Any = None) -> Any:
        return say(self, perm, obj)


class Async:
    async def ahas_perm(self, user_obj: Any, perm: str, obj: Any = None) -> Any:
        return say(self, perm, obj)


class Both(Sync, Async):
    pass
