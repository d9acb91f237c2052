"""Where inputs are tried, and what must hold whatever they are.

A check is made several times, sync and async, alone and beside others, at every verbosity, and
each time

* ends in a decision or an error that the input or a clear message accounts for;
* grants only what the plain reading of the input grants, and says the same when asked again;
* leaves the user as it was: plain checks on the same user are answered right, their logs
  are what they would be without it, and no log is active.
"""

import asyncio
import os
from enum import Enum
from typing import Any, NamedTuple

import pytest
from asgiref.sync import async_to_sync
from django.conf import settings
from django.core import exceptions
from django.http import Http404
from django.test import override_settings
from hypothesis import HealthCheck, Phase
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from djem_async.auth import ObjectPermissionsBackend
from tests.fuzz.hostile import Planned
from tests.testapp.models import Thing, User

PERM = "testapp.use_thing"
UNHELD = "testapp.change_thing"

LONG = int(os.environ.get("DJEM_TEST_EXAMPLES", "0"))


def examples(number: int) -> Any:
    """Decorate a test: that many examples, or as many as the environment asks for."""
    return hypothesis_settings(
        max_examples=LONG or number,
        derandomize=not LONG,
        print_blob=True,  # to repeat a failure
        database=None,
        deadline=None,
        suppress_health_check=[*HealthCheck],
        phases=[Phase.generate, Phase.shrink],
        report_multiple_bugs=False,
    )


class Reading(Enum):
    """What an input means, read plainly."""

    GRANT = "it is granted"
    DENY = "it is denied, or an error"
    EITHER = "it is granted if it can be checked at all"


BACKEND = ObjectPermissionsBackend()
CHECKS = ("has_perm", "has_perms", "backend")
ENTRIES = (*CHECKS, "get_user_permissions", "get_group_permissions", "get_all_permissions")
OWN = object()


class Turn(NamedTuple):
    """How an input is tried."""

    verbosity: int
    modes: tuple[str, str]


modes = st.sampled_from([("sync", "async"), ("async", "sync")])
turns = st.builds(Turn, st.sampled_from([0, 1, 2]), modes)


class Check(NamedTuple):
    """One question, in the sync and the async form."""

    entry: str
    perm: Any
    obj: Any

    def ask(self, user: Any) -> bool | str:
        try:
            return self._answer(self._call(user, ""))
        except BaseException as error:
            return judged(error)

    async def aask(self, user: Any) -> bool | str:
        try:
            return self._answer(await self._call(user, "a"))
        except BaseException as error:
            return judged(error)

    def _call(self, user: Any, prefix: str) -> Any:
        if self.entry == "backend":
            return getattr(BACKEND, f"{prefix}has_perm")(user, self.perm, self.obj)
        args = {"has_perm": [self.perm], "has_perms": [[self.perm]]}.get(self.entry, [])
        return getattr(user, f"{prefix}{self.entry}")(*args, self.obj)

    def _answer(self, answer: Any) -> bool:
        if self.entry.startswith("get_"):
            assert {type(perm) for perm in answer} <= {str}, answer
            return PERM in answer
        assert type(answer) is bool, answer
        return answer


CLEAR = (
    asyncio.CancelledError,  # of a task that was told so by what it ran
    DeprecationWarning,  # of NotImplemented as a truth value, a TypeError from Python 3.14
    *(AttributeError, Http404, OverflowError, RecursionError, TypeError, ValueError),
    *(exceptions.ImproperlyConfigured, exceptions.SynchronousOnlyOperation),
    *(exceptions.MultipleObjectsReturned, exceptions.ObjectDoesNotExist),
)


def judged(error: BaseException) -> str:
    """Name an error, or raise one again that nobody can make anything of."""
    if isinstance(error, Planned) or isinstance(error.__cause__, Planned):
        return type(error).__name__
    is_about_logs = isinstance(error, KeyError) and str(error).startswith("'No ")
    if isinstance(error, CLEAR) or is_about_logs:
        return type(error).__name__
    raise error


# The log of a plain check that is denied.
DENIED = "Model-level Result: Granted\n\nnot this one\n\nRESULT: Permission Denied"


class Bench:
    """A user that may use one thing and not another, and inputs that want to change that."""

    def __init__(self, user: User) -> None:
        self.user_pk = user.pk
        # Keys that no input has.
        self.granted = Thing.objects.create(pk=1_000_000_007, name="granted")
        self.denied = Thing.objects.create(pk=1_000_000_009, name="denied")
        self.nobody = User.objects.create(username="nobody")

    def cold_user(self) -> User:
        return User.objects.get(pk=self.user_pk)

    @staticmethod
    def at(turn: Turn) -> override_settings:
        return override_settings(DJEM_PERM_LOG_VERBOSITY=turn.verbosity)

    def attempt(self, check: Any, reading: Reading, turn: Turn, *, attacker: Any = OWN) -> None:
        """Try an input, a check with `ask(user)` and `aask(user)`.

        The attacker asks, if not the user; the plain checks are the user's anyway.
        """
        user = self.cold_user()
        asking = user if attacker is OWN else attacker
        outcomes: list[bool | str] = []
        with self.at(turn):
            for mode in turn.modes:
                if mode == "sync":
                    for _ in range(2):
                        outcomes.append(check.ask(asking))
                        self.controls(user)
                else:
                    outcomes += async_to_sync(self._atry)(check, asking, user)
            outcomes.append(check.ask(asking))
            self.controls(user)
        self.judge(outcomes, reading)

    async def _atry(self, check: Any, asking: Any, user: User) -> list[bool | str]:
        outcomes = [await check.aask(asking)]
        await self.acontrols(user)
        first, granted, second, denied = await asyncio.gather(
            check.aask(asking),
            user.ahas_perm(PERM, self.granted),
            check.aask(asking),
            user.ahas_perm(PERM, self.denied),
        )
        assert (granted, denied) == (True, False), "a check beside it is answered wrong"
        await self.acontrols(user)
        return [*outcomes, first, second]

    def judge(self, outcomes: list[bool | str], reading: Reading) -> None:
        grants = outcomes.count(True)
        # What a hostile value raises whenever somebody looks at it is no decision. Nor is it one
        # that sync code cannot await what async code can.
        errors = sum(o == "NotADecisionError" or str(o).startswith("Planned") for o in outcomes)
        assert grants in {0, len(outcomes) - errors}, f"it changes its mind: {outcomes}"
        assert not grants or reading is not Reading.DENY, f"granted: {outcomes}"
        assert grants or reading is not Reading.GRANT, f"not granted: {outcomes}"

    # Plain checks

    PLAIN = (
        ("denied", PERM, False),
        ("granted", PERM, True),
        ("granted", UNHELD, False),
        (None, PERM, True),
        (None, UNHELD, False),
    )

    def controls(self, user: User) -> None:
        for name, perm, right in self.PLAIN:
            assert user.has_perm(perm, name and getattr(self, name)) is right
            self._logs_are_right(user, name)

    async def acontrols(self, user: User) -> None:
        for name, perm, right in self.PLAIN:
            assert await user.ahas_perm(perm, name and getattr(self, name)) is right
            self._logs_are_right(user, name)

    @staticmethod
    def _logs_are_right(user: User, name: str | None) -> None:
        if settings.DJEM_PERM_LOG_VERBOSITY and name == "denied":
            assert user.get_last_log().endswith(DENIED)
        with pytest.raises(KeyError, match="No active log"):
            user.end_log()


def decide(thing: Thing, user: Any) -> bool:
    """Decide plainly; the access method of `Thing` in these tests."""
    name = thing.name
    if name != "granted" and isinstance(user, User):
        user.log("not this one")
    return name == "granted"
