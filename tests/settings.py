"""Settings of the test project; ``DJEM_TEST_DB`` chooses the database."""

import os
import tempfile
from pathlib import Path
from typing import Any

_DATABASE = os.environ.get("DJEM_TEST_DB", "sqlite")

if _DATABASE == "mariadb":
    import pymysql

    pymysql.install_as_MySQLdb()


def _database(alias: str) -> dict[str, Any]:
    name = f"djem_async_{alias}_{os.getpid()}"
    match _DATABASE:
        case "sqlite":
            # Files, not memory: threads and event loops each have a connection of their own.
            return {
                "ENGINE": "django.db.backends.sqlite3",
                "NAME": f"{alias}.sqlite3",
                "OPTIONS": {"transaction_mode": "IMMEDIATE", "timeout": 20},
                "TEST": {"NAME": str(Path(tempfile.gettempdir()) / f"{name}.sqlite3")},
            }
        case "postgresql":
            return {
                "ENGINE": "django.db.backends.postgresql",
                "NAME": os.environ.get("PGDATABASE", "postgres"),
                "HOST": os.environ.get("PGHOST", "127.0.0.1"),
                "PORT": os.environ.get("PGPORT", "5432"),
                "USER": os.environ.get("PGUSER", "postgres"),
                "PASSWORD": os.environ.get("PGPASSWORD", ""),
                "TEST": {"NAME": f"test_{name}"},
            }
        case "mariadb":
            return {
                "ENGINE": "django.db.backends.mysql",
                "NAME": os.environ.get("MYSQL_DATABASE", "test"),
                "HOST": os.environ.get("MYSQL_HOST", "127.0.0.1"),
                "PORT": os.environ.get("MYSQL_PORT", "3306"),
                "USER": os.environ.get("MYSQL_USER", "root"),
                "PASSWORD": os.environ.get("MYSQL_PASSWORD", ""),
                # By default the server waits a whole day for the lock of a table.
                "OPTIONS": {"init_command": "SET SESSION lock_wait_timeout = 60"},
                "TEST": {"NAME": f"test_{name}", "CHARSET": "utf8mb4"},
            }
        case unknown:
            raise ValueError(f"DJEM_TEST_DB is {unknown!r}: use sqlite, postgresql or mariadb.")


DATABASES = {alias: _database(alias) for alias in ("default", "other")}

SECRET_KEY = "only for tests"
USE_TZ = True
TIME_ZONE = "UTC"  # MariaDB may know no others
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
AUTH_USER_MODEL = "testapp.User"
AUTHENTICATION_BACKENDS = [
    "django.contrib.auth.backends.ModelBackend",
    "djem_async.auth.ObjectPermissionsBackend",
]
INSTALLED_APPS = [
    "django.contrib.admin.apps.SimpleAdminConfig",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.messages",
    "django.contrib.sessions",
    "djem_async",
    "tests.testapp",
]
MIDDLEWARE = [
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
]
ROOT_URLCONF = "tests.testapp.urls"
LOGIN_URL = "/login/"
PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "APP_DIRS": True,
        "OPTIONS": {"context_processors": ["django.contrib.auth.context_processors.auth"]},
    }
]
# The tests have the two backends apart, and djem_async.auth.ModelBackend where they say so.
# The tests of the admin add what the others do without.
SILENCED_SYSTEM_CHECKS = ["djem_async.I001", "admin.E404", "admin.E409", "admin.W411"]
