"""The user of a request, the same in sync and async views."""

from typing import Any, Final

from django.contrib.auth.models import AnonymousUser

from .._driving import arun
from .._flow import Call, Flow
from .._lazy import loaded
from .._twins import attribute

_MISSING: Final = object()


def user_of(request: Any) -> Flow[Any]:
    """Return the user of a request: `request.user`, no matter what has set it.

    From then on, ``await request.auser()`` returns the same user.

    Returns:
        The user, loaded; anonymous if the request has none.
    """
    # Not only `getattr`: a property that fails must not fall back to the user of the session.
    user: Any = attribute(request, "user", _MISSING)
    if user is not _MISSING:
        user = yield from loaded(user)
        share_user(request)
    elif (auser := attribute(request, "auser", None)) is not None:
        user = yield from loaded((yield Call(None, auser)))
    return AnonymousUser() if user is None or user is _MISSING else user


def complete(request: Any) -> Flow[None]:
    """Set `request.user` if it's missing or None, because Django's redirects read it."""
    user = yield from user_of(request)
    if attribute(request, "user", None) != user:
        request.user = user
        share_user(request)


def share_user(request: Any) -> None:
    """Make ``await request.auser()`` return the value that `request.user` then has."""

    async def auser() -> Any:
        return await arun(loaded(request.user))

    request.auser = auser
