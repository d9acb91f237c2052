"""docs/frameworks/: the code prints what the pages show, with the packages that they are about."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.docs_app.page import FRAMEWORK_PAGES, run_in_process

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize("page", FRAMEWORK_PAGES, ids=lambda page: page.name)
def test_code_prints_what_the_page_shows(page: Path) -> None:
    if page.name == "background-tasks.md":
        pytest.importorskip("django.tasks", reason="Django has tasks since 6.0")
    result = run_in_process(page, "-W", "error", "-W", "default::DeprecationWarning")
    assert result.returncode == 0, result.stderr
