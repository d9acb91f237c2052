"""System checks for options with which the admin shows too much or fails."""

from __future__ import annotations

from inspect import getclosurevars, isfunction, signature, unwrap
from itertools import takewhile
from typing import TYPE_CHECKING, Any, Final

from django.core.checks import CheckMessage, Error
from django.core.checks import Warning as CheckWarning
from django.core.exceptions import ImproperlyConfigured

from ..._backends import require_lists
from ..._methods import find_query_forms, require_permission
from ...exceptions import NoQueryFormError
from ._rows import SEEING, perms_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from django.db.models import Model

# Overrides have to call these. Overrides of other methods may decide as they like.
_LIMITING: Final = (
    "formfield_for_foreignkey",
    "get_actions",
    "get_changelist_formset",
    "get_deleted_objects",
    "get_form",
    "get_formset",
    "get_list_filter",
    "get_queryset",
)
_ADMIN: Final = "djem_async.contrib.admin.ObjectPermissionsAdmin"
_INLINE: Final = "djem_async.contrib.admin.ObjectPermissionsInline"


def check_options(options: Any, *, inlines: Any = (), actions: Any = ()) -> Iterator[CheckMessage]:
    """Find mistakes in the options of a model or an inline.

    Args:
        options: The options.
        inlines: The classes of its inlines.
        actions: Its actions, as Django's options have them.
    """
    yield from _check_overrides(options)
    yield from _check_lists(options)
    yield from _check_pages(options)
    for inline in inlines:
        if not _is_ours(inline):
            yield CheckWarning(
                f"{inline.__name__} isn't an ObjectPermissionsInline, so it shows and edits rows"
                " without checking permissions on them.",
                hint=f"Inherit {_INLINE} in it.",
                obj=type(options),
                id="djem_async.W104",
            )
    for action in actions or ():
        func = action if callable(action) else getattr(options, action, None)
        yield from _check_permissions(options, getattr(func, "allowed_permissions", ()))


def _is_ours(options: Any) -> bool:
    return hasattr(options, "get_permitted_choices")


def _is_theirs(cls: type) -> bool:
    return not cls.__module__.startswith(f"{__package__}.")


def _check_overrides(options: Any) -> Iterator[CheckMessage]:
    """Find overrides that bypass this package."""
    for each, name in overrides(options.__class__):
        yield CheckWarning(
            f"{each.__name__}.{name} doesn't call super(), so permissions on objects don't limit"
            " what it returns.",
            hint=f"Begin with what `super().{name}(...)` returns.",
            obj=type(options),
            id="djem_async.W102",
        )


def overrides(kind: type) -> Iterator[tuple[type, str]]:
    """Find methods that don't call super(), in classes ahead of those of this package."""
    for each in takewhile(_is_theirs, kind.__mro__):
        for name in _LIMITING:
            method: Any = vars(each).get(name)
            if isfunction(method) and "super" not in getclosurevars(unwrap(method)).builtins:
                yield each, name


def _related(options: Any) -> Iterator[tuple[str, type[Model]]]:
    opts = options.model._meta
    for field in (*opts.fields, *opts.many_to_many):
        if field.remote_field is not None:
            yield field.name, field.remote_field.model


def _check_lists(options: Any) -> Iterator[CheckMessage]:
    """Find models that can't be listed, or only by checking each of their objects."""
    try:
        require_lists()
    except ImproperlyConfigured as error:
        yield Error(
            f"The admin can't list objects: {error}", obj=type(options), id="djem_async.E101"
        )
        return
    models = dict.fromkeys([options.model, *(model for _, model in _related(options))])
    for model in models:
        for perm in perms_of(model, SEEING):
            try:
                require_permission(perm, model)
                find_query_forms(model, perm)
            except TypeError:
                pass  # E006 reports it
            except NoQueryFormError:
                yield CheckWarning(
                    f"An access method for {perm} has no query form, so the admin checks each"
                    f" {model.__name__} whenever it lists them, and raises an error if there are"
                    f" more than {options.max_checked_rows}.",
                    hint="Write the access method as a query form: a class method"
                    f" `_quser_can_{perm.partition('.')[2]}` that returns a Q.",
                    obj=type(options),
                    id="djem_async.W101",
                )
            except ImproperlyConfigured as error:
                yield Error(
                    f"The admin can't list {model.__name__}: {error}",
                    hint=f"Correct that, or use Django's own options for {model.__name__}.",
                    obj=type(options),
                    id="djem_async.E101",
                )


def _check_pages(options: Any) -> Iterator[CheckMessage]:
    """Find fields that let users choose objects on pages that show all of them."""
    for name, model in _related(options):
        if name in (*options.autocomplete_fields, *options.raw_id_fields):
            site = options.admin_site
            if site.is_registered(model) and not _is_ours(site.get_model_admin(model)):
                yield CheckWarning(
                    f"Objects for {name!r} are chosen from those that the admin of"
                    f" {model.__name__} lists, which isn't an ObjectPermissionsAdmin.",
                    hint=f"Inherit {_ADMIN} in it.",
                    obj=type(options),
                    id="djem_async.W103",
                )


def _check_permissions(options: Any, names: Any) -> Iterator[CheckMessage]:
    """Find permissions of actions that can't be checked on an object."""
    for name in names:
        method: Callable[..., Any] = getattr(options, f"has_{name}_permission", lambda *_: None)
        try:
            signature(method).bind(None, None)
        except TypeError:
            yield Error(
                f"has_{name}_permission takes no object, so an action can't check each of them.",
                hint=f"Write it as `def has_{name}_permission(self, request, obj=None)`.",
                obj=type(options),
                id="djem_async.E102",
            )
