"""The authentication backend that asks the access methods of objects."""

from collections.abc import Sequence
from typing import Any

from django.contrib.auth.models import AbstractBaseUser, AnonymousUser, Permission
from django.db.models import Model, Q, QuerySet
from django.http import HttpRequest

from .._check_logs import dropped
from .._driving import arun, run, twin
from .._flow import Call, Flow
from .._lazy import loaded
from .._lineage import lineage
from .._objects import check_of_object, is_active, is_implicit
from .._running import Check
from .._twins import ours
from ..access import SOURCES, Source
from ..logs import Loggable


def _has_perm(user_obj: object, perm: str, obj: object) -> Flow[bool]:
    user, found = (yield from loaded(user_obj)), (yield from loaded(obj))
    return (yield from check_of_object(Check(user), perm, found))


def _permissions(user_obj: object, given: object, sources: Sequence[Source]) -> Flow[set[str]]:
    user, found = (yield from loaded(user_obj)), (yield from loaded(given))
    if not issubclass(type(found), Model) or not is_active(user):
        return set()
    obj: Model = found
    labels: Any = yield Call(list, None, (_permissions_of(obj),))
    perms = {f"{app_label}.{codename}" for app_label, codename in labels}
    if is_implicit(user):
        return perms
    check = Check(user)
    granted: set[str] = set()
    for perm in sorted(perms):
        decision = check_of_object(check, perm, obj, sources)
        if issubclass(type(user), Loggable):
            # What the access methods log is dropped: these are questions, not checks.
            with dropped(check, perm):
                is_granted = yield from decision
        else:
            is_granted = yield from decision
        if is_granted:
            granted.add(perm)
    return granted


def _permissions_of(obj: Model) -> QuerySet[Permission, tuple[str, str]]:
    """Select the permissions of an object's model and of all models that it inherits from."""
    models = Q()
    for opts in lineage(type(obj)):
        models |= Q(content_type__app_label=opts.app_label, content_type__model=opts.model_name)
    return Permission.objects.filter(models).values_list("content_type__app_label", "codename")


class ObjectPermissionsBackend:
    """Grants and denies permissions on objects by asking their access methods.

    It works with every user model that Django's permissions work with. List it in
    ``AUTHENTICATION_BACKENDS`` after `django.contrib.auth.backends.ModelBackend`.

    It authenticates nobody and loads no users. That is why it does not inherit
    `django.contrib.auth.backends.BaseBackend`: Django would take it for a backend that loads
    users (https://code.djangoproject.com/ticket/36837).
    """

    def authenticate(self, request: HttpRequest | None, **credentials: Any) -> None:
        """Authenticate nobody.

        Args:
            request: The request.
            **credentials: The credentials.
        """

    async def aauthenticate(self, request: HttpRequest | None, **credentials: Any) -> None:
        """Authenticate nobody, see `authenticate`."""

    @ours
    def has_perm(
        self, user_obj: AbstractBaseUser | AnonymousUser, perm: str, obj: Model | None = None
    ) -> bool:
        """Tell whether a user has a permission on an object.

        The user must have the permission at the model level, from whichever backend. Then the
        access methods of the object decide; if it has none, the permission is granted.

        Args:
            user_obj: The user.
            perm: The permission, ``app_label.codename``.
            obj: The object. This backend has no say where there is none, or one that
                is not a model instance.

        Returns:
            Whether the permission is granted.

        Raises:
            PermissionRecursionError: The check is already running in this context.
            AsyncMethodError: An access method is async, and this thread runs an event loop.
            NotADecisionError: An access method returned something that cannot be an answer.
        """
        return run(_has_perm(user_obj, perm, obj))

    @ours
    @twin
    async def ahas_perm(
        self, user_obj: AbstractBaseUser | AnonymousUser, perm: str, obj: Model | None = None
    ) -> bool:
        """Tell whether a user has a permission on an object, see `has_perm`."""
        return await arun(_has_perm(user_obj, perm, obj))

    @ours
    def get_user_permissions(
        self, user_obj: AbstractBaseUser | AnonymousUser, obj: Model | None = None
    ) -> set[str]:
        """Return the permissions on an object that a check would grant, going by the user.

        Args:
            user_obj: The user.
            obj: The object.

        Returns:
            The names of the permissions: those of the object's model and of the models it
            inherits from. Empty without an object, and for inactive and anonymous users.
        """
        return run(_permissions(user_obj, obj, ("user",)))

    @ours
    @twin
    async def aget_user_permissions(
        self, user_obj: AbstractBaseUser | AnonymousUser, obj: Model | None = None
    ) -> set[str]:
        """Return the permissions that a check would grant, see `get_user_permissions`."""
        return await arun(_permissions(user_obj, obj, ("user",)))

    @ours
    def get_group_permissions(
        self, user_obj: AbstractBaseUser | AnonymousUser, obj: Model | None = None
    ) -> set[str]:
        """Return the permissions on an object that a check would grant, going by groups.

        Args:
            user_obj: The user.
            obj: The object.

        Returns:
            The names of the permissions, see `get_user_permissions`.
        """
        return run(_permissions(user_obj, obj, ("group",)))

    @ours
    @twin
    async def aget_group_permissions(
        self, user_obj: AbstractBaseUser | AnonymousUser, obj: Model | None = None
    ) -> set[str]:
        """Return the permissions that a check would grant, see `get_group_permissions`."""
        return await arun(_permissions(user_obj, obj, ("group",)))

    @ours
    def get_all_permissions(
        self, user_obj: AbstractBaseUser | AnonymousUser, obj: Model | None = None
    ) -> set[str]:
        """Return the permissions on an object that a check would grant.

        Args:
            user_obj: The user.
            obj: The object.

        Returns:
            The names of the permissions, see `get_user_permissions`.
        """
        return run(_permissions(user_obj, obj, SOURCES))

    @ours
    @twin
    async def aget_all_permissions(
        self, user_obj: AbstractBaseUser | AnonymousUser, obj: Model | None = None
    ) -> set[str]:
        """Return the permissions that a check would grant, see `get_all_permissions`."""
        return await arun(_permissions(user_obj, obj, SOURCES))
