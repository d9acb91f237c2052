"""What comes of a history, as data that can be compared and that JSON can carry."""

import json
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from django.core.exceptions import PermissionDenied

from tests import reference

from .histories import EXISTING, LOG_NAMES, QUESTIONS, History

# Any other error is a fault of the tests or of the library, and comes through.
ERRORS = (
    AttributeError,
    KeyError,
    RecursionError,
    TypeError,
    ValueError,
    PermissionDenied,
    reference.PermissionDenied,
)
LOG_CALLS = ("start_log", "log", "end_log", "get_log")
# The logs that are read at the end.
LOGS = (
    *LOG_NAMES,
    *(f"auto-{perm}" for perm in EXISTING),
    *(f"auto-{perm}-{key}" for perm in EXISTING for key in (None, 1, 101)),
)


class Person:
    """One user on either side, checked by one API or by both in turn."""

    load: Callable[[], Any]
    question: Callable[..., Any]
    make_copy: Callable[[str], None]

    def __init__(self, world: Any, apis: tuple[str, ...]) -> None:
        self.world = world
        self.apis = apis
        self.kind = world.kind
        self.has_mixin = self.kind == "mixin"
        self.user = self.load()
        self.before = self.user

    def ask(self, name: str, *args: Any) -> list[Any]:
        """Ask a question in each API, and return all that is known afterwards."""
        found = []
        for api in self.apis:
            self.world.trace = []
            answer = outcome(self.question, api, name, *args)
            last_log = outcome(lambda: entries(self.user.get_last_log(raw=True)))
            found.append([api, answer, self.world.trace, self.has_mixin and last_log])
        return found

    def set_flag(self, name: str, value: Any) -> None:
        if self.kind != "anonymous":
            setattr(self.user, f"is_{name}", value)

    def reload(self) -> None:
        self.before, self.user = self.user, self.load()

    def copy(self, how: str) -> Any:
        return outcome(self.make_copy, how)

    def switch(self) -> None:
        """Go back to the instance that was copied or replaced."""
        self.before, self.user = self.user, self.before

    def end_log(self) -> Any:
        return self.user.end_log()

    def use_log(self, name: str, *args: Any) -> Any:
        """Call a method of `Loggable`, if the user is one."""

        def call() -> Any:
            if name == "log":
                return self.user.log(args[0], tag=args[1])
            if name == "get_log":
                return entries(self.user.get_log(*args, raw=True))
            if name == "end_log":
                ended, lines = self.end_log()
                return [ended, entries(lines)]
            return self.user.start_log(*args)

        return self.has_mixin and outcome(call)


Record = list[list[Any]]
"""The actions that were taken, with what came of each for each person."""


def actions(history: History) -> Iterator[list[Any]]:
    """Yield all actions of a history, one after the other."""
    yield from history["setup"]
    yield from history["focus"]
    for action, is_quiet in history["steps"]:
        yield action
        yield from () if is_quiet else history["focus"]
    yield from (["get_log", name] for name in LOGS)
    yield from [["end_log"]] * 2


def record(history: History, world: Any, people: Sequence[Any]) -> Iterator[list[Any]]:
    """Take the actions of a history on one side.

    Yields:
        Each action, with what came of it for each person. The reference ends where the promises do.
    """
    for name, *args in actions(history):
        if hasattr(type(world), name):
            getattr(world, name)(*args)
        found = []
        for person in people:
            if name in QUESTIONS:
                found.append(person.ask(name, *args))
            elif name in LOG_CALLS:
                found.append(person.use_log(name, *args))
            elif hasattr(type(person), name):
                found.append(getattr(person, name)(*args))
        yield [[name, *args], found]
        if getattr(world, "is_undetermined", False):
            return


def outcome(call: Callable[..., Any], *args: Any) -> list[Any]:
    """Make a call, and return its answer, or the name and beginning of its error."""
    try:
        found = call(*args)
    except ERRORS as error:
        # Code out there matches on the beginnings of these.
        text = (
            str(error.args[0])[:22] if error.args and type(error) in (KeyError, ValueError) else ""
        )
        return ["raised", type(error).__name__, text]
    # What JSON cannot carry is only ever wrong.
    is_plain = found is None or isinstance(found, bool | int | str | list)
    return ["returned", found if is_plain else type(found).__name__]


def differing(found: Record, wanted: Record) -> Iterator[tuple[int, Any, Any, Any]]:
    """Compare two records.

    Yields:
        The number of an action, the action, and what came of it on each side.
    """
    for number, ((action, one), (_, other)) in enumerate(zip(found, wanted, strict=False)):
        # As text, in which True is not 1.
        if json.dumps(one) != json.dumps(other):
            yield number, action, one, other


def only_ours(perms: set[str]) -> list[str]:
    """Sort permissions, without those of other apps, which superusers have as well."""
    return sorted(perm for perm in perms if perm.startswith(("worlds.", "other.", "lost.")))


def entries(log: list[Any]) -> list[list[Any]]:
    return [[str(entry), list(entry.tags)] for entry in log]
