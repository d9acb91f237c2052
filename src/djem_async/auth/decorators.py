"""The decorator that requires permissions for a view."""

from collections.abc import Awaitable, Callable
from functools import wraps
from typing import Any, TypeVar, cast

from django.contrib.auth.decorators import user_passes_test
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest
from django.http.response import HttpResponseBase

from .._driving import arun, run
from .._twins import is_async
from ..conf import conf
from ._views import ViewPermission, authorize, validated

View = TypeVar("View", bound=Callable[..., HttpResponseBase | Awaitable[HttpResponseBase]])


def permission_required(
    *perms: ViewPermission,
    login_url: str | None = None,
    raise_exception: bool | None = None,
) -> Callable[[View], View]:
    """Require permissions, model-level or on objects, for a view.

    It takes the place of Django's decorator of the same name. A view that is ``async def`` is
    wrapped natively and goes by ``await request.auser()``, others go by ``request.user``.

    Args:
        *perms: Each a permission name, or a pair: that name and the name of the view's keyword
            argument that holds the primary key of the object. The object is fetched, checked,
            and passed to the view in place of its primary key. All must be granted. A malformed
            or unknown name means denied.
        login_url: Where to redirect if denied; ``LOGIN_URL`` by default.
        raise_exception: Whether to raise `PermissionDenied` instead of redirecting. By default
            ``DJEM_DEFAULT_403`` decides.

    Returns:
        A decorator that keeps the type of the view.

    Raises:
        ImproperlyConfigured: ``perms`` is empty or malformed; when the view runs, also if the
            URL does not pass the argument that a pair names.
    """
    required = validated(perms)

    def refuse() -> None:
        if conf.DJEM_DEFAULT_403 if raise_exception is None else raise_exception:
            raise PermissionDenied

    def decorate(view: View) -> View:
        # Django's own redirect to the login page, and what `LoginRequiredMiddleware` reads.
        if is_async(view):
            aview: Callable[..., Awaitable[HttpResponseBase]] = cast("Any", view)
            alogin = user_passes_test(cast("Any", _apasses), login_url=login_url)(aview)

            @wraps(alogin)
            async def awrapper(request: HttpRequest, /, *args: Any, **kwargs: Any) -> Any:
                if await arun(authorize(await request.auser(), required, kwargs)):
                    return await aview(request, *args, **kwargs)
                refuse()
                return await alogin(request, *args, **kwargs)

            return cast("View", awrapper)

        login = user_passes_test(_passes, login_url=login_url)(view)

        @wraps(login)
        def wrapper(request: HttpRequest, /, *args: Any, **kwargs: Any) -> Any:
            if run(authorize(request.user, required, kwargs)):
                return view(request, *args, **kwargs)
            refuse()
            return login(request, *args, **kwargs)

        return cast("View", wrapper)

    return decorate


def _passes(_user: object) -> bool:
    return False


async def _apasses(_user: object) -> bool:
    return False
