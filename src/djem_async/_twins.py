"""Chooses between the sync and the async form of a method.

If a subclass only overrides one form, the inherited other form is out of date, because it gives the
answer of the parent. The form that is defined nearest to the class wins.
"""

from collections.abc import Awaitable, Callable
from itertools import takewhile
from typing import Any, Final, TypeAlias, TypeVar

from asgiref.sync import iscoroutinefunction

from ._lazy import unwrapped

Method = TypeVar("Method", bound=Callable[..., Any])
Forms: TypeAlias = tuple[Callable[..., Any] | None, Callable[..., Awaitable[Any]] | None]


def is_async(function: Any) -> bool:
    """Tell whether a function is ``async def`` or marked as a coroutine function."""
    # asgiref's, because the standard library's only supports marks since Python 3.12.
    return iscoroutinefunction(function)  # pyright: ignore[reportDeprecated]


_MISSING: Final = object()


def _distance(instance: object, name: str) -> int | None:
    """Count the classes between an instance and the definition of a name, None if undefined."""
    if name in getattr(instance, "__dict__", ()):
        return -1
    for distance, base in enumerate(type(instance).__mro__):
        if name in vars(base):
            return distance
    return None


def definer(kind: type, *names: str) -> type | None:
    """Return the nearest class that defines one of several names, None if there is none."""
    # Not `hasattr`: a descriptor may return something else for the class than for an object.
    return next((base for base in kind.__mro__ if not vars(base).keys().isdisjoint(names)), None)


def attribute(instance: object, name: str, default: object) -> Any:
    """Look up an attribute.

    Raises:
        AttributeError: It's defined but fails, such as a property with a mistake.
    """
    found: object = getattr(instance, name, default)
    if found is default and _distance(instance, name) is not None:
        return getattr(instance, name)
    return found


def _method(instance: object, name: str) -> Callable[..., Any] | None:
    method: object = attribute(instance, name, _MISSING)
    if method is _MISSING:
        return None
    if not callable(method):
        raise TypeError(
            f"{type(instance).__qualname__}.{name} must be a method, but is {method!r}."
            " Make it one, or remove it."
        )
    return method


def forms(instance: object, name: str, async_name: str) -> Forms:
    """Find both forms of a method, without one that is out of date.

    Returns:
        The bound sync and async form, each None if it's undefined or out of date.

    Raises:
        TypeError: An attribute of that name is not callable.
    """
    function, async_function = _method(instance, name), _method(instance, async_name)
    if function is not None and async_function is not None:
        near, async_near = _distance(instance, name), _distance(instance, async_name)
        # Methods that `__getattr__` returns are in no class, but count.
        if near is not None and async_near is not None and near != async_near:
            if near < async_near:
                async_function = None
            else:
                function = None
    return function, async_function


def is_defined(found: Forms) -> bool:
    """Tell whether a method has any form."""
    # By identity, because a method may override equality.
    return found[0] is not None or found[1] is not None


def required_forms(instance: object, name: str) -> Forms:
    """Find both forms of a method of Django's API, whose async form has an ``a`` before its name.

    Raises:
        AttributeError: It has neither.
    """
    # The classes of a lazy object, such as `request.user`, don't define the methods.
    instance = unwrapped(instance)
    found = forms(instance, name, f"a{name}")
    if not is_defined(found):
        raise AttributeError(f"{type(instance).__name__!r} object has no attribute {name!r}")
    return found


def follows_sync(instance: object, name: str) -> bool:
    """Tell whether an async method of ours has to call an override of its sync form.

    Returns:
        Whether the object, or a class ahead of ours in its MRO, defines the sync form alone.
    """
    own = instance.__dict__
    if name in own:
        return f"a{name}" not in own
    if is_ours(getattr(type(instance), name, None)):
        return False
    places = (base for base in type(instance).__mro__ if name in vars(base))
    ahead = takewhile(lambda base: not base.__module__.startswith("djem_async."), places)
    return any(f"a{name}" not in vars(base) for base in ahead)


_ours: Final[dict[int, object]] = {}


def ours(method: Method) -> Method:
    """Register a method of the library, so that overrides can be recognized."""
    # Not by an attribute, because `functools.wraps` copies attributes to wrappers.
    _ours[id(method)] = method
    return method


def are_ours(instance: object, *names: str) -> bool:
    """Tell whether methods are the library's own and aren't overridden."""
    kind, own = type(instance), getattr(instance, "__dict__", {})
    return all(is_ours(getattr(kind, name, None)) and name not in own for name in names)


def is_ours(method: object) -> bool:
    """Tell whether a method is one of the library's own."""
    return id(method) in _ours
