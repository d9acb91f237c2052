# pyright: basic, reportInvalidTypeVarUse=false, reportSelfClsParameterName=false
# mypy: allow-untyped-defs, allow-incomplete-defs
"""Access methods that are wrong."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Final, TypeVar, overload

from django.contrib.auth.models import AnonymousUser, Group
from django.db import models
from django.db.models import Manager, Q, QuerySet

from djem_async.access import nonblocking

from .base import Supplier, User

SupplierT = TypeVar("SupplierT", bound=Supplier)


class StaffUser(User):
    class Meta:
        proxy = True


class Box(models.Model):
    """Wrong arguments."""

    class Meta:
        permissions = [(name, name) for name in ("a", "b", "c", "d", "e", "f", "g", "h", "i", "j")]

    def _user_can_a(self) -> bool: return True  # E: djem-access "write "def _user_can_a(self, user: User) -> bool""
    def _user_can_b(self, user: User, extra: int) -> bool: return True  # E: djem-access "more than the user"
    def _user_can_c(self, user: User, *, extra: int) -> bool: return True  # E: djem-access "more than the user"
    def _user_can_d(self, *, user: User) -> bool: return True  # E: djem-access "user"
    def _user_can_e(self, user: Supplier) -> bool: return True  # E: djem-access "takes "Supplier""
    def _user_can_f(self, user: AnonymousUser | None) -> bool: return True  # E: djem-access "takes "AnonymousUser | None""
    def _user_can_g(self, user: StaffUser) -> bool: return True  # E: djem-access "takes "StaffUser""
    def _user_can_h(self, user: type[User]) -> bool: return True  # E: djem-access "takes "type[User]""
    def _user_can_i(self, user: SupplierT) -> bool: return True  # E: djem-access "takes "SupplierT""
    def _user_can_j(user: User) -> bool: return True  # E: djem-access "user" # E: misc "missing" # P: reportGeneralTypeIssues

    @staticmethod
    def _user_can_view_box(box: Box, user: User) -> bool: return True  # E: djem-access "more than the user"

    @classmethod
    def _user_can_add_box(cls) -> bool: return True  # E: djem-access "user"

    @overload  # E: djem-access "takes "int""
    def _user_can_change_box(self, user: int) -> bool: ...
    @overload
    def _user_can_change_box(self, user: str) -> bool: ...
    def _user_can_change_box(self, user: int | str) -> bool: return True
    def _user_can_delete_box(self): return True  # E: djem-access "user"
    def _group_can_a(self, groups: QuerySet[User]) -> bool: return True  # E: djem-access "write "def _group_can_a(self, groups: QuerySet[Group]) -> bool""
    def _group_can_b(self, groups: list[Group]) -> bool: return True  # E: djem-access "takes "list[Group]""
    def _group_can_c(self, user: User) -> bool: return True  # E: djem-access "takes "User""
    def _group_can_d(self) -> bool: return True  # E: djem-access "groups"
    def _group_can_e(self, user: User, groups: QuerySet[Group]) -> bool: return True  # E: djem-access "more than the groups"
    def _group_can_f(self, groups: Manager[Group] | None) -> bool: return True  # E: djem-access "_group_can_f"


class WrongMixin:
    """A plain class, so its methods are reported where a model inherits them."""

    def _user_can_k(self, user: Supplier) -> bool: return True
    def _user_can_kk(self, user: User) -> bool: return True


class WrongAbstract(WrongMixin, models.Model):  # E: djem-access "WrongMixin._user_can_k() takes "Supplier""
    class Meta:
        abstract = True

    def _user_can_l(self, user: User) -> str: return "yes"  # E: djem-access "WrongAbstract._user_can_l() returns "str", not "bool""


class Label(WrongAbstract):  # E: djem-access "did you mean "k"?"
    """Wrong answers."""

    class Meta:
        permissions = [(name, name) for name in ("k", "l", "m", "n", "o", "p", "q", "r", "s")]

    def _user_can_m(self, user: User) -> None: pass  # E: djem-access "returns "None", not "bool""
    async def _user_can_n(self, user: User) -> str: return "yes"  # E: djem-access "returns "str", not "bool"; write "async def _user_can_n("
    def _user_can_o(self, user: User) -> bool | None: return None  # E: djem-access "returns "bool | None", not "bool""
    def _user_can_p(self, user: User) -> Callable[[], bool]: return lambda: True  # E: djem-access "not "bool""
    async def _user_can_q(self, user: User) -> AsyncIterator[bool]: yield True  # E: djem-access "not "bool""
    def _auser_can_r(self, user: User) -> bool: return True  # E: djem-access "write "async def _auser_can_r(self, user: User) -> bool""
    async def _agroup_can_r(self, user: Supplier, groups: QuerySet[Group]) -> int: return 1  # E: djem-access "returns "int", not "bool"; write "async def"

    @nonblocking
    def _user_can_s(self) -> bool: return True  # E: djem-access "user"


class Pallet(models.Model):
    """Wrong names."""

    class Meta:
        permissions = [("move_pallet", "Can move pallets")]

    def _user_can_delte_pallet(self, user: User) -> bool: return True  # E: djem-access "did you mean "delete_pallet"?"
    async def _agroup_can_mvoe_pallet(self, groups: QuerySet[Group]) -> bool: return True  # E: djem-access "did you mean "move_pallet"?"
    def _user_can_(self, user: User) -> bool: return True  # E: djem-access """"
    def _user_can_xyzzy(self) -> bool: return True  # E: djem-access "user" # E: djem-access ""xyzzy""

    _group_can_changepallet = None  # E: djem-access "did you mean "change_pallet"?"
    _user_can_known_to_be_wrong: Final = 1  # type: ignore[djem-access]


class Bin(models.Model):
    """Wrong query forms."""

    class Meta:
        permissions = [(name, name) for name in ("a", "b", "c", "d", "e", "f", "g", "h", "i", "j")]

    def _quser_can_a(self, user: User) -> Q: return Q(pk=user.pk)  # E: djem-access "is not a class method; write "@classmethod def _quser_can_a(cls, user: User) -> Q""
    def _qgroup_can_a(self, user: User) -> str: return ""  # E: djem-access "is not a class method and takes "User", not a queryset of groups and returns "str""
    async def _quser_can_b(self, user: User) -> Q: return Q(pk=user.pk)  # E: djem-access "is not a class method and returns"

    @staticmethod
    def _quser_can_c(user: User) -> Q: return Q(pk=user.pk)  # E: djem-access "is not a class method; write"

    @nonblocking
    def _quser_can_d(self, user: User) -> bool: return True  # E: djem-access "is not a class method; write"

    @property
    def _quser_can_e(self) -> Callable[[User], Q]: return lambda user: Q(pk=user.pk)  # E: djem-access "is not a class method; write"

    @classmethod
    def _quser_can_f(cls) -> Q: return Q(pk=1)  # E: djem-access "does not take the user; write "@classmethod def _quser_can_f(cls, user: User) -> Q""

    @classmethod
    def _qgroup_can_f(cls, groups: QuerySet[Group], extra: int) -> Q: return Q(pk=extra)  # E: djem-access "takes more than the groups"

    @classmethod
    def _quser_can_g(cls, user: Supplier) -> Q: return Q(pk=user.pk)  # E: djem-access "takes "Supplier""

    @classmethod
    def _qgroup_can_g(cls, groups: QuerySet[User]) -> Q: return Q(pk__in=groups)  # E: djem-access "write "@classmethod def _qgroup_can_g(cls, groups: QuerySet[Group]) -> Q""

    @classmethod
    def _quser_can_h(cls, user: User) -> str: return ""  # E: djem-access "returns "str", not "Q", another conditional expression, "bool" or "None"; write"

    @classmethod
    def _qgroup_can_h(cls, groups: QuerySet[Group]) -> Q | int: return 1  # E: djem-access "returns "Q | int""

    @classmethod
    def _quser_can_i(cls, user: User) -> QuerySet[User]: return User.objects.all()  # E: djem-access "returns "QuerySet[User, User]""

    @classmethod
    async def _quser_can_j(cls, user: User) -> Q: return Q(pk=user.pk)  # E: djem-access "returns "Coroutine[Any, Any, Q]", which is never awaited"

    @classmethod
    def _qgroup_can_j(cls, groups: QuerySet[Group]) -> Awaitable[bool]: return groups.aexists()  # E: djem-access "returns "Awaitable[bool]", which is never awaited"

    @classmethod
    def _quser_can_delte_bin(cls, user: User) -> Q: return Q(pk=user.pk)  # E: djem-access "did you mean "delete_bin"?"


class OverridingMixin:
    async def _auser_can_add_shelf(self, user: User) -> bool: return True


class BaseShelf(models.Model):
    class Meta:
        abstract = True

    @classmethod
    def _quser_can_view_shelf(cls, user: User) -> Q: return Q(pk=user.pk)

    @classmethod
    def _quser_can_add_shelf(cls, user: User) -> Q: return Q(pk=user.pk)


class Shelf(OverridingMixin, BaseShelf):  # E: djem-access "OverridingMixin._auser_can_add_shelf overrides the access method without its query form"
    """Query forms that are out of date."""

    def _user_can_view_shelf(self, user: User) -> bool: return True  # E: djem-access "lists of Shelf for this permission raise an error; define "_quser_can_view_shelf" in the same class"


class ShelfProxy(Shelf):
    """Not the class to correct."""

    class Meta:
        proxy = True
