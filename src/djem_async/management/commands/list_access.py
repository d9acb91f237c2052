"""``manage.py list_access``: which access methods decide about which permissions."""

from __future__ import annotations

import json
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any, Final, Literal, NamedTuple

from django.apps import AppConfig, apps
from django.core.exceptions import ImproperlyConfigured
from django.core.management.base import BaseCommand, CommandError

from ..._lazy import did_you_mean
from ..._lineage import codenames, lineage
from ..._methods import Source, exemptions, is_nearer, names_for, owns_by_method
from ..._twins import definer, is_async
from ...access import Exemption, is_nonblocking
from ...conf import conf

if TYPE_CHECKING:
    from collections.abc import Iterator

    from django.core.management.base import CommandParser
    from django.db.models import Model

_OPEN, _UNKNOWN = 1, 2
_WIDTH: Final = 29  # of permissions, so that a line has at most 100 characters


class _Access(NamedTuple):
    """An access method; its fields are the keys in JSON."""

    source: Source
    forms: list[str]
    nonblocking: bool
    without_model_level: bool
    visitors: bool

    def __str__(self) -> str:
        marks = [name for name in self._fields[2:] if getattr(self, name)]
        return f"{self.source:<7}{', '.join(self.forms):<18}{', '.join(marks)}".rstrip()


class _Row(NamedTuple):
    model: type[Model]
    perm: str
    methods: list[_Access]

    @property
    def access(self) -> str:
        if self.methods:
            return "methods"
        return "open" if conf.DJEM_OPEN_BY_DEFAULT else "closed"

    def as_dict(self) -> dict[str, Any]:
        methods = [method._asdict() for method in self.methods]
        label = self.model._meta.label
        return {"model": label, "perm": self.perm, "access": self.access, "methods": methods}


class Command(BaseCommand):
    """Lists models and permissions with their access methods."""

    help = (
        "List every permission of every model, with the access methods that decide about it on"
        " objects. A permission without access methods is open on all objects (or closed, with"
        " DJEM_OPEN_BY_DEFAULT=False). Models of django.contrib without access methods are left"
        " out, unless you name their apps."
    )
    requires_system_checks: list[str] | tuple[str, ...] | Literal["__all__"] = ()

    def add_arguments(self, parser: CommandParser) -> None:
        """Declare the arguments."""
        parser.add_argument("apps", nargs="*", metavar="app_label", help="Only these apps.")
        parser.add_argument("--json", action="store_true", help="Print JSON.")
        parser.add_argument(
            "--fail-on-open", action="store_true", help="Exit with 1 if a permission is open."
        )
        parser.add_argument(
            "--allow-open",
            action="append",
            default=[],
            metavar="PATTERN",
            help="Permissions that may be open, such as '*.add_*'. You can repeat this option.",
        )

    def handle(self, *_args: Any, **options: Any) -> None:
        """Print the list, and fail on open permissions if told to."""
        try:
            rows = [*_rows(options["apps"])]
        except ImproperlyConfigured as error:
            raise CommandError(str(error), returncode=_UNKNOWN) from error
        if options["json"]:
            self.stdout.write(json.dumps([row.as_dict() for row in rows], indent=2))
        else:
            self._print_table(rows)
        found = [
            f"{row.perm} ({row.model._meta.label})"
            for row in rows
            if row.access == "open"
            and not any(fnmatchcase(row.perm, pattern) for pattern in options["allow_open"])
        ]
        if found and options["fail_on_open"]:
            raise CommandError(
                f"Open on all objects: {', '.join(found)}. Define access methods, or pass"
                " --allow-open for those that are meant to be open.",
                returncode=_OPEN,
            )

    def _print_table(self, rows: list[_Row]) -> None:
        model = None
        for row in rows:
            if row.model is not model:
                model = row.model
                self.stdout.write(model._meta.label, self.style.MIGRATE_HEADING)
            first, *rest = [str(method) for method in row.methods] or [row.access]
            if not row.methods:
                style = self.style.WARNING if row.access == "open" else self.style.SUCCESS
                first = style(first)
            if len(row.perm) > _WIDTH:
                self.stdout.write(f"  {row.perm}")
                self.stdout.write(f"  {'':{_WIDTH}}  {first}")
            else:
                self.stdout.write(f"  {row.perm:{_WIDTH}}  {first}")
            for method in rest:
                self.stdout.write(f"  {'':{_WIDTH}}  {method}")


def _rows(labels: list[str]) -> Iterator[_Row]:
    declared = {perm for model in apps.get_models() for perm in _declared_by(model)}
    for config in _configs(labels):
        is_extra = not labels and config.name.startswith("django.contrib.")
        for model in config.get_models():
            own = _declared_by(model)
            others = {perm for perm in declared - own if owns_by_method(model, perm)}
            rows = [_Row(model, perm, [*_methods(model, perm)]) for perm in sorted(own | others)]
            if not is_extra or any(row.methods for row in rows):
                yield from rows


def _declared_by(model: type[Model]) -> set[str]:
    return {f"{opts.app_label}.{each}" for opts in lineage(model) for each in codenames(opts)}


def _configs(labels: list[str]) -> Iterator[AppConfig]:
    configs = {config.label: config for config in apps.get_app_configs()}
    for label in labels or configs:
        if label not in configs:
            problem = f"There is no app {label!r}. {did_you_mean(label, configs) or ''}"
            raise CommandError(problem.rstrip(), returncode=_UNKNOWN)
        yield configs[label]


def _methods(model: type[Model], perm: str) -> Iterator[_Access]:
    """Describe the access methods for a permission, without forms that are out of date."""
    marks = exemptions(model, perm)
    for source, name, async_name, query in names_for(perm):
        found: list[str] = []
        python = definer(model, name, async_name)
        is_marked = False
        if python is not None and not is_nearer(model, (query,), (name, async_name)):
            function = getattr(model, name) if name in vars(python) else None
            is_async_def = is_async(function)
            is_marked = is_nonblocking(function)
            if function is not None and not is_async_def:
                found.append("def")
            if is_async_def or async_name in vars(python):
                found.append("async")
        if definer(model, query) and not is_nearer(model, (name, async_name), (query,)):
            found.append("query")
        if found:
            mark = marks.get(source, Exemption.NOBODY)
            yield _Access(
                source, found, is_marked, mark > Exemption.NOBODY, mark is Exemption.EVERYBODY
            )
