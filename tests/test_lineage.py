"""The models whose permissions an object can have."""

import pytest
from django.contrib.auth.models import AbstractUser

from djem_async._lineage import lineage
from tests.testapp.models import PlainUser, SpecialThing, Thing, ThingProxy, User


@pytest.mark.parametrize(
    ("model", "expected"),
    [
        (Thing, ["Thing"]),
        (ThingProxy, ["ThingProxy", "Thing"]),
        (SpecialThing, ["SpecialThing", "Thing"]),
        (User, ["User"]),
        (PlainUser, ["PlainUser"]),
        (AbstractUser, []),
    ],
)
def test_a_model_stands_before_those_it_inherits_from(model, expected):
    assert [options.object_name for options in lineage(model)] == expected
