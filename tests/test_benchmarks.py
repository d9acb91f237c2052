"""The benchmarks, as far as they need no peers: ratios, verdicts, and the committed results."""

import json
from dataclasses import replace
from typing import Any

import pytest

from benchmarks import report, worker
from benchmarks.bench import summary
from benchmarks.rows import OURS, PEERS, ROWS, Row

ROW = Row("cold", "A check", ("djem",), 0.5, (1, 1))
# The times of each round differ, their ratios don't: 0.4, 0.4, 0.5.
ROUNDS = [{OURS: ours, "djem": peer} for ours, peer in ((0.004, 0.010), (0.4, 1.0), (0.02, 0.04))]
RESULT = summary(ROW, ROUNDS, {OURS: [1, 1], "djem": [2, 1]})


@pytest.fixture
def committed() -> dict[str, Any]:
    results: dict[str, Any] = json.loads(report.JSON.read_text(encoding="utf-8"))
    return results


def test_ratios_are_made_per_round() -> None:
    assert RESULT["ratios"] == {"djem": [0.4, 0.4, 0.45]}


@pytest.mark.parametrize(
    ("row", "met"),
    [
        (ROW, True),
        (replace(ROW, reach=0.3), False),
        (replace(ROW, reach=None), True),
        (replace(ROW, most=(0, 1)), False),
        (replace(ROW, unit="/s"), False),
        (replace(ROW, unit="/s", reach=0.3), True),
    ],
)
def test_rows_are_judged_by_ratio_and_counts(row: Row, met: bool) -> None:
    assert report.is_met(row, RESULT) is met
    assert ("MISSED" in report.text(row, RESULT)) is not met


def test_every_row_can_be_measured() -> None:
    known = {*worker.TIMES, *worker.SIZES, "startup", "requests"}
    assert {row.name for row in ROWS} == known
    assert {peer for row in ROWS for peer in row.peers} == set(PEERS)


def test_readme_has_the_committed_results_of_all_rows(committed: dict[str, Any]) -> None:
    measured = {(row["name"], row["database"]): set(row["ratios"]) for row in committed["rows"]}
    rows = {(row.name, row.database): set(row.peers) for row in ROWS}
    assert measured == rows
    assert report.section(committed) in report.PAGE.read_text(encoding="utf-8")
