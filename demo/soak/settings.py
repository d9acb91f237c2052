"""Settings of the soak test: the demo's, on PostgreSQL with a small pool of connections."""

import os

from project.settings import AUTH_USER_MODEL as AUTH_USER_MODEL
from project.settings import AUTHENTICATION_BACKENDS as AUTHENTICATION_BACKENDS
from project.settings import DEFAULT_AUTO_FIELD as DEFAULT_AUTO_FIELD
from project.settings import DJEM_PERM_LOG_VERBOSITY as DJEM_PERM_LOG_VERBOSITY

# Which of the two processes this is.
SIDE = os.environ.get("SOAK_SIDE", "client")
POOL_SIZE = 24
POOL = {"min_size": POOL_SIZE, "max_size": POOL_SIZE, "timeout": 0.4}

SECRET_KEY = "only for the soak test"
ALLOWED_HOSTS = ["127.0.0.1"]
ROOT_URLCONF = "soak.views"
INSTALLED_APPS = [
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "djem_async",
    "inventory",
    "soak",
]
MIDDLEWARE = [
    "soak.faults.middleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "djem_async.middleware.SharedUserMiddleware",
]
SESSION_ENGINE = "django.contrib.sessions.backends.signed_cookies"
# Tables straight from the models.
MIGRATION_MODULES = {"auth": None, "contenttypes": None, "inventory": None}

DATABASES = {
    "default": {
        "ENGINE": "django.db.backends.postgresql",
        "NAME": os.environ.get("SOAK_DATABASE", "soak"),
        "HOST": os.environ.get("PGHOST", "127.0.0.1"),
        "PORT": os.environ.get("PGPORT", "5432"),
        "USER": os.environ.get("PGUSER", "postgres"),
        "PASSWORD": os.environ.get("PGPASSWORD", ""),
        # A connection that was killed while nobody used it is not handed out.
        "CONN_HEALTH_CHECKS": True,
        "OPTIONS": {
            "application_name": f"soak-{SIDE}",
            **({"pool": POOL} if SIDE == "server" else {}),
        },
    }
}
# Errors are meant to happen; they are kept in case that there is one that is not.
LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "handlers": {"console": {"class": "logging.StreamHandler"}},
    "loggers": {"django": {"handlers": ["console"], "level": "ERROR", "propagate": False}},
}
