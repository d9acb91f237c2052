"""A middleware that makes ``request.user`` and ``await request.auser()`` one user instance."""

from collections.abc import Awaitable, Callable
from typing import Any

from django.core.exceptions import ImproperlyConfigured
from django.http import HttpRequest
from django.http.response import HttpResponseBase
from django.utils.decorators import sync_and_async_middleware

from ._twins import is_async


@sync_and_async_middleware
def SharedUserMiddleware(get_response: Callable[[HttpRequest], Any]) -> Callable[..., Any]:  # noqa: N802 - named like Django's
    """Make ``request.user`` and ``await request.auser()`` the same instance.

    Django loads two, each with a permission cache and logs of its own, and ``request.user``
    cannot be loaded in an async view. With this middleware an async view that has awaited
    ``request.auser()`` can use ``request.user``, for example in a template, and finds its cached
    decisions there. List it after ``AuthenticationMiddleware``, and after any other middleware
    that replaces ``request.user``.

    Args:
        get_response: The next middleware or the view.

    Raises:
        ImproperlyConfigured: On a request, if ``AuthenticationMiddleware`` has not run before.
    """
    if is_async(get_response):

        async def amiddleware(request: HttpRequest) -> HttpResponseBase:
            _share_user(request)
            response: HttpResponseBase = await get_response(request)
            return response

        return amiddleware

    def middleware(request: HttpRequest) -> HttpResponseBase:
        _share_user(request)
        response: HttpResponseBase = get_response(request)
        return response

    return middleware


def _share_user(request: Any) -> None:
    if not hasattr(request, "auser"):
        raise ImproperlyConfigured(
            "djem_async.middleware.SharedUserMiddleware needs a user on the request. List it in"
            " MIDDLEWARE after django.contrib.auth.middleware.AuthenticationMiddleware."
        )
    lazy_user = request.user
    load: Callable[[], Awaitable[Any]] = request.auser

    async def auser() -> Any:
        if request.user is lazy_user:
            # Where Django keeps it once the lazy object has been used.
            loaded = getattr(request, "_cached_user", None)
            user = await load() if loaded is None else loaded
            if request.user is lazy_user:
                request.user = user
        return request.user

    request.auser = auser
