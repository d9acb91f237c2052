"""System checks: mistakes that would change who may do what, found before the code runs."""

import sys
from collections.abc import Iterator, Sequence
from difflib import get_close_matches
from functools import partialmethod
from inspect import Signature, getattr_static, signature, unwrap
from typing import Any, Final, NamedTuple, cast

from django.apps import AppConfig, apps
from django.conf import settings
from django.contrib.auth import get_permission_codename, get_user_model
from django.contrib.auth.backends import BaseBackend
from django.contrib.auth.models import PermissionsMixin
from django.core.checks import CheckMessage, Error
from django.core.checks import Warning as CheckWarning
from django.db.models import Model
from django.utils.functional import cached_property
from django.utils.module_loading import import_string

from .._backends import overridden_form
from .._lineage import lineage
from .._twins import is_async
from ..access import SOURCES, Source, method_names
from ..auth.backends import ObjectPermissionsBackend
from ..conf import setting_problems
from ..models import OLPMixin
from ._annotations import annotation_problems, place_of

_BACKEND: Final = "djem_async.auth.ObjectPermissionsBackend"
_PERMISSION_METHODS: Final = (
    "has_perm",
    "has_module_perms",
    "get_all_permissions",
    "get_user_permissions",
    "get_group_permissions",
)
# What `OLPMixin` answers without the classes behind it.
_HIDDEN: Final = tuple(form for name in _PERMISSION_METHODS for form in (name, f"a{name}"))
_METHOD_PREFIXES: Final = tuple(
    (prefix, index == 1)
    for source in SOURCES
    for index, prefix in enumerate(method_names(source, ""))
)


def check_settings(
    *, app_configs: Sequence[AppConfig] | None = None, **kwargs: Any
) -> list[CheckMessage]:
    """Find ``DJEM_*`` settings with values that are not allowed.

    Args:
        app_configs: The apps that are checked, None for all.
        **kwargs: Ignored.
    """
    return [
        Error(problem, hint="Correct it in your settings, or remove it.", id="djem_async.E004")
        for problem in setting_problems()
    ]


def check_user_model(
    *, app_configs: Sequence[AppConfig] | None = None, **kwargs: Any
) -> list[CheckMessage]:
    """Find user models that use `OLPMixin` in a way that leaves it without effect.

    Args:
        app_configs: The apps that are checked, None for all.
        **kwargs: Ignored.
    """
    messages: list[CheckMessage] = []
    for model in _models(app_configs):
        if not issubclass(model, OLPMixin):
            continue
        order = model.__mro__
        if PermissionsMixin in order and order.index(OLPMixin) > order.index(PermissionsMixin):
            messages.append(
                Error(
                    f"{model.__name__} lists OLPMixin after AbstractUser or PermissionsMixin, so"
                    " the mixin's permission methods are never called.",
                    hint=f"List it first: class {model.__name__}(OLPMixin, AbstractUser).",
                    obj=model,
                    id="djem_async.E001",
                )
            )
        messages.extend(_half_overrides(model))
        messages.extend(_hidden_overrides(model))
    if not issubclass(get_user_model(), OLPMixin):
        messages.extend(
            CheckWarning(
                f"{name} is set, but has no effect: the user model {settings.AUTH_USER_MODEL} does"
                " not inherit OLPMixin.",
                hint="List djem_async.models.OLPMixin first among the bases of the user model, or"
                " remove the setting.",
                id="djem_async.W004",
            )
            for name in ("DJEM_UNIVERSAL_OLP", "DJEM_PERM_LOG_VERBOSITY")
            if getattr(settings, name, None)
        )
    return messages


def _half_overrides(model: type[Model]) -> Iterator[CheckMessage]:
    """Find classes that override the async form of a method of `OLPMixin` alone.

    The reverse is fine: the mixin's async methods follow overrides of the sync ones.
    """
    for name in ("has_perm", "has_perms", "has_module_perms"):
        for base in model.__mro__[: model.__mro__.index(OLPMixin)]:
            if f"a{name}" in vars(base) and name not in vars(base):
                yield CheckWarning(
                    f"{base.__name__} overrides a{name}() but not {name}(), so sync and async"
                    " checks may differ.",
                    hint=f"Override {name}() as well, or {name}() alone: a{name}() follows it.",
                    obj=model,
                    id="djem_async.W006",
                )


def _hidden_overrides(model: type[Model]) -> Iterator[CheckMessage]:
    """Find classes whose overrides are never called, because `OLPMixin` does the work itself."""
    order = model.__mro__
    for base in order[order.index(OLPMixin) + 1 :]:
        if not base.__module__.startswith("django."):
            for name in _HIDDEN:
                if name in vars(base):
                    yield CheckWarning(
                        f"{base.__name__}.{name}() is never called: OLPMixin is listed ahead of"
                        f" {base.__name__} and replaces it.",
                        hint=f"Override {name}() in {model.__name__}, or in a class that is listed"
                        " ahead of OLPMixin.",
                        obj=model,
                        id="djem_async.W007",
                    )


class _AccessMethod(NamedTuple):
    name: str
    codename: str
    is_twin: bool
    method: Any


def check_access_methods(
    *, app_configs: Sequence[AppConfig] | None = None, **kwargs: Any
) -> list[CheckMessage]:
    """Find access methods that cannot work, or that no permission will ever ask.

    Args:
        app_configs: The apps that are checked, None for all.
        **kwargs: Ignored.
    """
    return [
        message
        for model in _models(app_configs)
        for access in _access_methods(model)
        for message in _check_access_method(model, access)
    ]


def _check_access_method(model: type[Model], access: _AccessMethod) -> Iterator[CheckMessage]:
    title = f"{model.__name__}.{access.name}"
    source: Source = "group" if "group_can_" in access.name else "user"
    argument = "groups" if source == "group" else "user"
    if not callable(access.method):
        yield Error(
            f"{title} is {access.method!r}, which is not a method.",
            hint=f"Write it as a method that takes the {argument}, or remove it.",
            obj=model,
            id="djem_async.E005",
        )
        return
    if not _takes_one_argument(access.method):
        yield Error(
            f"{title} cannot be called with one argument, the {argument}.{place_of(access.method)}",
            hint=f"Write it as `def {access.name}(self, {argument})`.",
            obj=model,
            id="djem_async.E002",
        )
    else:
        for problem in annotation_problems(access.method, source):
            yield CheckWarning(
                f"{title} {problem}, going by its annotations.{place_of(access.method)}",
                hint="Correct the annotation, or the method.",
                obj=model,
                id="djem_async.W008",
            )
    if access.is_twin and not (is_async(access.method) or is_async(unwrap(access.method))):
        yield Error(
            f"{title} is not `async def`, although its name says so.{place_of(access.method)}",
            hint=f"Declare it with `async def`, or name it {access.name.replace('_a', '_', 1)}.",
            obj=model,
            id="djem_async.E003",
        )
    known = _codenames(model)
    if access.codename not in known:
        guesses = get_close_matches(access.codename, known, n=1)
        end = place_of(access.method) + (f" Did you mean {guesses[0]}?" if guesses else "")
        yield CheckWarning(
            f"{title} is for a permission that {model.__name__} does not have, so it may never be"
            f" asked, and a permission that it was meant for is open.{end}",
            hint=f"Correct the name, or add {access.codename!r} to Meta.permissions.",
            obj=model,
            id="djem_async.W001",
        )


def check_backends(
    *, app_configs: Sequence[AppConfig] | None = None, **kwargs: Any
) -> list[CheckMessage]:
    """Find authentication backends that are missing, out of order, or half async.

    Args:
        app_configs: The apps that are checked, None for all.
        **kwargs: Ignored.
    """
    messages: list[CheckMessage] = []
    backends = [import_string(path) for path in settings.AUTHENTICATION_BACKENDS]
    ours = [issubclass(backend, ObjectPermissionsBackend) for backend in backends]
    if not any(ours):
        models = [
            model.__name__
            for model in _models(app_configs)
            if any(True for _ in _access_methods(model))
        ]
        if models or issubclass(get_user_model(), OLPMixin):
            unused = f"the access methods of {', '.join(models)}" if models else "access methods"
            messages.append(
                CheckWarning(
                    f"{_BACKEND} is missing from AUTHENTICATION_BACKENDS, so nothing asks {unused}:"
                    " nobody but superusers has a permission on an object.",
                    hint="Add it after django.contrib.auth.backends.ModelBackend.",
                    id="djem_async.W002",
                )
            )
    elif not any(_loads_users(backend) for backend in backends[: ours.index(True)]):
        messages.append(
            CheckWarning(
                f"{_BACKEND} is listed in AUTHENTICATION_BACKENDS before every backend that can"
                " load users. Code that signs users in with the first backend, as tests"
                " and session tools do, then signs in nobody.",
                hint="List it after django.contrib.auth.backends.ModelBackend.",
                id="djem_async.W003",
            )
        )
    for path, backend in zip(settings.AUTHENTICATION_BACKENDS, backends, strict=True):
        only = {name: overridden_form(backend, name) for name in _PERMISSION_METHODS}
        if issubclass(backend, ObjectPermissionsBackend):
            # Its async methods follow overrides of the sync ones.
            only = {name: form for name, form in only.items() if form == "async"}
        alone = [f"{'a' if form == 'async' else ''}{name}()" for name, form in only.items() if form]
        if alone:
            messages.append(
                CheckWarning(
                    f"{path} has {', '.join(alone)} in one form only, sync or async, so has_perm()"
                    " and ahas_perm() may differ for user models without OLPMixin.",
                    hint="Use OLPMixin, which asks a backend in the form that it has, or add the"
                    " other form in a subclass of the backend.",
                    id="djem_async.W005",
                )
            )
    return messages


def _models(app_configs: Sequence[AppConfig] | None) -> Iterator[type[Model]]:
    for config in apps.get_app_configs() if app_configs is None else app_configs:
        yield from config.get_models()


def _access_methods(model: type[Model]) -> Iterator[_AccessMethod]:
    names = {name for base in model.__mro__ for name in vars(base)}
    for name in sorted(names):
        for prefix, is_twin in _METHOD_PREFIXES:
            if name.startswith(prefix):
                attribute: object = getattr_static(model, name)
                if not isinstance(attribute, (property, cached_property)):
                    # What a property returns is only known for an instance.
                    method = _bound(attribute, model)
                    yield _AccessMethod(name, name.removeprefix(prefix), is_twin, method)


def _bound(attribute: Any, model: type[Model]) -> Any:
    is_method = callable(attribute) or issubclass(type(attribute), (classmethod, partialmethod))
    if not is_method:
        return attribute
    bind: Any = getattr(cast("Any", attribute), "__get__", None)
    return attribute if bind is None else bind(object(), model)


def _takes_one_argument(method: Any) -> bool:
    try:
        _signature(method).bind(None)
    except TypeError:
        return False
    except ValueError:
        return True  # written in C, and tells nothing
    return True


def _signature(method: Any) -> Signature:
    if sys.version_info >= (3, 14):  # pragma: no cover - measured on one Python only
        from annotationlib import Format

        # By default it evaluates annotations, of which some are for type checkers only.
        return signature(method, annotation_format=Format.FORWARDREF)
    return signature(method)


def _codenames(model: type[Model]) -> set[str]:
    """Collect the permissions of a model and of the models that it inherits from."""
    codenames: set[str] = set()
    for opts in lineage(model):
        codenames.update(
            get_permission_codename(action, opts) for action in opts.default_permissions
        )
        codenames.update(codename for codename, _ in opts.permissions)
    return codenames


def _loads_users(backend: type) -> bool:
    get_user = getattr(backend, "get_user", None)
    return get_user is not None and get_user is not BaseBackend.get_user
