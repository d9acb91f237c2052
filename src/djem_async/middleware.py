"""A middleware that makes ``request.user`` and ``await request.auser()`` one user instance."""

from collections.abc import Callable
from typing import Any

from django.core.exceptions import ImproperlyConfigured
from django.http import HttpRequest
from django.http.response import HttpResponseBase
from django.utils.decorators import sync_and_async_middleware

from ._twins import is_async
from .auth._users import share_user


@sync_and_async_middleware
def SharedUserMiddleware(get_response: Callable[[HttpRequest], Any]) -> Callable[..., Any]:  # noqa: N802 - named like Django's
    """Make ``request.user`` and ``await request.auser()`` the same instance.

    Django loads two, each with a permission cache and logs of its own, and ``request.user``
    cannot be loaded in an async view. With this middleware an async view that has awaited
    ``request.auser()`` can use ``request.user``, for example in a template, and finds its cached
    decisions there. `djem_async.auth.permission_required` and the mixins do the same, so the
    middleware is for views without them. List it after ``AuthenticationMiddleware``.

    Args:
        get_response: The next middleware or the view.

    Raises:
        ImproperlyConfigured: On a request, if ``AuthenticationMiddleware`` has not run before.
    """

    def share(request: HttpRequest) -> None:
        if not hasattr(request, "auser"):
            raise ImproperlyConfigured(
                "djem_async.middleware.SharedUserMiddleware needs a user on the request. List it in"
                " MIDDLEWARE after django.contrib.auth.middleware.AuthenticationMiddleware."
            )
        share_user(request)

    if is_async(get_response):

        async def amiddleware(request: HttpRequest) -> HttpResponseBase:
            share(request)
            response: HttpResponseBase = await get_response(request)
            return response

        return amiddleware

    def middleware(request: HttpRequest) -> HttpResponseBase:
        share(request)
        response: HttpResponseBase = get_response(request)
        return response

    return middleware
