"""The types of access methods, and of the user that the library works with.

They are protocols: code can be checked against them without inheriting anything.
"""

from collections.abc import Awaitable, Coroutine, Iterable
from typing import Any, Protocol, TypeVar

from django.contrib.auth.models import Group
from django.db.models import Model, QuerySet

UserT_contra = TypeVar("UserT_contra", contravariant=True)


class UserAccessMethod(Protocol[UserT_contra]):
    """A bound ``_user_can_<codename>`` method."""

    def __call__(self, user: UserT_contra, /) -> bool:
        """Decide for a user.

        Args:
            user: The user instance that is checked.

        Returns:
            Whether to grant the permission. Raising `PermissionDenied` denies it.
        """
        ...


class AsyncUserAccessMethod(Protocol[UserT_contra]):
    """A bound ``_auser_can_<codename>``, or ``async def _user_can_<codename>``, method."""

    def __call__(self, user: UserT_contra, /) -> Awaitable[bool]:
        """Decide for a user, see `UserAccessMethod`."""
        ...


class GroupAccessMethod(Protocol):
    """A bound ``_group_can_<codename>`` method."""

    def __call__(self, groups: QuerySet[Group], /) -> bool:
        """Decide for the groups of a user.

        Args:
            groups: The groups, not fetched yet.

        Returns:
            Whether to grant the permission. Raising `PermissionDenied` denies it.
        """
        ...


class AsyncGroupAccessMethod(Protocol):
    """A bound ``_agroup_can_<codename>``, or ``async def _group_can_<codename>``, method."""

    def __call__(self, groups: QuerySet[Group], /) -> Awaitable[bool]:
        """Decide for the groups of a user, see `GroupAccessMethod`."""
        ...


class SupportsLogging(Protocol):
    """The part of `Loggable` that an access method uses."""

    def log(self, *lines: object, tag: str | None = None) -> None:
        """Add lines to the active log."""
        ...

    def get_last_log(self, tags: Iterable[str] | None = None) -> str:
        """Return the log that was finished last."""
        ...


class SupportsObjectPermissions(Protocol):
    """A user whose permissions can be checked in both forms: one with `OLPMixin`."""

    pk: Any

    def has_perm(self, perm: str, obj: Model | None = None) -> bool:
        """Tell whether the user has a permission."""
        ...

    def ahas_perm(self, perm: str, obj: Model | None = None) -> Coroutine[Any, Any, bool]:
        """Tell whether the user has a permission."""
        ...

    def has_perms(self, perm_list: Iterable[str], obj: Model | None = None) -> bool:
        """Tell whether the user has all of several permissions."""
        ...

    def ahas_perms(
        self, perm_list: Iterable[str], obj: Model | None = None
    ) -> Coroutine[Any, Any, bool]:
        """Tell whether the user has all of several permissions."""
        ...

    def clear_perm_cache(self) -> None:
        """Forget every decision."""
        ...

    def aclear_perm_cache(self) -> Coroutine[Any, Any, None]:
        """Forget every decision."""
        ...
