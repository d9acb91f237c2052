"""The configuration of the tests: a forgotten `await` must fail the run."""

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

async def test_{name}_coroutine():
    {keyword}work()

async def test_{name}_check():
    {keyword}User(is_active=False).ahas_perm(PERM)

async def test_{name}_check_in_a_condition():
    assert not ({keyword}User(is_active=False).ahas_perm(PERM))

async def test_{name}_check_in_another_task():
    async def check():
        {keyword}User(is_active=False).ahas_perms([PERM])

    await asyncio.create_task(check())

async def test_{name}_end_of_a_log():
    report = Loggable()
    report.start_log("report")
    {keyword}report.aend_log()
"""


def test_tests_with_a_forgotten_await_fail(tmp_path: Path) -> None:
    path = tmp_path / "test_generated.py"
    variants = {"awaited": "await ", "forgotten": ""}
    path.write_text("".join(SOURCE.format(name=n, keyword=k) for n, k in variants.items()))
    options = ["-c", "pyproject.toml", "--rootdir", ".", "-p", "no:cacheprovider"]
    command = [sys.executable, "-m", "pytest", *options, path]
    run = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)

    assert run.returncode == pytest.ExitCode.TESTS_FAILED, run.stdout
    assert "5 failed, 5 passed" in run.stdout
    assert "test_awaited" not in run.stdout.rpartition("short test summary")[2]
    assert run.stdout.count("was never awaited") >= 4
    assert "ahas_perm() was not awaited" in run.stdout
