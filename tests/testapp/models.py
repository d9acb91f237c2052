"""Models for the tests.

`Thing` and its relatives have no access methods of their own: tests give them some with the
fixture ``access_methods``. The others are the models of the documentation.
"""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING

from django.contrib.auth.models import (
    AbstractBaseUser,
    AbstractUser,
    Group,
    Permission,
    PermissionsMixin,
)
from django.db import models

from djem_async.access import nonblocking
from djem_async.models import OLPMixin, PermittedQuerySet

if TYPE_CHECKING:
    from django.db.models import QuerySet


class User(OLPMixin, AbstractUser):
    pass


class PlainUser(AbstractBaseUser, PermissionsMixin):
    """A user model without `OLPMixin`, as `django.contrib.auth.models.User` is one."""

    name = models.CharField(max_length=50, unique=True)
    is_active = models.BooleanField(default=True)
    groups = models.ManyToManyField(Group, related_name="+")
    user_permissions = models.ManyToManyField(Permission, related_name="+")

    USERNAME_FIELD = "name"


class Thing(models.Model):
    name = models.CharField(max_length=50, default="thing")
    owner = models.ForeignKey(User, on_delete=models.CASCADE, null=True, related_name="+")

    class Meta:
        permissions = [("use_thing", "Can use thing")]

    def __str__(self) -> str:
        return self.name


class ThingProxy(Thing):
    class Meta:
        proxy = True


class SpecialThing(Thing):
    """A multi-table child."""

    note = models.CharField(max_length=50, default="")


class OtherThing(models.Model):
    """Another model, whose primary keys are the same as those of `Thing`."""

    name = models.CharField(max_length=50, default="other")


class Gate(models.Model):
    """A model with one permission only."""

    class Meta:
        default_permissions = ()
        permissions = [("open_gate", "Can open gate")]


class Document(models.Model):
    id = models.UUIDField(primary_key=True, default=uuid.uuid4)


class CompositeThing(models.Model):
    pk = models.CompositePrimaryKey("tenant", "number")
    tenant = models.IntegerField()
    number = models.IntegerField()


class Page(models.Model):
    """A model with relations of each kind, for lists."""

    title = models.CharField(max_length=50, default="page")
    rank = models.IntegerField(null=True)
    owner = models.ForeignKey(User, on_delete=models.CASCADE, null=True, related_name="pages")
    parent = models.ForeignKey("self", on_delete=models.CASCADE, null=True, related_name="children")
    editors = models.ManyToManyField(User, related_name="edited")
    teams = models.ManyToManyField(Group, related_name="+")

    objects = PermittedQuerySet.as_manager()

    class Meta:
        permissions = [("read_page", "Can read page")]

    def __str__(self) -> str:
        return self.title


class PageProxy(Page):
    class Meta:
        proxy = True


class SpecialPage(Page):
    """A multi-table child."""

    note = models.CharField(max_length=50, default="")


class ShownMemos(models.Manager["Memo"]):
    def get_queryset(self) -> QuerySet[Memo]:
        return super().get_queryset().filter(is_hidden=False)


class Memo(models.Model):
    """A model whose default manager hides rows, from related objects as well."""

    text = models.CharField(max_length=50, default="")
    is_hidden = models.BooleanField(default=False)
    page = models.ForeignKey(Page, on_delete=models.CASCADE, null=True, related_name="memos")

    objects = ShownMemos()
    everything = PermittedQuerySet.as_manager()

    class Meta:
        permissions = [("read_memo", "Can read memo")]

    def __str__(self) -> str:
        return self.text


class Supplier(models.Model):
    name = models.CharField(max_length=100)
    managers = models.ManyToManyField(User, related_name="suppliers")

    class Meta:
        permissions = [("manage_supplier", "Can manage supplier")]

    def __str__(self) -> str:
        return self.name

    def _user_can_manage_supplier(self, user: User) -> bool:
        return self.managers.filter(pk=user.pk).exists()

    async def _auser_can_manage_supplier(self, user: User) -> bool:
        return await self.managers.filter(pk=user.pk).aexists()


class Product(models.Model):
    code = models.CharField(max_length=20)
    name = models.CharField(max_length=100)
    active = models.BooleanField(default=True)
    stock = models.IntegerField(default=0)
    supplier = models.ForeignKey(Supplier, on_delete=models.PROTECT)

    def __str__(self) -> str:
        return self.code

    def _user_can_delete_product(self, user: User) -> bool:
        if self.active:
            user.log("Cannot delete active product lines")
            return False
        if self.stock:
            user.log("Cannot delete products with stock on hand")
            return False
        if not user.has_perm("testapp.manage_supplier", self.supplier):
            user.log(*user.get_last_log(raw=True))
            return False
        user.log("Product can be deleted")
        return True

    @nonblocking
    def _user_can_change_product(self, user: User) -> bool:
        return user.is_staff

    async def _group_can_view_product(self, groups: QuerySet[Group]) -> bool:
        return await groups.filter(name="Viewers").aexists()
