"""The benchmarks, as far as they need no peers: ratios, the report, and the committed results."""

from __future__ import annotations

import json
import re
from typing import Any
from xml.etree import ElementTree

import pytest

from benchmarks import report
from benchmarks.bench import summary
from benchmarks.rows import OURS, ROWS, CountGoal, Row, at_least, at_most, shown

ROW = Row(
    "cold",
    "A `check`",
    "s",
    (
        at_most(0.5, "ours / peer", OURS, "peer"),
        at_least(4, "peer / ours", "peer", OURS),
        at_most(0.020, "in seconds", OURS, None),
        shown("peer / peer", "peer", "peer"),
    ),
    counts=(CountGoal(OURS, 2, 1), CountGoal("peer", 2, 1)),
)
COUNTS = {OURS: [2, 1], "peer": [2, 2]}
# The times of each round differ, their ratios do not: 0.4, 0.4, 0.5.
ROUNDS = [{OURS: ours, "peer": peer} for ours, peer in ((0.004, 0.010), (0.4, 1.0), (0.02, 0.04))]


@pytest.fixture
def results() -> dict[str, Any]:
    return {
        "machine": {"python": "3.12.1", "packages": {"django": "6.1"}, "cores": 2, "system": "X"},
        "rows": [summary(ROW, ROUNDS, COUNTS) | {"seconds": 1.5}],
        "not_measured": ["Nothing (PostgreSQL): no answer"],
        "seconds": 90,
    }


def goal(title: str) -> dict[str, Any]:
    (found,) = (each for each in summary(ROW, ROUNDS, COUNTS)["goals"] if each["title"] == title)
    return found


def test_a_ratio_is_made_in_each_round() -> None:
    assert goal("ours / peer")["median"] == pytest.approx(0.4)
    assert goal("ours / peer")["low"] == pytest.approx(0.4)
    assert goal("ours / peer")["high"] == pytest.approx(0.45)


@pytest.mark.parametrize(
    ("title", "to_goal", "met"),
    [("ours / peer", 0.8, True), ("peer / ours", 1.6, False), ("in seconds", 1.0, True)],
)
def test_a_goal_is_met_up_to_a_factor_of_one(title: str, to_goal: float, met: bool) -> None:
    assert goal(title)["to_goal"]["median"] == pytest.approx(to_goal)
    assert goal(title)["met"] is met


def test_what_is_only_shown_has_no_verdict() -> None:
    assert "met" not in goal("peer / peer")


def test_counts_are_judged_by_queries_and_hops() -> None:
    verdicts = {each["figure"]: each["met"] for each in summary(ROW, ROUNDS, COUNTS)["count_goals"]}
    assert verdicts == {OURS: True, "peer": False}


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0, "0"),
        (0.00012, "0.000120"),
        (0.0584, "0.0584"),
        (0.4, "0.400"),
        (9.996, "10.0"),
        (99.96, "100"),
        (12.34, "12.3"),
        (1234.5, "1,234"),
    ],
)
def test_numbers_have_three_digits(value: float, text: str) -> None:
    assert report.number(value) == text


@pytest.mark.parametrize(
    ("value", "unit", "text"),
    [
        (2.5e-7, "s", "250 ns"),
        (1.5e-6, "s", "1.50 µs"),
        (0.02, "s", "20.0 ms"),
        (1.0, "s", "1.00 s"),
        (64, "B", "64 B"),
        (1500, "1/s", "1,500/s"),
    ],
)
def test_figures_have_their_unit(value: float, unit: str, text: str) -> None:
    assert report.quantity(value, unit) == text


def test_the_table_says_what_is_met(results: dict[str, Any]) -> None:
    text = report.table(results["rows"][0])
    assert re.search(r"ours / peer +0\.400 x .* at most 0\.5 .* 0\.800, met", text)
    assert re.search(r"peer / ours +2\.50 x .* at least 4 .* 1\.60, MISSED", text)
    assert "2 queries, 1 hop   at most 2 queries, 1 hop   met" in text


def test_the_conclusion_says_what_was_not_measured(results: dict[str, Any]) -> None:
    text = report.conclusion(results)
    assert "3 of 5 goals are met. The run took 1.5 minutes." in text
    assert "Not measured: Nothing (PostgreSQL): no answer." in text


def test_the_section_replaces_itself(results: dict[str, Any]) -> None:
    text = report.section(results)
    page = f"before\n{report.BEGIN}\nold\n{report.END}\nafter\n"
    new = report.with_section(page, text)
    assert new == f"before\n{text}\nafter\n"
    assert report.with_section(new, text) == new


def test_a_page_without_marks_is_an_error() -> None:
    with pytest.raises(ValueError, match="has to have the lines"):
        report.with_section("nothing", "text")


def test_the_plot_places_the_goals_by_their_factor(results: dict[str, Any]) -> None:
    svg = ElementTree.fromstring(report.plot(results))  # it is our own
    space = "{http://www.w3.org/2000/svg}"
    (line,) = (each for each in svg.iter(f"{space}line") if each.get("class") == "goal")
    at_goal = float(line.attrib["x1"])
    places = [float(each.attrib["cx"]) for each in svg.iter(f"{space}circle")]
    (missed,) = (each for each in svg.iter(f"{space}rect") if each.get("class") == "missed")
    assert places[0] < at_goal
    assert places[1] == pytest.approx(at_goal)
    assert float(missed.attrib["x"]) > at_goal
    assert "prefers-color-scheme: dark" in report.plot(results)


def test_every_goal_is_about_something_that_the_row_measures() -> None:
    committed = json.loads(report.JSON.read_text(encoding="utf-8"))
    measured = {(row["name"], row["database"]): row for row in committed["rows"]}
    assert set(measured) == {(row.name, row.database) for row in ROWS}
    for row in ROWS:
        found = measured[row.name, row.database]
        assert [each["title"] for each in found["goals"]] == [each.title for each in row.goals]
        assert {each.figure for each in row.goals} <= set(found["figures"])


def test_what_is_committed_is_one_run() -> None:
    results = json.loads(report.JSON.read_text(encoding="utf-8"))
    assert report.PLOT.read_text(encoding="utf-8") == report.plot(results)
    assert report.section(results) in report.PAGE.read_text(encoding="utf-8")


def test_the_short_form_says_that_it_is_rough() -> None:
    results = json.loads(report.JSON.read_text(encoding="utf-8"))
    assert "the figures are rough" in report.conclusion({**results, "quick": True})
    assert "the figures are rough" not in report.conclusion({**results, "quick": False})
