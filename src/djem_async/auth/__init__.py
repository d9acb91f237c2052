"""The authentication backend, and the decorator and mixin for views."""

from importlib import import_module
from typing import TYPE_CHECKING, Final

from .backends import ObjectPermissionsBackend

if TYPE_CHECKING:
    from .decorators import permission_required
    from .mixins import PermissionRequiredMixin

__all__ = ["ObjectPermissionsBackend", "PermissionRequiredMixin", "permission_required"]

# Imported when asked for: they bring Django's decorators, mixins, forms and views for signing in,
# which would take as long to load as the rest of this package.
_MODULES: Final = {"PermissionRequiredMixin": "mixins", "permission_required": "decorators"}


def __getattr__(name: str) -> object:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    found = globals()[name] = getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)
    return found
