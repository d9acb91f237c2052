"""Stores that belong to one instance and do not travel with its copies."""

import threading
import weakref
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

S = TypeVar("S", bound="Owned")

_creating = threading.RLock()


class Owned:
    """Data kept on an instance for that instance alone.

    Copying an instance copies its attributes, this one included, so a store knows its owner
    and counts for nobody else. Pickles and deep copies leave it out altogether.
    """

    __slots__ = ("__weakref__", "owner")

    def __init__(self, owner: object) -> None:
        try:
            self.owner: Callable[[], Any] = weakref.ref(owner)
        except TypeError:
            # Tuples and some other builtins cannot be referred to weakly, nor their subclasses.
            self.owner = lambda: owner

    def __reduce__(self) -> tuple[Any, ...]:
        # What is restored in its place is None, which needs nothing of this package to load.
        return type(None), ()


def owned(instance: object, attribute: str, kind: type[S]) -> S:
    """Return the store of an instance, made on first use."""
    attributes: Any = instance.__dict__
    store: S = attributes.get(attribute)
    if type(store) is kind and store.owner() is instance:
        return store
    made = kind(instance)  # ahead: what runs meanwhile may need a store of the same instance
    with _creating:
        # Another thread may have made it meanwhile, and all must use the same.
        store = attributes.get(attribute)
        if type(store) is not kind or store.owner() is not instance:
            store = attributes[attribute] = made
        return store
