"""Giving users model-level permissions, and taking them away."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

from .._driving import arun, run
from .._flow import Call
from .._lazy import checked_name
from .._methods import unknown
from .._store import drop_django_caches, permission_cache

if TYPE_CHECKING:
    from collections.abc import Iterable

    from django.contrib.auth.models import AbstractBaseUser, Permission

    from .._flow import Flow

    User = TypeVar("User", bound=AbstractBaseUser)


def grant(user: User, *perms: str) -> User:
    """Give a user permissions at the model level, and clear the user's caches.

    Args:
        user: The user, who has to be saved.
        *perms: The permissions, ``app_label.codename``.

    Returns:
        The user.

    Raises:
        ValueError: There is no such permission, or the user isn't saved.
        TypeError: A permission isn't a string.
    """
    return run(_changed(user, "add", perms))


async def agrant(user: User, *perms: str) -> User:
    """Give a user permissions at the model level, see `grant`."""
    return await arun(_changed(user, "add", perms))


def revoke(user: User, *perms: str) -> User:
    """Take permissions at the model level from a user, and clear the user's caches.

    Permissions that the user has through groups stay.

    Args:
        user: The user, who has to be saved.
        *perms: The permissions, ``app_label.codename``.

    Returns:
        The user.

    Raises:
        ValueError: There is no such permission, or the user isn't saved.
        TypeError: A permission isn't a string.
    """
    return run(_changed(user, "remove", perms))


async def arevoke(user: User, *perms: str) -> User:
    """Take permissions at the model level from a user, see `revoke`."""
    return await arun(_changed(user, "remove", perms))


def _changed(user: User, change: str, perms: Iterable[str]) -> Flow[User]:
    yield Call(partial(_change, user, change, [checked_name(perm) for perm in perms]))
    return user


def _change(user: Any, change: str, perms: list[str]) -> None:
    if user.pk is None:
        raise ValueError(f"{user} isn't saved, and so can't have permissions of its own.")
    known: dict[str, list[Permission]] = {}
    permissions = user.user_permissions.model._default_manager.using(user._state.db)
    for permission in permissions.select_related("content_type"):
        name = f"{permission.content_type.app_label}.{permission.codename}"
        known.setdefault(name, []).append(permission)
    for perm in perms:
        if perm not in known:
            raise ValueError(
                unknown(perm)
                or f"{perm!r} isn't in the database. `migrate` adds what models declare."
            )
    getattr(user.user_permissions, change)(*(each for perm in perms for each in known[perm]))
    permission_cache(user).clear()
    drop_django_caches(user)
