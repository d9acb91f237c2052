"""Finds access methods that cannot work."""

import sys
from collections.abc import Iterator, Sequence
from functools import partialmethod
from inspect import Signature, getattr_static, signature, unwrap
from typing import Any, Final, Literal, NamedTuple, TypeAlias, cast

from django.apps import AppConfig, apps
from django.core.checks import CheckMessage, Error, Info
from django.core.checks import Warning as CheckWarning
from django.core.exceptions import ImproperlyConfigured
from django.db.models import Model
from django.utils.functional import cached_property

from .._methods import SOURCES, Source, exemptions, method_names
from .._twins import definer, is_async
from ..access import Exemption, exemption_of
from ._annotations import annotation_problems, place_of

Form: TypeAlias = Literal["sync", "async", "query"]

_FORMS: Final[tuple[Form, ...]] = ("sync", "async", "query")
PREFIXES: Final[dict[str, tuple[Source, Form]]] = {
    prefix: (source, form)
    for source in SOURCES
    for form, prefix in zip(_FORMS, method_names(source, ""), strict=True)
}


class AccessMethod(NamedTuple):
    """An attribute of a model with the name of an access method."""

    model: type[Model]
    name: str
    source: Source
    form: Form
    codename: str
    attribute: object
    """As the class defines it."""
    method: Any
    """As it is called."""

    @property
    def argument(self) -> str:
        """The name of its argument."""
        return "groups" if self.source == "group" else "user"

    @property
    def place(self) -> str:
        """Where it is defined, as the end of a message."""
        return place_of(self.method)

    def __str__(self) -> str:
        return f"{self.model.__name__}.{self.name}"


def check_access_methods(
    *, app_configs: Sequence[AppConfig] | None = None, **kwargs: Any
) -> list[CheckMessage]:
    """Find access methods that cannot work.

    Args:
        app_configs: The apps that are checked, None for all.
        **kwargs: Ignored.
    """
    messages: list[CheckMessage] = []
    for model in models_of(app_configs):
        methods = list(access_methods(model))
        for access in methods:
            messages.extend(_check_access_method(access))
        messages.extend(_check_marks(model, methods))
    return messages


def models_of(app_configs: Sequence[AppConfig] | None) -> Iterator[type[Model]]:
    """Return the models of apps.

    Args:
        app_configs: The apps, None for all.
    """
    for config in apps.get_app_configs() if app_configs is None else app_configs:
        yield from config.get_models()


def access_methods(model: type[Model]) -> Iterator[AccessMethod]:
    """Return the attributes of a model that are named like access methods.

    Args:
        model: The model.
    """
    names = {name for base in model.__mro__ for name in vars(base)}
    for name in sorted(names):
        for prefix, (source, form) in PREFIXES.items():
            if name.startswith(prefix):
                attribute: object = getattr_static(model, name)
                # The value of a property is only known for an instance.
                if form == "query" or not isinstance(attribute, (property, cached_property)):
                    method = bound(attribute, model)
                    codename = name.removeprefix(prefix)
                    yield AccessMethod(model, name, source, form, codename, attribute, method)


def _check_access_method(access: AccessMethod) -> Iterator[CheckMessage]:
    if not callable(access.method):
        kind = "class method" if access.form == "query" else "method"
        yield Error(
            f"{access} is {access.method!r} instead of a method.",
            hint=f"Write it as a {kind} that takes the {access.argument}, or remove it.",
            obj=access.model,
            id="djem_async.E005",
        )
    elif access.form == "query" and not isinstance(access.attribute, classmethod):
        yield Error(
            f"{access} is not a class method, so it cannot select rows of the model.{access.place}",
            hint=f"Write `@classmethod` above `def {access.name}(cls, {access.argument})`. To use"
            " the query form of another class, call it in the body.",
            obj=access.model,
            id="djem_async.E006",
        )
    else:
        yield from _check_signature(access)
        yield from _check_async(access)
        if access.form == "query":
            yield from _check_hidden(access)


def _check_signature(access: AccessMethod) -> Iterator[CheckMessage]:
    is_query = access.form == "query"
    if not takes_one_argument(access.method):
        first = "cls" if is_query else "self"
        yield Error(
            f"{access} cannot be called with one argument, the {access.argument}.{access.place}",
            hint=f"Write it as `def {access.name}({first}, {access.argument})`.",
            obj=access.model,
            id="djem_async.E002",
        )
        return
    for problem in annotation_problems(access.method, access.source, is_query=is_query):
        yield CheckWarning(
            f"According to its annotations, {access} {problem}.{access.place}",
            hint="Correct the annotation, or the method.",
            obj=access.model,
            id="djem_async.W008",
        )


def _check_async(access: AccessMethod) -> Iterator[CheckMessage]:
    awaits = is_async(access.method) or is_async(unwrap(access.method))
    if access.form == "async" and not awaits:
        yield Error(
            f"{access} has the name of an async access method, but isn't `async def`."
            f"{access.place}",
            hint=f"Declare it with `async def`, or name it {access.name.replace('_a', '_', 1)}.",
            obj=access.model,
            id="djem_async.E003",
        )
    if access.form == "query" and awaits:
        yield Error(
            f"{access} is `async def`, but query forms are never awaited.{access.place}",
            hint="Declare it with `def`, and put what it awaits into the condition, for example"
            " with `Exists(...)`.",
            obj=access.model,
            id="djem_async.E007",
        )


def _check_hidden(access: AccessMethod) -> Iterator[CheckMessage]:
    *names, _ = method_names(access.source, access.codename)
    nearest = definer(access.model, *names, access.name) or access.model
    if access.name not in vars(nearest):
        nearer = next(name for name in names if name in vars(nearest))
        yield CheckWarning(
            f"{access} isn't used, because {nearest.__name__} overrides {nearer} without it. Lists"
            f" of {access.model.__name__} for this permission raise an error.{access.place}",
            hint=f"Define {access.name} in {nearest.__name__} as well.",
            obj=access.model,
            id="djem_async.W009",
        )


def _check_marks(model: type[Model], methods: list[AccessMethod]) -> Iterator[CheckMessage]:
    """Find methods that grant without the model level, and forms that are marked differently."""
    marked: list[str] = []
    for codename in sorted({access.codename for access in methods}):
        try:
            found = exemptions(model, f"{model._meta.app_label}.{codename}")
        except ImproperlyConfigured as error:
            yield Error(
                str(error),
                hint="Write `@without_model_level`, with the same arguments, above each of them, or"
                " remove it from all of them.",
                obj=model,
                id="djem_async.E008",
            )
            continue
        for access in methods:
            mark = found.get(access.source) if access.codename == codename else None
            # A form that a parent of the marked one's class defines isn't called.
            if mark and exemption_of(access.attribute) is mark and not _is_inherited(access):
                end = " (also to visitors)" if mark is Exemption.EVERYBODY else ""
                marked.append(f"{access.name}{end}")
    if marked:
        yield Info(
            f"These access methods of {model.__name__} grant without the permission at the model"
            f" level: {', '.join(marked)}.",
            hint="This isn't a mistake. When you have checked the methods, add"
            " 'djem_async.I002' to SILENCED_SYSTEM_CHECKS.",
            obj=model,
            id="djem_async.I002",
        )


def _is_inherited(access: AccessMethod) -> bool:
    """Tell whether a method is reported for a parent model."""
    definer: Any = next(base for base in access.model.__mro__ if access.name in vars(base))
    return definer is not access.model and hasattr(definer, "_meta") and not definer._meta.abstract


def bound(attribute: Any, model: type[Model]) -> Any:
    """Return an attribute as it is called on an instance."""
    is_method = callable(attribute) or issubclass(type(attribute), (classmethod, partialmethod))
    if not is_method:
        return attribute
    bind: Any = getattr(cast("Any", attribute), "__get__", None)
    return attribute if bind is None else bind(object(), model)


def takes_one_argument(method: Any) -> bool:
    """Tell whether a bound method can be called with one argument."""
    try:
        signature_of(method).bind(None)
    except TypeError:
        return False
    except ValueError:
        return True  # written in C, so the signature is unknown
    return True


def signature_of(method: Any) -> Signature:
    """Return the signature of a method, also if its annotations can't be resolved."""
    if sys.version_info >= (3, 14):  # pragma: no cover - measured on one Python only
        from annotationlib import Format

        # By default it evaluates annotations, which may only exist for type checkers.
        return signature(method, annotation_format=Format.FORWARDREF)
    return signature(method)
