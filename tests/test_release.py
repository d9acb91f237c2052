"""A tag is released only if the version, the changelog and the README are ready."""

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


@pytest.mark.parametrize(
    ("tag", "changelog", "readme", "problem"),
    [
        (f"v{VERSION}", CHANGELOG, "Install it.", ""),
        (f"v{VERSION}1", CHANGELOG, "Install it.", f"the version is {VERSION}"),
        (VERSION, CHANGELOG, "Install it.", f"The tag is {VERSION}"),
        (f"v{VERSION}", CHANGELOG.replace(" - 2026-12-01", ""), "Install it.", "has no section"),
        (f"v{VERSION}", CHANGELOG, "It isn't released yet.", "README.md says"),
    ],
)
def test_release_needs_version_changelog_and_readme(
    tmp_path: Path, tag: str, changelog: str, readme: str, problem: str
) -> None:
    for name in (".ci/release.py", "src/djem_async/__init__.py"):
        (tmp_path / name).parent.mkdir(parents=True)
        shutil.copy(ROOT / name, tmp_path / name)
    (tmp_path / "CHANGELOG.md").write_text(changelog)
    (tmp_path / "README.md").write_text(readme)
    command = [sys.executable, tmp_path / ".ci" / "release.py", tag]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if problem:
        assert done.returncode == 1
        assert problem in done.stderr
    else:
        assert (done.returncode, done.stdout) == (0, "- Lists\n\n### Fixed\n\n- Views\n")
