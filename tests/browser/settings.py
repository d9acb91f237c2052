"""The settings of the tests, with static files."""

from tests.settings import *  # noqa: F403
from tests.settings import INSTALLED_APPS as _APPS
from tests.settings import MIDDLEWARE as _MIDDLEWARE

INSTALLED_APPS = [*_APPS, "django.contrib.staticfiles"]
STATIC_URL = "static/"
# The server starts with these.
MIDDLEWARE = [*_MIDDLEWARE, "django.contrib.messages.middleware.MessageMiddleware"]
