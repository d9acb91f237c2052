"""Mixins for models: `OLPMixin` for the user model, `Loggable` for any class."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Self, TypeVar, cast

from django.core.exceptions import SynchronousOnlyOperation
from django.db.models import Model, QuerySet

from ._asking import explained
from ._backends import answers, collect, configured_backends
from ._decision import first_grant
from ._driving import arun, arun_in_thread, run, twin
from ._flow import where_allowed
from ._lists import arun_list, queryset_for
from ._look_up import NOT_GIVEN, Known, learn, look_up
from ._model_level import ModelLevelCache
from ._objects import check_by_methods, check_of_none, check_of_user
from ._pending import pending
from ._prefetch import prefetch
from ._running import Check, is_in_access_method, known_of
from ._store import permission_cache
from ._telling import traced
from ._twins import ours
from ._users import is_active, is_active_superuser
from .conf import conf
from .logs import Loggable

if TYPE_CHECKING:
    from collections.abc import Hashable, Iterable

    from django.contrib.auth.models import AbstractBaseUser, AnonymousUser

    from ._flow import Flow
    from ._store import Generation
    from .explain import Explanation

__all__ = ["Loggable", "OLPMixin", "PermittedQuerySet"]

M = TypeVar("M", bound=Model)


def _check(user: Any, generation: Generation, perm: str, obj: Any) -> Flow[bool]:
    # Another check may have filled the cache before the thread got here.
    known = look_up(user, generation, perm, obj)
    if known is True or known is False:
        return known
    return (yield from _rest(user, generation, perm, obj, known))


def _rest(user: Any, generation: Generation, perm: str, obj: Any, known: Known) -> Flow[bool]:
    """Return what is left of a check after `look_up`."""
    check = Check(user, generation)
    if known == "ask":
        return check_by_methods(check, perm, obj)
    if obj is None and is_in_access_method():
        flow = check_of_none(check, perm)
    else:
        learn(check)
        obj = None if obj is NOT_GIVEN else obj
        flow = check_of_user(check, perm, obj)
    return traced(check, perm, obj, flow)


def _will_fetch(user: Any, generation: Generation) -> bool:
    """Tell whether a check will most likely make a query for the user."""
    if "_perm_cache" in generation.caches[False] or not configured_backends().are_usual:
        return False
    try:
        return is_active(user) and not user.is_superuser
    except SynchronousOnlyOperation:
        return True


def _module_perms(check: Check, app_label: str) -> Flow[bool]:
    if (yield from where_allowed(is_active_superuser, check.user)):
        return True
    return (yield from first_grant(answers(check, "has_module_perms", app_label)))


def _checked(perm_list: Iterable[str]) -> Iterable[str]:
    if isinstance(perm_list, str) or not hasattr(perm_list, "__iter__"):
        # As in Django, a `ValueError`.
        raise ValueError("`perm_list` must be an iterable of permissions, not a single one.")
    return perm_list


class OLPMixin(Loggable):
    """A mixin for the user model: checks in sync and async code, explanations, logs and a cache.

    List it ahead of `AbstractUser` or `PermissionsMixin`::

        class User(OLPMixin, AbstractUser):
            pass

    The permission methods have Django's names. The sync and the async form of each give the same
    answer. A check that hasn't been awaited has no truth value.
    """

    _perm_cache = ModelLevelCache()
    _user_perm_cache = ModelLevelCache()
    _group_perm_cache = ModelLevelCache()

    @ours
    def has_perm(self, perm: str, obj: Model | None = NOT_GIVEN) -> bool:
        """Tell whether the user has a permission.

        Args:
            perm: The permission, ``app_label.codename``: a string or a member of an enum of
                strings.
            obj: The object to check it on. Leave it out to check the model level. None does the
                same, except inside an access method. There it may be a null foreign key, so it
                denies.

        Returns:
            Whether any backend grants it. Active superusers have every permission. With
            ``DJEM_UNIVERSAL_OLP``, access methods can deny it to them on objects. Exceptions of
            access methods propagate, except for `PermissionDenied`, which denies.

        Raises:
            TypeError: ``perm`` isn't a string, or ``obj`` is a primary key or a queryset.
            PermissionRecursionError: The check is already running in this context.
            AsyncMethodError: An async access method is needed, and this thread runs an
                event loop.
            NotADecisionError: An access method returned something that isn't an answer.
        """
        generation = known_of(self)
        known = look_up(self, generation, perm, obj)
        if known is True or known is False:
            return known
        return run(_rest(self, generation, perm, obj, known))

    @ours
    @twin
    async def ahas_perm(self, perm: str, obj: Model | None = NOT_GIVEN) -> bool:
        """Tell whether the user has a permission, see `has_perm`.

        Args:
            perm: The permission, ``app_label.codename``.
            obj: The object to check it on, see `has_perm`.

        Returns:
            Whether any backend grants it. Using the result without ``await``, as in ``if``, raises
            `TypeError`.

        Raises:
            TypeError: ``perm`` isn't a string, or ``obj`` is a primary key or a queryset.
            PermissionRecursionError: The check is already running in this context.
            NotADecisionError: An access method returned something that isn't an answer.
        """
        generation = known_of(self)
        known = look_up(self, generation, perm, obj)
        if known is True or known is False:
            return known
        # Fetching permissions needs the thread, and so do most access methods. With logs, the check
        # stays here, because it has to end its log in this context if it is cancelled.
        if known is None and _will_fetch(self, generation) and not conf.DJEM_PERM_LOG_VERBOSITY:
            return await arun_in_thread(_check(self, generation, perm, obj))
        return await arun(_rest(self, generation, perm, obj, known))

    def explain_perm(self, perm: str, obj: Model | None = NOT_GIVEN) -> Explanation:
        """Explain why a check comes out as it does.

        It decides as `has_perm` does. It leaves no logs and sends no signal.

        Args:
            perm: The permission, ``app_label.codename``.
            obj: The object to check it on, see `has_perm`.

        Returns:
            The explanation. An exception that the check raises is a part of it.
        """
        return run(explained(self, perm, obj, is_quiet=True))[0]

    @twin
    async def aexplain_perm(self, perm: str, obj: Model | None = NOT_GIVEN) -> Explanation:
        """Explain why a check comes out as it does, see `explain_perm`."""
        return (await arun(explained(self, perm, obj, is_quiet=True)))[0]

    def has_perms(self, perm_list: Iterable[str], obj: Model | None = NOT_GIVEN) -> bool:
        """Tell whether the user has all of several permissions, see `has_perm`.

        Args:
            perm_list: The permissions.
            obj: The object to check them on, see `has_perm`.

        Returns:
            Whether all of them are granted.

        Raises:
            ValueError: ``perm_list`` is a string or cannot be iterated over.
        """
        on = () if obj is NOT_GIVEN else (obj,)
        return all(self.has_perm(perm, *on) for perm in _checked(perm_list))

    @twin
    async def ahas_perms(self, perm_list: Iterable[str], obj: Model | None = NOT_GIVEN) -> bool:
        """Tell whether the user has all of several permissions, see `has_perms`."""
        on = () if obj is NOT_GIVEN else (obj,)
        for perm in _checked(perm_list):
            if not await self.ahas_perm(perm, *on):
                return False
        return True

    def get_user_permissions(self, obj: Model | None = None) -> set[str]:
        """Return the permissions that the user has directly, from all backends.

        Args:
            obj: The object they are on; None is the model level.

        Returns:
            The names of the permissions.
        """
        return run(collect(Check(self), "get_user_permissions", obj))

    @twin
    async def aget_user_permissions(self, obj: Model | None = None) -> set[str]:
        """Return the permissions that the user has directly, see `get_user_permissions`."""
        return await arun(collect(Check(self), "get_user_permissions", obj))

    def get_group_permissions(self, obj: Model | None = None) -> set[str]:
        """Return the permissions through groups, from all backends, see `get_user_permissions`."""
        return run(collect(Check(self), "get_group_permissions", obj))

    @twin
    async def aget_group_permissions(self, obj: Model | None = None) -> set[str]:
        """Return the permissions that the user has through groups, see `get_group_permissions`."""
        return await arun(collect(Check(self), "get_group_permissions", obj))

    def get_all_permissions(self, obj: Model | None = None) -> set[str]:
        """Return the permissions that the user has, see `get_user_permissions`."""
        return run(collect(Check(self), "get_all_permissions", obj))

    @twin
    async def aget_all_permissions(self, obj: Model | None = None) -> set[str]:
        """Return the permissions that the user has, see `get_all_permissions`."""
        return await arun(collect(Check(self), "get_all_permissions", obj))

    def prefetch_perms(self, perms: Iterable[str], objects: Iterable[Model]) -> None:
        """Check permissions on many objects and cache the decisions.

        It makes one query for each permission and model with a query form, however many objects
        there are. Access methods in Python are called for each object, and may make more queries.

        Args:
            perms: The permissions.
            objects: The objects, also of several models; a queryset is fetched. Those that aren't
                saved are skipped.

        Raises:
            TypeError: ``perms`` is one permission instead of several, or one of ``objects`` isn't
                a model instance.
            NotADecisionError: An access method returned something that isn't an answer. As
                with any error, earlier decisions stay cached.
        """
        run(prefetch(self, perms, objects))

    @twin
    async def aprefetch_perms(self, perms: Iterable[str], objects: Iterable[Model]) -> None:
        """Check permissions on many objects and cache the decisions, see `prefetch_perms`.

        All work that needs the thread is done in one hop. Async access methods run concurrently.

        Args:
            perms: The permissions.
            objects: The objects, see `prefetch_perms`.
        """
        await arun_in_thread(prefetch(self, perms, objects))

    def has_module_perms(self, app_label: str) -> bool:
        """Tell whether the user has any permission of an app.

        Args:
            app_label: The label of the app.

        Returns:
            Whether any backend says so. Active superusers have all permissions.
        """
        return run(_module_perms(Check(self), app_label))

    @twin
    async def ahas_module_perms(self, app_label: str) -> bool:
        """Tell whether the user has any permission of an app, see `has_module_perms`."""
        return await arun(_module_perms(Check(self), app_label))

    def refresh_from_db(
        self,
        using: str | None = None,
        fields: Iterable[str] | None = None,
        from_queryset: QuerySet[Any] | None = None,
    ) -> None:
        """Load the user's fields again, and clear the caches, see `clear_perm_cache`.

        Args:
            using: The database, see `django.db.models.Model.refresh_from_db`.
            fields: The fields, all by default. Loading a deferred field clears nothing.
            from_queryset: A queryset to load them with.
        """
        fields = None if fields is None else list(fields)
        # Django calls this to load a deferred field when it is read.
        deferred = cast("Model", self).get_deferred_fields()
        is_loading = fields is not None and deferred.issuperset(fields)
        try:
            cast("Model", super()).refresh_from_db(using, fields, from_queryset)
        finally:
            if not is_loading:
                permission_cache(self).clear()

    def perm_cache_scope(self) -> Hashable:
        """Return what else the answers about this user depend on, such as the current tenant.

        Override it if access methods use something other than the user and the object. Each value
        has its own cache, for decisions on objects and for permissions at the model level. It's
        called at the beginning of each check, so it has to be fast and make no queries.

        Returns:
            A hashable value, None by default. The caches of the latest 100 values are kept.
        """
        return None

    @ours
    def clear_perm_cache(self) -> None:
        """Clear the cached decisions on objects, and Django's caches of model-level permissions.

        A check that is already running still returns its answer, but doesn't cache it.
        """
        permission_cache(self).clear()

    @twin
    async def aclear_perm_cache(self) -> None:
        """Clear the cached decisions, see `clear_perm_cache`."""
        permission_cache(self).clear()


class PermittedQuerySet(QuerySet[M]):
    """A queryset with a method that filters by a permission.

    Example:
        ::

            from django.db import models

            from djem_async.models import PermittedQuerySet


            class Product(models.Model):
                objects = PermittedQuerySet.as_manager()
    """

    def permitted(self, user: AbstractBaseUser | AnonymousUser, perm: str) -> Self:
        """Filter the objects on which a user has a permission.

        Args:
            user: The user.
            perm: The permission, ``app_label.codename``.

        Returns:
            A queryset, see `djem_async.shortcuts.get_objects_for_user`, also for errors.
        """
        return cast("Self", run(queryset_for(user, perm, self)))

    @pending
    async def apermitted(self, user: AbstractBaseUser | AnonymousUser, perm: str) -> Self:
        """Filter the objects on which a user has a permission, see `permitted`."""
        return cast("Self", await arun_list(user, queryset_for(user, perm, self)))
