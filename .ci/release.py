"""Checks that a tag may be released, and prints what the changelog says about it.

python .ci/release.py v0.1.0
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


def main(tag: str) -> None:
    version = re.search(r'^__version__ = "(.*)"', read("src/djem_async/__init__.py"), re.MULTILINE)
    if not version or tag != f"v{version[1]}":
        sys.exit(f"The tag is {tag}, and the version is {version and version[1]}.")
    heading = rf"^## \[{re.escape(version[1])}\] - \d{{4}}-\d\d-\d\d\n(.*?)(?=^## |\Z)"
    section = re.search(heading, read("CHANGELOG.md"), re.MULTILINE | re.DOTALL)
    if not section:
        sys.exit(f"CHANGELOG.md has no section '## [{version[1]}] - <date>'.")
    for page in ("README.md", "docs/index.md"):
        if "isn't released yet" in read(page):
            sys.exit(f"{page} says that the version isn't released yet.")
    print(section[1].strip())


def read(path: str) -> str:
    return (ROOT / path).read_text(encoding="utf-8")


if __name__ == "__main__":
    main(*sys.argv[1:])
