"""The cold fetch of a user's model-level permissions, with one query that is compiled once.

Most of what `ModelBackend.get_all_permissions` costs is building and compiling its two queries,
though their SQL is the same for all users of a model. Here they are compiled once, and if nobody
has changed them, one query that finds the same is kept. Whatever is unusual is left to Django.
"""

from __future__ import annotations

from functools import cache, lru_cache
from operator import attrgetter
from types import FunctionType
from typing import TYPE_CHECKING, Any, Final, NamedTuple, cast

from django.core.exceptions import EmptyResultSet
from django.db import connections, router
from django.db.models import (
    AutoField,
    BigAutoField,
    F,
    ForeignKey,
    ForeignObject,
    Manager,
    QuerySet,
)
from django.db.models.expressions import RawSQL
from django.db.models.fields.related_descriptors import ManyToManyDescriptor

if TYPE_CHECKING:
    from collections.abc import Hashable

    from django.contrib.auth.backends import ModelBackend

# The SQL, empty where it cannot be kept. Threads that compile the same at once do no harm.
_kept: Final[dict[Hashable, str]] = {}
_MOST_KEPT: Final = 256


def fill_permission_caches(backend: ModelBackend, user: Any) -> None:
    """Fill Django's own caches of a user's model-level permissions.

    They are filled as `ModelBackend.get_all_permissions` fills them, mostly with one query.

    Args:
        backend: A backend whose permission methods are Django's own.
        user: An active user.

    Raises:
        SynchronousOnlyOperation: This thread runs an event loop.
    """
    relations = _usual_relations(user) if _is_unpatched(backend) else None
    rows = None if relations is None else _rows(backend, user, relations)
    if rows is None:
        backend.get_all_permissions(user)
        return
    found: tuple[set[str], set[str]] = set(), set()
    for part, app_label, codename in rows:
        found[part].add(f"{app_label}.{codename}")
    user._user_perm_cache, user._group_perm_cache = found
    user._perm_cache = found[0] | found[1]


# What `ModelBackend.get_all_permissions` consists of.
_METHODS: Final = (
    "get_all_permissions",
    "get_user_permissions",
    "get_group_permissions",
    "_get_permissions",
    "_get_user_permissions",
    "_get_group_permissions",
)
_methods_of: Final = attrgetter(*_METHODS)
_QUALNAMES: Final = (
    *(f"ModelBackend.{name}" for name in _METHODS),
    "BaseBackend.get_all_permissions",
)


def _is_unpatched(backend: ModelBackend) -> bool:
    """Tell whether the methods of the backend are those that Django has written."""
    from django.contrib.auth.backends import BaseBackend

    methods = (*_methods_of(type(backend)), BaseBackend.get_all_permissions)
    return all(map(is_djangos, methods, _QUALNAMES))


@cache
def _djangos_file() -> str:
    from django.contrib.auth.backends import RemoteUserBackend

    return RemoteUserBackend.clean_username.__code__.co_filename


def is_djangos(method: object, qualname: str) -> bool:
    """Tell whether Django has written a method of a backend, and for this place.

    Args:
        method: What is found under the name of one.
        qualname: The name of its class, and its own.
    """
    # By the code: a patch may have taken over the other marks of what it replaces, and if it is no
    # plain function, all of them. It may also be another method of Django's.
    return (
        type(method) is FunctionType
        and method.__code__.co_filename == _djangos_file()
        and method.__code__.co_qualname == qualname
    )


@cache
def _stock() -> tuple[Any, ...]:
    """Return Django's models of permissions and groups, each with its manager."""
    # Here, because this module is imported before Django's models can be.
    from django.contrib.auth.models import Group, GroupManager, Permission, PermissionManager

    return Permission, PermissionManager, Group, GroupManager


class _Relations(NamedTuple):
    """The relations of users that Django asks for permissions."""

    permissions: Any
    groups: Any
    models: tuple[Any, ...]
    """What the SQL is about, besides the user model."""


def _usual_relations(user: Any) -> _Relations | None:
    """Return the relations of a user, None if Django may ask them other than those of another."""
    permission, permission_manager, _, group_manager = _stock()
    model = cast("Any", type(user))
    permissions: Any = getattr(model, "user_permissions", None)
    groups: Any = getattr(model, "groups", None)
    is_usual = (
        permissions.__class__ is groups.__class__ is ManyToManyDescriptor
        and user.is_active
        # Django keeps what is there, and fetches the rest.
        and not hasattr(user, "_perm_cache")
        and not hasattr(user, "_user_perm_cache")
        and not hasattr(user, "_group_perm_cache")
        # A superuser has every permission.
        and not user.is_superuser
        # Another manager may find less, and not the same at all times. Django derives that of a
        # relation from the default one of the target.
        and permission_manager.get_queryset is _get_queryset
        and group_manager.get_queryset is _get_queryset
        and type(permission.objects) is permission_manager
        and permissions.related_manager_cls.__bases__[0] is permission_manager
        and groups.related_manager_cls.__bases__[0] is group_manager
        # A prefetch may have narrowed a relation, and Django 6.1 asks cached parents for it too.
        and not getattr(user, "_prefetched_objects_cache", None)
        and not any(link and link.is_cached(user) for link in model._meta.parents.values())
    )
    return _relations(permissions, groups) if is_usual else None


_get_queryset: Final[Any] = cast("Any", Manager).get_queryset


@lru_cache(maxsize=_MOST_KEPT)
def _relations(user_permissions: Any, user_groups: Any) -> _Relations | None:
    permission, _, group, _ = _stock()
    permissions, groups = user_permissions.rel, user_groups.rel
    if permissions.model is not permission or groups.model is not group:
        return None
    between = group.permissions.through, permissions.through, groups.through
    # A table of the project's own may know what it refers to by anything, not just the primary key.
    if not all(model._meta.auto_created for model in between):
        return None
    content_type = permission.content_type.field.related_model
    return _Relations(permissions.field, groups.field, (permission, content_type, group, *between))


def _rows(
    backend: ModelBackend, user: Any, relations: _Relations
) -> list[tuple[int, str, str]] | None:
    """Fetch which part of the query finds which permission, None where the SQL cannot be kept."""
    permission = relations.models[0]
    # What Django asks for its two queries, in this order.
    alias = router.db_for_read(permission, instance=user)
    if permission.objects.db != alias:
        return None
    connection: Any = connections[alias]
    params = _params(user, relations, connection)
    if params is None:
        return None
    has_names = _takes_names(connection)
    # Quoted as by this connection.
    quote = connection.ops.quote_name
    tables = tuple([quote(each._meta.db_table) for each in relations.models])
    model = cast("Any", type(user))
    key = (model, has_names, connection.__class__, connection.alias, tables)
    sql = _kept.get(key)
    if sql is None:
        # Django gets along with the name only in places, as it begins a parameter.
        is_unusual = "%" in "".join(tables)
        sql = "" if is_unusual else _compile(backend, user, relations, connection, params)
        if has_names:
            sql = _with_names(sql, params)
        if len(_kept) >= _MOST_KEPT:
            _kept.clear()
        _kept[key] = sql
    if not sql:
        return None
    with connection.cursor() as cursor:
        cursor.execute(sql, _named(params) if has_names else params)
        rows: list[tuple[int, str, str]] = cursor.fetchall()
    return rows


def _params(user: Any, relations: _Relations, connection: Any) -> tuple[Any, ...] | None:
    """Prepare the user's primary key for each query, as Django's filters do."""
    # Of a parent, where that declares the relation. Mostly one model declares both.
    models = relations.permissions.model, relations.groups.model
    first = _prepared_pk(user, models[0], connection)
    second = first if models[1] is models[0] else _prepared_pk(user, models[1], connection)
    return None if first is None or second is None else (*first, *second)


def _prepared_pk(user: Any, model: Any, connection: Any) -> list[Any] | None:
    pk = model._meta.pk
    value = getattr(user, pk.attname)
    if value is None or user.pk is None:
        return None
    if _is_plain_number(value, pk):
        return [value]
    exact = pk.get_lookup("exact")
    # Another lookup may change the value later than here.
    if not exact.__module__.startswith("django."):
        return None
    lookup = exact(pk.get_col(model._meta.db_table), value)
    # An unsaved user's may be an expression, a default of the database.
    if not lookup.rhs_is_direct_value():
        return None
    try:
        params: list[Any] = lookup.process_rhs(None, connection)[1]
    except EmptyResultSet:  # no column can hold this number
        return None
    return params


def _is_plain_number(value: object, pk: Any) -> bool:
    """Tell whether Django's lookups would do nothing to a primary key, as to most of them."""
    kind = cast("Any", type(pk))
    return (
        type(value) is int
        and 0 < value < 2**31  # in the range of all columns
        and kind in (AutoField, BigAutoField)
        and kind.get_class_lookups()["exact"].__module__.startswith("django.")
        and not getattr(pk, "instance_lookups", None)
    )


def _compile(
    backend: Any, user: Any, relations: _Relations, connection: Any, params: tuple[Any, ...]
) -> str:
    """Return the SQL that finds what Django's two queries find, empty where it cannot be kept."""
    of_user, of_groups, (permission, _, group, *_) = relations
    of_group = group.permissions.rel.field
    # A patch may have narrowed Django's queries.
    groups = _plain(group).filter(**{of_groups.related_query_name(): user})
    expected = (
        _plain(permission).filter(**{of_user.related_query_name(): user}),
        _plain(permission).filter(**{f"{of_group.related_query_name()}__in": groups}),
    )
    djangos = backend._get_user_permissions(user), backend._get_group_permissions(user)
    if not all(_are_alike(*pair, connection) for pair in zip(expected, djangos, strict=True)):
        return ""
    # The table may know users by something else, which is not what stands in `params`.
    for field in (of_user, of_groups):
        if field.m2m_target_field_name() != field.model._meta.pk.name:
            return ""
    # Permissions are joined to what is found, without what else Django may join them by.
    if not (_refers_plainly(of_user) and _refers_plainly(of_group)):
        return ""
    # Databases plan these parts in less time than Django's queries, with the tables between alone.
    # Groups stay, as nothing may ensure that they exist.
    member = f"{of_group.m2m_field_name()}__{of_groups.related_query_name()}"
    own = _keys("0", of_user, **{of_user.m2m_field_name(): user})
    through_groups = _keys("1", of_group, **{member: user})
    found_sql, found_params = _sql(own.union(through_groups, all=True), connection)
    quote = connection.ops.quote_name
    table = quote("_found")
    rows = _plain(permission).values_list(
        RawSQL(f"{table}.{quote('_part')}", ()),  # noqa: S611 - names of ours
        "content_type__app_label",
        "codename",
    )
    compiler = rows.query.get_compiler(connection=connection)
    sql, more_params = compiler.as_sql()
    columns = [column for column, _, _ in compiler.select]
    # More parameters are none of ours, and converting values is left to Django.
    if (*more_params, *found_params) != params or compiler.get_converters(columns):
        return ""
    pk = f"{quote(permission._meta.db_table)}.{quote(permission._meta.pk.column)}"
    return f"{sql} INNER JOIN ({found_sql}) {table} ON ({pk} = {table}.{quote('_permission')})"


def _refers_plainly(field: Any) -> bool:
    """Tell whether a relation goes to its target by a foreign key without a further condition."""
    key = field.remote_field.through._meta.get_field(field.m2m_reverse_field_name())
    restriction = getattr(key.get_extra_restriction, "__func__", None)
    return type(key) is ForeignKey and restriction is _no_restriction


_no_restriction: Final[Any] = cast("Any", ForeignObject).get_extra_restriction


def _plain(model: Any) -> Any:
    return cast("Any", QuerySet)(model).order_by()


def _keys(part: str, field: Any, **user: Any) -> Any:
    """Find the keys of permissions in the table of a relation, for a part of the query."""
    permission = F(field.m2m_reverse_field_name())
    rows = _plain(field.remote_field.through).filter(**user)
    return rows.values(_part=RawSQL(part, ()), _permission=permission)  # noqa: S611 - a literal


def _sql(query: Any, connection: Any) -> Any:
    return query.query.get_compiler(connection=connection).as_sql()


def _are_alike(query: Any, other: Any, connection: Any) -> bool:
    try:
        return bool(_sql(query, connection) == _sql(other.order_by(), connection))
    except EmptyResultSet:
        return False


def _takes_names(connection: Any) -> bool:
    """Tell whether parameters have names, which spares Django a search of all SQL for SQLite."""
    # Of other backends it is not known whether they can have them, nor of wrappers.
    module: str = connection.__class__.__module__
    return module == "django.db.backends.sqlite3.base" and not connection.execute_wrappers


def _with_names(sql: str, params: tuple[Any, ...]) -> str:
    if sql.count("%") != len(params):
        return ""  # the name of a column has one, which would have to be written twice
    return sql % tuple(f"%({name})s" for name in _named(params))


def _named(params: tuple[Any, ...]) -> dict[str, Any]:
    return {f"p{number}": param for number, param in enumerate(params)}
