# pyright: basic, reportInvalidTypeVarUse=false, reportSelfClsParameterName=false
# mypy: allow-untyped-defs, allow-incomplete-defs, allow-untyped-decorators
"""Access methods that are right, and must stay unreported."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Iterable
from functools import cached_property, partialmethod
from typing import Any, Generic, Literal, Never, TypeAlias, TypeVar, overload

from django.contrib.auth.models import AbstractBaseUser, AbstractUser, AnonymousUser, Group
from django.core.exceptions import PermissionDenied
from django.db import models
from django.db.models import Exists, Q, QuerySet
from django.db.models.expressions import Combinable

from djem_async.access import AccessDecorators, nonblocking
from djem_async.protocols import SupportsLogging, SupportsObjectPermissions
from djem_async.shortcuts import permitted

from .base import AnyUser, HasName, Supplier, User

access = AccessDecorators[User]()
G = TypeVar("G")
UserAlias: TypeAlias = "User | AnonymousUser"


class GroupQuerySet(QuerySet[Group]):
    pass


def traced(function: Callable[..., bool]) -> Callable[[Any, User], bool]:
    return function


def opaque(function):
    return function


class NotForModels:
    """Whatever it means by these names, it is no model."""

    def _user_can_dance(self) -> str: return "yes"


class Mixin:
    def _user_can_view_shipment(self, user: User) -> bool: return True
    def _user_can_view_parcel(self, user: User) -> bool: return True


class GenericMixin(Generic[G]):
    def _user_can_add_shipment(self, user: G) -> bool: return True


class Abstract(models.Model):
    class Meta:
        abstract = True

    def _user_can_change_shipment(self, user: User) -> bool: return True

    @property
    def _group_can_change_shipment(self) -> Callable[[QuerySet[Group]], bool]: return lambda groups: groups.exists()


class Shipment(Mixin, GenericMixin[User], Abstract):
    """Inherited methods; every kind of user."""

    class Meta:
        permissions = [(name, name) for name in ("a", "b", "c", "d", "e", "f", "g", "h", "i", "j")]

    def _user_can_a(self, user: AbstractBaseUser) -> bool: return True
    def _user_can_b(self, user: AbstractUser) -> bool: return True
    def _user_can_c(self, user: SupportsObjectPermissions) -> bool: return True
    def _user_can_d(self, user: HasName) -> bool: return True
    def _user_can_e(self, user: UserAlias) -> bool: return True
    def _user_can_f(self, user: AnyUser) -> bool: return True
    def _user_can_g(self, user: object) -> bool: return True
    def _user_can_h(self, user: Any) -> bool: return True
    def _user_can_i(self, user: LaterUser) -> bool: return True
    def _user_can_j(self, user: "SupportsLogging | None") -> "bool": return True
    def _user_can_delete_shipment(self, user: models.Model) -> bool: return True


LaterUser: TypeAlias = "User"


class Parcel(Mixin, models.Model):
    """Every kind of method."""

    class Meta:
        permissions = [(name, name) for name in ("k", "l", "m", "n", "o", "p", "q", "r", "s")]

    def _user_can_k(self, user, extra=None, *, option=False): return True
    async def _auser_can_k(self, user): return True
    def _user_can_l(self, user) -> bool: return True
    def _user_can_m(self, user: User): return True
    def _user_can_n(self, *args: User, **options: object) -> bool: return True

    @staticmethod
    def _user_can_o(user: User) -> bool: return True

    @classmethod
    async def _user_can_p(cls, user: User) -> bool: return True

    @overload
    def _user_can_q(self, user: User) -> bool: ...
    @overload
    def _user_can_q(self, user: int) -> str: ...
    def _user_can_q(self, user: User | int) -> bool | str: return True

    @property
    def _user_can_r(self) -> Callable[[User], bool]: return lambda user: True

    @cached_property
    def _group_can_r(self) -> Callable[[QuerySet[Group]], bool]: return lambda groups: True

    @traced
    def _user_can_s(self, user, option=None): return True

    @opaque
    def _group_can_s(self): return True

    _user_can_add_parcel = _user_can_l
    _user_can_change_parcel = partialmethod(_user_can_k, extra=1)
    _user_can_delete_parcel: Callable[[User], bool]


class Crate(models.Model):
    """Every kind of answer, and of groups."""

    class Meta:
        permissions = [(name, name) for name in ("t", "u", "v", "w", "x", "y", "z")]

    def _user_can_t(self, user: User) -> Literal[True]: return True
    def _user_can_u(self, user: User) -> Never: raise PermissionDenied
    def _user_can_v(self, user: User) -> Awaitable[bool]: return user.groups.aexists()
    def _auser_can_v(self, user: User) -> Awaitable[bool]: return user.groups.aexists()
    async def _auser_can_w(self, user: User) -> Literal[True, False]: return True
    def _user_can_x(self, user: User) -> bool | Awaitable[bool]: return True
    def _user_can_y(self, user: User) -> Any: return True

    @nonblocking
    def _user_can_z(self, user: User) -> bool: return True
    def _group_can_t(self, groups: QuerySet[Group]) -> bool: return True
    async def _agroup_can_t(self, groups: GroupQuerySet) -> bool: return True
    def _group_can_u(self, groups: "QuerySet[Group] | None") -> bool: return True
    def _group_can_v(self, groups: Iterable[Group]) -> bool: return True
    def _group_can_w(self, groups: Collection[Any]) -> bool: return True
    def _group_can_x(self, groups: QuerySet[Any]) -> bool: return True
    def _group_can_y(self, groups: object) -> bool: return True
    def _group_can_z(self, groups) -> bool: return True


class Folder(models.Model):
    """Query forms."""

    class Meta:
        permissions = [(name, name) for name in ("a", "b", "c", "d", "e", "f", "g", "h", "i")]

    @classmethod
    def _quser_can_a(cls, user: AbstractUser) -> Q: return Q(owner=user.pk)
    @classmethod
    def _qgroup_can_a(cls, groups: QuerySet[Group]) -> Q | bool | None: return None
    @classmethod
    def _quser_can_b(cls, user: User) -> Exists: return Exists(user.groups.all())
    @classmethod
    def _qgroup_can_b(cls, groups: "Iterable[Group]") -> Literal[True]: return True
    @classmethod
    def _quser_can_c(cls, user: User) -> Combinable: return permitted(user, "shop.view_supplier", Supplier)
    @classmethod
    def _quser_can_d(cls, user: User) -> None: raise PermissionDenied
    @classmethod
    def _quser_can_e(cls, user: object, extra: int = 1) -> Any: return True
    @classmethod
    def _quser_can_f(cls, user): return True
    @classmethod
    @access.q_user
    def _quser_can_g(cls, user: User) -> Q: return Q(pk=user.pk)

    @opaque
    def _quser_can_h(cls): return True

    @overload
    @classmethod
    def _quser_can_i(cls, user: User) -> Q: ...
    @overload
    @classmethod
    def _quser_can_i(cls, user: int) -> str: ...
    @classmethod
    def _quser_can_i(cls, user: User | int) -> Q | str: return Q(pk=1)

    _qgroup_can_h = _quser_can_f
    def _user_can_a(self, user: User) -> bool: return True
    def _group_can_f(self, groups: QuerySet[Group]) -> bool: return True


class SubFolder(Folder):
    @classmethod
    def _quser_can_a(cls, user: AbstractUser) -> Q: return Q(owner=user.pk)

    @classmethod
    def _quser_can_f(cls, user: User) -> bool: return True
    def _user_can_f(self, user: User) -> bool: return True


class RefundedOrder(Crate):
    """Inherits methods of the permissions of its parent."""

    class Meta:
        proxy = True

    def _user_can_z(self, user: User) -> bool: return False
    def _user_can_view_refundedorder(self, user: User) -> bool: return True


class NotInstalled(models.Model):
    """Its permissions are not known."""

    class Meta:
        app_label = "elsewhere"
        abstract = True

    def _user_can_do_anything(self, user: User) -> bool: return True


def local() -> type[models.Model]:
    class Local(models.Model):
        supplier = models.ForeignKey(Supplier, on_delete=models.CASCADE)

        class Meta:
            app_label = "elsewhere"

        def _user_can_do_anything(self, user: User) -> bool: return True

    return Local
