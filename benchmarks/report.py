"""Shows the results of a run: as text, as JSON, as a plot, and in docs/performance.md.

python -m benchmarks.report    makes the plot and the page anew from results.json
"""

from __future__ import annotations

import json
import math
import re
from html import escape
from pathlib import Path
from typing import Any

Result = dict[str, Any]

ROOT = Path(__file__).resolve().parents[1]
JSON = ROOT / "benchmarks" / "results.json"
PLOT = ROOT / "docs" / "assets" / "performance.svg"
PAGE = ROOT / "docs" / "performance.md"
DATABASES = {"sqlite": "SQLite", "postgresql": "PostgreSQL"}
BEGIN, END = "<!-- results: make bench writes what follows -->", "<!-- end of results -->"


# Words and numbers


def number(value: float) -> str:
    """Write a number with three significant digits."""
    return f"{value:,.0f}" if value >= 100 or not value else f"{value:#.3g}".rstrip(".")


def quantity(value: float, unit: str) -> str:
    """Write a figure with its unit."""
    if unit == "B":
        return f"{value:,.0f} B"
    if unit == "1/s":
        return f"{value:,.0f}/s"
    for size, name in ((1, "s"), (1e-3, "ms"), (1e-6, "µs")):
        if value >= size:
            return f"{number(value / size)} {name}"
    return f"{number(value / 1e-9)} ns"


def heading(row: Result) -> str:
    """Name a row, with its database if there are two of the kind."""
    if row["name"] in {"cold", "asgi"}:
        return f"{row['title']} ({DATABASES[row['database']]})"
    return str(row["title"])


def middle_half(spread: Result) -> str:
    return f"{number(spread['low'])} to {number(spread['high'])}"


def measured(goal: Result) -> str:
    return number(goal["median"]) + (" x" if goal["is_ratio"] else "")


def limit(goal: Result) -> str:
    return f"{goal['kind']} {goal['limit']:g}" if "limit" in goal else ""


def verdict(goal: Result) -> str:
    """Say how far a figure is from its goal, which is 1; below is better."""
    if "met" not in goal:
        return ""
    factor = number(goal["to_goal"]["median"])
    return f"{factor}, met" if goal["met"] else f"{factor}, MISSED"


def counted(counts: Result) -> str:
    return ", ".join(
        f"{counts[what]:,} {what if counts[what] != 1 else singular}"
        for what, singular in (("queries", "query"), ("hops", "hop"))
    )


# A run, as it goes on


def table(row: Result) -> str:
    """Show a row as text."""
    lines = ["", f"{heading(row)}   [{row['rounds']} rounds in {row['seconds']} s]"]
    for name, figure in row["figures"].items():
        middle, low, high = (
            quantity(figure[key], row["unit"]) for key in ("median", "low", "high")
        )
        line = f"    {name:42} {middle:>10}   ({low} to {high})"
        if counts := row["counts"].get(name):
            line += f"   {counted(counts)}"
        lines.append(line)
    lines += [
        f"  = {goal['title']:42} {measured(goal):>10}   ({middle_half(goal)})"
        f"   {limit(goal)}   to the goal: {verdict(goal)}".removesuffix("      to the goal: ")
        for goal in row["goals"]
    ]
    lines += [
        f"  = {goal['figure']:42} {counted(row['counts'][goal['figure']])}"
        f"   at most {counted(goal)}   {'met' if goal['met'] else 'MISSED'}"
        for goal in row["count_goals"]
    ]
    return "\n".join(lines)


def conclusion(results: Result) -> str:
    """Say how many goals are met, how long it took, and what could not be measured."""
    verdicts = [
        goal["met"]
        for row in results["rows"]
        for goal in row["goals"] + row["count_goals"]
        if "met" in goal
    ]
    met, minutes = sum(verdicts), results["seconds"] / 60
    lines = [f"{met} of {len(verdicts)} goals are met. The run took {minutes:.1f} minutes."]
    if results.get("quick"):
        lines.append("This was the short form, with few rounds: the figures are rough.")
    lines += [f"Not measured: {each}." for each in results["not_measured"]]
    return "\n\n".join(lines)


# The page


def section(results: Result) -> str:
    """Write what belongs between the marks of the page."""
    machine = results["machine"]
    packages = ", ".join(f"{name} {number}" for name, number in machine["packages"].items())
    lines = [
        BEGIN,
        "",
        conclusion(results),
        "",
        f"Python {machine['python']}, {packages}; {machine['system']}, {machine['cores']} cores.",
        "",
        "![How far each figure is from its goal](assets/performance.svg)",
        "",
        "| | ratio | median | middle half | goal | to the goal |",
        "|---|---|---|---|---|---|",
    ]
    for row in results["rows"]:
        title = heading(row)
        for goal in row["goals"]:
            cells = [title, goal["title"], measured(goal), middle_half(goal), limit(goal)]
            lines.append(f"| {' | '.join(cells)} | {verdict(goal)} |")
            title = ""
    lines += [
        "",
        "Queries and thread hops, counted:",
        "",
        "| | by whom | queries | hops | goal | |",
        "|---|---|---|---|---|---|",
    ]
    for row in results["rows"]:
        goals = {goal["figure"]: goal for goal in row["count_goals"]}
        title = heading(row)
        for name, counts in row["counts"].items():
            goal = goals.get(name)
            aim = f"at most {counted(goal)}" if goal else ""
            met = ("met" if goal["met"] else "MISSED") if goal else ""
            cells = [title, name, f"{counts['queries']:,}", f"{counts['hops']:,}", aim]
            lines.append(f"| {' | '.join(cells)} | {met} |")
            title = ""
    lines += [
        "",
        "The medians behind the ratios, of this one machine:",
        "",
        "| | by whom | median | middle half |",
        "|---|---|---|---|",
    ]
    for row in results["rows"]:
        title = heading(row)
        for name, figure in row["figures"].items():
            middle, low, high = (
                quantity(figure[key], row["unit"]) for key in ("median", "low", "high")
            )
            lines.append(f"| {title} | {name} | {middle} | {low} to {high} |")
            title = ""
    notes = dict.fromkeys(row["note"] for row in results["rows"] if row["note"])
    lines += ["", *(f"* {note}" for note in notes), "", END]
    return "\n".join(lines)


def with_section(page: str, text: str) -> str:
    """Replace what stands between the marks of a page."""
    before, begin, rest = page.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not (begin and end):
        raise ValueError(f"The page has to have the lines {BEGIN} and {END}.")
    return f"{before}{text}{after}"


# The plot

LIGHT = {"page": "#ffffff", "text": "#1f2328", "faint": "#59636e", "line": "#d1d9e0"} | {
    "met": "#0b6bcb",
    "missed": "#bc4c00",
}
DARK = {"page": "#0d1117", "text": "#f0f6fc", "faint": "#9198a1", "line": "#3d444d"} | {
    "met": "#58a6ff",
    "missed": "#f0883e",
}
SHAPES = """
text { font: 12px system-ui, "Helvetica Neue", Arial, sans-serif }
.title { font-size: 14px }
.title, .row { font-weight: 600 }
.row { stroke-width: 4px; paint-order: stroke }
.goal, .met, .missed { stroke-width: 2 }
"""


def colours(scheme: dict[str, str]) -> str:
    """Write the rules of a colour scheme."""
    rules = [
        ".page { fill: %(page)s }",
        ".line { stroke: %(line)s }",
        ".goal { stroke: %(text)s }",
        "text { fill: %(text)s }",
        ".row { stroke: %(page)s }",
        ".faint { fill: %(faint)s }",
        ".met { fill: %(met)s; stroke: %(met)s }",
        ".missed { fill: %(page)s; stroke: %(missed)s }",
    ]
    return "\n".join(rule % scheme for rule in rules)


WIDTH, LEFT, RIGHT, STEP = 1000, 400, 170, 20


def plot(results: Result) -> str:
    """Draw how far each figure is from its goal, on a logarithmic axis."""
    rows = [row for row in results["rows"] if any("met" in goal for goal in row["goals"])]
    goals = [goal for row in rows for goal in row["goals"] if "met" in goal]
    reach = [goal["to_goal"][key] for goal in goals for key in ("low", "high")]
    low = math.floor(math.log10(min([*reach, 0.5])) * 2) / 2
    high = math.ceil(math.log10(max([*reach, 2])) * 2) / 2

    def x(factor: float) -> float:
        share = (math.log10(factor) - low) / (high - low)
        return round(LEFT + share * (WIDTH - LEFT - RIGHT), 1)

    shapes: list[str] = []
    y = 76
    for row in rows:
        y += STEP + 4
        shapes.append(f'<text class="row" x="12" y="{y}">{escape(plain(heading(row)))}</text>')
        for goal in row["goals"]:
            if "met" in goal:
                y += STEP
                shapes += mark(goal, x, y)
    bottom = y + 14
    ticks = [
        factor
        for power in range(math.floor(low), math.ceil(high) + 1)
        for factor in (10.0**power, 3 * 10.0**power)
        if low <= math.log10(factor) <= high
    ]
    axis = [
        f'<line class="{"goal" if tick == 1 else "line"}" x1="{x(tick)}" x2="{x(tick)}" y1="70"'
        f' y2="{bottom}"/><text class="faint" x="{x(tick)}" y="62" text-anchor="middle">'
        f"{tick:g}</text>"
        for tick in ticks
    ]
    title = "How far each figure is from its goal"
    legend = (
        "1 is the goal, left of it is better. Logarithmic. A filled circle meets the goal, an empty"
        " square misses it; the bar is the middle half of the rounds."
    )
    height = bottom + 12
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" role="img">',
            f"<title>{title}</title>",
            f"<style>{SHAPES}{colours(LIGHT)}",
            f"@media (prefers-color-scheme: dark) {{\n{colours(DARK)}\n}}</style>",
            f'<rect class="page" width="{WIDTH}" height="{height}"/>',
            f'<text class="title" x="12" y="22">{title}</text>',
            f'<text class="faint" x="12" y="40">{legend}</text>',
            *axis,
            *shapes,
            "</svg>\n",
        ]
    )


def mark(goal: Result, x: Any, y: int) -> list[str]:
    """Draw one goal: its name, the spread, the median, and the number."""
    kind = "met" if goal["met"] else "missed"
    middle, low, high = (x(goal["to_goal"][key]) for key in ("median", "low", "high"))
    shape = (
        f'<circle class="met" cx="{middle}" cy="{y - 4}" r="4"/>'
        if goal["met"]
        else f'<rect class="missed" x="{middle - 4:.1f}" y="{y - 8}" width="8" height="8"/>'
    )
    number = f"{measured(goal)}, {limit(goal)}"
    return [
        f'<text x="24" y="{y}">{escape(goal["title"])}</text>',
        f'<line class="{kind}" x1="{low}" x2="{high}" y1="{y - 4}" y2="{y - 4}"/>',
        shape,
        f'<text class="faint" x="{WIDTH - RIGHT + 16}" y="{y}">{escape(number)}</text>',
    ]


def plain(markdown: str) -> str:
    return re.sub("`", "", markdown)


# Files


def write(results: Result) -> None:
    """Renew the JSON, the plot and the page."""
    JSON.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
    PLOT.parent.mkdir(exist_ok=True)
    PLOT.write_text(plot(results), encoding="utf-8")
    page = PAGE.read_text(encoding="utf-8")
    PAGE.write_text(with_section(page, section(results)), encoding="utf-8")


if __name__ == "__main__":
    write(json.loads(JSON.read_text(encoding="utf-8")))
