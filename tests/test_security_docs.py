"""SECURITY.md and docs/explanation/security.md: every promise names tests, and these exist."""

import ast
import re
from pathlib import Path

import djem_async

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "explanation" / "security.md"
POLICY = ROOT / "SECURITY.md"
_TEST = re.compile(r"`(tests/[\w/]+\.py)::(\w+)`")


def missing(text: str) -> list[str]:
    """List the tests that a text names and that do not exist, or are skipped."""
    named = _TEST.findall(text)
    found = {
        (path, node.name)
        for path in {path for path, _ in named if (ROOT / path).exists()}
        for node in ast.parse((ROOT / path).read_text(encoding="utf-8")).body
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef))
        and node.name.startswith("test_")
        and not any("skip" in ast.unparse(each) for each in node.decorator_list)
    }
    return [f"{path}::{name}" for path, name in named if (path, name) not in found]


def promises(text: str) -> list[str]:
    """Return the rows of the tables whose last column is for tests."""
    rows: list[str] = []
    is_promise = False
    for line in text.splitlines():
        if not line.startswith("|"):
            is_promise = False
        elif re.search(r"\| tested by \|$", line):
            is_promise = True
        elif is_promise and not line.startswith("|-"):
            rows.append(line)
    return rows


def test_every_test_that_is_named_exists() -> None:
    text = PAGE.read_text(encoding="utf-8")
    assert not missing(text)
    assert text.count("::test_") == len(_TEST.findall(text))  # none is named in another form


def test_every_promise_names_a_test() -> None:
    rows = promises(PAGE.read_text(encoding="utf-8"))
    assert len(rows) > 30
    assert not [row for row in rows if not _TEST.search(row.rpartition(" | ")[2])]


def test_missing_tests_and_promises_without_one_are_found() -> None:
    for named in ("tests/test_missing.py::test_a", "tests/test_security_docs.py::missing"):
        assert missing(f"| a promise | `{named}` |") == [named]
    table = "| | tested by |\n|---|---|\n| always | of course |\n\n| | |\n|---|---|\n| no | row |"
    assert promises(table) == ["| always | of course |"]


def test_policy_and_page_are_up_to_date() -> None:
    version = djem_async.__version__.rpartition(".")[0]
    policy = POLICY.read_text(encoding="utf-8")
    assert f"| the latest release of {version} | yes |" in policy
    assert "](docs/explanation/security.md)" in policy
    assert "](../../SECURITY.md)" in PAGE.read_text(encoding="utf-8")
