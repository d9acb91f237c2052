"""Limits the choices of forms and filters, and the rows of formsets that can be edited."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

from django.contrib.admin.filters import (
    AllValuesFieldListFilter,
    FieldListFilter,
    RelatedFieldListFilter,
)
from django.contrib.admin.widgets import ForeignKeyRawIdWidget
from django.core.exceptions import PermissionDenied, ValidationError
from django.db.models import Q
from django.forms import ModelChoiceField
from django.forms.formsets import DELETION_FIELD_NAME
from django.utils.functional import cached_property

from ._rows import Deletion, prefetch_rows, require_add

if TYPE_CHECKING:
    from collections.abc import Callable

    from django.db.models import Model, QuerySet
    from django.forms import BaseForm
    from django.forms.models import BaseInlineFormSet
    from django.http import HttpRequest

    Choices = Callable[[HttpRequest, QuerySet[Any]], QuerySet[Any]]
    _FormSet = BaseInlineFormSet[Any, Any, Any]
else:
    BaseForm = _FormSet = object


class PermittedRawIdWidget(ForeignKeyRawIdWidget):
    """Shows the chosen object only if the field may offer it."""

    choices: Any
    """Set by the field."""

    def label_and_url_for_value(self, value: Any) -> tuple[str, str]:
        """Return the text and the URL of an object, both empty if it isn't offered."""
        label, url = super().label_and_url_for_value(value)
        if label or url:
            lookup = {self.rel.get_related_field().name: value}
            if not self.choices.queryset.filter(**lookup).exists():
                return "", ""
        return label, url


class Limits:
    """The objects that the user of a request may choose and edit."""

    def __init__(
        self,
        request: HttpRequest,
        choices: Choices,
        may: Callable[[str, Any], bool],
    ) -> None:
        """Take the rules from the options.

        Args:
            request: The request.
            choices: Returns the objects of a queryset that may be offered.
            may: Tells whether the user may do something with a row of a formset.
        """
        self.user: Any = request.user
        self.may = may
        self._request = request
        self._choices = choices
        self._offered: dict[tuple[type[Model], str], QuerySet[Any]] = {}

    def limit(self, form: Any) -> None:
        """Limit the objects that the fields of a form offer and accept."""
        for name, field in form.fields.items():
            queryset: Any = getattr(field, "queryset", None)
            if isinstance(field, ModelChoiceField) and queryset is not None:
                offered = Q(pk__in=self._offered_of(queryset.model, queryset.db))
                field.queryset = queryset.filter(offered | _current(form.instance, name))

    def _offered_of(self, model: type[Model], alias: str) -> QuerySet[Any]:
        """Return the primary keys that may be offered. They're decided once for all forms."""
        key = model, alias
        if key not in self._offered:
            objects = model._default_manager.using(alias)
            self._offered[key] = self._choices(self._request, objects).values("pk")
        return self._offered[key]


def _current(obj: Model, name: str) -> Q:
    """Return the condition for the objects that a field of a saved object refers to.

    Without it, saving the form would change a reference to an object that the user may not view.
    """
    opts = obj._meta
    fields: dict[str, Any] = {each.name: each for each in (*opts.fields, *opts.many_to_many)}
    field = fields.get(name)
    if obj._state.adding or field is None or field.remote_field is None:
        return Q()
    if field.many_to_many:
        return Q(pk__in=getattr(obj, name).values("pk"))
    value = getattr(obj, field.attname)
    return Q() if value is None else Q(**{field.target_field.name: value})


class LimitedForm(BaseForm):
    """A form that offers and accepts only objects that the user may view."""

    limits: Limits

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.limits.limit(self)


class LimitedRow(BaseForm):
    """A form of a row, which may be denied."""

    instance: Any
    limits: Limits
    may_change = True

    @cached_property
    def changed_data(self) -> list[str]:
        """Return the changed fields, none if the user may not change the row."""
        names: list[str] = super().changed_data
        return [name for name in names if self.may_change or name == DELETION_FIELD_NAME]

    def hand_clean_DELETE(self) -> None:  # noqa: N802 - Django's name
        """Explain why a row can't be deleted, without naming objects the user may not view."""
        form: Any = super()
        row = self.instance
        try:
            form.hand_clean_DELETE()
        except ValidationError:
            if Deletion(self.limits.user, [row], row._state.db).hides_protected():
                text = f"{row} can't be deleted: objects that you may not view refer to it."
                raise ValidationError(text) from None
            raise


class LimitedFormSet(_FormSet):
    """A formset that only edits and deletes rows that the user may edit and delete."""

    limits: Limits

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        prefetch_rows(self.limits.user, list(self.get_queryset()), "change", "delete")

    def add_fields(self, form: Any, index: Any) -> None:
        """Add Django's fields, and disable what the user may not do with the row."""
        super().add_fields(form, index)
        self.limits.limit(form)
        row = form.instance
        if row._state.adding:
            return
        form.may_change = self.limits.may("change", row)
        if not form.may_change:
            # Django ignores submitted values of disabled fields, and the row isn't validated.
            form.empty_permitted, form.use_required_attribute = True, False
            for field in form.fields.values():
                field.disabled = True
        if DELETION_FIELD_NAME in form.fields:
            form.fields[DELETION_FIELD_NAME].disabled = not self.limits.may("delete", row)

    def save_new(self, form: Any, commit: bool = True) -> Any:
        """Save a new row, if the user may add it."""
        require_add(self.limits.user, super().save_new(form, commit=False))
        return super().save_new(form, commit)

    def delete_existing(self, obj: Any, commit: bool = True) -> None:
        """Delete a row, if the user may delete all that goes with it."""
        if Deletion(self.limits.user, [obj], obj._state.db).denied():
            raise PermissionDenied
        super().delete_existing(obj, commit)


def limited_form(base: Any, limits: Limits, kind: type = LimitedForm) -> Any:
    """Make a form class with limits.

    Args:
        base: The class from Django's options.
        limits: The limits.
        kind: What to add to the class.
    """
    made: Any = type(base)(base.__name__, (kind, base), {"limits": limits})
    made.base_fields = base.base_fields  # options may have changed them
    return made


def limited_formset(base: Any, limits: Limits) -> Any:
    """Make a formset class with limits, see `limited_form`."""
    form = limited_form(base.form, limits, LimitedRow)
    return type(base)(base.__name__, (LimitedFormSet, base), {"limits": limits, "form": form})


def limited_filter(item: Any, choices: Choices) -> Any:
    """Return an item of ``list_filter`` whose choices name only what the user may view.

    Args:
        item: The name of a field, a pair of it and a class, or a filter that isn't of a field.
        choices: Returns the objects of a queryset that may be offered.
    """
    if callable(item):
        return item
    is_pair = isinstance(item, (list, tuple))
    path, make = cast("Any", item) if is_pair else (item, FieldListFilter.create)

    def create(field: Any, request: HttpRequest, *args: Any, **kwargs: Any) -> Any:
        made: Any = make(field, request, *args, **kwargs)
        if isinstance(made, RelatedFieldListFilter):
            target = field.target_field
            offered = choices(request, target.model._default_manager.all())
            values = set(offered.values_list(target.attname, flat=True))
            made.lookup_choices = [each for each in made.lookup_choices if each[0] in values]
        elif isinstance(made, AllValuesFieldListFilter):
            # The choices of another model, if the path leads to one.
            found: Any = made.lookup_choices
            offered = choices(request, found.model._default_manager.all())
            made.lookup_choices = found.filter(pk__in=offered.values("pk"))
        return made

    return path, create
