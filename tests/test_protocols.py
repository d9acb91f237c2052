"""The protocols say what is true of the classes they describe. The type checkers do the rest."""

import inspect

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
    actual = inspect.signature(getattr(kind, name)).parameters
    for parameter in inspect.signature(getattr(protocol, name)).parameters.values():
        assert actual[parameter.name].kind is parameter.kind
        has_default = actual[parameter.name].default is not inspect.Parameter.empty
        assert has_default is (parameter.default is not inspect.Parameter.empty)
