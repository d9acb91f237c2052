"""Checks of a permission of a user on an object, by its access methods."""

from collections.abc import Callable, Sequence
from typing import Any

from django.core.exceptions import ImproperlyConfigured, PermissionDenied
from django.db.models import Model

from ._backends import answers, are_methods_decisive, ask
from ._cache import (
    SILENT,
    Decision,
    Generation,
    ObjectKey,
    Shortcut,
    Table,
    keep_sole,
    object_key,
)
from ._check_logs import MODEL_LEVEL_RESULTS
from ._decision import ObjectCheck, decide_by_methods, first_grant
from ._flow import Call, Flow, flow_of, truth
from ._plans import MethodPlan, plan_for
from ._running import Running
from ._twins import Forms, required_forms
from ._warm import learn_shortcut
from .access import SOURCES, Source, find_access_method, is_nonblocking, names_for, nonblocking
from .conf import conf
from .logs import Loggable, LogScope, model_level_result, write_entries


def _planned(
    user: Any, obj: Model, plan: MethodPlan | None, table: Table, pk: Any
) -> tuple[Source, Flow[bool]] | None:
    """Return which access method to ask and what asks it, None if it takes more than a plan."""
    # What is known in part is not asked again.
    forms = None if plan is None or pk in table else plan.forms_of(obj)
    if plan is None or forms is None:
        return None
    return plan.source, _by_plan(user, pk, table, plan, forms)


def _by_plan(user: Any, pk: Any, table: Table, plan: MethodPlan, forms: Forms) -> Flow[bool]:
    """Ask the one access method of an object, whose answer is the decision, and keep that.

    Args:
        user: The user.
        pk: The primary key of the object.
        table: The records of the object and its like.
        plan: How to ask.
        forms: The access method of the object, as `MethodPlan.forms_of` returns it.
    """
    function, async_function = forms
    call = Call(function, async_function, (_argument(user, plan.source),))
    # As keywords, these would take longer than the rest of the call.
    call.blocking, call.is_plain = plan.is_blocking, True
    decision = yield from _decision(user, call)
    keep_sole(table, pk, plan.source, decision)
    return decision.granted


def _by_shortcut(user: Any, obj: Model, shortcut: Shortcut) -> tuple[Source, Flow[bool]] | None:
    pk = getattr(obj, shortcut.pk_name)
    return _planned(user, obj, shortcut.plan, shortcut.table, pk)


class _ObjectCheck:
    """One permission of one user on one object, see `djem_async._decision.ObjectCheck`."""

    __slots__ = (
        "_asking",
        "_decisions",
        "_generation",
        "_keys",
        "_methods",
        "_obj",
        "_perm",
        "_shortcut",
        "_user",
    )

    def __init__(self, user: Any, perm: str, obj: Model, generation: Generation) -> None:
        self._user = user
        self._perm = perm
        self._obj = obj
        self._generation = generation
        self._methods: dict[Source, Forms] = {}
        # Where the answer is to be kept, once that is known, and what is left of the check then.
        self._shortcut: Shortcut | None = None
        self._asking: Flow[bool] | None = None
        self._keys: set[ObjectKey | None] = set()
        self._decisions: dict[Source, Decision] = {}

    @property
    def is_active(self) -> bool:
        return is_active(self._user)

    @property
    def is_implicit(self) -> bool:
        return is_implicit(self._user)

    def model_level(self) -> Flow[bool]:
        # Through the user, so that every backend has its say.
        user = self._user
        flow = flow_of(user, "has_perm")
        if flow is None:
            granted = yield from ask(required_forms(user, "has_perm"), self._perm)
        else:
            granted = yield from flow(user, self._perm)
        if isinstance(user, Loggable):
            model_level_result(user, self._perm, MODEL_LEVEL_RESULTS[granted])
        if not self.is_implicit and are_methods_decisive():
            self._shortcut = learn_shortcut(user, self._generation, self._perm, self._obj)
        return granted

    def methods(self, sources: Sequence[Source]) -> Sequence[Source]:
        planned = self._plan() if sources is SOURCES else None
        if planned is not None:
            source, self._asking = planned
            return (source,)
        for source in sources:
            try:
                method = find_access_method(self._obj, source, self._perm)
            except PermissionDenied:
                method = (_deny, None)  # a property has said so
            if method is not None:
                self._methods[source] = method
        return tuple(self._methods)

    def _plan(self) -> tuple[Source, Flow[bool]] | None:
        shortcut = self._shortcut
        return None if shortcut is None else _by_shortcut(self._user, self._obj, shortcut)

    def ask(self, source: Source) -> Flow[bool]:
        return self._ask(source) if self._asking is None else self._asking

    def _ask(self, source: Source) -> Flow[bool]:
        user, key = self._user, object_key(self._obj)
        decision = self._generation.recall(source, self._perm, key)
        if decision is None:
            function, async_function = self._methods[source]
            is_blocking = not is_nonblocking(function)
            call = Call(function, async_function, (_argument(user, source),), blocking=is_blocking)
            decision = yield from _decision(user, call)
        elif decision.entries:
            write_entries(user, decision.entries)
        self._keys.add(key)
        self._decisions[source] = decision
        return decision.granted

    def keep(self, granted: bool | None) -> None:
        """Keep what was decided, and what follows from that."""
        # Not if a method gave the object another identity: its decision is about the one before.
        if len(self._keys) == 1:
            (key,) = self._keys
            # Another instance of the same row may not have methods that this one has of its own.
            follows = None if self._has_own_methods() else granted
            self._generation.keep(self._perm, key, self._decisions, follows)

    def _has_own_methods(self) -> bool:
        """Tell whether a method is that of the object alone, and not of its class."""
        return any(
            method is not None and self._is_own(name, method)
            for source, methods in self._methods.items()
            for name, method in zip(names_for(source, self._perm), methods, strict=True)
        )

    def _is_own(self, name: str, method: object) -> bool:
        # By the function first: looking into an object's `__dict__` makes one.
        function = getattr(method, "__func__", None)
        is_of_class = (
            function is not None
            and function is getattr(type(self._obj), name, None)
            and getattr(method, "__self__", None) is self._obj
        )
        return not is_of_class and name in vars(self._obj)


class _FirstCheck(_ObjectCheck):
    """The first check of a user whom access methods concern, and only they: no superuser.

    Mostly it is the only one, so it does without all that makes others faster.
    """

    __slots__ = ()

    def model_level(self) -> Flow[bool]:
        running = Running(self._user, "user", self._perm)
        try:
            return (yield from first_grant(answers("has_perm", self._user, self._perm, None)))
        finally:
            running.end()

    def _plan(self) -> tuple[Source, Flow[bool]] | None:
        key = object_key(self._obj)
        if key is None:
            return None
        table, plan = self._generation.table(self._perm, key), plan_for(self._obj, self._perm)
        return _planned(self._user, self._obj, plan, table, key.pk)


def _argument(user: Any, source: Source) -> object:
    return user if source == "user" else _groups(user)


def _decision(user: Any, call: Call) -> Flow[Decision]:
    """Ask an access method, and keep what it logs with its answer."""
    log = LogScope(user) if isinstance(user, Loggable) else None
    try:
        answer = yield call
        granted = answer if type(answer) is bool else (yield from truth(answer, call.label))
    except PermissionDenied:
        granted = False
    finally:
        if log is not None:
            log.end()
    entries = () if log is None else log.entries
    return Decision(granted, entries) if entries else SILENT[granted]


@nonblocking
def _deny(_argument: object) -> bool:
    return False


def by_methods(user: Any, perm: str, obj: Model, shortcut: Shortcut) -> Flow[bool]:
    """Decide a permission that a user is known to have at the model level, but not implicitly.

    Args:
        user: The user.
        perm: The permission.
        obj: The object.
        shortcut: What `look_up` has returned for it.

    Returns:
        Whether the permission is granted.
    """
    planned = _by_shortcut(user, obj, shortcut)
    if planned is None:
        return (yield from first_grant((decided(user, perm, obj, decide_by_methods),)))
    _, asking = planned
    running = Running(user, "backend", perm, obj)
    try:
        return (yield from asking)
    except PermissionDenied:
        return False  # a veto, as of any backend
    finally:
        running.end()


def decided(
    user: Any,
    perm: str,
    obj: Model,
    decide: Callable[[ObjectCheck, Sequence[Source]], Flow[bool]],
    sources: Sequence[Source] = SOURCES,
    *,
    is_first: bool = False,
) -> Flow[bool]:
    """Decide a permission of a user on an object.

    Args:
        user: The user.
        perm: The permission.
        obj: The object.
        decide: By which rules.
        sources: The access methods that count.
        is_first: Whether it is the first check of a user whom access methods concern, and only
            they: no superuser.

    Returns:
        Whether the permission is granted.
    """
    running = Running(user, "backend", perm, obj)
    try:
        kind = _FirstCheck if is_first else _ObjectCheck
        check = kind(user, perm, obj, running.generation)
        outcome = None
        try:
            granted = yield from decide(check, sources)
            # What follows from only some of the methods is not what a check would say.
            outcome = granted if sources is SOURCES else None
        finally:
            check.keep(outcome)
    finally:
        running.end()
    return granted


def _groups(user: Any) -> object:
    model: type[object] = user.__class__
    if not hasattr(model, "groups"):
        raise ImproperlyConfigured(
            f"A `_group_can_` method needs the groups of the user, but {model.__qualname__}"
            " has none. Inherit django.contrib.auth.models.PermissionsMixin, or define `groups`."
        )
    return user.groups.all()


def is_active(user: Any) -> bool:
    """Tell whether a user is signed in and active.

    Args:
        user: The user.
    """
    return bool(user.is_active) and not user.is_anonymous


def is_implicit(user: Any) -> bool:
    """Tell whether a user is a superuser whom access methods do not concern.

    Args:
        user: The user.
    """
    return bool(getattr(user, "is_superuser", False)) and not conf.DJEM_UNIVERSAL_OLP
