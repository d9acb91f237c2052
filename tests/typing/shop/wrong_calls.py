"""Permissions that do not exist, on objects that do not have them."""

from __future__ import annotations

from enum import StrEnum
from typing import Final

from django.contrib.auth import mixins as django_mixins
from django.contrib.auth.decorators import permission_required as django_permission_required
from django.http import HttpRequest, HttpResponse
from django.views import View

from djem_async.auth import (
    Lookup,
    ObjectPermissionRequiredMixin,
    PermissionRequiredMixin,
    permission_required,
)
from djem_async.protocols import SupportsObjectPermissions

from .models import Category, Perm, Product, Supplier, User

TYPO: Final = "shop.use_produkt"


class Name(StrEnum):
    TYPO = "shop.use_prodduct"


def sync_checks(user: User, product: Product, supplier: Supplier, text: str) -> None:
    user.has_perm("shop.delte_product")  # E: djem-perm "did you mean "shop.delete_product"?"
    user.has_perm("use_product", product)  # E: djem-perm "did you mean "shop.use_product"?"
    user.has_perm(perm="shopp.use_product", obj=product)  # E: djem-perm "did you mean "shop.use_product"?"
    user.has_perm(TYPO, product)  # E: djem-perm "did you mean "shop.use_product"?"
    user.has_perm("nothing.like_it")  # E: djem-perm ""nothing.like_it""
    user.has_perm("shop.use_product", supplier)  # E: arg-type "expected "Product | None""
    user.has_perm("shop.use_product", obj=supplier)  # E: arg-type "expected "Product | None""
    user.has_perm("shop.use_product", text)  # E: arg-type "expected "Product | None"" # P: reportArgumentType
    user.has_perms(["shop.use_product", "shop.view_prodct"], product)  # E: djem-perm "did you mean "shop.view_product"?"
    user.has_perms(("shop.use_product", "shop.view_product"), supplier)  # E: arg-type "expected "Product | None""
    user.has_perms(["shop.use_product", "shop.manage_supplier"], product)  # E: arg-type "expected "None""
    user.has_perm("shop.add_product", Category())  # E: arg-type "expected "Product | Supplier | None""
    user.has_perms("shop.use_produc")  # E: djem-perm "did you mean "shop.use_product"?"


def enum_members(user: User, product: Product, supplier: Supplier) -> None:
    user.has_perm(Perm.USE, supplier)  # E: arg-type "expected "Product | None""
    user.has_perm(Perm.TYPO, product)  # E: djem-perm "did you mean "shop.use_product"?"
    user.has_perms([Perm.PLAIN_TYPO, Name.TYPO], product)  # E: djem-perm ""shop.use_produkt"" # E: djem-perm ""shop.use_prodduct""


async def async_checks(user: User, category: Category, product: Product) -> None:
    await user.ahas_perm("shop.delete_category", category)  # E: djem-perm ""shop.delete_category""
    await user.ahas_perm("shop.use_product", category)  # E: arg-type "expected "Product | None""
    await user.ahas_perms({"shop.use_products"}, product)  # E: djem-perm "did you mean "shop.use_product"?"


def of_request(request: HttpRequest, product: Product) -> None:
    request.user.has_perm("shop.use_produckt", product)  # pyright: ignore # E: djem-perm "did you mean "shop.use_product"?"


async def of_protocol(user: SupportsObjectPermissions, product: Product) -> None:
    user.has_perm("shop.usee_product", product)  # E: djem-perm "did you mean "shop.use_product"?"
    await user.ahas_perm("shop.manage_supplier", product)  # E: arg-type "expected "Supplier | None""


@permission_required("shop.view_product", ("shop.use_prodct", "product"))  # E: djem-perm "did you mean "shop.use_product"?"
def view(request: HttpRequest, product: Product) -> HttpResponse:
    return HttpResponse()


@permission_required("shop.viewproduct")  # E: djem-perm "did you mean "shop.view_product"?"
async def async_view(request: HttpRequest) -> HttpResponse:
    return HttpResponse()


@django_permission_required(["shop.view_product", "shop.ad_product"])  # E: djem-perm "did you mean "shop.add_product"?"
def django_view(request: HttpRequest) -> HttpResponse:
    return HttpResponse()


class DetailView(PermissionRequiredMixin, View):
    permission_required = [
        "shop.view_product",
        ("shop.use_prduct", "product"),  # E: djem-perm "did you mean "shop.use_product"?"
        "shop.usee_product",  # E: djem-perm "did you mean "shop.use_product"?"
    ]


@permission_required(("shop.use_prduct", Lookup(Product, "product", pk="pk")))  # E: djem-perm "did you mean "shop.use_product"?"
async def found_view(request: HttpRequest, product: Product) -> HttpResponse:
    return HttpResponse()


class EditView(ObjectPermissionRequiredMixin, View):
    permission_required = "shop.use_prduct"  # E: djem-perm "did you mean "shop.use_product"?"


class OtherView(PermissionRequiredMixin, View):
    permission_required = "shop.viw_product"  # E: djem-perm "did you mean "shop.view_product"?"


class EnumView(PermissionRequiredMixin, View):
    permission_required = [Perm.USE, (Perm.TYPO, "product")]  # E: djem-perm "did you mean "shop.use_product"?"


class NamedView(PermissionRequiredMixin, View):
    permission_required = Name.TYPO  # E: djem-perm "did you mean "shop.use_product"?"


class DjangoView(django_mixins.PermissionRequiredMixin, View):
    permission_required = ("shop.view_product", TYPO)  # E: djem-perm "did you mean "shop.use_product"?"
