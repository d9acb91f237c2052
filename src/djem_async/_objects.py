"""A check of one object, by all backends or by ours alone."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from django.conf import settings
from django.core.exceptions import PermissionDenied
from django.db.models import Model

from ._backends import answers, ask
from ._check_logs import logged, note, note_model_level
from ._conditions import Alternatives, condition_of
from ._decision import MethodsCheck, PermissionCheck, T, any_veto, first_grant
from ._entries import IMPLICIT, Denial, Entries
from ._flow import Call, Flow, decision_of, where_allowed
from ._lazy import checked_name, is_lazy, loaded, plain_text, refuse_key
from ._log_stack import ActiveLog, innermost, log_store, write
from ._methods import (
    SOURCES,
    Source,
    belongs_elsewhere,
    dotted_name,
    exemptions,
    find_access_methods,
    has_own_methods,
    key_for,
    owns,
)
from ._running import Check
from ._store import Decision, ObjectKey, decision, object_key, type_of
from ._twins import Forms, required_forms
from ._users import (
    asks_backends,
    exemption_needed,
    groups_of,
    is_active,
    is_active_superuser,
    is_implicit,
    is_universal,
)
from .access import Exemption, is_nonblocking, nonblocking
from .conf import conf
from .explain import Reason
from .logs import Loggable


def check_of_user(check: Check, perm: str, obj: object = None) -> Flow[bool]:
    """Decide a permission for a user, by all backends."""
    perm = checked_name(perm)
    if not issubclass(type(check.user), Loggable):
        check.verbosity = 0
    if is_lazy(obj):
        found = yield from loaded(obj)
        # A lazy None must not turn the check into a model-level one.
        obj = obj if found is None else found
    refuse_key(obj)
    by_methods = None if obj is None else partial(check_of_object, check, perm, obj)
    # `PermissionCheck` has this rule as well, because our backend may be called directly.
    has_all = is_active_superuser if obj is None else is_implicit
    if (yield from where_allowed(has_all, check.user)):
        flow = _granted_implicitly(check)
    else:
        flow = first_grant(answers(check, "has_perm", perm, obj, by_methods=by_methods))
    with check.deciding("user", perm, obj):
        granted = yield from logged(check, perm, obj, flow)
        if check.nested is not None and not granted and obj is None and not check.is_vetoed:
            asked = ", ".join(settings.AUTHENTICATION_BACKENDS)
            missing = f"The user does not have {perm} at the model level.", f"Asked: {asked}"
            check.because(Reason.MODEL_LEVEL, lines=missing)
        return granted


def _granted_implicitly(check: Check) -> Flow[bool]:
    yield from note(check, IMPLICIT[is_universal(check.user)])
    check.because(Reason.SUPERUSER)
    return True


def check_of_none(check: Check, perm: str) -> Flow[bool]:
    """Deny a permission on an object that is None, such as a NULL foreign key."""

    def denied() -> Flow[bool]:
        yield from note(check, "Object: None (an explicit None denies inside an access method)")
        return False

    return logged(check, checked_name(perm), None, denied())


def check_of_object(
    check: Check, perm: object, obj: object, sources: Sequence[Source] = SOURCES
) -> Flow[bool]:
    """Decide a permission on an object, by its access methods, as our backend does."""
    # By their types, because an object may lie about its class.
    if not issubclass(type(obj), Model) or not issubclass(type(perm), str):
        return False
    name: str = plain_text(perm)
    with check.deciding("backend", name, obj):
        return (yield from _ObjectCheck(check, name, obj, sources).decide())


def check_by_methods(check: Check, perm: str, obj: Model, *, is_held: bool = True) -> Flow[bool]:
    """Decide a permission of a user who isn't an implicit superuser, if the model level is known.

    Args:
        check: The check.
        perm: The permission.
        obj: The object.
        is_held: Whether the user has the permission at the model level.
    """
    perm = plain_text(perm)
    of_object = _ObjectCheck(check, perm, obj, SOURCES)
    with check.deciding("backend", perm, obj):
        exempt = None if is_held else (yield from of_object.exempt_sources())
        return (yield from of_object.object_level(exempt))


class UserCheck(PermissionCheck[T]):
    """One permission of one user, on one object or on many."""

    def __init__(self, check: Check, perm: str) -> None:
        self._check = check
        self._user: Any = check.user
        self._perm = perm
        self._logs = log_store(check.user)

    def model_level(self) -> Flow[bool]:
        # Through the user, so that all backends are asked.
        check, user = self._check, self._user
        check.is_vetoed = False
        if asks_backends(user):
            return (yield from check_of_user(check, self._perm))
        # As for backends, because the user model may raise `PermissionDenied`, too.
        answer = ask(required_forms(user, "has_perm"), self._perm, scope=check.calling())
        path = f"{type(user).__module__}.{type(user).__qualname__}.has_perm"
        try:
            granted = yield from answer
        except PermissionDenied:
            check.is_vetoed, granted = True, False
        check.because(Reason.VETO if check.is_vetoed else Reason.MODEL_LEVEL, path)
        return granted

    def because(self, reason: Reason) -> None:
        self._check.because(reason)

    def because_of(
        self,
        source: str | None,
        model: type,
        entries: Entries,
        *,
        cached: bool = False,
        is_list: bool = False,
    ) -> None:
        """Record that an access method decides."""
        if self._check.nested is not None:
            reason = Reason.USER_METHOD if source == "user" else Reason.GROUP_METHOD
            by = dotted_name(model, self._perm, source, is_list=is_list)
            self._check.because(reason, by, cached=cached, lines=entries)

    def is_vetoed(self) -> Flow[bool]:
        if self._check.is_vetoed or asks_backends(self._user):
            return self._check.is_vetoed
        # A user model that overrides `has_perm` may deny for a reason of its own, which counts as a
        # veto. If the override has called ours, ask the backends, because it doesn't tell what
        # they answered.
        if not any(question.asked == "user" for question in self._check.questions):
            return True
        return (yield from any_veto(answers(self._check, "has_perm", self._perm)))

    def note_model_level(self, granted: bool, *, is_required: bool) -> Flow[None]:
        if issubclass(type(self._user), Loggable):
            result = granted if granted or is_required else None
            yield from note_model_level(self._check, self._perm, granted=result)

    def is_active(self) -> Flow[bool]:
        return where_allowed(is_active, self._user)

    def is_implicit(self) -> Flow[bool]:
        return where_allowed(is_implicit, self._user)

    def sources_among(self, exempt: dict[Source, Exemption]) -> Flow[Sequence[Source]]:
        """Return the sources of the exempt access methods that may grant to the user."""
        if not exempt:
            return ()
        needed = yield from where_allowed(exemption_needed, self._user)
        return [source for source, mark in exempt.items() if needed and mark >= needed]

    def is_foreign_to(self, model: type) -> bool:
        """Tell whether the permission belongs to other models."""
        return self._check.generation.once(belongs_elsewhere, model, self._perm)

    def exemptions_of(self, model: type) -> dict[Source, Exemption]:
        """Return the exemptions of a model."""
        # Without this, a misspelt permission would be granted: only the model level denies it.
        once = self._check.generation.once
        return once(exemptions, model, self._perm) if once(owns, model, self._perm) else {}

    def ask_form(
        self, source: Source, form: Callable[[Any], object], *, blocking: bool = True
    ) -> Flow[tuple[bool | Alternatives, Entries]]:
        """Get the condition of the query form of an access method.

        Args:
            source: Whether it is asked about the user or the groups.
            form: The form.
            blocking: Whether it must not run on an event loop.

        Returns:
            The condition, and what the form logged.
        """
        call = Call(condition_of, None, (form, self.argument(source)), blocking=blocking)
        condition, entries = yield from self.ask_method(call)
        return condition if isinstance(condition, bool) else (condition,), entries

    def argument(self, source: Source) -> object:
        """Return the argument for an access method."""
        return self._user if source == "user" else groups_of(self._user)

    def ask_method(
        self, call: Call, judge: Callable[[object, str], Flow[bool]] | None = None
    ) -> Flow[tuple[Any, Entries]]:
        """Call an access method, in a scope of its own.

        Args:
            call: The call.
            judge: Turns what it returns into an answer, if it isn't one already.

        Returns:
            The answer, which is False if it raised `PermissionDenied`, and what it logged.
        """
        log = ActiveLog(self._logs)
        call.scope = self._check.calling("access method", log)
        answer: Any = False
        entries: Entries = ()
        try:
            found = yield call
            answer = found if judge is None else (yield from judge(found, call.label))
        except PermissionDenied as error:
            entries = (Denial(error),) if str(error) else ()
        finally:
            log.is_open = False
            entries = (*log.lines, *entries)
            self.write(entries)
        return answer, entries

    def write(self, entries: Entries) -> None:
        """Write the lines of access methods to the log of the check."""
        if entries:
            write(innermost(self._logs, self._check.logs), entries)


class _ObjectCheck(UserCheck[bool], MethodsCheck[bool]):
    """One permission of one user on one object."""

    def __init__(self, check: Check, perm: str, obj: Any, sources: Sequence[Source]) -> None:
        super().__init__(check, perm)
        self._obj = obj
        self._sources = sources
        self._is_whole = False
        self._key = key_for(perm, obj)
        self._methods: dict[Source, Forms] = {}
        self._decisions: dict[Source, Decision] = {}

    @property
    def is_open(self) -> bool:
        return conf.DJEM_OPEN_BY_DEFAULT and not self.is_foreign_to(type_of(self._obj))

    def exempt_sources(self) -> Flow[Sequence[Source]]:
        obj = self._obj
        # Attributes of the instance have no marks.
        is_own = has_own_methods(obj, self._perm)
        return self.sources_among({} if is_own else self.exemptions_of(type_of(obj)))

    def object_level(self, exempt: Sequence[Source] | None = None) -> Flow[bool]:
        self._is_whole = exempt is None and self._sources is SOURCES
        if self._is_whole:
            remembered = self._recall(None)
            if remembered is not None:
                model, entries = type_of(self._obj), remembered.entries
                self.because_of(remembered.source, model, entries, cached=True)
                return remembered.granted
        granted: bool | None = None
        try:
            decided: bool = yield from super().object_level(exempt)
            granted = decided
            return decided
        finally:
            key = self._key
            # Not if a method has changed the primary key: the decision is about the old one.
            if key is not None and object_key(self._obj) == key:
                self._keep(key, granted)

    def methods(self) -> Sequence[Source]:
        obj, found = self._obj, self._check.generation.classes
        if self.is_foreign_to(type_of(obj)):
            return ()
        place = self._perm, type_of(obj)
        names = None if self._key is None else found.get(place)
        try:
            if names is None:
                names = find_access_methods(obj, self._perm)
                if names and self._key is not None:
                    found[place] = names
            self._methods = {each.source: each.bound_to(obj) for each in names}
        except PermissionDenied:
            # A property of this object has denied, whatever is cached for other objects.
            self._methods = dict.fromkeys(SOURCES, (_deny, None))
            self._key = None
        return [source for source in self._sources if source in self._methods]

    def ask(self, source: Source) -> Flow[bool]:
        slot = self._slot(source)
        # `object_level` has already looked up the combined decision.
        made = None if slot is None and self._is_whole else self._recall(slot)
        is_cached = made is not None
        if made is None:
            self.because_of(source, type_of(self._obj), self._entries())  # if it raises an error
            function, async_function = self._methods[source]
            is_blocking = not is_nonblocking(function)
            call = Call(function, async_function, (self.argument(source),), blocking=is_blocking)
            made = decision(*(yield from self.ask_method(call, decision_of)), source)
        self._decisions[source] = made
        self.because_of(source, type_of(self._obj), self._entries(), cached=is_cached)
        return made.granted

    def because(self, reason: Reason) -> None:
        if self._check.nested is None or reason is not Reason.NO_METHOD or self.is_open:
            return super().because(reason)
        is_foreign = self.is_foreign_to(type_of(self._obj))
        why = "it belongs to other models" if is_foreign else "DJEM_OPEN_BY_DEFAULT is False"
        model = type(self._obj).__name__
        line = f"{model} has no access method for {self._perm}, and {why}."
        return self._check.because(reason, lines=(line,))

    def _entries(self) -> Entries:
        return tuple(entry for each in self._decisions.values() for entry in each.entries)

    def _recall(self, slot: Source | None) -> Decision | None:
        remembered = self._check.generation.recall(self._perm, self._key, slot)
        if remembered is not None:
            self.write(remembered.entries)
        return remembered

    def _keep(self, key: ObjectKey, granted: bool | None) -> None:
        keep = self._check.generation.keep
        for source, made in self._decisions.items():
            keep(self._perm, key, self._slot(source), made)
        if granted is not None and self._is_whole and len(self._methods) > 1:
            source = [*self._decisions][-1]
            keep(self._perm, key, None, decision(granted, self._entries(), source))

    def _slot(self, source: Source) -> Source | None:
        """Return the slot of a source's decision, None if it is the only source."""
        return source if len(self._methods) > 1 else None


@nonblocking
def _deny(_argument: object) -> bool:
    return False
