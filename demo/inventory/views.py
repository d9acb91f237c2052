"""The pages. Every view is ``async def``, and awaits the checks that it makes."""

import asyncio
from typing import Final, NamedTuple

from asgiref.sync import sync_to_async
from django.contrib.auth import alogin, alogout
from django.contrib.auth.decorators import login_required
from django.core.paginator import Page, Paginator
from django.db.models import Model, Q, QuerySet
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.shortcuts import aget_object_or_404, redirect
from django.utils.http import url_has_allowed_host_and_scheme
from django.views import View
from django.views.decorators.http import require_POST, require_safe

from djem_async.auth import PermissionRequiredMixin, permission_required

from . import data
from .models import Product, User
from .pages import back_to_list, current_user, page

PAGE_SIZE: Final = 20
# Each list has the products on which the user has a permission.
LISTS: Final = {
    "view_product": "All products",
    "change_product": "I may change",
    "discontinue_product": "I may discontinue",
    "delete_product": "I may delete",
}


class Action(NamedTuple):
    """A button, the permission that it needs, and where it is sent to."""

    label: str
    perm: str
    url: str


ACTIONS: Final = (
    Action("Clear stock", "inventory.change_product", "clear_stock"),
    Action("Discontinue", "inventory.discontinue_product", "discontinue"),
    Action("Delete", "inventory.delete_product", "delete"),
)


class Decision(NamedTuple):
    """What was decided, and the log that says why."""

    perm: str
    obj: Model
    granted: bool
    log: str


async def decide(user: User, perm: str, obj: Model) -> Decision:
    granted = await user.ahas_perm(perm, obj)
    # The log of this very check, however many tasks check at the same time.
    return Decision(perm, obj, granted, user.get_last_log())


async def decide_all(user: User, product: Product) -> list[Decision]:
    """Make all checks that concern a product, at the same time."""
    wanted = (
        ("inventory.view_product", product),
        ("inventory.change_product", product),
        ("inventory.discontinue_product", product),
        ("inventory.delete_product", product),
        ("inventory.manage_supplier", product.supplier),
    )
    return await asyncio.gather(*(decide(user, perm, obj) for perm, obj in wanted))


async def home(request: HttpRequest) -> HttpResponse:
    return redirect("product_list")


async def sign_in(request: HttpRequest) -> HttpResponse:
    if request.method != "POST":
        order = [person.pk for person in data.PEOPLE]
        users = [user async for user in User.objects.prefetch_related("groups", "suppliers")]
        users.sort(key=lambda user: order.index(user.pk))
        return await page(request, "sign_in.html", users=users, next=request.GET.get("next", ""))
    username = request.POST.get("username", "")
    user = await aget_object_or_404(User, username=username, is_active=True)
    await alogin(request, user)
    wanted = request.POST.get("next", "")
    is_ours = url_has_allowed_host_and_scheme(wanted, allowed_hosts={request.get_host()})
    return redirect(wanted if is_ours else "product_list")


@require_POST
async def sign_out(request: HttpRequest) -> HttpResponse:
    await alogout(request)
    return redirect("sign_in")


@require_POST
@login_required
async def reset(request: HttpRequest) -> HttpResponse:
    # A transaction, which Django has in sync form only.
    await sync_to_async(data.load)()
    return await back_to_list(request, "All data is as it was at the start.")


@sync_to_async
def fetch_page(products: QuerySet[Product], number: str | None) -> Page[Product]:
    """Count the products and fetch those of a page, in one thread hop.

    Django's `AsyncPaginator` needs Django 6.0, and its pages have to be awaited, which templates
    cannot.
    """
    found = Paginator(products, PAGE_SIZE).get_page(number)
    found.object_list = list(found.object_list)
    return found


@require_safe
@login_required
@permission_required("inventory.view_product", raise_exception=True)
async def product_list(request: HttpRequest) -> HttpResponse:
    user = await current_user(request)
    query = request.GET.get("q", "").strip()
    selected = request.GET.get("list", "")
    if selected not in LISTS:
        selected = "view_product"
    # The database filters by permission, so the paginator counts what the user may see.
    permitted = await Product.objects.get_queryset().apermitted(user, f"inventory.{selected}")
    found = permitted.filter(Q(code__icontains=query) | Q(name__icontains=query))
    products = await fetch_page(found, request.GET.get("page"))
    # The template asks for each button with {% ifperm %}, which finds the decision in the user's
    # permission cache. The suppliers come first, because the access methods of products check them.
    suppliers = [product.supplier for product in products]
    await user.aprefetch_perms(["inventory.manage_supplier"], suppliers)
    await user.aprefetch_perms([action.perm for action in ACTIONS], products)
    return await page(
        request,
        "product_list.html",
        products=products,
        actions=ACTIONS,
        lists=LISTS,
        selected=selected,
        query=query,
    )


@require_safe
@login_required
@permission_required(("inventory.view_product", "product"), raise_exception=True)
async def product_detail(request: HttpRequest, product: Product) -> HttpResponse:
    user = await current_user(request)
    decisions = await decide_all(user, product)
    return await page(request, "product.html", product=product, decisions=decisions)


@require_POST
@login_required
@permission_required(("inventory.change_product", "product"), raise_exception=True)
async def clear_stock(request: HttpRequest, product: Product) -> HttpResponse:
    product.stock = 0
    await product.asave(update_fields=["stock"])
    await request.session.aset("notice", f"{product} is out of stock.")
    return redirect("product", product=product.pk)


@require_POST
@login_required
@permission_required(("inventory.discontinue_product", "product"), raise_exception=True)
async def discontinue(request: HttpRequest, product: Product) -> HttpResponse:
    product.active = False
    await product.asave(update_fields=["active"])
    await request.session.aset("notice", f"{product} is discontinued.")
    return redirect("product", product=product.pk)


@require_POST
@login_required
@permission_required(("inventory.delete_product", "product"), raise_exception=True)
async def delete(request: HttpRequest, product: Product) -> HttpResponse:
    await product.adelete()
    return await back_to_list(request, f"{product} is deleted (by the view function).")


class Delete(PermissionRequiredMixin, View):
    """The same as `delete`, as a class."""

    permission_required = [("inventory.delete_product", "product")]

    async def post(self, request: HttpRequest, product: Product) -> HttpResponse:
        await product.adelete()
        return await back_to_list(request, f"{product} is deleted (by the view class).")


@require_safe
@login_required
@permission_required(("inventory.view_product", "product"), raise_exception=True)
async def product_json(request: HttpRequest, product: Product) -> JsonResponse:
    user = await current_user(request)
    return JsonResponse(
        {
            "user": user.username,
            "product": {
                "id": product.pk,
                "code": product.code,
                "name": product.name,
                "active": product.active,
                "stock": product.stock,
                "supplier": str(product.supplier),
            },
            "permissions": {
                decision.perm: {"granted": decision.granted, "log": decision.log.split("\n")}
                for decision in await decide_all(user, product)
            },
        }
    )
