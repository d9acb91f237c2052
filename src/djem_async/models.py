"""Mixins for models: `OLPMixin` for the user model, `Loggable` for any class."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Generator, Iterable, Iterator
from contextlib import suppress
from functools import wraps
from inspect import unwrap
from typing import TYPE_CHECKING, Any, Final, Protocol, Self, TypeVar, cast, overload

from asgiref.sync import markcoroutinefunction

from ._backends import (
    answers,
    are_all_known,
    are_methods_decisive,
    collect,
    fetch_of,
    is_fetch_likely,
)
from ._cache import Shortcut, Trust, permission_cache
from ._check_logs import logged
from ._decision import decide, decide_for_user, first_grant
from ._driving import arun, arun_in_thread, run, twin_of
from ._entries import AUTO, Entry
from ._flow import Flow, driven_by, flow_of
from ._lazy import is_lazy, loaded, plain_text
from ._objects import by_methods, decided, is_implicit
from ._pending import Pending
from ._plans import needs_thread
from ._running import Running
from ._warm import (
    Known,
    is_ordinary,
    keep_answer,
    learn_log,
    look_up,
    looked_up_first,
    trust_in,
)
from .conf import conf
from .logs import Loggable

if TYPE_CHECKING:
    from django.db.models import Model

    from ._entries import Entries

__all__ = ["Loggable", "OLPMixin"]

Check = TypeVar("Check", bound=Callable[..., bool])
AsyncCheck = TypeVar("AsyncCheck", bound=Callable[..., Coroutine[Any, Any, bool]])


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
        generation = Running.generation_for(permission_cache(user))
        before = generation.model_level.get(self._name, value)
        generation.model_level[self._name] = value
        if before is not value:
            generation.trust = Trust()  # answers rested on another set

    def __delete__(self, user: object) -> None:
        cache = permission_cache(user)
        is_set = self._name in Running.generation_for(cache).model_level
        # Deleting one of the others deletes `_perm_cache` as well, and code may delete all of them.
        if not is_set and self._name != "_perm_cache":
            raise AttributeError(self._name)
        cache.drop_model_level(self._name)


class _PermissionsUser(Protocol):
    """What `OLPMixin` needs of the classes listed after it."""

    async def ahas_perms(self, perm_list: Iterable[str], obj: Model | None = ...) -> bool: ...


class _UserCheck:
    """A permission of one user, see `djem_async._decision.UserCheck`."""

    def __init__(self, user: OLPMixin, perm: str, obj: Model | None, *, is_logged: bool) -> None:
        self._user = user
        self._args = (user, perm, obj)
        self._is_logged = is_logged
        self.is_object_level = obj is not None
        self.was_asked = False
        self.notes: list[Entry] = []

    @property
    def is_active_superuser(self) -> bool:
        return _is_active_superuser(self._user)

    @property
    def is_universal(self) -> bool:
        return conf.DJEM_UNIVERSAL_OLP

    def answers(self) -> Iterator[Flow[bool]]:
        self.was_asked = True
        return answers("has_perm", *self._args)

    def note(self, line: str) -> None:
        if self._is_logged:
            self.notes.append(Entry(line, AUTO))
            self._user.log(line, tag="auto")


def _answer(user: Any, perm: str, obj: Model | None = None) -> Flow[bool]:
    known = look_up(user, perm, obj)
    if known is True or known is False:
        return known
    return (yield from _rest(user, perm, obj, known))


def _rest(user: Any, perm: str, obj: Model | None, known: Shortcut | None) -> Flow[bool]:
    """Return what is left of a check that `look_up` has not answered."""
    if obj is not None and not conf.DJEM_PERM_LOG_VERBOSITY:
        if known is not None:
            return by_methods(user, perm, obj, known)
        if _is_decided_by_methods(user, perm, obj):
            is_first = _claim_first(user)
            return first_grant((decided(user, perm, obj, decide, is_first=is_first),))
    return _whole_check(user, perm, obj)


def _claim_first(user: Any) -> bool:
    """Let one check count as the first of a user who is no superuser, and tell whether it is this.

    That is the first of those that access methods decide. More may be known than it makes use of.
    """
    generation = permission_cache(user).generation
    is_new, generation.is_new = generation.is_new, False
    return is_new and not generation.trust.model_level and not user.is_superuser


def _begins_in_thread(user: Any, perm: object, obj: object) -> bool:
    """Tell whether a first check needs the thread for the fetch, and for the access method."""
    return (
        needs_thread(obj, perm) and user.is_active and not user.is_superuser and is_fetch_likely()
    )


def _is_decided_by_methods(user: Any, perm: object, obj: object) -> bool:
    """Tell whether of all that a check of an object asks, only our backend has a say."""
    return (
        is_ordinary(perm, obj)
        and _is_ordinary_user(user)
        and not is_implicit(user)
        and are_methods_decisive()
    )


def _whole_check(user: Any, perm: str, given: Any) -> Flow[bool]:
    perm, obj = plain_text(perm), given
    if is_lazy(given):
        found = yield from loaded(given)
        # A lazy None is no object, but must not turn the check into one of the model level.
        obj = given if found is None else found
    with Running(user, "user", perm, obj) as running:
        trust = trust_in(user, running.generation)
        is_logged = conf.DJEM_PERM_LOG_VERBOSITY > 0
        check = _UserCheck(user, perm, obj, is_logged=is_logged)
        lines: Entries = ()
        if is_logged:
            granted, lines = yield from logged(user, perm, obj, decide_for_user(check))
        else:
            granted = yield from decide_for_user(check)
        was_asked = check.was_asked
        # The flag may have changed meanwhile, and changed back.
        is_asked = not trust.is_superuser or (conf.DJEM_UNIVERSAL_OLP and obj is not None)
        if was_asked is is_asked and _is_ordinary_user(user) and is_ordinary(perm, obj):
            is_same_for_all = obj is None or not was_asked
            # The user may have been inactive meanwhile, and so denied what is held.
            follows = not was_asked or (
                are_all_known() and running.generation.held(perm) is granted
            )
            if is_same_for_all and follows:
                keep_answer(trust, perm, obj, granted=granted)
            if is_logged:
                notes = tuple(check.notes)
                learn_log(
                    trust, perm, obj, lines, notes=notes, was_asked=was_asked, granted=granted
                )
    return granted


def _is_ordinary_user(user: Any) -> bool:
    """Tell whether asking again gives the same answer, as far as that is up to the user."""
    return user.is_active and not user.is_anonymous and flow_of(user, "has_perm") is not None


def _permissions(user: OLPMixin, name: str, obj: Model | None) -> Flow[set[str]]:
    with Running(user, "user"):
        return (yield from collect(name, user, obj))


def _module_perms(user: OLPMixin, app_label: str) -> Flow[bool]:
    with Running(user, "user"):
        if _is_active_superuser(user):
            return True
        return (yield from first_grant(answers("has_module_perms", user, app_label)))


def _is_active_superuser(user: Any) -> bool:
    return bool(user.is_active and user.is_superuser)


class _PendingCheck(Pending[bool]):
    """A check that has not been awaited, and may not even need a coroutine.

    That is made when something asks for it.
    """

    __slots__ = ("obj", "perm", "user")

    user: Any
    perm: str
    obj: Model | None

    def __getattr__(self, name: str) -> Any:
        user, self.user = self.user, None
        if user is not None:
            self._begin(user)
            return getattr(self, name)
        # Without a coroutine of its own, as it needed none, or could not make one.
        return _ENDED if name == "_coroutine" else super().__getattr__(name)

    def _begin(self, user: OLPMixin) -> None:
        # By its type: it may claim another class than it has.
        if type(user).has_perm is not OLPMixin.has_perm or "has_perm" in vars(user):
            self._coroutine = _check_or_override(user, self.perm, self.obj)._coroutine
        else:
            self._coroutine = _check(user, self.perm, self.obj)

    def send(self, value: Any, /) -> Any:
        # What a task calls: `__getattr__` would take longer to find the coroutine.
        user = self.user
        if user is not None:
            self.user = None
            self._begin(user)
        return self._coroutine.send(value)

    def __await__(self) -> Generator[Any, Any, bool]:
        user, self.user = self.user, None
        if user is not None:
            known = look_up(user, self.perm, self.obj)
            if known is True or known is False:
                return known
            self._begin(user)
        return (yield from self._coroutine.__await__())

    def __del__(self) -> None:
        if self.user is not None:
            self._begin(self.user)  # the coroutine warns that nobody awaited it


_new: Final = object.__new__


async def _nothing() -> bool:
    return False


_nothing.__qualname__ = "OLPMixin.ahas_perm"
_ENDED: Final = _nothing()
"""The coroutine of a check that needed none. Awaiting it again is an error, as with any other."""
with suppress(StopIteration):
    _ENDED.send(None)


def _made_if_needed(method: Check) -> Check:
    """Spare a check all that is known of it.

    Args:
        method: The check where nothing is known.
    """

    def make(user: OLPMixin, perm: str, obj: Model | None, known: Known) -> bool:
        if isinstance(known, Shortcut):
            return run(_rest(user, perm, obj, known))
        return method(user, perm, obj)

    return cast("Check", wraps(method)(looked_up_first(make)))


def _awaited_if_needed(method: AsyncCheck) -> AsyncCheck:
    """Spare an async check its coroutine, and the search for overrides, where the answer is known.

    Args:
        method: The check, made with `twin_of`.
    """

    @wraps(method)
    def ahas_perm(self: OLPMixin, perm: str, obj: Model | None = None) -> Any:
        # Calling the class, with an `__init__`, would take twice as long.
        check = _new(_PendingCheck)
        check.user = self
        check.perm = perm
        check.obj = obj
        return check

    return cast("AsyncCheck", markcoroutinefunction(ahas_perm))


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

    @driven_by(_answer)
    @_made_if_needed
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
        return run(_rest(self, perm, obj, None))

    @driven_by(_answer)
    @_awaited_if_needed
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
        # With logs, what ends them comes first, and belongs on the event loop.
        is_logged = conf.DJEM_PERM_LOG_VERBOSITY > 0
        if not is_logged:
            generation = permission_cache(self).generation
            fetch = fetch_of(generation)
            if fetch is not None:
                # Its outcome is known then, and mostly all else that can be found out once.
                await fetch.wait()
            elif not generation.model_level and _begins_in_thread(self, perm, obj):
                return await arun_in_thread(_answer(self, perm, obj))
        known = look_up(self, perm, obj)
        if known is True or known is False:
            return known
        plan = None if known is None else known.plan
        if plan is not None and plan.needs_thread and not is_logged:
            return await arun_in_thread(_answer(self, perm, obj))
        return await arun(_rest(self, perm, obj, known))

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


# The forms of the method that a check which has to be made goes on with.
_check_or_override: Callable[..., Pending[bool]] = OLPMixin.ahas_perm.__wrapped__  # type: ignore[attr-defined]
_check: Callable[..., Coroutine[Any, Any, bool]] = unwrap(OLPMixin.ahas_perm)
