"""Lists: the objects on which a permission is granted, as a condition for a query."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, TypeAlias, TypeVar, cast

from django.core.exceptions import ImproperlyConfigured, SynchronousOnlyOperation
from django.db import NotSupportedError
from django.db.models import Model, QuerySet
from django.db.models.expressions import Combinable
from django.db.models.manager import BaseManager

from ._backends import configured_backends, require_lists
from ._check_logs import unlogged
from ._conditions import RENAME, Alternatives, as_expression, columns_of, restrict
from ._decision import MethodsCheck
from ._driving import arun, arun_in_thread
from ._flow import Flow
from ._lazy import checked_name, is_lazy, loaded
from ._lineage import model_of
from ._methods import Source, find_query_forms, require_permission
from ._objects import UserCheck
from ._running import Check
from ._store import generation_of
from ._telling import traced
from ._twins import are_ours
from ._users import asks_backends, checked_user, is_active
from .conf import conf

T = TypeVar("T")
Granted: TypeAlias = bool | Alternatives
QueryForms: TypeAlias = dict[Source, Callable[[Any], object]]
_NONE: Final[Mapping[type[Model], Granted]] = {}


def granted_rows(user: Any, perm: str, model: type[Model]) -> Flow[Granted]:
    """Decide on which objects of a model a user has a permission.

    Returns:
        The conditions of which a row has to meet one, or a bool for all rows.

    Raises:
        ImproperlyConfigured: The permission isn't the model's, an access method has no query form,
            or another backend decides on objects.
    """
    if not _is_model(model):
        raise TypeError(f"The model must be a model class, not {type(model).__name__}.")
    perm = require_permission(perm, model)
    require_lists()
    forms = find_query_forms(model, perm)
    user = checked_user((yield from loaded(user)))
    check = Check(user)
    return (yield from traced(check, perm, model, _decided(check, perm, model, forms)))


def _decided(check: Check, perm: str, model: type[Model], forms: QueryForms) -> Flow[Granted]:
    with check.deciding("list", perm, model), unlogged(check):
        return (yield from _ListCheck(check, perm, model, forms).decide())


class _ListCheck(UserCheck[Alternatives], MethodsCheck[Alternatives]):
    """One permission of one user on all objects of a model."""

    def __init__(self, check: Check, perm: str, model: type[Model], forms: QueryForms) -> None:
        super().__init__(check, perm)
        self._model = model
        self._forms = forms
        # Evaluated before the model level is fetched, because that may move the flow to the thread.
        self._is_blocking = not _is_known(check.user)

    @property
    def is_open(self) -> bool:
        return conf.DJEM_OPEN_BY_DEFAULT

    def exempt_sources(self) -> Flow[Sequence[Source]]:
        return self.sources_among(self.exemptions_of(self._model))

    def is_vetoed(self) -> Flow[bool]:
        if not asks_backends(self._user):
            raise ImproperlyConfigured(
                f"{type(self._user).__name__}.has_perm is overridden and denies {self._perm} for an"
                " unknown reason. Access methods may grant it without the model level, so it can't"
                " be listed. Call `has_perm` for each object instead."
            )
        return super().is_vetoed()

    def methods(self) -> Sequence[Source]:
        return list(self._forms)

    def ask(self, source: Source) -> Flow[bool | Alternatives]:
        form = self._forms[source]
        granted, entries = yield from self.ask_form(source, form, blocking=self._is_blocking)
        self.because_of(source, self._model, entries, is_list=True)
        return granted


def expression_for(user: object, perm: str, model: type[Model]) -> Flow[Combinable]:
    """Return the condition of a list as an expression, see `granted_rows`."""
    granted = yield from granted_rows(user, perm, model)
    return as_expression(model, granted)


def queryset_for(
    user: object, perm: str, klass: object, known: Mapping[type[Model], Granted] = _NONE
) -> Flow[QuerySet[Any]]:
    """Return the objects on which a user has a permission, see `granted_rows`.

    Args:
        user: The user.
        perm: The permission.
        klass: The model, a manager or a queryset; None for the permission's model.
        known: Results of `granted_rows` by model.

    Raises:
        TypeError: ``klass`` can't be filtered by permissions.
        NotSupportedError: It is a combination of querysets.
    """
    queryset = _queryset_of(klass, perm)
    granted = known.get(queryset.model)
    if granted is None:
        granted = yield from granted_rows(user, perm, queryset.model)
    return restrict(queryset, granted)


def _queryset_of(klass: Any, perm: object) -> QuerySet[Any]:
    if klass is None:
        klass = model_of(checked_name(perm))
    if _is_model(klass):
        klass = klass._default_manager
    queryset: Any = cast("Any", klass).all() if isinstance(klass, BaseManager) else klass
    if not issubclass(type(queryset), QuerySet):
        raise TypeError(f"{klass!r} can't be filtered. Pass a model, a manager or a queryset.")
    query: Any = queryset.query
    if not {"pk", *columns_of(query.model)}.isdisjoint(query.annotations):
        raise TypeError(RENAME)
    if query.is_sliced:
        raise TypeError("The queryset has been sliced. Filter it by permissions before slicing it.")
    if query.combinator:
        raise NotSupportedError(
            f"A {query.combinator} of querysets can't be filtered. Filter each of them by"
            " permissions before combining them."
        )
    found: QuerySet[Any] = queryset
    return found


def _is_model(klass: object) -> bool:
    return isinstance(klass, type) and issubclass(klass, Model)


async def arun_list(user: Any, flow: Flow[T]) -> T:
    """Run the flow of a list, in the thread if something has to be fetched."""
    return await (arun(flow) if _is_known(user) else arun_in_thread(flow))


def _is_known(user: Any) -> bool:
    """Tell whether the model level of a user is known without a query."""
    if is_lazy(user) or not are_ours(user, "has_perm", "ahas_perm"):
        return False
    try:
        caches = generation_of(user).caches_of(user)
        is_known = "_perm_cache" in caches or user.is_superuser or not is_active(user)
    except SynchronousOnlyOperation:
        return False
    return is_known and configured_backends().are_usual
