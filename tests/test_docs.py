"""README.md and docs/: the code prints what they show, and what they refer to exists."""

import re
import sys
import tomllib
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

import djem_async
from djem_async.conf import conf
from tests.docs_app.page import (
    API_PAGES,
    FRAMEWORK_PAGES,
    MESSAGE,
    PAGES,
    README,
    ROOT,
    TUTORIAL,
    read_blocks,
    run_in_process,
)

DOCS = ROOT / "docs"
MARKDOWN = [
    *PAGES,
    *FRAMEWORK_PAGES,
    *API_PAGES,
    ROOT / "CHANGELOG.md",
    ROOT / "benchmarks" / "README.md",
]
CHECKS = Path(djem_async.__file__).parent / "checks"
# README.md is shown elsewhere too, so its links are absolute.
REPOSITORY = "https://github.com/djem-async/djem_async/"
SITE = "https://djem-async.github.io/djem_async/"
COMPARISON = ROOT / "benchmarks" / "compare_ahas_perm.py"


def page_name(page: Path) -> str:
    return page.relative_to(ROOT).as_posix()


# The tutorial isn't run, but typed: in test_tutorial.py.
@pytest.mark.parametrize("page", [page for page in PAGES if page != TUTORIAL], ids=page_name)
def test_code_prints_what_the_page_shows(page: Path) -> None:
    result = run_in_process(page)
    assert result.returncode == 0, result.stderr


@pytest.mark.parametrize(
    ("page", "problem"),
    [
        ("```python\nprint(1)\n```\n\n```text\n2\n```", "and the code prints:\n1"),
        ("```python\nprint(1)\n```", "and the code prints:\n1"),
        ("```python\n1 / 0\n```", "ZeroDivisionError"),
        ("```pycon\n>>> 1\n2\n```", "and the code prints:\n1"),
        ("```pycon\n>>> 1\nTraceback (most recent call last):\nValueError: 1\n```", "ValueError"),
        ("```python\n# inventory/unused.py\nx = 1\n```", "inventory/unused.py is not used"),
        ("```html+django\n{# inventory/unused.html #}\n```", "inventory/unused.html is not used"),
        ("```python\n# settings.py\nDJEM_UNIVERSAL_OLP = 'no'\n```", "djem_async.E004"),
        ("```text\n?: (djem_async.W016) The setting\n```", "The page says:\n?: (djem_async.W016)"),
        ("```ruby\nputs 1\n```", "cannot run a block of 'ruby'"),
    ],
)
def test_wrong_page_fails(tmp_path: Path, page: str, problem: str) -> None:
    path = tmp_path / "page.md"
    path.write_text(f"# A page\n\n{page}\n")
    result = run_in_process(path)
    assert result.returncode != 0
    assert problem in result.stderr


@pytest.mark.parametrize("page", MARKDOWN, ids=page_name)
def test_every_fence_belongs_to_a_block(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    fences = re.findall(r"^\s*(?:```|~~~)", text, re.MULTILINE)
    hidden = re.findall(r"^<!-- python$", text, re.MULTILINE)
    assert len(fences) == 2 * (len(read_blocks(page)) - len(hidden))


@pytest.mark.parametrize("page", MARKDOWN, ids=page_name)
def test_shown_commands_exist(page: Path) -> None:
    shell = "".join(block.code for block in read_blocks(page) if block.language == "sh")
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    for target in re.findall(r"^make (\S+)", shell, re.MULTILINE):
        assert re.search(rf"^{target}:", makefile, re.MULTILINE)


def prose(page: Path) -> str:
    text = page.read_text(encoding="utf-8")
    return re.sub(r"^(?:```.*?^```|<!--.*?^-->)$", "", text, flags=re.MULTILINE | re.DOTALL)


def sections(page: Path) -> dict[str, str]:
    parts = re.split(r"^#+ (.*)$", prose(page), flags=re.MULTILINE)
    return {
        title.replace("`", ""): text for title, text in zip(parts[1::2], parts[2::2], strict=True)
    }


def anchor(heading: str) -> str:
    """Name a heading as GitHub does."""
    text = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading).lower()
    return re.sub(r"[^\w\- ]", "", text).replace(" ", "-")


def links(page: Path) -> list[tuple[Path, str]]:
    """Return the file and the anchor that each link to the repository or the site leads to."""
    found = re.findall(r"\]\(([^)#\s]*)#?([^)\s]*)\)", prose(page))
    targets = [(local(page, address), name) for address, name in found]
    return [(target, name) for target, name in targets if target]


def local(page: Path, address: str) -> Path | None:
    if address.startswith(SITE):
        path = address.removeprefix(SITE)
        return DOCS / re.sub(r"\.html$", ".md", path or "index.html")
    if address.startswith(REPOSITORY):
        path = address.removeprefix(REPOSITORY).removeprefix("blob/main/")
        return ROOT / re.sub("^actions/(workflows/[^/]*).*", r".github/\1", path)
    if "://" in address:
        return None
    return (page.parent / address).resolve() if address else page


@pytest.mark.parametrize("page", MARKDOWN, ids=page_name)
def test_links_lead_somewhere(page: Path) -> None:
    for target, name in links(page):
        assert target.exists()
        assert not name or name in map(anchor, sections(target)), (target, name)


@pytest.mark.parametrize("start", [README, DOCS / "index.md"], ids=page_name)
def test_every_page_is_linked(start: Path) -> None:
    assert set(PAGES) - {README, DOCS / "index.md"} <= {target for target, _ in links(start)}


def test_every_framework_page_is_linked() -> None:
    index = DOCS / "frameworks" / "index.md"
    assert set(FRAMEWORK_PAGES) - {index} <= {target for target, _ in links(index)}


def test_every_page_of_the_reference_is_linked() -> None:
    assert set(API_PAGES) <= {target for target, _ in links(DOCS / "reference" / "api.md")}


def source(module: str) -> str:
    return Path(import_module(module).__file__ or "").read_text(encoding="utf-8")


def test_system_checks_are_documented() -> None:
    page = DOCS / "reference" / "system-checks.md"
    shown = [
        match["id"]
        for block in read_blocks(page)
        if block.language == "text" and (match := MESSAGE.match(block.code))
    ]
    code = "".join(path.read_text(encoding="utf-8") for path in CHECKS.glob("*.py"))
    ids = set(re.findall(r'"(djem_async\.[A-Z]\d+)"', code))
    assert sorted(ids) == sorted(shown)
    assert ids == {title for title in sections(page) if title.startswith("djem_async.")}
    assert ids == set(re.findall(r"^\| \[`(djem_async\.\w+)`\]", prose(page), re.MULTILINE))


def test_settings_are_documented_with_their_defaults() -> None:
    page = sections(DOCS / "reference" / "settings.md")
    found = {title: text for title, text in page.items() if title.startswith("DJEM_")}
    assert set(found) == set(re.findall(r'"(DJEM_\w+)"', source("djem_async.conf")))
    for name, text in found.items():
        assert f"the default is `{getattr(conf, name)!r}`" in text


def test_readme_is_right_wherever_it_is_shown() -> None:
    text = README.read_text(encoding="utf-8")
    found = re.findall(r"\]\((.*?)\)", prose(README))
    assert [address for address in found if not address.startswith("https://")] == []
    assert "> [!" not in text  # only a forge renders alerts


def test_badges_are_true() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    badges = re.findall(r"^!\[(.*?)\]", README.read_text(encoding="utf-8"), re.MULTILINE)
    for name, prefix in [
        ("Python", "Programming Language :: Python"),
        ("Django", "Framework :: Django"),
    ]:
        versions = [
            each.rpartition(" ")[2]
            for each in project["classifiers"]
            if re.fullmatch(rf"{prefix} :: [\d.]+", each)
        ]
        assert f"{name}: {versions[0]} to {versions[-1]}" in badges
    assert f"License: {project['license']}" in badges


def test_readme_compares_libraries() -> None:
    namespace: dict[str, Any] = {"__name__": "comparison", "__file__": str(COMPARISON)}
    exec(compile(COMPARISON.read_text(encoding="utf-8"), COMPARISON, "exec"), namespace)
    text = README.read_text(encoding="utf-8")
    assert namespace["HEADER"] in text
    assert namespace["row"](sys.executable, "djem_async") in text
    for library, version in namespace["PINNED"].items():
        assert f"\n| {library} {version} | " in text
