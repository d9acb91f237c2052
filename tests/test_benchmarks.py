"""The benchmarks, as far as they need no peers: ratios, verdicts, and the committed results."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest

from benchmarks import report
from benchmarks.bench import summary
from benchmarks.rows import OURS, ROWS, CountGoal, Row, at_least, at_most

ROW = Row(
    "cold",
    "A `check`",
    "s",
    (
        at_most(0.5, "ours / peer", OURS, "peer"),
        at_least(4, "peer / ours", "peer", OURS),
        at_most(0.020, "in seconds", OURS, None),
    ),
    counts=(CountGoal(OURS, 2, 1), CountGoal("peer", 2, 1)),
)
# The times of each round differ, their ratios don't: 0.4, 0.4, 0.5.
ROUNDS = [{OURS: ours, "peer": peer} for ours, peer in ((0.004, 0.010), (0.4, 1.0), (0.02, 0.04))]
SUMMARY = summary(ROW, ROUNDS, {OURS: [2, 1], "peer": [2, 2]})


@pytest.fixture
def committed() -> dict[str, Any]:
    results: dict[str, Any] = json.loads(report.JSON.read_text(encoding="utf-8"))
    return results


def test_ratios_are_made_per_round_and_judged() -> None:
    goals = {goal["title"]: (goal["to_goal"]["median"], goal["met"]) for goal in SUMMARY["goals"]}
    assert goals == {
        "ours / peer": (pytest.approx(0.8), True),
        "peer / ours": (pytest.approx(1.6), False),
        "in seconds": (pytest.approx(1.0), True),
    }
    assert SUMMARY["goals"][0]["high"] == pytest.approx(0.45)
    counts = {each["figure"]: each["met"] for each in SUMMARY["count_goals"]}
    assert counts == {OURS: True, "peer": False}


@pytest.mark.parametrize(
    ("value", "unit", "text"),
    [
        (2.5e-7, "s", "250 ns"),
        (0.0123, "s", "12.3 ms"),
        (64, "B", "64 B"),
        (1500, "1/s", "1,500/s"),
    ],
)
def test_figures_have_three_digits_and_their_unit(value: float, unit: str, text: str) -> None:
    assert report.quantity(value, unit) == text


def test_report_names_missed_goals_and_unmeasured_rows(committed: dict[str, Any]) -> None:
    row = SUMMARY | {"seconds": 1.5}
    assert re.search(r"peer / ours +2\.50 x .* at least 4 .* 1\.60, MISSED", report.table(row))
    results = committed | {"rows": [row], "not_measured": ["Nothing: no answer"], "quick": True}
    text = report.conclusion(results)
    for part in ("3 of 5 goals are met", "Not measured: Nothing: no answer", "rough"):
        assert part in text


def test_committed_results_are_of_all_rows_and_one_run(committed: dict[str, Any]) -> None:
    measured = {(row["name"], row["database"]): row for row in committed["rows"]}
    assert set(measured) == {(row.name, row.database) for row in ROWS}
    for row in ROWS:
        goals = measured[row.name, row.database]["goals"]
        assert [goal["title"] for goal in goals] == [goal.title for goal in row.goals]
    assert report.PLOT.read_text(encoding="utf-8") == report.plot(committed)
    assert report.section(committed) in report.PAGE.read_text(encoding="utf-8")
