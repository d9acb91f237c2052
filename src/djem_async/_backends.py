"""Asking the configured authentication backends, so that sync and async agree."""

from collections.abc import Iterator
from typing import Any, Final

from django.contrib.auth import get_backends

from ._flow import Call, Flow, truth
from ._twins import Forms, forms, is_defined

# The methods of a backend that its answers may come from. Django's `BaseBackend` derives some of
# them from others, in both forms.
_PERMISSION_METHODS: Final = (
    "has_perm",
    "get_all_permissions",
    "get_user_permissions",
    "get_group_permissions",
)


def skips_own_rules(backend: type) -> bool:
    """Tell whether the async forms of a backend leave out what its sync forms do.

    It is so where a backend overrides a sync form and inherits the async one, which knows
    nothing of the override.

    Args:
        backend: The class of the backend.
    """
    for name in _PERMISSION_METHODS:
        for base in backend.__mro__:
            if f"a{name}" in vars(base) or base.__module__ == "django.contrib.auth.backends":
                break  # Django's own backends give the same answers in both forms
            if name in vars(base):
                return True
    return False


def _backend_forms(backend: object, name: str) -> Forms:
    function, async_function = forms(backend, name, f"a{name}")
    if function is not None and skips_own_rules(type(backend)):
        async_function = None
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
