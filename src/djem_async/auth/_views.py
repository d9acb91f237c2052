"""Decides whether a view may run, for the decorator and the mixins."""

from collections.abc import Iterable, Mapping
from functools import lru_cache
from typing import Any, Final, TypeAlias

from django.core.exceptions import ImproperlyConfigured, PermissionDenied
from django.db.models import Model

from .._asking import denial_of, denial_to, refused
from .._flow import Call, Flow, where_allowed
from .._lazy import plain_text
from .._lineage import models_with
from .._look_up import NOT_GIVEN
from .._methods import decider, stored_models
from ..conf import conf
from ._users import user_of
from .lookup import Lookup, fetch

ViewPermission: TypeAlias = str | tuple[str, str | Lookup]
"""The name of a permission; or a pair of the name and a `Lookup` or the view argument that has the
primary key of the object."""


LATE: Final = (
    "{} authenticates after its permissions would be checked, so another user might be checked. Use"
    " djem_async.contrib.rest_framework.ObjectPermissions, or a permission class of your own that"
    " calls `request.user.has_perm(perm, obj)`."
)


def authenticates_late(kind: object) -> bool:
    """Tell whether a view class authenticates by itself, as in Django REST framework."""
    return hasattr(kind, "perform_authentication")


def validated(perms: Iterable[Any]) -> tuple[ViewPermission, ...]:
    """Check the form of the permissions that a view requires.

    Args:
        perms: Permission names, and pairs of a name and a view argument or a `Lookup`.

    Raises:
        ImproperlyConfigured: There are none, one is neither a string nor such a pair, or two
            different objects would be passed in the same argument.
    """
    if isinstance(perms, (str, Mapping)):
        raise ImproperlyConfigured(
            f"The required permissions must be a sequence of names and pairs, not {perms!r}."
        )
    checked: list[ViewPermission] = []
    into: dict[str, str | Lookup] = {}
    for perm in perms:
        match perm:
            case str():
                checked.append(perm)
                continue
            case (str() as name, str() as argument) if argument.isidentifier():
                _take(into, argument, argument)
                checked.append((name, argument))
            case (str() as name, Lookup() as lookup):
                _take(into, lookup.into, lookup)
                checked.append((name, lookup))
            case _:
                raise ImproperlyConfigured(
                    f"{perm!r} is not a permission that a view can require. Pass the name of a"
                    " permission, or a pair of the name and either a Lookup or the view argument"
                    " with the primary key of the object."
                )
    if not checked:
        raise ImproperlyConfigured("No permission is required. Name at least one.")
    return tuple(checked)


def _take(into: dict[str, str | Lookup], argument: str, where: str | Lookup) -> None:
    if into.setdefault(argument, where) != where:
        raise ImproperlyConfigured(
            f"The view would get two different objects as {argument!r}. Use an argument for each."
            " For several permissions on one object, use the same Lookup."
        )


def authorize(
    request: object, perms: Iterable[ViewPermission], view_kwargs: dict[str, Any]
) -> Flow[PermissionDenied | None]:
    """Decide whether the user of a request may run a view, fetching the objects concerned.

    Args:
        request: The request.
        perms: The permissions that the view requires, all of them.
        view_kwargs: The arguments of the view. If all permissions are granted, the objects replace
            the arguments that found them.

    Returns:
        What to raise if the view may not run, None if it may.

    Raises:
        Http404: There is no such object.
        ImproperlyConfigured: The view has no such argument, or it names two different objects.
    """
    user = yield from user_of(request)
    fetched: dict[Lookup, Model] = {}
    passed: dict[str, Any] = {}
    for perm in perms:
        if isinstance(perm, str):
            denial = yield from denied(user, perm)
        else:
            name, where = perm
            lookup = (yield from _by_key(name, where)) if isinstance(where, str) else where
            if lookup is None:
                return (yield from _unknown(user, name))
            if lookup not in fetched:
                fetched[lookup] = yield from _object(lookup, name, view_kwargs, passed)
            obj = passed[lookup.into] = fetched[lookup]
            denial = yield from denied(user, name, obj)
        if denial is not None:
            return denial
    for lookup in fetched:
        for argument in lookup.arguments:
            view_kwargs.pop(argument, None)
    view_kwargs.update(passed)
    return None


def denied(
    user: Any, perm: str, obj: Model = NOT_GIVEN, *, is_anew: bool = False
) -> Flow[PermissionDenied | None]:
    """Ask a user for a permission, as a view does.

    Args:
        user: The user.
        perm: The permission. A malformed name is denied, and so is one that does not exist.
        obj: The object, left out for the model level.
        is_anew: Whether to ignore the cache.

    Returns:
        What to raise if it is denied, None if it is granted.
    """
    name = plain_text(perm)
    app_label, _, codename = name.partition(".")
    is_known = bool(app_label and codename)
    # Superusers have every permission, even one that doesn't exist.
    if is_known and (yield from where_allowed(getattr, user, "is_superuser", False)):
        is_known = bool((yield from _models_of(name)))
    if not is_known:
        return (yield from _unknown(user, name))
    return (yield from denial_to(user, name, obj, is_anew=is_anew))


def _unknown(user: Any, perm: str) -> Flow[PermissionDenied]:
    line = f"{perm!r} is not a permission of an installed model."
    return denial_of((yield from refused(user, perm, line)))


def _by_key(perm: str, argument: str) -> Flow[Lookup | None]:
    """Return the lookup for a pair: by primary key, in the model that has the permission."""
    perm = plain_text(perm)
    # Without permissions of models that have been removed.
    found = [model for model in (yield from _models_of(perm)) if model is not None]
    if not found:
        return None
    if len(found) > 1:
        models = ", ".join(sorted(model.__name__ for model in found))
        raise ImproperlyConfigured(
            f"The permission {perm} belongs to more than one model ({models}), so it doesn't say"
            " which of them the object is from. Rename the permissions, or use a Lookup."
        )
    (model,) = found
    other = decider(perm, model)
    if other is not None:
        raise ImproperlyConfigured(
            f"The view requires {perm} on the {model.__name__} given by {argument!r}, but"
            f" {other.__name__} has the access method. If {argument!r} is the primary key of a"
            f" {other.__name__}, pass Lookup({other.__name__}, {argument!r}, pk={argument!r})"
            f" instead of {argument!r}."
        )
    return Lookup(model, argument, pk=argument)


def _models_of(perm: str) -> Flow[list[type[Model] | None]]:
    """Return the models that have a permission. None stands for a removed model."""
    # A permission that has been created by hand may be deleted or moved by hand.
    return _declaring(perm, conf.epoch) or (yield Call(stored_models, None, (perm,)))


@lru_cache(maxsize=1024)
def _declaring(perm: str, _epoch: object) -> list[type[Model] | None]:
    return [*models_with(perm)]


def _check_arguments(lookup: Lookup, perm: str, view_kwargs: Mapping[str, object]) -> None:
    for argument in sorted(lookup.arguments):
        if argument not in view_kwargs:
            raise ImproperlyConfigured(
                f"The view requires {perm} on the object given by {argument!r}, but its URL"
                " passes no keyword argument of that name."
            )
    if lookup.into in view_kwargs and lookup.into not in lookup.arguments:
        raise ImproperlyConfigured(
            f"{lookup!r} passes the object as {lookup.into!r}, but the URL of the view passes"
            " another argument with that name. Choose another name."
        )


def _object(
    lookup: Lookup, perm: str, arguments: Mapping[str, Any], passed: Mapping[str, Any]
) -> Flow[Model]:
    # Another permission, another decorator or a path converter may have fetched it.
    found: object = passed.get(lookup.into, arguments.get(lookup.into))
    if isinstance(found, lookup.model):
        return found
    _check_arguments(lookup, perm, arguments)
    for argument, value in {**arguments, lookup.into: found}.items():
        # In a query on a text field, an object would be converted by its `__str__`.
        if isinstance(value, Model) and argument in {lookup.into, *lookup.arguments}:
            raise ImproperlyConfigured(
                f"The view argument {argument!r} already holds a {type(value).__name__}, so it"
                f" can't be used to find a {lookup.model.__name__}. Use an argument for each."
            )
    return (yield from fetch(lookup, arguments))
