"""SECURITY.md and docs/security.md: every promise names tests, and these exist."""

from __future__ import annotations

import ast
import re
from functools import cache
from typing import TYPE_CHECKING

import pytest

import djem_async
from tests.docs_app.page import ROOT

if TYPE_CHECKING:
    from pathlib import Path

PAGE = ROOT / "docs" / "security.md"
POLICY = ROOT / "SECURITY.md"
_TEST = re.compile(r"`(tests/[\w/]+\.py)::(\w+)`")


@cache
def names_in(path: Path) -> frozenset[str]:
    """Return the names of the tests in a file, without those that are switched off."""
    if not path.exists():
        return frozenset()
    module = ast.parse(path.read_text(encoding="utf-8"))
    return frozenset(
        node.name
        for node in module.body
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef))
        and node.name.startswith("test_")
        and not any("skip" in ast.unparse(each) for each in node.decorator_list)
    )


def missing(text: str) -> list[str]:
    """List the tests that a text names, and that there are not."""
    return [
        f"{path}::{name}" for path, name in _TEST.findall(text) if name not in names_in(ROOT / path)
    ]


def promises(text: str) -> list[str]:
    """Return the rows of the tables whose last column is for tests."""
    rows: list[str] = []
    is_promise = False
    for line in text.splitlines():
        if not line.startswith("|"):
            is_promise = False
        elif re.search(r"\| (?:held )?by \|$", line):
            is_promise = True
        elif is_promise and not line.startswith("|-"):
            rows.append(line)
    return rows


def test_every_test_that_is_named_exists() -> None:
    text = PAGE.read_text(encoding="utf-8")
    assert not missing(text)
    # In no other way than the one that is looked for.
    assert text.count("::test_") == len(_TEST.findall(text))


def test_every_promise_names_a_test() -> None:
    rows = promises(PAGE.read_text(encoding="utf-8"))
    assert len(rows) > 30
    assert not [row for row in rows if not _TEST.search(row.rpartition(" | ")[2])]


@pytest.mark.parametrize(
    "named",
    [
        "tests/test_missing.py::test_a",
        "tests/test_security_docs.py::test_that_there_is_not",
        "tests/test_security_docs.py::missing",
    ],
)
def test_a_test_that_does_not_exist_is_found(named: str) -> None:
    assert missing(f"| a promise | `{named}` |") == [named]


def test_a_promise_without_a_test_is_found() -> None:
    table = "| it holds | by |\n|---|---|\n| always | of course |\n\n| | |\n|---|---|\n| no | row |"
    assert promises(table) == ["| always | of course |"]


def test_the_supported_version_is_the_current_one() -> None:
    version = djem_async.__version__.rpartition(".")[0]
    assert f"| the latest release of {version} | yes |" in POLICY.read_text(encoding="utf-8")


def test_the_policy_leads_to_the_page_and_back() -> None:
    assert "](docs/security.md)" in POLICY.read_text(encoding="utf-8")
    assert "](../SECURITY.md)" in PAGE.read_text(encoding="utf-8")
