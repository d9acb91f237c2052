"""The authentication backends that ask the access methods of objects."""

from collections.abc import Iterable, Sequence
from typing import Any, cast

from django.contrib.auth import get_user_model
from django.contrib.auth.backends import BaseBackend
from django.contrib.auth.backends import ModelBackend as DjangoModelBackend
from django.contrib.auth.models import AbstractBaseUser, AnonymousUser, Permission
from django.db.models import Model, Q, QuerySet
from django.http import HttpRequest

from .._asking import ask_user
from .._backends import require_lists
from .._check_logs import dropped
from .._driving import arun, run, twin
from .._flow import Call, Flow, where_allowed
from .._lazy import loaded, unwrapped
from .._lineage import lineage
from .._methods import SOURCES, Source, exemptions, require_permission
from .._objects import check_by_methods, check_of_object
from .._running import Check
from .._store import type_of
from .._twins import are_ours, ours
from .._users import exemption_needed, is_active, is_implicit


def _has_perm(user_obj: object, perm: str, obj: object) -> Flow[bool]:
    user, found = (yield from loaded(user_obj)), (yield from loaded(obj))
    return (yield from check_of_object(Check(user), perm, found))


def _permissions(user_obj: object, given: object, sources: Sequence[Source]) -> Flow[set[str]]:
    user, found = (yield from loaded(user_obj)), (yield from loaded(given))
    if not issubclass(type(found), Model):
        return set()
    if (yield from where_allowed(exemption_needed, user)) is None:
        return set()
    obj: Model = found
    labels: Any = yield Call(list, None, (_permissions_of(obj),))
    perms = {f"{app_label}.{codename}" for app_label, codename in labels}
    if (yield from where_allowed(is_implicit, user)):
        return perms
    check = Check(user)
    granted: set[str] = set()
    for perm in sorted(perms):
        # Discard the lines of access methods, because this isn't a check.
        with dropped(check, perm):
            if (yield from check_of_object(check, perm, obj, sources)):
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

    It works with every user model that Django's permissions work with. Most projects use
    `ModelBackend` instead. List this one in ``AUTHENTICATION_BACKENDS`` after a backend that signs
    users in and answers for the model level. With several backends, Django needs
    ``login(request, user, backend=...)`` and ``User.objects.with_perm(perm, backend=...)``.

    It doesn't authenticate or load users, so it doesn't inherit from
    `django.contrib.auth.backends.BaseBackend`: Django would take it for a backend that loads
    users (https://code.djangoproject.com/ticket/36837).
    """

    def authenticate(
        self, request: HttpRequest | None, **credentials: Any
    ) -> AbstractBaseUser | None:
        """Return None: this backend authenticates nobody.

        Args:
            request: The request.
            **credentials: The credentials.
        """

    async def aauthenticate(
        self, request: HttpRequest | None, **credentials: Any
    ) -> AbstractBaseUser | None:
        """Return None, see `authenticate`."""

    @ours
    def has_perm(
        self, user_obj: AbstractBaseUser | AnonymousUser, perm: str, obj: Model | None = None
    ) -> bool:
        """Tell whether a user has a permission on an object.

        The user must have the permission at the model level, from any backend. Then the access
        methods of the object decide. Without one, the permission is granted if it belongs to the
        object's model and ``DJEM_OPEN_BY_DEFAULT`` is on. Access methods that are marked with
        `djem_async.access.without_model_level` don't need the model level.

        Args:
            user_obj: The user.
            perm: The permission, ``app_label.codename``.
            obj: The object. Without one, or if it isn't a model instance, the result is False,
                and other backends decide.

        Returns:
            Whether the permission is granted.

        Raises:
            PermissionRecursionError: The check is already running in this context.
            AsyncMethodError: An access method is async, and this thread runs an event loop.
            NotADecisionError: An access method returned something that isn't an answer.
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
        """Return the permissions on an object that access methods for the user grant.

        Args:
            user_obj: The user.
            obj: The object.

        Returns:
            The names of the permissions: those of the object's model and of the models it
            inherits from. Empty without an object, and for inactive users. Anonymous users only
            get what methods grant that are marked with
            ``without_model_level(anonymous=True)``.
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
        """Return the permissions on an object that access methods for groups grant.

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

    def with_perm(
        self,
        perm: str | Permission,
        is_active: bool | None = True,
        include_superusers: bool = True,
        obj: Model | None = None,
    ) -> QuerySet[Any]:
        """Return the users who have a permission on an object.

        `django.contrib.auth.models.UserManager.with_perm` calls it. Those who have the permission
        at the model level take one query; then the access methods are asked about each of them.

        Args:
            perm: The permission.
            is_active: With False, the result is empty, because inactive users have no permissions
                on objects.
            include_superusers: Whether to include superusers for whom access methods aren't called.
            obj: The object. Without one, the result is empty.

        Returns:
            The users who have the permission now.

        Raises:
            ImproperlyConfigured: Another backend may decide about permissions, Django's
                `ModelBackend` is missing, or the object's model doesn't have the permission.
        """
        users: QuerySet[Any] = get_user_model()._default_manager.all()
        given = unwrapped(obj)
        if not issubclass(type(given), Model) or is_active is False:
            return users.none()
        require_lists(of_users=True)
        if isinstance(perm, Permission):
            perm = f"{perm.content_type.app_label}.{perm.codename}"
        name = require_permission(perm, type_of(given))
        holders = DjangoModelBackend().with_perm(name)
        if exemptions(type_of(given), name):
            held = set(holders.values_list("pk", flat=True))
            asked = [(user, user.pk in held) for user in users.filter(is_active=True)]
        else:
            asked = [(user, True) for user in holders]
        who_may = _who_may(asked, name, given, include_superusers)
        return users.filter(pk__in=run(who_may))


class ModelBackend(DjangoModelBackend, ObjectPermissionsBackend):
    """Django's `django.contrib.auth.backends.ModelBackend`, with access methods.

    List it in ``AUTHENTICATION_BACKENDS`` in place of Django's. It signs users in and answers for
    the model level as Django's does, and decides on objects as `ObjectPermissionsBackend` does. As
    the only backend, it lets you call ``login(request, user)`` and
    ``User.objects.with_perm(perm)`` without ``backend=``.

    If you have a backend that inherits from Django's, let it inherit from this one instead. Checks
    stay as fast, as long as it doesn't override permission methods. A session contains the path of
    the backend that signed the user in, so users have to sign in again after you replace a backend.
    """

    # Packages such as django-hijack name a backend in sessions by its class.
    __module__ = "djem_async.auth"

    def _half(self, obj: object) -> ObjectPermissionsBackend:
        """Return whose answers count: Django's without an object, else those of access methods."""
        found = super() if obj is None else super(BaseBackend, self)
        return cast("ObjectPermissionsBackend", found)

    @ours
    def has_perm(
        self, user_obj: AbstractBaseUser | AnonymousUser, perm: str, obj: Model | None = None
    ) -> bool:
        """Tell whether a user has a permission.

        Args:
            user_obj: The user.
            perm: The permission, ``app_label.codename``.
            obj: The object; None checks the model level.

        Returns:
            Whether the permission is granted.

        Raises:
            PermissionRecursionError: The check is already running in this context.
            AsyncMethodError: An access method is async, and this thread runs an event loop.
            NotADecisionError: An access method returned something that isn't an answer.
        """
        return self._half(obj).has_perm(user_obj, perm, obj)

    @ours
    @twin
    async def ahas_perm(
        self, user_obj: AbstractBaseUser | AnonymousUser, perm: str, obj: Model | None = None
    ) -> bool:
        """Tell whether a user has a permission, see `has_perm`."""
        return await self._half(obj).ahas_perm(user_obj, perm, obj)

    @ours
    def get_user_permissions(
        self, user_obj: AbstractBaseUser | AnonymousUser, obj: Model | None = None
    ) -> set[str]:
        """Return the permissions that a user has directly, on an object if there is one.

        See `ObjectPermissionsBackend.get_user_permissions`.
        """
        return self._half(obj).get_user_permissions(user_obj, obj)

    @ours
    @twin
    async def aget_user_permissions(
        self, user_obj: AbstractBaseUser | AnonymousUser, obj: Model | None = None
    ) -> set[str]:
        """Return the permissions that a user has directly, see `get_user_permissions`."""
        return await self._half(obj).aget_user_permissions(user_obj, obj)

    @ours
    def get_group_permissions(
        self, user_obj: AbstractBaseUser | AnonymousUser, obj: Model | None = None
    ) -> set[str]:
        """Return the permissions that a user has through groups, on an object if there is one.

        See `ObjectPermissionsBackend.get_group_permissions`.
        """
        return self._half(obj).get_group_permissions(user_obj, obj)

    @ours
    @twin
    async def aget_group_permissions(
        self, user_obj: AbstractBaseUser | AnonymousUser, obj: Model | None = None
    ) -> set[str]:
        """Return the permissions that a user has through groups, see `get_group_permissions`."""
        return await self._half(obj).aget_group_permissions(user_obj, obj)

    @ours
    def get_all_permissions(
        self, user_obj: AbstractBaseUser | AnonymousUser, obj: Model | None = None
    ) -> set[str]:
        """Return the permissions of a user, on an object if there is one.

        See `ObjectPermissionsBackend.get_all_permissions`.
        """
        return self._half(obj).get_all_permissions(user_obj, obj)

    @ours
    @twin
    async def aget_all_permissions(
        self, user_obj: AbstractBaseUser | AnonymousUser, obj: Model | None = None
    ) -> set[str]:
        """Return the permissions of a user, see `get_all_permissions`."""
        return await self._half(obj).aget_all_permissions(user_obj, obj)

    def with_perm(
        self,
        perm: str | Permission,
        is_active: bool | None = True,
        include_superusers: bool = True,
        obj: Model | None = None,
    ) -> QuerySet[Any]:
        """Return the users who have a permission.

        Args:
            perm: The permission.
            is_active: Whether they are active; None finds both.
            include_superusers: Whether to include superusers for whom access methods aren't called.
            obj: The object; None asks about the model level.

        Returns:
            The users, see `ObjectPermissionsBackend.with_perm` for those of an object.

        Raises:
            ImproperlyConfigured: There is an object, and another backend may decide about
                permissions, or the object's model doesn't have the permission.
        """
        return self._half(obj).with_perm(perm, is_active, include_superusers, obj)


def _who_may(
    users: Iterable[tuple[Any, bool]], perm: str, obj: Model, include_superusers: bool
) -> Flow[list[Any]]:
    """Return the keys of those who may, of users and whether they have the model level."""
    found: list[Any] = []
    for user, is_held in users:
        has_all = is_implicit(user)
        if not are_ours(user, "has_perm", "ahas_perm"):
            # The user model may override the check.
            is_granted = yield from ask_user(user, perm, obj, is_quiet=True)
        elif has_all or not is_active(user):
            is_granted = has_all
        else:
            is_granted = yield from check_by_methods(Check(user), perm, obj, is_held=is_held)
        if has_all:
            is_granted = is_granted and include_superusers
        if is_granted:
            found.append(user.pk)
    return found
