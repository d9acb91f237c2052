"""Which tests reach which line of the package, and how long they take."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections import defaultdict
from functools import cache
from typing import TYPE_CHECKING
from xml.etree import ElementTree as ET

from coverage import CoverageData

from .mutants import PACKAGE, ROOT, module_of, path_of

if TYPE_CHECKING:
    from pathlib import Path

    from .mutants import Mutant

# Texts, other programs, and what is about the package as a whole.
LEFT_OUT = (
    "tests/mutation",
    "tests/test_architecture.py",
    "tests/test_benchmarks.py",
    "tests/test_demo.py",
    "tests/test_docs.py",
    "tests/test_memory.py",
    "tests/test_meta.py",
    "tests/test_mypy_plugin.py",
    "tests/test_public_api.py",
    "tests/test_security_docs.py",
    "tests/test_static_checking.py",
)
# What takes long comes last.
LONG = ("tests/differential", "tests/fuzz", "tests/interleaving")
SECONDS = 45.0  # of tests for one change, as long as none of them fails


class Selection:
    """What a run of all tests under coverage has shown.

    Args:
        folder: Where its files are.
    """

    def __init__(self, folder: Path) -> None:
        self._data = folder / "coverage"
        self._report = folder / "report.xml"
        self._durations: dict[str, float] = {}
        self._reached: dict[str, dict[int, list[str]]] = {}
        self.unfit: set[str] = set()

    @property
    def is_up_to_date(self) -> bool:
        """Whether there was such a run since tests or package were changed."""
        files = [path for folder in ("src", "tests") for path in (ROOT / folder).rglob("*.py")]
        newest = max(path.stat().st_mtime for path in files)
        return self._report.exists() and self._report.stat().st_mtime > newest

    def make(self) -> None:
        """Run all tests."""
        command = [
            sys.executable, "-m", "pytest", "-q", "-n", "auto", "-p", "no:randomly",
            "--cov=djem_async", "--cov-context=test", "--cov-report=", "--cov-fail-under=0",
            f"--junitxml={self._report}",
            "-o", "junit_family=xunit1",
            *(f"--ignore={path}" for path in LEFT_OUT),
        ]  # fmt: skip
        environment = os.environ | {
            "COVERAGE_FILE": str(self._data),
            "PYTHONPATH": str(PACKAGE.parent),
        }
        subprocess.run(command, cwd=ROOT, env=environment, check=True)

    def load(self) -> None:
        """Read what the run has left."""
        for case in ET.parse(self._report).iter("testcase"):
            file = case.get("file") or ""
            name = "::".join([file, *self._classes(case, file), case.get("name") or ""])
            self._durations[name] = float(case.get("time") or 0)
        data = CoverageData(str(self._data))
        data.read()
        for path in data.measured_files():
            reached: dict[int, list[str]] = {}
            for line, contexts in data.contexts_by_lineno(path).items():
                tests = {context.partition("|")[0] for context in contexts if context}
                reached[line] = sorted(tests & self._durations.keys())
            self._reached[path] = reached

    @staticmethod
    def _classes(case: ET.Element, file: str) -> list[str]:
        module = file.removesuffix(".py").replace("/", ".")
        classes = (case.get("classname") or "").removeprefix(module).strip(".")
        return classes.split(".") if classes else []

    @property
    def tests(self) -> list[str]:
        return sorted(self._durations)

    def tests_for(self, mutant: Mutant) -> list[str]:
        """Choose tests for a change, those first that are most likely to notice it."""
        lines = self._reached.get(str(path_of(mutant.module)), {})
        reached: set[str] = set()
        for line in range(mutant.line, mutant.last_line + 1):
            reached.update(lines.get(line, ()))
        reached -= self.unfit
        if not reached:
            # It runs on import only: whatever uses the module can tell, or names it.
            reached = {test for tests in lines.values() for test in tests}
            reached.update(
                test for test in self._durations if mutant.module in _text(test.partition("::")[0])
            )
            reached -= self.unfit
        return self._within(self._ranked(reached, mutant.module))

    def _ranked(self, tests: set[str], name: str) -> list[str]:
        """Put files first that name the module, and one test of each function before the others."""
        functions: defaultdict[str, list[str]] = defaultdict(list)
        for test in sorted(tests, key=self._durations.__getitem__):
            functions[test.partition("[")[0]].append(test)

        def rank(item: tuple[int, str]) -> tuple[bool, bool, int, float]:
            position, test = item
            is_about = name in _text(test.partition("::")[0])
            return test.startswith(LONG), not is_about, min(position, 3), self._durations[test]

        numbered = [item for each in functions.values() for item in enumerate(each)]
        return [test for _, test in sorted(numbered, key=rank)]

    def _within(self, tests: list[str]) -> list[str]:
        chosen: list[str] = []
        seconds = 0.0
        for test in tests:
            seconds += self._durations[test]
            if seconds > SECONDS:
                break
            chosen.append(test)
        return chosen


@cache
def _text(path: str) -> str:
    text = (ROOT / path).read_text()
    # `from djem_async import _cache` names `djem_async._cache` as well.
    return re.sub(r"from (djem_async[\w.]*) import (\w+)", r"\1.\2", text)


def changed_since(revision: str) -> set[str]:
    """Name the modules of the package that differ from a revision."""
    command = ["git", "diff", "--name-only", revision, "--", str(PACKAGE)]
    found = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    paths = [ROOT / line for line in found.stdout.splitlines() if line.endswith(".py")]
    return {module_of(path) for path in paths if path.exists()}
