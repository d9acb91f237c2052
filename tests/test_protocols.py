"""The protocols say what is true of the classes they describe. The type checkers do the rest."""

import inspect
from typing import Any

import pytest

from djem_async import protocols
from djem_async.models import Loggable
from tests.testapp.models import User

METHODS = [
    (protocol, name, kind)
    for protocol, kind in (
        (protocols.SupportsLogging, Loggable),
        (protocols.SupportsObjectPermissions, User),
    )
    for name, value in vars(protocol).items()
    if inspect.isfunction(value) and not name.startswith("_")
]


@pytest.mark.parametrize(("protocol", "name", "kind"), METHODS, ids=lambda value: str(value))
def test_a_class_can_be_called_as_its_protocol_says(protocol, name, kind):
    expected: dict[str, Any] = dict(inspect.signature(getattr(protocol, name)).parameters)
    actual = dict(inspect.signature(getattr(kind, name)).parameters)
    assert expected
    for parameter in expected.values():
        assert parameter.name in actual
        assert actual[parameter.name].kind is parameter.kind
        assert actual[parameter.name].default == parameter.default


def test_the_user_has_what_access_methods_and_views_need(user):
    for protocol in (protocols.SupportsLogging, protocols.SupportsObjectPermissions):
        members = {name for name in vars(protocol) if not name.startswith("_")}
        members |= set(protocol.__annotations__)
        assert len(members) >= 2
        assert all(hasattr(user, name) for name in members)
