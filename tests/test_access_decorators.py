"""`AccessDecorators` at run time; what type checkers make of it is in ``tests/typing``."""

from __future__ import annotations

import pytest

from djem_async.access import AccessDecorators, nonblocking
from tests.testapp.models import Thing, User


def plain(self: Thing, argument: object) -> bool:
    return True


async def native(self: Thing, argument: object) -> bool:
    return True


@pytest.mark.parametrize("access", [AccessDecorators[User](), AccessDecorators["User"]()])
def test_a_decorated_method_is_the_method(access):
    for method in (plain, native, nonblocking(lambda self, argument: True)):
        assert access.user(method) is method
        assert access.group(method) is method
