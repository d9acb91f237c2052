"""Lists and single objects for a user: which of these may the user see, change or delete?"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any, TypeAlias, TypeVar, overload

from django.db.models import Model
from django.shortcuts import aget_object_or_404, get_object_or_404

from ._asking import denial_to
from ._driving import arun, run
from ._flow import Call, Flow
from ._lists import arun_list, expression_for, queryset_for
from ._pending import pending

if TYPE_CHECKING:
    from django.contrib.auth.models import AbstractBaseUser, AnonymousUser
    from django.db.models import Manager, QuerySet
    from django.db.models.expressions import Combinable

    User: TypeAlias = AbstractBaseUser | AnonymousUser
    M = TypeVar("M", bound=Model)

__all__ = [
    "aget_object_for_user",
    "aget_objects_for_user",
    "apermitted",
    "get_object_for_user",
    "get_objects_for_user",
    "permitted",
]


def permitted(user: User, perm: str, model: type[Model]) -> Combinable:
    """Return a condition for the objects on which a user has a permission.

    Use it in ``filter()``, ``exclude()``, ``annotate()`` and ``Case``, on querysets of the model.
    You can combine it with ``&``, ``|`` and ``~``. It's true or false, never null, and adds no
    joins. A queryset of another model raises `TypeError`.

    Args:
        user: The user.
        perm: The permission, ``app_label.codename``.
        model: The model, which has to own the permission.

    Returns:
        A conditional expression: `Exists`, or a constant.

    Raises:
        NoQueryFormError: An access method for the permission has no query form.
        ImproperlyConfigured: The model doesn't own the permission, or another backend may
            decide about objects.
        NotADecisionError: A query form returned something that isn't a condition.
        PermissionRecursionError: A query form asks for the list that it is part of.
        SynchronousOnlyOperation: This thread runs an event loop, and the permissions of the user
            aren't cached.
    """
    return run(expression_for(user, perm, model))


@pending
async def apermitted(user: User, perm: str, model: type[Model]) -> Combinable:
    """Return a condition for the objects on which a user has a permission, see `permitted`."""
    return await arun_list(user, expression_for(user, perm, model))


@overload
def get_objects_for_user(user: User, perm: str, klass: QuerySet[M]) -> QuerySet[M]: ...
@overload
def get_objects_for_user(user: User, perm: str, klass: type[M] | Manager[M]) -> QuerySet[M]: ...
@overload
def get_objects_for_user(user: User, perm: str, klass: None = None) -> QuerySet[Any]: ...
def get_objects_for_user(user: User, perm: str, klass: Any = None) -> QuerySet[Any]:
    """Return the objects on which a user has a permission.

    Args:
        user: The user.
        perm: The permission, ``app_label.codename``.
        klass: A model, a manager or a queryset; by default the model of the permission.

    Returns:
        A lazy queryset, which selects each of the objects once.

    Raises:
        NoQueryFormError: An access method for the permission has no query form.
        ImproperlyConfigured: The model doesn't own the permission, no model or several do, or
            another backend may decide about objects.
        TypeError: ``klass`` is something else, or a queryset that has been sliced or has an
            annotation with the name of a field.
        NotSupportedError: ``klass`` is a union, an intersection or a difference.
        NotADecisionError: A query form returned something that isn't a condition.
        PermissionRecursionError: A query form asks for the list that it is part of.
        SynchronousOnlyOperation: This thread runs an event loop, and the permissions of the user
            aren't cached.
    """
    return run(queryset_for(user, perm, klass))


@overload
async def aget_objects_for_user(user: User, perm: str, klass: QuerySet[M]) -> QuerySet[M]: ...
@overload
async def aget_objects_for_user(
    user: User, perm: str, klass: type[M] | Manager[M]
) -> QuerySet[M]: ...
@overload
async def aget_objects_for_user(user: User, perm: str, klass: None = None) -> QuerySet[Any]: ...
@pending
async def aget_objects_for_user(user: User, perm: str, klass: Any = None) -> QuerySet[Any]:
    """Return the objects on which a user has a permission, see `get_objects_for_user`.

    Returns:
        A queryset that has not been evaluated.
    """
    return await arun_list(user, queryset_for(user, perm, klass))


def get_object_for_user(
    user: User, perm: str, klass: type[M] | Manager[M] | QuerySet[M], *args: Any, **kwargs: Any
) -> M:
    """Return an object, if a user has a permission on it.

    The user's cache is cleared, and the check is made after the object has been fetched. So with a
    queryset that uses ``select_for_update()``, the answer is valid for as long as the object is
    locked.

    Args:
        user: The user.
        perm: The permission, ``app_label.codename``.
        klass: A model, a manager or a queryset.
        *args: Conditions, see `django.shortcuts.get_object_or_404`.
        **kwargs: Lookups.

    Returns:
        The object.

    Raises:
        Http404: There is no such object.
        PermissionDenied: The user doesn't have the permission on it. The attribute
            ``explanation`` of the exception says why.
        MultipleObjectsReturned: There is more than one.
        TypeError: ``klass`` selects values instead of objects.
        NotADecisionError: An access method returned something that isn't an answer.
        AsyncMethodError: An access method is async, and this thread runs an event loop.
        PermissionRecursionError: The check is already running in this context.
    """
    found: M = run(_object_for(user, perm, klass, *args, **kwargs))
    return found


@pending
async def aget_object_for_user(
    user: User, perm: str, klass: type[M] | Manager[M] | QuerySet[M], *args: Any, **kwargs: Any
) -> M:
    """Return an object, if a user has a permission on it, see `get_object_for_user`."""
    found: M = await arun(_object_for(user, perm, klass, *args, **kwargs))
    return found


def _object_for(user: object, perm: str, klass: Any, *args: Any, **kwargs: Any) -> Flow[Any]:
    found = yield Call(
        partial(get_object_or_404, klass, *args, **kwargs),
        partial(aget_object_or_404, klass, *args, **kwargs),
    )
    if not isinstance(found, Model):
        raise TypeError(f"`klass` selects values, not objects: it found {type(found).__name__}.")
    # Cached decisions may be older than the object, which may have waited for a lock.
    denial = yield from denial_to(user, perm, found, is_anew=True)
    if denial is not None:
        raise denial
    return found
