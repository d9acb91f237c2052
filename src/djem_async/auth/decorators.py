"""The decorator that requires permissions for a view."""

from collections.abc import Awaitable, Callable
from functools import partial, wraps
from inspect import isawaitable
from typing import Any, TypeVar, cast

from django.contrib.auth.decorators import user_passes_test
from django.core.exceptions import ImproperlyConfigured
from django.http import HttpRequest
from django.http.response import HttpResponseBase
from django.views import View as ClassBasedView

from .._driving import arun, run
from .._flow import Flow
from .._store import type_of
from .._twins import is_async
from ..conf import conf
from ._users import complete
from ._views import LATE, ViewPermission, authenticates_late, authorize, validated

View = TypeVar("View", bound=Callable[..., HttpResponseBase | Awaitable[HttpResponseBase]])


def permission_required(
    *perms: ViewPermission,
    login_url: str | None = None,
    raise_exception: bool | None = None,
) -> Callable[[View], View]:
    """Require permissions, model-level or on objects, for a view.

    Use it instead of Django's decorator of the same name. An ``async def`` view stays async. The
    decorator checks ``request.user``, even if it isn't the user of the session.

    Args:
        *perms: Each a permission name, or a pair: that name and the name of the view's keyword
            argument that holds the primary key of the object, or a `Lookup` that finds it. The
            object is fetched, checked, and passed to the view in place of the arguments that
            found it. All must be granted. A malformed or unknown name is denied.
        login_url: Where to redirect if denied; ``LOGIN_URL`` by default.
        raise_exception: Whether to raise `PermissionDenied` instead of redirecting. By default
            ``DJEM_DEFAULT_403`` decides. The exception has the text of one that an access method
            raised.

    Returns:
        A decorator that keeps the type of the view.

    Raises:
        ImproperlyConfigured: ``perms`` is empty or malformed, or passes two objects in one
            argument, or the view is a class that has to be protected in another way; when the view
            runs, also if the URL doesn't pass an argument that is needed, if the permission of a
            pair belongs to several models, or if another model decides about it.
        Http404: When the view runs, there is no such object.
    """
    required = validated(perms)

    def check(request: HttpRequest, view_kwargs: dict[str, Any]) -> Flow[bool]:
        if isinstance(request, ClassBasedView):
            raise ImproperlyConfigured(
                f"`permission_required` got a {type(request).__name__} instead of a request. To"
                " decorate a method, write `@method_decorator(permission_required(...))`."
            )
        denial = yield from authorize(request, required, view_kwargs)
        if denial is None:
            return True
        if conf.DJEM_DEFAULT_403 if raise_exception is None else raise_exception:
            raise denial
        yield from complete(request)
        return False

    def decorate(view: View) -> View:
        _refuse_class(view, finds_objects=any(not isinstance(perm, str) for perm in required))
        # Django's own redirect to the login page, and what `LoginRequiredMiddleware` reads.
        if is_async(view) or _is_in_async_class(view):
            aview: Callable[..., Awaitable[Any]] = _awaited(view)
            alogin = user_passes_test(cast("Any", _apasses), login_url=login_url)(aview)

            @wraps(alogin)
            async def awrapper(request: HttpRequest, /, *args: Any, **kwargs: Any) -> Any:
                is_granted = await arun(check(request, kwargs))
                return await (aview if is_granted else alogin)(request, *args, **kwargs)

            return cast("View", awrapper)

        login = user_passes_test(_passes, login_url=login_url)(view)

        @wraps(login)
        def wrapper(request: HttpRequest, /, *args: Any, **kwargs: Any) -> Any:
            is_granted = run(check(request, kwargs))
            return (view if is_granted else login)(request, *args, **kwargs)

        return cast("View", wrapper)

    return decorate


def _refuse_class(view: Any, *, finds_objects: bool) -> None:
    """Refuse a class-based view that would act for another user, or on another object."""
    method = _method_of(view)
    is_dispatch = getattr(method, "__name__", "") == "dispatch"
    # As `as_view` of Django and of Django REST framework name it.
    kind: Any = getattr(view, "cls", getattr(view, "view_class", None))
    kind = type_of(method.__self__) if is_dispatch else kind
    if authenticates_late(kind):
        raise ImproperlyConfigured(LATE.format(kind.__name__))
    if finds_objects and not is_dispatch and hasattr(kind, "get_object"):
        raise ImproperlyConfigured(
            f"{kind.__name__} fetches its object itself, with arguments that the decorator would"
            " replace with the checked object. Instead of decorating it, list"
            " djem_async.auth.ObjectPermissionRequiredMixin first among its bases."
        )


def _method_of(view: Any) -> Any:
    """Return the method that a view is, None if it is a function.

    Django's `method_decorator` passes a method to decorators as a partial object, and what other
    decorators make of that.
    """
    while view is not None and not isinstance(view, partial):
        view = getattr(view, "__wrapped__", None)
    method = None if view is None else view.func
    return method if hasattr(method, "__self__") else None


def _is_in_async_class(view: Any) -> bool:
    """Tell whether a view is a method of an async class-based view, such as its `dispatch`.

    That is ``def``, and returns the coroutine of a handler.
    """
    owner = getattr(_method_of(view), "__self__", None)
    return getattr(owner, "view_is_async", False) is True


def _awaited(view: Callable[..., Any]) -> Callable[..., Awaitable[Any]]:
    if is_async(view):
        return view

    @wraps(view)
    async def awrapper(*args: Any, **kwargs: Any) -> Any:
        response = view(*args, **kwargs)
        return await response if isawaitable(response) else response

    return awrapper


def _passes(_user: object) -> bool:
    return False


async def _apasses(_user: object) -> bool:
    return False
