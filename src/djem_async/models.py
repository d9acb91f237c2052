"""Mixins for models: `OLPMixin` for the user model, `Loggable` for any class."""

from collections.abc import Iterable, Iterator
from typing import Any, Protocol, Self, cast, overload

from django.core.exceptions import SynchronousOnlyOperation
from django.db.models import Model

from ._backends import answers, collect
from ._cache import permission_cache
from ._decision import decide_for_user, first_grant
from ._driving import arun, run, twin_of
from ._flow import Call, Flow
from ._lazy import loaded
from ._running import Running
from .conf import conf
from .logs import Loggable, LogScope, awaits_model_level, write_entries

__all__ = ["Loggable", "OLPMixin"]


class _ModelLevelCache:
    """One of Django's caches of model-level permissions, kept with the decisions.

    Django's backends read and set it as a plain attribute of the user. Here it belongs to the
    generation of the permission cache that the running check began with, so that clearing the
    cache also wins over permissions that are being fetched.
    """

    def __set_name__(self, owner: type, name: str) -> None:
        self._name = name

    @overload
    def __get__(self, user: None, owner: type) -> Self: ...
    @overload
    def __get__(self, user: object, owner: type) -> set[str]: ...
    def __get__(self, user: object | None, owner: type) -> Self | set[str]:
        if user is None:
            return self
        try:
            return Running.generation_for(permission_cache(user)).model_level[self._name]
        except KeyError:
            raise AttributeError(self._name) from None

    def __set__(self, user: object, value: set[str]) -> None:
        Running.generation_for(permission_cache(user)).model_level[self._name] = value

    def __delete__(self, user: object) -> None:
        cache = permission_cache(user)
        if self._name not in Running.generation_for(cache).model_level:
            raise AttributeError(self._name)
        cache.drop_model_level(self._name)


class _PermissionsUser(Protocol):
    """What `OLPMixin` needs of the classes listed after it."""

    pk: Any
    is_active: Any
    is_superuser: Any

    def get_username(self) -> str: ...

    def has_perms(self, perm_list: Iterable[str], obj: Model | None = ...) -> bool: ...

    async def ahas_perms(self, perm_list: Iterable[str], obj: Model | None = ...) -> bool: ...


class OLPMixin(Loggable):
    """Adds universal OLP, automatic permission logs and cache clearing to a user model.

    It must be listed ahead of `AbstractUser` or `PermissionsMixin`::

        class User(OLPMixin, AbstractUser):
            pass

    The permission methods are Django's, and give the same answers in both forms.
    """

    _perm_cache = _ModelLevelCache()
    _user_perm_cache = _ModelLevelCache()
    _group_perm_cache = _ModelLevelCache()

    def has_perm(self, perm: str, obj: Model | None = None) -> bool:
        """Tell whether the user has a permission.

        Args:
            perm: The permission, ``app_label.codename``.
            obj: The object to check it on; None checks the model level.

        Returns:
            Whether any backend grants it. Active superusers have every permission; with
            ``DJEM_UNIVERSAL_OLP`` the access methods of the object can still deny it to them.

        Raises:
            PermissionRecursionError: The check is already running in this context.
            AsyncMethodError: An async access method is needed, and this thread runs an
                event loop.
            NotADecisionError: An access method returned something that cannot be an answer.
        """
        return run(_check(self, perm, obj))

    @twin_of("has_perm")
    async def ahas_perm(self, perm: str, obj: Model | None = None) -> bool:
        """Tell whether the user has a permission, see `has_perm`.

        Args:
            perm: The permission, ``app_label.codename``.
            obj: The object to check it on; None checks the model level.

        Returns:
            Whether any backend grants it. Without ``await`` there is no answer yet, and taking
            its truth value is a `TypeError`.

        Raises:
            PermissionRecursionError: The check is already running in this context.
            NotADecisionError: An access method returned something that cannot be an answer.
        """
        return await arun(_check(self, perm, obj))

    @twin_of("has_perms")
    async def ahas_perms(self, perm_list: Iterable[str], obj: Model | None = None) -> bool:
        """Tell whether the user has all of several permissions, see `has_perm`.

        Args:
            perm_list: The permissions.
            obj: The object to check them on; None checks the model level.

        Returns:
            Whether all of them are granted.

        Raises:
            ValueError: ``perm_list`` is a string or cannot be iterated over.
        """
        return await cast("_PermissionsUser", super()).ahas_perms(perm_list, obj)

    def get_user_permissions(self, obj: Model | None = None) -> set[str]:
        """Return the permissions that the user has directly, from all backends.

        Args:
            obj: The object they are on; None is the model level.

        Returns:
            The names of the permissions.
        """
        return run(_permissions(self, "get_user_permissions", obj))

    @twin_of("get_user_permissions")
    async def aget_user_permissions(self, obj: Model | None = None) -> set[str]:
        """Return the permissions that the user has directly, see `get_user_permissions`."""
        return await arun(_permissions(self, "get_user_permissions", obj))

    def get_group_permissions(self, obj: Model | None = None) -> set[str]:
        """Return the permissions that the user has through groups, from all backends.

        Args:
            obj: The object they are on; None is the model level.

        Returns:
            The names of the permissions.
        """
        return run(_permissions(self, "get_group_permissions", obj))

    @twin_of("get_group_permissions")
    async def aget_group_permissions(self, obj: Model | None = None) -> set[str]:
        """Return the permissions that the user has through groups, see `get_group_permissions`."""
        return await arun(_permissions(self, "get_group_permissions", obj))

    def get_all_permissions(self, obj: Model | None = None) -> set[str]:
        """Return the permissions that the user has, from all backends.

        Args:
            obj: The object they are on; None is the model level.

        Returns:
            The names of the permissions.
        """
        return run(_permissions(self, "get_all_permissions", obj))

    @twin_of("get_all_permissions")
    async def aget_all_permissions(self, obj: Model | None = None) -> set[str]:
        """Return the permissions that the user has, see `get_all_permissions`."""
        return await arun(_permissions(self, "get_all_permissions", obj))

    def has_module_perms(self, app_label: str) -> bool:
        """Tell whether the user has any permission of an app.

        Args:
            app_label: The label of the app.

        Returns:
            Whether any backend says so. Active superusers have all permissions.
        """
        return run(_module_perms(self, app_label))

    @twin_of("has_module_perms")
    async def ahas_module_perms(self, app_label: str) -> bool:
        """Tell whether the user has any permission of an app, see `has_module_perms`."""
        return await arun(_module_perms(self, app_label))

    def clear_perm_cache(self) -> None:
        """Forget every decision on objects, and Django's caches of model-level permissions.

        A check that is running may still return its answer to its caller, but nothing that it
        finds is kept.
        """
        permission_cache(self).clear()

    @twin_of("clear_perm_cache")
    async def aclear_perm_cache(self) -> None:
        """Forget every decision, see `clear_perm_cache`."""
        permission_cache(self).clear()


class _UserCheck:
    """A permission of one user, see `djem_async._decision.UserCheck`."""

    def __init__(self, user: OLPMixin, perm: str, obj: Model | None, *, is_logged: bool) -> None:
        self._user = user
        self._args = (user, perm, obj)
        self._is_logged = is_logged
        self.is_object_level = obj is not None

    @property
    def is_active_superuser(self) -> bool:
        return _is_active_superuser(self._user)

    @property
    def is_universal(self) -> bool:
        return conf.DJEM_UNIVERSAL_OLP

    def answers(self) -> Iterator[Flow[bool]]:
        return answers("has_perm", *self._args)

    def note(self, line: str) -> None:
        if self._is_logged:
            self._user.log(line, tag="auto")


def _check(user: OLPMixin, perm: str, given: Model | None) -> Flow[bool]:
    found: Model | None = yield from loaded(given)
    # A lazy None is no object, but must not turn the check into one of the model level.
    obj = given if found is None else found
    with Running(user, "user", perm, obj):
        if conf.DJEM_PERM_LOG_VERBOSITY:
            return (yield from _logged_check(user, perm, obj))
        return (yield from decide_for_user(_UserCheck(user, perm, obj, is_logged=False)))


def _logged_check(user: OLPMixin, perm: str, obj: Model | None) -> Flow[bool]:
    # The model-level check of an object-level one has no header, and what it logs also goes
    # into the log of the latter.
    is_part = obj is None and awaits_model_level(user, perm)
    name = f"auto-{perm}" if obj is None else f"auto-{perm}-{getattr(obj, 'pk', None)}"
    with LogScope(user, name, awaits=None if obj is None else perm) as log:
        try:
            if conf.DJEM_PERM_LOG_VERBOSITY > 1 and not is_part:
                yield from _log_header(user, perm, obj)
            granted = yield from decide_for_user(_UserCheck(user, perm, obj, is_logged=True))
        except GeneratorExit:
            # The coroutine is being closed: there is no more waiting, not even for a log.
            raise
        except BaseException as error:
            yield from _end(user, log, f"Error ({type(error).__name__})")
            raise
        lines = log.peek()
        yield from _end(user, log, f"Permission {'Granted' if granted else 'Denied'}")
    if is_part:
        write_entries(user, lines)
    return granted


def _end(user: OLPMixin, log: LogScope, result: str) -> Flow[None]:
    if log.settle():
        user.log(f"\nRESULT: {result}", tag="auto")
        yield Call(user.end_log, user.aend_log)


def _log_header(user: OLPMixin, perm: str, obj: Model | None) -> Flow[None]:
    person = cast("_PermissionsUser", user)
    lines = [f"Permission: {perm}", f"User: {person.get_username()} ({person.pk})"]
    if obj is not None:
        try:
            text = str(obj)
        except SynchronousOnlyOperation:
            # Its `__str__` makes a query, so ask for it where queries may be made.
            text = yield Call(str, None, (obj,))
        lines.append(f"Object: {text} ({getattr(obj, 'pk', None)})")
    user.log(*lines, "", tag="auto")


def _permissions(user: OLPMixin, name: str, obj: Model | None) -> Flow[set[str]]:
    with Running(user, "user"):
        return (yield from collect(name, user, obj))


def _module_perms(user: OLPMixin, app_label: str) -> Flow[bool]:
    with Running(user, "user"):
        if _is_active_superuser(user):
            return True
        return (yield from first_grant(answers("has_module_perms", user, app_label)))


def _is_active_superuser(user: OLPMixin) -> bool:
    person = cast("_PermissionsUser", user)
    return bool(person.is_active and person.is_superuser)
