"""The filter backend: lists hold what the user has a permission on."""

from typing import Any

from django.db.models import Model, QuerySet
from rest_framework.filters import BaseFilterBackend

from ..._driving import run
from ...auth._users import user_of
from ...shortcuts import get_objects_for_user


class ObjectPermissionsFilter(BaseFilterBackend):
    """Keeps the objects on which the user has a permission, by default `view`.

    The database filters, so pages and counts are right. Views that fetch a single object use
    filters as well: what the list doesn't hold is a 404.

    Attributes:
        perm_format: The permission, with the placeholders ``%(app_label)s`` and ``%(model_name)s``.
    """

    perm_format = "%(app_label)s.view_%(model_name)s"

    @classmethod
    def get_perm(cls, model: type[Model]) -> str:
        """Return the permission on objects of a model.

        Args:
            model: The model, which fills in ``perm_format``.
        """
        opts = model._meta
        return cls.perm_format % {"app_label": opts.app_label, "model_name": opts.model_name}

    def filter_queryset(self, request: Any, queryset: QuerySet[Any], view: Any) -> QuerySet[Any]:
        """Filter a queryset by the permissions of the user.

        Args:
            request: The request.
            queryset: What to filter.
            view: The view, which isn't used.

        Returns:
            The objects on which the user has the permission.

        Raises:
            NoQueryFormError: An access method for the permission has no query form.
            ImproperlyConfigured: The model doesn't own the permission, or a configured backend may
                decide on objects in its own way.
        """
        user = run(user_of(request))
        return get_objects_for_user(user, self.get_perm(queryset.model), queryset)
