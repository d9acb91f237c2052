"""A bounded number of schedules; ``python -m tests.interleaving`` tries more."""

from __future__ import annotations

import pytest

from .explorer import Explorer
from .scenarios import SCENARIOS
from .storages import DatabaseStorage, LiveStorage, Storage

# The seeds of the schedules, and of those in which all tasks are cancelled wherever they wait.
ORDERS = range(2)
CANCELLED = {"one_object": 1, "failing_query": 1}


def explore(storage: Storage, *scenarios: str) -> None:
    with Explorer(storage).ready() as explorer:
        for scenario in scenarios:
            for seed in ORDERS:
                explorer.explore(scenario, seed)


@pytest.mark.django_db(transaction=True)
def test_all_scenarios_with_djangos_backend() -> None:
    explore(DatabaseStorage(), *SCENARIOS)


def test_all_scenarios_with_a_backend_of_ones_own() -> None:
    explore(Storage(), *SCENARIOS)


def test_all_scenarios_with_a_backend_that_remembers_nothing() -> None:
    explore(LiveStorage(), *SCENARIOS)


@pytest.mark.django_db(transaction=True)
def test_cancelling_at_every_await() -> None:
    with Explorer(DatabaseStorage()).ready() as explorer:
        for scenario, seed in CANCELLED.items():
            explorer.explore(scenario, seed, cancels=True)
