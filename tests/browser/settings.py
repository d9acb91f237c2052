"""The settings of the tests, with static files."""

from tests.settings import *  # noqa: F403
from tests.settings import INSTALLED_APPS as _APPS

INSTALLED_APPS = [*_APPS, "django.contrib.staticfiles"]
STATIC_URL = "static/"
