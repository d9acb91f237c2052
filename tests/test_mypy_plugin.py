"""The parts of the mypy plugin; what it finds is tested by `tests.test_static_checking`."""

from __future__ import annotations

import subprocess
import sys
from types import ModuleType
from typing import TYPE_CHECKING

import pytest
from mypy.options import Options

from djem_async.mypy_plugin import DjemPlugin, plugin
from djem_async.mypy_plugin._project import Project, _has_types
from djem_async.mypy_plugin._truth import truth_values

if TYPE_CHECKING:
    from pathlib import Path

INI = """
[mypy.plugins.django-stubs]
django_settings_module = tests.settings
[mypy.plugins.djem-async]
extra_permissions = legacy.*,
    shop.made_by_migration
"""
TOML = """
[tool.django-stubs]
django_settings_module = "tests.settings"
[tool.djem-async]
extra_permissions = ["legacy.*", "shop.made_by_migration"]
"""
# Sections of our own are optional.
BARE_INI = INI.partition("[mypy.plugins.djem-async]")[0]
BARE_TOML = TOML.partition("[tool.djem-async]")[0]


def project(directory: Path, name: str, text: str) -> Project:
    (directory / name).write_text(text)
    options = Options()
    options.config_file = str(directory / name)
    return Project.load(options)


@pytest.mark.parametrize(("name", "text"), [("mypy.ini", INI), ("pyproject.toml", TOML)])
def test_extra_permissions_are_read_from_the_config(tmp_path: Path, name: str, text: str) -> None:
    found = project(tmp_path, name, text)
    assert found.extra == ["legacy.*", "shop.made_by_migration"]
    assert found.problem_of("legacy.anything") is None
    assert found.problem_of("shop.made_by_migration") is None
    assert found.problem_of("shop.made_by_mistake") is not None


@pytest.mark.parametrize(("name", "text"), [("mypy.ini", BARE_INI), ("pyproject.toml", BARE_TOML)])
def test_extra_permissions_are_optional(tmp_path: Path, name: str, text: str) -> None:
    assert project(tmp_path, name, text).extra == []


def test_the_project_is_read(tmp_path: Path) -> None:
    found = project(tmp_path, "mypy.ini", INI)
    things = ["Thing", "ThingProxy", "SpecialThing"]
    assert found.owners["testapp.use_thing"] == ["tests.testapp.models.Thing"]
    for name in things:
        assert "use_thing" in found.codenames[f"tests.testapp.models.{name}"]
    assert found.user[0] == "tests.testapp.models.User"
    assert "django.contrib.auth.base_user.AbstractBaseUser" in found.user
    assert found.groups[0] == "django.contrib.auth.models.Group"
    assert found.modules["tests.testapp.models.Thing"] == "tests.testapp.models"


def test_a_changed_project_makes_cached_results_stale(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from tests.testapp.models import Thing

    before = project(tmp_path, "mypy.ini", INI).digest()
    assert project(tmp_path, "mypy.ini", INI).digest() == before
    monkeypatch.setattr(Thing._meta, "permissions", [("handle_thing", "Can handle thing")])
    assert project(tmp_path, "mypy.ini", INI).digest() != before
    assert project(tmp_path, "mypy.ini", BARE_INI).digest() != before


@pytest.mark.parametrize(
    ("path", "has_types"),
    [
        ("src/shop/models.py", True),
        ("lib/site-packages/shop/models.py", False),
        ("lib/dist-packages/shop/models.py", False),
    ],
)
def test_models_without_types_are_not_asked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, path: str, *, has_types: bool
) -> None:
    """mypy would report that it cannot import them."""
    package, module = ModuleType("shop"), ModuleType("shop.models")
    module.__file__ = str(tmp_path / path)
    package.__path__ = [str((tmp_path / path).parent)]
    monkeypatch.setitem(sys.modules, "shop", package)
    monkeypatch.setitem(sys.modules, "shop.models", module)
    assert _has_types("shop.models") is has_types
    (tmp_path / path).parent.mkdir(parents=True)
    (tmp_path / path).with_name("py.typed").touch()
    assert _has_types("shop.models")


def test_django_has_types_by_its_stubs() -> None:
    assert _has_types("django.contrib.auth.models")


@pytest.mark.parametrize(
    "source",
    [
        "if f(): pass",
        "while f(): pass",
        "assert f()",
        "not f()",
        "f() and x",
        "x or f() or y",
        "y if f() else z",
        "if x and f(): pass",
        "if (y := f()): pass",
        "if (f() if x else y): pass",
        "[x for x in y if f()]",
        "{x: x for x in y if f()}",
        "match x:\n  case 1 if f(): pass",
        "bool(f())",
        "all([f()])",
        "any((f(), x))",
        "all({f()})",
        "all(f() for x in y)",
        "any([f() for x in y])",
    ],
)
def test_truth_values_are_found(source: str) -> None:
    assert len(truth_values(source.encode())) == 1


@pytest.mark.parametrize(
    "source",
    [
        "f()",
        "x = f()",
        "if x: f()",
        "if await f(): pass",
        "x and f()",
        "-f()",
        "[f() for x in y]",
        "match x:\n  case 1: f()",
        "all(f())",
        "sum([f()])",
        "if f: pass",
    ],
)
def test_other_calls_are_not(source: str) -> None:
    body = "\n".join(f"  {line}" for line in source.splitlines())
    calls = truth_values(f"async def g():\n{body}".encode())
    # `all(f())` is a truth value of what is in it.
    assert calls == set()


def test_mypy_is_given_the_plugin() -> None:
    assert plugin("2.4.1") is DjemPlugin


def test_the_library_does_not_need_mypy() -> None:
    code = """
import importlib, pkgutil, sys
import django, djem_async
django.setup()
for folder in ("", "/auth", "/templatetags"):
    name = "djem_async" + folder.replace("/", ".")
    for module in pkgutil.iter_modules([djem_async.__path__[0] + folder], name + "."):
        if module.name != "djem_async.mypy_plugin":
            importlib.import_module(module.name)
print(len(sys.modules), *(name for name in sys.modules if name.startswith("mypy")))
"""
    command = [sys.executable, "-c", code]
    result = subprocess.run(command, capture_output=True, text=True, check=True)
    assert len(result.stdout.split()) == 1
