"""The settings: their defaults, their allowed values, and tests that override them."""

import pytest
from django.core.exceptions import ImproperlyConfigured
from django.test import override_settings

from djem_async.conf import conf

VALUES = {
    "DJEM_UNIVERSAL_OLP": (False, True),
    "DJEM_PERM_LOG_VERBOSITY": (0, 1, 2),
    "DJEM_DEFAULT_403": (False, True),
}
WRONG = {
    "DJEM_UNIVERSAL_OLP": ("False", 0, 1, None),
    "DJEM_PERM_LOG_VERBOSITY": (True, "1", 3, -1, 1.0, None),
    "DJEM_DEFAULT_403": ("yes", 1, []),
}


@pytest.mark.parametrize("name", VALUES)
def test_a_setting_counts_as_long_as_it_is_overridden(settings, name):
    default, *_, last = VALUES[name]
    setattr(settings, name, default)
    delattr(settings, name)
    assert getattr(conf, name) is default
    for value in VALUES[name]:
        with override_settings(**{name: value}):
            assert getattr(conf, name) is value
            with override_settings(**{name: last}):
                assert getattr(conf, name) is last
            assert getattr(conf, name) is value
        assert getattr(conf, name) is default


@pytest.mark.parametrize(
    ("name", "value"), [(name, value) for name, values in WRONG.items() for value in values]
)
def test_a_value_that_is_not_allowed_is_refused(settings, name, value):
    setattr(settings, name, value)
    with pytest.raises(ImproperlyConfigured) as raised:
        getattr(conf, name)
    assert f"{name} is {value!r}" in str(raised.value)
    assert all(repr(choice) in str(raised.value) for choice in VALUES[name])


@pytest.mark.parametrize(
    ("name", "value"), [("DJEM_UNIVERSAL_OLP", "False"), ("DJEM_PERM_LOG_VERBOSITY", "1")]
)
def test_a_setting_with_a_wrong_value_never_lets_a_check_grant(
    settings, api, user, thing, name, value
):
    setattr(settings, name, value)
    user.is_superuser = True
    for _ in range(2):
        with pytest.raises(ImproperlyConfigured, match=name):
            api(user).has_perm("testapp.use_thing", thing)


def test_a_name_that_is_not_a_setting_of_ours_is_an_attribute_error(settings):
    settings.DJEM_SOMETHING_ELSE = True
    for name in ("DJEM_SOMETHING_ELSE", "DEBUG"):
        with pytest.raises(AttributeError, match=name):
            getattr(conf, name)
