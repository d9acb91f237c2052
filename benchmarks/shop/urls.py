"""One view for each contender, and the same view without a check."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from asgiref.sync import sync_to_async
from django.conf import settings
from django.http import HttpResponse
from django.urls import path

from benchmarks.floor import Cold

from .models import Product

if TYPE_CHECKING:
    from django.http import HttpRequest

PERM = "shop.inline_product"


async def unchecked(request: HttpRequest, pk: int) -> HttpResponse:
    user = await request.auser()
    product = await Product.objects.aget(pk=pk)
    return answer(user, product, granted=True)


async def checked(request: HttpRequest, pk: int) -> HttpResponse:
    user = await request.auser()
    product = await Product.objects.aget(pk=pk)
    return answer(user, product, granted=await user.ahas_perm(PERM, product))


async def floor(request: HttpRequest, pk: int) -> HttpResponse:
    user = await request.auser()
    product = await Product.objects.aget(pk=pk)
    return answer(user, product, granted=await Cold(user).ahas_perm(PERM, product))


async def checked_in_thread(request: HttpRequest, pk: int) -> HttpResponse:
    user = await request.auser()
    product = await Product.objects.aget(pk=pk)
    granted = await sync_to_async(user.has_perm)(PERM, product)
    return answer(user, product, granted=granted)


async def checked_in_place(request: HttpRequest, pk: int) -> HttpResponse:
    # For rules, which makes no query and so needs no thread.
    user = await request.auser()
    product = await Product.objects.aget(pk=pk)
    return answer(user, product, granted=user.has_perm(PERM, product))


def answer(user: Any, product: Product, *, granted: bool) -> HttpResponse:
    if not user.is_authenticated or not granted:
        return HttpResponse("denied", status=403)
    return HttpResponse(product.name)


urlpatterns = [
    path("unchecked/<int:pk>/", unchecked),
    path("checked/<int:pk>/", checked),
    path("floor/<int:pk>/", floor),
    path("thread/<int:pk>/", checked_in_thread),
    path("place/<int:pk>/", checked_in_place),
]

if settings.CONTENDER == "guardian":
    from django.views import View
    from guardian.mixins import PermissionRequiredMixin

    class Guarded(PermissionRequiredMixin, View):
        permission_required = PERM
        return_403 = True

        async def aget_permission_object(self) -> Product:
            self.object = await Product.objects.aget(pk=self.kwargs["pk"])
            return self.object

        async def get(self, _request: HttpRequest, pk: int) -> HttpResponse:
            return HttpResponse(self.object.name)

    urlpatterns += [path("mixin/<int:pk>/", Guarded.as_view())]
