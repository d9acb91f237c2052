"""The app configuration."""

from __future__ import annotations

from typing import TYPE_CHECKING

from django.apps import AppConfig
from django.core.checks import Tags, register

if TYPE_CHECKING:
    from django.utils.functional import (
        _StrOrPromise,  # pyright: ignore[reportPrivateUsage] - the type that Django's attribute has
    )


class DjemAsyncConfig(AppConfig):
    """Registers the system checks."""

    name = "djem_async"
    verbose_name: _StrOrPromise = "Object-level permissions"

    def ready(self) -> None:
        """Register the system checks."""
        from . import checks

        register(checks.check_settings, Tags.security)
        register(checks.check_user_model, Tags.models)
        register(checks.check_access_methods, Tags.models)
        register(checks.check_backends, Tags.security)
