"""Runs the code of a page of the documentation: ``python -m tests.docs_app.run docs/caching.md``.

The page has a project, a database and a process of its own. What its code prints has to stand in
the page, in a block of the language ``text`` right after it.
"""

from __future__ import annotations

import ast
import asyncio
import contextlib
import contextvars
import doctest
import inspect
import io
import os
import shutil
import sys
import tempfile
import traceback
from pathlib import Path
from typing import TYPE_CHECKING, Any

from django.core.checks import run_checks
from django.core.management import call_command

from tests.docs_app.page import Block, project_files, read_blocks, split

if TYPE_CHECKING:
    from types import CodeType

_PROJECT = Path(__file__).parent / "project"


def run_page(page: Path) -> None:
    files, steps = split(read_blocks(page))
    with tempfile.TemporaryDirectory() as directory:
        _start_project(Path(directory), project_files(page))
        if page.name != "checks.md":  # which shows mistakes
            assert not (problems := run_checks()), problems
        rendered = _rendered_templates()
        _Reader(page).run(steps)
        for block in files:
            assert block.file in rendered or _is_imported(block.file), f"{block.file} is not used"


def _start_project(directory: Path, files: dict[str, str]) -> None:
    shutil.copytree(_PROJECT, directory, dirs_exist_ok=True)
    for name, text in files.items():
        path = directory / name
        path.parent.mkdir(parents=True, exist_ok=True)
        before = path.read_text() if name == "settings.py" else ""
        path.write_text(f"{before}\n{text}", encoding="utf-8")
    sys.path.insert(0, str(directory))
    os.environ["DJANGO_SETTINGS_MODULE"] = "settings"

    import django
    from django.test.utils import setup_test_environment

    django.setup()
    setup_test_environment()
    call_command("migrate", run_syncdb=True, verbosity=0)


def _rendered_templates() -> set[str]:
    """Collect the names of templates as they are rendered."""
    from django.test.signals import template_rendered

    names: set[str] = set()

    def note(*, template: Any, **_kwargs: Any) -> None:
        names.add(f"templates/{template.name}")

    template_rendered.connect(note, weak=False)
    return names


def _is_imported(file: str | None) -> bool:
    assert file is not None
    return file.removesuffix(".py").replace("/", ".") in sys.modules


class _Reader:
    """Does what a reader of a page would do, block after block, in one session."""

    def __init__(self, page: Path) -> None:
        self._page = page
        self._names: dict[str, Any] = {"__name__": "__main__"}
        # One context for the whole page, with and without an event loop.
        self._context = contextvars.copy_context()
        self._runner = asyncio.Runner()
        self._printed = ""

    def run(self, blocks: list[Block]) -> None:
        with self._runner:
            for block in blocks:
                try:
                    self._run_block(block)
                except BaseException:
                    print(f"{self._page.name}, the block at line {block.line}:", file=sys.stderr)
                    raise
            self._expect("")

    def _run_block(self, block: Block) -> None:
        if block.language == "text":
            assert block.is_next, "a text block belongs right after the code that prints it"
            self._expect(block.code)
            return
        self._expect("")
        match block.language:
            case "python" if block.file:
                self._change_settings(block.code)
            case "python":
                # Line numbers in a traceback are those of the page.
                code = "\n" * (block.line - 1) + block.code
                self._printed = self._execute(self._compile(code, "exec"))
            case "pycon":
                self._run_session(block)
            case "sh":
                pass  # for a terminal, see the tests
            case language:
                raise AssertionError(f"nothing can run a block of {language!r}")

    def _run_session(self, block: Block) -> None:
        for example in doctest.DocTestParser().get_examples(block.code):
            try:
                found = self._execute(self._compile(example.source, "single"))
            except Exception as error:
                if example.exc_msg is None:
                    raise
                found = traceback.format_exception_only(error)[-1]
            self._compare(example.exc_msg or example.want, found)

    def _compile(self, code: str, mode: str) -> CodeType:
        return compile(
            code, str(self._page), mode, flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT, dont_inherit=True
        )

    def _execute(self, code: CodeType) -> str:
        with contextlib.redirect_stdout(io.StringIO()) as output:
            if code.co_flags & inspect.CO_COROUTINE:
                self._runner.run(eval(code, self._names), context=self._context)
            else:
                self._context.run(eval, code, self._names)
        return output.getvalue()

    @staticmethod
    def _change_settings(code: str) -> None:
        from django.test import override_settings

        settings = vars(sys.modules["settings"])
        exec(code, settings)
        nodes = ast.walk(ast.parse(code))
        names = {node.id for node in nodes if isinstance(node, ast.Name) and node.id.isupper()}
        override_settings(**{name: settings[name] for name in names}).enable()

    def _expect(self, text: str) -> None:
        found, self._printed = self._printed, ""
        self._compare(text, found)

    @staticmethod
    def _compare(want: str, found: str) -> None:
        if not doctest.OutputChecker().check_output(want, found, doctest.ELLIPSIS):
            raise AssertionError(f"The page says:\n{want}\nand the code prints:\n{found}")


if __name__ == "__main__":
    run_page(Path(sys.argv[1]).resolve())
