"""Faults that strike in the access methods of a request that asks for one."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from contextvars import ContextVar
from typing import Final

from asgiref.sync import sync_to_async
from django.db import connection
from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.utils.decorators import async_only_middleware


class BugError(Exception):
    """What an access method raises that has a bug."""


class Ruin(BaseException):
    """What goes past every ``except Exception``."""


RAISED: Final[dict[str, type[BaseException]]] = {
    "raise": BugError,
    "ruin": Ruin,
    "cancel": asyncio.CancelledError,
    "close": GeneratorExit,
    "interrupt": KeyboardInterrupt,
}
# What a view may have to catch.
CAUGHT: Final[tuple[type[BaseException], ...]] = (TimeoutError, *RAISED.values())
# Seconds that a method takes, without the database and with it. Who hangs is given up by the
# middleware, who stalls by the view.
SLEEP: Final = {"hang": 0.6, "stall": 0.6, "linger": 0.05}
QUERY: Final = {"query": 0.05, "hog": 0.8}
LIMIT: Final = 0.2

current: ContextVar[str] = ContextVar("current", default="")


def strike() -> None:
    """Do what the request has asked for, in a sync access method."""
    fault = current.get()
    if fault in RAISED:
        raise RAISED[fault]("on purpose")
    if fault in SLEEP:
        time.sleep(SLEEP[fault])
    elif fault in QUERY:
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_sleep(%s)", [QUERY[fault]])


async def astrike() -> None:
    """Do the same in an async one."""
    fault = current.get()
    if fault in SLEEP:
        await asyncio.sleep(SLEEP[fault])
    elif fault in QUERY:
        await sync_to_async(strike)()
    else:
        strike()


@async_only_middleware
def middleware(
    get_response: Callable[[HttpRequest], Awaitable[HttpResponseBase]],
) -> Callable[[HttpRequest], Awaitable[HttpResponseBase]]:
    """Take the fault from the request, give up a method that hangs, and answer all that is raised.

    A `BaseException` must not reach Django, which would not give the connection back to the pool.
    """

    async def faulty(request: HttpRequest) -> HttpResponseBase:
        fault = request.headers.get("x-fault", "")
        current.set(fault)
        try:
            async with asyncio.timeout(LIMIT if fault == "hang" else None):
                return await get_response(request)
        except TimeoutError:
            return HttpResponse(status=504)
        except Ruin:
            return HttpResponse(status=500)
        except asyncio.CancelledError:
            task = asyncio.current_task()
            if task and task.cancelling():
                raise  # the client has disconnected
            return HttpResponse(status=500)

    return faulty
