"""Asking the configured authentication backends, so that sync and async agree."""

from collections.abc import Iterator
from typing import Any, Final, Literal, TypeAlias

from django.contrib.auth import get_backends

from ._flow import Call, Flow, truth
from ._twins import Forms, is_defined

# What Django's own backends derive the answers of a method from, in both forms.
_DERIVED_FROM: Final[dict[str, tuple[str, ...]]] = {
    "has_perm": ("get_all_permissions",),
    "has_module_perms": ("get_all_permissions",),
    "get_all_permissions": ("get_user_permissions", "get_group_permissions"),
    "get_user_permissions": ("_get_permissions",),
    "get_group_permissions": ("_get_permissions",),
    "_get_permissions": (),
}

PERMISSION_METHODS: Final = tuple(name for name in _DERIVED_FROM if not name.startswith("_"))

Form: TypeAlias = Literal["sync", "async"]


def only_form(backend: type, name: str) -> Form | None:
    """Tell which form of a permission method is the only one to trust.

    Where a class overrides one form of a pair, the other knows nothing of it: it is out of date.
    A form that a class adds where there was none completes a pair.

    Args:
        backend: The class of the backend.
        name: The name of the sync form.

    Returns:
        The form, or None where both are up to date.
    """
    own, djangos = _definitions(backend, name)
    is_djangos = not own
    definitions = [*own, djangos] if djangos else own
    if not definitions:
        return None
    nearest, *others = definitions
    if len(nearest) == 2:
        if not is_djangos:
            return None
        sources = {only_form(backend, source) for source in _DERIVED_FROM[name]}
        return "sync" if "sync" in sources else "async" if "async" in sources else None
    (form,) = nearest
    for position, definition in enumerate(others):
        if definition != nearest:
            was_pair = any(form in other for other in others[: position + 1])
            return form if was_pair else None
    return form


def _definitions(backend: type, name: str) -> tuple[list[set[Form]], set[Form]]:
    """List which forms each class defines, from the nearest, and which Django's own define."""
    found: list[set[Form]] = []
    djangos: set[Form] = set()
    for base in backend.__mro__:
        forms: set[Form] = set()
        if name in vars(base):
            forms.add("sync")
        if _async_name(name) in vars(base):
            forms.add("async")
        if base.__module__ == "django.contrib.auth.backends":
            djangos |= forms
        elif forms:
            found.append(forms)
    return found, djangos


def _async_name(name: str) -> str:
    return f"_a{name[1:]}" if name.startswith("_") else f"a{name}"


def _backend_forms(backend: object, name: str) -> Forms:
    only = "sync" if name in vars(backend) else only_form(type(backend), name)
    return (
        None if only == "async" else getattr(backend, name, None),
        None if only == "sync" else getattr(backend, f"a{name}", None),
    )


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
