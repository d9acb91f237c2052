"""Asking the configured authentication backends, so that sync and async agree."""

from __future__ import annotations

from functools import partial
from importlib import import_module
from typing import TYPE_CHECKING, Any, Final, Literal, TypeAlias

from django.conf import settings
from django.contrib.auth import get_backends, load_backend
from django.utils.module_loading import import_string

from . import conf
from ._cache import Generation, Trust, permission_cache
from ._fetch import fill_permission_caches, is_djangos
from ._flow import Call, Flow, flow_of, truth
from ._hops import SharedCall, call_once_in_thread, shared_call
from ._running import Running
from ._twins import Forms, attribute, is_defined

if TYPE_CHECKING:
    from collections.abc import Awaitable, Iterable, Iterator, Mapping

    from django.contrib.auth.backends import ModelBackend

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
        forms = _forms_in(vars(base), name)
        if _is_djangos_class(base):
            djangos |= forms
        elif forms:
            found.append(forms)
    return found, djangos


def _forms_in(namespace: Mapping[str, object], name: str) -> set[Form]:
    """Tell which forms of a method are defined; None says that there is no such form."""
    names: dict[Form, str] = {"sync": name, "async": _async_name(name)}
    return {form for form, each in names.items() if namespace.get(each) is not None}


def _is_djangos_class(kind: type) -> bool:
    """Tell whether a class is one of Django's module of backends, and does not just say so."""
    # Not at the top: that module needs the user model, whose module imports this one.
    module = import_module("django.contrib.auth.backends")
    return getattr(module, kind.__name__, None) is kind


def _async_name(name: str) -> str:
    return f"_a{name[1:]}" if name.startswith("_") else f"a{name}"


# All that Django's own backends say of permissions, in both forms.
_ALL_NAMES: Final = frozenset(
    form
    for name in (*_DERIVED_FROM, "_get_user_permissions", "_get_group_permissions")
    for form in (name, _async_name(name))
)


def _backend_forms(backend: object, name: str) -> Forms:
    own = _forms_in(getattr(backend, "__dict__", {}), name)
    only: Form | None = None
    if not own:
        only = only_form(type(backend), name)
    elif len(own) == 1:  # nearer than what the class has
        (only,) = own
    return (
        None if only == "async" else attribute(backend, name, None),
        None if only == "sync" else attribute(backend, f"a{name}", None),
    )


class _Configured:
    """A configured backend.

    It is known if its answers follow from Django's caches and from access methods alone: it is
    one of Django's or ours, with nothing overridden, or says nothing of permissions. Such a one is
    kept. Any other is made anew each time that it is asked, as Django does.

    Args:
        path: Where it is imported from.
        known: The backend, None if it is not known.
        asks_access_methods: Whether it is one of ours.
        has_caches: Whether it fetches a user's permissions into Django's caches.
    """

    def __init__(
        self,
        path: str,
        known: object | None,
        *,
        asks_access_methods: bool = False,
        has_caches: bool = False,
    ) -> None:
        self.path = path
        self.known = known
        self.asks_access_methods = asks_access_methods
        self.has_caches = has_caches


def _classify(path: str, backend: object) -> _Configured:
    # Not at the top, as above.
    from django.contrib.auth.backends import ModelBackend

    kind: Any = type(backend)
    bases: tuple[type, ...] = kind.__mro__
    definers = [base for base in bases if not _ALL_NAMES.isdisjoint(vars(base))]
    # One without any of the methods only signs users in, however it is made.
    own: Iterable[str] = getattr(backend, "__dict__", ())
    is_silent = not definers and _ALL_NAMES.isdisjoint(own)
    is_plain = kind.__getattribute__ is object.__getattribute__ and not hasattr(kind, "__getattr__")
    if not is_plain or not (is_silent or _is_made_plainly(path, kind)):
        return _Configured(path, None)
    if flow_of(backend, "has_perm") is not None:
        return _Configured(path, backend, asks_access_methods=True)
    # Of all classes: those behind Django's own in the order of inheritance are asked by these.
    are_djangos = all(
        _is_djangos_class(base)
        and all(map(is_djangos, _checks_of(base), (f"{base.__name__}.{name}" for name in _CHECKS)))
        for base in definers
    )
    if not are_djangos:
        return _Configured(path, None)
    return _Configured(path, backend, has_caches=issubclass(kind, ModelBackend))


def _is_made_plainly(path: str, kind: Any) -> bool:
    """Tell whether a backend is the same whenever it is made."""
    return (
        import_string(path) is kind
        and kind.__init__ is object.__init__
        and kind.__new__ is object.__new__
        and type(kind).__call__ is type.__call__
    )


_CHECKS: Final = ("has_perm", "ahas_perm")


def _checks_of(base: type) -> tuple[object, object]:
    """Return the checks that a class defines, in both forms, which somebody may patch."""
    has_perm, ahas_perm = map(vars(base).get, _CHECKS)
    return has_perm, ahas_perm


class _Backends:
    """What was found out about the configured backends, and what that rests on."""

    def __init__(self) -> None:
        self._epoch = conf.epoch
        self._setting: tuple[str, ...] = tuple(settings.AUTHENTICATION_BACKENDS)
        backends = get_backends()
        bases = dict.fromkeys(base for each in backends for base in type(each).__mro__[:-1])
        # First, so that a patch in the midst of it is one that comes after it.
        self._checks = tuple((vars(base).get, *_checks_of(base)) for base in bases)
        pairs = zip(self._setting, backends, strict=True)
        self.configured = tuple(_classify(path, backend) for path, backend in pairs)
        self.are_known = all(each.known is not None for each in self.configured)
        # Any of them, access methods.
        self.are_asking = any(each.asks_access_methods for each in self.configured)
        are_fetching = any(each.has_caches for each in self.configured)
        self.is_fetch_likely = self.are_known and self.are_asking and are_fetching

    def is_up_to_date(self) -> bool:
        """Tell whether neither a setting has changed nor anybody has patched `has_perm`."""
        setting = tuple(settings.AUTHENTICATION_BACKENDS)
        if not self._epoch.is_current or setting != self._setting:
            return False
        # In a loop, because each check of a user asks this several times.
        for defined, has_perm, ahas_perm in self._checks:
            if defined("has_perm") is not has_perm or defined("ahas_perm") is not ahas_perm:
                return False
        return True


_backends: _Backends | None = None


def _current() -> _Backends:
    global _backends  # noqa: PLW0603 - replaced as a whole
    found = _backends
    if found is None or not found.is_up_to_date():
        found = _backends = _Backends()
    return found


def are_all_known() -> bool:
    """Tell whether the answers of all backends follow from Django's caches and access methods."""
    return _current().are_known


def are_methods_decisive() -> bool:
    """Tell whether access methods decide on objects, given the model level, and nobody else."""
    found = _current()
    return found.are_known and found.are_asking


def is_fetch_likely() -> bool:
    """Tell whether a first check fetches permissions and then asks access methods, and nobody else.

    That is what was found the last time that somebody looked, which is mostly right.
    """
    return _backends is not None and _backends.is_fetch_likely


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


def _ask_django(configured: _Configured, name: str, *args: Any) -> Flow[bool]:
    """Ask one of Django's own backends in place, once all that it needs has been fetched."""
    user = args[0]
    generation = Running.generation_for(permission_cache(user))
    # Nothing is fetched for an inactive user, and nothing is held.
    is_asked = user.is_active and not user.is_anonymous
    can_tell = is_asked and (yield from _cached(configured, user, generation))
    return bool(can_tell and getattr(configured.known, name)(*args))


def _cached(configured: _Configured, user: object, generation: Generation) -> Flow[bool]:
    # A fetch that others have begun may have found the user inactive.
    for _ in range(2):
        if not _has_caches(generation):
            args = configured.known, user, generation
            yield Call(_fetch, _afetch, args, is_same_in_thread=True)
    return _has_caches(generation)


def _has_caches(generation: Generation) -> bool:
    found = generation.model_level
    return "_perm_cache" in found or ("_user_perm_cache" in found and "_group_perm_cache" in found)


def _fetch(backend: ModelBackend, user: object, generation: Generation) -> None:
    running = Running(user, "fetch")
    try:
        running.generation = generation
        found = generation.model_level
        was_there = "_perm_cache" in found  # somebody has set it meanwhile
        fill_permission_caches(backend, user)
        are_both_there = "_user_perm_cache" in found and "_group_perm_cache" in found
        if not was_there and not are_both_there:
            # The user was inactive in the midst of it, and Django may have cached that nothing is
            # held.
            found.pop("_perm_cache", None)
            generation.trust = Trust()
    finally:
        running.end()


def _afetch(backend: ModelBackend, user: object, generation: Generation) -> Awaitable[None]:
    # Once for all checks that wait for the same.
    return call_once_in_thread(generation.fetches, partial(_fetch, backend, user, generation))


def fetch_of(generation: Generation) -> SharedCall | None:
    """Return the call that fetches what Django's backends need to know about a user, if any does.

    Args:
        generation: What is known about the user.

    Returns:
        The call; None also if an answer of the model level is known, which need not wait for it.
    """
    if not generation.fetches or generation.trust.model_level:
        return None
    return shared_call(generation.fetches)


def answers(name: str, *args: Any) -> Iterator[Flow[bool]]:
    """Ask all backends for a decision, one after the other.

    Args:
        name: The name of the method to ask.
        *args: The arguments, the user first.
    """
    has_object = len(args) > 2 and args[2] is not None
    for configured in _current().configured:
        known = configured.known
        if configured.has_caches:
            if not has_object:  # of which Django's backends know nothing
                yield _ask_django(configured, name, *args)
            continue
        flow = flow_of(known, name)
        if flow is not None:
            yield flow(*args)
            continue
        backend = load_backend(configured.path) if known is None else known
        method = _backend_forms(backend, name)
        if is_defined(method):
            yield ask(method, *args)


def collect(name: str, *args: object) -> Flow[set[str]]:
    """Unite the permission sets of all backends.

    Args:
        name: The name of the method that returns them.
        *args: The arguments.

    Returns:
        The names of the permissions.
    """
    permissions: set[str] = set()
    for backend in get_backends():
        method = _backend_forms(backend, name)
        if is_defined(method):
            found: Any = yield Call(*method, args)
            permissions.update(found)
    return permissions
