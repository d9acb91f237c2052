"""The ``DJEM_*`` settings: validated when first read, plain attributes from then on."""

from difflib import get_close_matches
from typing import Any, Final

from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from django.core.signals import setting_changed

# Each setting with its default and the values it may have.
_SETTINGS: Final[dict[str, tuple[Any, tuple[Any, ...]]]] = {
    "DJEM_UNIVERSAL_OLP": (False, (True, False)),
    "DJEM_PERM_LOG_VERBOSITY": (0, (0, 1, 2)),
    "DJEM_DEFAULT_403": (False, (True, False)),
    "DJEM_OPEN_BY_DEFAULT": (True, (True, False)),
}


def misspelt_settings() -> dict[str, str]:
    """Find ``DJEM_*`` settings that don't exist, with the one that was probably meant."""
    unknown = [name for name in dir(settings) if name.startswith("DJEM_") and name not in _SETTINGS]
    guesses = ((name, get_close_matches(name, _SETTINGS, n=1, cutoff=0.8)) for name in unknown)
    return {name: guess[0] for name, guess in guesses if guess}


def setting_problems() -> list[str]:
    """Describe every ``DJEM_*`` setting whose value is not allowed, one sentence each."""
    problems: list[str] = []
    for name, (default, allowed) in _SETTINGS.items():
        value: Any = getattr(settings, name, default)
        # Compare types as well: "False" is truthy, and True == 1.
        if not any(type(value) is type(choice) and value == choice for choice in allowed):
            choices = ", ".join(repr(choice) for choice in allowed)
            problems.append(f"{name} is {value!r}. It must be one of: {choices}.")
    return problems


class _Conf:
    """The current values, read from Django's settings on first use.

    An attribute that is not set yet is looked up once and then kept: reading
    ``django.conf.settings`` on every check would cost more than the check.
    """

    DJEM_UNIVERSAL_OLP: bool
    DJEM_PERM_LOG_VERBOSITY: int
    DJEM_DEFAULT_403: bool
    DJEM_OPEN_BY_DEFAULT: bool
    epoch: object = object()
    """Another object after each change of a setting: what was derived from them is out of date."""

    def __getattr__(self, name: str) -> Any:
        """Read one setting.

        Raises:
            ImproperlyConfigured: A ``DJEM_*`` setting has a value that is not allowed.
            AttributeError: There is no such setting.
        """
        if name not in _SETTINGS:
            raise AttributeError(name)
        if problems := setting_problems():
            raise ImproperlyConfigured(" ".join(problems))
        value = getattr(settings, name, _SETTINGS[name][0])
        setattr(self, name, value)
        return value


conf: Final = _Conf()


def _forget(*, setting: str, **_kwargs: Any) -> None:
    # Sent by override_settings and its relatives, on entry and on exit.
    vars(conf).pop(setting, None)
    conf.epoch = object()


setting_changed.connect(_forget, dispatch_uid="djem_async.conf")
