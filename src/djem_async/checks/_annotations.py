"""Checks the annotations of access methods when the project starts.

This helps projects without a type checker. The rules are those of `djem_async.protocols`.
Annotations that can't be resolved, such as names that are only imported for type checkers, are
ignored.
"""

from collections.abc import Awaitable, Callable, Collection, Container, Iterator
from inspect import getsourcefile, getsourcelines, signature, unwrap
from types import FunctionType, NoneType, SimpleNamespace, UnionType
from typing import (
    Any,
    Final,
    Literal,
    TypeVar,
    Union,
    get_args,
    get_origin,
    get_type_hints,
)

from django.contrib.auth import get_user_model
from django.contrib.auth.base_user import AbstractBaseUser
from django.contrib.auth.models import Group
from django.db.models import Manager, Model, Q, QuerySet
from django.db.models.expressions import BaseExpression, Combinable

from .._methods import Source

_CONDITIONS: Final = (Q, Combinable, BaseExpression, bool, NoneType)


def place_of(method: Callable[..., object]) -> str:
    """Name the file and line that define a method, as the end of a message.

    Args:
        method: The method.
    """
    function = _function(method)
    if function is None:
        return ""
    try:
        line = getsourcelines(function)[1]
    except OSError:  # it wasn't read from a file
        return ""
    return f" It is defined in {getsourcefile(function)}:{line}."


def annotation_problems(
    method: Callable[..., object], source: Source, *, is_query: bool = False
) -> Iterator[str]:
    """Find annotations of an access method that don't fit its argument or its answer.

    Args:
        method: The access method, bound, that can be called with one argument.
        source: Whether the method is for the user or the user's groups.
        is_query: Whether it is a query form.
    """
    function = _function(method)
    if function is None:
        return
    argument = _resolve(function, next(iter(signature(method).parameters)))
    user_model = get_user_model()
    if source == "user" and not _takes(argument, user_model):
        yield f"takes {_name(argument)}, not {user_model.__name__}"
    if source == "group" and not _takes_groups(argument, _group_model(user_model)):
        yield f"takes {_name(argument)}, not a queryset of groups"
    answer = _resolve(function, "return")
    if is_query and not _selects(answer):
        yield f"returns {_name(answer)}, not a Q, another conditional expression, a bool or None"
    if not is_query and not _answers(answer):
        yield f"returns {_name(answer)}, not bool"


def _function(method: Callable[..., object]) -> FunctionType | None:
    function = unwrap(getattr(method, "__func__", method))
    return function if isinstance(function, FunctionType) else None


def _resolve(function: FunctionType, name: str) -> Any:
    # One by one, because others may fail to resolve.
    try:
        annotation = function.__annotations__.get(name, Any)
        hints = SimpleNamespace(__annotations__={name: annotation})
        return get_type_hints(hints, function.__globals__, {})[name]
    except Exception:  # noqa: BLE001 - evaluating a string may raise anything
        return Any


def _name(annotation: Any) -> str:
    if annotation is NoneType:
        return "None"
    return annotation.__name__ if isinstance(annotation, type) else str(annotation)


def _group_model(user_model: type[AbstractBaseUser]) -> type[Model]:
    fields = user_model._meta.many_to_many
    return next((field.related_model for field in fields if field.name == "groups"), Group)


def _alternatives(annotation: Any) -> tuple[Any, ...] | None:
    """Return the types that a union or a type variable allows, None for other annotations."""
    if isinstance(annotation, TypeVar):
        return annotation.__constraints__ or (annotation.__bound__,)
    return get_args(annotation) if get_origin(annotation) in (Union, UnionType) else None


def _takes(annotation: Any, cls: type) -> bool:
    """Tell whether an instance of a class fits an annotation."""
    alternatives = _alternatives(annotation)
    if alternatives is not None:
        return any(_takes(each, cls) for each in alternatives)
    declared = get_origin(annotation) or annotation
    if not _is_class(declared) or getattr(declared, "_is_protocol", False):
        return True
    return issubclass(cls, declared)


def _is_class(annotation: Any) -> bool:
    return isinstance(annotation, type) and annotation is not Any


def _takes_groups(annotation: Any, group_model: type[Model]) -> bool:
    """Tell whether a queryset of groups fits an annotation."""
    alternatives = _alternatives(annotation)
    if alternatives is not None:
        return any(_takes_groups(each, group_model) for each in alternatives)
    declared = get_origin(annotation) or annotation
    if not _is_class(declared):
        return True
    # A queryset supports these two, but doesn't inherit them.
    is_queryset = declared in (Collection, Container) or _takes(annotation, QuerySet)
    is_special = issubclass(declared, (QuerySet, Manager))
    return (is_queryset or is_special) and all(
        _takes(argument, group_model) for argument in get_args(annotation)
    )


def _answers(annotation: Any) -> bool:
    """Tell whether an annotation is a bool or an awaitable of one."""
    alternatives = _alternatives(annotation)
    if alternatives is not None:
        return all(_answers(each) for each in alternatives)
    arguments = get_args(annotation)
    declared = get_origin(annotation) or annotation
    if declared is Literal:
        return all(isinstance(each, bool) for each in arguments)
    if not _is_class(declared):
        return True
    if issubclass(declared, Awaitable):
        return not arguments or _answers(arguments[-1])
    return declared is bool


def _selects(annotation: Any) -> bool:
    """Tell whether an annotation is a type that a query form may return."""
    alternatives = _alternatives(annotation)
    if alternatives is not None:
        return all(_selects(each) for each in alternatives)
    declared = get_origin(annotation) or annotation
    if declared is Literal:
        return all(each is None or isinstance(each, bool) for each in get_args(annotation))
    return not _is_class(declared) or issubclass(declared, _CONDITIONS)
