"""Plans: how to ask the one access method of a class, found out once for all of its objects."""

from __future__ import annotations

from types import MethodType
from typing import TYPE_CHECKING, Any, Final
from weakref import WeakKeyDictionary

from ._twins import is_async
from .access import SOURCES, Source, find_access_method, is_nonblocking, names_for

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ._twins import Forms

_MISSING: Final = object()


class MethodPlan:
    """How to ask the access method of a class for a permission, found out once for all objects.

    Args:
        names: The names of all access methods for the permission, each with the function that the
            class has under it, if any.
        source: The source of the one that is asked.
        sync_form: The name of its sync form, if any.
        async_form: The name of its async form, if any.
        is_blocking: Whether the sync form may do I/O.
    """

    __slots__ = (
        "_async_form",
        "_defined",
        "_missing",
        "_sync_form",
        "is_blocking",
        "needs_thread",
        "source",
    )

    def __init__(
        self,
        names: Sequence[tuple[str, object]],
        source: Source,
        *,
        sync_form: str | None,
        async_form: str | None,
        is_blocking: bool,
    ) -> None:
        self._defined = tuple(pair for pair in names if pair[1] is not _MISSING)
        self._missing = tuple(name for name, function in names if function is _MISSING)
        self.source: Source = source
        self._sync_form = sync_form
        self._async_form = async_form
        self.is_blocking = is_blocking
        # Whether async code has to ask in a thread.
        self.needs_thread = is_blocking and async_form is None

    def forms_of(self, obj: object) -> Forms | None:
        """Return the forms of the method of an object. The sync form is not ``async def``.

        Args:
            obj: The object.

        Returns:
            The forms; None if the plan is not for this object, because it has methods of its own,
            or because its class has got others.
        """
        kind = type(obj)
        sync_form = async_form = None
        try:
            for name in self._missing:
                if (
                    getattr(obj, name, _MISSING) is not _MISSING
                    or getattr(kind, name, _MISSING) is not _MISSING
                ):
                    return None
            for name, function in self._defined:
                method: Any = getattr(obj, name)
                if type(method) is not MethodType or (
                    method.__func__ is not function or method.__self__ is not obj
                ):
                    return None
                if name == self._sync_form:
                    sync_form = method
                elif name == self._async_form:
                    async_form = method
        except Exception:  # noqa: BLE001 - a property has failed, which whoever asks it will see
            return None
        return sync_form, async_form


_plans: WeakKeyDictionary[type, dict[str, MethodPlan]] = WeakKeyDictionary()


def plan_for(obj: object, perm: str) -> MethodPlan | None:
    """Find out how to ask the access method of an object and its like.

    Args:
        obj: The object.
        perm: The permission, ``app_label.codename``.

    Returns:
        The plan; None if there is no telling, because there is no method or more than one, or
        because methods are not plain functions of the class.
    """
    plans = _plans.setdefault(type(obj), {})
    codename = perm.rpartition(".")[2]
    plan = plans.get(codename)
    if plan is None or plan.forms_of(obj) is None:
        plan = _new_plan(obj, perm)
        if plan is not None:
            plans[codename] = plan
    return plan


def needs_thread(obj: object, perm: object) -> bool:
    """Tell whether async code has to ask the access method in a thread, as far as that is known.

    Args:
        obj: The object, or None.
        perm: The permission, ``app_label.codename``.
    """
    if type(perm) is not str:
        return False
    try:
        plan = _plans[type(obj)][perm.rpartition(".")[2]]
    except Exception:  # noqa: BLE001 - none is known, or the class is no key at all
        return False
    return plan.needs_thread


def _new_plan(obj: object, perm: str) -> MethodPlan | None:
    kind = type(obj)
    names: list[tuple[str, object]] = []
    asked: list[tuple[Source, Forms]] = []
    try:
        for source in SOURCES:
            forms = find_access_method(obj, source, perm)
            if forms is not None:
                asked.append((source, forms))
            pair = [(name, getattr(kind, name, _MISSING)) for name in names_for(source, perm)]
            names.extend(pair)
            is_pair = all(function is not _MISSING for _, function in pair)
            if is_pair and any(name in vars(obj) for name, _ in pair):
                return None  # of the two, this object may ask another one than its class
    except Exception:  # noqa: BLE001 - as above
        return None
    if len(asked) != 1:
        return None  # with two, what one does may matter for whether the other has to be asked
    ((source, (function, async_function)),) = asked
    name, async_name = names_for(source, perm)
    sync_form = None if function is None else name
    async_form = None if async_function is None else async_name
    if is_async(function):
        if async_function is not None:
            return None  # each API has its own
        sync_form, async_form = None, name
    plan = MethodPlan(
        names,
        source,
        sync_form=sync_form,
        async_form=async_form,
        is_blocking=not is_nonblocking(function),
    )
    return plan if plan.forms_of(obj) is not None else None
