"""Suppliers, their managers and their products, and who may do what with them.

There is one access method of each kind. `Product` has one that is ``async def``, a plain one, which
the async API runs in a thread, and one that does no I/O. These have query forms as well, for lists.
Other permissions only have query forms, which decide both checks and lists.
"""

from django.contrib.auth.models import AbstractUser, Group
from django.db import models
from django.db.models import Exists, Q, QuerySet

from djem_async.access import nonblocking
from djem_async.models import OLPMixin, PermittedQuerySet
from djem_async.shortcuts import get_objects_for_user


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

    @classmethod
    def _quser_can_manage_supplier(cls, user: User) -> Q:
        # A query form knows the rule, but no object: this is logged whatever the answer is.
        user.log("Only for managers of the supplier")
        return Q(managers=user)

    @classmethod
    def _quser_can_view_supplier(cls, user: User) -> Q:
        return Q(managers=user)


def suppliers_of(user: User) -> "QuerySet[Supplier]":
    """Return the suppliers that a user may manage, for the rules of products."""
    return get_objects_for_user(user, "inventory.manage_supplier", Supplier)


class ProductManager(models.Manager["Product"]):
    """Fetches products with their suppliers.

    A decision on a product may need its supplier, and an async method cannot fetch a related
    object by touching the attribute.
    """

    def get_queryset(self) -> "PermittedQuerySet[Product]":
        return PermittedQuerySet(self.model, using=self._db).select_related("supplier")


class Product(models.Model):
    code = models.CharField(max_length=20, unique=True)
    name = models.CharField(max_length=100)
    active = models.BooleanField(default=True)
    stock = models.PositiveIntegerField(default=0)
    supplier = models.ForeignKey(Supplier, on_delete=models.PROTECT, related_name="products")

    objects = ProductManager()

    class Meta:
        ordering = ["pk"]
        permissions = [("discontinue_product", "Can discontinue product")]

    def __str__(self) -> str:
        return self.code

    @classmethod
    def _quser_can_view_product(cls, user: User) -> Q:
        user.log("Only managers of the supplier and auditors see discontinued products")
        return Q(active=True) | Q(supplier__in=suppliers_of(user))

    @classmethod
    def _qgroup_can_view_product(cls, groups: "QuerySet[Group]") -> Exists:
        return Exists(groups.filter(name="Auditors"))

    async def _user_can_delete_product(self, user: User) -> bool:
        if self.active:
            user.log("Cannot delete active product lines")
            return False
        if self.stock:
            user.log("Cannot delete products with stock on hand")
            return False
        if not await user.ahas_perm("inventory.manage_supplier", self.supplier):
            user.log(f"{user} does not manage {self.supplier}")
            return False
        user.log("Product can be deleted")
        return True

    @classmethod
    def _quser_can_delete_product(cls, user: User) -> Q:
        return Q(active=False, stock=0, supplier__in=suppliers_of(user))

    def _user_can_discontinue_product(self, user: User) -> bool:
        if not self.active:
            user.log("This product is discontinued already")
            return False
        if not user.has_perm("inventory.manage_supplier", self.supplier):
            user.log(f"{user} does not manage {self.supplier}")
            return False
        return True

    @classmethod
    def _quser_can_discontinue_product(cls, user: User) -> Q:
        return Q(active=True, supplier__in=suppliers_of(user))

    @nonblocking
    def _user_can_change_product(self, user: User) -> bool:
        if self.active:
            return True
        user.log("Cannot change discontinued product lines")
        return False

    @classmethod
    def _quser_can_change_product(cls, user: User) -> Q:
        return Q(active=True)
