"""`AccessDecorators` at run time; what type checkers make of it is in ``tests/typing``."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from djem_async.access import AccessDecorators, is_nonblocking, nonblocking
from tests.testapp.models import Thing, User

if TYPE_CHECKING:
    from django.contrib.auth.models import Group
    from django.db.models import QuerySet


def of_a_user(self: Thing, user: User) -> bool:
    return True


async def of_groups(self: Thing, groups: QuerySet[Group]) -> bool:
    return True


def test_a_decorated_method_is_the_method() -> None:
    access = AccessDecorators[User]()
    assert access.user(of_a_user) is of_a_user
    assert access.group(of_groups) is of_groups


def test_the_user_model_may_be_named_before_it_is_defined() -> None:
    assert AccessDecorators["User"]().user(of_a_user) is of_a_user


def test_they_compose_with_nonblocking() -> None:
    def method(self: Thing, user: User) -> bool:
        return True

    access = AccessDecorators[User]()
    assert is_nonblocking(access.user(nonblocking(method)))
    with pytest.raises(TypeError, match="cannot be marked"):
        nonblocking(access.group(of_groups))
