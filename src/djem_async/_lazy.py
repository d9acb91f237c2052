"""What stands behind Django's lazy objects, such as ``request.user``."""

from typing import Any

from django.utils.functional import LazyObject

from ._flow import Call, Flow


def loaded(instance: object) -> Flow[Any]:
    """Return the object that a lazy object stands for, loading it where queries may be made.

    Args:
        instance: Any object; one that is not lazy is returned as it is.
    """
    if issubclass(type(instance), LazyObject):
        return (yield Call(unwrapped, None, (instance,)))
    return instance


def unwrapped(instance: object) -> Any:
    """Return the object that a lazy object stands for, loading it if need be.

    Args:
        instance: Any object; one that is not lazy is returned as it is.
    """
    while issubclass(type(instance), LazyObject):
        # Any operation loads it; this one is answered by the object itself.
        instance.__class__  # noqa: B018
        instance = vars(instance)["_wrapped"]
    return instance
