"""A bounded number of schedules; ``python -m tests.interleaving`` tries more."""

from __future__ import annotations

import pytest

from .explorer import Explorer
from .scenarios import SCENARIOS
from .storages import DatabaseStorage, OwnStorage, Storage

# Scenarios, with a seed, in which all tasks are cancelled wherever they wait.
CANCELLED = {"one_object": 1, "failures": 1}


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("storage", [DatabaseStorage, OwnStorage, Storage])
def test_checks_in_any_order_of_events(storage: type[Storage]) -> None:
    with Explorer(storage()).ready() as explorer:
        for scenario in SCENARIOS.keys() - {"helpers"}:
            for seed in range(2):
                explorer.explore(scenario, seed)


def test_helpers_of_an_access_method_write_to_the_log_of_its_check() -> None:
    with Explorer(Storage()).ready() as explorer:
        for seed in range(5):
            explorer.explore("helpers", seed)


@pytest.mark.django_db(transaction=True)
def test_cancelling_at_every_await() -> None:
    with Explorer(DatabaseStorage()).ready() as explorer:
        for scenario, seed in CANCELLED.items():
            explorer.explore(scenario, seed, cancels=True)
