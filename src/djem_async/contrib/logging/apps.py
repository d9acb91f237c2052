"""The app configuration."""

from django.apps import AppConfig

from ...signals import permission_checked
from . import log_check


class LoggingConfig(AppConfig):
    """Logs every permission check."""

    name = "djem_async.contrib.logging"
    label = "djem_async_logging"

    def ready(self) -> None:
        """Connect the receiver."""
        permission_checked.connect(log_check)
