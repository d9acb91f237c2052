"""Measures djem_async side by side with its peers: ``python -m benchmarks.bench --help``.

Each contender is a process of its own that lives as long as the run. In a round, each of them
measures a row once, beginning with another one each time; ratios are those of one round, and what
is reported is the median of the rounds.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import platform
import signal
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack
from importlib.metadata import version
from pathlib import Path
from statistics import median, quantiles
from typing import Any

from benchmarks import report
from benchmarks.client import requests_per_second
from benchmarks.rows import FLOOR, OURS, ROWS, Goal, Row
from benchmarks.shop import project

ROOT = Path(__file__).resolve().parents[1]
# Where the contenders of the row "asgi" have their views.
VIEWS = {
    OURS: (OURS, "checked"),
    "unchecked": (OURS, "unchecked"),
    FLOOR: (OURS, "floor"),
    "djem": ("djem", "thread"),
    "guardian": ("guardian", "thread"),
    "guardian, mixin": ("guardian", "mixin"),
    "rules": ("rules", "place"),
}
QUICK_ROUNDS = 3
QUICK_SECONDS = 0.03


def start(module: str, *arguments: str, **options: Any) -> subprocess.Popen[str]:
    path = os.pathsep.join([str(ROOT / "src"), str(ROOT)])
    environment = os.environ | {"PYTHONPATH": path, "PYTHONHASHSEED": "0"}
    # What is installed has been compiled, so this checkout has to be, too.
    environment.pop("PYTHONDONTWRITEBYTECODE", None)
    return subprocess.Popen(
        [sys.executable, "-m", f"benchmarks.{module}", *arguments],
        cwd=ROOT,
        env=environment,
        stdout=subprocess.PIPE,
        text=True,
        **options,
    )


class Contender:
    """A worker process with its database, and the server that may be started beside it."""

    def __init__(self, name: str, database: str, directory: Path) -> None:
        self.name, self.database = name, database
        file = f"djem_bench_{os.getpid()}_{name}"
        self.file = str(directory / file) if database == "sqlite" else file
        project.make_database(database, self.file)
        self.process = start("worker", name, database, self.file, stdin=subprocess.PIPE)
        self.server: subprocess.Popen[str] | None = None
        self.port = 0

    def wait(self) -> None:
        ready = self.answer()
        self.session, self.product = ready["session"], ready["product"]

    def answer(self) -> Any:
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        if not line:
            raise SystemExit(f"The worker of {self.name} on {self.database} has failed.")
        return json.loads(line)

    def measure(self, row: str, seconds: float, *, count: bool) -> Any:
        assert self.process.stdin is not None
        question = json.dumps({"row": row, "seconds": seconds, "count": count})
        print(question, file=self.process.stdin, flush=True)
        return self.answer()

    def serve(self) -> None:
        if self.server is None:
            self.server = start("serve", self.name, self.database, self.file)
            assert self.server.stdout is not None
            self.port = int(self.server.stdout.readline())

    def stop(self) -> None:
        for process in (self.process, self.server):
            if process is not None:
                process.kill()
                process.wait()
        project.drop_database(self.database, self.file)


class Bench:
    def __init__(self, stack: ExitStack, *, quick: bool) -> None:
        self.quick = quick
        self.stack = stack
        self.directory = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        self.contenders: dict[tuple[str, str], Contender] = {}

    def start(self, rows: list[Row]) -> None:
        """Start all that the rows need, at the same time."""
        needed = {
            (VIEWS[name][0] if row.name == "asgi" else name, row.database)
            for row in rows
            if row.name != "startup"
            for name in row.contenders
        }
        for name, database in sorted(needed):
            contender = Contender(name, database, self.directory)
            self.stack.callback(contender.stop)
            self.contenders[name, database] = contender
        for contender in self.contenders.values():
            contender.wait()

    def run(self, row: Row) -> dict[str, Any]:
        rounds = min(row.rounds, QUICK_ROUNDS) if self.quick else row.rounds
        found: list[dict[str, float]] = []
        counts: dict[str, list[int]] = {}
        for number in range(rounds):
            turn = number % len(row.contenders)
            figures: dict[str, float] = {}
            for name in row.contenders[turn:] + row.contenders[:turn]:
                answer = self.sample(row, name, count=not number)
                figures |= answer["figures"]
                counts |= answer.get("counts", {})
            found.append(figures)
        return summary(row, found, counts)

    def sample(self, row: Row, name: str, *, count: bool) -> Any:
        seconds = min(row.seconds, QUICK_SECONDS) if self.quick else row.seconds
        if row.name == "startup":
            if count:
                startup(name)  # once for nothing: it compiles what is imported
            return {"figures": {name: startup(name)}}
        if row.name == "asgi":
            return {"figures": {name: self.requests(name, row.database, row.seconds)}}
        return self.contenders[name, row.database].measure(row.name, seconds, count=count)

    def requests(self, name: str, database: str, seconds: float) -> float:
        name, view = VIEWS[name]
        contender = self.contenders[name, database]
        contender.serve()
        path = f"/{view}/{contender.product}/"
        seconds = seconds / 4 if self.quick else seconds
        asked = requests_per_second(contender.port, path, contender.session, seconds)
        return asyncio.run(asked)


def startup(name: str) -> float:
    process = start("startup", OURS if OURS in name else "django")
    output, _ = process.communicate()
    return float(output)


def spread(values: list[float]) -> dict[str, float]:
    """Return the median, and between which limits the middle half of the values lies."""
    low, high = (values * 2 if len(values) == 1 else values)[0:2]
    if len(values) > 1:
        low, _, high = quantiles(values, n=4, method="inclusive")
    return {"median": median(values), "low": low, "high": high}


def summary(
    row: Row, rounds: list[dict[str, float]], counts: dict[str, list[int]]
) -> dict[str, Any]:
    return {
        "name": row.name,
        "title": row.title,
        "database": row.database,
        "unit": row.unit,
        "note": row.note,
        "rounds": len(rounds),
        "figures": {name: spread([each[name] for each in rounds]) for name in rounds[0]},
        "counts": {name: {"queries": q, "hops": h} for name, (q, h) in counts.items()},
        "goals": [judged(goal, rounds) for goal in row.goals],
        "count_goals": [
            {
                "figure": goal.figure,
                "queries": goal.queries,
                "hops": goal.hops,
                "met": counts[goal.figure][0] <= goal.queries
                and counts[goal.figure][1] <= goal.hops,
            }
            for goal in row.counts
        ],
    }


def judged(goal: Goal, rounds: list[dict[str, float]]) -> dict[str, Any]:
    ratios = [each[goal.figure] / (each[goal.per] if goal.per else 1) for each in rounds]
    result = {"title": goal.title, "is_ratio": goal.per is not None, **spread(ratios)}
    if goal.limit is None:
        return result
    # Above 1, the goal is missed by this factor.
    to_goal = [
        ratio / goal.limit if goal.kind == "at most" else goal.limit / ratio for ratio in ratios
    ]
    return {
        **result,
        "kind": goal.kind,
        "limit": goal.limit,
        "to_goal": spread(to_goal),
        "met": median(to_goal) <= 1,
    }


def machine() -> dict[str, Any]:
    packages = ["django", "djem", "django-guardian", "rules", "asgiref", "uvicorn", "psycopg"]
    return {
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.machine()}",
        "cores": os.cpu_count(),
        "packages": {name: version(name) for name in packages},
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="a short form, for trying out")
    parser.add_argument("--rows", default="", help="only rows with one of these words: warm,asgi")
    parser.add_argument(
        "--cpu", action="store_true", help="measure CPU time, where other work makes times useless"
    )
    parser.add_argument("--write", action="store_true", help="renew the results in the repository")
    parser.add_argument("--json", type=Path, help="write the results to this file")
    arguments = parser.parse_args()
    if arguments.cpu:
        os.environ["BENCH_CLOCK"] = "cpu"
    # So that what was started is stopped, and databases are dropped, also if this is ended early.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    words = [word for word in arguments.rows.split(",") if word]
    rows = [row for row in ROWS if not words or any(word in row.name for word in words)]
    began = time.perf_counter()
    missing: list[str] = []
    if problem := project.why_no_postgresql():
        missing = [f"{row.title} (PostgreSQL): {problem}" for row in rows if is_postgresql(row)]
        rows = [row for row in rows if not is_postgresql(row)]
    with ExitStack() as stack:
        bench = Bench(stack, quick=arguments.quick)
        bench.start(rows)
        results: dict[str, Any] = {"machine": machine(), "quick": arguments.quick, "rows": []}
        for row in rows:
            row_began = time.perf_counter()
            result = bench.run(row)
            result["seconds"] = round(time.perf_counter() - row_began, 1)
            results["rows"].append(result)
            print(report.table(result), flush=True)
    results["not_measured"] = missing
    results["seconds"] = round(time.perf_counter() - began)
    print(report.conclusion(results))
    if arguments.json:
        arguments.json.write_text(json.dumps(results, indent=1) + "\n")
    if arguments.write:
        report.write(results)


def is_postgresql(row: Row) -> bool:
    return row.database == "postgresql"


if __name__ == "__main__":
    main()
