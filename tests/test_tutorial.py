"""The tutorial works when it's typed into a fresh project, and what it shows is what happens."""

from pathlib import Path

import pytest

from tests.docs_app.page import TUTORIAL
from tests.docs_app.tutorial import type_tutorial


def test_tutorial_works_as_typed(tmp_path: Path) -> None:
    type_tutorial(tmp_path)


@pytest.mark.parametrize(
    ("right", "wrong", "problem"),
    [
        ("AUTH_USER_MODEL = ", "USER_MODEL = ", "makemigrations inventory failed"),
        ('code="SOLD"', 'kode="SOLD"', "TypeError"),
        ("RETIRED by Acme [Delete]\n", "RETIRED by Acme\n", "the code prints"),
    ],
)
def test_tutorial_that_is_wrong_fails(tmp_path: Path, right: str, wrong: str, problem: str) -> None:
    page = tmp_path / "tutorial.md"
    text = TUTORIAL.read_text(encoding="utf-8")
    assert right in text
    page.write_text(text.replace(right, wrong), encoding="utf-8")
    (tmp_path / "project").mkdir()
    with pytest.raises(AssertionError, match=problem):
        type_tutorial(tmp_path / "project", page)
