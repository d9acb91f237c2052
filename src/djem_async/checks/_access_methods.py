"""Finds access methods that cannot work, or that no permission will ever ask."""

import sys
from collections.abc import Iterator, Sequence
from difflib import get_close_matches
from functools import partialmethod
from inspect import Signature, getattr_static, signature, unwrap
from typing import Any, Final, Literal, NamedTuple, TypeAlias, cast

from django.apps import AppConfig, apps
from django.core.checks import CheckMessage, Error
from django.core.checks import Warning as CheckWarning
from django.db.models import Model
from django.utils.functional import cached_property

from .._lineage import codenames, lineage
from .._twins import is_async
from ..access import SOURCES, Source, is_nearer, method_names
from ._annotations import annotation_problems, place_of

Form: TypeAlias = Literal["sync", "async", "query"]

_FORMS: Final[tuple[Form, ...]] = ("sync", "async", "query")
_PREFIXES: Final[dict[str, tuple[Source, Form]]] = {
    prefix: (source, form)
    for source in SOURCES
    for form, prefix in zip(_FORMS, method_names(source, ""), strict=True)
}


class AccessMethod(NamedTuple):
    """What a model has under the name of an access method."""

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
    """Find access methods that cannot work, or that no permission will ever ask.

    Args:
        app_configs: The apps that are checked, None for all.
        **kwargs: Ignored.
    """
    return [
        message
        for model in models_of(app_configs)
        for messages in (*map(_check_access_method, access_methods(model)), _check_names(model))
        for message in messages
    ]


def models_of(app_configs: Sequence[AppConfig] | None) -> Iterator[type[Model]]:
    """Return the models of apps.

    Args:
        app_configs: The apps, None for all.
    """
    for config in apps.get_app_configs() if app_configs is None else app_configs:
        yield from config.get_models()


def access_methods(model: type[Model]) -> Iterator[AccessMethod]:
    """Return the access methods of a model, and what is named as if it were one.

    Args:
        model: The model.
    """
    names = {name for base in model.__mro__ for name in vars(base)}
    for name in sorted(names):
        for prefix, (source, form) in _PREFIXES.items():
            if name.startswith(prefix):
                attribute: object = getattr_static(model, name)
                # What a property returns is only known for an instance. A query form has none.
                if form == "query" or not isinstance(attribute, (property, cached_property)):
                    method = _bound(attribute, model)
                    codename = name.removeprefix(prefix)
                    yield AccessMethod(model, name, source, form, codename, attribute, method)


def _check_access_method(access: AccessMethod) -> Iterator[CheckMessage]:
    if not callable(access.method):
        kind = "class method" if access.form == "query" else "method"
        yield Error(
            f"{access} is {access.method!r}, which is not a method.",
            hint=f"Write it as a {kind} that takes the {access.argument}, or remove it.",
            obj=access.model,
            id="djem_async.E005",
        )
    elif access.form == "query" and not isinstance(access.attribute, classmethod):
        yield Error(
            f"{access} is not a class method, so it cannot select rows of the model.{access.place}",
            hint=f"Write `@classmethod` above `def {access.name}(cls, {access.argument})`.",
            obj=access.model,
            id="djem_async.E006",
        )
    else:
        yield from _check_signature(access)
        yield from _check_async(access)
        if access.form == "query":
            yield from _check_hidden(access)
        yield from _check_codename(access)


def _check_signature(access: AccessMethod) -> Iterator[CheckMessage]:
    is_query = access.form == "query"
    if not _takes_one_argument(access.method):
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
            f"{access} {problem}, going by its annotations.{access.place}",
            hint="Correct the annotation, or the method.",
            obj=access.model,
            id="djem_async.W008",
        )


def _check_async(access: AccessMethod) -> Iterator[CheckMessage]:
    awaits = is_async(access.method) or is_async(unwrap(access.method))
    if access.form == "async" and not awaits:
        yield Error(
            f"{access} is not `async def`, although its name says so.{access.place}",
            hint=f"Declare it with `async def`, or name it {access.name.replace('_a', '_', 1)}.",
            obj=access.model,
            id="djem_async.E003",
        )
    if access.form == "query" and awaits:
        yield Error(
            f"{access} is `async def`, but a query form only builds a condition, and is never"
            f" awaited.{access.place}",
            hint="Declare it with `def`, and make what it awaits a part of the condition, for"
            " example with `Exists(...)`.",
            obj=access.model,
            id="djem_async.E007",
        )


def _check_hidden(access: AccessMethod) -> Iterator[CheckMessage]:
    *names, _ = method_names(access.source, access.codename)
    order = access.model.__mro__
    if is_nearer(access.model, names, (access.name,)):
        definer = next(base for base in order if not vars(base).keys().isdisjoint(names))
        nearer = next(name for name in names if name in vars(definer))
        yield CheckWarning(
            f"{access} is out of date, because {definer.__name__} overrides {nearer} alone. Lists"
            f" of {access.model.__name__} for this permission raise an error.{access.place}",
            hint=f"Define {access.name} in {definer.__name__} as well.",
            obj=access.model,
            id="djem_async.W009",
        )


def _check_codename(access: AccessMethod) -> Iterator[CheckMessage]:
    known = _codenames(access.model)
    if access.codename not in known:
        guesses = get_close_matches(access.codename, known, n=1)
        end = access.place + (f" Did you mean {guesses[0]}?" if guesses else "")
        yield CheckWarning(
            f"{access} is for a permission that {access.model.__name__} does not have, so it may"
            f" never be asked, and a permission that it was meant for is open.{end}",
            hint=f"Correct the name, or add {access.codename!r} to Meta.permissions.",
            obj=access.model,
            id="djem_async.W001",
        )


def _check_names(model: type[Model]) -> Iterator[CheckMessage]:
    """Find methods whose names are nearly those of access methods.

    Public methods may be helpers, for example for templates. One counts as a mistake if its name
    says "query form", or if it takes an argument and nothing else decides about the permission.
    """
    decided = {access.codename for access in access_methods(model)}
    known = _codenames(model)
    spellings = {
        name: name.removeprefix(f"_{base.__name__.lstrip('_')}") if "__" in name else name
        for base in model.__mro__
        for name in vars(base)
    }
    for name, spelling in sorted(spellings.items()):
        codename = max(filter(spelling.endswith, known), key=len, default="")
        method: Any = _bound(getattr_static(model, name), model) if codename else None
        guess = _guess_prefix(spelling.removesuffix(codename)) if callable(method) else None
        is_private = spelling.startswith(("_", "q"))
        if guess and (is_private or (codename not in decided and _takes_one_argument(method))):
            yield CheckWarning(
                f"{model.__name__}.{name} is not the name of an access method, so no check asks"
                f" it, and the permission {codename!r} may be open on every object."
                f"{place_of(method)} Did you mean {guess}{codename}?",
                hint=f"Rename it to `{guess}{codename}`. If it isn't meant to decide about the"
                " permission, give it a name that differs more.",
                obj=model,
                id="djem_async.W011",
            )


def _guess_prefix(prefix: str) -> str | None:
    """Return the prefix of access methods that another one is nearly, but not quite."""
    if any(map(prefix.startswith, _PREFIXES)):
        return None
    short = prefix.replace("async_", "a").replace("query_", "q")
    return next(iter(get_close_matches(short, _PREFIXES, n=1, cutoff=0.9)), None)


def _bound(attribute: Any, model: type[Model]) -> Any:
    is_method = callable(attribute) or issubclass(type(attribute), (classmethod, partialmethod))
    if not is_method:
        return attribute
    bind: Any = getattr(cast("Any", attribute), "__get__", None)
    return attribute if bind is None else bind(object(), model)


def _takes_one_argument(method: Any) -> bool:
    try:
        _signature(method).bind(None)
    except TypeError:
        return False
    except ValueError:
        return True  # written in C, and tells nothing
    return True


def _signature(method: Any) -> Signature:
    if sys.version_info >= (3, 14):  # pragma: no cover - measured on one Python only
        from annotationlib import Format

        # By default it evaluates annotations, of which some are for type checkers only.
        return signature(method, annotation_format=Format.FORWARDREF)
    return signature(method)


def _codenames(model: type[Model]) -> set[str]:
    """Collect the permissions of a model and of the models that it inherits from."""
    return {codename for opts in lineage(model) for codename in codenames(opts)}
