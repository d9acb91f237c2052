"""Finds permissions without an access method that were probably meant to have one."""

from collections.abc import Iterator, Sequence
from difflib import get_close_matches
from inspect import getattr_static
from typing import Any
from unicodedata import normalize

from django.apps import AppConfig
from django.contrib.auth import get_permission_codename
from django.core.checks import CheckMessage
from django.core.checks import Warning as CheckWarning
from django.db.models import Model

from .._lazy import did_you_mean
from .._lineage import all_codenames, codenames, lineage
from ._access_methods import (
    PREFIXES,
    access_methods,
    bound,
    models_of,
    takes_one_argument,
)
from ._annotations import place_of


def check_permissions(
    *, app_configs: Sequence[AppConfig] | None = None, **kwargs: Any
) -> list[CheckMessage]:
    """Find permissions without an access method that were probably meant to have one.

    Args:
        app_configs: The apps that are checked, None for all.
        **kwargs: Ignored.
    """
    return [
        message
        for model in models_of(app_configs)
        for find in (_check_codenames, _check_names, _check_inherited, _check_identifiers)
        for message in find(model)
    ]


def _check_codenames(model: type[Model]) -> Iterator[CheckMessage]:
    """Find access methods for permissions that no model declares.

    Access methods for permissions of other models are fine: parents decide about ``add_child``.
    """
    known = _named(all_codenames(model))
    others = model._meta.apps.get_models()
    for access in access_methods(model):
        if access.codename not in known and not any(
            access.codename in _named(codenames(other._meta)) for other in others
        ):
            hint = did_you_mean(access.codename, known) or ""
            yield CheckWarning(
                f"No installed model has a permission named {access.codename!r}, so {access} is"
                f" never called.{access.place} {hint}".rstrip(),
                hint=f"Correct the name, or add {access.codename!r} to Meta.permissions.",
                obj=model,
                id="djem_async.W001",
            )


def _check_names(model: type[Model]) -> Iterator[CheckMessage]:
    """Find methods with a misspelt name of an access method.

    Public methods may be helpers, for example for templates. They're reported if their names begin
    like those of query forms, or if they take an argument and the permission has no access method.
    """
    decided = {access.codename for access in access_methods(model)}
    known = _named(all_codenames(model))
    spellings = {
        name: name.removeprefix(f"_{base.__name__.lstrip('_')}") if "__" in name else name
        for base in model.__mro__
        for name in vars(base)
    }
    for name, spelling in sorted(spellings.items()):
        codename = max(filter(spelling.endswith, known), key=len, default="")
        method: Any = bound(getattr_static(model, name), model) if codename else None
        guess = _guess_prefix(spelling.removesuffix(codename)) if callable(method) else None
        is_private = spelling.startswith(("_", "q"))
        if guess and (is_private or (codename not in decided and takes_one_argument(method))):
            yield CheckWarning(
                f"{model.__name__}.{name} is not the name of an access method, so no check calls"
                f" it, and the permission {codename!r} may be open on every object."
                f"{place_of(method)} Did you mean {guess}{codename}?",
                hint=f"Rename it to `{guess}{codename}`. If it isn't meant to decide about the"
                " permission, give it a name that differs more.",
                obj=model,
                id="djem_async.W011",
            )


def _guess_prefix(prefix: str) -> str | None:
    """Return the prefix of access methods that a misspelt one resembles."""
    if any(map(prefix.startswith, PREFIXES)):
        return None
    short = prefix.replace("async_", "a").replace("query_", "q")
    return next(iter(get_close_matches(short, PREFIXES, n=1, cutoff=0.9)), None)


def _check_inherited(model: type[Model]) -> Iterator[CheckMessage]:
    """Find permissions of children and proxies of which only the parent's have access methods."""
    own, *parents = lineage(model)
    decided = {access.codename for access in access_methods(model)}
    pairs: dict[str, str] = {}
    for action in own.default_permissions:
        codename = get_permission_codename(action, own)
        inherited = [get_permission_codename(action, opts) for opts in parents]
        guarded = [each for each in inherited if each in decided & _named(all_codenames(model))]
        if guarded and codename not in decided:
            pairs[codename] = guarded[0]
    if pairs:
        unguarded, first = ", ".join(map(repr, pairs)), next(iter(pairs))
        yield CheckWarning(
            f"{model.__name__} has access methods for the inherited"
            f" {', '.join(map(repr, pairs.values()))}, but none for its own {unguarded}.",
            hint=f"Define them, for example `_user_can_{first}`. If you only check the inherited"
            " permissions, set `default_permissions = ()` in Meta.",
            obj=model,
            id="djem_async.W012",
        )


def _check_identifiers(model: type[Model]) -> Iterator[CheckMessage]:
    for codename in sorted(codenames(model._meta)):
        if not f"_user_can_{codename}".isidentifier():
            yield CheckWarning(
                f"{model.__name__} has the permission {codename!r}, which can't be a part of a"
                " Python name, so no access method can be defined for it.",
                hint="Rename it. Use letters, digits and underscores only.",
                obj=model,
                id="djem_async.W013",
            )


def _named(codenames: set[str]) -> set[str]:
    """Normalize codenames as Python normalizes the names of methods."""
    return {normalize("NFKC", codename) for codename in codenames}
