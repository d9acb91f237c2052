"""The settings of the tests, with djem, and with databases that need no files."""

from tests.settings import *  # noqa: F403
from tests.settings import INSTALLED_APPS as _INSTALLED_APPS

DATABASES = {
    alias: {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}
    for alias in ("default", "other")
}
INSTALLED_APPS = [*_INSTALLED_APPS, "djem", "tests.oracle"]
