"""Channels: a user who stays connected is checked anew for each message."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from channels.generic.websocket import AsyncJsonWebsocketConsumer
from channels.testing import WebsocketCommunicator
from django.contrib.auth import get_user_model
from django.contrib.auth.models import AnonymousUser
from django.core.exceptions import ObjectDoesNotExist, PermissionDenied
from django.http import Http404

from djem_async.shortcuts import aget_object_for_user
from tests.frameworks.models import Post

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

pytestmark = pytest.mark.django_db(transaction=True)


class PostConsumer(AsyncJsonWebsocketConsumer):
    """As in docs/frameworks/channels.md."""

    async def connect(self) -> None:
        await (self.accept() if await self.may() else self.close())

    async def receive_json(self, content: Any, **kwargs: Any) -> None:
        await (self.send_json("granted") if await self.may() else self.close(4403))

    async def may(self) -> bool:
        user = self.scope["user"]
        if not user.is_authenticated:
            return False
        try:
            await user.arefresh_from_db()
            await aget_object_for_user(user, "frameworks.change_post", Post)
        except (ObjectDoesNotExist, Http404, PermissionDenied):
            return False
        return True


async def connect(user: Any) -> tuple[WebsocketCommunicator, bool]:
    socket = WebsocketCommunicator(PostConsumer.as_asgi(), "/")
    socket.scope["user"] = user
    is_connected, _ = await socket.connect()
    return socket, is_connected


async def test_only_permitted_users_connect(owner, other, post):
    stranger = await get_user_model().objects.acreate(username="stranger")
    for user, expected in [(owner, True), (other, False), (stranger, False)]:
        socket, is_connected = await connect(user)
        assert is_connected is expected
        await socket.disconnect()
    assert not (await connect(AnonymousUser()))[1]


async def nothing(user: Any, other: Any) -> None:
    pass


async def give_away(user: Any, other: Any) -> None:
    await Post.objects.aupdate(owner=other)


async def revoke(user: Any, other: Any) -> None:
    await user.user_permissions.aclear()


async def deactivate(user: Any, other: Any) -> None:
    await type(user).objects.filter(pk=user.pk).aupdate(is_active=False)


async def demote(user: Any, other: Any) -> None:
    await type(user).objects.filter(pk=user.pk).aupdate(is_superuser=False)
    await Post.objects.aupdate(owner=other)


async def delete_post(user: Any, other: Any) -> None:
    await Post.objects.all().adelete()


async def delete_user(user: Any, other: Any) -> None:
    await Post.objects.aupdate(owner=other)
    await type(user).objects.filter(pk=user.pk).adelete()


@pytest.mark.parametrize("is_superuser", [True, False])
@pytest.mark.parametrize(
    ("change", "closes"),
    [
        (nothing, {}),
        (give_away, {False}),
        (revoke, {False}),
        (deactivate, {True, False}),
        (demote, {True, False}),
        (delete_post, {True, False}),
        (delete_user, {True, False}),
    ],
)
async def test_change_counts_for_the_next_message(
    owner: Any,
    other: Any,
    post: Post,
    change: Callable[[Any, Any], Awaitable[None]],
    closes: set[bool],
    is_superuser: bool,
) -> None:
    owner.is_superuser = is_superuser
    await owner.asave()
    socket, is_connected = await connect(await get_user_model().objects.aget(pk=owner.pk))
    assert is_connected
    await socket.send_json_to("again")
    assert await socket.receive_json_from() == "granted"
    await change(owner, other)
    await socket.send_json_to("again")
    if is_superuser in closes:
        assert await socket.receive_output() == {"type": "websocket.close", "code": 4403}
    else:
        assert await socket.receive_json_from() == "granted"
    await socket.disconnect()
