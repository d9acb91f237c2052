"""The authentication backend that asks the access methods of objects."""

from collections.abc import Sequence
from typing import Any

from django.contrib.auth.models import AbstractBaseUser, AnonymousUser, Permission
from django.core.exceptions import ImproperlyConfigured, PermissionDenied
from django.db.models import Model, Q, QuerySet
from django.http import HttpRequest

from .._backends import ask
from .._cache import Decision, object_key
from .._decision import decide
from .._driving import arun, run, twin_of
from .._flow import Call, Flow, truth
from .._lazy import loaded
from .._lineage import lineage
from .._queries import rows
from .._running import Running
from .._twins import Forms, required_forms
from ..access import SOURCES, Source, find_access_method, is_nonblocking
from ..conf import conf
from ..logs import Entry, Loggable, LogScope, model_level_result, write_entries


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

    @twin_of("has_perm")
    async def ahas_perm(
        self, user_obj: AbstractBaseUser | AnonymousUser, perm: str, obj: Model | None = None
    ) -> bool:
        """Tell whether a user has a permission on an object, see `has_perm`."""
        return await arun(_has_perm(user_obj, perm, obj))

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

    @twin_of("get_user_permissions")
    async def aget_user_permissions(
        self, user_obj: AbstractBaseUser | AnonymousUser, obj: Model | None = None
    ) -> set[str]:
        """Return the permissions that a check would grant, see `get_user_permissions`."""
        return await arun(_permissions(user_obj, obj, ("user",)))

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

    @twin_of("get_group_permissions")
    async def aget_group_permissions(
        self, user_obj: AbstractBaseUser | AnonymousUser, obj: Model | None = None
    ) -> set[str]:
        """Return the permissions that a check would grant, see `get_group_permissions`."""
        return await arun(_permissions(user_obj, obj, ("group",)))

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

    @twin_of("get_all_permissions")
    async def aget_all_permissions(
        self, user_obj: AbstractBaseUser | AnonymousUser, obj: Model | None = None
    ) -> set[str]:
        """Return the permissions that a check would grant, see `get_all_permissions`."""
        return await arun(_permissions(user_obj, obj, SOURCES))


class _ObjectCheck:
    """One permission of one user on one object, see `djem_async._decision.ObjectCheck`."""

    def __init__(self, user: Any, perm: str, obj: Model, running: Running) -> None:
        self._user = user
        self._perm = perm
        self._obj = obj
        self._generation = running.generation
        self._methods: dict[Source, Forms] = {}

    @property
    def is_active(self) -> bool:
        return _is_active(self._user)

    @property
    def is_implicit(self) -> bool:
        return _is_implicit(self._user)

    def model_level(self) -> Flow[bool]:
        # Through the user, so that every backend has its say.
        granted = yield from ask(required_forms(self._user, "has_perm"), self._perm)
        if isinstance(self._user, Loggable):
            result = "Granted" if granted else "Denied"
            model_level_result(
                self._user, self._perm, Entry(f"Model-level Result: {result}\n", ("auto",))
            )
        return granted

    def methods(self, sources: Sequence[Source]) -> Sequence[Source]:
        for source in sources:
            try:
                method = find_access_method(self._obj, source, self._perm)
            except PermissionDenied:
                method = (_deny, None)  # a property has said so
            if method is not None:
                self._methods[source] = method
        return tuple(self._methods)

    def ask(self, source: Source) -> Flow[bool]:
        user, key = self._user, object_key(self._obj)
        decision = self._generation.recall(source, self._perm, key)
        if decision is None:
            if isinstance(user, Loggable):
                with LogScope(user, hand_on=True) as scope:
                    granted = yield from self._run(source)
                decision = Decision(granted, scope.entries)
            else:
                decision = Decision((yield from self._run(source)))
            self._generation.remember(source, self._perm, key, decision)
        elif isinstance(user, Loggable):
            write_entries(user, decision.entries)
        return decision.granted

    def _run(self, source: Source) -> Flow[bool]:
        argument = self._user if source == "user" else _groups(self._user)
        function, async_function = self._methods[source]
        blocking = function is None or not is_nonblocking(function)
        call = Call(function, async_function, (argument,), blocking=blocking)
        try:
            return (yield from truth((yield call), call.label))
        except PermissionDenied:
            return False


def _deny(_argument: object) -> bool:
    raise PermissionDenied


def _has_perm(user_obj: object, perm: object, obj: object) -> Flow[bool]:
    user, obj = (yield from loaded(user_obj)), (yield from loaded(obj))
    if not isinstance(obj, Model) or not isinstance(perm, str):
        return False
    with Running(user, "backend", perm, obj) as running:
        return (yield from decide(_ObjectCheck(user, perm, obj, running)))


def _permissions(user_obj: object, obj: object, sources: Sequence[Source]) -> Flow[set[str]]:
    user, obj = (yield from loaded(user_obj)), (yield from loaded(obj))
    if not isinstance(obj, Model) or not _is_active(user):
        return set()
    labels: list[tuple[str, str]] = yield from rows(_permissions_of(obj))
    perms = {f"{app_label}.{codename}" for app_label, codename in labels}
    if _is_implicit(user):
        return perms
    granted: set[str] = set()
    for perm in sorted(perms):
        with Running(user, "backend", perm, obj) as running:
            check = _ObjectCheck(user, perm, obj, running)
            if isinstance(user, Loggable) and conf.DJEM_PERM_LOG_VERBOSITY:
                # What the access methods log is dropped: these are questions, not checks.
                with LogScope(user, awaits=perm):
                    is_granted = yield from decide(check, sources)
            else:
                is_granted = yield from decide(check, sources)
        if is_granted:
            granted.add(perm)
    return granted


def _permissions_of(obj: Model) -> QuerySet[Permission, tuple[str, str]]:
    """Select the permissions of an object's model and of all models that it inherits from."""
    models = Q()
    for opts in lineage(type(obj)):
        models |= Q(content_type__app_label=opts.app_label, content_type__model=opts.model_name)
    return Permission.objects.filter(models).values_list("content_type__app_label", "codename")


def _groups(user: Any) -> object:
    model: type[object] = user.__class__
    if not hasattr(model, "groups"):
        raise ImproperlyConfigured(
            f"A `_group_can_` method needs the groups of the user, but {model.__qualname__}"
            " has none. Inherit django.contrib.auth.models.PermissionsMixin, or define `groups`."
        )
    return user.groups.all()


def _is_active(user: Any) -> bool:
    return bool(user.is_active) and not user.is_anonymous


def _is_implicit(user: Any) -> bool:
    return bool(getattr(user, "is_superuser", False)) and not conf.DJEM_UNIVERSAL_OLP
