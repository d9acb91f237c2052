"""Object-level permissions in Django's admin.

Inherit `ObjectPermissionsAdmin` in place of `ModelAdmin`, and list `ObjectPermissionsInline` in
front of `TabularInline` or `StackedInline`.
"""

from ._options import ObjectPermissionsAdmin, ObjectPermissionsInline

__all__ = ["ObjectPermissionsAdmin", "ObjectPermissionsInline"]
