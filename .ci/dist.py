"""Checks that the sdist in ``dist/`` holds what Git tracks: ``python .ci/dist.py``.

Whether the wheel holds the package is tested where it's installed, in ``tests/test_public_api.py``.
"""

import subprocess
import sys
import tarfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
# Nobody needs these outside of a checkout.
LEFT_OUT = {".editorconfig", ".gitattributes"}


def main() -> None:
    (sdist,) = (ROOT / "dist").glob("*.tar.gz")
    with tarfile.open(sdist) as archive:
        found = {member.name.partition("/")[2] for member in archive if member.isfile()}
    tracked = subprocess.run(
        ["git", "ls-files"], cwd=ROOT, stdout=subprocess.PIPE, text=True, check=True
    )
    expected = set(tracked.stdout.splitlines()) - LEFT_OUT | {"PKG-INFO"}
    if found != expected:
        lacks, adds = sorted(expected - found), sorted(found - expected)
        sys.exit(f"{sdist.name} lacks {lacks} and shouldn't have {adds}.")


if __name__ == "__main__":
    main()
