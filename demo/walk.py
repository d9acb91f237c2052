"""Walks through `walk.md`: runs each example, shows what it prints, and compares.

The file is written like a doctest, with ``await`` wherever it is needed. What is shown is always
the real output; what the file says only decides whether the walk succeeds.
"""

import ast
import contextlib
import doctest
import io
import sys
import traceback
from pathlib import Path
from typing import Any, Final

from inventory.models import Product, User
from terminal import styled, verdict

from djem_async.shortcuts import aget_objects_for_user

GUIDE: Final = Path(__file__).with_name("walk.md")


async def walk() -> bool:
    """Run the walk, and tell whether everything was as expected."""
    namespace: dict[str, Any] = {
        "Product": Product,
        "User": User,
        "aget_objects_for_user": aget_objects_for_user,
    }
    examples = failures = 0
    for part in doctest.DocTestParser().parse(GUIDE.read_text(encoding="utf-8")):
        if isinstance(part, str):
            _show_text(part)
            continue
        _show_source(part.source)
        output, error = await _run(part, namespace)
        print(output + error, end="")
        examples += 1
        if not _is_expected(part, output, error):
            failures += 1
            verdict(False, f"Not as expected. {GUIDE.name}, line {part.lineno + 1}, says:")
            print(part.want or "(nothing)\n", end="")
    if failures:
        print()
        verdict(False, f"Walk: {failures} of {examples} steps are not as expected.")
    return not failures


async def _run(example: doctest.Example, namespace: dict[str, Any]) -> tuple[str, str]:
    """Return what an example prints, and the exception that it raises, if any."""
    output, displayhook = io.StringIO(), sys.displayhook
    sys.displayhook = sys.__displayhook__
    try:
        # "single" prints the values of expressions, as the interactive interpreter does.
        flags = ast.PyCF_ALLOW_TOP_LEVEL_AWAIT
        code = compile(example.source, f"<line {example.lineno + 1}>", "single", flags)
        with contextlib.redirect_stdout(output):
            coroutine = eval(code, namespace)
            if coroutine is not None:
                await coroutine
    except Exception as error:  # noqa: BLE001 - shown, and compared
        return output.getvalue(), "".join(traceback.format_exception_only(error))
    finally:
        sys.displayhook = displayhook
    return output.getvalue(), ""


def _is_expected(example: doctest.Example, output: str, error: str) -> bool:
    if example.exc_msg is not None:
        return not output and error == example.exc_msg
    return not error and doctest.OutputChecker().check_output(example.want, output, 0)


def _show_text(text: str) -> None:
    if not text.strip():
        return
    print(f"\n{styled(text.strip(), 'dim')}")


def _show_source(source: str) -> None:
    for number, line in enumerate(source.rstrip().splitlines()):
        print(f"{styled('...' if number else '>>>', 'green')} {styled(line, 'bold')}")
