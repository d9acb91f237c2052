"""The configured authentication backends, and how they are asked."""

from __future__ import annotations

from contextlib import nullcontext
from functools import lru_cache
from importlib import import_module
from typing import TYPE_CHECKING, Any, Final, Literal, NamedTuple, TypeAlias

from django.conf import settings
from django.contrib.auth import get_backends, load_backend
from django.core.exceptions import ImproperlyConfigured, PermissionDenied
from django.utils.module_loading import import_string

from ._fetch import fill_permission_caches
from ._flow import Call, Flow, Scope, decision_of, where_allowed
from ._store import type_of
from ._twins import Forms, are_ours, attribute, definer, is_defined, is_ours
from ._users import is_active
from .conf import conf
from .explain import Reason

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from django.contrib.auth.backends import ModelBackend

    from ._running import Check
    from ._store import Caches

Form: TypeAlias = Literal["sync", "async"]


@lru_cache(maxsize=64)
def _forms(backend: type) -> dict[str, Form | None]:
    """Find the permission methods of a backend that have to be called in one form only.

    If a class overrides one form of a method, the inherited other form is out of date. Django's
    backends implement some methods by others of the same form, so all methods are then called in
    that form.
    """
    from django.contrib.auth.backends import ModelBackend

    # All methods that Django has in both forms, including private ones.
    names = [name for name in dir(ModelBackend) if "perm" in name]
    names = [name for name in names if hasattr(ModelBackend, _async_name(name))]
    forms: dict[str, Form | None] = {name: overridden_form(backend, name) for name in names}
    found = forms.values()
    only: Form | None = "sync" if "sync" in found else "async" if "async" in found else None
    return dict(zip(forms, (form or only for form in found), strict=True))


def overridden_form(backend: type, name: str) -> Form | None:
    """Return the form of a permission method that a backend overrides without the other one.

    Returns:
        The form, or None if both are up to date.
    """
    places: list[set[Form]] = []
    djangos: set[Form] = set()
    for base in backend.__mro__:
        forms = _forms_in(vars(base), name)
        if _is_stock_class(base):
            djangos |= forms  # one place
        elif forms:
            places.append(forms)
    if djangos:
        places.append(djangos)
    if not places or len(places[0]) != 1:
        return None
    nearest = places[0]
    (form,) = nearest
    for number, place in enumerate(places):
        if place != nearest:
            # Adding a missing form overrides nothing.
            is_override = any(form in other for other in places[1 : number + 1])
            return form if is_override else None
    return form


def _forms_in(names: Mapping[str, object], name: str) -> set[Form]:
    """Tell which forms of a method are defined; None says that there is no such form."""
    forms: dict[Form, str] = {"sync": name, "async": _async_name(name)}
    return {form for form, each in forms.items() if names.get(each) is not None}


def _async_name(name: str) -> str:
    public = name.lstrip("_")
    return f"{name.removesuffix(public)}a{public}"


def _is_stock_class(kind: type) -> bool:
    """Tell whether all permission methods of a class are Django's or this library's."""
    # Not at the top: that module needs the user model, whose module imports this one.
    module = import_module("django.contrib.auth.backends")
    return getattr(module, kind.__name__, None) is kind or all(
        is_ours(value) for name, value in vars(kind).items() if _is_of_permissions(name)
    )


def _is_of_permissions(name: str) -> bool:
    is_any = name in {"__getattr__", "__getattribute__"}
    # `with_perm` finds users. Checks don't call it.
    return is_any or ("perm" in name and name != "with_perm")


_SETS: Final = ("get_user_permissions", "get_group_permissions", "get_all_permissions")
_ANSWERS: Final = ("has_perm", "ahas_perm", *_SETS, *(f"a{name}" for name in _SETS))


class _Configured(NamedTuple):
    """A configured backend.

    A stock backend is one of Django's or ours without overridden permission methods, or has no
    permission methods. Its answers follow from Django's caches, from access methods, or from both.
    Every other backend is instantiated and asked in each check. If it has permission methods, it
    may decide on objects, unless its class has ``answers_for_objects = False``.
    """

    path: str
    backend: object
    is_stock: bool
    has_caches: bool
    asks_access_methods: bool
    decides_by_itself: bool
    answers_for_objects: bool


def _configured(path: str, backend: object) -> _Configured:
    from django.contrib.auth.backends import ModelBackend

    kind: Any = type(backend)
    is_stock = (
        all(map(_is_stock_class, kind.__mro__[:-1]))
        # It is instantiated without arguments or side effects.
        and import_string(path) is kind
        and (kind.__init__, kind.__new__) == (object.__init__, object.__new__)
    )
    decides_by_itself = not is_stock and any(hasattr(backend, name) for name in _ANSWERS)
    return _Configured(
        path,
        backend,
        is_stock,
        has_caches=is_stock and issubclass(definer(kind, "has_perm") or object, ModelBackend),
        asks_access_methods=is_stock and are_ours(backend, "has_perm", "ahas_perm"),
        decides_by_itself=decides_by_itself,
        answers_for_objects=decides_by_itself
        and getattr(backend, "answers_for_objects", True) is not False,
    )


class _Backends(NamedTuple):
    """All configured backends.

    They are usual if all are stock, one uses Django's caches, and one calls access methods.
    """

    epoch: object
    all: tuple[_Configured, ...]
    are_usual: bool


_known: _Backends | None = None


def configured_backends() -> _Backends:
    """Return the configured backends. They are inspected again when a setting has changed."""
    global _known  # noqa: PLW0603 - replaced as a whole
    known = _known
    if known is None or known.epoch is not conf.epoch:
        epoch = conf.epoch
        pairs = zip(settings.AUTHENTICATION_BACKENDS, get_backends(), strict=True)
        found = tuple(_configured(path, backend) for path, backend in pairs)
        are_usual = (
            all(each.is_stock for each in found)
            and any(each.has_caches for each in found)
            and any(each.asks_access_methods for each in found)
        )
        known = _known = _Backends(epoch, found, are_usual)
    return known


def require_lists(*, of_users: bool = False) -> None:
    """Raise an error if lists can't be right with the configured backends.

    Args:
        of_users: Whether users are listed, and not objects for one user.

    Raises:
        ImproperlyConfigured: A backend may decide by rules of its own, or one is missing.
    """
    backends = configured_backends().all
    for each in backends:
        if each.answers_for_objects:
            raise ImproperlyConfigured(
                f"{each.path} may also decide on objects, which a list can't take into account. If"
                " it never does, set `answers_for_objects = False` in its class."
            )
        if of_users and each.decides_by_itself:
            raise ImproperlyConfigured(
                f"{each.path} may grant or deny a permission at the model level, which a query for"
                " users can't take into account. Call `has_perm` of each user instead."
            )
    if not any(each.asks_access_methods for each in backends):
        raise ImproperlyConfigured(
            "No backend in AUTHENTICATION_BACKENDS calls access methods, so no permission on an"
            " object is ever granted. Use djem_async.auth.ModelBackend in place of Django's."
        )
    if of_users and not any(each.has_caches for each in backends):
        raise ImproperlyConfigured(
            "No backend in AUTHENTICATION_BACKENDS checks the model level, so no user has a"
            " permission there. Use djem_async.auth.ModelBackend."
        )


def answers(
    check: Check, name: str, *args: Any, by_methods: Callable[[], Flow[bool]] | None = None
) -> Iterator[Flow[bool]]:
    """Ask all backends for a decision, one after the other.

    Our own backend decides by the access methods of an object, and abstains without one.
    """
    for each in configured_backends().all:
        if not each.is_stock:
            method = _forms_of(load_backend(each.path), name)
            answer = ask(method, check.user, *args, scope=check.calling())
            yield _attributed(check, each.path, Reason.OTHER_BACKEND, answer)
        elif each.has_caches and by_methods is None:
            answer = _ask_caches(check, each.backend, name, *args)
            yield _attributed(check, each.path, Reason.MODEL_LEVEL, answer)
        if each.asks_access_methods and by_methods is not None:
            yield by_methods()


def _attributed(check: Check, path: str, reason: Reason, answer: Flow[bool]) -> Flow[bool]:
    """Record that the answer of a backend decides."""
    try:
        granted = yield from answer
    except PermissionDenied:
        check.is_vetoed = True
        check.because(Reason.VETO, path)
        raise
    except Exception:
        check.because(reason, path)  # and not what was asked before
        raise
    if granted:
        check.because(reason, path)
    return granted


def ask(method: Forms, *args: object, scope: Scope = nullcontext) -> Flow[bool]:
    """Ask a method for a decision.

    Args:
        method: The method.
        *args: Its arguments.
        scope: Makes a context manager in which the call runs.
    """
    if not is_defined(method):
        return False
    call = Call(*method, args, scope=scope)
    return (yield from decision_of((yield call), call.label))


def _ask_caches(check: Check, backend: Any, name: str, *args: Any) -> Flow[bool]:
    """Ask one of Django's backends in place, after fetching what it needs."""
    # As in Django: nothing is fetched for inactive users, who have no permissions.
    if not (yield from where_allowed(is_active, check.user)):
        return False
    caches = yield from where_allowed(_caches_of, check)
    # Another check may clear what has just been fetched.
    while "_perm_cache" not in caches:
        yield Call(_fetch, None, (backend, check), scope=check.calling())
        if not (yield from where_allowed(is_active, check.user)):
            return False

    def held() -> bool:
        with check.calling()():
            return bool(getattr(backend, name)(check.user, *args))

    return (yield from where_allowed(held))


def _caches_of(check: Check) -> Caches:
    """Return the dict with Django's caches of the user of a check."""
    user = check.user
    # `OLPMixin` keeps them with the decisions, other users as attributes.
    is_kept = hasattr(type_of(user), "_perm_cache")
    return check.generation.caches_of(user) if is_kept else user.__dict__


def _fetch(backend: ModelBackend, check: Check) -> None:
    caches = _caches_of(check)
    if "_perm_cache" in caches:
        return  # other checks have waited for the same thread
    fill_permission_caches(backend, check.user)
    if not caches.keys() >= {"_user_perm_cache", "_group_perm_cache"}:
        # The user was inactive for a moment. Django may have cached an empty set meanwhile.
        caches.pop("_perm_cache", None)


def _forms_of(backend: object, name: str, only: Form | None = None) -> Forms:
    form = only or _forms(type_of(backend)).get(name)
    own = _forms_in(getattr(backend, "__dict__", {}), name)
    if len(own) == 1:  # nearer than what the class has
        (form,) = own
    return (
        None if form == "async" else attribute(backend, name, None),
        None if form == "sync" else attribute(backend, f"a{name}", None),
    )


def collect(check: Check, name: str, obj: object) -> Flow[set[str]]:
    """Unite the permission sets of all backends."""
    permissions: set[str] = set()
    for each in configured_backends().all:
        backend = each.backend if each.is_stock else load_backend(each.path)
        if obj is not None and each.has_caches and not each.asks_access_methods:
            continue  # Django's own backend has no say about objects
        # Only the sync form of Django's backend fills Django's caches.
        is_filling = each.has_caches and obj is None
        method = _forms_of(backend, name, only="sync" if is_filling else None)
        if is_defined(method):
            found: Any = yield Call(*method, (check.user, obj), scope=check.calling())
            permissions.update(found)
    return permissions
