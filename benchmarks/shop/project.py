"""Settings, database and rows of one contender."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

CONTENDERS = {
    "djem_async": ("djem_async", "djem_async.auth.ObjectPermissionsBackend"),
    "djem": ("djem", "djem.auth.ObjectPermissionsBackend"),
    "django": (None, None),
    "guardian": ("guardian", "guardian.backends.ObjectPermissionBackend"),
    "rules": ("rules", "rules.permissions.ObjectPermissionBackend"),
}
POSTGRESQL = {
    "host": os.environ.get("PGHOST", "127.0.0.1"),
    "port": os.environ.get("PGPORT", "5432"),
    "user": os.environ.get("PGUSER", "postgres"),
    "password": os.environ.get("PGPASSWORD", ""),
}
CONNECTIONS = 8
USERS = 200
PRODUCTS = 1_000


def database_settings(database: str, name: str, *, pool: bool) -> dict[str, Any]:
    if database == "sqlite":
        return {"ENGINE": "django.db.backends.sqlite3", "NAME": name}
    server = {key.upper(): value for key, value in POSTGRESQL.items()}
    # As many connections as there are requests at a time, so that none waits for one.
    options = {"pool": {"min_size": CONNECTIONS, "max_size": CONNECTIONS}} if pool else {}
    return {"ENGINE": "django.db.backends.postgresql", "NAME": name, "OPTIONS": options, **server}


def set_up(contender: str, database: str, name: str, *, pool: bool = False) -> None:
    """Configure and start Django for one contender on one database."""
    import django
    from django.conf import settings

    app, backend = CONTENDERS[contender]
    settings.configure(
        CONTENDER=contender,
        SECRET_KEY="only for measuring",
        DATABASES={"default": database_settings(database, name, pool=pool)},
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
        # Without migrations, the tables are made at once.
        MIGRATION_MODULES=dict.fromkeys(("auth", "contenttypes", "sessions", "guardian", "shop")),
        AUTH_USER_MODEL="shop.User",
        ROOT_URLCONF="benchmarks.shop.urls",
        DEFAULT_AUTO_FIELD="django.db.models.BigAutoField",
        ALLOWED_HOSTS=["*"],
        USE_TZ=True,
        ANONYMOUS_USER_NAME=None,  # of django-guardian
    )
    django.setup()
    if contender == "rules":
        import rules

        for kind in ("plain", "inline", "async"):
            rules.add_perm(f"shop.{kind}_product", rules.predicate(_is_open))


def _is_open(_user: object, product: Any) -> bool:
    return product is None or product.is_open


def fill(contender: str) -> None:
    """Make the tables, and the same rows for every contender."""
    from django.contrib.auth.models import Group, Permission
    from django.core.management import call_command

    from .models import Product, User

    call_command("migrate", run_syncdb=True, verbosity=0)
    # Permissions as many people have them: some of their own, more from two groups.
    permissions = list(Permission.objects.order_by("pk"))
    own = [each for each in permissions if each.content_type.model == "product"]
    groups = [Group.objects.create(name=name) for name in ("Editors", "Viewers")]
    for group, some in zip(groups, (permissions[:12], permissions[8:20]), strict=True):
        group.permissions.set(some)
    User.objects.bulk_create(User(username=f"user{number}") for number in range(USERS))
    users = list(User.objects.order_by("pk"))
    for model, column, others in (
        (User.user_permissions.through, "permission_id", own),
        (User.groups.through, "group_id", groups),
    ):
        model.objects.bulk_create(
            model(**{"user_id": user.pk, column: other.pk}) for user in users for other in others
        )
    Product.objects.bulk_create(Product(name=f"product {number}") for number in range(PRODUCTS))
    if contender == "guardian":
        from guardian.shortcuts import assign_perm

        first = Product.objects.order_by("pk")[0]
        for user in users:
            assign_perm("shop.inline_product", user, first)


def make_database(database: str, name: str) -> None:
    if database == "postgresql":
        _maintain(f'CREATE DATABASE "{name}"')


def drop_database(database: str, name: str) -> None:
    if database == "postgresql":
        _maintain(f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)')
    else:
        Path(name).unlink(missing_ok=True)


def why_no_postgresql() -> str | None:
    """Return None if PostgreSQL can be used, else what is wrong."""
    import psycopg

    try:
        _maintain("SELECT 1")
    except psycopg.Error as error:
        return f"PostgreSQL at {POSTGRESQL['host']}:{POSTGRESQL['port']}: {error}".splitlines()[0]
    return None


def _maintain(statement: str) -> None:
    import psycopg

    name = os.environ.get("PGDATABASE", "postgres")
    with psycopg.connect(dbname=name, autocommit=True, connect_timeout=3, **POSTGRESQL) as server:
        server.execute(statement)
