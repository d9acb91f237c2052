"""The mixins that require permissions for class-based views."""

from collections.abc import Iterable, Sequence
from inspect import isawaitable
from typing import Any, Final, Protocol, cast

from django.contrib.auth.mixins import AccessMixin, LoginRequiredMixin, UserPassesTestMixin
from django.contrib.auth.mixins import PermissionRequiredMixin as DjangoPermissionRequiredMixin
from django.core.exceptions import ImproperlyConfigured, PermissionDenied
from django.db.models import Model, QuerySet
from django.http import HttpRequest
from django.http.response import HttpResponseBase
from django.views import View

from .._backends import ask
from .._driving import arun, run, twin
from .._flow import Call, Flow
from .._lists import Granted, granted_rows, queryset_for
from .._twins import is_async, required_forms
from ..conf import conf
from ._users import complete, user_of
from ._views import LATE, ViewPermission, authenticates_late, authorize, denied, validated

# Their `dispatch` loads the user, which Django doesn't allow on an event loop.
_SYNC_MIXINS: Final = (LoginRequiredMixin, UserPassesTestMixin, DjangoPermissionRequiredMixin)


class _Default403:
    """``DJEM_DEFAULT_403`` as it is when the view runs; a class or an instance may replace it."""

    def __get__(self, view: object | None, owner: type) -> bool:
        return conf.DJEM_DEFAULT_403


class _View(Protocol):
    """What is used of the class that the mixin is mixed into."""

    view_is_async: bool

    def dispatch(self, request: HttpRequest, *args: Any, **kwargs: Any) -> Any: ...


class _Mixin(AccessMixin):
    """What the mixins share: when they check, and what they do with those who are denied."""

    permission_required: str | Sequence[ViewPermission] | None = None
    raise_exception: bool = cast("bool", _Default403())

    request: HttpRequest

    _denial: PermissionDenied | None = None

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        order = cls.__mro__
        if View not in order:
            return
        late = [base for base in order[order.index(View) :] if issubclass(base, _Mixin)]
        if late:
            raise ImproperlyConfigured(
                f"{cls.__name__} lists {late[0].__name__} after the view class, so nothing"
                " would be checked. List it first."
            )
        if authenticates_late(cls):
            raise ImproperlyConfigured(LATE.format(cls.__name__))
        callers = (PermissionRequiredMixin, DjangoPermissionRequiredMixin)
        if hasattr(cls, "has_permission") and not issubclass(cls, callers):
            raise ImproperlyConfigured(
                f"{cls.__name__}.has_permission is never called. Only PermissionRequiredMixin calls"
                " it. Override get_object or get_queryset, or use that mixin."
            )
        sync = [base.__name__ for base in _SYNC_MIXINS if base in order]
        if sync and cast("type[_View]", cls).view_is_async:
            raise ImproperlyConfigured(
                f"{cls.__name__} has async handlers, which Django's {sync[0]} doesn't support."
                " Remove that mixin. PermissionRequiredMixin and ObjectPermissionRequiredMixin of"
                " djem_async.auth send visitors to the login page. For a test of your own, override"
                " `ahas_permission` of djem_async.auth.PermissionRequiredMixin."
            )

    def get_permission_required(self) -> Iterable[ViewPermission]:
        """Return what the view requires. Override it to decide by request.

        Returns:
            The permissions, as ``permission_required`` has them.

        Raises:
            ImproperlyConfigured: ``permission_required`` is not set.
        """
        if self.permission_required is None:
            name = type(self).__name__
            raise ImproperlyConfigured(
                f"{name} requires no permission. Define {name}.permission_required, or override"
                f" {name}.get_permission_required()."
            )
        if isinstance(self.permission_required, str):
            return (self.permission_required,)
        return self.permission_required

    def get_permission_denied_message(self) -> str:
        """Return the text for those who are denied.

        By default, it's ``permission_denied_message`` or, if that is empty, the text of the
        `PermissionDenied` that an access method raised.
        """
        return str(super().get_permission_denied_message() or self._denial or "")

    def dispatch(self, request: HttpRequest, *args: Any, **kwargs: Any) -> Any:
        """Check the permissions, then let the view handle the request.

        Args:
            request: The request.
            *args: The positional arguments of the handler.
            **kwargs: The keyword arguments of the handler.

        Returns:
            The response, or a coroutine for it if the view is async.
        """
        view = cast("_View", super())
        if cast("_View", self).view_is_async:
            return self._adispatch(view, request, *args, **kwargs)
        is_allowed, response = run(self._decide(kwargs))
        return view.dispatch(request, *args, **kwargs) if is_allowed else response

    async def _adispatch(
        self, view: _View, request: HttpRequest, /, *args: Any, **kwargs: Any
    ) -> HttpResponseBase:
        is_allowed, response = await arun(self._decide(kwargs))
        if is_allowed:
            response = view.dispatch(request, *args, **kwargs)
        if isawaitable(response):
            response = await response
        return cast("HttpResponseBase", response)

    def _decide(self, view_kwargs: dict[str, Any]) -> Flow[tuple[bool, Any]]:
        if (yield from self._allows(view_kwargs)):
            return True, None
        yield from complete(self.request)
        try:
            # In the thread, because it reads `request.user`, which loads the session.
            response = yield Call(self.handle_no_permission)
        except PermissionDenied as error:
            if self._denial is not None:
                vars(error).update(vars(self._denial))  # the explanation
            raise
        return False, response

    def _allows(self, view_kwargs: dict[str, Any]) -> Flow[bool]:
        """Check what the mixins require, in the order in which the class lists them."""
        yield from ()
        return True

    def _required(self) -> Flow[tuple[ViewPermission, ...]]:
        # An override may load the user of the request, which needs the thread.
        base = _Mixin.get_permission_required
        blocking = type(self).get_permission_required is not base
        perms: Iterable[ViewPermission] = yield Call(
            self.get_permission_required, blocking=blocking
        )
        return validated(perms)

    def _required_names(self) -> Flow[list[str]]:
        perms = yield from self._required()
        names = [perm for perm in perms if isinstance(perm, str)]
        if len(names) != len(perms):
            raise ImproperlyConfigured(
                f"{type(self).__name__} fetches its objects itself. Require permissions by name"
                " only, without a view argument or a Lookup."
            )
        return names


class PermissionRequiredMixin(_Mixin):
    """Require permissions, model-level or on objects, for a class-based view.

    Use it instead of Django's mixin of the same name. The handlers of the view can be sync or
    ``async def``. List it ahead of the view class. ``login_url``, ``redirect_field_name``,
    ``permission_denied_message`` and ``handle_no_permission()`` are as in Django's `AccessMixin`.

    Attributes:
        permission_required: The name of a permission, or a sequence of names and pairs: a name
            and the name of the view's keyword argument that holds the primary key of the
            object, or a `Lookup` that finds it. The object is fetched, checked, and passed to the
            handler in place of the arguments that found it; ``self.kwargs`` keeps those. All
            must be granted.
        raise_exception: Whether `PermissionDenied` is raised instead of redirecting to the login
            page. By default ``DJEM_DEFAULT_403`` decides. Signed-in users are never redirected.
    """

    def has_permission(self, view_kwargs: dict[str, Any]) -> bool:
        """Tell whether the view may run; override it to customize the check.

        Args:
            view_kwargs: The keyword arguments for the handler. If all is granted, the objects
                take the place of the arguments that found them.

        Raises:
            Http404: There is no such object.
            ImproperlyConfigured: What the view requires is empty or malformed.
        """
        return run(self._authorize(view_kwargs))

    @twin
    async def ahas_permission(self, view_kwargs: dict[str, Any]) -> bool:
        """Tell whether an async view may run, see `has_permission`."""
        return await arun(self._authorize(view_kwargs))

    def _authorize(self, view_kwargs: dict[str, Any]) -> Flow[bool]:
        perms = yield from self._required()
        self._denial = yield from authorize(self.request, perms, view_kwargs)
        return self._denial is None

    def _allows(self, view_kwargs: dict[str, Any]) -> Flow[bool]:
        granted = yield from ask(required_forms(self, "has_permission"), view_kwargs)
        return granted and (yield from super()._allows(view_kwargs))


class ObjectPermissionRequiredMixin(_Mixin):
    """Require permissions on the object of a generic view, such as `UpdateView`.

    ``dispatch`` calls ``get_object()`` once, and checks what it returns. After that,
    ``get_object()`` returns the same object to the view, whatever its arguments. If the object
    isn't a model instance, ``dispatch`` raises `ImproperlyConfigured`. List the mixin ahead of the
    view class.

    Attributes:
        permission_required: The name of a permission, or a sequence of names. All must be granted
            on the object.
        raise_exception: Whether `PermissionDenied` is raised instead of redirecting to the login
            page. By default ``DJEM_DEFAULT_403`` decides. Signed-in users are never redirected.
    """

    def _allows(self, view_kwargs: dict[str, Any]) -> Flow[bool]:
        view: Any = self
        names = yield from self._required_names()
        user = yield from user_of(self.request)
        obj = yield Call(view.get_object)
        if not isinstance(obj, Model):
            raise ImproperlyConfigured(
                f"{type(self).__name__}.get_object() returned {obj!r}, which is not a model"
                " instance, so no permission on it can be checked."
            )
        for name in names:
            self._denial = yield from denied(user, name, obj)
            if self._denial is not None:
                return False

        def get_object(*_args: Any, **_kwargs: Any) -> Model:
            return obj

        async def aget_object(*_args: Any, **_kwargs: Any) -> Model:
            return obj

        view.get_object = aget_object if is_async(view.get_object) else get_object
        return (yield from super()._allows(view_kwargs))


class PermissionListMixin(_Mixin):
    """Filter the list of a generic view, such as `ListView`, by a permission.

    From ``dispatch`` on, ``get_queryset()`` only returns objects on which the user has the
    permission, even if the view overrides it. Nobody is denied, but the list may be empty. List the
    mixin ahead of the view class.

    ``get_queryset()`` raises `ImproperlyConfigured` if the view's own method doesn't return a
    queryset, and the errors of `djem_async.shortcuts.get_objects_for_user`.

    Attributes:
        permission_required: The name of the permission. Its access methods need query forms.
    """

    def _allows(self, view_kwargs: dict[str, Any]) -> Flow[bool]:
        view: Any = self
        names = yield from self._required_names()
        if len(names) != 1:
            raise ImproperlyConfigured(
                f"{type(self).__name__} can only filter by one permission, not by {len(names)}."
            )
        user, perm = (yield from user_of(self.request)), names[0]
        known: dict[type[Model], Granted] = {}
        if view.view_is_async:
            # Make queries here, because handlers call `get_queryset` on the event loop.
            queryset: Any = getattr(view, "queryset", None)
            model = getattr(view, "model", None) if queryset is None else queryset.model
            if model is None:
                # The sync form, because only that fills Django's caches for all users.
                yield Call(user.has_perm, None, (perm,))
            else:
                known[model] = yield from granted_rows(user, perm, model)
        final = view.get_queryset

        def restricted(found: Any) -> QuerySet[Any]:
            if not issubclass(type(found), QuerySet):
                raise ImproperlyConfigured(
                    f"{type(self).__name__}.get_queryset() returned a {type(found).__name__}."
                    " Return a queryset, because nothing else can be filtered by permissions."
                )
            return run(queryset_for(user, perm, found, known))

        async def arestricted(found: Any) -> QuerySet[Any]:
            return restricted(await found)

        def get_queryset(*args: Any, **kwargs: Any) -> Any:
            found = final(*args, **kwargs)
            return arestricted(found) if isawaitable(found) else restricted(found)

        view.get_queryset = get_queryset
        return (yield from super()._allows(view_kwargs))
