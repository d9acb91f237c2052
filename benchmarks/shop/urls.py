"""One view, which checks a permission as each library does it in async code."""

from __future__ import annotations

from typing import TYPE_CHECKING

from asgiref.sync import sync_to_async
from django.conf import settings
from django.http import HttpResponse
from django.urls import path

from .models import Product

if TYPE_CHECKING:
    from django.http import HttpRequest


async def view(request: HttpRequest, pk: int) -> HttpResponse:
    user = await request.auser()
    product = await Product.objects.aget(pk=pk)
    granted = user.is_authenticated
    if settings.LIBRARY == "djem_async":
        granted = await user.ahas_perm("shop.open_product", product)
    elif settings.LIBRARY != "django":  # which has no permissions of an object to check
        granted = await sync_to_async(user.has_perm)("shop.open_product", product)
    return HttpResponse(product.name) if granted else HttpResponse("denied", status=403)


urlpatterns = [path("<int:pk>/", view)]
