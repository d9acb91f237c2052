"""Suppliers, their managers and their products, and who may do what with them.

There is one access method of each kind: `Product` has an async one and one that does no I/O,
`Supplier` a sync one, which the async API runs in a thread.
"""

from django.contrib.auth.models import AbstractUser
from django.db import models

from djem_async.access import nonblocking
from djem_async.models import OLPMixin


class User(OLPMixin, AbstractUser):
    """A user with universal OLP, permission logs and a cache that can be cleared."""


class Supplier(models.Model):
    name = models.CharField(max_length=100, unique=True)
    managers = models.ManyToManyField(User, related_name="suppliers", blank=True)

    class Meta:
        ordering = ["name"]
        permissions = [("manage_supplier", "Can manage supplier")]

    def __str__(self) -> str:
        return self.name

    def _user_can_manage_supplier(self, user: User) -> bool:
        if self.managers.filter(pk=user.pk).exists():
            return True
        user.log(f"{user} is not a manager of {self}")
        return False


class ProductManager(models.Manager["Product"]):
    """Fetches products with their suppliers.

    A decision on a product may need its supplier, and an async method cannot fetch a related
    object by touching the attribute.
    """

    def get_queryset(self) -> "models.QuerySet[Product]":
        return super().get_queryset().select_related("supplier")


class Product(models.Model):
    code = models.CharField(max_length=20, unique=True)
    name = models.CharField(max_length=100)
    active = models.BooleanField(default=True)
    stock = models.PositiveIntegerField(default=0)
    supplier = models.ForeignKey(Supplier, on_delete=models.PROTECT, related_name="products")

    objects = ProductManager()

    class Meta:
        ordering = ["pk"]

    def __str__(self) -> str:
        return self.code

    async def _user_can_delete_product(self, user: User) -> bool:
        if self.active:
            user.log("Cannot delete active product lines")
            return False
        if self.stock:
            user.log("Cannot delete products with stock on hand")
            return False
        if not await user.ahas_perm("inventory.manage_supplier", self.supplier):
            inner_log = user.get_last_log(raw=True)
            user.log(*inner_log)
            return False
        user.log("Product can be deleted")
        return True

    @nonblocking
    def _user_can_change_product(self, user: User) -> bool:
        if self.active:
            return True
        user.log("Cannot change discontinued product lines")
        return False
