"""What is put where a permission, an object, a user or an answer belongs.

Hypothesis draws plain descriptions, which it can print. They are built for one input: what is
described may well refuse to be printed.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, NamedTuple

from django.core.exceptions import ObjectDoesNotExist, PermissionDenied, SynchronousOnlyOperation
from django.db.models.base import ModelBase
from hypothesis import strategies as st

if TYPE_CHECKING:
    from collections.abc import Callable

    from django.db.models import Model


class Planned:
    """Marks an error that an input has raised, to tell it from one of the library."""


# Without GeneratorExit: where it comes out of a thread, Python itself closes all that waits for it.
ERRORS: dict[str, type[BaseException]] = {
    kind.__name__: type(f"Planned{kind.__name__}", (Planned, kind), {})
    for kind in (
        *(AttributeError, KeyError, RecursionError, RuntimeError, StopIteration, TypeError),
        *(ObjectDoesNotExist, PermissionDenied, SynchronousOnlyOperation, ValueError),
        *(KeyboardInterrupt, asyncio.CancelledError),
    )
}


class Awaitable:
    """Truthy until it is awaited, and then something else. Unlike a coroutine it never warns."""

    def __init__(self, answer: object = False) -> None:
        self.answer = answer

    def __await__(self) -> Any:
        return self.answer
        yield


# What a method or an attribute gives instead of what it should.
VALUES: dict[str, Callable[[], object]] = {
    "None": lambda: None,
    "True": lambda: True,
    "False": lambda: False,
    "0": lambda: 0,
    "1": lambda: 1,
    "nan": lambda: float("nan"),
    "a huge number": lambda: 10**5000,
    "an empty string": lambda: "",
    "a string": lambda: "text",
    "bytes": lambda: b"text",
    "a list": lambda: [True],
    "an empty list": list,
    "an object": object,
    "a class": lambda: object,
    "an awaitable": Awaitable,
    "a generator": lambda: (granted for granted in [True]),
    "NotImplemented": lambda: NotImplemented,
}


# Of those that are planned, what is no method.
OF_OBJECTS = ("__class__", "__dict__", "_meta", "_state", "id", "pk")
OF_USERS = (
    *("groups", "is_active", "is_anonymous", "is_authenticated", "is_superuser"),
    *("user_permissions", "username"),
)


class Plan(NamedTuple):
    """How methods misbehave: each by an error or a value, named as in the tables above."""

    methods: tuple[tuple[str, str], ...]

    def build(self) -> dict[str, Any]:
        """Make the names of a class."""
        methods = {name: misbehaviour(does) for name, does in self.methods}
        return {
            name: property(method) if name in (*OF_OBJECTS, *OF_USERS, "__doc__") else method
            for name, method in methods.items()
        }


def misbehaviour(does: str) -> Any:
    def method(*_args: Any, **_kwargs: Any) -> Any:
        if does in ERRORS:
            raise ERRORS[does]("planned")
        return VALUES[does]()

    return method


NAMES = (
    "bool call contains delattr dir eq format getitem getstate hash index int iter len lt"
    " ne next reduce_ex repr setattr str"
)
DUNDERS = tuple(f"__{name}__" for name in NAMES.split())

does = st.sampled_from(sorted(ERRORS)) | st.sampled_from(sorted(VALUES))


def plans(names: tuple[str, ...], max_size: int = 4) -> st.SearchStrategy[Plan]:
    methods = st.tuples(st.sampled_from(names), does)
    unique = st.lists(methods, min_size=1, max_size=max_size, unique_by=lambda method: method[0])
    return unique.map(lambda found: Plan(tuple(found)))


def subclass(base: type[Model], **names: Any) -> type[Model]:
    """Derive a class that Django does not register, and so takes for the model itself."""
    return type.__new__(ModelBase, f"Hostile{base.__name__}", (base,), names)


def set_class(instance: object, cls: type) -> None:
    """Change the class of an instance, even of one that would not have it."""
    object.__dict__["__class__"].__set__(instance, cls)


# Texts

TEXT_METHODS = (
    *DUNDERS,
    *("__class__", "casefold", "encode", "isprintable", "lower", "partition", "rpartition"),
    *("rsplit", "split", "startswith"),
)

anything = st.text(st.characters(), max_size=60)  # surrogates and NUL as well


def near_misses(perm: str) -> st.SearchStrategy[str]:
    """Draw names that might be mistaken for a permission."""
    app_label, _, codename = perm.partition(".")
    return st.sampled_from(
        [
            *("", ".", "*", "." * 10_000, app_label, codename, f"{app_label}.", f".{codename}"),
            *(f"{app_label}.*", f"{app_label}.%s", f"{app_label}.{{0}}", f"{app_label}.__class__"),
            *(f"{app_label}._user_can_{codename}", f"{app_label}..{codename}"),
            *(f"{app_label}.other.{codename}", f"other.{app_label}.{codename}", f"auth.{codename}"),
            *(f"{app_label}\uff0e{codename}", f"{app_label}.\uff55{codename[1:]}"),
            *(f"{app_label}.{codename[:1]}\0{codename[1:]}", f"{perm}\ud800", f"{perm}\u0301"),
            *(perm.upper(), f" {perm}", f"{perm} ", f"{perm}\n", f"{perm}\0", f"\0{perm}"),
            *(f".{perm}", f"{perm}.", f"{perm}.x", perm * 2, perm + "x" * 100_000),
        ]
    )


class Lying(str):
    """Says with every method but its own text that it is another one."""

    __slots__ = ("claim",)

    claim: str

    def __new__(cls, text: str, claim: str) -> Lying:
        lying = super().__new__(cls, text)
        lying.claim = claim
        return lying

    def __eq__(self, other: object) -> bool:
        return self.claim == other

    def __ne__(self, other: object) -> bool:
        return self.claim != other

    def __hash__(self) -> int:
        return hash(self.claim)

    def __str__(self) -> str:
        return self.claim

    def __format__(self, spec: str) -> str:
        return format(self.claim, spec)

    def partition(self, sep: str, /) -> tuple[str, str, str]:
        return self.claim.partition(sep)

    def rpartition(self, sep: str, /) -> tuple[str, str, str]:
        return self.claim.rpartition(sep)


class CaseInsensitive(str):
    __slots__ = ()

    def __eq__(self, other: object) -> bool:
        return isinstance(other, str) and self.lower() == other.lower()

    def __ne__(self, other: object) -> bool:
        return not self == other

    def __hash__(self) -> int:
        return hash(self.lower())
