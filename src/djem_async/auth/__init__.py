"""The authentication backend, and the decorator and mixin for views."""

from typing import TYPE_CHECKING

from .backends import ObjectPermissionsBackend
from .decorators import permission_required

if TYPE_CHECKING:
    from .mixins import PermissionRequiredMixin

__all__ = ["ObjectPermissionsBackend", "PermissionRequiredMixin", "permission_required"]


def __getattr__(name: str) -> object:
    # When it is asked for: Django's mixins bring its forms and views for signing in, which would
    # take as long to load as the rest of this package.
    if name == "PermissionRequiredMixin":
        from .mixins import PermissionRequiredMixin

        globals()[name] = PermissionRequiredMixin
        return PermissionRequiredMixin
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
