# pyright: reportAttributeAccessIssue=false, reportUnknownMemberType=false, reportUnknownVariableType=false
"""Permissions of lists, which querysets, managers and shortcuts are asked for."""

from __future__ import annotations

from typing import Final

from django.contrib.auth.models import AnonymousUser
from django.db.models import QuerySet

from djem_async.shortcuts import (
    aget_object_for_user,
    aget_objects_for_user,
    apermitted,
    get_object_for_user,
    get_objects_for_user,
    permitted,
)

from .models import Category, Product, Supplier, User

TYPO: Final = "shop.use_produkt"


def wrong(user: User, nobody: AnonymousUser, product: Product) -> None:
    permitted(user, "shop.viewproduct", Product)  # E: djem-perm "did you mean "shop.view_product"?"
    permitted(nobody, model=Product, perm=TYPO)  # E: djem-perm "did you mean "shop.use_product"?"
    get_objects_for_user(user, "shop.usee_product")  # E: djem-perm "did you mean "shop.use_product"?"
    get_objects_for_user(user, "shop.usee_product", Product.objects.all())  # E: djem-perm "did you mean "shop.use_product"?"
    get_object_for_user(user, "shop.usee_product", Product, pk=1)  # E: djem-perm "did you mean "shop.use_product"?"
    Product.objects.permitted(user, "shop.usee_product")  # E: djem-perm "did you mean "shop.use_product"?"
    Supplier.objects.filter(pk=1).permitted(user, TYPO)  # E: djem-perm "did you mean "shop.use_product"?"
    Supplier.objects.permitted(user, perm=TYPO)  # E: djem-perm "did you mean "shop.use_product"?"
    user.prefetch_perms(["shop.use_product", TYPO], [product])  # E: djem-perm "did you mean "shop.use_product"?"


async def wrong_later(user: User, product: Product) -> None:
    await apermitted(user, TYPO, Product)  # E: djem-perm "did you mean "shop.use_product"?"
    await aget_objects_for_user(user, TYPO, Product)  # E: djem-perm "did you mean "shop.use_product"?"
    await aget_object_for_user(user, TYPO, Product, pk=1)  # E: djem-perm "did you mean "shop.use_product"?"
    await Supplier.objects.apermitted(user, TYPO)  # E: djem-perm "did you mean "shop.use_product"?"
    await user.aprefetch_perms([TYPO], [product])  # E: djem-perm "did you mean "shop.use_product"?"


class Unrelated:
    def permitted(self, user: User, perm: str) -> bool: return f"shop.{user.pk}" == perm


class Overriding(QuerySet[Category]):
    def permitted(self) -> bool: return self.exists()


def right(user: User, product: Product, text: str, unrelated: Unrelated, other: Overriding) -> None:
    permitted(user, "shop.use_product", Product)
    get_objects_for_user(user, "shop.use_product", Product.objects.all())
    get_objects_for_user(user, "legacy.anything", Product)
    get_object_for_user(user, text, Product)
    Product.objects.permitted(user, "shop.use_product")
    Supplier.objects.permitted(user, f"shop.{text}_supplier")
    user.prefetch_perms(["shop.use_product", text], [product])
    unrelated.permitted(user, TYPO)
    other.permitted()
