"""Type checkers find what is wrong in the programs of ``tests/typing``, and nothing else."""

import json
import os
import re
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from inspect import cleandoc
from pathlib import Path
from typing import NamedTuple

import pytest

import djem_async

HERE = Path(__file__).parent
PACKAGE = Path(djem_async.__file__).parent
# The examples in these docstrings, and in the documentation, are checked as well.
WITH_EXAMPLES = ("access.py", "protocols.py")
DOCS = HERE.parent / "docs" / "howto" / "static-checking.md"

# mypy's command leaves without tidying up, and without measuring coverage.
MYPY = "import sys; from mypy.api import run; out, err, code = run(sys.argv[1:]); print(out, err)"
EXPECTED_BY_MYPY = re.compile(r'# E: ([\w-]+) "(.*?)"(?= #|\n|$)')
EXPECTED_BY_PYRIGHT = re.compile(r"# P: (\w+)()")
ERROR = re.compile(r"(?P<file>[^:\n]+):(?P<line>\d+): error: (?P<message>.*)  \[(?P<code>[\w-]+)\]")


class Problem(NamedTuple):
    file: str
    line: int
    code: str
    message: str


class Project:
    """A copy of the programs."""

    def __init__(self, root: Path) -> None:
        self.root = root
        shutil.copytree(HERE / "typing", root / "tests" / "typing")
        (root / "tests" / "__init__.py").touch()
        examples = root / "tests" / "typing" / "examples"
        examples.mkdir()
        for name, code in _examples():
            (examples / name).write_text(code)

    def path(self, name: str) -> Path:
        return self.root / "tests" / "typing" / name

    def replace(self, name: str, old: str, new: str) -> None:
        text = self.path(name).read_text()
        assert old in text
        self.path(name).write_text(text.replace(old, new))

    def run(self, *arguments: str) -> str:
        source = "" if "site-packages" in PACKAGE.parts else str(PACKAGE.parent)
        path = os.pathsep.join([source, str(self.root / "site-packages")]).strip(os.pathsep)
        environment = os.environ | {"PYTHONPATH": path, "MYPYPATH": source}
        environment.pop("DJANGO_SETTINGS_MODULE", None)
        result = subprocess.run(
            [sys.executable, *arguments],
            cwd=self.root,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )
        assert "Traceback" not in result.stderr, result.stderr
        return result.stdout

    def mypy(self, config: str = "mypy.ini") -> list[Problem]:
        options = ("--config-file", f"tests/typing/{config}", "--cache-dir", "cache")
        return self._errors(self.run("-c", MYPY, *options, "tests/typing"))

    def dmypy(self, command: str, *options: str) -> list[Problem]:
        return self._errors(self.run("-m", "mypy.dmypy", command, *options))

    def _errors(self, output: str) -> list[Problem]:
        found = [
            Problem(match["file"], int(match["line"]), match["code"], match["message"])
            for match in ERROR.finditer(output)
        ]
        assert output.count(": error:") == len(found), output
        return sorted(found)

    def pyright(self) -> list[Problem]:
        config = json.loads((HERE / "typing" / "pyrightconfig.json").read_text())
        config["extraPaths"] = [str(PACKAGE.parent)]
        (self.root / "pyrightconfig.json").write_text(json.dumps(config))
        output = self.run("-m", "pyright", "--outputjson", "--pythonpath", sys.executable)
        return [
            Problem(
                str(Path(found["file"]).relative_to(self.root.resolve())),
                found["range"]["start"]["line"] + 1,
                found.get("rule", ""),
                found["message"],
            )
            for found in json.loads(output)["generalDiagnostics"]
        ]

    def assert_as_marked(self, problems: list[Problem], marks: re.Pattern[str]) -> None:
        missing = []
        unexpected = list(problems)
        for path in sorted(self.path("").rglob("*.py")):
            for number, line in enumerate(path.read_text().splitlines(), 1):
                for code, part in marks.findall(line):
                    name = str(path.relative_to(self.root))
                    for problem in unexpected:
                        if problem[:3] == (name, number, code) and part in problem.message:
                            unexpected.remove(problem)
                            break
                    else:
                        missing.append(Problem(name, number, code, part))
        assert (missing, unexpected) == ([], [])


def _examples() -> Iterator[tuple[str, str]]:
    for name in WITH_EXAMPLES:
        text = (PACKAGE / name).read_text()
        blocks = re.findall(r"( +)Example:\n +::\n\n((?:\1    .*\n|\n)+)", text)
        assert blocks
        for number, (_, block) in enumerate(blocks):
            yield f"{name.removesuffix('.py')}_{number}.py", f"{cleandoc(block)}\n"
    for number, block in enumerate(re.findall(r"```python\n(.*?)```", DOCS.read_text(), re.DOTALL)):
        yield f"docs_{number}.py", block


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Project:
    return Project(tmp_path_factory.mktemp("project"))


@pytest.fixture(scope="module")
def cold(project: Project) -> list[Problem]:
    """What mypy finds in its first run."""
    return project.mypy()


def add_mistakes(project: Project) -> None:
    project.replace(
        "shop/models/right.py",
        "AbstractBaseUser) -> bool: return True",
        'AbstractBaseUser) -> bool | None: return True  # E: djem-access "returns "bool | None""',
    )
    project.replace(
        "shop/right_calls.py",
        'user.has_perm("shop.use_product", product)',
        'user.has_perm("shop.use_produce", product)  # E: djem-perm "did you mean"',
    )
    project.replace(
        "shop/far_calls.py",
        'user.has_perm("stock.use_shelf")',
        'user.has_perm("stock.add_shelf", supplier)  # E: arg-type "expected "Shelf | None""',
    )


def test_mypy_finds_the_marked_errors(project: Project, cold: list[Problem]) -> None:
    project.assert_as_marked(cold, EXPECTED_BY_MYPY)


PYPROJECT = """
[tool.mypy]
strict = true
warn_unreachable = true
enable_error_code = ["truthy-bool", "unused-awaitable"]
plugins = ["djem_async.mypy_plugin", "mypy_django_plugin.main"]
[tool.django-stubs]
django_settings_module = "tests.typing.settings"
[tool.djem-async]
extra_permissions = ["legacy.*", "shop.made_by_migration"]
[[tool.mypy.overrides]]
module = "tests.typing.examples.*"
disable_error_code = ["djem-access", "djem-perm"]
"""


def test_pyproject_toml_other_order_of_plugins_and_app_without_types(
    cold: list[Problem], tmp_path: Path
) -> None:
    project = Project(tmp_path)
    project.path("pyproject.toml").write_text(PYPROJECT)
    untyped = tmp_path / "site-packages" / "untyped"
    untyped.mkdir(parents=True)
    (untyped / "models.py").write_text(
        "from django.db import models\nclass Old(models.Model): pass\n"
    )
    project.replace("settings.py", '    "djem_async",\n', '    "djem_async",\n    "untyped",\n')
    assert project.mypy("pyproject.toml") == cold


def test_old_cache(project: Project, cold: list[Problem], tmp_path: Path) -> None:
    edited = Project(tmp_path)
    shutil.copytree(project.root / "cache", edited.root / "cache")
    assert edited.mypy() == cold
    add_mistakes(edited)
    edited.assert_as_marked(edited.mypy(), EXPECTED_BY_MYPY)

    edited.replace("shop/models/base.py", '"manage_supplier"', '"supervise_supplier"')
    users = {
        (Path(problem.file).name, problem.code)
        for problem in edited.mypy()
        if '"shop.manage_supplier"' in problem.message
    }
    assert users == {("right_calls.py", "djem-perm"), ("wrong_calls.py", "djem-perm")}


def test_daemon_before_and_after_an_edit(cold: list[Problem], tmp_path: Path) -> None:
    project = Project(tmp_path)
    try:
        options = ("--config-file", "tests/typing/mypy.ini", "--cache-dir", "cache")
        assert project.dmypy("run", "--", *options, "tests/typing") == cold
        add_mistakes(project)
        project.assert_as_marked(project.dmypy("recheck"), EXPECTED_BY_MYPY)
        mistake = "-> bool | None: return True  # E: djem-access"
        project.replace("shop/models/right.py", mistake, "-> bool: return True  # mended")
        project.assert_as_marked(project.dmypy("recheck"), EXPECTED_BY_MYPY)
    finally:
        project.dmypy("stop")


def test_pyright_finds_the_marked_errors(project: Project) -> None:
    project.assert_as_marked(project.pyright(), EXPECTED_BY_PYRIGHT)


def test_programs_are_enough(project: Project) -> None:
    marks = Counter(
        (path.stem, code)
        for path in project.path("").rglob("*.py")
        for code, _ in EXPECTED_BY_MYPY.findall(path.read_text())
    )
    assert marks["wrong", "djem-access"] >= 30
    assert min(marks["wrong_calls", "djem-perm"], marks["unawaited", "djem-await"]) >= 10
    assert marks["wrong_calls", "arg-type"] >= 5
    assert marks["right", "djem-access"] == 0
