"""The types of access methods, and of the user that the library works with.

They are protocols: code can be checked against them without inheriting anything. Those of
methods describe the bound method, as ``product._user_can_change_product`` and
``Product._quser_can_change_product``. To have methods checked where they are defined, see
`djem_async.access.AccessDecorators`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, Protocol, TypeVar, overload

if TYPE_CHECKING:
    from collections.abc import Awaitable, Coroutine, Iterable, Sequence

    from django.contrib.auth.models import Group
    from django.db.models import Model, Q, QuerySet
    from django.db.models.expressions import Combinable

UserT_contra = TypeVar("UserT_contra", contravariant=True)


class UserAccessMethod(Protocol[UserT_contra]):
    """A bound ``_user_can_<codename>`` method.

    Example:
        ::

            from django.contrib.auth.models import User

            from djem_async.protocols import UserAccessMethod


            def staff_only(user: User) -> bool:
                return user.is_staff


            method: UserAccessMethod[User] = staff_only
    """

    def __call__(self, user: UserT_contra, /) -> bool:
        """Decide for a user.

        Args:
            user: The user instance that is checked.

        Returns:
            Whether to grant the permission. Raising `PermissionDenied` denies it.
        """
        ...


class AsyncUserAccessMethod(Protocol[UserT_contra]):
    """A bound ``_auser_can_<codename>``, or ``async def _user_can_<codename>``, method.

    Example:
        ::

            from django.contrib.auth.models import User

            from djem_async.protocols import AsyncUserAccessMethod


            async def in_any_group(user: User) -> bool:
                return await user.groups.aexists()


            method: AsyncUserAccessMethod[User] = in_any_group
    """

    def __call__(self, user: UserT_contra, /) -> Awaitable[bool]:
        """Decide for a user, see `UserAccessMethod`."""
        ...


class GroupAccessMethod(Protocol):
    """A bound ``_group_can_<codename>`` method.

    Example:
        ::

            from django.contrib.auth.models import Group
            from django.db.models import QuerySet

            from djem_async.protocols import GroupAccessMethod


            def viewers_only(groups: QuerySet[Group]) -> bool:
                return groups.filter(name="Viewers").exists()


            method: GroupAccessMethod = viewers_only
    """

    def __call__(self, groups: QuerySet[Group], /) -> bool:
        """Decide for the groups of a user.

        Args:
            groups: The groups, not fetched yet.

        Returns:
            Whether to grant the permission. Raising `PermissionDenied` denies it.
        """
        ...


class AsyncGroupAccessMethod(Protocol):
    """A bound ``_agroup_can_<codename>``, or ``async def _group_can_<codename>``, method.

    Example:
        ::

            from django.contrib.auth.models import Group
            from django.db.models import QuerySet

            from djem_async.protocols import AsyncGroupAccessMethod


            async def viewers_only(groups: QuerySet[Group]) -> bool:
                return await groups.filter(name="Viewers").aexists()


            method: AsyncGroupAccessMethod = viewers_only
    """

    def __call__(self, groups: QuerySet[Group], /) -> Awaitable[bool]:
        """Decide for the groups of a user, see `GroupAccessMethod`."""
        ...


class UserQueryForm(Protocol[UserT_contra]):
    """A bound ``_quser_can_<codename>`` class method.

    Example:
        ::

            from django.contrib.auth.models import User
            from django.db.models import Q

            from djem_async.protocols import UserQueryForm


            def owned(user: User) -> Q:
                return Q(owner=user)


            form: UserQueryForm[User] = owned
    """

    def __call__(self, user: UserT_contra, /) -> Q | Combinable | bool | None:
        """Select the rows for a user.

        Args:
            user: The user instance that is checked.

        Returns:
            A condition: a `Q`, or another conditional expression; True for all rows, False or
            None for no row. Raising `PermissionDenied` means no row.
        """
        ...


class GroupQueryForm(Protocol):
    """A bound ``_qgroup_can_<codename>`` class method.

    Example:
        ::

            from django.contrib.auth.models import Group
            from django.db.models import Q, QuerySet

            from djem_async.protocols import GroupQueryForm


            def of_their_teams(groups: QuerySet[Group]) -> Q:
                return Q(team__in=groups)


            form: GroupQueryForm = of_their_teams
    """

    def __call__(self, groups: QuerySet[Group], /) -> Q | Combinable | bool | None:
        """Select the rows for the groups of a user.

        Args:
            groups: The groups, not fetched yet.

        Returns:
            A condition, see `UserQueryForm`.
        """
        ...


class SupportsLogging(Protocol):
    """A user, or anything else, that keeps logs: one with `Loggable`.

    Example:
        ::

            from djem_async.protocols import SupportsLogging


            def explain(user: SupportsLogging) -> bool:
                user.log("Nobody may do this", tag="reason")
                return False
    """

    def start_log(self, name: str) -> None:
        """Start a log and make it the active one.

        See `djem_async.logs.Loggable.start_log`.
        """
        ...

    def log(self, *lines: object, tag: str | None = None) -> None:
        """Add lines to the active log.

        See `djem_async.logs.Loggable.log`.
        """
        ...

    def end_log(self) -> tuple[str, Sequence[str]]:
        """End the active log."""
        ...

    def discard_log(self) -> None:
        """Drop the active log."""
        ...

    @overload
    def get_log(self, name: str, tags: Iterable[str] | None = None) -> str: ...
    @overload
    def get_log(
        self, name: str, tags: Iterable[str] | None = None, *, raw: Literal[True]
    ) -> Sequence[str]: ...
    def get_log(
        self, name: str, tags: Iterable[str] | None = None, raw: bool = False
    ) -> str | Sequence[str]:
        """Return a finished log.

        See `djem_async.logs.Loggable.get_log`.
        """
        ...

    @overload
    def get_last_log(self, tags: Iterable[str] | None = None) -> str: ...
    @overload
    def get_last_log(
        self, tags: Iterable[str] | None = None, *, raw: Literal[True]
    ) -> Sequence[str]: ...
    def get_last_log(
        self, tags: Iterable[str] | None = None, raw: bool = False
    ) -> str | Sequence[str]:
        """Return the log that was finished last.

        See `djem_async.logs.Loggable.get_last_log`.
        """
        ...


class SupportsObjectPermissions(Protocol):
    """A user whose permissions can be checked in both forms: one with `OLPMixin`.

    Example:
        ::

            from django.db.models import Model

            from djem_async.protocols import SupportsObjectPermissions


            async def may_publish(user: SupportsObjectPermissions, obj: Model) -> bool:
                user.clear_perm_cache()
                return await user.ahas_perm("blog.publish_entry", obj)
    """

    @property
    def pk(self) -> Any:
        """The primary key."""
        ...

    def has_perm(self, perm: str, obj: Model | None = None) -> bool:
        """Tell whether the user has a permission.

        See `djem_async.models.OLPMixin.has_perm`.
        """
        ...

    def ahas_perm(self, perm: str, obj: Model | None = None) -> Coroutine[Any, Any, bool]:
        """Tell whether the user has a permission.

        See `djem_async.models.OLPMixin.has_perm`.
        """
        ...

    def has_perms(self, perm_list: Iterable[str], obj: Model | None = None) -> bool:
        """Tell whether the user has all of several permissions.

        See `djem_async.models.OLPMixin.has_perms`.
        """
        ...

    def ahas_perms(
        self, perm_list: Iterable[str], obj: Model | None = None
    ) -> Coroutine[Any, Any, bool]:
        """Tell whether the user has all of several permissions.

        See `djem_async.models.OLPMixin.has_perms`.
        """
        ...

    def clear_perm_cache(self) -> None:
        """Clear all cached decisions."""
        ...

    def aclear_perm_cache(self) -> Coroutine[Any, Any, None]:
        """Clear all cached decisions."""
        ...
