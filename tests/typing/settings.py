"""The Django project that mypy's plugins load."""

SECRET_KEY = "only for tests"
AUTH_USER_MODEL = "shop.User"
AUTHENTICATION_BACKENDS = ["djem_async.auth.ModelBackend"]
INSTALLED_APPS = [
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "djem_async",
    "tests.typing.shop",
    "tests.typing.stock",
]
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
