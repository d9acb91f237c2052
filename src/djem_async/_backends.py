"""Asking the configured authentication backends, so that sync and async agree."""

from collections.abc import Iterator
from typing import Any, Final, Literal

from django.contrib.auth import get_backends

from ._flow import Call, Flow, truth
from ._twins import Forms, is_defined

# The methods of a backend that its answers may come from. Django's `BaseBackend` derives some of
# them from others, in both forms.
_PERMISSION_METHODS: Final = (
    "has_perm",
    "get_all_permissions",
    "get_user_permissions",
    "get_group_permissions",
    "has_module_perms",
)


def only_form(backend: type) -> Literal["sync", "async"] | None:
    """Tell whether the permissions of a backend are in the methods of one form only.

    It is so where a class overrides methods in one form, and inherits the other form, which
    knows nothing of that.

    Args:
        backend: The class of the backend.

    Returns:
        The form to trust, or None for both.
    """
    for base in backend.__mro__:
        if base.__module__ == "django.contrib.auth.backends":
            return None  # Django's own give the same answers in both forms
        names = vars(base)
        halves = [name for name in _PERMISSION_METHODS if (name in names) != (f"a{name}" in names)]
        if halves:
            return "sync" if any(name in names for name in halves) else "async"
    return None


def _backend_forms(backend: object, name: str) -> Forms:
    function, async_function = getattr(backend, name, None), getattr(backend, f"a{name}", None)
    only = only_form(type(backend))
    if only == "sync" and function is not None:
        return function, None
    if only == "async" and async_function is not None:
        return None, async_function
    return function, async_function


def backends_with(name: str) -> Iterator[Forms]:
    """Find a method, in both forms, on each of the configured backends that has it.

    Args:
        name: The name of the sync form.
    """
    for backend in get_backends():
        found = _backend_forms(backend, name)
        if is_defined(found):
            yield found


def ask(method: Forms, *args: object) -> Flow[bool]:
    """Ask a method for a decision.

    Args:
        method: Its two forms.
        *args: The arguments.

    Returns:
        The truth value of its answer.
    """
    call = Call(*method, args)
    return (yield from truth((yield call), call.label))


def answers(name: str, *args: object) -> Iterator[Flow[bool]]:
    """Ask all backends for a decision, one after the other.

    Args:
        name: The name of the method to ask.
        *args: The arguments.
    """
    return (ask(method, *args) for method in backends_with(name))


def collect(name: str, *args: object) -> Flow[set[str]]:
    """Unite the permission sets of all backends.

    Args:
        name: The name of the method that returns them.
        *args: The arguments.

    Returns:
        The names of the permissions.
    """
    permissions: set[str] = set()
    for method in backends_with(name):
        found: Any = yield Call(*method, args)
        permissions.update(found)
    return permissions
