"""``manage.py explain_perm``: why a user has a permission, or doesn't."""

from __future__ import annotations

import json
import sys
from difflib import get_close_matches
from traceback import format_exception, format_exception_only
from typing import TYPE_CHECKING, Any, Final, Literal

from django.apps import apps
from django.contrib.auth import get_user_model
from django.core.exceptions import ImproperlyConfigured, ValidationError
from django.core.management.base import BaseCommand, CommandError
from django.db import DataError
from django.db.models import CharField, Q

from ..._asking import explained
from ..._driving import run
from ..._lineage import models_with
from ..._methods import (
    belongs_elsewhere,
    decider,
    owns,
    require_permission,
    stored_models,
    unknown,
)
from ...explain import escaped

if TYPE_CHECKING:
    from collections.abc import Iterable

    from django.core.management.base import CommandParser
    from django.db.models import Model, QuerySet

    from ...explain import Explanation

_GRANTED, _DENIED, _UNKNOWN, _ERROR = range(4)
_FEW: Final = 3
_MANY: Final = 1000


class Command(BaseCommand):
    """Explains a check of a permission."""

    help = (
        "Explain why a user has a permission, or doesn't. Exit codes: 0 granted, 1 denied,"
        " 2 unknown user, permission or object, 3 the check raised an error."
    )
    # The command has to work in projects with mistakes.
    requires_system_checks: list[str] | tuple[str, ...] | Literal["__all__"] = ()

    def add_arguments(self, parser: CommandParser) -> None:
        """Declare the arguments."""
        parser.add_argument("user", help="The username, or the primary key.")
        parser.add_argument("perm", help="The permission: app_label.codename.")
        parser.add_argument(
            "pk", nargs="?", help="The primary key of the object. Without it: the model level."
        )
        parser.add_argument(
            "--model",
            metavar="APP.MODEL",
            help="The model of the object, if it isn't the one that declares the permission.",
        )
        parser.add_argument("--json", action="store_true", help="Print JSON.")

    def handle(self, *_args: Any, **options: Any) -> None:
        """Explain the check, and exit with the code of its result."""
        user, perm, pk = _find_user(options["user"]), options["perm"], options["pk"]
        model = _find_model(perm, options["model"], needs_model=pk is not None)
        on = () if model is None or pk is None else (_find_object(model, pk),)
        flow = explained(user, perm, *on, is_quiet=True)
        try:
            explanation, error = run(flow)
        except SystemExit as exit_of_project:
            message = "The code of the project ended the process."
            raise CommandError(message, returncode=_ERROR) from exit_of_project
        sys.exit(self._report(explanation, error, options, user, *on))

    def _report(
        self,
        explanation: Explanation,
        error: Exception | None,
        options: dict[str, Any],
        *names: Any,
    ) -> int:
        """Print an explanation.

        Returns:
            The exit code.
        """
        if options["json"]:
            self.stdout.write(json.dumps(explanation.as_dict(), indent=2))
        else:
            self._print_headline(explanation.granted, *names)
            self.stdout.write(escaped(str(explanation), but="\n"))
        if error is None:
            return _GRANTED if explanation.granted else _DENIED
        text = format_exception if options["traceback"] else format_exception_only
        self.stderr.write(escaped("".join(text(error)), but="\n"))
        return _ERROR

    def _print_headline(self, granted: bool, user: Any, *on: Model) -> None:
        word, style = ("Granted", "SUCCESS") if granted else ("Denied", "ERROR")
        names = [f"{user.get_username()} ({user.pk})", *map(_title, on)]
        self.stdout.write(escaped(f"{word} to {' on '.join(names)}"), getattr(self.style, style))


def _title(obj: Model) -> str:
    try:
        return f"{obj} ({obj.pk})"
    except Exception:  # noqa: BLE001 - the answer doesn't depend on it
        return f"{obj._meta.label} {obj.pk}"


def _find_user(name: str) -> Any:
    model: Any = get_user_model()
    field, users = model.USERNAME_FIELD, model._default_manager.all()
    for key in (field, "pk"):
        user = _first(users, **{key: name})
        if user is not None:
            return user
    guesses = [str(each.get_username()) for each in _similar(users, name, only=field)]
    if not guesses:
        usernames = [str(each.get_username()) for each in users.order_by(field)[:_MANY]]
        guesses = get_close_matches(name, usernames, _FEW)
    raise _unknown(f"There is no user {name!r}.", map(repr, guesses))


def _find_model(perm: str, label: str | None, *, needs_model: bool) -> type[Model] | None:
    """Find the model of a permission, and refuse unknown permissions.

    Returns:
        The model that is named, or else the one that declares the permission. None if it takes a
        name to tell, and no model is needed.
    """
    if label is not None:
        return _model_named(label, perm)
    models = models_with(perm) or [model for model in apps.get_models() if owns(model, perm)]
    if len(models) == 1:
        other = decider(perm, models[0]) if needs_model else None
        if other is None:
            return models[0]
        models.append(other)
    problem = None if models else unknown(perm)
    if problem is not None:
        raise _unknown(problem)
    if needs_model:
        labels = " or ".join(model._meta.label for model in models) or "APP.MODEL"
        raise _unknown(f"The name {perm!r} doesn't tell the model. Add --model {labels}.")
    return None


def _model_named(label: str, perm: str) -> type[Model]:
    models = {model._meta.label: model for model in apps.get_models()}
    if label not in models:
        similar = [each for each in models if each.endswith(f".{label}")]
        guesses = similar or get_close_matches(label, models, 1)
        raise _unknown(f"There is no model {label!r}.", guesses)
    model = models[label]
    try:
        require_permission(perm, model)
    except ImproperlyConfigured as error:
        if belongs_elsewhere(model, perm) or not stored_models(perm):
            raise _unknown(str(error)) from error
    return model


def _find_object(model: type[Model], pk: str) -> Model:
    # As in views, with the manager's annotations and joins, which access methods may need.
    objects = model._default_manager.all()
    found: Model | None = _first(objects, pk=pk)
    if found is None:
        guesses = (f"{each.pk} ({each})" for each in _similar(objects, pk))
        raise _unknown(f"There is no {model._meta.label} with the primary key {pk!r}.", guesses)
    return found


def _first(objects: QuerySet[Any], **lookup: str) -> Any:
    """Fetch the object that a text from the command line names, None if there is none."""
    ((name, text),) = lookup.items()
    pk: Any = objects.model._meta.pk
    try:
        return objects.filter(**{name: pk.to_python(text) if name == "pk" else text}).first()
    except (ValidationError, ValueError, TypeError, ArithmeticError, DataError):
        return None  # none has a value like that


def _similar(objects: QuerySet[Any], text: str, only: str | None = None) -> list[Any]:
    """Fetch a few objects that have the text in a field, or else a field that begins with it."""
    fields = [
        field.name
        for field in objects.model._meta.fields
        if isinstance(field, CharField) and only in (None, field.name)
    ]
    for lookup in ("iexact", "istartswith"):
        condition = Q(pk__in=())
        for field in fields:
            condition |= Q((f"{field}__{lookup}", text))
        if found := [*objects.filter(condition)[:_FEW]]:
            return found
    return []


def _unknown(problem: str, guesses: Iterable[str] = ()) -> CommandError:
    found = " or ".join(guesses)
    hint = f" Did you mean {found}?" if found else ""
    return CommandError(escaped(f"{problem}{hint}"), returncode=_UNKNOWN)
