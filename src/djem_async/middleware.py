"""A middleware that makes ``request.user`` and ``await request.auser()`` one user instance."""

from collections.abc import Callable
from typing import Any

from asgiref.sync import sync_to_async
from django.core.exceptions import ImproperlyConfigured
from django.http import HttpRequest
from django.http.response import HttpResponseBase
from django.utils.decorators import sync_and_async_middleware

from ._lazy import is_lazy, unwrapped
from ._twins import is_async


@sync_and_async_middleware
def SharedUserMiddleware(get_response: Callable[[HttpRequest], Any]) -> Callable[..., Any]:  # noqa: N802 - named like Django's
    """Make ``request.user`` and ``await request.auser()`` the same instance.

    Django loads two, each with a permission cache and logs of its own, and ``request.user``
    cannot be loaded in an async view. With this middleware an async view that has awaited
    ``request.auser()`` can use ``request.user``, for example in a template, and finds its cached
    decisions there. List it after ``AuthenticationMiddleware``.

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

    async def auser() -> Any:
        # `request.user` is the user: it may have been replaced, before or after this. In
        # a thread, the session and the user are loaded in one hop.
        user: object = request.user
        return await sync_to_async(unwrapped)(user) if is_lazy(user) else user

    request.auser = auser
