"""Sync = async = reference, after every step of random histories.

Each history is gone through by a user that is only checked with the sync API, by one that is only
checked with the async API, and by one that is checked with both in turn.

They are few, and the same every time, unless ``DJEM_TEST_EXAMPLES`` says how many: then they are
new ones, and the seed is printed. ``DJEM_TEST_SEED`` repeats such a run, and ``DJEM_TEST_HISTORY``
one history, as a failure prints it::

    DJEM_TEST_EXAMPLES=20000 pytest -s tests/differential
    DJEM_TEST_HISTORY='{...}' pytest tests/differential
"""

import json
import os
from typing import Any

import pytest
from django.db import transaction

from djem_async.auth import ObjectPermissionsBackend
from tests.testapp.models import PlainUser, User

from . import expected, library, stage
from .histories import EXAMPLES, SEED, History, check_many
from .results import differing, record

LIBRARY = library.Library(User, PlainUser, ObjectPermissionsBackend)
APIS = (("sync",), ("async",), ("sync", "async"))


def compare(history: History, permissions: Any, group: Any) -> None:
    with transaction.atomic():
        with library.World(history, LIBRARY, permissions, group) as world:
            people = [library.Person(world, apis) for apis in APIS]
            ours = list(record(history, world, people))
        transaction.set_rollback(True)
    right_world = expected.World(history)
    right = list(record(history, right_world, [expected.Person(right_world, a) for a in APIS]))
    for _, action, found, wanted in differing(ours, right):
        shown = [f"  library    {found}", f"  reference  {wanted}"]
        repeat = f"DJEM_TEST_HISTORY='{json.dumps(history)}'"
        raise AssertionError("\n".join([f"After {action}, by {APIS}:", *shown, repeat]))


@pytest.mark.django_db
@stage.installed()
def test_the_library_does_what_the_reference_does():
    permissions, group = stage.create_permissions(), stage.create_group()
    if "DJEM_TEST_HISTORY" in os.environ:
        compare(json.loads(os.environ["DJEM_TEST_HISTORY"]), permissions, group)
        return

    if EXAMPLES:
        print(f"DJEM_TEST_EXAMPLES={EXAMPLES} DJEM_TEST_SEED={SEED}")
    check_many(lambda history: compare(history, permissions, group), EXAMPLES or 60, SEED)
