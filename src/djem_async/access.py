"""Access methods: finding them on an object, and the decorators for them."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from difflib import get_close_matches
from functools import lru_cache, partial
from inspect import getattr_static
from typing import TYPE_CHECKING, Any, Final, Generic, Literal, NamedTuple, TypeAlias, TypeVar

from django.core.exceptions import ImproperlyConfigured

from ._conditions import holds
from ._lazy import checked_name
from ._lineage import codenames, declares, lineage
from ._store import type_of
from ._twins import Forms, forms, is_async
from .exceptions import NoQueryFormError

__all__ = ["AccessDecorators", "nonblocking"]

if TYPE_CHECKING:
    from django.contrib.auth.models import Group
    from django.db.models import Model, Q, QuerySet
    from django.db.models.expressions import Combinable

F = TypeVar("F", bound=Callable[..., bool])
U = TypeVar("U")
M = TypeVar("M")
R = TypeVar("R", bound=bool | Awaitable[bool])
C = TypeVar("C", bound="Q | Combinable | bool | None")

Source: TypeAlias = Literal["user", "group"]
SOURCES: Final[tuple[Source, ...]] = ("user", "group")

_NONBLOCKING: Final = "_djem_async_nonblocking"


def nonblocking(method: F) -> F:
    """Mark an access method that does no I/O and does not wait.

    The async API then calls it in place, instead of in a thread.

    Args:
        method: A plain ``def`` access method.

    Returns:
        The same method.

    Raises:
        TypeError: The method is ``async def``, which never needs a thread.

    Example:
        ::

            from django.contrib.auth.models import User
            from django.db import models

            from djem_async.access import nonblocking


            class Product(models.Model):
                @nonblocking
                def _user_can_change_product(self, user: User) -> bool:
                    return user.is_staff
    """
    if is_async(method):
        raise TypeError(
            f"{method.__qualname__} is async, so it cannot be marked `nonblocking`:"
            " the event loop awaits it as it is. Remove the mark."
        )
    setattr(method, _NONBLOCKING, True)
    return method


class AccessDecorators(Generic[U]):
    """Decorators that let a type checker judge the signatures of access methods.

    They need no plugin, and change nothing at run time: each returns the method it is given. Bind
    them to the user model once, where all models can import them, and use them as ``@access.user``
    and ``@access.group``. A method that takes a wider type of user than the model is right.

    ``@access.q_user`` and ``@access.q_group`` are for query forms. Write them under
    ``@classmethod``.

    Example:
        ::

            from django.contrib.auth.models import Group, User
            from django.db import models
            from django.db.models import Exists, QuerySet

            from djem_async.access import AccessDecorators

            access = AccessDecorators[User]()


            class Product(models.Model):
                @access.user
                def _user_can_change_product(self, user: User) -> bool:
                    return user.is_staff

                @access.group
                async def _group_can_view_product(self, groups: QuerySet[Group]) -> bool:
                    return await groups.filter(name="Viewers").aexists()

                @classmethod
                @access.q_group
                def _qgroup_can_delete_product(cls, groups: QuerySet[Group]) -> Exists:
                    return Exists(groups.filter(name="Managers"))
    """

    __slots__ = ()

    def user(self, method: Callable[[M, U], R], /) -> Callable[[M, U], R]:
        """Declare a method that is asked about the user, ``def`` or ``async def``.

        Args:
            method: The access method.

        Returns:
            The same method.
        """
        return method

    def group(
        self, method: Callable[[M, QuerySet[Group]], R], /
    ) -> Callable[[M, QuerySet[Group]], R]:
        """Declare a method that is asked about the groups of the user, ``def`` or ``async def``.

        Args:
            method: The access method.

        Returns:
            The same method.
        """
        return method

    def q_user(self, method: Callable[[type[M], U], C], /) -> Callable[[type[M], U], C]:
        """Declare a query form that is asked about the user.

        Args:
            method: The query form, without ``@classmethod``.

        Returns:
            The same method.
        """
        return method

    def q_group(
        self, method: Callable[[type[M], QuerySet[Group]], C], /
    ) -> Callable[[type[M], QuerySet[Group]], C]:
        """Declare a query form that is asked about the groups of the user.

        Args:
            method: The query form, without ``@classmethod``.

        Returns:
            The same method.
        """
        return method


def is_nonblocking(method: object) -> bool:
    """Tell whether a method is marked with `nonblocking`.

    Args:
        method: The method, bound or not, or None for none.
    """
    return getattr(method, _NONBLOCKING, False) is True


def method_names(source: Source, codename: str) -> tuple[str, str, str]:
    """Name the forms of an access method: the sync, the async and the query form.

    Args:
        source: Whether the user or the user's groups are asked about.
        codename: The permission without its app label.
    """
    return f"_{source}_can_{codename}", f"_a{source}_can_{codename}", f"_q{source}_can_{codename}"


@lru_cache(maxsize=1024)
def names_for(perm: str) -> tuple[tuple[Source, str, str, str], ...]:
    """Name the forms of the access methods for a permission, see `method_names`.

    Args:
        perm: The permission, ``app_label.codename``.
    """
    codename = perm.rpartition(".")[2]
    return tuple((source, *method_names(source, codename)) for source in SOURCES)


@lru_cache(maxsize=1024)
def all_names_for(perm: str) -> frozenset[str]:
    """Name all forms of all access methods for a permission.

    Args:
        perm: The permission, ``app_label.codename``.
    """
    return frozenset(name for _, *names in names_for(perm) for name in names)


class MethodNames(NamedTuple):
    """The names of the forms of an access method; None for one that is undefined or out of date.

    The query form is named only where it decides checks, because there is no form in Python, or
    one that is out of date.
    """

    source: Source
    name: str | None
    async_name: str | None
    query_name: str | None = None

    def bound_to(self, obj: Any) -> Forms:
        """Return the forms as methods of an object.

        Args:
            obj: The object.
        """
        if self.query_name is not None:
            form = getattr(type_of(obj), self.query_name)
            return partial(holds, obj, form, self.query_name.replace("_q", "_", 1)), None
        return (
            None if self.name is None else getattr(obj, self.name),
            None if self.async_name is None else getattr(obj, self.async_name),
        )


def find_access_methods(obj: object, perm: str) -> tuple[MethodNames, ...]:
    """Find the access methods of an object for a permission.

    Args:
        obj: The object that the permission is checked on.
        perm: The permission, ``app_label.codename``.

    Returns:
        Those that it has, in the order in which they are asked.

    Raises:
        TypeError: The object has an attribute of that name that is not callable, or a query form
            that is not a class method.
    """
    found: list[MethodNames] = []
    kind, own = type(obj), getattr(obj, "__dict__", {})
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


def find_query_forms(model: type[Model], perm: str) -> dict[Source, Callable[[Any], object]]:
    """Find the query forms of the access methods of a model for a permission.

    Args:
        model: The model.
        perm: The permission, ``app_label.codename``.

    Returns:
        Those that it has, by source.

    Raises:
        NoQueryFormError: An access method has none, or one that is out of date.
        TypeError: A query form is not a class method.
    """
    found: dict[Source, Callable[[Any], object]] = {}
    for source, *names, query in names_for(perm):
        if is_nearer(model, names, (query,)):
            python = next(name for name in names if _defines(model, name))
            argument = "user" if source == "user" else "groups"
            raise NoQueryFormError(
                f"There is no list of what {model.__name__}.{python} grants, because it decides one"
                " object at a time. Define its query form in its place, or in the same class:"
                f"\n\n    @classmethod\n    def {query}(cls, {argument}):\n        return Q(...)"
                f"  # the rows for which {python} grants"
            )
        if _defines(model, query):
            found[source] = query_form(model, query)
    return found


def require_permission(perm: object, model: type[Model]) -> str:
    """Refuse a permission that isn't about a model.

    It is about one that declares it or inherits from one that does; or that has an access method
    for it, say for adding children, and no permission of its own by that codename.

    Args:
        perm: The permission, ``app_label.codename``.
        model: The model.

    Returns:
        The permission as a plain string.

    Raises:
        TypeError: It is no string.
        ImproperlyConfigured: It isn't about the model.
    """
    name = checked_name(perm)
    if not _owns(model, name):
        own = [f"{opts.app_label}.{each}" for opts in lineage(model) for each in codenames(opts)]
        guesses = get_close_matches(name, own, n=1)
        hint = f"Did you mean {guesses[0]!r}?" if guesses else "Correct its name, or the model."
        raise ImproperlyConfigured(f"{model.__name__} has no permission {name!r}. {hint}")
    return name


def _owns(model: type[Model], perm: str) -> bool:
    if any(declares(opts, perm) for opts in lineage(model)):
        return True
    codename = perm.partition(".")[2]
    if any(codename in codenames(opts) for opts in lineage(model)):
        return False
    return bool(codename) and any(_defines(model, name) for name in all_names_for(perm))


def _defines(kind: type, name: str) -> bool:
    # Not `hasattr`: what a descriptor returns for the class may differ from what an object has.
    return any(name in vars(base) for base in kind.__mro__)


def is_nearer(kind: type, names: Sequence[str], others: Sequence[str]) -> bool:
    """Tell whether names are defined nearer to a class than others are.

    Args:
        kind: The class.
        names: The names of one form, or of several.
        others: Those of other forms, which win if the same class defines both.
    """
    for base in kind.__mro__:
        defined = vars(base).keys()
        if not defined.isdisjoint(others):
            return False
        if not defined.isdisjoint(names):
            return True
    return False


def query_form(model: type, name: str) -> Callable[[Any], object]:
    """Return a query form of a class, bound to it.

    Args:
        model: The class.
        name: The name of the form.

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
