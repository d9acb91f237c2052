"""Sync = async = reference, after every step of random histories.

Each history is gone through by a user that is only checked with the sync API, by one that is only
checked with the async API, and by one that is checked with both in turn.

They are few, and the same every time, unless ``DJEM_TEST_EXAMPLES`` says how many: then they are
new ones, and the seed is printed. ``DJEM_TEST_SEED`` repeats such a run, and ``DJEM_TEST_HISTORY``
one history, as a failure prints it::

    DJEM_TEST_EXAMPLES=20000 pytest -s tests/differential
    DJEM_TEST_HISTORY='{...}' pytest tests/differential
"""

from __future__ import annotations

import json
import os
import random
from typing import TYPE_CHECKING, Any

import pytest
from django.db import transaction

from djem_async.auth import ObjectPermissionsBackend
from tests.testapp.models import PlainUser, User

from . import expected, library, stage
from .histories import History, check_many
from .results import differing, record

if TYPE_CHECKING:
    from collections.abc import Iterator

LIBRARY = library.Library(User, PlainUser, ObjectPermissionsBackend)
APIS = (("sync",), ("async",), ("sync", "async"))
EXAMPLES = int(os.environ.get("DJEM_TEST_EXAMPLES", "0"))
SEED = int(
    os.environ.get("DJEM_TEST_SEED", random.SystemRandom().randrange(2**32) if EXAMPLES else 0)
)


@pytest.fixture(scope="module")
def _tables(django_db_setup: None, django_db_blocker: Any) -> Iterator[None]:
    with django_db_blocker.unblock():
        stage.create_tables()
    yield
    with django_db_blocker.unblock():
        stage.drop_tables()


def compare(history: History, permissions: Any, groups: Any) -> None:
    with transaction.atomic("default"), transaction.atomic("other"):
        with library.World(history, LIBRARY, permissions, groups) as world:
            people = [library.Person(world, apis) for apis in APIS]
            ours = list(record(history, world, people))
        for alias in ("default", "other"):
            transaction.set_rollback(True, alias)
    right_world = expected.World(history)
    right = list(record(history, right_world, [expected.Person(right_world, a) for a in APIS]))
    for _, action, found, wanted in differing(ours, right):
        shown = [
            f"{' and '.join(apis)}\n    library    {one}\n    reference  {other}"
            for apis, one, other in zip(APIS, found, wanted, strict=True)
            if one != other
        ]
        about = "\n  ".join([f"\n{action}", *shown])
        raise AssertionError(f"{about}\nDJEM_TEST_HISTORY='{json.dumps(history)}'")


@pytest.mark.usefixtures("_tables")
@pytest.mark.django_db(databases=["default", "other"])
def test_the_library_does_what_the_reference_does():
    permissions, groups = stage.create_permissions(), stage.create_groups()
    if "DJEM_TEST_HISTORY" in os.environ:
        compare(json.loads(os.environ["DJEM_TEST_HISTORY"]), permissions, groups)
        return

    if EXAMPLES:
        print(f"DJEM_TEST_EXAMPLES={EXAMPLES} DJEM_TEST_SEED={SEED}")
    check_many(lambda history: compare(history, permissions, groups), EXAMPLES or 250, SEED)
