"""One check of one object, by the rules: of a user, by all backends, and by ours alone."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from django.core.exceptions import ImproperlyConfigured, PermissionDenied
from django.db.models import Model

from ._backends import answers, ask
from ._check_logs import logged, note, note_model_level
from ._conditions import Alternatives, condition_of
from ._decision import decide, decide_by_methods, decide_for_user, first_grant
from ._entries import Entries, Entry
from ._flow import Call, Flow, decision_of
from ._lazy import is_lazy, loaded, plain_text
from ._log_stack import ActiveLog, innermost, log_store, write
from ._running import Check
from ._store import Decision, ObjectKey, decision, object_key, type_of
from ._twins import Forms, are_ours, is_ours, required_forms
from .access import (
    SOURCES,
    Source,
    all_names_for,
    find_access_methods,
    is_nonblocking,
    nonblocking,
)
from .conf import conf
from .logs import Loggable


def check_of_user(check: Check, perm: str, obj: object = None) -> Flow[bool]:
    """Decide a permission for a user, by all backends.

    Returns:
        Whether the permission is granted.
    """
    perm = plain_text(perm)
    if is_lazy(obj):
        found = yield from loaded(obj)
        # A lazy None is no object, but must not turn the check into one of the model level.
        obj = obj if found is None else found
    by_methods = None if obj is None else partial(check_of_object, check, perm, obj)
    with check.deciding("user", perm, obj):
        flow = decide_for_user(
            answers(check, "has_perm", perm, obj, by_methods=by_methods),
            is_superuser=is_active_superuser(check.user),
            is_universal=conf.DJEM_UNIVERSAL_OLP,
            has_object=obj is not None,
            note=partial(note, check),
        )
        if check.verbosity:
            flow = logged(check, perm, obj, flow)
        return (yield from flow)


def check_of_object(
    check: Check, perm: object, obj: object, sources: Sequence[Source] = SOURCES
) -> Flow[bool]:
    """Decide a permission on an object, by its access methods, as our backend does.

    Returns:
        Whether the permission is granted.
    """
    # By their types, because an object may claim another class than it has.
    if not issubclass(type(obj), Model) or not issubclass(type(perm), str):
        return False
    name: str = plain_text(perm)
    with check.deciding("backend", name, obj):
        return (yield from decide(_ObjectCheck(check, name, obj, sources)))


def check_by_methods(check: Check, perm: str, obj: Model) -> Flow[bool]:
    """Decide a permission that a user is known to have at the model level, but not implicitly.

    Returns:
        Whether the permission is granted.
    """
    perm = plain_text(perm)
    with check.deciding("backend", perm, obj):
        return (yield from _ObjectCheck(check, perm, obj, SOURCES).object_level())


class PermissionCheck:
    """One permission of one user, see `djem_async._decision.PermissionCheck`.

    Args:
        check: The check.
        perm: The permission.
    """

    def __init__(self, check: Check, perm: str) -> None:
        self._check = check
        self._user: Any = check.user
        self._perm = perm
        is_loggable = issubclass(type(self._user), Loggable)
        self._logs = log_store(self._user) if is_loggable else None

    @property
    def is_active(self) -> bool:
        """Whether the user is signed in and active."""
        return is_active(self._user)

    @property
    def is_implicit(self) -> bool:
        """Whether the user is a superuser whom access methods do not concern."""
        return is_implicit(self._user)

    def model_level(self) -> Flow[bool]:
        """Ask whether the user has the permission at all."""
        # Through the user, so that every backend has its say.
        check, user = self._check, self._user
        if are_ours(user, "has_perm", "ahas_perm"):
            granted = yield from check_of_user(check, self._perm)
        else:
            # By the rule for backends, because the user may veto as well.
            answer = ask(check, required_forms(user, "has_perm"), self._perm)
            granted = yield from first_grant((answer,))
        if self._logs is not None:
            yield from note_model_level(check, self._perm, granted=granted)
        return granted

    def ask_form(
        self, source: Source, form: Callable[[Any], object], *, blocking: bool = True
    ) -> Flow[tuple[bool | Alternatives, Entries]]:
        """Ask the query form of an access method for its condition.

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
        """Return what an access method is given."""
        return self._user if source == "user" else _groups(self._user)

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
        log = None if self._logs is None else ActiveLog(self._logs)
        call.scope = self._check.calling(log)
        answer: Any = False
        try:
            found = yield call
            answer = found if judge is None else (yield from judge(found, call.label))
        except PermissionDenied as denial:
            if log is not None and str(denial):
                log.lines.append(Entry(denial))
        finally:
            entries: Entries = ()
            if log is not None:
                log.is_open = False
                entries = tuple(log.lines)
                self.write(entries)
        return answer, entries

    def write(self, entries: Entries) -> None:
        """Write what access methods logged into the log of the check."""
        if entries and self._logs is not None:
            write(innermost(self._logs, self._check.logs), entries)


class _ObjectCheck(PermissionCheck):
    """One permission of one user on one object."""

    def __init__(self, check: Check, perm: str, obj: Any, sources: Sequence[Source]) -> None:
        super().__init__(check, perm)
        self._obj = obj
        self._sources = sources
        self._key = key_for(perm, obj)
        self._methods: dict[Source, Forms] = {}
        self._decisions: dict[Source, Decision] = {}

    def object_level(self) -> Flow[bool]:
        key = self._key
        if self._sources is SOURCES:
            remembered = self._recall(None)
            if remembered is not None:
                return remembered.granted
        granted: bool | None = None
        try:
            decided: bool = yield from decide_by_methods(self)
            granted = decided
            return decided
        finally:
            # Not if a method gave the object another identity: it decided about the one before.
            if key is not None and object_key(self._obj) == key:
                self._keep(key, granted)

    def methods(self) -> Sequence[Source]:
        obj, found = self._obj, self._check.generation.forms
        place = self._perm, type_of(obj)
        names = None if self._key is None else found.get(place)
        try:
            if names is None:
                names = find_access_methods(obj, self._perm)
                if names and self._key is not None:
                    found[place] = names
            self._methods = {each.source: each.bound_to(obj) for each in names}
        except PermissionDenied:
            # A property of this object has said so, whatever is remembered of others.
            self._methods = dict.fromkeys(SOURCES, (_deny, None))
            self._key = None
        return [source for source in self._sources if source in self._methods]

    def ask(self, source: Source) -> Flow[bool]:
        slot = self._slot(source)
        # `object_level` has looked up the decision of all methods together.
        made = None if slot is None and self._sources is SOURCES else self._recall(slot)
        if made is None:
            function, async_function = self._methods[source]
            is_blocking = not is_nonblocking(function)
            call = Call(function, async_function, (self.argument(source),), blocking=is_blocking)
            made = decision(*(yield from self.ask_method(call, decision_of)))
        self._decisions[source] = made
        return made.granted

    def _recall(self, slot: Source | None) -> Decision | None:
        remembered = self._check.generation.recall(self._perm, self._key, slot)
        if remembered is not None:
            self.write(remembered.entries)
        return remembered

    def _keep(self, key: ObjectKey, granted: bool | None) -> None:
        keep = self._check.generation.keep
        for source, made in self._decisions.items():
            keep(self._perm, key, self._slot(source), made)
        if granted is not None and self._sources is SOURCES and len(self._methods) > 1:
            entries = tuple(entry for each in self._decisions.values() for entry in each.entries)
            keep(self._perm, key, None, decision(granted, entries))

    def _slot(self, source: Source) -> Source | None:
        """Return where the decision of a source is kept: with that of all if it is the only one."""
        return source if len(self._methods) > 1 else None


def key_for(perm: str, obj: Any) -> ObjectKey | None:
    """Return the key under which decisions on an object are remembered, None if they are not."""
    # Another instance of the row may not have the methods that this one has of its own.
    own: dict[str, Any] = obj.__dict__
    return object_key(obj) if all_names_for(perm).isdisjoint(own) else None


@nonblocking
def _deny(_argument: object) -> bool:
    return False


def _groups(user: Any) -> object:
    model: type[object] = user.__class__
    if not hasattr(model, "groups"):
        raise ImproperlyConfigured(
            f"A `_group_can_` method needs the groups of the user, but {model.__qualname__}"
            " has none. Inherit django.contrib.auth.models.PermissionsMixin, or define `groups`."
        )
    return user.groups.all()


def is_active(user: Any) -> bool:
    """Tell whether a user is signed in and active."""
    return bool(user.is_active) and not user.is_anonymous


def is_active_superuser(user: Any) -> bool:
    """Tell whether a user is an active superuser."""
    return bool(user.is_active and user.is_superuser)


def is_granted_everything(user: Any) -> bool:
    """Tell whether checks of a user are decided without asking anybody."""
    is_universal = conf.DJEM_UNIVERSAL_OLP and any(
        is_ours(vars(base).get("has_perm")) for base in type(user).__mro__
    )
    return is_active_superuser(user) and not is_universal


def is_implicit(user: Any) -> bool:
    """Tell whether a user is a superuser whom access methods do not concern."""
    return bool(getattr(user, "is_superuser", False)) and not conf.DJEM_UNIVERSAL_OLP
