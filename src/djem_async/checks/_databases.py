"""Finds databases that may list more than a check grants."""

from collections.abc import Sequence
from typing import Any, Final

from django.apps import AppConfig
from django.core.checks import CheckMessage
from django.core.checks import Warning as CheckWarning
from django.db import connections, router
from django.db.backends.base.base import BaseDatabaseWrapper

from ._access_methods import access_methods, models_of

_CACHES_BY_COLLATION: Final = """
    SELECT FIND_IN_SET('subquery_cache=on', @@optimizer_switch) AND (
        RIGHT(@@collation_database, 4) <> '_bin'
        OR EXISTS (
            SELECT 1
            FROM information_schema.columns
            WHERE table_schema = DATABASE() AND RIGHT(collation_name, 4) <> '_bin'
        )
    )
"""


def check_databases(
    *,
    app_configs: Sequence[AppConfig] | None = None,
    databases: Sequence[str] | None = None,
    **kwargs: Any,
) -> list[CheckMessage]:
    """Find databases on which a list may hold more than a check grants.

    Args:
        app_configs: The apps that are checked, None for all.
        databases: The aliases of the databases that may be queried, None for none.
        **kwargs: Ignored.
    """
    models = [
        model
        for model in models_of(app_configs)
        if any(access.form == "query" for access in access_methods(model))
    ]
    messages: list[CheckMessage] = []
    for alias in databases or ():
        names = [model.__name__ for model in models if router.allow_migrate_model(alias, model)]
        if names and caches_by_collation(connections[alias]):
            messages.append(
                CheckWarning(
                    f"MariaDB caches subqueries by collation in the database {alias!r}. If a"
                    " condition distinguishes 'staff' from 'Staff', a list may contain objects on"
                    f" which a check denies. Models with query forms: {', '.join(names)}.",
                    hint="Add \"SET SESSION optimizer_switch='subquery_cache=off'\" to the"
                    " init_command in the OPTIONS of the database, or give the database and its"
                    " columns a _bin collation.",
                    id="djem_async.W010",
                )
            )
    return messages


def caches_by_collation(connection: BaseDatabaseWrapper) -> bool:
    """Tell whether a subquery on text may be answered with what is cached for another case.

    Args:
        connection: The connection to the database.
    """
    if not getattr(connection, "mysql_is_mariadb", False):
        return False
    with connection.cursor() as cursor:
        cursor.execute(_CACHES_BY_COLLATION)
        (found,) = cursor.fetchone()
    return bool(found)
