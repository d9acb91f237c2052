"""Runs tests against changes, several at a time."""

from __future__ import annotations

import contextlib
import importlib
import importlib.abc
import importlib.util
import multiprocessing
import os
import signal
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .mutants import PACKAGE, ROOT, path_of, source_with

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from .mutants import Mutant

OPTIONS = (
    "-x", "-q", "--no-header", "--tb=line", "-p", "no:randomly", "-p", "no:cacheprovider",
    "-p", "no:xdist", "-p", "no:cov", "--timeout=60",
    "-W", "ignore:Module already imported:pytest.PytestAssertRewriteWarning",
)  # fmt: skip
PATIENCE = 150.0  # seconds, for all tests of one change
PRELOADED = (
    "asgiref.sync", "asyncio", "django", "django.core.management", "django.db.models",
    "django.db.backends.sqlite3.base", "django.forms", "django.template", "django.test", "httpx",
    "hypothesis", "hypothesis.stateful", "pytest", "pytest_asyncio.plugin", "pytest_django.plugin",
    "unittest.mock",
)  # fmt: skip


def preload() -> None:
    """Load what all tests need, but nothing of the package and nothing that needs settings."""
    os.environ["DJANGO_SETTINGS_MODULE"] = "tests.settings"
    os.environ["DJEM_TEST_DB"] = "sqlite"
    os.chdir(ROOT)
    sys.path[:0] = [str(PACKAGE.parent), str(ROOT)]
    for name in PRELOADED:
        with contextlib.suppress(ImportError):
            importlib.import_module(name)
    assert not any(name.startswith("djem_async") for name in sys.modules)


class _Changed(importlib.abc.MetaPathFinder, importlib.abc.InspectLoader):
    """Finds one module with another source."""

    def __init__(self, module: str, source: str) -> None:
        self._module = module
        self._source = source

    def find_spec(self, name: str, path: Any, target: Any = None) -> Any:
        if name != self._module:
            return None
        file = str(path_of(name))
        is_package = file.endswith("__init__.py")
        spec = importlib.util.spec_from_loader(name, self, origin=file, is_package=is_package)
        assert spec is not None
        spec.has_location = True
        if is_package:
            spec.submodule_search_locations = [str(Path(file).parent)]
        return spec

    def get_source(self, name: str) -> str:
        return self._source

    def is_package(self, name: str) -> bool:
        return path_of(name).name == "__init__.py"


def run_tests(tests: Sequence[str], mutant: Mutant | None, output: int) -> int:
    """Run tests in this process, which has been forked for that."""
    os.dup2(output, 1)
    os.dup2(output, 2)
    if mutant is not None:
        sys.meta_path.insert(0, _Changed(mutant.module, source_with(mutant)))
    import pytest

    with tempfile.NamedTemporaryFile("w", suffix=".txt") as names:
        names.write("\n".join(tests))
        names.flush()
        return int(pytest.main([*OPTIONS, f"@{names.name}"]))


def judged(tests: Sequence[str], mutant: Mutant | None = None) -> str:
    """Run tests in a process of their own.

    Returns:
        ``killed``, ``survived``, ``timeout`` or ``untested``.
    """
    if not tests:
        return "untested"
    with tempfile.TemporaryFile() as output:
        child = os.fork()
        if child == 0:
            code = 70
            try:
                os.setsid()
                code = run_tests(tests, mutant, output.fileno())
            finally:
                os._exit(code)
        status = _wait(child)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(child, signal.SIGKILL)
    if status is None:
        return "timeout"
    return "survived" if os.waitstatus_to_exitcode(status) == 0 else "killed"


def _wait(child: int) -> int | None:
    until = time.monotonic() + PATIENCE
    while time.monotonic() < until:
        found, status = os.waitpid(child, os.WNOHANG)
        if found:
            return status
        time.sleep(0.01)
    os.killpg(child, signal.SIGKILL)
    os.waitpid(child, 0)
    return None


@contextlib.contextmanager
def workers(processes: int) -> Iterator[Any]:
    """Start processes that have everything loaded, and fork from there."""
    pool = multiprocessing.get_context("fork").Pool(processes, initializer=preload)
    try:
        yield pool
    finally:
        pool.terminate()
        pool.join()
