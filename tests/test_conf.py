"""The settings: their defaults, their allowed values, and tests that override them."""

import pytest
from django.core.exceptions import ImproperlyConfigured
from django.test import override_settings

from djem_async import conf as conf_module
from djem_async.conf import conf, setting_problems

VALUES = {
    "DJEM_UNIVERSAL_OLP": (False, True),
    "DJEM_PERM_LOG_VERBOSITY": (0, 1, 2),
    "DJEM_DEFAULT_403": (False, True),
}
CASES = [(name, value) for name, values in VALUES.items() for value in values]


@pytest.mark.parametrize("name", VALUES)
def test_defaults(settings, name):
    setattr(settings, name, VALUES[name][0])
    delattr(settings, name)
    assert getattr(conf, name) is VALUES[name][0]


@pytest.mark.parametrize(("name", "value"), CASES)
def test_a_setting_is_read(settings, name, value):
    setattr(settings, name, value)
    assert getattr(conf, name) is value
    assert setting_problems() == []


@pytest.mark.parametrize(("name", "value"), CASES)
def test_an_overridden_setting_counts_at_once_and_as_long_as_it_is_overridden(name, value):
    before = getattr(conf, name)
    with override_settings(**{name: value}):
        assert getattr(conf, name) is value
        with override_settings(**{name: VALUES[name][-1]}):
            assert getattr(conf, name) is VALUES[name][-1]
        assert getattr(conf, name) is value
    assert getattr(conf, name) is before


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("DJEM_UNIVERSAL_OLP", "False"),
        ("DJEM_UNIVERSAL_OLP", 0),
        ("DJEM_UNIVERSAL_OLP", None),
        ("DJEM_PERM_LOG_VERBOSITY", True),
        ("DJEM_PERM_LOG_VERBOSITY", "1"),
        ("DJEM_PERM_LOG_VERBOSITY", 3),
        ("DJEM_PERM_LOG_VERBOSITY", 1.0),
        ("DJEM_DEFAULT_403", 1),
        ("DJEM_DEFAULT_403", []),
    ],
)
def test_a_value_that_is_not_allowed_is_refused(settings, name, value):
    setattr(settings, name, value)
    choices = ", ".join(map(repr, VALUES[name]))
    (problem,) = setting_problems()
    assert problem.startswith(f"{name} is {value!r}. It must be one of: ")
    assert {*choices.split(", ")} == {*problem.rstrip(".").rpartition(": ")[2].split(", ")}
    with pytest.raises(ImproperlyConfigured) as raised:
        getattr(conf, name)
    assert str(raised.value) == problem


def test_a_setting_with_a_wrong_value_never_lets_a_check_grant(settings, api, user, thing):
    settings.DJEM_UNIVERSAL_OLP = "False"
    user.is_superuser = True
    with pytest.raises(ImproperlyConfigured, match="DJEM_UNIVERSAL_OLP"):
        api(user).has_perm("testapp.use_thing", thing)


def test_other_settings_are_none_of_its_business(settings):
    settings.DJEM_SOMETHING_ELSE = True
    with pytest.raises(AttributeError, match="DJEM_SOMETHING_ELSE"):
        conf.DJEM_SOMETHING_ELSE  # noqa: B018
    with pytest.raises(AttributeError, match="DEBUG"):
        conf.DEBUG  # noqa: B018


def test_each_change_of_a_setting_ends_an_epoch_and_begins_another(settings):
    first = conf_module.epoch
    assert first.is_current
    settings.DJEM_DEFAULT_403 = True
    second = conf_module.epoch
    assert (first.is_current, second.is_current) == (False, True)
    assert second is not first
