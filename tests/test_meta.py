"""Tests of the test suite's own configuration: a forgotten `await` must fail the run."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent

SOURCE = """
import asyncio
from djem_async.models import Loggable
from tests.testapp.models import User

PERM = "testapp.use_thing"

async def work():
    return True

async def test_a_coroutine():
    {forgotten}work()

async def test_a_check():
    user = User(is_active=False)
    {forgotten}user.ahas_perm(PERM)

async def test_a_check_in_a_condition():
    user = User(is_active=False)
    assert not ({forgotten}user.ahas_perm(PERM))

async def test_a_check_in_another_task():
    async def check():
        {forgotten}User(is_active=False).ahas_perms([PERM])

    await asyncio.create_task(check())

async def test_the_end_of_a_log():
    report = Loggable()
    report.start_log("report")
    {forgotten}report.aend_log()
"""
TESTS = SOURCE.count("def test_")


def run_pytest(path: Path, source: str) -> subprocess.CompletedProcess[str]:
    """Run a test file with the configuration of this project."""
    path.write_text(source)
    options = ["-c", "pyproject.toml", "--rootdir", ".", "-p", "no:cacheprovider"]
    return subprocess.run(
        [sys.executable, "-m", "pytest", *options, path],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def test_with_their_awaits_all_pass(tmp_path: Path) -> None:
    run = run_pytest(tmp_path / "test_generated.py", SOURCE.format(forgotten="await "))
    assert run.returncode == pytest.ExitCode.OK, run.stdout
    assert f"{TESTS} passed" in run.stdout


def test_without_their_awaits_all_fail(tmp_path: Path) -> None:
    run = run_pytest(tmp_path / "test_generated.py", SOURCE.format(forgotten=""))
    assert run.returncode == pytest.ExitCode.TESTS_FAILED, run.stdout
    assert f"{TESTS} failed" in run.stdout
    for message in (
        "coroutine 'work' was never awaited",
        "coroutine 'OLPMixin.ahas_perm' was never awaited",
        "ahas_perm() was not awaited",
        "coroutine 'OLPMixin.ahas_perms' was never awaited",
        "coroutine 'Loggable.aend_log' was never awaited",
    ):
        assert message in run.stdout
