"""The authentication backend, and the decorator and mixin for views."""

from .backends import ObjectPermissionsBackend
from .decorators import permission_required
from .mixins import PermissionRequiredMixin

__all__ = ["ObjectPermissionsBackend", "PermissionRequiredMixin", "permission_required"]
