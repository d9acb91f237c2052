"""Runs parts of the checks, and says in the last line what failed.

    python .ci/parts.py lint types pytest

Each part is a target of the Makefile. Static checks run alongside the tests; the output of one that
fails is shown after that of the tests. A database server is used only if a variable names it:
``DATABASES``, ``PGHOST`` or ``MYSQL_HOST``, or ``CI=true``, which names both.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

STATIC = ("lint", "types")
SERVERS = {"postgresql": "PGHOST", "mariadb": "MYSQL_HOST"}
# How long each part takes on two cores.
SECONDS = {
    "setup": 35,
    "lint": 1,
    "types": 35,
    "tests-on-sqlite": 260,
    "tests-on-postgresql": 110,
    "tests-on-mariadb": 105,
    "coverage": 3,
    "docs": 40,
    "matrix": 270,
    "frameworks": 200,
    "demo": 15,
}


class Result(NamedTuple):
    """What became of a part."""

    part: str
    passed: bool
    seconds: float
    output: str = ""

    def __str__(self) -> str:
        return f"{self.part} ({self.seconds:.0f} s)"


def databases() -> list[str]:
    known = ["sqlite", *SERVERS]
    named = os.environ.get("DATABASES", "").split()
    if unknown := set(named).difference(known):
        sys.exit(f"DATABASES has {', '.join(unknown)}: use any of {', '.join(known)}.")
    is_ci = os.environ.get("CI", "") not in {"", "0", "false"}
    own = [server for server, variable in SERVERS.items() if is_ci or variable in os.environ]
    return named or ["sqlite", *own]


def run(part: str, *, capture: bool = False) -> Result:
    if not capture:
        print(f"\n=== {part}", flush=True)
    began = time.monotonic()
    ran = subprocess.run(
        ["make", "--no-print-directory", part],
        stdout=subprocess.PIPE if capture else None,
        stderr=subprocess.STDOUT if capture else None,
        text=True,
        check=False,
    )
    seconds = time.monotonic() - began
    result = Result(part, ran.returncode == 0, seconds, ran.stdout or "")
    return result if capture else shown(result)


def shown(result: Result) -> Result:
    print(f"=== {result}: {'passed' if result.passed else 'FAILED'}", flush=True)
    return result


def run_all(parts: list[str]) -> list[Result]:
    setup, *others = parts
    results = [run(setup)]
    if not results[0].passed:
        return results
    static = [part for part in others if part in STATIC]
    with ThreadPoolExecutor(max_workers=1) as pool:
        alongside = pool.map(lambda part: run(part, capture=True), static)
        results += [run(part) for part in others if part not in STATIC]
        for result in alongside:
            if not result.passed:
                print(f"\n=== {result.part}\n{result.output}", end="")
            results.append(shown(result))
    return results


def main(wanted: list[str]) -> int:
    used = databases()
    tests = [f"tests-on-{name}" for name in used]
    tests += ["coverage"] if "sqlite" in used else []
    parts = ["setup"]
    for part in wanted:
        parts += tests if part == "pytest" else [part]
    minutes = sum(SECONDS[part] for part in parts) / 60
    print(f"About {minutes:.0f} minutes on two cores, with an empty .venv:")
    for part in parts:
        print(f"  {part:20} {SECONDS[part]:4} s")
    others = [name for name in SERVERS if name not in used]
    hint = f"; to use {' and '.join(others)} as well, name them in DATABASES" if others else ""
    print(f"Databases: {', '.join(used)}{hint}.", flush=True)

    began = time.monotonic()
    results = run_all(parts)
    seconds = time.monotonic() - began
    passed = [str(result) for result in results if result.passed]
    failed = [str(result) for result in results if not result.passed]
    left = [part for part in parts if part not in {result.part for result in results}]
    verdict = f"FAILED: {', '.join(failed)}" if failed else "Everything passed"
    detail = [f"passed: {', '.join(passed)}"] if passed else []
    detail += [f"not run: {', '.join(left)}"] if left else []
    print(f"\n{verdict}, in {seconds:.0f} s; {'; '.join(detail)}.", flush=True)
    return int(bool(failed))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
