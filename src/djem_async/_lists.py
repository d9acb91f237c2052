"""Lists: which objects of a model a permission is granted on, as a condition for a query."""

from collections.abc import Callable, Sequence
from typing import Any, TypeVar, cast

from django.db import NotSupportedError
from django.db.models import Model, QuerySet
from django.db.models.expressions import Combinable
from django.db.models.manager import BaseManager

from ._backends import configured_backends, require_lists
from ._check_logs import unlogged
from ._conditions import RENAME, Alternatives, as_expression, columns_of, restrict
from ._decision import decide, decide_by_methods
from ._driving import arun, arun_in_thread
from ._flow import Flow
from ._lazy import checked_name, is_lazy, loaded
from ._lineage import model_of
from ._objects import PermissionCheck, is_active, is_granted_everything
from ._running import Check
from ._store import permission_cache
from ._twins import are_ours
from .access import Source, find_query_forms, require_permission

T = TypeVar("T")


def granted_rows(user: Any, perm: str, model: type[Model]) -> Flow[bool | Alternatives]:
    """Decide on which objects of a model a user has a permission.

    Args:
        user: The user.
        perm: The permission.
        model: The model.

    Returns:
        The conditions of which a row has to meet one, or what holds for all of them.

    Raises:
        ImproperlyConfigured: No list can be right: of a model that doesn't own the permission, of
            an access method without a query form, or next to a backend that decides on objects.
    """
    if not _is_model(model):
        raise TypeError(f"The model must be a model class, not {type(model).__name__}.")
    perm = require_permission(perm, model)
    require_lists()
    forms = find_query_forms(model, perm)
    user = yield from loaded(user)
    if not hasattr(user, "has_perm"):
        raise TypeError(f"The user must be a user, not {type(user).__name__}.")
    check = Check(user)
    with check.deciding("list", perm, model), unlogged(check):
        return (yield from decide(_ListCheck(check, perm, forms)))


class _ListCheck(PermissionCheck):
    """One permission of one user on all objects of a model."""

    def __init__(
        self, check: Check, perm: str, forms: dict[Source, Callable[[Any], object]]
    ) -> None:
        super().__init__(check, perm)
        self._forms = forms
        # Asked before the model level is fetched: a flow that does so in the thread stays there.
        self._is_blocking = not _is_known(check.user)

    @property
    def is_implicit(self) -> bool:
        return is_granted_everything(self._user)

    def object_level(self) -> Flow[bool | Alternatives]:
        return decide_by_methods(self)

    def methods(self) -> Sequence[Source]:
        return list(self._forms)

    def ask(self, source: Source) -> Flow[bool | Alternatives]:
        form = self._forms[source]
        granted, _ = yield from self.ask_form(source, form, blocking=self._is_blocking)
        return granted


def expression_for(user: object, perm: str, model: type[Model]) -> Flow[Combinable]:
    """Return the condition of a list as an expression, see `granted_rows`."""
    granted = yield from granted_rows(user, perm, model)
    return as_expression(model, granted)


def queryset_for(user: object, perm: str, klass: object) -> Flow[QuerySet[Any]]:
    """Return the objects on which a user has a permission, see `granted_rows`.

    Raises:
        TypeError: ``klass`` can't be filtered by permissions.
        NotSupportedError: It is a combination of querysets.
    """
    queryset = _queryset_of(klass, perm)
    granted = yield from granted_rows(user, perm, queryset.model)
    return restrict(queryset, granted)


def _queryset_of(klass: Any, perm: object) -> QuerySet[Any]:
    if klass is None:
        klass = model_of(checked_name(perm))
    if _is_model(klass):
        klass = klass._default_manager
    queryset: Any = cast("Any", klass).all() if isinstance(klass, BaseManager) else klass
    if not issubclass(type(queryset), QuerySet):
        raise TypeError(f"{klass!r} can't be filtered. Give a model, a manager or a queryset.")
    query: Any = queryset.query
    if not {"pk", *columns_of(query.model)}.isdisjoint(query.annotations):
        raise TypeError(RENAME)
    if query.is_sliced:
        raise TypeError("The queryset has been sliced. Filter it by permissions before that.")
    if query.combinator:
        raise NotSupportedError(
            f"A {query.combinator} of querysets can't be filtered. Filter each of them by"
            " permissions before that."
        )
    found: QuerySet[Any] = queryset
    return found


def _is_model(klass: object) -> bool:
    return isinstance(klass, type) and issubclass(klass, Model)


async def arun_list(user: Any, flow: Flow[T]) -> T:
    """Run the flow of a list: in place if nothing has to be fetched, else in the thread."""
    return await (arun(flow) if _is_known(user) else arun_in_thread(flow))


def _is_known(user: Any) -> bool:
    """Tell whether the model level of a user follows from what is remembered."""
    if is_lazy(user) or not are_ours(user, "has_perm", "ahas_perm"):
        return False
    caches = permission_cache(user).generation.caches_of(user)
    is_known = "_perm_cache" in caches or user.is_superuser or not is_active(user)
    return is_known and configured_backends().are_usual
