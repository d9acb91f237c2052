"""The pages of the documentation, their blocks of code, and the projects that these make up."""

from __future__ import annotations

import re
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parents[2]
README = ROOT / "README.md"
TUTORIAL = ROOT / "docs" / "tutorial.md"
# Without the page whose code is for type checkers: tests/test_static_checking.py gives it to them.
PAGES = [
    README,
    *sorted(page for page in (ROOT / "docs").rglob("*.md") if page.name != "static-checking.md"),
]

# Blocks between fences, and those that readers do not see: <!-- python … -->
_BLOCK = re.compile(
    r"^(?:```(?P<language>[^\n]*)|<!-- (?P<hidden>python))\n(?P<code>.*?)^(?:```|-->)$",
    re.MULTILINE | re.DOTALL,
)
# The first line of a block that is a file of the project.
_FILE = re.compile(r"(?:# (?P<python>\S+\.py)|{# (?P<template>\S+\.html) #})\n")
_SETTINGS = "settings.py"


class Block(NamedTuple):
    """A block of code or output."""

    language: str
    code: str
    line: int  # of the page, where the code begins
    is_next: bool  # nothing stands between it and the block before
    is_hidden: bool  # from readers

    @property
    def file(self) -> str | None:
        """The file of the project that the block is, or is a part of."""
        match = _FILE.match(self.code)
        return match and (match["python"] or f"templates/{match['template']}")


def read_blocks(page: Path) -> list[Block]:
    text = page.read_text(encoding="utf-8")
    blocks = []
    end = 0
    for match in _BLOCK.finditer(text):
        line = text.count("\n", 0, match.start("code")) + 1
        is_next = not text[end : match.start()].strip()
        language = match["language"] or match["hidden"]
        is_hidden = match["hidden"] is not None
        blocks.append(Block(language, match["code"], line, is_next, is_hidden))
        end = match.end()
    return blocks


def split(blocks: list[Block]) -> tuple[list[Block], list[Block]]:
    """Separate what makes up the project of a page from what then runs in it.

    Settings that come after code are changed at that point of the page.
    """
    files: list[Block] = []
    steps: list[Block] = []
    for block in blocks:
        is_late = block.file == _SETTINGS and any(step.language != "sh" for step in steps)
        (files if block.file and not is_late else steps).append(block)
    return files, steps


def project_files(page: Path) -> dict[str, str]:
    """Put together the files of the project of a page, by their names.

    A page goes on with the project of the tutorial, as its reader does: what it says is added to
    the files that there are.
    """
    files = {} if page in {README, TUTORIAL} else project_files(TUTORIAL)
    for block in split(read_blocks(page))[0]:
        name = block.file
        assert name is not None
        before = files.get(name, "") if name.endswith(".py") else ""
        files[name] = f"{before}\n{block.code.partition(chr(10))[2]}"
    return files
