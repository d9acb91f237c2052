from __future__ import annotations

from typing import Any, Protocol, TypeVar

from django.contrib.auth.models import AbstractUser
from django.db import models

from djem_async.models import OLPMixin, PermittedQuerySet

AnyUser = TypeVar("AnyUser", bound=AbstractUser)


class HasName(Protocol):
    def get_username(self) -> str: ...


class User(OLPMixin, AbstractUser):
    pass


class Category(models.Model):
    class Meta:
        default_permissions = ("view",)
        permissions = [("feature_category", "Can feature a category")]


class SupplierQuerySet(PermittedQuerySet["Supplier"]):
    pass


class Supplier(models.Model):
    objects = SupplierQuerySet.as_manager()

    class Meta:
        permissions = [("manage_supplier", "Can manage suppliers")]

    def _user_can_add_product(self, user: User) -> bool:
        """Decide for a product that does not exist yet."""
        return user.is_staff


class Perm(models.TextChoices):
    USE = "shop.use_product", "Use products"
    MANAGE = "shop.manage_supplier"
    TYPO = "shop.use_produckt", "Use products"
    PLAIN_TYPO = "shop.use_produkt"


class Product(models.Model):
    anything: Any
    objects = PermittedQuerySet["Product"].as_manager()

    class Meta:
        permissions = [("use_product", "Can use products")]
