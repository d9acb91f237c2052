"""Checks what the wheel and the sdist in ``dist/`` hold: ``python .ci/dist.py``.

The wheel has to be the package with its templates and ``py.typed``, the metadata and the license.
The sdist has to be what Git tracks.
"""

from __future__ import annotations

import subprocess
import sys
import tarfile
import tomllib
import zipfile
from email import message_from_string
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
        metadata = archive.read(f"{info}/METADATA").decode()
    expected = {name.removeprefix("src/") for name in tracked() if name.startswith("src/")}
    parts = {f"{info}/{name}" for name in ("METADATA", "RECORD", "WHEEL", "licenses/LICENSE")}
    compare(wheel, files, expected | parts)
    check_metadata(metadata)

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


def check_metadata(text: str) -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    found = message_from_string(text)
    urls = [f"{name}, {url}" for name, url in project["urls"].items()]
    for name, expected in {
        "Name": [project["name"]],
        "Author": [project["authors"][0]["name"]],
        "License-Expression": [project["license"]],
        "Requires-Python": [project["requires-python"]],
        "Project-URL": urls,
    }.items():
        if found.get_all(name) != expected:
            sys.exit(f"The metadata's {name} is {found.get_all(name)}, not {expected}.")
    if found.get_payload() != (ROOT / "README.md").read_text(encoding="utf-8"):
        sys.exit("The description isn't README.md.")
    print(f"Metadata: {found['Name']} {found['Version']}")


if __name__ == "__main__":
    main()
