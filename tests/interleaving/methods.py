"""Access methods of all kinds, each for the permission of its name, and what they may answer.

What a method reads are values of the world, which can change at any time. Each tells in the log
that it begins and that it ends, with a number of its own, so that its lines cannot be taken for
those of another call.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any, NamedTuple
from unittest.mock import patch

from asgiref.sync import async_to_sync, sync_to_async

from djem_async.access import nonblocking
from tests.testapp.models import OtherThing, Thing, User

from .moments import GRANTED, NEVER, Possible, Window, both, either, here, label

if TYPE_CHECKING:
    from collections.abc import Iterator

    from django.contrib.auth.models import Group
    from django.db.models import Model, QuerySet

    Groups = QuerySet[Group]


class Boom(Exception):
    """What failing access methods raise."""


class Leave(BaseException):
    """What they raise where only `BaseException` would do."""


# What they may answer


class Law:
    """What the answers about one user may be, in a window of time."""

    def __init__(self, window: Window, user: int, *, is_live: bool) -> None:
        self.window = window
        self._user = user
        self._is_live = is_live

    def level(self, name: str) -> Possible:
        """Tell what the model level may answer."""
        read = self.window.live if self._is_live else self.window.level
        return either(read("held", self._user, name), read("held by group", self._user, name))

    def check(self, name: str, thing: Model) -> Possible:
        """Tell what a check of an object may answer."""
        return both(self.level(name), KINDS[name].possible(self, name, thing))

    def nested(self, *names: str) -> Callable[[Model], list[Possible]]:
        """Tell what checks within a check may answer."""
        law = Law(self.window.remembered, self._user, is_live=self._is_live)
        return lambda thing: [law.check(name, thing) for name in names]


Rule = Callable[[Law, str, Any], Possible]


class Kind(NamedTuple):
    """The access methods of one permission."""

    methods: dict[str, Callable[..., Any]]
    possible: Rule


def by_sources(*sources: str) -> Rule:
    return lambda law, name, thing: either(
        *(law.window(source, name, label(thing)) for source in sources)
    )


def by_any(*names: str) -> Rule:
    return lambda law, _, thing: either(*law.nested(*names)(thing))


def by_all(*names: str) -> Rule:
    return lambda law, _, thing: both(*law.nested(*names)(thing))


def fails(_law: Law, _name: str, _thing: Model) -> Possible:
    return NEVER


def is_open(_law: Law, _name: str, _thing: Model) -> Possible:
    return GRANTED


by_user, by_group = by_sources("user"), by_sources("group")
KINDS: dict[str, Kind] = {"open": Kind({}, is_open)}


def decides(
    possible: Rule, form: str = "user", name: str = ""
) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Make a function an access method, by default for the permission that is named like it."""

    def register(method: Callable[..., Any]) -> Callable[..., Any]:
        kind = KINDS.setdefault(name or method.__name__, Kind({}, possible))
        kind.methods[form] = method
        return method

    return register


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


# Those that ask about the user


@decides(by_user)
async def brief(self: Thing, user: User) -> bool:
    with telling(user, "brief", self):
        return asked("brief", self)


@decides(by_user)
async def slow(self: Thing, user: User) -> bool:
    with telling(user, "slow", self):
        await here().breathe()
        answer = asked("slow", self)
        await here().breathe()
        return answer


@decides(by_user)
def plain(self: Thing, user: User) -> bool:
    with telling(user, "plain", self):
        here().pause()
        answer = asked("plain", self)
        here().pause()
        return answer


@decides(by_user)
@nonblocking
def inline(self: Thing, user: User) -> bool:
    with telling(user, "inline", self):
        return asked("inline", self)


@decides(by_user)
def twin(self: Thing, user: User) -> bool:
    with telling(user, "twin", self):
        here().pause()
        return asked("twin", self)


@decides(by_user, "auser", "twin")
async def atwin(self: Thing, user: User) -> bool:
    with telling(user, "twin", self):
        await here().breathe()
        return asked("twin", self)


# Those that ask about groups, alone or after one that asks about the user


@decides(by_group, "group")
async def grouped(self: Thing, groups: Groups) -> bool:
    await here().breathe()
    answer = asked("grouped", self, "group")
    if here().has_database:
        answer = answer and await groups.filter(name="members").aexists()
    return answer


@decides(by_sources("user", "group"))
async def mixed(self: Thing, user: User) -> bool:
    with telling(user, "mixed", self):
        await here().breathe()
        return asked("mixed", self)


@decides(by_sources("user", "group"), "group", "mixed")
def mixed_group(self: Thing, groups: Groups) -> bool:
    here().pause()
    return asked("mixed", self, "group")


# Checks within checks


@decides(by_any("slow", "plain"))
async def nested(self: Thing, user: User) -> bool:
    with telling(user, "nested", self):
        if await user.ahas_perm("testapp.slow", self):
            return True
        return await user.ahas_perm("testapp.plain", self)


@decides(by_any("slow"))
def bridged(self: Thing, user: User) -> bool:
    """In a thread, and from there on the event loop again."""
    with telling(user, "bridged", self), here().no_children():
        answer: bool = async_to_sync(user.ahas_perm)("testapp.slow", self)
        return answer


@decides(by_any("plain"))
async def threaded(self: Thing, user: User) -> bool:
    with telling(user, "threaded", self):
        return await sync_to_async(user.has_perm)("testapp.plain", self)


GATHERED = ("slow", "plain", "grouped")


@decides(by_all(*GATHERED))
async def gathering(self: Thing, user: User) -> bool:
    with telling(user, "gathering", self):
        checks = [user.ahas_perm(f"testapp.{name}", self) for name in GATHERED]
        return all(await asyncio.gather(*checks))


@decides(by_user)
async def parent(self: Thing, user: User) -> bool:
    """Leaves a task behind, which makes a check while this one goes on, or when it has ended."""

    async def child() -> None:
        with suppress(KeyError):  # the log may have ended with the check
            tell("child")
        await here().breathe()
        await here().check("slow", self, user)

    with telling(user, "parent", self) as tell:
        here().start("child", child)
        await here().breathe()
        answer = asked("parent", self)
        await here().breathe()
        return answer


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


# Misbehaviour


@decides(fails)
async def raising(self: Thing, user: User) -> bool:
    user.start_log("left active")
    await here().breathe()
    raise here().injected(Boom("async"))


@decides(fails)
def leaving(self: Thing, user: User) -> bool:
    user.start_log("left active")
    here().pause()
    raise here().injected(Leave("plain"))


@decides(fails)
async def hanging(self: Thing, user: User) -> bool:
    user.start_log("left active")
    await asyncio.Event().wait()
    return True


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
FAILING = ("raising", "leaving")
decides(by_user)(helped)  # apart from those that any scenario may draw


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
