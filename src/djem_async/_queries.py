"""Calls to the database, in both forms."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

from ._flow import Call, Flow

if TYPE_CHECKING:
    from django.db.models import QuerySet

Row = TypeVar("Row")


def rows(queryset: QuerySet[Any, Row]) -> Flow[list[Row]]:
    """Fetch what a query finds.

    Args:
        queryset: The query.

    Returns:
        The rows.
    """
    found: list[Row] = yield Call(list, _alist, (queryset,))
    return found


async def _alist(queryset: QuerySet[Any, Row]) -> list[Row]:
    return [row async for row in queryset]
