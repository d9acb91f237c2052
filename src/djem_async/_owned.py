"""Stores that belong to one instance and aren't passed on to its copies."""

import threading
import weakref
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

S = TypeVar("S", bound="Owned")

_creating = threading.RLock()


class Owned:
    """Data of an instance that its copies don't get.

    Copying an instance copies its attributes, including this one. So a store knows its owner and is
    ignored on other instances. Pickles and deep copies leave it out.
    """

    __slots__ = ("__weakref__", "owner")

    def __init__(self, owner: object) -> None:
        try:
            self.owner: Callable[[], Any] = weakref.ref(owner)
        except TypeError:
            # Tuples and some other built-ins, and their subclasses, don't support weak references.
            self.owner = lambda: owner

    def __reduce__(self) -> tuple[Any, ...]:
        # It's replaced by None, so that unpickling doesn't need this package.
        return type(None), ()


def owned(instance: object, attribute: str, kind: type[S]) -> S:
    """Return the store of an instance. It's created on first use."""
    attributes: Any = instance.__dict__
    store: S = attributes.get(attribute)
    if type(store) is kind and store.owner() is instance:
        return store
    made = kind(instance)  # first, because this may run code that needs the store
    with _creating:
        # Another thread may have created it meanwhile, and all must use the same one.
        store = attributes.get(attribute)
        if type(store) is not kind or store.owner() is not instance:
            store = attributes[attribute] = made
        return store
