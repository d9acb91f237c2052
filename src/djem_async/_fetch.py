"""Fetches a user's model-level permissions with one query instead of Django's two.

`ModelBackend.get_all_permissions` spends most of its time on building and compiling its queries,
although their SQL is the same for all users of a model. This module builds an equivalent query
once, from the names in ``_meta``. Unusual cases are left to Django.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final, cast

from django.db import connections, router
from django.db.models import ManyToManyField

from ._store import DJANGO_CACHES

if TYPE_CHECKING:
    from django.contrib.auth.backends import ModelBackend


def fill_permission_caches(backend: ModelBackend, user: Any) -> None:
    """Fill Django's own caches of a user's model-level permissions.

    They are filled as `ModelBackend.get_all_permissions` fills them, mostly with one query.

    Raises:
        SynchronousOnlyOperation: This thread runs an event loop.
    """
    alias = _database(user) if _is_usual(user) else None
    model = cast("Any", type(user))
    sql = None if alias is None else _sql(model, alias)
    if alias is None or sql is None:
        backend.get_all_permissions(user)
        return
    connection = connections[alias]
    pk = model._meta.pk.get_db_prep_value(user.pk, connection)
    parts: tuple[set[str], set[str]] = set(), set()
    with connection.cursor() as cursor:
        cursor.execute(sql, (pk, pk))
        rows: list[tuple[int, str, str]] = cursor.fetchall()
    for part, app_label, codename in rows:
        parts[part].add(f"{app_label}.{codename}")
    user._user_perm_cache, user._group_perm_cache = parts
    user._perm_cache = parts[0] | parts[1]


def _database(user: Any) -> str | None:
    """Return the database of Django's two queries, None if they use different ones."""
    from django.contrib.auth.models import Permission

    alias: str = router.db_for_read(Permission, instance=user)
    return alias if router.db_for_read(Permission) == alias else None


_OURS: Final = {"_state", "_olp_cache", "_log_store"}


def _is_usual(user: Any) -> bool:
    """Tell whether Django would only fetch the permissions of the user and the user's groups."""
    names: dict[str, Any] = user.__dict__
    return (
        user.is_active
        and not user.is_superuser  # who has every permission
        and user.pk is not None
        # Django keeps the set that is there, and only fetches the other one.
        and not any(hasattr(user, name) for name in DJANGO_CACHES)
        # Prefetched relations may be filtered, and are only visible under a private name.
        and not any(name.startswith("_") and name not in _OURS for name in names)
    )


@lru_cache(maxsize=256)
def _sql(user_model: Any, alias: str) -> str | None:
    """Build the query. None for a user model whose relations aren't Django's own."""
    from django.contrib.auth.models import Group, Permission

    own = _relation(user_model, "user_permissions", Permission)
    member = _relation(user_model, "groups", Group)
    if own is None or member is None:
        return None
    through: Any = Group._meta.get_field("permissions")
    content_type: Any = Permission._meta.get_field("content_type")
    # Permissions are joined once, to the rows of both parts, because that takes databases less time
    # to plan. Groups are joined as in Django, because not every database ensures that they exist.
    query = f"""
        SELECT found.part, t.[app_label], p.[codename] FROM (
            SELECT 0 AS part, a.[{own.m2m_reverse_name()}] AS pk FROM [{own.m2m_db_table()}] a
            WHERE a.[{own.m2m_column_name()}] = %s
            UNION ALL
            SELECT 1 AS part, x.[{through.m2m_reverse_name()}] AS pk
            FROM [{member.m2m_db_table()}] m
            INNER JOIN [{Group._meta.db_table}] g ON g.[id] = m.[{member.m2m_reverse_name()}]
            INNER JOIN [{through.m2m_db_table()}] x ON x.[{through.m2m_column_name()}] = g.[id]
            WHERE m.[{member.m2m_column_name()}] = %s
        ) found
        INNER JOIN [{Permission._meta.db_table}] p ON p.[id] = found.pk
        INNER JOIN [{content_type.related_model._meta.db_table}] t
        ON t.[id] = p.[{content_type.column}]
    """  # noqa: S608 - names of tables and columns
    quote = connections[alias].ops.quote_name
    # A percent sign would be read as a parameter.
    return re.sub(r"\[(.+?)\]", lambda name: quote(name[1]).replace("%", "%%"), query)


def _relation(user_model: Any, name: str, target: Any) -> Any:
    """Return a relation of users, None if it isn't a plain one of Django's."""
    fields: dict[str, Any] = {field.name: field for field in user_model._meta.many_to_many}
    field: Any = fields.get(name)
    is_plain = field is not None and (
        cast("Any", type(field)) is ManyToManyField
        and field.model is user_model._meta.concrete_model
        and field.related_model is target
        and field.remote_field.through._meta.auto_created
        and getattr(getattr(user_model, name), "field", None) is field  # hidden by nothing
    )
    return field if is_plain else None
