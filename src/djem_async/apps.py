"""The app configuration."""

from django.apps import AppConfig
from django.core.checks import Tags, register


class DjemAsyncConfig(AppConfig):
    """Registers the system checks."""

    name = "djem_async"
    verbose_name = "Object-level permissions"

    def ready(self) -> None:
        """Register the system checks."""
        from . import checks

        register(checks.check_settings, Tags.security)
        register(checks.check_user_model, Tags.models)
        register(checks.check_access_methods, Tags.models)
        register(checks.check_backends, Tags.security)
