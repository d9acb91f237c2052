"""The stock of a product, live: a WebSocket that closes when the user loses the permission."""

from typing import Any, Final

from channels.generic.websocket import AsyncJsonWebsocketConsumer
from channels.layers import get_channel_layer
from django.contrib.auth.decorators import login_required
from django.core.exceptions import ObjectDoesNotExist
from django.db.models import F
from django.http import HttpRequest, HttpResponse
from django.views.decorators.http import require_POST, require_safe

from djem_async.auth import permission_required

from .models import Product
from .pages import current_user, page

PERM: Final = "inventory.discontinue_product"
FORBIDDEN: Final = 4403  # the code of a close frame, after HTTP's 403


def group_of(pk: int) -> str:
    return f"stock-{pk}"


async def tell(product: Product) -> None:
    """Tell all who watch the product that something has changed."""
    layer = get_channel_layer()
    assert layer is not None
    await layer.group_send(group_of(product.pk), {"type": "stock.changed"})


class StockConsumer(AsyncJsonWebsocketConsumer):
    """Sends the stock of a product, and checks the user again before each message."""

    async def connect(self) -> None:
        self.pk = self.scope["url_route"]["kwargs"]["pk"]
        await self.channel_layer.group_add(group_of(self.pk), self.channel_name)
        await self.accept()
        await self.stock_changed()

    async def disconnect(self, code: int) -> None:
        await self.channel_layer.group_discard(group_of(self.pk), self.channel_name)

    async def stock_changed(self, event: dict[str, Any] | None = None) -> None:
        user: Any = self.scope["user"]
        if not user.is_authenticated:
            await self.close(FORBIDDEN)
            return
        try:
            # Clears what is cached, and loads whether the user is still active.
            await user.arefresh_from_db()
            product = await Product.objects.aget(pk=self.pk)
        except ObjectDoesNotExist:
            await self.close(FORBIDDEN)
            return
        explanation = await user.aexplain_perm(PERM, product)
        if explanation.granted:
            await self.send_json({"stock": product.stock})
        else:
            await self.send_json({"denied": " ".join(explanation.messages)})
            await self.close(FORBIDDEN)


@require_safe
@login_required
@permission_required((PERM, "product"), raise_exception=True)
async def stock_page(request: HttpRequest, product: Product) -> HttpResponse:
    return await page(request, "stock.html", product=product)


@require_POST
@login_required
@permission_required((PERM, "product"), raise_exception=True)
async def sell(request: HttpRequest, product: Product) -> HttpResponse:
    await Product.objects.filter(pk=product.pk, stock__gt=0).aupdate(stock=F("stock") - 1)
    await tell(product)
    return HttpResponse(status=204)


@require_POST
@login_required
@permission_required((PERM, "product"), raise_exception=True)
async def step_down(request: HttpRequest, product: Product) -> HttpResponse:
    """Take the permission from the user who asks for it: they no longer manage the supplier."""
    await product.supplier.managers.aremove(await current_user(request))
    await tell(product)
    return HttpResponse(status=204)
