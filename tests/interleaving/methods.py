"""Access methods of all kinds, each for the permission of its name, and what they may answer.

What a method reads are values of the world, which can change at any time. Each tells in the log
that it begins and that it ends, with a number of its own, so that its lines cannot be taken for
those of another call.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, NamedTuple
from unittest.mock import patch

from asgiref.sync import async_to_sync, sync_to_async

from djem_async.access import nonblocking
from tests.testapp.models import OtherThing, Thing, User

from .moments import GRANTED, NEVER, History, Key, Possible, both, either, here, label

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from django.contrib.auth.models import Group
    from django.db.models import Model, QuerySet

    Groups = QuerySet[Group]


class Boom(BaseException):
    """What failing access methods raise."""


@dataclass(frozen=True)
class Law:
    """What the answers about one user may be, by what was true in a length of time.

    Args:
        history: Finds the history of something.
        user: The key of the user.
        since: From when on what access methods read may have been remembered.
        level_since: The same for the model level.
        end: When the check ended.
    """

    history: Callable[[Key], History]
    user: int
    since: int
    level_since: int
    end: int

    def level(self, name: str) -> Possible:
        """Tell what the model level may answer."""
        return self.history(("held", self.user, name)).between(self.level_since, self.end)

    def check(self, name: str, thing: Model) -> Possible:
        """Tell what a check of an object may answer."""
        return both(self.level(name), KINDS[name].possible(self, name, thing))

    def asked(self, source: str, name: str, thing: Model) -> Possible:
        """Tell what an access method may have read."""
        return self.history((source, name, label(thing))).between(self.since, self.end)

    def nested(self, names: Sequence[str], thing: Model) -> list[Possible]:
        """Tell what checks may answer that were made within another, which is remembered."""
        law = replace(self, level_since=self.since)
        return [law.check(name, thing) for name in names]


Rule = Callable[[Law, str, Any], Possible]


class Kind(NamedTuple):
    """The access methods of one permission."""

    methods: dict[str, Callable[..., Any]]
    possible: Rule


def by_sources(*sources: str) -> Rule:
    return lambda law, name, thing: either(*(law.asked(each, name, thing) for each in sources))


def by_checks(*names: str) -> Rule:
    return lambda law, _, thing: both(*law.nested(names, thing))


def fails(_law: Law, _name: str, _thing: Model) -> Possible:
    return NEVER


@contextmanager
def telling(user: User, name: str, thing: Model) -> Iterator[Callable[[str], None]]:
    story = f"{name} {label(thing)} {here().tick()}"

    def tell(word: str) -> None:
        user.log(f"{story} {word}")

    tell("begins")
    yield tell
    tell("ends")


def asked(name: str, thing: Model, source: str = "user") -> bool:
    return here().read(source, name, label(thing))


# Those that read whether they grant


def awaiting(name: str) -> Callable[..., Any]:
    async def method(self: Thing, user: User) -> bool:
        with telling(user, name, self):
            await here().breathe()
            answer = asked(name, self)
            await here().breathe()
            return answer

    return method


def waiting(name: str) -> Callable[..., Any]:
    def method(self: Thing, user: User) -> bool:
        with telling(user, name, self):
            here().pause()
            answer = asked(name, self)
            here().pause()
            return answer

    return method


@nonblocking
def inline(self: Thing, user: User) -> bool:
    with telling(user, "inline", self):
        return asked("inline", self)


async def grouped(self: Thing, groups: Groups) -> bool:
    await here().breathe()
    answer = asked("grouped", self, "group")
    if here().has_database:
        answer = answer and await groups.filter(name="members").aexists()
    return answer


def mixed_group(self: Thing, groups: Groups) -> bool:
    here().pause()
    return asked("mixed", self, "group")


by_user = by_sources("user")
KINDS: dict[str, Kind] = {
    "open": Kind({}, lambda *_: GRANTED),
    "slow": Kind({"user": awaiting("slow")}, by_user),
    "plain": Kind({"user": waiting("plain")}, by_user),
    "inline": Kind({"user": inline}, by_user),
    "twin": Kind({"user": waiting("twin"), "auser": awaiting("twin")}, by_user),
    "grouped": Kind({"group": grouped}, by_sources("group")),
    "mixed": Kind({"user": awaiting("mixed"), "group": mixed_group}, by_sources("user", "group")),
}


def decides(possible: Rule) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Make a function the access method for the permission that is named like it."""

    def register(method: Callable[..., Any]) -> Callable[..., Any]:
        KINDS[method.__name__] = Kind({"user": method}, possible)
        return method

    return register


# Checks within checks


@decides(by_checks("slow"))
def bridged(self: Thing, user: User) -> bool:
    """From a thread to the event loop, where `slow` waits."""
    with telling(user, "bridged", self):
        answer: bool = async_to_sync(user.ahas_perm)("testapp.slow", self)
        return answer


@decides(by_checks("plain"))
async def threaded(self: Thing, user: User) -> bool:
    with telling(user, "threaded", self):
        return await sync_to_async(user.has_perm)("testapp.plain", self)


GATHERED = ("slow", "plain", "grouped")


@decides(by_checks(*GATHERED))
async def gathering(self: Thing, user: User) -> bool:
    with telling(user, "gathering", self):
        checks = [user.ahas_perm(f"testapp.{name}", self) for name in GATHERED]
        return all(await asyncio.gather(*checks))


HELPERS = ("a", "b", "c")


@decides(by_user)
async def helped(self: Thing, user: User) -> bool:
    """Gathers helpers, in tasks and in a thread, who write to the log of the check."""

    async def help_out(word: str) -> None:
        await here().breathe()
        tell(word)

    with telling(user, "helped", self) as tell:
        tasks = [help_out(word) for word in HELPERS[:2]]
        await asyncio.gather(*tasks, asyncio.to_thread(tell, HELPERS[2]))
        return asked("helped", self)


# Misbehaviour


@decides(fails)
async def raising(self: Thing, user: User) -> bool:
    user.start_log("left active")
    await here().breathe()
    raise here().injected(Boom())


@decides(fails)
def failing(self: Thing, user: User) -> bool:
    user.start_log("left active")
    here().pause()
    raise here().injected(Boom())


@decides(by_user)
async def clearing(self: Thing, user: User) -> bool:
    """Clears the cache in the middle of its own check."""
    with telling(user, "clearing", self):
        await here().breathe()
        await here().aclear(user)
        answer = asked("clearing", self)
        await here().breathe()
        return answer


SOUND = tuple(name for name, kind in KINDS.items() if kind.possible is not fails)
FAILING = ("raising", "failing")
# Those that a thread without an event loop can ask.
SYNC = ("open", "plain", "inline", "twin")


@contextmanager
def installed() -> Iterator[None]:
    """Give the models of the tests all these methods."""
    methods = {
        f"_{form}_can_{name}": method
        for name, kind in KINDS.items()
        for form, method in kind.methods.items()
    }
    with (
        patch.multiple(Thing, create=True, **methods),
        patch.multiple(OtherThing, create=True, **methods),
    ):
        yield
