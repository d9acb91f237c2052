# pyright: basic, reportInvalidTypeVarUse=false, reportSelfClsParameterName=false
# mypy: allow-untyped-defs, allow-incomplete-defs
"""Access methods that are wrong."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from typing import Final, TypeVar, overload

from django.contrib.auth.models import AnonymousUser, Group
from django.db import models
from django.db.models import Manager, QuerySet

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

    def _user_can_a(self) -> bool:  # E: djem-access "Box._user_can_a() does not take the user; write "def _user_can_a(self, user: User) -> bool""
        return True

    def _user_can_b(self, user: User, extra: int) -> bool:  # E: djem-access "takes more than the user;"
        return True

    def _user_can_c(self, user: User, *, extra: int) -> bool:  # E: djem-access "takes more than the user;"
        return True

    def _user_can_d(self, *, user: User) -> bool:  # E: djem-access "does not take the user;"
        return True

    def _user_can_e(self, user: Supplier) -> bool:  # E: djem-access "takes "Supplier", which is no type of the user model;"
        return True

    def _user_can_f(self, user: AnonymousUser | None) -> bool:  # E: djem-access "takes "AnonymousUser | None""
        return True

    def _user_can_g(self, user: StaffUser) -> bool:  # E: djem-access "takes "StaffUser""
        return True

    def _user_can_h(self, user: type[User]) -> bool:  # E: djem-access "takes "type[User]""
        return True

    def _user_can_i(self, user: SupplierT) -> bool:  # E: djem-access "takes "SupplierT""
        return True

    def _user_can_j(user: User) -> bool:  # E: djem-access "does not take the user" # E: misc "missing" # P: reportGeneralTypeIssues
        return True

    @staticmethod
    def _user_can_view_box(box: Box, user: User) -> bool:  # E: djem-access "takes more than the user"
        return True

    @classmethod
    def _user_can_add_box(cls) -> bool:  # E: djem-access "does not take the user"
        return True

    @overload  # E: djem-access "takes "int""
    def _user_can_change_box(self, user: int) -> bool: ...
    @overload
    def _user_can_change_box(self, user: str) -> bool: ...
    def _user_can_change_box(self, user: int | str) -> bool:
        return True

    def _user_can_delete_box(self):  # E: djem-access "does not take the user"
        return True

    def _group_can_a(self, groups: QuerySet[User]) -> bool:  # E: djem-access "_group_can_a() takes "QuerySet[User, User]", not a queryset of groups; write "def _group_can_a(self, groups: QuerySet[Group]) -> bool""
        return True

    def _group_can_b(self, groups: list[Group]) -> bool:  # E: djem-access "takes "list[Group]", not a queryset of groups"
        return True

    def _group_can_c(self, user: User) -> bool:  # E: djem-access "takes "User", not a queryset of groups"
        return True

    def _group_can_d(self) -> bool:  # E: djem-access "does not take the groups"
        return True

    def _group_can_e(self, user: User, groups: QuerySet[Group]) -> bool:  # E: djem-access "takes more than the groups"
        return True

    def _group_can_f(self, groups: Manager[Group] | None) -> bool:  # E: djem-access "not a queryset of groups"
        return True


class WrongMixin:
    """A plain class, so its methods are reported where a model inherits them."""

    def _user_can_k(self, user: Supplier) -> bool:
        return True

    def _user_can_kk(self, user: User) -> bool:
        return True


class WrongAbstract(WrongMixin, models.Model):  # E: djem-access "WrongMixin._user_can_k() takes "Supplier""
    class Meta:
        abstract = True

    def _user_can_l(self, user: User) -> str:  # E: djem-access "WrongAbstract._user_can_l() returns "str", not "bool""
        return "yes"


class Label(WrongAbstract):  # E: djem-access "WrongMixin._user_can_kk: "kk" is no permission of Label; did you mean "k"?"
    """Wrong answers."""

    class Meta:
        permissions = [(name, name) for name in ("k", "l", "m", "n", "o", "p", "q", "r", "s")]

    def _user_can_m(self, user: User) -> None:  # E: djem-access "returns "None", not "bool""
        pass

    async def _user_can_n(self, user: User) -> str:  # E: djem-access "returns "str", not "bool"; write "async def _user_can_n("
        return "yes"

    def _user_can_o(self, user: User) -> bool | None:  # E: djem-access "returns "bool | None", not "bool""
        return None

    def _user_can_p(self, user: User) -> Callable[[], bool]:  # E: djem-access "not "bool""
        return lambda: True

    async def _user_can_q(self, user: User) -> AsyncIterator[bool]:  # E: djem-access "not "bool""
        yield True

    def _auser_can_r(self, user: User) -> bool:  # E: djem-access "_auser_can_r() is not "async def", although its name says so; write "async def _auser_can_r(self, user: User) -> bool""
        return True

    async def _agroup_can_r(self, user: Supplier, groups: QuerySet[Group]) -> int:  # E: djem-access "takes more than the groups and returns "int", not "bool"; write "async def"
        return 1

    @nonblocking
    def _user_can_s(self) -> bool:  # E: djem-access "does not take the user"
        return True


class Pallet(models.Model):
    """Wrong names."""

    class Meta:
        permissions = [("move_pallet", "Can move pallets")]

    def _user_can_delte_pallet(self, user: User) -> bool:  # E: djem-access "Pallet._user_can_delte_pallet: "delte_pallet" is no permission of Pallet; did you mean "delete_pallet"?"
        return True

    async def _agroup_can_mvoe_pallet(self, groups: QuerySet[Group]) -> bool:  # E: djem-access "did you mean "move_pallet"?"
        return True

    def _user_can_(self, user: User) -> bool:  # E: djem-access """ is no permission of Pallet"
        return True

    def _user_can_manage_supplier(self, user: User) -> bool:  # E: djem-access ""manage_supplier" is no permission of Pallet"
        return True

    def _user_can_xyzzy(self) -> bool:  # E: djem-access "does not take the user" # E: djem-access ""xyzzy" is no permission of Pallet"
        return True

    _group_can_changepallet = None  # E: djem-access "did you mean "change_pallet"?"
    _user_can_known_to_be_wrong: Final = 1  # type: ignore[djem-access]
