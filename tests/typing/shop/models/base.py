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


class Product(models.Model):
    anything: Any
    objects = PermittedQuerySet["Product"].as_manager()

    class Meta:
        permissions = [("use_product", "Can use products")]
