"""The bench."""

from typing import Any

import pytest

from tests.fuzz.bench import Bench, decide
from tests.testapp.models import Thing, User


@pytest.fixture
def bench(user: User, access_methods: Any) -> Bench:
    methods = {"_user_can_use_thing": decide, "_group_can_use_thing": lambda _thing, _groups: False}
    access_methods(Thing, **methods)
    return Bench(user)
