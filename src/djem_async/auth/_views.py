"""Deciding whether a view may run, for the decorator and the mixin."""

from collections.abc import Iterable, Mapping
from typing import Any, TypeAlias

from django.contrib.auth.models import AbstractBaseUser, AnonymousUser, Permission
from django.core.exceptions import ImproperlyConfigured, ValidationError
from django.db.models import Model
from django.http import Http404
from django.shortcuts import aget_object_or_404, get_object_or_404

from .._backends import ask
from .._flow import Call, Flow
from .._twins import required_forms

ViewPermission: TypeAlias = str | tuple[str, str]
"""The name of a permission, or that and the view argument with the object's primary key."""


def validated(perms: Iterable[Any]) -> tuple[ViewPermission, ...]:
    """Check the form of the permissions that a view requires.

    Args:
        perms: Permission names, and pairs of a name and a view argument.

    Raises:
        ImproperlyConfigured: There are none, or one is neither a string nor such a pair.
    """
    if isinstance(perms, (str, Mapping)):
        raise ImproperlyConfigured(
            f"The required permissions are given as {perms!r}. Give a sequence of names and pairs."
        )
    checked: list[ViewPermission] = []
    for perm in perms:
        match perm:
            case str():
                checked.append(perm)
            case (str() as name, str() as argument) if argument.isidentifier():
                checked.append((name, argument))
            case _:
                raise ImproperlyConfigured(
                    f"{perm!r} is not a permission that a view can require. Give the name of a"
                    " permission, or a pair: that name and the view argument that holds the"
                    " primary key of the object."
                )
    if not checked:
        raise ImproperlyConfigured("No permission is required. Name at least one.")
    return tuple(checked)


def authorize(
    user: AbstractBaseUser | AnonymousUser,
    perms: Iterable[ViewPermission],
    view_kwargs: dict[str, Any],
) -> Flow[bool]:
    """Decide whether a user may run a view, fetching the objects concerned.

    Args:
        user: The user.
        perms: What the view requires; all of it must be granted.
        view_kwargs: The arguments of the view. An object that has been fetched replaces its
            primary key.

    Returns:
        Whether the view may run.

    Raises:
        Http404: There is no object with that primary key.
        ImproperlyConfigured: The view has no such argument, or it names two different objects.
    """
    for perm in perms:
        obj: Model | None = None
        name = perm if isinstance(perm, str) else perm[0]
        app_label, _, codename = name.partition(".")
        if not (app_label and codename):
            return False
        if not isinstance(perm, str):
            model = yield from _model_of(name)
            if model is None:
                return False
            argument = perm[1]
            if argument not in view_kwargs:
                raise ImproperlyConfigured(
                    f"The view requires {name} on the object given by {argument!r}, but its URL"
                    " passes no keyword argument of that name."
                )
            obj = view_kwargs[argument] = yield from _object(model, view_kwargs[argument], argument)
        if not (yield from ask(None, required_forms(user, "has_perm"), name, obj)):
            return False
        if obj is None and getattr(user, "is_superuser", False) and not (yield from _named(name)):
            return False  # superusers have every permission, even one that does not exist
    return True


def _named(perm: str) -> Flow[list[Permission]]:
    if not _is_storable(perm):
        return []
    app_label, _, codename = perm.partition(".")
    query = Permission.objects.select_related("content_type").filter(
        content_type__app_label=app_label, codename=codename
    )
    found: list[Permission] = yield Call(list, None, (query,))
    # Without what a database finds that compares without regard to case.
    return [
        permission
        for permission in found
        if (permission.content_type.app_label, permission.codename) == (app_label, codename)
    ]


def _model_of(perm: str) -> Flow[type[Model] | None]:
    # Without what a model that is no more has left behind.
    found = [
        model
        for permission in (yield from _named(perm))
        if (model := permission.content_type.model_class()) is not None
    ]
    if len(found) > 1:
        models = ", ".join(sorted(model.__name__ for model in found))
        raise ImproperlyConfigured(
            f"The permission {perm} belongs to more than one model ({models}), so the object"
            " cannot be found by it. Give the permissions different codenames."
        )
    return found[0] if found else None


def _object(model: type[Model], value: object, argument: str) -> Flow[Model]:
    if isinstance(value, model):
        return value  # another check of this view has fetched it
    if isinstance(value, Model):
        raise ImproperlyConfigured(
            f"The view argument {argument!r} already holds a {type(value).__name__}, so it cannot"
            f" also name a {model.__name__}. Use an argument for each."
        )
    if not _is_storable(str(value)):
        raise Http404(f"{value!r} is not a primary key of a {model.__name__}.")
    try:
        found: Model = yield Call(_get, _aget, (model, value))
    except (ValueError, OverflowError, ValidationError) as error:
        raise Http404(f"{value!r} is not a primary key of a {model.__name__}.") from error
    return found


def _is_storable(text: str) -> bool:
    """Tell whether a database can have a text at all.

    Asking for another is an error, after which PostgreSQL refuses the rest of the transaction.
    """
    return "\0" not in text and not any("\ud800" <= character <= "\udfff" for character in text)


def _get(model: type[Model], pk: object) -> Model:
    return get_object_or_404(model, pk=pk)


async def _aget(model: type[Model], pk: object) -> Model:
    return await aget_object_or_404(model, pk=pk)
