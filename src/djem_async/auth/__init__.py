"""The authentication backends, and the decorator and mixins for views."""

from importlib import import_module
from typing import TYPE_CHECKING, Final

from .backends import ModelBackend, ObjectPermissionsBackend

if TYPE_CHECKING:
    from .decorators import permission_required
    from .lookup import Lookup
    from .mixins import (
        ObjectPermissionRequiredMixin,
        PermissionListMixin,
        PermissionRequiredMixin,
    )

__all__ = [
    "Lookup",
    "ModelBackend",
    "ObjectPermissionRequiredMixin",
    "ObjectPermissionsBackend",
    "PermissionListMixin",
    "PermissionRequiredMixin",
    "permission_required",
]

# Imported lazily, because they import Django's decorators, mixins, forms and views for signing in.
# These take as long to load as the rest of this package.
_MODULES: Final = {
    "Lookup": "lookup",
    "ObjectPermissionRequiredMixin": "mixins",
    "PermissionListMixin": "mixins",
    "PermissionRequiredMixin": "mixins",
    "permission_required": "decorators",
}


def __getattr__(name: str) -> object:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    found = globals()[name] = getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)
    return found
