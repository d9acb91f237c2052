"""What the plugin has to know about the Django project."""

from __future__ import annotations

import configparser
import hashlib
import json
import re
import sys
import tomllib
from dataclasses import asdict, dataclass
from difflib import get_close_matches
from fnmatch import fnmatchcase
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from mypy.modulefinder import mypy_path
from mypy_django_plugin.config import DjangoPluginConfig
from mypy_django_plugin.django.context import DjangoContext

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from mypy.options import Options

ACCESS_METHOD: Final = re.compile(r"_(a|q|)(user|group)_can_(.*)")


@dataclass(frozen=True)
class Project:
    """Data that only the running Django project has. Classes are given by their full names."""

    owners: dict[str, list[str]]
    """The models that own each permission: they declare it, or have an access method for it."""
    lineages: dict[str, list[str]]
    """The models that each model inherits from, itself included."""
    codenames: dict[str, list[str]]
    """The permissions of each model, including inherited ones, without the app label."""
    modules: dict[str, str]
    """The modules of models that mypy finds types for."""
    user: list[str]
    """The user model and its base classes; empty if there is none."""
    groups: list[str]
    """The model of the user's groups and its base classes."""
    extra: list[str]
    """Patterns of permissions that the models do not declare."""

    @classmethod
    def load(cls, options: Options) -> Project:
        """Start Django, as the plugin of django-stubs does, and read the installed models.

        Args:
            options: The options of mypy.
        """
        sys.path.extend([*mypy_path(), *options.mypy_path])
        django = DjangoContext(DjangoPluginConfig(options.config_file).django_settings_module)
        # These need Django's settings.
        from django.contrib.auth.models import Group

        from .._lineage import codenames, lineage

        project = cls(
            {}, {}, {}, {}, [], _ancestors(Group), _extra_permissions(options.config_file)
        )
        models = django.apps_registry.get_models()
        modules = {_full_name(model): model.__module__ for model in models}
        project.modules.update({k: module for k, module in modules.items() if _has_types(module)})
        for model in models:
            name = _full_name(model)
            project.lineages[name] = [_full_name(opts.model) for opts in lineage(model)]
            for opts in lineage(model):
                declared = sorted(codenames(opts))
                project.codenames.setdefault(name, []).extend(declared)
                if opts is model._meta:
                    for codename in declared:
                        project.owners.setdefault(f"{opts.app_label}.{codename}", []).append(name)
            if model._meta.label == django.settings.AUTH_USER_MODEL:
                project.user.extend(_ancestors(model))
                for field in model._meta.many_to_many:
                    if field.name == "groups":
                        project.groups.extend(_ancestors(field.related_model))
        project._add_owners_by_method(models)
        return project

    def _add_owners_by_method(self, models: Iterable[type[Any]]) -> None:
        declared = {perm: perm.partition(".")[2] for perm in self.owners}
        for model in models:
            found = map(
                ACCESS_METHOD.fullmatch, (name for cls in model.__mro__ for name in vars(cls))
            )
            codenames = {match[3] for match in found if match}
            name = _full_name(model)
            for perm, codename in declared.items():
                if codename in codenames.difference(self.codenames[name]):
                    self.owners[perm].append(name)

    def owners_of(self, perms: Iterable[str]) -> set[str]:
        """Return the models that own all of several permissions.

        Those that inherit from another one of them are left out.

        Args:
            perms: The permissions.
        """
        wanted = [self.owners[perm] for perm in perms]
        owners = {
            model
            for model, lineage in self.lineages.items()
            if not any(each.isdisjoint(lineage) for each in map(set, wanted))
        }
        return {model for model in owners if owners.isdisjoint(self.lineages[model][1:])}

    def digest(self) -> str:
        """Return a hash of all data."""
        return hashlib.sha256(json.dumps(asdict(self), sort_keys=True).encode()).hexdigest()

    def problem_of(self, perm: str) -> str | None:
        """Describe the mistake in the name of a permission.

        Args:
            perm: The name.
        """
        if perm in self.owners or any(fnmatchcase(perm, pattern) for pattern in self.extra):
            return None
        whole = [known for known in self.owners if known.endswith(f".{perm}")]
        guesses = whole or get_close_matches(perm, self.owners, n=1)
        return f'No model has the permission "{perm}"{did_you_mean(guesses)}'


def _full_name(cls: type) -> str:
    return f"{cls.__module__}.{cls.__qualname__}"


def _ancestors(cls: Any) -> list[str]:
    return [_full_name(base) for base in cls.__mro__]


def _has_types(module: str) -> bool:
    """Tell whether mypy can import a module. Requesting any other is an error."""
    path = Path(getattr(sys.modules[module], "__file__", None) or "")
    if module.startswith("django.") or not {"site-packages", "dist-packages"} & set(path.parts):
        return True
    package = sys.modules[module.partition(".")[0]]
    return any(Path(root, "py.typed").exists() for root in getattr(package, "__path__", ()))


def _extra_permissions(config_file: str | None) -> list[str]:
    """Read the option ``extra_permissions``, a list of patterns, from the config of mypy."""
    path = Path(config_file or "")
    if path.suffix == ".toml":
        tool = tomllib.loads(path.read_text(encoding="utf-8"))["tool"]
        extra: list[str] = tool.get("djem-async", {}).get("extra_permissions", [])
        return extra
    parser = configparser.ConfigParser()
    parser.read(path, encoding="utf-8")
    text = parser.get("mypy.plugins.djem-async", "extra_permissions", fallback="")
    return text.replace(",", " ").split()


def did_you_mean(guesses: Sequence[str]) -> str:
    """Phrase the first guess, if any, as the end of a message.

    Args:
        guesses: The guesses.
    """
    return f'; did you mean "{guesses[0]}"?' if guesses else ""
