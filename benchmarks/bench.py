"""Measures djem_async next to its peers: `python -m benchmarks.bench --help`.

Each library is a process of its own that lives as long as the run. A round measures a row once in
each process, beginning with another one every time. Ratios are those of one round; their median is
what is reported.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import signal
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from http.client import HTTPConnection
from importlib.metadata import version
from pathlib import Path
from statistics import median, quantiles
from typing import Any

from benchmarks import report
from benchmarks.rows import OURS, ROWS, Row
from benchmarks.shop import project

ROOT = Path(__file__).resolve().parents[1]
QUICK_ROUNDS = 3
PACKAGES = ("Django", "djem", "django-guardian", "rules", "asgiref", "uvicorn", "psycopg")


def start(task: str, library: str, database: str, name: str) -> subprocess.Popen[str]:
    path = os.pathsep.join([str(ROOT / "src"), str(ROOT)])
    environment = os.environ | {"PYTHONPATH": path, "PYTHONHASHSEED": "0"}
    # Installed packages have been compiled, so this checkout has to be, too.
    environment.pop("PYTHONDONTWRITEBYTECODE", None)
    return subprocess.Popen(
        [sys.executable, "-m", "benchmarks.worker", task, library, database, name],
        cwd=ROOT,
        env=environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


class Contender:
    """A library with its database: a process that measures, and a server if a row needs one."""

    def __init__(self, library: str, database: str, directory: Path) -> None:
        self.library, self.database = library, database
        name = f"djem_bench_{os.getpid()}_{library}"
        self.name = str(directory / name) if database == "sqlite" else name
        project.create_database(database, self.name)
        self.process = start("measure", library, database, self.name)
        self.server: subprocess.Popen[str] | None = None

    def wait(self) -> None:
        self.ready = json.loads(self.answer(self.process))

    def answer(self, process: subprocess.Popen[str]) -> str:
        assert process.stdout is not None
        line = process.stdout.readline()
        if not line:
            raise SystemExit(f"The process of {self.library} on {self.database} has failed.")
        return line

    def measure(self, row: Row, seconds: float, *, count: bool) -> dict[str, Any]:
        if row.name == "startup":
            process = start("startup", self.library, self.database, self.name)
            figure, _ = process.communicate()
            return {"figure": float(figure)}
        if row.name == "requests":
            return {"figure": self.requests(seconds)}
        assert self.process.stdin is not None
        question = json.dumps({"row": row.name, "seconds": seconds, "count": count})
        print(question, file=self.process.stdin, flush=True)
        return dict(json.loads(self.answer(self.process)))

    def requests(self, seconds: float) -> float:
        if self.server is None:
            self.server = start("serve", self.library, self.database, self.name)
            self.port = int(self.answer(self.server))
        path = f"/{self.ready['product']}/"
        headers = {"Cookie": f"sessionid={self.ready['session']}"}
        began = time.perf_counter()

        def keep_asking(_: int) -> int:
            connection = HTTPConnection("127.0.0.1", self.port)
            answered = 0
            while time.perf_counter() < began + seconds:
                connection.request("GET", path, headers=headers)
                response = connection.getresponse()
                assert response.status == 200, response.read()
                response.read()
                answered += 1
            connection.close()
            return answered

        with ThreadPoolExecutor(project.CONNECTIONS) as pool:
            answered = sum(pool.map(keep_asking, range(project.CONNECTIONS)))
        return answered / (time.perf_counter() - began)

    def stop(self) -> None:
        for process in (self.process, self.server):
            if process is not None:
                process.kill()
                process.wait()
        project.drop_database(self.database, self.name)


def run(row: Row, contenders: dict[str, Contender], *, quick: bool) -> dict[str, Any]:
    """Measure a row in some rounds, after one that warms up and counts."""
    names = [OURS, *row.peers]
    seconds = row.seconds / 3 if quick else row.seconds
    counts = {
        name: contenders[name].measure(row, seconds, count=True).get("count") for name in names
    }
    rounds: list[dict[str, float]] = []
    for number in range(min(row.rounds, QUICK_ROUNDS) if quick else row.rounds):
        turn = number % len(names)
        rounds.append(
            {
                name: contenders[name].measure(row, seconds, count=False)["figure"]
                for name in names[turn:] + names[:turn]
            }
        )
    return summary(row, rounds, counts)


def summary(
    row: Row, rounds: list[dict[str, float]], counts: dict[str, list[int] | None]
) -> dict[str, Any]:
    """Return the medians of the figures, and of the ratios with the middle half of them."""
    return {
        "name": row.name,
        "database": row.database,
        "figures": {name: rounded(median(each[name] for each in rounds)) for name in counts},
        "ratios": {
            peer: spread([each[OURS] / each[peer] for each in rounds]) for peer in row.peers
        },
        "counts": {name: count for name, count in counts.items() if count is not None},
    }


def spread(values: list[float]) -> list[float]:
    low, middle, high = quantiles(values * 2 if len(values) == 1 else values, method="inclusive")
    return [rounded(low), rounded(middle), rounded(high)]


def rounded(value: float) -> float:
    return float(f"{value:.3g}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="three short rounds, to try it out")
    parser.add_argument("--rows", default="", help="only rows with one of these words: warm,cold")
    parser.add_argument("--cpu", action="store_true", help="measure CPU time, on a busy machine")
    parser.add_argument("--write", action="store_true", help="update the results in benchmarks/")
    arguments = parser.parse_args()
    if arguments.cpu:
        os.environ["BENCH_CLOCK"] = "cpu"
    # So that processes are stopped and databases are dropped, also if this is ended early.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    words = arguments.rows.split(",")
    rows = [row for row in ROWS if any(word in row.name for word in words)]
    if problem := project.why_no_postgresql():
        print("Without the rows on PostgreSQL, nothing is written:", problem)
        arguments.write = False
        rows = [row for row in rows if row.database == "sqlite"]
    results: dict[str, Any] = {
        "python": platform.python_version(),
        "packages": {name: version(name) for name in PACKAGES},
        "rows": [],
    }
    with ExitStack() as stack:
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        contenders: dict[str, dict[str, Contender]] = {}
        for row in rows:
            of_database = contenders.setdefault(row.database, {})
            for name in (OURS, *row.peers):
                if name not in of_database:
                    of_database[name] = Contender(name, row.database, directory)
                    stack.callback(of_database[name].stop)
        for of_database in contenders.values():
            for contender in of_database.values():
                contender.wait()
        for row in rows:
            result = run(row, contenders[row.database], quick=arguments.quick)
            results["rows"].append(result)
            print(report.text(row, result), flush=True)
    if arguments.write:
        report.write(results)


if __name__ == "__main__":
    main()
