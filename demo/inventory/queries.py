"""Counts the queries of a request, for the footer of each page."""

from collections.abc import Awaitable, Callable
from contextvars import ContextVar
from typing import Any

from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.backends.signals import connection_created
from django.dispatch import receiver
from django.http import HttpRequest
from django.http.response import HttpResponseBase
from django.utils.decorators import async_only_middleware

# A list, because the threads of a request have copies of its context.
_queries: ContextVar[list[str]] = ContextVar("queries")


def number_of_queries() -> int:
    """Return how many queries the request has made so far."""
    return len(_queries.get())


@async_only_middleware
def middleware(
    get_response: Callable[[HttpRequest], Awaitable[HttpResponseBase]],
) -> Callable[[HttpRequest], Awaitable[HttpResponseBase]]:
    async def counting(request: HttpRequest) -> HttpResponseBase:
        _queries.set([])
        return await get_response(request)

    return counting


@receiver(connection_created)
def _watch(connection: BaseDatabaseWrapper, **kwargs: Any) -> None:
    if _count not in connection.execute_wrappers:
        connection.execute_wrappers.append(_count)


def _count(execute: Callable[..., Any], sql: str, *args: Any) -> Any:
    _queries.get([]).append(sql)
    return execute(sql, *args)
