"""System checks: mistakes that would change who may do what, found before the code runs."""

from collections.abc import Iterator, Sequence
from inspect import isfunction
from typing import Any, Final

from django.apps import AppConfig
from django.conf import settings
from django.contrib.auth import get_user_model
from django.contrib.auth.backends import BaseBackend, ModelBackend
from django.contrib.auth.models import PermissionsMixin
from django.core.checks import CheckMessage, Error, Info
from django.core.checks import Warning as CheckWarning
from django.db.models import Model
from django.utils.module_loading import import_string

from .._backends import configured_backends, overridden_form
from ..auth.backends import ObjectPermissionsBackend
from ..conf import misspelt_settings, setting_problems
from ..models import OLPMixin
from ._access_methods import access_methods, check_access_methods, models_of, signature_of
from ._databases import check_databases
from ._permissions import check_permissions

__all__ = [
    "check_access_methods",
    "check_backends",
    "check_databases",
    "check_permissions",
    "check_settings",
    "check_user_model",
]

_BOTH: Final = "djem_async.auth.ModelBackend"
_DJANGOS: Final = "django.contrib.auth.backends.ModelBackend"
_PERMISSION_METHODS: Final = (
    "has_perm",
    "has_module_perms",
    "get_all_permissions",
    "get_user_permissions",
    "get_group_permissions",
)
# The methods of `OLPMixin` that don't call `super()`.
_HIDDEN: Final = tuple(form for name in _PERMISSION_METHODS for form in (name, f"a{name}"))


def check_settings(
    *, app_configs: Sequence[AppConfig] | None = None, **kwargs: Any
) -> list[CheckMessage]:
    """Find ``DJEM_*`` settings that are misspelt, or whose values are not allowed.

    Args:
        app_configs: The apps that are checked, None for all.
        **kwargs: Ignored.
    """
    wrong = [
        Error(problem, hint="Correct it in your settings, or remove it.", id="djem_async.E004")
        for problem in setting_problems()
    ]
    misspelt = [
        CheckWarning(
            f"The setting {name} does not exist, so it has no effect.",
            hint=f"Did you mean {guess}?",
            id="djem_async.W016",
        )
        for name, guess in misspelt_settings().items()
    ]
    return [*wrong, *misspelt]


def check_user_model(
    *, app_configs: Sequence[AppConfig] | None = None, **kwargs: Any
) -> list[CheckMessage]:
    """Find user models that use `OLPMixin` in a way that leaves it without effect.

    Args:
        app_configs: The apps that are checked, None for all.
        **kwargs: Ignored.
    """
    messages: list[CheckMessage] = []
    for model in models_of(app_configs):
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
        messages.extend(_overrides_with_none(model))
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
                    hint=f"Override both, or only {name}(), which a{name}() then calls.",
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


def _overrides_with_none(model: type[Model]) -> Iterator[CheckMessage]:
    """Find overrides that turn a check without an object into one on an explicit None."""
    ahead = model.__mro__[: model.__mro__.index(OLPMixin)]
    for base in (base for base in ahead if not base.__module__.startswith("django.")):
        for name in ("has_perm", "ahas_perm", "has_perms", "ahas_perms"):
            method: Any = vars(base).get(name)
            obj = signature_of(method).parameters.get("obj") if isfunction(method) else None
            if obj is not None and obj.default is None:
                first = "perm_list" if name.endswith("s") else "perm"
                yield CheckWarning(
                    f"{base.__name__}.{name}() has the parameter `obj=None`. If it passes None on,"
                    " checks inside access methods are denied, even if the caller left the object"
                    " out.",
                    hint=f"Write `def {name}(self, {first}, *args, **kwargs)` and pass both on, or"
                    " only pass obj on if the caller gave it.",
                    obj=model,
                    id="djem_async.W015",
                )


def check_backends(
    *, app_configs: Sequence[AppConfig] | None = None, **kwargs: Any
) -> list[CheckMessage]:
    """Find authentication backends that are missing, out of order, half async, or in conflict.

    Args:
        app_configs: The apps that are checked, None for all.
        **kwargs: Ignored.
    """
    backends = [import_string(path) for path in settings.AUTHENTICATION_BACKENDS]
    ours = [issubclass(backend, ObjectPermissionsBackend) for backend in backends]
    if not any(ours):
        return [*_missing_backend(app_configs), *_half_backends(backends)]
    messages: list[CheckMessage] = [*_half_backends(backends), *_other_backends()]
    if not any(_loads_users(backend) for backend in backends[: ours.index(True) + 1]):
        messages.append(
            CheckWarning(
                "djem_async.auth.ObjectPermissionsBackend is listed in AUTHENTICATION_BACKENDS"
                " before every backend that can load users. Code that uses the first backend to"
                " sign users in, such as force_login() in tests, then signs in nobody.",
                hint=f"Use {_BOTH}, which can load users, or list {_DJANGOS} first.",
                id="djem_async.W003",
            )
        )
    if set(backends) == {ModelBackend, ObjectPermissionsBackend}:
        messages.append(
            Info(
                "With Django's ModelBackend and ObjectPermissionsBackend as two backends, Django's"
                " login(request, user) and User.objects.with_perm(perm) need `backend=`.",
                hint=f"Use {_BOTH} in place of both. Users who are signed in then have to sign in"
                " again, because sessions name the backend.",
                id="djem_async.I001",
            )
        )
    return messages


def _missing_backend(app_configs: Sequence[AppConfig] | None) -> Iterator[CheckMessage]:
    models = [model.__name__ for model in models_of(app_configs) if any(access_methods(model))]
    if models or issubclass(get_user_model(), OLPMixin):
        unused = f"the access methods of {', '.join(models)}" if models else "access methods"
        yield CheckWarning(
            f"No backend in AUTHENTICATION_BACKENDS calls {unused}, so only superusers have"
            " permissions on objects.",
            hint=f"Use {_BOTH} in place of {_DJANGOS}.",
            id="djem_async.W002",
        )


def _half_backends(backends: Sequence[type]) -> Iterator[CheckMessage]:
    if issubclass(get_user_model(), OLPMixin):
        return  # its users call a backend through the form that it defines
    for path, backend in zip(settings.AUTHENTICATION_BACKENDS, backends, strict=True):
        only = {name: overridden_form(backend, name) for name in _PERMISSION_METHODS}
        if issubclass(backend, ObjectPermissionsBackend):
            # Its async methods follow overrides of the sync ones.
            only = {name: form for name, form in only.items() if form == "async"}
        alone = [f"{'a' if form == 'async' else ''}{name}()" for name, form in only.items() if form]
        if alone:
            yield CheckWarning(
                f"{path} defines {', '.join(alone)} in one form only, sync or async, so has_perm()"
                " and ahas_perm() may give different answers.",
                hint="Let the user model inherit OLPMixin, whose users call a backend through the"
                " form that it defines, or add the other form in a subclass of the backend.",
                id="djem_async.W005",
            )


def _other_backends() -> Iterator[CheckMessage]:
    """Find backends that decide on objects, which are open to ours unless the settings say so."""
    for each in configured_backends().all:
        is_ours = issubclass(type(each.backend), ObjectPermissionsBackend)
        is_chosen = hasattr(settings, "DJEM_OPEN_BY_DEFAULT")
        if each.answers_for_objects and not is_ours and not is_chosen:
            yield CheckWarning(
                f"{each.path} may decide on objects, too. Where an object has no access method for"
                " a permission, djem_async grants it to all users who have it at the model level,"
                f" even if {each.path} doesn't grant it.",
                hint="Set DJEM_OPEN_BY_DEFAULT = False, so that only access methods grant, or True"
                " to keep these objects open. If the backend never decides on objects, set"
                " `answers_for_objects = False` in its class.",
                id="djem_async.W014",
            )


def _loads_users(backend: type) -> bool:
    get_user = getattr(backend, "get_user", None)
    return get_user is not None and get_user is not BaseBackend.get_user
