"""The options that check permissions on objects: for models, and for inlines."""

from __future__ import annotations

from dataclasses import replace
from functools import partial, wraps
from typing import TYPE_CHECKING, Any

from django.contrib import messages
from django.contrib.admin.options import BaseModelAdmin, InlineModelAdmin, ModelAdmin
from django.db import router

from ._checks import check_options, overrides
from ._choices import (
    Limits,
    PermittedRawIdWidget,
    limited_filter,
    limited_form,
    limited_formset,
)
from ._rows import SEEING, Deletion, may, prefetch_rows, require_add, visible

if TYPE_CHECKING:
    from collections.abc import Callable

    from django.core.checks import CheckMessage
    from django.db.models import ForeignKey, QuerySet
    from django.forms import ModelChoiceField
    from django.http import HttpRequest

    _Base = BaseModelAdmin[Any]
    _ModelAdmin = ModelAdmin[Any]
    _InlineModelAdmin = InlineModelAdmin[Any, Any]
else:
    _Base, _ModelAdmin, _InlineModelAdmin = BaseModelAdmin, ModelAdmin, InlineModelAdmin


class _ObjectPermissions(_Base):
    """The common parts of `ObjectPermissionsAdmin` and `ObjectPermissionsInline`."""

    max_checked_rows = 1000
    """How many objects are checked one by one if an access method has no query form.

    With more objects, lists raise `djem_async.exceptions.NoQueryFormError`.
    """

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        for each, name in overrides(cls):
            if each.__module__.startswith("django."):
                raise TypeError(
                    f"{cls.__name__} lists {each.__name__} first, whose {name} doesn't check"
                    " permissions on objects. List the class of djem_async.contrib.admin first."
                )

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        """Return the objects that the user may view or change.

        Args:
            request: The request.

        Raises:
            NoQueryFormError: An access method has no query form, and there are more than
                `max_checked_rows` objects.
        """
        return visible(request.user, super().get_queryset(request), self.max_checked_rows)

    def get_permitted_choices(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        """Return the objects that fields and filters offer: those the user may view or change.

        Override it to offer objects of models without access methods.

        Args:
            request: The request.
            queryset: Objects of a model that a field refers to.

        Raises:
            NoQueryFormError: See `get_queryset`.
        """
        return visible(request.user, queryset, self.max_checked_rows)

    def formfield_for_foreignkey(
        self, db_field: ForeignKey[Any, Any], request: HttpRequest, **kwargs: Any
    ) -> ModelChoiceField[Any] | None:
        """Return the form field of a foreign key, as in Django."""
        if db_field.name in self.raw_id_fields:
            widget = PermittedRawIdWidget(
                db_field.remote_field, self.admin_site, using=kwargs.get("using")
            )
            kwargs.setdefault("widget", widget)
        return super().formfield_for_foreignkey(db_field, request, **kwargs)


class ObjectPermissionsAdmin(_ObjectPermissions, _ModelAdmin):
    """A `ModelAdmin` that checks the permissions to view, change and delete on each object.

    Example:
        ::

            @admin.register(Product)
            class ProductAdmin(ObjectPermissionsAdmin):
                pass
    """

    def check(self, **kwargs: Any) -> list[CheckMessage]:
        """Return what Django's checks and those of this class find, see `ModelAdmin.check`."""
        found = check_options(self, inlines=self.inlines, actions=self.actions)
        return [*super().check(**kwargs), *found]

    def has_view_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Tell whether the user may view or change an object, or any if there is none.

        See `ModelAdmin.has_view_permission`.
        """
        return super().has_view_permission(request, obj) and self._may(request, obj, *SEEING)

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Tell whether the user may change an object, or any if there is none.

        See `ModelAdmin.has_change_permission`.
        """
        return super().has_change_permission(request, obj) and self._may(request, obj, "change")

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Tell whether the user may delete an object, or any if there is none.

        See `ModelAdmin.has_delete_permission`.
        """
        return super().has_delete_permission(request, obj) and self._may(request, obj, "delete")

    def _may(self, request: HttpRequest, obj: Any, *actions: str) -> bool:
        return obj is None or may(request.user, obj, *actions)

    def get_form(
        self, request: HttpRequest, obj: Any = None, change: bool = False, **kwargs: Any
    ) -> Any:
        """Return the form class of the add and change pages, whose choices are limited.

        See `ModelAdmin.get_form`.
        """
        form = super().get_form(request, obj, change=change, **kwargs)
        return limited_form(form, self._limits(request))

    def save_form(self, request: HttpRequest, form: Any, change: bool) -> Any:
        """Return the object of a form, which hasn't been saved, if the user may add a new one.

        Args:
            request: The request.
            form: The form, which is valid.
            change: Whether the object exists.

        Raises:
            PermissionDenied: An access method denies adding it.
        """
        obj = super().save_form(request, form, change)
        if not change:
            require_add(request.user, obj)
        return obj

    def get_changelist_formset(self, request: HttpRequest, **kwargs: Any) -> Any:
        """Return the formset class for ``list_editable``, which edits what may be changed.

        See `ModelAdmin.get_changelist_formset`.
        """
        formset = super().get_changelist_formset(request, **kwargs)
        made = limited_formset(formset, self._limits(request))
        made.edit_only = True  # early releases of Django 5.2 add forged rows
        return made

    def _limits(self, request: HttpRequest) -> Limits:
        is_permitted = partial(self._is_permitted, request)
        return Limits(request, self.get_permitted_choices, is_permitted)

    def _is_permitted(self, request: HttpRequest, action: str, obj: Any) -> bool:
        has_permission: Callable[..., bool] = getattr(self, f"has_{action}_permission")
        return has_permission(request, obj)

    def get_list_filter(self, request: HttpRequest) -> Any:
        """Return the filters of the changelist, whose choices are limited.

        See `ModelAdmin.get_list_filter`.
        """
        choices = self.get_permitted_choices
        return [limited_filter(item, choices) for item in super().get_list_filter(request)]

    def get_actions(self, request: HttpRequest, action_location: Any = None) -> dict[str, Any]:
        """Return the actions, which ask for their permissions on each selected object.

        Args:
            request: The request.
            action_location: Where the actions are offered, from Django 6.1.
        """
        location = () if action_location is None else (action_location,)
        actions: dict[str, Any] = super().get_actions(request, *location)
        return {name: self._guarded(action) for name, action in actions.items()}

    def _guarded(self, action: Any) -> Any:
        if hasattr(action, "func"):  # pragma: no cover - from Django 6.1, and measured on 5.2
            return replace(action, func=self._asking(action.func))
        return (self._asking(action[0]), *action[1:])

    def _asking(self, func: Callable[..., Any]) -> Callable[..., Any]:
        names: list[str] = getattr(func, "allowed_permissions", [])
        if not names:
            return func

        @wraps(func)
        def asking(modeladmin: Any, request: HttpRequest, queryset: QuerySet[Any]) -> Any:
            rows = list(queryset)
            prefetch_rows(request.user, rows, *names)
            granted = [
                row.pk
                for row in rows
                if any(self._is_permitted(request, name, row) for name in names)
            ]
            if denied := len(rows) - len(granted):
                self.message_user(
                    request,
                    f"Nothing was done: you don't have permission for this action on {denied} of"
                    f" the {len(rows)} selected objects.",
                    messages.ERROR,
                )
                return None
            # Not objects that match only since the check.
            return func(modeladmin, request, queryset.filter(pk__in=granted))

        return asking

    def get_deleted_objects(self, objs: Any, request: HttpRequest) -> Any:
        """Return the objects deleted along with others, and those the user may not delete.

        Args:
            objs: The objects.
            request: The request.
        """
        deletion = Deletion(request.user, objs, router.db_for_write(self.model))
        deleted, count, needed, protected = super().get_deleted_objects(objs, request)
        needed |= {str(row._meta.verbose_name) for row in deletion.denied()}
        deleted, protected = deletion.texts(deleted, protected)
        return deleted, count, needed, protected


class ObjectPermissionsInline(_ObjectPermissions, _InlineModelAdmin):
    """An inline that checks the permissions to view, change and delete on each row.

    The methods ``has_*_permission`` are Django's: they get the parent object, and answer for the
    model of the rows.

    Example:
        ::

            class NoteInline(ObjectPermissionsInline, admin.TabularInline):
                model = Note
    """

    def check(self, **kwargs: Any) -> list[CheckMessage]:
        """Return what Django's checks and those of this class find, see `ModelAdmin.check`."""
        return [*super().check(**kwargs), *check_options(self)]

    def get_formset(self, request: HttpRequest, obj: Any = None, **kwargs: Any) -> Any:
        """Return the formset class, which edits and deletes what the user may edit and delete.

        See `InlineModelAdmin.get_formset`.
        """
        formset = super().get_formset(request, obj, **kwargs)

        def is_permitted(action: str, row: Any) -> bool:
            return may(request.user, row, action)

        limits = Limits(request, self.get_permitted_choices, is_permitted)
        return limited_formset(formset, limits)
