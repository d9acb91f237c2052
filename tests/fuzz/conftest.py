"""The bench, and how much was tried on it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from tests.fuzz.bench import Bench, decide
from tests.testapp.models import Thing

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.testapp.models import User


@pytest.fixture
def bench(
    user: User,
    access_methods: Callable[..., None],
    record_property: Callable[[str, object], None],
) -> Iterator[Bench]:
    access_methods(Thing, _user_can_use_thing=decide, _group_can_use_thing=nobody)
    bench = Bench(user)
    yield bench
    for name in ("inputs", "checks", "grants"):
        record_property(name, getattr(bench, name))


def nobody(_thing: Thing, _groups: object) -> bool:
    return False


def pytest_terminal_summary(terminalreporter: Any) -> None:
    reports = [report for reports in terminalreporter.stats.values() for report in reports]
    tried = [
        dict(report.user_properties)
        for report in reports
        if getattr(report, "when", None) == "teardown"
    ]
    inputs, checks = (sum(each.get(name, 0) for each in tried) for name in ("inputs", "checks"))
    if inputs:
        terminalreporter.write_line(f"fuzz: {inputs} inputs, {checks} checks with them")
