"""Access methods of all kinds, each for the permission of its name, and what they may answer.

What a method reads are values of the world, which can change at any time.
"""

from __future__ import annotations

import asyncio
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any, NamedTuple
from unittest.mock import patch

from asgiref.sync import async_to_sync, sync_to_async
from django.core.exceptions import PermissionDenied

from djem_async.access import nonblocking
from tests.testapp.models import OtherThing, Thing, User

from .here import here, label
from .moments import GRANTED, NEVER, Possible, Window, both, either

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from django.contrib.auth.models import Group
    from django.db.models import Model, QuerySet

    Groups = QuerySet[Group]


class Boom(Exception):
    """What failing access methods raise."""


class Leave(BaseException):
    """What they raise where only `BaseException` would do."""


# What each method does when it is called: it tells in the log that it begins and that it ends, with
# a number of its own, so that lines cannot be taken for those of another call.


@contextmanager
def telling(user: User, name: str, thing: Model) -> Iterator[None]:
    story = f"{name} {label(thing)} {here().tick()}"
    user.log(f"{story} begins")
    yield
    user.log(f"{story} ends")


def by_user(name: str, thing: Model) -> bool:
    return here().read("user", name, label(thing))


def by_group(name: str, thing: Model) -> bool:
    return here().read("group", name, label(thing))


# One that asks about the user


async def brief(self: Thing, user: User) -> bool:
    with telling(user, "brief", self):
        return by_user("brief", self)


async def slow(self: Thing, user: User) -> bool:
    with telling(user, "slow", self):
        await here().breathe()
        answer = by_user("slow", self)
        await here().breathe()
        return answer


def plain(self: Thing, user: User) -> bool:
    with telling(user, "plain", self):
        here().pause()
        answer = by_user("plain", self)
        here().pause()
        return answer


@nonblocking
def inline(self: Thing, user: User) -> bool:
    with telling(user, "inline", self):
        return by_user("inline", self)


def twin(self: Thing, user: User) -> bool:
    with telling(user, "twin", self):
        here().pause()
        return by_user("twin", self)


async def atwin(self: Thing, user: User) -> bool:
    with telling(user, "twin", self):
        await here().breathe()
        return by_user("twin", self)


def denying(self: Thing, user: User) -> bool:
    with telling(user, "denying", self):
        here().pause()
        if not by_user("denying", self):
            raise PermissionDenied
        return True


# One that asks about groups, alone or after one that asks about the user


async def grouped(self: Thing, groups: Groups) -> bool:
    await here().breathe()
    answer = by_group("grouped", self)
    if here().has_database:
        answer = answer and await groups.filter(name="members").aexists()
    return answer


def grouped_plain(self: Thing, groups: Groups) -> bool:
    here().pause()
    answer = by_group("grouped_plain", self)
    if here().has_database:
        answer = answer and groups.filter(name="members").exists()
    return answer


async def mixed(self: Thing, user: User) -> bool:
    with telling(user, "mixed", self):
        await here().breathe()
        return by_user("mixed", self)


def mixed_group(self: Thing, groups: Groups) -> bool:
    here().pause()
    return by_group("mixed", self)


# Checks within checks


async def nested(self: Thing, user: User) -> bool:
    with telling(user, "nested", self):
        if await user.ahas_perm("testapp.slow", self):
            return True
        return await user.ahas_perm("testapp.plain", self)


def nested_plain(self: Thing, user: User) -> bool:
    with telling(user, "nested_plain", self):
        here().pause()
        return user.has_perm("testapp.plain", self)


def bridged(self: Thing, user: User) -> bool:
    """In a thread, and from there on the event loop again."""
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


async def parent(self: Thing, user: User) -> bool:
    """Leaves a task behind, which makes a check while this one goes on, or when it has ended."""

    async def child() -> None:
        with suppress(KeyError):  # the log may have ended with the check
            user.log("a line of the child, for nobody to see")
        await here().breathe()
        await here().check("slow", self, user)

    with telling(user, "parent", self):
        here().start("child", child)
        await here().breathe()
        answer = by_user("parent", self)
        await here().breathe()
        return answer


# Misbehaviour


async def raising(self: Thing, user: User) -> bool:
    user.start_log("left active")
    await here().breathe()
    raise here().injected(Boom("async"))


def raising_plain(self: Thing, user: User) -> bool:
    user.start_log("left active")
    here().pause()
    raise here().injected(Boom("plain"))


def leaving(self: Thing, user: User) -> bool:
    user.start_log("left active")
    here().pause()
    raise here().injected(Leave("plain"))


async def hanging(self: Thing, user: User) -> bool:
    user.start_log("left active")
    await asyncio.Event().wait()
    return True


async def messy(self: Thing, user: User) -> bool:
    with telling(user, "messy", self):
        user.start_log("ended")
        await here().breathe()
        user.end_log()
        answer = by_user("messy", self)
    user.start_log("left active")
    user.log("a line in a log that is never ended")
    await here().breathe()
    return answer


async def clearing(self: Thing, user: User) -> bool:
    """Clears the cache in the middle of its own check."""
    with telling(user, "clearing", self):
        await here().breathe()
        await here().aclear(user)
        answer = by_user("clearing", self)
        await here().breathe()
        return answer


# What they may answer


class Law:
    """What the answers about one user may be, in a window of time."""

    def __init__(self, window: Window, user: int, *, is_live: bool) -> None:
        self.window = window
        self._user = user
        self._is_live = is_live

    def level(self, name: str) -> Possible:
        """Tell what the model level may answer."""
        read = self.window.live if self._is_live else self.window
        held = either(read("held", self._user, name), read("held by group", self._user, name))
        return self._for_active(held)

    def check(self, name: str, thing: Model) -> Possible:
        """Tell what a check of an object may answer."""
        level, possible = self.level(name), KINDS[name].possible
        return both(level, self._for_active(possible(self, name, thing)))

    def _for_active(self, possible: Possible) -> Possible:
        is_superuser = self.window.live("superuser", self._user)
        return both(self.window.live("active", self._user), either(is_superuser, possible))

    def nested(self, *names: str) -> Callable[[Model], list[Possible]]:
        """Tell what checks within a check may answer."""
        law = Law(self.window.remembered, self._user, is_live=self._is_live)
        return lambda thing: [law.check(name, thing) for name in names]


class Kind(NamedTuple):
    """The access methods of one permission."""

    methods: dict[str, Callable[..., Any]]
    possible: Callable[[Law, str, Model], Possible]
    """What they may answer, NEVER if they only raise."""


def by_sources(*sources: str) -> Callable[[Law, str, Model], Possible]:
    return lambda law, name, thing: either(
        *(law.window(source, name, label(thing)) for source in sources)
    )


def by_any(*names: str) -> Callable[[Law, str, Model], Possible]:
    return lambda law, _, thing: either(*law.nested(*names)(thing))


def by_all(*names: str) -> Callable[[Law, str, Model], Possible]:
    return lambda law, _, thing: both(*law.nested(*names)(thing))


BY_USER, BY_GROUP, FAILS = by_sources("user"), by_sources("group"), lambda *_: NEVER

KINDS = {
    "brief": Kind({"user": brief}, BY_USER),
    "slow": Kind({"user": slow}, BY_USER),
    "plain": Kind({"user": plain}, BY_USER),
    "inline": Kind({"user": inline}, BY_USER),
    "twin": Kind({"user": twin, "auser": atwin}, BY_USER),
    "denying": Kind({"user": denying}, BY_USER),
    "grouped": Kind({"group": grouped}, BY_GROUP),
    "grouped_plain": Kind({"group": grouped_plain}, BY_GROUP),
    "mixed": Kind({"user": mixed, "group": mixed_group}, by_sources("user", "group")),
    "open": Kind({}, lambda *_: GRANTED),
    "nested": Kind({"user": nested}, by_any("slow", "plain")),
    "nested_plain": Kind({"user": nested_plain}, by_any("plain")),
    "bridged": Kind({"user": bridged}, by_any("slow")),
    "threaded": Kind({"user": threaded}, by_any("plain")),
    "gathering": Kind({"user": gathering}, by_all(*GATHERED)),
    "parent": Kind({"user": parent}, BY_USER),
    "messy": Kind({"user": messy}, BY_USER),
    "clearing": Kind({"user": clearing}, BY_USER),
    "raising": Kind({"user": raising}, FAILS),
    "raising_plain": Kind({"user": raising_plain}, FAILS),
    "leaving": Kind({"user": leaving}, FAILS),
    "hanging": Kind({"user": hanging}, FAILS),
}
SOUND = tuple(name for name, kind in KINDS.items() if kind.possible is not FAILS)
FAILING = ("raising", "raising_plain", "leaving")


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
