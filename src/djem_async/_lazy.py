"""Inspects arguments: evaluates lazy objects and refuses wrong names and objects."""

from collections.abc import Callable, Iterable
from difflib import get_close_matches
from typing import Any, Final, cast
from uuid import UUID

from django.db.models import QuerySet
from django.utils.functional import LazyObject, new_method_proxy

from ._flow import Call, Flow


def _itself(wrapped: object) -> object:
    return wrapped


# Django makes the methods of lazy objects like this. This one returns the wrapped object.
_wrapped_in: Final[Callable[[object], Any]] = new_method_proxy(_itself)


def is_lazy(instance: object) -> bool:
    """Tell whether an object is one of Django's lazy ones."""
    return issubclass(type(instance), LazyObject)


def loaded(instance: object) -> Flow[Any]:
    """Return the object that a lazy object wraps, loading it where queries are allowed."""
    if is_lazy(instance):
        return (yield Call(unwrapped, None, (instance,)))
    return instance


def unwrapped(instance: object) -> Any:
    """Return the object that a lazy object wraps, loading it if necessary."""
    while is_lazy(instance):
        instance = _wrapped_in(instance)
    return instance


def plain_text(text: Any) -> Any:
    """Return a string as a plain `str`, also for an enum member that is a string.

    Subclasses may override equality, which would affect comparisons of names.
    """
    return str.__str__(text) if issubclass(type(text), str) else text


def checked_name(perm: object) -> str:
    """Return the name of a permission as a plain string.

    Raises:
        TypeError: It isn't a string.
    """
    name = plain_text(perm)
    if type(name) is not str:
        # Not its `repr`, which may make a query.
        raise TypeError(
            f"A permission must be a string such as 'app.view_model', not {type(perm).__name__}."
        )
    return name


def did_you_mean(name: str, known: Iterable[str]) -> str | None:
    """Return a question that suggests a similar name, None if there is none."""
    guesses = get_close_matches(name, sorted(known), n=1)
    return f"Did you mean {guesses[0]!r}?" if guesses else None


def refuse_key(obj: object) -> None:
    """Raise an error for a value that identifies objects instead of being one.

    Raises:
        TypeError: It is a primary key or a queryset.
    """
    if issubclass(type(obj), (str, bytes, int, UUID, QuerySet)):
        raise TypeError(
            f"The object of a check must be a model instance, not {type(obj).__name__}. Fetch it"
            " first, for example with `djem_async.shortcuts.get_object_for_user`. For many objects,"
            " use `get_objects_for_user`."
        )


def is_storable(value: object) -> bool:
    """Tell whether a database can store a value.

    Other values raise an error, after which PostgreSQL refuses the rest of the transaction.
    """
    if isinstance(value, tuple):
        return all(map(is_storable, cast("tuple[object, ...]", value)))
    return not isinstance(value, str) or not (
        "\0" in value or any("\ud800" <= character <= "\udfff" for character in value)
    )
