"""What the tests of system checks share; the fixture ``find_in`` is in conftest.py."""

import re
from typing import Any

from django.core.checks import ERROR, WARNING, run_checks
from django.db import models

# Model definitions of a test go to an app of Django's, emptied: an app without a user model.
APP = "sessions"


def find(app_configs: Any = None, tags: Any = None) -> list[Any]:
    """Run Django's checks and keep the messages of this package, but for those of its admin.

    The sites of other tests may be there, and would be judged by the settings of this one.
    """
    found = run_checks(app_configs=app_configs, tags=tags)
    return [m for m in found if re.match(r"djem_async\.[A-Z]0", m.id) and not m.is_silenced()]


def ids(messages: list[Any]) -> list[str]:
    assert all(message.hint for message in messages)
    for message in messages:
        level = ERROR if message.id.startswith("djem_async.E") else WARNING
        assert message.level == level
    return sorted(message.id.removeprefix("djem_async.") for message in messages)


def make(
    *bases: type, meta: dict[str, Any] | None = None, name: str = "Item", **attributes: Any
) -> type[models.Model]:
    options = type("Meta", (), {"app_label": APP, **(meta or {})})
    names = {"__module__": __name__, "Meta": options, **attributes}
    return type(name, bases or (models.Model,), names)


def method(self, user):
    return True


async def amethod(self, user):
    return True
