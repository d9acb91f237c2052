"""Object-level permissions for Django REST framework, and for adrf, its async views.

It isn't an app: import from it.
"""

from .filters import ObjectPermissionsFilter
from .permissions import ObjectPermissions
from .serializers import AddPermissionMixin

__all__ = ["AddPermissionMixin", "ObjectPermissions", "ObjectPermissionsFilter"]
