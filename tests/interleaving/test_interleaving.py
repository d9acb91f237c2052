"""A bounded number of schedules; ``python -m tests.interleaving`` tries more."""

from __future__ import annotations

import pytest

from .explorer import Explorer
from .scenarios import SCENARIOS
from .storages import DatabaseStorage, Storage


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("storage", [DatabaseStorage, Storage])
def test_checks_in_any_order_of_events(storage: type[Storage]) -> None:
    with Explorer(storage()).ready() as explorer:
        for scenario in SCENARIOS:
            for seed in range(4):
                explorer.explore(scenario, seed)


@pytest.mark.django_db(transaction=True)
def test_cancelling_at_every_await() -> None:
    with Explorer(DatabaseStorage()).ready() as explorer:
        for scenario in ("one_object", "failures"):
            explorer.explore(scenario, 1, cancels=True)
