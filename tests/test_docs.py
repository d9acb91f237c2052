"""The README and the pages in docs/: their code runs, and what they say about the library is so.

How code blocks are run is told in tests/docs_app/run.py.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from importlib import import_module
from inspect import Signature, isclass, isfunction, signature
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

import djem_async
from djem_async import checks, conf
from tests.docs_app.page import PAGES, README, ROOT, Block, read_blocks, split

if TYPE_CHECKING:
    from types import ModuleType

DOCS = ROOT / "docs"
MARKDOWN = [
    *PAGES,
    ROOT / "CHANGELOG.md",
    ROOT / "benchmarks" / "README.md",
]
COMPARISON = ROOT / "benchmarks" / "compare_ahas_perm.py"
MODULES = sorted(set(re.findall(r"`(djem_async\.\w+)`", djem_async.__doc__ or "")))


def run_page(page: Path) -> subprocess.CompletedProcess[str]:
    package = Path(djem_async.__file__).parents[1]
    return subprocess.run(
        [sys.executable, "-W", "error", "-m", "tests.docs_app.run", page],
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": os.pathsep.join(map(str, [ROOT, package]))},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def page_name(page: Path) -> str:
    return page.relative_to(ROOT).as_posix()


# Code


@pytest.mark.parametrize("page", PAGES, ids=page_name)
def test_the_code_of_a_page_runs_and_prints_what_the_page_says(page: Path) -> None:
    result = run_page(page)
    assert result.returncode == 0, result.stderr
    assert not result.stdout


@pytest.mark.parametrize(
    ("page", "problem"),
    [
        ("```python\nprint(1)\n```\n\n```text\n2\n```", "and the code prints:\n1"),
        ("```python\nprint(1)\n```", "and the code prints:\n1"),
        ("```python\nprint(1)\n```\n\nSo:\n\n```text\n1\n```", "right after the code"),
        ("```python\n1 / 0\n```", "ZeroDivisionError"),
        ("```pycon\n>>> 1\n2\n```", "and the code prints:\n1"),
        ("```pycon\n>>> 1 / 0\n2\n```", "ZeroDivisionError"),
        ("```pycon\n>>> 1\nTraceback (most recent call last):\nValueError: 1\n```", "ValueError"),
        ("```python\n# inventory/models.py\nclass Wrong(models.Model): x = y\n```", "NameError"),
        ("```python\n# inventory/views.py\nimport missing\n```", "No module named 'missing'"),
        ("```python\n# inventory/unused.py\nx = 1\n```", "inventory/unused.py is not used"),
        ("```html+django\n{# inventory/unused.html #}\n```", "inventory/unused.html is not used"),
        ("```python\n# settings.py\nDJEM_UNIVERSAL_OLP = 'no'\n```", "djem_async.E004"),
        ("```ruby\nputs 1\n```", "nothing can run a block of 'ruby'"),
    ],
)
def test_a_page_that_is_wrong_fails(tmp_path: Path, page: str, problem: str) -> None:
    path = tmp_path / "page.md"
    path.write_text(f"# A page\n\n{page}\n")
    result = run_page(path)
    assert result.returncode != 0
    assert problem in result.stderr


@pytest.mark.parametrize("page", PAGES, ids=page_name)
def test_every_fence_belongs_to_a_block(page: Path) -> None:
    blocks = read_blocks(page)
    visible = [block for block in blocks if not block.is_hidden]
    fences = re.findall(r"^\s*(?:```|~~~)", page.read_text(encoding="utf-8"), re.MULTILINE)
    assert len(fences) == 2 * len(visible)


def test_only_settings_after_code_are_changed_on_the_way() -> None:
    def block(language: str, code: str) -> Block:
        return Block(language, code, line=1, is_next=False, is_hidden=False)

    early, late = (block("python", f"# settings.py\nX = {x}\n") for x in (1, 2))
    shell, code, models = (
        block("sh", "make\n"),
        block("python", "1\n"),
        block("python", "# inventory/models.py\n1\n"),
    )
    files, steps = split([shell, early, code, late, models])
    assert files == [early, models]
    assert steps == [shell, code, late]


COMMANDS = {
    command
    for page in MARKDOWN
    for block in read_blocks(page)
    if block.language == "sh"
    for command in block.code.splitlines()
}


@pytest.mark.parametrize("command", sorted(COMMANDS))
def test_a_command_for_a_terminal_can_be_given(command: str) -> None:
    match command.split():
        case ["make", target, *_]:
            makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
            assert re.search(rf"^{target}:", makefile, re.MULTILINE)
        case ["pip", "install", "."]:
            assert (ROOT / "pyproject.toml").exists()
        case ["pip", "install", name]:
            pyproject = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
            assert f'\nname = "{name}"\n' in pyproject
        case ["python", "manage.py", "makemigrations" | "migrate", *_]:
            pass
        case ["python", script]:
            assert (ROOT / script).exists()
        case ["grep", "-rnE", _, *_]:
            pattern = command.split('"')[1]
            lines = ["from djem.auth import x", "{% load djem %}", "user._olp_cache"]
            assert all(re.search(pattern, line) for line in lines)
            assert not re.search(pattern, "from djem_async.auth import x; {% load djem_async %}")
        case _:
            pytest.fail(f"Say here how `{command}` is tested.")


# Links


def prose(page: Path) -> str:
    text = page.read_text(encoding="utf-8")
    return re.sub(r"^(?:```.*?^```|<!--.*?^-->)$", "", text, flags=re.MULTILINE | re.DOTALL)


def headings(page: Path) -> list[str]:
    return re.findall(r"^#+ (.*)$", prose(page), re.MULTILINE)


def anchor(heading: str) -> str:
    """Name a heading as GitHub does."""
    text = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading).lower()
    return re.sub(r"[^\w\- ]", "", text).replace(" ", "-")


def links(page: Path) -> list[str]:
    return re.findall(r"\]\(([^)\s]+)\)", prose(page))


@pytest.mark.parametrize("page", MARKDOWN, ids=page_name)
def test_links_lead_somewhere(page: Path) -> None:
    broken = []
    for link in links(page):
        path, _, fragment = link.partition("#")
        if path.startswith("https://"):
            continue
        target = (page.parent / path).resolve() if path else page
        known = map(anchor, headings(target)) if target.suffix == ".md" else ()
        if not target.exists() or (fragment and fragment not in known):
            broken.append(link)
    assert not broken


@pytest.mark.parametrize("page", MARKDOWN, ids=page_name)
def test_anchors_are_unique(page: Path) -> None:
    anchors = list(map(anchor, headings(page)))
    assert len(anchors) == len(set(anchors))


@pytest.mark.parametrize("start", [README, DOCS / "index.md"], ids=page_name)
def test_every_page_is_linked_from(start: Path) -> None:
    targets = {(start.parent / link.partition("#")[0]).resolve() for link in links(start)}
    assert set(DOCS.glob("*.md")) - {DOCS / "index.md"} <= targets


# What the pages say


def sections(page: Path) -> dict[str, str]:
    parts = re.split(r"^#+ (.*)$", prose(page), flags=re.MULTILINE)
    return {
        title.replace("`", ""): text for title, text in zip(parts[1::2], parts[2::2], strict=True)
    }


def test_every_system_check_is_documented_and_no_other() -> None:
    source = Path(checks.__file__).read_text(encoding="utf-8")
    ids = set(re.findall(r'"(djem_async\.[A-Z]\d+)"', source))
    page = DOCS / "checks.md"
    described = {title for title in sections(page) if title.startswith("djem_async.")}
    listed = re.findall(r"^\| \[`(djem_async\.\w+)`\]", prose(page), re.MULTILINE)
    shown = {
        f"djem_async.{number}"
        for number in re.findall(r'^show\("(\w+)"\)$', page.read_text(), re.MULTILINE)
    }
    assert ids == described == set(listed) == shown
    assert listed == sorted(listed)


@pytest.mark.parametrize("text", ["**Cause.**", "**Cure.**"])
def test_every_system_check_has_a_cause_and_a_cure(text: str) -> None:
    found = sections(DOCS / "checks.md")
    assert all(text in found[title] for title in found if title.startswith("djem_async."))


def test_every_setting_is_documented_and_no_other() -> None:
    found = sections(DOCS / "settings.md")
    settings = conf._SETTINGS
    assert {title for title in found if title.startswith("DJEM_")} == set(settings)
    for name, (default, allowed) in settings.items():
        assert f"the default is `{default!r}`" in found[name]
        assert all(f"`{value!r}`" in found[name] for value in allowed)


def public_names(module: ModuleType) -> list[str]:
    """Return what a module exports, or else the functions and classes that it defines."""
    return list(
        getattr(module, "__all__", None)
        or (
            name
            for name, value in vars(module).items()
            if not name.startswith("_")
            and (isclass(value) or isfunction(value))
            and value.__module__ == module.__name__
        )
    )


def shown(function: Any) -> str:
    """Show a signature as the reference does: without `self` and without types."""
    parameters = [
        parameter.replace(annotation=Signature.empty)
        for name, parameter in signature(function).parameters.items()
        if name != "self"
    ]
    return str(Signature(parameters)).replace("/, ", "").replace(", /", "")


def test_there_are_public_modules() -> None:
    assert {"djem_async.auth", "djem_async.models"} <= set(MODULES)


@pytest.mark.parametrize("name", MODULES)
def test_the_reference_has_every_public_name(name: str) -> None:
    reference = sections(DOCS / "reference.md")
    names = public_names(import_module(name))
    assert names
    if name == "djem_async.protocols":
        missing = [each for each in names if f"| `{each}" not in reference[name]]
    else:
        missing = [each for each in names if each not in reference]
    assert not missing


def test_the_reference_has_every_signature() -> None:
    reference = sections(DOCS / "reference.md")
    wrong = []
    for module in map(
        import_module, set(MODULES) - {"djem_async.protocols", "djem_async.middleware"}
    ):
        for name in public_names(module):
            documented = set(re.findall(r"`(\w+\(.*?\))`", reference[name]))
            value = getattr(module, name)
            if isfunction(value) or name == "Entry":
                actual = {f"{name}{shown(value)}"}
            elif issubclass(value, Exception):
                continue
            else:
                methods = {
                    method: function
                    for method, function in vars(value).items()
                    if isfunction(function) and not method.startswith("_")
                }
                actual = {f"{method}{shown(function)}" for method, function in methods.items()}
                documented = {each for each in documented if each.partition("(")[0] in methods}
            wrong += [(name, each) for each in documented ^ actual]
    assert not wrong


def test_the_changelog_begins_with_what_is_unreleased() -> None:
    text = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    assert re.findall(r"^## (.*)$", text, re.MULTILINE)[0] == "[Unreleased]"
    assert djem_async.__version__ in text


# The comparison


@pytest.fixture(scope="module")
def comparison() -> Any:
    namespace: dict[str, Any] = {"__name__": "comparison", "__file__": str(COMPARISON)}
    exec(compile(COMPARISON.read_text(encoding="utf-8"), COMPARISON, "exec"), namespace)
    return namespace


def test_the_readme_has_the_table_of_the_comparison(comparison: Any) -> None:
    text = README.read_text(encoding="utf-8")
    assert comparison["HEADER"] in text
    assert comparison["row"](sys.executable, "djem_async") in text
    for library, version in comparison["PINNED"].items():
        assert f"\n| {library} {version} | " in text
    if comparison["is_complete"]():
        assert comparison["table"](sys.executable) in text
