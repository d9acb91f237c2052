"""The mixin that requires permissions for a class-based view."""

from collections.abc import Iterable, Sequence
from inspect import isawaitable
from typing import Any, Protocol, cast

from asgiref.sync import sync_to_async
from django.contrib.auth.mixins import AccessMixin
from django.contrib.auth.models import AbstractBaseUser, AnonymousUser
from django.core.exceptions import ImproperlyConfigured
from django.http import HttpRequest
from django.http.response import HttpResponseBase
from django.views import View

from .._backends import ask
from .._driving import arun, run, twin
from .._flow import Call, Flow
from .._twins import is_async, required_forms
from ..conf import conf
from ._views import ViewPermission, authorize, validated


class _Default403:
    """``DJEM_DEFAULT_403`` as it is when the view runs; a class or an instance may replace it."""

    def __get__(self, view: object | None, owner: type) -> bool:
        return conf.DJEM_DEFAULT_403


class _View(Protocol):
    """What is used of the class that the mixin is mixed into."""

    view_is_async: bool

    def dispatch(self, request: HttpRequest, *args: Any, **kwargs: Any) -> Any: ...


class PermissionRequiredMixin(AccessMixin):
    """Require permissions, model-level or on objects, for a class-based view.

    It takes the place of Django's mixin of the same name, for views whose handlers are sync or
    ``async def``. List it ahead of the view class.

    Attributes:
        permission_required: The name of a permission, or a sequence of names and pairs: a name
            and the name of the view's keyword argument that holds the primary key of the
            object. The object is fetched, checked, and passed to the handler in place of its
            primary key; ``self.kwargs`` keeps that. All must be granted.
        raise_exception: Whether `PermissionDenied` is raised instead of redirecting to the login
            page. By default ``DJEM_DEFAULT_403`` decides. Signed-in users are never redirected.
    """

    permission_required: str | Sequence[ViewPermission] | None = None
    raise_exception: bool = cast("bool", _Default403())

    request: HttpRequest

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        order = cls.__mro__
        if View in order and order.index(View) < order.index(PermissionRequiredMixin):
            raise ImproperlyConfigured(
                f"{cls.__name__} lists PermissionRequiredMixin after the view class, so nothing"
                " would be checked. List it first."
            )

    def get_permission_required(self) -> Iterable[ViewPermission]:
        """Return what the view requires; override it to decide by request.

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

    def has_permission(self, view_kwargs: dict[str, Any]) -> bool:
        """Tell whether the view may run; override it to customize the check.

        Args:
            view_kwargs: The keyword arguments for the handler. Objects that are fetched replace
                their primary keys in it.

        Raises:
            Http404: There is no object with that primary key.
            ImproperlyConfigured: What the view requires is empty or malformed.
        """
        return run(self._authorize(self.request.user, view_kwargs))

    @twin
    async def ahas_permission(self, view_kwargs: dict[str, Any]) -> bool:
        """Tell whether an async view may run, see `has_permission`."""
        return await arun(self._authorize(await self.request.auser(), view_kwargs))

    def _authorize(
        self, user: AbstractBaseUser | AnonymousUser, view_kwargs: dict[str, Any]
    ) -> Flow[bool]:
        # An override may load the user of the request; what stands above needs no thread.
        base = PermissionRequiredMixin.get_permission_required
        blocking = type(self).get_permission_required is not base
        perms: Iterable[ViewPermission] = yield Call(
            self.get_permission_required, blocking=blocking
        )
        return (yield from authorize(user, validated(perms), view_kwargs))

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
        if not run(ask(None, required_forms(self, "has_permission"), kwargs)):
            return self.handle_no_permission()
        return view.dispatch(request, *args, **kwargs)

    async def _adispatch(
        self, view: _View, request: HttpRequest, /, *args: Any, **kwargs: Any
    ) -> HttpResponseBase:
        if await arun(ask(None, required_forms(self, "has_permission"), kwargs)):
            response = view.dispatch(request, *args, **kwargs)
        elif is_async(self.handle_no_permission):
            response = self.handle_no_permission()
        else:
            # It reads `request.user`, which loads the session.
            response = await sync_to_async(self.handle_no_permission)()
        if isawaitable(response):
            response = await response
        return cast("HttpResponseBase", response)
