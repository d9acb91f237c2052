"""Shows results: as text while they are measured, as JSON and as the tables of the README."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from benchmarks.rows import OURS, PEERS, ROWS, Row

Result = dict[str, Any]
JSON = Path(__file__).with_name("results.json")
PAGE = Path(__file__).with_name("README.md")
BEGIN, END = "<!-- results: written by make bench -->", "<!-- end of results -->"
NAMES = {OURS: OURS, **PEERS}


def quantity(value: float, unit: str) -> str:
    """Write a figure with its unit."""
    if unit == "B":
        return f"{value:,.0f} B"
    if unit == "/s":
        return f"{value:,.0f}/s"
    size, name = next(
        (each for each in ((1e-3, "ms"), (1e-6, "µs")) if value >= each[0]), (1e-9, "ns")
    )
    return f"{value / size:.3g} {name}"


def ratio(value: float) -> str:
    return f"{value:.2g}" if value < 0.1 else f"{value:.2f}"


def goal(row: Row) -> str:
    """Say which ratio is to be reached."""
    if row.reach is None:
        return ""
    return f"{'≥' if row.is_more_better else '≤'} {row.reach:g} of {PEERS[row.peers[0]]}"


def is_met(row: Row, result: Result) -> bool:
    """Tell whether the ratio is reached, and the counts are not exceeded."""
    queries, hops = result["counts"].get(OURS, (0, 0))
    if row.most is not None and (queries > row.most[0] or hops > row.most[1]):
        return False
    if row.reach is None:
        return True
    _, found, _ = result["ratios"][row.peers[0]]
    return bool(found >= row.reach if row.is_more_better else found <= row.reach)


def counted(count: list[int] | None) -> str:
    if count is None:
        return ""
    return ", ".join(
        f"{number:,} {one if number == 1 else many}"
        for number, one, many in zip(count, ("query", "hop"), ("queries", "hops"), strict=True)
    )


def text(row: Row, result: Result) -> str:
    """Show a row with its middle halves, as it is measured."""
    verdict = "" if is_met(row, result) else "   MISSED"
    lines = ["", f"{row.title}   [{row.name}]   {goal(row)}{verdict}"]
    for name, figure in result["figures"].items():
        line = f"    {NAMES[name]:12} {quantity(figure, row.unit):>10}"
        if name in result["ratios"]:
            low, middle, high = map(ratio, result["ratios"][name])
            line += f"   ratio {middle:>7} ({low} to {high})"
        lines.append(f"{line:65} {counted(result['counts'].get(name))}".rstrip())
    if row.most is not None:
        lines.append(f"    at most {counted(list(row.most))}")
    return "\n".join(lines)


def section(results: Result) -> str:
    """Return the part of the README that the results are in."""
    found = {(each["name"], each["database"]): each for each in results["rows"]}
    pairs = [
        (row, found[row.name, row.database]) for row in ROWS if (row.name, row.database) in found
    ]
    packages = ", ".join(f"{name} {number}" for name, number in results["packages"].items())
    lines = [
        BEGIN,
        f"Python {results['python']}, {packages}.",
        "",
        f"| | {' | '.join((OURS, *PEERS.values()))} | target | |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for row, result in pairs:
        ratios = [ratio(result["ratios"][peer][1]) if peer in row.peers else "" for peer in PEERS]
        met = "" if row.reach is None else "met" if is_met(row, result) else "**missed**"
        cells = [row.title, quantity(result["figures"][OURS], row.unit), *ratios, goal(row), met]
        lines.append(f"| {' | '.join(cells)} |".replace("  ", " "))
    lines += ["", f"| | {' | '.join(NAMES.values())} |", "|---|---|---|---|---|---|"]
    for row, result in pairs:
        if result["counts"]:
            cells = [row.title, *(counted(result["counts"].get(name)) for name in NAMES)]
            lines.append(f"| {' | '.join(cells)} |".replace("  ", " "))
    return "\n".join([*lines, END])


def with_section(page: str, text: str) -> str:
    before, begin, rest = page.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not (begin and end):
        raise ValueError(f"The page has to have the lines {BEGIN!r} and {END!r}.")
    return before + text + after


def write(results: Result) -> None:
    """Write the results to results.json and to the README."""
    JSON.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
    page = PAGE.read_text(encoding="utf-8")
    PAGE.write_text(with_section(page, section(results)), encoding="utf-8")
