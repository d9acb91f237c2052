"""Runs the code of a page of the documentation: ``python -m tests.docs_app.page README.md``.

A page is a Django project: blocks that begin with a file name (``# inventory/models.py``) are its
files, added to those of the tutorial; all other Python runs in one session, where ``await`` works
as in ``python -m asyncio``. Shell blocks run the commands of the library alone. The next ``text``
block has to be what the code prints. A ``text`` block that is the message of one of our system
checks has to be what ``manage.py check`` finds at this point of the page. Directives of the site
(```{eval-rst}```) are left to it.

Sybil, pytest-examples and pytest-markdown-docs don't replace this. Their Python evaluators neither
await at the top level nor compare printed output with a block of its own, and they run all pages in
one process, where Django can be set up only once. What would be left to them is finding the blocks.
"""

from __future__ import annotations

import ast
import asyncio
import contextvars
import doctest
import inspect
import io
import os
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
import traceback
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any, NamedTuple

import django
from django.core.checks import INFO, run_checks
from django.core.checks.registry import registry
from django.core.management import CommandError, call_command, get_commands
from django.test import override_settings
from django.test.signals import template_rendered
from django.test.utils import setup_test_environment

import djem_async

ROOT = Path(__file__).resolve().parents[2]
README = ROOT / "README.md"
TUTORIAL = ROOT / "docs" / "tutorial.md"
FOLDERS = ("", "explanation", "howto", "reference", "releases")
# Type checkers get the code of static-checking.md, in tests/test_static_checking.py.
PAGES = [
    README,
    *(
        page
        for folder in FOLDERS
        for page in sorted((ROOT / "docs" / folder).glob("*.md"))
        if page.name != "static-checking.md"
    ),
]
# The text of these comes from docstrings, when the site is built.
API_PAGES = sorted((ROOT / "docs" / "reference" / "api").glob("*.md"))
# These need other packages: tests/frameworks runs their code.
FRAMEWORK_PAGES = sorted((ROOT / "docs" / "frameworks").glob("*.md"))
# Blocks between fences, and those hidden from readers: <!-- python … -->
BLOCK = re.compile(
    r"^(?:```(?P<language>[^\n]*)|<!-- python)\n(?P<code>.*?)^(?:```|-->)$",
    re.MULTILINE | re.DOTALL,
)
# The first line of a block that is (part of) a file of the project.
FILE = re.compile(
    r"# (?P<python>(?:mysite/)?(?P<module>\S+\.py))\n"
    r"|{# (?P<html>(?:inventory/templates/)?(?P<template>\S+\.html)) #}\n"
)
# A block with the message of a system check, as Django prints it.
MESSAGE = re.compile(r"\S+: \((?P<id>djem_async\.\w+)\) ")


class Block(NamedTuple):
    """A block of code or output."""

    language: str
    code: str
    lines_before: int  # on the page

    @property
    def file(self) -> str | None:
        """The file of our plain project that the block belongs to."""
        match = FILE.match(self.code)
        return match and (match["module"] or f"templates/{match['template']}")

    @property
    def path(self) -> str | None:
        """The file of the reader's project, as the page says."""
        match = FILE.match(self.code)
        return match and (match["python"] or match["html"])


def read_blocks(page: Path) -> list[Block]:
    text = page.read_text(encoding="utf-8")
    return [
        Block(
            match["language"] or "python", match["code"], text.count("\n", 0, match.start("code"))
        )
        for match in BLOCK.finditer(text)
    ]


def split(blocks: list[Block]) -> tuple[list[Block], list[Block]]:
    """Separate the files of the project from what runs in it, late settings included."""
    files: list[Block] = []
    steps: list[Block] = []
    for block in blocks:
        is_change = block.file == "settings.py" and any(each.language != "sh" for each in steps)
        (files if block.file and not is_change else steps).append(block)
    return files, steps


def run_in_process(page: Path, *options: str) -> subprocess.CompletedProcess[str]:
    """Run the code of a page in a process of its own, since Django is set up once in each."""
    package = Path(djem_async.__file__).parents[1]
    command = [sys.executable, *(options or ("-W", "error")), "-m", "tests.docs_app.page", page]
    environment = os.environ | {"PYTHONPATH": f"{ROOT}{os.pathsep}{package}"}
    return subprocess.run(
        command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False
    )


def run_page(page: Path) -> None:
    files, steps = split(read_blocks(page))
    tutorial = [] if page == README else split(read_blocks(TUTORIAL))[0]
    with tempfile.TemporaryDirectory() as directory:
        write_project(Path(directory), [*tutorial, *files])
        rendered = start_project(directory, check=page.name != "system-checks.md")  # shows mistakes
        if not any("\nsetup_test_environment()\n" in block.code for block in steps):
            setup_test_environment()  # which can't be called twice
        Session(page).run(steps)
        for name in {block.file or "" for block in files}:
            module = name.removesuffix(".py").replace("/", ".")
            assert name in rendered or module in sys.modules, f"{name} is not used"


def write_project(directory: Path, blocks: list[Block]) -> None:
    shutil.copytree(Path(__file__).parent / "project", directory, dirs_exist_ok=True)
    for block in blocks:
        assert block.file
        path = directory / block.file
        path.parent.mkdir(parents=True, exist_ok=True)
        # Python is added to the file, a template replaces it.
        with path.open("a" if path.suffix == ".py" else "w", encoding="utf-8") as file:
            file.write(f"\n{block.code.partition(chr(10))[2]}")


def start_project(directory: str, *, check: bool) -> set[str]:
    """Set Django up; return a set that collects the names of the templates that are rendered."""
    sys.path.insert(0, directory)
    os.environ["DJANGO_SETTINGS_MODULE"] = "settings"
    django.setup()
    call_command("migrate", run_syncdb=True, verbosity=0)
    problems = [message for message in run_checks() if message.level > INFO] if check else []
    assert not problems, problems
    rendered: set[str] = set()
    template_rendered.connect(
        lambda template, **_: rendered.add(f"templates/{template.name}"), weak=False
    )
    return rendered


class Session:
    """Runs blocks in turn, in one context and with one event loop, as a reader would."""

    def __init__(self, page: Path) -> None:
        self._page = page
        self._names: dict[str, Any] = {"__name__": "__main__"}
        self._context = contextvars.copy_context()
        self._runner = asyncio.Runner()
        self._printed = ""

    def run(self, blocks: list[Block]) -> None:
        with self._runner:
            for block in blocks:
                try:
                    self._run_block(block)
                except BaseException as error:
                    error.add_note(f"In the block at line {block.lines_before} of the page.")
                    raise
            compare("", self._printed)

    def _run_block(self, block: Block) -> None:
        printed, self._printed = self._printed, ""
        if block.language == "text" and (message := MESSAGE.match(block.code)):
            compare("", printed)
            compare_message(block.code, message["id"])
            return
        compare(block.code if block.language == "text" else "", printed)
        if block.language == "python" and block.file:
            changed: dict[str, Any] = {}
            exec(block.code, vars(sys.modules["settings"]), changed)
            override_settings(**changed).enable()
        elif block.language == "python":
            # Line numbers in a traceback are those of the page.
            self._printed = self._execute("\n" * block.lines_before + block.code, "exec")
        elif block.language == "pycon":
            for example in doctest.DocTestParser().get_examples(block.code):
                self._run_example(example)
        elif block.language == "sh":
            for command in re.findall(r"^python manage.py (.*)", block.code, re.MULTILINE):
                name, *arguments = shlex.split(command)
                if get_commands()[name] == "djem_async":
                    self._printed += self._manage(name, *arguments)
        else:
            is_known = block.language == "text" or block.language.startswith("{")
            assert is_known, f"cannot run a block of {block.language!r}"

    def _run_example(self, example: doctest.Example) -> None:
        try:
            found = self._execute(example.source, "single")
        except Exception as error:
            if example.exc_msg is None:
                raise
            found = traceback.format_exception_only(error)[-1]
        compare(example.exc_msg or example.want, found)

    def _manage(self, *arguments: str) -> str:
        with redirect_stdout(io.StringIO()) as output:
            try:
                self._context.run(call_command, *arguments)
            except CommandError as error:
                print(f"CommandError: {error}")
            except SystemExit:
                pass  # its code tells the result
        return output.getvalue()

    def _execute(self, source: str, mode: str) -> str:
        code = compile(
            source, str(self._page), mode, ast.PyCF_ALLOW_TOP_LEVEL_AWAIT, dont_inherit=True
        )
        with redirect_stdout(io.StringIO()) as output:
            if code.co_flags & inspect.CO_COROUTINE:
                self._runner.run(eval(code, self._names), context=self._context)
            else:
                self._context.run(eval, code, self._names)
        return output.getvalue()


def compare(want: str, found: str) -> None:
    if not doctest.OutputChecker().check_output(want, found, doctest.ELLIPSIS):
        raise AssertionError(f"The page says:\n{want}\nand the code prints:\n{found}")


def compare_message(want: str, number: str) -> None:
    """Compare a message with what is found, but for line breaks and the place in a file."""
    # Those of Django can't run with the user models and settings of some examples.
    ours = [each for each in registry.get_checks() if each.__module__.startswith("djem_async.")]
    messages = [each for check in ours for each in check(app_configs=None, databases=["default"])]
    found = [str(each) for each in messages if each.id == number]
    places = re.compile(r" It is defined in .*?:\d+\.")
    texts = [" ".join(places.sub("", each).split()) for each in found]
    compare(" ".join(want.split()), "\n".join(texts))


if __name__ == "__main__":
    run_page(Path(sys.argv[1]).resolve())
