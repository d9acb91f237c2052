"""The bench."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.fuzz.bench import Bench, decide
from tests.testapp.models import Thing

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.testapp.models import User


@pytest.fixture
def bench(user: User, access_methods: Callable[..., None]) -> Bench:
    def nobody(_thing: Thing, _groups: object) -> bool:
        return False

    access_methods(Thing, _user_can_use_thing=decide, _group_can_use_thing=nobody)
    return Bench(user)
