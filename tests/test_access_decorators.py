"""`AccessDecorators` at run time; what type checkers make of it is in ``tests/typing``."""

from djem_async.access import AccessDecorators, nonblocking
from tests.conftest import aallow, allow
from tests.testapp.models import User


def test_a_decorated_method_is_the_method():
    access = AccessDecorators[User]()
    for method in (allow, aallow, nonblocking(lambda self, argument: True)):
        assert access.user(method) is method
        assert access.group(method) is method
