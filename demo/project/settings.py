"""Settings of the demo: one machine, one SQLite file, nothing else to start."""

import os
from pathlib import Path

BASE_DIR = Path(__file__).resolve().parent.parent

SECRET_KEY = "demo only: this server listens to nobody but this machine"
# Off by default, as Django's debug page would take the place of the demo's own 404 page.
DEBUG = os.environ.get("DEBUG") == "1"
ALLOWED_HOSTS = ["127.0.0.1", "localhost"]

INSTALLED_APPS = [
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.staticfiles",
    "djem_async",
    "inventory",
]
MIDDLEWARE = [
    "inventory.queries.middleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "djem_async.middleware.SharedUserMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
]
ROOT_URLCONF = "project.urls"
ASGI_APPLICATION = "project.asgi.application"
STATIC_URL = "/static/"
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "APP_DIRS": True,
        # What a page shows is passed by its view, so that nothing is fetched while rendering.
        "OPTIONS": {"context_processors": []},
    }
]

DATABASES = {
    "default": {
        "ENGINE": "django.db.backends.sqlite3",
        "NAME": os.environ.get("DEMO_DATABASE", str(BASE_DIR / "db.sqlite3")),
        # Each request has a thread, and so a connection, of its own: writers wait for each other.
        "OPTIONS": {"transaction_mode": "IMMEDIATE", "timeout": 20},
    }
}
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
USE_TZ = True

AUTH_USER_MODEL = "inventory.User"
AUTHENTICATION_BACKENDS = ["djem_async.auth.ModelBackend"]
LOGIN_URL = "sign_in"
CSRF_FAILURE_VIEW = "inventory.errors.csrf_failure"

DJEM_PERM_LOG_VERBOSITY = 2
DJEM_UNIVERSAL_OLP = os.environ.get("UNIVERSAL_OLP") == "1"

LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "handlers": {"console": {"class": "logging.StreamHandler"}},
    # A refused request is part of the demo; an error is not, and must be seen.
    "loggers": {"django": {"handlers": ["console"], "level": "ERROR", "propagate": False}},
}
