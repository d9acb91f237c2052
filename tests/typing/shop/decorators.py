"""`AccessDecorators`: what mypy and pyright find without a plugin."""

from __future__ import annotations

from collections.abc import Awaitable
from typing import Protocol, assert_type

from django.contrib.auth.models import AbstractBaseUser, AbstractUser, Group
from django.db.models import Exists, Q, QuerySet
from django.db.models.expressions import Combinable

from djem_async.access import AccessDecorators, nonblocking
from djem_async.protocols import (
    AsyncGroupAccessMethod,
    AsyncUserAccessMethod,
    GroupAccessMethod,
    GroupQueryForm,
    SupportsLogging,
    SupportsObjectPermissions,
    UserAccessMethod,
    UserQueryForm,
)
from djem_async.shortcuts import permitted

from .models import Supplier, User

access = AccessDecorators[User]()


class Named(Protocol):
    def get_username(self) -> str: ...


class StaffUser(User):
    pass


class Right:
    @access.user
    def of_the_model(self, user: User) -> bool: return user.is_staff

    @access.user
    def of_a_base(self, user: AbstractBaseUser) -> bool: return user.is_active

    @access.user
    def of_a_protocol(self, user: Named) -> bool: return user.get_username() == "anna"

    @access.user
    def of_our_protocols(self, user: SupportsObjectPermissions) -> bool: return user.has_perm("shop.use_product")

    @access.user
    def of_anything(self, user: object) -> bool: return bool(user)

    @access.user
    def with_an_option(self, user: User, option: int = 1) -> bool: return bool(option)

    @access.user
    async def natively(self, user: User) -> bool: return await user.groups.aexists()

    @access.user
    def by_an_awaitable(self, user: AbstractUser) -> Awaitable[bool]: return user.groups.aexists()

    @access.user
    @nonblocking
    def inline(self, user: User) -> bool: return user.is_staff

    @nonblocking
    @access.user
    def inline_too(self, user: User) -> bool: return user.is_staff

    @access.group
    def of_groups(self, groups: QuerySet[Group]) -> bool: return groups.exists()

    @access.group
    async def of_groups_natively(self, groups: QuerySet[Group]) -> bool: return await groups.aexists()

    @access.group
    @nonblocking
    def of_any_groups(self, groups: object) -> bool: return groups is not None


class Wrong:
    @access.user  # E: arg-type "expected "Callable[[Wrong, User], bool]"" # P: reportArgumentType
    def without_a_user(self) -> bool: return True

    @access.user  # E: arg-type "expected" # P: reportArgumentType
    def with_an_argument(self, user: User, extra: int) -> bool: return True

    @access.user  # E: arg-type "expected" # P: reportArgumentType
    def with_a_keyword(self, user: User, *, extra: int) -> bool: return True

    @access.user  # E: arg-type "expected" # P: reportArgumentType
    def of_a_supplier(self, user: Supplier) -> bool: return True

    @access.user  # E: arg-type "expected" # P: reportArgumentType
    def of_some_users(self, user: StaffUser) -> bool: return True

    @access.user  # E: type-var "cannot be "str"" # P: reportArgumentType
    def returning_text(self, user: User) -> str: return ""

    @access.user  # E: type-var "cannot be "None"" # P: reportArgumentType
    def returning_nothing(self, user: User) -> None: pass

    @access.user  # E: type-var "cannot be "Coroutine[Any, Any, str]"" # P: reportArgumentType
    async def returning_text_later(self, user: User) -> str: return ""

    @access.group  # E: arg-type "expected "Callable[[Wrong, QuerySet[Group, Group]], bool]"" # P: reportArgumentType
    def of_users(self, groups: QuerySet[User]) -> bool: return True

    @access.group  # E: arg-type "expected" # P: reportArgumentType
    def of_a_list(self, groups: list[Group]) -> bool: return True

    @access.group  # E: type-var "cannot be "int"" # P: reportArgumentType
    def counting(self, groups: QuerySet[Group]) -> int: return groups.count()

    @nonblocking  # E: type-var "cannot be "Callable[[Wrong, User], Coroutine[Any, Any, bool]]"" # P: reportArgumentType # P: reportUntypedFunctionDecorator
    async def inline(self, user: User) -> bool: return True

    @nonblocking  # E: type-var "" # P: reportArgumentType # P: reportUntypedFunctionDecorator
    @access.user
    async def inline_too(self, user: User) -> bool: return True


class RightQuery:
    @classmethod
    @access.q_user
    def of_the_model(cls, user: User) -> Q: return Q(owner=user)

    @classmethod
    @access.q_user
    def of_a_base(cls, user: AbstractBaseUser) -> bool: return user.is_active

    @classmethod
    @access.q_user
    def of_a_protocol(cls, user: SupportsObjectPermissions) -> Q | bool | None: return Q(owner=user.pk) if user.pk else None

    @classmethod
    @access.q_user
    def by_an_expression(cls, user: User) -> Exists: return Exists(user.groups.all())

    @classmethod
    @access.q_user
    def by_another_permission(cls, user: User) -> Combinable: return permitted(user, "shop.view_supplier", Supplier)

    @classmethod
    @access.q_user
    def for_nobody(cls, user: User) -> None: pass

    @classmethod
    @access.q_group
    def of_groups(cls, groups: QuerySet[Group]) -> Q | Exists: return Q(team__in=groups)


class WrongQuery:
    @classmethod
    @access.q_user  # E: arg-type "expected "Callable[[type[WrongQuery], User], Q]"" # P: reportArgumentType
    def without_a_user(cls) -> Q: return Q(pk=1)

    @classmethod
    @access.q_user  # E: arg-type "expected" # P: reportArgumentType
    def with_an_argument(cls, user: User, extra: int) -> Q: return Q(pk=extra)

    @classmethod
    @access.q_user  # E: arg-type "expected" # P: reportArgumentType
    def of_a_supplier(cls, user: Supplier) -> Q: return Q(supplier=user)

    @access.q_user  # E: arg-type "expected" # P: reportArgumentType
    def of_an_instance(self, user: User) -> Q: return Q(owner=user)  # E: misc "missing"

    @classmethod  # E: type-var "cannot be "str""
    @access.q_user  # P: reportArgumentType
    def returning_text(cls, user: User) -> str: return ""

    @classmethod  # E: type-var "cannot be "QuerySet[User, User]""
    @access.q_user  # P: reportArgumentType
    def returning_a_list(cls, user: User) -> QuerySet[User]: return User.objects.all()

    @classmethod  # E: type-var "cannot be "Coroutine[Any, Any, Q]""
    @access.q_user  # P: reportArgumentType
    async def returning_it_later(cls, user: User) -> Q: return Q(owner=user)

    @classmethod
    @access.q_group  # E: arg-type "expected "Callable[[type[WrongQuery], QuerySet[Group, Group]], Q]"" # P: reportArgumentType
    def of_users(cls, groups: QuerySet[User]) -> Q: return Q(owner__in=groups)

    @classmethod  # E: type-var "cannot be "int""
    @access.q_group  # P: reportArgumentType
    def counting(cls, groups: QuerySet[Group]) -> int: return groups.count()


def conditions(user: User, groups: QuerySet[Group]) -> None:
    assert_type(RightQuery.of_the_model(user), Q)
    assert_type(RightQuery.of_groups(groups), Q | Exists)
    by_user: UserQueryForm[User] = RightQuery.of_the_model
    wider: UserQueryForm[User] = RightQuery.of_a_base
    by_group: GroupQueryForm = RightQuery.of_groups
    not_a_condition: UserQueryForm[User] = Right().natively  # E: assignment "" # P: reportAssignmentType
    print(by_user, wider, by_group, not_a_condition)


def returned(right: Right, user: User, groups: QuerySet[Group]) -> None:
    assert_type(right.of_the_model(user), bool)
    assert_type(right.inline(user), bool)
    assert_type(right.inline_too(user), bool)
    assert_type(right.of_groups(groups), bool)
    sync_user: UserAccessMethod[User] = right.of_the_model
    wider: UserAccessMethod[User] = right.of_a_base
    async_user: AsyncUserAccessMethod[User] = right.natively
    sync_group: GroupAccessMethod = right.of_groups
    async_group: AsyncGroupAccessMethod = right.of_groups_natively
    narrower: UserAccessMethod[AbstractUser] = sync_user  # E: assignment "" # P: reportAssignmentType
    not_async: AsyncUserAccessMethod[User] = right.of_the_model  # E: assignment "" # P: reportAssignmentType
    print(wider, async_user, sync_group, async_group, narrower, not_async)


async def both_forms(right: Right, user: User) -> None:
    assert_type(await right.natively(user), bool)


def users(user: User, abstract: AbstractUser) -> None:
    supported: SupportsObjectPermissions = user
    logging: SupportsLogging = user
    unsupported: SupportsObjectPermissions = abstract  # E: assignment "" # P: reportAssignmentType
    print(supported, logging, unsupported)
