"""Finds the access methods of models, and the permissions that they are for."""

from __future__ import annotations

from functools import lru_cache, partial
from inspect import getattr_static
from typing import TYPE_CHECKING, Any, Final, Literal, NamedTuple, TypeAlias
from unicodedata import normalize

from django.apps import apps
from django.core.exceptions import ImproperlyConfigured

from ._conditions import holds
from ._lazy import checked_name, did_you_mean, is_storable
from ._lineage import all_codenames, codenames, declares, lineage
from ._store import ObjectKey, object_key, type_of
from ._twins import Forms, definer, forms
from .access import Exemption, exemption_of
from .exceptions import NoQueryFormError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from django.db.models import Model

Source: TypeAlias = Literal["user", "group"]
SOURCES: Final[tuple[Source, ...]] = ("user", "group")


def method_names(source: Source, codename: str) -> tuple[str, str, str]:
    """Return the names of the sync, async and query form of an access method."""
    return f"_{source}_can_{codename}", f"_a{source}_can_{codename}", f"_q{source}_can_{codename}"


@lru_cache(maxsize=1024)
def names_for(perm: str) -> tuple[tuple[Source, str, str, str], ...]:
    """Return the names of the access methods for a permission, see `method_names`."""
    codename = normalize("NFKC", perm.partition(".")[2])  # as Python normalizes names
    return tuple((source, *method_names(source, codename)) for source in SOURCES)


@lru_cache(maxsize=1024)
def all_names_for(perm: str) -> frozenset[str]:
    """Return the names of all forms of all access methods for a permission."""
    return frozenset(name for _, *names in names_for(perm) for name in names)


class MethodNames(NamedTuple):
    """The names of the forms of an access method. None if a form is undefined or out of date.

    The query form is only named if it decides checks, because no Python form is defined and up to
    date.
    """

    source: Source
    name: str | None
    async_name: str | None
    query_name: str | None = None

    def bound_to(self, obj: Any) -> Forms:
        """Return the forms as methods of an object."""
        if self.query_name is not None:
            form = getattr(type_of(obj), self.query_name)
            return partial(holds, obj, form, self.query_name.replace("_q", "_", 1)), None
        return (
            None if self.name is None else getattr(obj, self.name),
            None if self.async_name is None else getattr(obj, self.async_name),
        )


def find_access_methods(obj: object, perm: str) -> tuple[MethodNames, ...]:
    """Find the access methods of an object for a permission.

    Returns:
        The access methods, in the order in which they are called.

    Raises:
        TypeError: The object has an attribute of that name that is not callable, or a query form
            that is not a class method.
        ImproperlyConfigured: The forms of an access method are marked differently.
    """
    found: list[MethodNames] = []
    kind, own = type_of(obj), getattr(obj, "__dict__", {})
    exemptions(kind, perm)  # for its error
    for source, name, async_name, query in names_for(perm):
        names = name, async_name
        if own.keys().isdisjoint(names) and is_nearer(kind, (query,), names):
            query_form(kind, query)
            found.append(MethodNames(source, None, None, query))
            continue
        function, async_function = forms(obj, name, async_name)
        has_form, has_async_form = function is not None, async_function is not None
        if has_form or has_async_form:
            present = name if has_form else None, async_name if has_async_form else None
            found.append(MethodNames(source, *present))
    return tuple(found)


def key_for(perm: str, obj: Any) -> ObjectKey | None:
    """Return the key under which decisions on an object are cached, None if they aren't."""
    # Other instances of the row don't have these methods.
    return None if has_own_methods(obj, perm) else object_key(obj)


def has_own_methods(obj: Any, perm: str) -> bool:
    """Tell whether an instance has access methods as attributes of its own."""
    return not all_names_for(perm).isdisjoint(obj.__dict__)


def dotted_name(model: type, perm: str, source: str | None, *, is_list: bool = False) -> str:
    """Return the dotted name of the form of an access method that decides checks, or lists."""
    names = next(names for each, *names in names_for(perm) if each == source)
    names = names[-1:] if is_list else names
    base = definer(model, *names) or model
    name = next((name for name in names if name in vars(base)), names[0])
    return f"{base.__module__}.{base.__qualname__}.{name}"


def find_query_forms(model: type[Model], perm: str) -> dict[Source, Callable[[Any], object]]:
    """Find the query forms of the access methods of a model for a permission.

    Raises:
        NoQueryFormError: An access method has none, or one that is out of date.
        TypeError: A query form is not a class method.
        ImproperlyConfigured: The forms of an access method are marked differently.
    """
    found: dict[Source, Callable[[Any], object]] = {}
    exemptions(model, perm)  # for its error
    for source, *names, query in names_for(perm):
        if is_nearer(model, names, (query,)):
            python = next(name for name in names if definer(model, name))
            argument = "user" if source == "user" else "groups"
            raise NoQueryFormError(
                f"There is no list of what {model.__name__}.{python} grants, because it decides one"
                " object at a time. Define its query form in its place, or in the same class:"
                f"\n\n    @classmethod\n    def {query}(cls, {argument}):\n        return Q(...)"
                f"  # the rows for which {python} grants"
            )
        if definer(model, query):
            found[source] = query_form(model, query)
    return found


def exemptions(model: type[Model], perm: str) -> dict[Source, Exemption]:
    """Return the exemptions of the access methods of a model from the model level.

    Returns:
        The exemptions by source. Methods without one are left out.

    Raises:
        ImproperlyConfigured: The forms of an access method are marked differently.
    """
    found: dict[Source, Exemption] = {}
    for source, *names in names_for(perm):
        # Forms that only parent classes define are out of date.
        nearest = definer(model, *names) or model
        defined = vars(nearest)
        marks = {name: exemption_of(defined[name]) for name in names if name in defined}
        if len(set(marks.values())) > 1:
            raise ImproperlyConfigured(
                f"{' and '.join(marks)} of {nearest.__name__} are forms of one access method,"
                " but aren't all marked with the same `@without_model_level`."
            )
        if any(marks.values()):
            found[source] = max(marks.values())
    return found


def require_permission(perm: object, model: type[Model]) -> str:
    """Raise an error if a permission doesn't belong to a model.

    It belongs to models that declare it and to those that inherit from them. It also belongs to a
    model that has an access method for it, such as a parent for adding children, and has no
    permission of its own with that codename.

    Returns:
        The permission as a plain string.

    Raises:
        TypeError: It isn't a string.
        ImproperlyConfigured: It doesn't belong to the model.
    """
    name = checked_name(perm)
    if not owns(model, name):
        own = [f"{opts.app_label}.{each}" for opts in lineage(model) for each in codenames(opts)]
        hint = did_you_mean(name, own) or "Correct its name, or the model."
        raise ImproperlyConfigured(f"{model.__name__} has no permission {name!r}. {hint}")
    return name


def owns(model: type[Model], perm: str) -> bool:
    """Tell whether a permission belongs to a model, see `require_permission`."""
    return any(declares(opts, perm) for opts in lineage(model)) or owns_by_method(model, perm)


def owns_by_method(model: type[Model], perm: str) -> bool:
    """Tell whether a permission only belongs to a model because of an access method."""
    codename = perm.partition(".")[2]
    is_foreign = bool(codename) and codename not in all_codenames(model)
    return is_foreign and has_access_method(model, perm)


def has_access_method(model: type[Model], perm: str) -> bool:
    """Tell whether a model has an access method for a permission, in any form."""
    return definer(model, *all_names_for(perm)) is not None


def belongs_elsewhere(model: type[Model], perm: str) -> bool:
    """Tell whether a permission belongs to other installed models, but not to this one."""
    return not owns(model, perm) and any(owns(other, perm) for other in apps.get_models())


def unknown(perm: str) -> str | None:
    """Describe a permission that is neither declared, nor stored, nor has an access method.

    Returns:
        The problem, with a suggestion. None if the permission exists.
    """
    models = apps.get_models()
    if any(owns(model, perm) for model in models) or stored_models(perm):
        return None
    known = [
        f"{model._meta.app_label}.{each}" for model in models for each in codenames(model._meta)
    ]
    hint = did_you_mean(perm, known) or "Write 'app_label.codename'."
    return f"There is no permission {perm!r}. {hint}"


def stored_models(perm: str) -> list[type[Model] | None]:
    """Return the models of a permission that is in the database, declared or not.

    None stands for a model that has been removed.
    """
    from django.contrib.auth.models import Permission  # needs the user model

    if not is_storable(perm):
        return []
    app_label, _, codename = perm.partition(".")
    found = Permission.objects.select_related("content_type").filter(
        content_type__app_label=app_label, codename=codename
    )
    # Some databases ignore case.
    return [
        each.content_type.model_class()
        for each in found
        if (each.content_type.app_label, each.codename) == (app_label, codename)
    ]


def decider(perm: str, model: type[Model]) -> type[Model] | None:
    """Return the one model that has the access method for a permission of another model."""
    if has_access_method(model, perm):
        return None
    owners = {each for each in apps.get_models() if owns_by_method(each, perm)}
    # Proxies and children inherit it.
    first = [each for each in owners if owners.isdisjoint(each.__mro__[1:])]
    return first[0] if len(first) == 1 else None


def is_nearer(kind: type, names: Sequence[str], others: Sequence[str]) -> bool:
    """Tell whether some names are defined nearer to a class than others.

    Args:
        kind: The class.
        names: The names of one form, or of several.
        others: Those of other forms, which win if the same class defines both.
    """
    nearest = definer(kind, *names, *others)
    return nearest is not None and vars(nearest).keys().isdisjoint(others)


def query_form(model: type, name: str) -> Callable[[Any], object]:
    """Return a query form of a class, bound to it.

    Raises:
        TypeError: It is not a class method.
    """
    if not isinstance(getattr_static(model, name), classmethod):
        raise TypeError(
            f"{model.__qualname__}.{name} must be a class method, because it selects rows of the"
            " model. Write `@classmethod` above it."
        )
    form: Callable[[Any], object] = getattr(model, name)
    return form
