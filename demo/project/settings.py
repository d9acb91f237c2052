"""Settings of the demo: one machine, one SQLite file, nothing else to start."""

import os
from pathlib import Path

BASE_DIR = Path(__file__).resolve().parent.parent

SECRET_KEY = "demo only: this server listens to nobody but this machine"
# Off by default, as Django's debug page would take the place of the demo's own 404 page.
DEBUG = os.environ.get("DEBUG") == "1"
ALLOWED_HOSTS = ["127.0.0.1", "localhost"]

INSTALLED_APPS = [
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.messages",
    "django.contrib.sessions",
    "django.contrib.staticfiles",
    "rest_framework",
    "djem_async",
    "inventory",
]
MIDDLEWARE = [
    "inventory.queries.middleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "djem_async.middleware.SharedUserMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
]
ROOT_URLCONF = "project.urls"
ASGI_APPLICATION = "project.asgi.application"
STATIC_URL = "/static/"
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "APP_DIRS": True,
        # The admin needs these. Our pages show what their views pass to them, so that nothing is
        # fetched while they are rendered.
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
            ]
        },
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

DJEM_OPEN_BY_DEFAULT = False
DJEM_PERM_LOG_VERBOSITY = 2
DJEM_UNIVERSAL_OLP = os.environ.get("UNIVERSAL_OLP") == "1"

REST_FRAMEWORK = {
    "DEFAULT_AUTHENTICATION_CLASSES": ["rest_framework.authentication.SessionAuthentication"],
    "DEFAULT_PAGINATION_CLASS": "rest_framework.pagination.PageNumberPagination",
    "PAGE_SIZE": 20,
}

# One process needs no server for its messages.
CHANNEL_LAYERS = {"default": {"BACKEND": "channels.layers.InMemoryChannelLayer"}}

if DEBUG:
    from debug_toolbar.settings import PANELS_DEFAULTS

    INSTALLED_APPS += ["debug_toolbar"]
    MIDDLEWARE.insert(0, "debug_toolbar.middleware.DebugToolbarMiddleware")
    DEBUG_TOOLBAR_PANELS = [
        "djem_async.contrib.debug_toolbar.PermissionsPanel",
        *PANELS_DEFAULTS,
    ]
    DEBUG_TOOLBAR_CONFIG = {"SHOW_COLLAPSED": True}  # it covers narrow pages
    INTERNAL_IPS = ["127.0.0.1"]

LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "handlers": {"console": {"class": "logging.StreamHandler"}},
    # A refused request is part of the demo; an error is not, and must be seen.
    "loggers": {"django": {"handlers": ["console"], "level": "ERROR", "propagate": False}},
}
