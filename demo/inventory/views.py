"""The pages. Every view is ``async def``, and awaits the checks that it makes."""

import asyncio
from typing import Any, Final, NamedTuple

from asgiref.sync import sync_to_async
from django.contrib.auth import alogin, alogout
from django.contrib.auth.decorators import login_required
from django.core.paginator import Paginator
from django.db.models import Model, Q
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.shortcuts import aget_object_or_404, redirect, render
from django.utils.http import url_has_allowed_host_and_scheme
from django.views import View
from django.views.decorators.http import require_POST, require_safe

from djem_async.auth import PermissionRequiredMixin, permission_required
from djem_async.conf import conf

from . import data
from .models import Product, User

PAGE_SIZE: Final = 20
BACKEND: Final = "django.contrib.auth.backends.ModelBackend"
LISTS: Final = {
    "": "All products",
    "mine": "Of suppliers I manage",
    "sold-out": "Discontinued and sold out",
}


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
        ("inventory.delete_product", product),
        ("inventory.manage_supplier", product.supplier),
    )
    return await asyncio.gather(*(decide(user, perm, obj) for perm, obj in wanted))


async def current_user(request: HttpRequest) -> User:
    """Return the user of a view that nobody else gets into."""
    user = await request.auser()
    assert isinstance(user, User)
    return user


async def page(request: HttpRequest, template: str, **context: Any) -> HttpResponse:
    context["user"] = await request.auser()
    context["notice"] = await request.session.apop("notice", "")
    context["is_universal"] = conf.DJEM_UNIVERSAL_OLP
    # Rendering is sync, but it fetches nothing, so it needs no thread.
    return render(request, f"inventory/{template}", context)


async def back_to_list(request: HttpRequest, notice: str) -> HttpResponse:
    await request.session.aset("notice", notice)
    return redirect("product_list")


async def home(request: HttpRequest) -> HttpResponse:
    return redirect("product_list")


async def sign_in(request: HttpRequest) -> HttpResponse:
    if request.method != "POST":
        users = User.objects.prefetch_related("groups", "suppliers").order_by("pk")
        return await page(
            request,
            "sign_in.html",
            users=[user async for user in users],
            next=request.GET.get("next", ""),
        )
    username = request.POST.get("username", "")
    user = await aget_object_or_404(User, username=username, is_active=True)
    await alogin(request, user, backend=BACKEND)
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


@require_safe
@login_required
@permission_required("inventory.view_product", raise_exception=True)
async def product_list(request: HttpRequest) -> HttpResponse:
    user = await current_user(request)
    query = request.GET.get("q", "").strip()
    selected = request.GET.get("list", "")
    products = Product.objects.filter(Q(code__icontains=query) | Q(name__icontains=query))
    if selected == "mine":
        products = products.filter(supplier__managers=user)
    elif selected == "sold-out":
        products = products.filter(active=False, stock=0)
    # The paginator counts, but only the database sees all products.
    numbers = Paginator(range(await products.acount()), PAGE_SIZE).get_page(request.GET.get("page"))
    start = (numbers.number - 1) * PAGE_SIZE
    shown = [product async for product in products[start : start + PAGE_SIZE]]
    # All checks of the page at once. The template asks again with {% ifperm %}, which finds
    # each decision in the user's permission cache.
    perms = ("inventory.change_product", "inventory.delete_product")
    await asyncio.gather(*(user.ahas_perm(perm, product) for product in shown for perm in perms))
    return await page(
        request,
        "product_list.html",
        products=shown,
        numbers=numbers,
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
