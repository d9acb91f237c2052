"""The models whose permissions an object can have."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.apps import apps
from django.contrib.auth import get_permission_codename
from django.core.exceptions import ImproperlyConfigured
from django.db.models import Model

if TYPE_CHECKING:
    from collections.abc import Iterator

    from django.db.models.options import Options


def perm_for(action: str, model: type[Model]) -> str:
    """Name Django's permission for an action on a model, such as ``add``."""
    opts = model._meta
    return f"{opts.app_label}.{get_permission_codename(action, opts)}"


def lineage(model: type[Model]) -> Iterator[Options[Any]]:
    """Return the options of a model and of all models that it inherits from.

    These include the concrete model of a proxy, and multi-table parents.
    """
    for base in model.__mro__:
        if issubclass(base, Model) and base is not Model and not base._meta.abstract:
            yield base._meta


def key_names(model: type[Model]) -> set[str]:
    """Return the names of the fields that say to which row an object is saved."""
    keys = {field for opts in lineage(model) for field in opts.pk_fields}
    return {name for key in keys for name in (key.name, key.attname)}


def codenames(opts: Options[Any]) -> set[str]:
    """Collect the permissions that a model declares."""
    default = {get_permission_codename(action, opts) for action in opts.default_permissions}
    return default | {codename for codename, _ in opts.permissions}


def all_codenames(model: type[Model]) -> set[str]:
    """Collect the permissions that a model and all models that it inherits from declare."""
    return {codename for opts in lineage(model) for codename in codenames(opts)}


def declares(opts: Options[Any], perm: str) -> bool:
    """Tell whether a model declares a permission, ``app_label.codename``."""
    app_label, _, codename = perm.partition(".")
    return app_label == opts.app_label and codename in codenames(opts)


def models_with(perm: str) -> list[type[Model]]:
    """Return the installed models that declare a permission."""
    return [model for model in apps.get_models() if declares(model._meta, perm)]


def model_of(perm: str) -> type[Model]:
    """Return the installed model that declares a permission.

    Raises:
        ImproperlyConfigured: There is none, or more than one.
    """
    found = models_with(perm)
    if len(found) != 1:
        models = ", ".join(model.__name__ for model in found)
        raise ImproperlyConfigured(
            f"The permission {perm!r} belongs to {models}. Pass the model of the objects."
            if found
            else f"No installed model has the permission {perm!r}. Correct its name, or pass the"
            " model of the objects."
        )
    return found[0]
