"""A tag is released only if the version, the changelog and the pages are ready."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import djem_async

ROOT = Path(__file__).parents[1]
VERSION = djem_async.__version__
CHANGELOG = f"""
## [Unreleased]

- Not yet

## [{VERSION}] - 2026-12-01

- Lists

### Fixed

- Views

## [0.0.1] - 2026-11-01

- Checks
"""

READY = ("README.md", "Install it.")
SOON = "It isn't released yet."


@pytest.mark.parametrize(
    ("tag", "changelog", "page", "text", "problem"),
    [
        (f"v{VERSION}", CHANGELOG, *READY, ""),
        (f"v{VERSION}1", CHANGELOG, *READY, f"the version is {VERSION}"),
        (VERSION, CHANGELOG, *READY, f"The tag is {VERSION}"),
        (f"v{VERSION}", CHANGELOG.replace(" - 2026-12-01", ""), *READY, "has no section"),
        (f"v{VERSION}", CHANGELOG, "README.md", SOON, "README.md says"),
        (f"v{VERSION}", CHANGELOG, "docs/index.md", SOON, "docs/index.md says"),
    ],
)
def test_release_needs_version_changelog_and_pages(
    tmp_path: Path, tag: str, changelog: str, page: str, text: str, problem: str
) -> None:
    for name in (".ci/release.py", "src/djem_async/__init__.py"):
        (tmp_path / name).parent.mkdir(parents=True)
        shutil.copy(ROOT / name, tmp_path / name)
    (tmp_path / "CHANGELOG.md").write_text(changelog)
    (tmp_path / "README.md").write_text("Install it.")
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs" / "index.md").write_text("Install it.")
    (tmp_path / page).write_text(text)
    command = [sys.executable, tmp_path / ".ci" / "release.py", tag]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if problem:
        assert done.returncode == 1
        assert problem in done.stderr
    else:
        assert (done.returncode, done.stdout) == (0, "- Lists\n\n### Fixed\n\n- Views\n")
