"""Calls that are right, or whose permission is not known before they run."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from django.contrib.auth.decorators import permission_required as django_permission_required
from django.contrib.auth.models import AnonymousUser, Group
from django.contrib.auth.models import User as DjangoUser
from django.db import models
from django.http import HttpRequest, HttpResponse
from django.views import View, generic

from djem_async.auth import (
    Lookup,
    ObjectPermissionRequiredMixin,
    ObjectPermissionsBackend,
    PermissionListMixin,
    PermissionRequiredMixin,
    permission_required,
)
from djem_async.protocols import SupportsObjectPermissions

from .models import Crate, Perm, Product, RefundedOrder, Supplier, User

USE: Final = "shop.use_product"
OFTEN = "shop.anything"


class SpecialProduct(Product):
    pass


class Names:
    OFTEN = "shop.anything"


def sync_checks(user: User, product: Product, anything: Any, text: str) -> None:
    user.has_perm("shop.use_product")
    user.has_perm("shop.use_product", None)
    user.has_perm("shop.use_product", product)
    user.has_perm(perm="shop.use_product", obj=product)
    user.has_perm(USE, SpecialProduct())
    user.has_perm("shop.use_product", anything)
    user.has_perm("auth.add_group", Group())
    user.has_perm(text, product)
    user.has_perm(OFTEN, product)
    user.has_perm(Names.OFTEN, product)
    user.has_perm(Names().OFTEN, product)
    user.has_perm(f"shop.{text}_product", product)
    user.has_perm("legacy.anything", product)
    user.has_perm("shop.made_by_migration", product)
    user.has_perm(anything, anything)
    user.has_perms(["shop.use_product", text], product)
    user.has_perms([], product)
    user.has_perms(("shop.use_product", "shop.manage_supplier"))
    user.has_perms([f"shop.{verb}_product" for verb in ("add", "view")])
    user.has_module_perms("shop")


def of_another_model(user: User, supplier: Supplier) -> None:
    user.has_perm("shop.add_product", supplier)
    user.has_perms(["shop.add_product", "shop.manage_supplier"], supplier)
    user.has_perm(Perm.MANAGE, supplier)


def inherited(user: User, crate: Crate, order: RefundedOrder) -> None:
    user.has_perm("shop.t", crate)
    user.has_perm("shop.t", order)
    user.has_perm("shop.view_refundedorder", order)
    user.has_perms(["shop.t", "shop.view_refundedorder"], order)


async def async_checks(user: User, product: Product, supplier: Supplier | None) -> bool:
    if await user.ahas_perm("shop.use_product", product):
        return await user.ahas_perms(["shop.manage_supplier"], supplier)
    return all([await user.ahas_perm("shop.view_product"), not await user.ahas_module_perms("shop")])


def of_others(
    request: HttpRequest, nobody: AnonymousUser, django: DjangoUser, user: SupportsObjectPermissions
) -> None:
    request.user.has_perm("shop.use_product", Product())  # pyright: ignore
    nobody.has_perm("no.such_permission")
    django.has_perm("shop.use_product", Product())
    user.has_perm("shop.use_product", Product())
    ObjectPermissionsBackend().has_perm(django, "no.such_permission", Product())


class Unrelated:
    def has_perm(self, perm: str, obj: object = None) -> bool: return perm == obj
    async def ahas_perm(self, perm: str) -> bool: return True


def unrelated(thing: Unrelated, obj: models.Model) -> None:
    thing.has_perm("no.such_permission", obj)


@permission_required("shop.view_product", ("shop.use_product", "product"), raise_exception=True)
def view(request: HttpRequest, product: Product) -> HttpResponse:
    return HttpResponse(str(product.anything))


@permission_required(OFTEN)
async def async_view(request: HttpRequest, pk: int) -> HttpResponse:
    return HttpResponse()


@django_permission_required(("shop.view_product", "shop.use_product"), raise_exception=True)
def django_view(request: HttpRequest) -> HttpResponse:
    return HttpResponse()


async def the_types_of_views_are_kept(request: HttpRequest) -> None:
    view(request, product=Product())
    view(request, Supplier())  # E: arg-type "expected "Product"" # P: reportArgumentType
    (await async_view(request, 1)).write("")
    await async_view(request, pk="1")  # E: arg-type "expected "int"" # P: reportArgumentType


def required() -> Sequence[str]:
    return ["no.such_permission"]


class DetailView(PermissionRequiredMixin, View):
    permission_required = ["shop.view_product", ("shop.use_product", "product")]
    other = "no.such_permission"

    def get(self, request: HttpRequest, product: Product) -> HttpResponse: return HttpResponse(str(product.anything))


class ComputedView(PermissionRequiredMixin, View):
    permission_required = required()


@permission_required(("shop.use_product", Lookup(Product.objects.all(), "product", name="name")))
async def found_view(request: HttpRequest, product: Product) -> HttpResponse:
    return HttpResponse()


class EditView(ObjectPermissionRequiredMixin, generic.DetailView[Product]):
    model = Product
    permission_required = "shop.use_product"


class Products(PermissionListMixin, generic.ListView[Product]):
    model = Product
    permission_required = "shop.view_product"
