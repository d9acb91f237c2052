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

from .moments import GRANTED, NEVER, History, Key, Possible, both, here, label

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from django.db.models import Model


class Boom(BaseException):
    """What failing access methods raise."""


@dataclass(frozen=True)
class Law:
    """What the answers about one user may be, by what has been true.

    Args:
        history: Finds the history of something.
        user: The key of the user.
        since: From when on what access methods read may have been remembered.
        level_since: The same for the model level.
    """

    history: Callable[[Key], History]
    user: int
    since: int
    level_since: int

    def level(self, name: str) -> Possible:
        """Tell what the model level may answer."""
        return self.history(("held", self.user, name)).since(self.level_since)

    def check(self, name: str, thing: Model) -> Possible:
        """Tell what a check of an object may answer."""
        return both(self.level(name), KINDS[name].possible(self, name, thing))

    def asked(self, source: str, name: str, thing: Model) -> Possible:
        """Tell what an access method may have read."""
        return self.history((source, name, label(thing))).since(self.since)

    def nested(self, names: Sequence[str], thing: Model) -> Possible:
        """Tell what checks of all names may answer, made within another, which is remembered."""
        law = replace(self, level_since=self.since)
        return both(*(law.check(name, thing) for name in names))


Rule = Callable[[Law, str, Any], Possible]


class Kind(NamedTuple):
    """The access methods of one permission."""

    methods: dict[str, Callable[..., Any]]
    possible: Rule


def by_source(source: str) -> Rule:
    return lambda law, name, thing: law.asked(source, name, thing)


def by_checks(*names: str) -> Rule:
    return lambda law, _, thing: law.nested(names, thing)


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


async def grouped(self: Thing, groups: Any) -> bool:
    await here().breathe()
    answer = asked("grouped", self, "group")
    if here().has_database:
        answer = answer and await groups.filter(name="members").aexists()
    return answer


# Those that make checks


def bridged(self: Thing, user: User) -> bool:
    """From a thread to the event loop, where `slow` waits."""
    with telling(user, "bridged", self):
        answer: bool = async_to_sync(user.ahas_perm)("testapp.slow", self)
        return answer


async def threaded(self: Thing, user: User) -> bool:
    with telling(user, "threaded", self):
        return await sync_to_async(user.has_perm)("testapp.plain", self)


GATHERED = ("slow", "plain", "grouped")


async def gathering(self: Thing, user: User) -> bool:
    with telling(user, "gathering", self):
        checks = [user.ahas_perm(f"testapp.{name}", self) for name in GATHERED]
        return all(await asyncio.gather(*checks))


HELPERS = ("a", "b", "c")


async def helped(self: Thing, user: User) -> bool:
    """Gathers helpers, in tasks and in a thread, who write to the log of the check."""

    async def help_out(word: str) -> None:
        await here().breathe()
        tell(word)

    with telling(user, "helped", self) as tell:
        tasks = [help_out(word) for word in HELPERS[:2]]
        await asyncio.gather(*tasks, asyncio.to_thread(tell, HELPERS[2]))
        return asked("helped", self)


def failing(self: Thing, user: User) -> bool:
    user.start_log("left active")
    here().pause()
    raise here().injected(Boom())


async def clearing(self: Thing, user: User) -> bool:
    """Clears the cache in the middle of its own check."""
    with telling(user, "clearing", self):
        await here().breathe()
        here().clear(user)
        answer = asked("clearing", self)
        await here().breathe()
        return answer


by_user = by_source("user")
KINDS: dict[str, Kind] = {
    "open": Kind({}, lambda *_: GRANTED),
    "slow": Kind({"user": awaiting("slow")}, by_user),
    "plain": Kind({"user": waiting("plain")}, by_user),
    "inline": Kind({"user": inline}, by_user),
    "twin": Kind({"user": waiting("twin"), "auser": awaiting("twin")}, by_user),
    "grouped": Kind({"group": grouped}, by_source("group")),
    "bridged": Kind({"user": bridged}, by_checks("slow")),
    "threaded": Kind({"user": threaded}, by_checks("plain")),
    "gathering": Kind({"user": gathering}, by_checks(*GATHERED)),
    "helped": Kind({"user": helped}, by_user),
    "clearing": Kind({"user": clearing}, by_user),
    "failing": Kind({"user": failing}, lambda *_: NEVER),
}
SOUND = tuple(name for name in KINDS if name != "failing")
SYNC = ("open", "plain", "inline", "twin")  # those that a thread without an event loop can ask


@contextmanager
def installed() -> Iterator[None]:
    """Give the models of the tests all these methods."""
    methods = {
        f"_{form}_can_{name}": method
        for name, kind in KINDS.items()
        for form, method in kind.methods.items()
    }
    with patch.multiple(Thing, create=True, **methods):
        with patch.multiple(OtherThing, create=True, **methods):
            yield
