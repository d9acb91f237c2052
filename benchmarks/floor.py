"""The least that a check can cost in Python, whatever the rules of a library are.

It has no logs and no settings, hears no change of anything, and knows one user model. It is no
library to use, but shows how much of a figure is Python's, asyncio's, asgiref's and Django's.
"""

from __future__ import annotations

import asyncio
import re
from contextvars import copy_context
from functools import cache, partial
from typing import TYPE_CHECKING, Any

from asgiref.sync import sync_to_async

if TYPE_CHECKING:
    from collections.abc import Callable


class Warm:
    """A known answer: one look-up, under what identifies the question."""

    def __init__(self, perm: str, obj: Any) -> None:
        self.answers: dict[Any, bool] = {(perm, type(obj), obj._state.db, obj.pk): True}

    def has_perm(self, perm: str, obj: Any = None) -> bool:
        return self.answers[perm, type(obj), obj._state.db, obj.pk]

    async def ahas_perm(self, perm: str, obj: Any = None) -> bool:
        return self.answers[perm, type(obj), obj._state.db, obj.pk]


class WarmForOne:
    """The same for one object only: one look-up, under the permission."""

    def __init__(self, perm: str) -> None:
        self.answers = {perm: True}

    def has_perm(self, perm: str, obj: Any = None) -> bool:
        return self.answers[perm]

    async def ahas_perm(self, perm: str, obj: Any = None) -> bool:
        return self.answers[perm]


class Cold:
    """A fresh user: one query in one hop for all checks, then a call and an entry for each."""

    def __init__(self, user: Any) -> None:
        self.user = user
        self.answers: dict[Any, bool] = {}
        self.held: asyncio.Future[set[str]] | None = None
        self.found: set[str] | None = None
        self.calls: list[tuple[Callable[[], bool], asyncio.Future[bool]]] = []

    async def ahas_perm(self, perm: str, obj: Any) -> bool:
        """Check where the access method need not run in a thread."""
        method = getattr(obj, method_name(perm))
        granted: bool = perm in await self.permissions() and method(self.user)
        self.answers[perm, type(obj), obj._state.db, obj.pk] = granted
        return granted

    async def ahas_perm_in_thread(self, perm: str, obj: Any) -> bool:
        """Check where it must: the hop for the query has room for all methods."""
        method = getattr(obj, method_name(perm))
        granted = await self.called(partial(self.is_granted, perm, method))
        self.answers[perm, type(obj), obj._state.db, obj.pk] = granted
        return granted

    def is_granted(self, perm: str, method: Callable[[Any], bool]) -> bool:
        if self.found is None:
            self.found = permissions_of(self.user.pk)
        return perm in self.found and method(self.user)

    async def permissions(self) -> set[str]:
        if self.held is None:
            self.held = asyncio.get_running_loop().create_future()
            self.held.set_result(await sync_to_async(permissions_of)(self.user.pk))
        return await self.held

    async def called(self, check: Callable[[], bool]) -> bool:
        answer = asyncio.get_running_loop().create_future()
        # `sync_to_async` gives each call a context, so that what it sets is seen by no other.
        self.calls.append((partial(copy_context().run, check), answer))
        if len(self.calls) == 1:
            await asyncio.sleep(0)  # others that begin at the same time join
            calls, self.calls = self.calls, []
            answers = await sync_to_async(lambda: [call() for call, _ in calls])()
            for (_, each), granted in zip(calls, answers, strict=True):
                each.set_result(granted)
        return await answer


@cache
def method_name(perm: str) -> str:
    return f"_user_can_{perm.partition('.')[2]}"


def permissions_of(pk: int) -> set[str]:
    """Make the query of djem_async, as bare SQL."""
    from django.db import connection

    sql, names = query()
    with connection.cursor() as cursor:
        cursor.execute(sql, dict.fromkeys(names, pk) if names else [pk] * sql.count("%s"))
        return {f"{app_label}.{codename}" for _, app_label, codename in cursor.fetchall()}


@cache
def query() -> tuple[str, list[str]]:
    """Return the query of djem_async for a fresh user, and the names of its parameters, if any.

    All of them are his key.
    """
    from benchmarks.shop.models import User
    from djem_async import _fetch

    User.objects.order_by("pk")[0].has_perm("shop.inline_product")
    # As it is kept: whoever listens to the connection would be given another form.
    (sql,) = _fetch._kept.values()
    return sql, re.findall(r"%\((\w+)\)s", sql)
