"""The app configuration."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from django.apps import AppConfig
from django.core.checks import Tags, register

if TYPE_CHECKING:
    from collections.abc import Callable

    from django.core.checks import CheckMessage
    from django.utils.functional import (
        _StrOrPromise,  # pyright: ignore[reportPrivateUsage] - the type that Django's attribute has
    )


def _loaded_when_run(name: str) -> Callable[..., list[CheckMessage]]:
    """Return a system check whose code a server that starts need not load: it runs none.

    Args:
        name: The name of the check in `djem_async.checks`.
    """

    def check(**kwargs: Any) -> list[CheckMessage]:
        from . import checks

        found: list[CheckMessage] = getattr(checks, name)(**kwargs)
        return found

    check.__name__ = check.__qualname__ = name
    return check


_CHECKS: Final = (
    (_loaded_when_run("check_settings"), Tags.security),
    (_loaded_when_run("check_user_model"), Tags.models),
    (_loaded_when_run("check_access_methods"), Tags.models),
    (_loaded_when_run("check_permissions"), Tags.models),
    (_loaded_when_run("check_backends"), Tags.security),
    (_loaded_when_run("check_databases"), Tags.database),
)


class DjemAsyncConfig(AppConfig):
    """Registers the system checks."""

    name = "djem_async"
    verbose_name: _StrOrPromise = "Object-level permissions"

    def ready(self) -> None:
        """Register the system checks."""
        for check, tag in _CHECKS:
            register(check, tag)
