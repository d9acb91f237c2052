"""Checks what the wheel and the sdist in ``dist/`` hold.

    python .ci/dist.py

The wheel has to be the package, its metadata and its license; the sdist has to be what Git tracks.
"""

from __future__ import annotations

import subprocess
import tarfile
import tomllib
import zipfile
from email import message_from_bytes
from email.message import Message
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "src" / "djem_async"
# Nobody needs these outside of a checkout.
LEFT_OUT = {".editorconfig", ".gitattributes"}


def main() -> None:
    (wheel,) = (ROOT / "dist").glob("*.whl")
    (sdist,) = (ROOT / "dist").glob("*.tar.gz")
    with zipfile.ZipFile(wheel) as archive:
        files = set(archive.namelist())
        (info,) = {name.split("/")[0] for name in files if ".dist-info/" in name}
        metadata = message_from_bytes(archive.read(f"{info}/METADATA"))
    expected = {name.removeprefix("src/") for name in tracked() if name.startswith("src/")}
    parts = {f"{info}/{name}" for name in ("METADATA", "RECORD", "WHEEL", "licenses/LICENSE")}
    compare(wheel, files, expected | parts)
    assert "djem_async/py.typed" in files
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
    assert not found - expected, f"{path.name} has too much: {sorted(found - expected)}"
    assert not expected - found, f"{path.name} lacks {sorted(expected - found)}"
    print(f"{path.name}: {len(found)} files, {path.stat().st_size // 1024} kB")


def check_metadata(found: Message) -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    version = f'__version__ = "{found["Version"]}"\n'
    assert version in (PACKAGE / "__init__.py").read_text(encoding="utf-8")
    assert found["Name"] == project["name"]
    assert found["License-Expression"] == project["license"]
    assert found["Requires-Python"] == project["requires-python"]
    urls = dict(line.split(", ") for line in found.get_all("Project-URL", []))
    assert urls == project["urls"]
    assert found.get_payload() == (ROOT / "README.md").read_text(encoding="utf-8")
    print(f"Metadata: {found['Name']} {found['Version']}, {', '.join(urls)}")


if __name__ == "__main__":
    main()
