"""The settings and the database of the project, for one library."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

# The app and the authentication backend of each library.
LIBRARIES = {
    "djem_async": ("djem_async", "djem_async.auth.ObjectPermissionsBackend"),
    "djem": ("djem", "djem.auth.ObjectPermissionsBackend"),
    "django": (None, None),
    "guardian": ("guardian", "guardian.backends.ObjectPermissionBackend"),
    "bridgekeeper": ("bridgekeeper", "bridgekeeper.backends.RulePermissionBackend"),
    "rules": ("rules", "rules.permissions.ObjectPermissionBackend"),
}
# For every connection to PostgreSQL, as libpq reads them.
os.environ.setdefault("PGHOST", "127.0.0.1")
os.environ.setdefault("PGUSER", "postgres")
CONNECTIONS = 8
USERS = 200
PRODUCTS = 1_000
LISTED = 1_000  # the items that one user owns and may edit, however many items there are


def set_up(library: str, database: str, name: str, *, pool: bool = False) -> None:
    """Configure and start Django."""
    import django
    from django.conf import settings

    app, backend = LIBRARIES[library]
    settings.configure(
        LIBRARY=library,
        SECRET_KEY="only for measuring",
        DATABASES={"default": _database(database, name, pool=pool)},
        INSTALLED_APPS=[
            "django.contrib.auth",
            "django.contrib.contenttypes",
            "django.contrib.sessions",
            *([app] if app else []),
            "benchmarks.shop",
        ],
        MIDDLEWARE=[
            "django.middleware.common.CommonMiddleware",
            "django.contrib.sessions.middleware.SessionMiddleware",
            "django.contrib.auth.middleware.AuthenticationMiddleware",
        ],
        AUTHENTICATION_BACKENDS=[
            "django.contrib.auth.backends.ModelBackend",
            *([backend] if backend else []),
        ],
        # Without migrations, all tables are created at once.
        MIGRATION_MODULES=dict.fromkeys(("auth", "contenttypes", "sessions", "guardian", "shop")),
        AUTH_USER_MODEL="shop.User",
        ROOT_URLCONF="benchmarks.shop.urls",
        DEFAULT_AUTO_FIELD="django.db.models.BigAutoField",
        ALLOWED_HOSTS=["*"],
        USE_TZ=True,
        ANONYMOUS_USER_NAME=None,  # of django-guardian
    )
    django.setup()
    if library == "rules":
        import rules

        rules.add_perm("shop.open_product", rules.predicate(lambda _user, product: product.is_open))
    if library == "bridgekeeper":
        from bridgekeeper import perms
        from bridgekeeper.rules import Attribute

        perms["shop.open_product"] = Attribute("is_open", True)


def _database(database: str, name: str, *, pool: bool) -> dict[str, Any]:
    if database == "sqlite":
        return {"ENGINE": "django.db.backends.sqlite3", "NAME": name}
    # As many connections as there are requests at a time, so that none waits for one.
    options = {"pool": {"min_size": CONNECTIONS, "max_size": CONNECTIONS}} if pool else {}
    return {"ENGINE": "django.db.backends.postgresql", "NAME": name, "OPTIONS": options}


def fill(library: str) -> None:
    """Create the tables and the rows: every user has some permissions, and more from two groups."""
    from django.contrib.auth.models import Group, Permission
    from django.core.management import call_command

    from .models import Product, User

    call_command("migrate", run_syncdb=True, verbosity=0)
    permissions = list(Permission.objects.order_by("pk"))
    own = [each for each in permissions if each.content_type.model == "product"]
    groups = [Group.objects.create(name=name) for name in ("Editors", "Viewers")]
    for group, some in zip(groups, (permissions[:12], permissions[8:20]), strict=True):
        group.permissions.set(some)
    users = [User.objects.create(username=f"user{number}") for number in range(USERS)]
    for user in users:
        user.user_permissions.set(own)
        user.groups.set(groups)
    Product.objects.bulk_create(Product(name=f"product {number}") for number in range(PRODUCTS))
    if library == "guardian":
        from guardian.shortcuts import assign_perm

        product = Product.objects.earliest("pk")
        for user in users:
            assign_perm("shop.open_product", user, product)


def fill_items(library: str, size: int) -> int:
    """Create items until there are that many; most of them belong to other users.

    Returns:
        The primary key of the user who owns and edits the first `LISTED` items.
    """
    from django.contrib.auth.models import Permission
    from django.db import connection

    from .models import Item, User

    lister, *others = User.objects.order_by("-pk")
    begin = Item.objects.count()
    if begin == size:
        return int(lister.pk)
    assert begin < size, "The rows have to be measured in order."
    items = Item.objects.bulk_create(
        # In another order than they are created in.
        Item(
            name=f"item {number * 7919 % 100_000:05}",
            owner=lister if number < LISTED else others[number % len(others)],
        )
        for number in range(begin, size)
    )
    editors = Item.editors.through
    editors.objects.bulk_create(editors(item_id=item.pk, user_id=item.owner_id) for item in items)
    permissions = Permission.objects.filter(content_type__app_label="shop")
    if library == "guardian":
        from .models import ItemUserObjectPermission

        permission = permissions.get(codename="view_item")
        ItemUserObjectPermission.objects.bulk_create(
            ItemUserObjectPermission(
                permission=permission, user_id=item.owner_id, content_object=item
            )
            for item in items
        )
    else:
        lister.user_permissions.add(*permissions.filter(codename__endswith="_item"))
    if connection.vendor == "postgresql":
        with connection.cursor() as cursor:
            cursor.execute("ANALYZE")  # which autovacuum would do in a while
    return int(lister.pk)


def sign_in() -> str:
    """Return the key of a session of the first user."""
    from django.test import Client

    from .models import User

    client = Client()
    client.force_login(User.objects.earliest("pk"))
    return client.cookies["sessionid"].value


def create_database(database: str, name: str) -> None:
    if database == "postgresql":
        _maintain(f'CREATE DATABASE "{name}"')


def drop_database(database: str, name: str) -> None:
    if database == "postgresql":
        _maintain(f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)')
    else:
        Path(name).unlink(missing_ok=True)


def why_no_postgresql() -> str | None:
    """Return what is wrong with PostgreSQL, None if it can be used."""
    import psycopg

    try:
        _maintain("SELECT 1")
    except psycopg.Error as error:
        return str(error).splitlines()[0]
    return None


def _maintain(statement: str) -> None:
    import psycopg

    name = os.environ.get("PGDATABASE", "postgres")
    with psycopg.connect(dbname=name, autocommit=True, connect_timeout=3) as server:
        server.execute(statement)
