"""Checks what the wheel and the sdist in ``dist/`` hold: ``python .ci/dist.py``.

The wheel has to be the package with its templates and ``py.typed``, the metadata and the license.
The sdist has to be what Git tracks.
"""

from __future__ import annotations

import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
# Nobody needs these outside of a checkout.
LEFT_OUT = {".editorconfig", ".gitattributes"}


def main() -> None:
    (wheel,) = (ROOT / "dist").glob("*.whl")
    (sdist,) = (ROOT / "dist").glob("*.tar.gz")
    with zipfile.ZipFile(wheel) as archive:
        files = set(archive.namelist())
        (info,) = {name.split("/")[0] for name in files if ".dist-info/" in name}
    expected = {name.removeprefix("src/") for name in tracked() if name.startswith("src/")}
    parts = {f"{info}/{name}" for name in ("METADATA", "RECORD", "WHEEL", "licenses/LICENSE")}
    compare(wheel, files, expected | parts)

    with tarfile.open(sdist) as archive:
        names = {member.name.partition("/")[2] for member in archive if member.isfile()}
    compare(sdist, names, tracked() - LEFT_OUT | {"PKG-INFO"})


def tracked() -> set[str]:
    done = subprocess.run(
        ["git", "ls-files"], cwd=ROOT, stdout=subprocess.PIPE, text=True, check=True
    )
    return set(done.stdout.splitlines())


def compare(path: Path, found: set[str], expected: set[str]) -> None:
    if found != expected:
        lacks, adds = sorted(expected - found), sorted(found - expected)
        sys.exit(f"{path.name} lacks {lacks} and shouldn't have {adds}.")
    print(f"{path.name}: {len(found)} files, {path.stat().st_size // 1024} kB")


if __name__ == "__main__":
    main()
