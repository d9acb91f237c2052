"""Facts about a user that checks need: flags, groups, and overridden methods."""

from importlib import import_module
from typing import Any

from django.core.exceptions import ImproperlyConfigured

from ._store import type_of
from ._twins import are_ours, is_ours
from .access import Exemption
from .conf import conf


def asks_backends(user: object) -> bool:
    """Tell whether a user's checks are the library's or Django's, which ask all backends."""
    return are_ours(user, "has_perm", "ahas_perm") or has_djangos_methods(user)


def has_djangos_methods(user: object) -> bool:
    """Tell whether a user has Django's own `has_perm` and `ahas_perm`."""
    # Not at the top: that module needs the user model, whose module imports this one.
    auth: Any = import_module("django.contrib.auth.models")
    kind, own = type_of(user), getattr(user, "__dict__", {})
    return all(
        name not in own
        and getattr(kind, name, None)
        in (getattr(auth.PermissionsMixin, name), getattr(auth.AnonymousUser, name))
        for name in ("has_perm", "ahas_perm")
    )


def checked_user(user: Any) -> Any:
    """Return a user.

    Raises:
        TypeError: It isn't a user.
    """
    if not hasattr(user, "has_perm"):
        raise TypeError(f"The user must be a user instance, not {type(user).__name__}.")
    return user


def groups_of(user: Any) -> object:
    """Return the groups of a user, as access methods get them."""
    model: type[object] = user.__class__
    if not hasattr(model, "groups"):
        raise ImproperlyConfigured(
            f"A `_group_can_` method needs the groups of the user, but {model.__qualname__}"
            " has none. Inherit django.contrib.auth.models.PermissionsMixin, or define `groups`."
        )
    return user.groups.all()


def is_active(user: Any) -> bool:
    """Tell whether a user is signed in and active."""
    return bool(user.is_active) and not user.is_anonymous


def is_active_superuser(user: Any) -> bool:
    """Tell whether a user is an active superuser."""
    return bool(user.is_active and getattr(user, "is_superuser", False))


def exemption_needed(user: Any) -> Exemption | None:
    """Return the exemption by which an access method may grant without the model level.

    Returns:
        The weakest one that is enough, None if none is.
    """
    if user.is_anonymous:
        return Exemption.EVERYBODY
    return Exemption.ACTIVE_USERS if user.is_active else None


def is_universal(user: object) -> bool:
    """Tell whether access methods decide about a user even as a superuser."""
    return conf.DJEM_UNIVERSAL_OLP and any(
        is_ours(vars(base).get("has_perm")) for base in type(user).__mro__
    )


def is_implicit(user: Any) -> bool:
    """Tell whether a user is a superuser who is granted without access methods."""
    return is_active_superuser(user) and not is_universal(user)
