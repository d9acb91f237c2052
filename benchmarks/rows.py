"""The rows of the comparison: what is measured, by whom, and what is aimed at."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

OURS = "djem_async"
PEERS = (OURS, "djem", "guardian", "rules")
NONBLOCKING = f"{OURS}, nonblocking"
ASYNC = f"{OURS}, async def"
PLAIN = f"{OURS}, plain def"
FLOOR = "floor"
FLOOR_PLAIN = "floor, plain def"
MODEL = "plain AbstractUser"


@dataclass(frozen=True)
class Goal:
    """A limit for one figure, or for the ratio of two figures of the same round."""

    title: str
    figure: str
    per: str | None
    limit: float | None  # None: the ratio is shown, and aims at nothing
    kind: Literal["at most", "at least"] = "at most"


@dataclass(frozen=True)
class CountGoal:
    """The most queries and thread hops that a piece of work may take."""

    figure: str
    queries: int
    hops: int


@dataclass(frozen=True)
class Row:
    """Something that the contenders do, side by side."""

    name: str
    title: str
    unit: Literal["s", "B", "1/s"]
    goals: tuple[Goal, ...]
    contenders: tuple[str, ...] = (OURS,)
    counts: tuple[CountGoal, ...] = ()
    database: str = "sqlite"
    seconds: float = 0.15  # that a contender may take for a sample, roughly
    rounds: int = 15
    note: str = ""


def at_most(limit: float, title: str, figure: str, per: str | None) -> Goal:
    return Goal(title, figure, per, limit)


def at_least(limit: float, title: str, figure: str, per: str) -> Goal:
    return Goal(title, figure, per, limit, "at least")


def shown(title: str, figure: str, per: str) -> Goal:
    return Goal(title, figure, per, None)


WARM = (
    Row(
        "warm_async",
        "Warm `await user.ahas_perm(perm, obj)`",
        "s",
        (
            at_most(3, "djem_async / floor", OURS, FLOOR),
            at_least(100, "djem in a thread / djem_async", "djem", OURS),
            shown("djem_async / bare floor", OURS, "bare floor"),
        ),
        PEERS,
        (CountGoal(OURS, 0, 0),),
    ),
    Row(
        "warm_sync",
        "Warm `user.has_perm(perm, obj)`",
        "s",
        (
            at_most(2, "djem_async / floor", OURS, FLOOR),
            at_least(20, "djem / djem_async", "djem", OURS),
            shown("djem_async / bare floor", OURS, "bare floor"),
            shown("djem with its settings defined / djem_async", "djem, settings defined", OURS),
        ),
        PEERS,
        (CountGoal(OURS, 0, 0),),
        note="djem reads two settings in every check, which is slow where they are not defined.",
    ),
    Row(
        "warm_model_level",
        "Warm `await user.ahas_perm(perm)`, the model level",
        "s",
        (at_most(0.35, "djem_async / Django's own", OURS, "django"),),
        (OURS, "django"),
        (CountGoal(OURS, 0, 0),),
    ),
    *(
        Row(
            f"warm_verbosity_{verbosity}",
            f"Warm check of an object, logged at verbosity {verbosity}",
            "s",
            (
                at_most(0.15, "has_perm / djem's has_perm", f"{OURS}, has_perm", "djem, has_perm"),
                at_most(
                    0.15, "ahas_perm / djem's has_perm", f"{OURS}, ahas_perm", "djem, has_perm"
                ),
            ),
            (OURS, "djem"),
            (CountGoal(f"{OURS}, ahas_perm", 0, 0),),
        )
        for verbosity in (1, 2)
    ),
)

COLD = tuple(
    Row(
        "cold",
        "A fresh user, one object, async",
        "s",
        (
            at_most(limit, "djem_async, nonblocking / djem", NONBLOCKING, "djem"),
            shown("floor / djem", FLOOR, "djem"),
            shown("djem_async, plain def / djem", PLAIN, "djem"),
            shown("floor, plain def / djem", FLOOR_PLAIN, "djem"),
        ),
        PEERS,
        (CountGoal(NONBLOCKING, 2, 1), CountGoal(ASYNC, 2, 1)),
        database,
    )
    for database, limit in (("sqlite", 0.3), ("postgresql", 0.5))
)

GATHERED = (
    Row(
        "gather_200",
        "200 objects at once, one fresh user",
        "s",
        (
            at_most(0.25, "djem_async, nonblocking / djem", NONBLOCKING, "djem"),
            shown("floor / djem", FLOOR, "djem"),
            shown("djem_async, plain def / djem", PLAIN, "djem"),
            shown("floor, plain def / djem", FLOOR_PLAIN, "djem"),
        ),
        (OURS, "djem"),
        (CountGoal(NONBLOCKING, 2, 1),),
    ),
    Row(
        "gather_1000",
        "1,000 objects at once, one fresh user",
        "s",
        (
            at_most(0.2, "djem_async, nonblocking / djem", NONBLOCKING, "djem"),
            at_most(0.2, "djem_async, async def / djem", ASYNC, "djem"),
            shown("floor / djem", FLOOR, "djem"),
            at_most(0.25, "djem_async, plain def / djem", PLAIN, "djem"),
            shown("floor, plain def / djem", FLOOR_PLAIN, "djem"),
        ),
        (OURS, "djem"),
    ),
    Row(
        "growth",
        "One check among many at once, one fresh user",
        "s",
        (
            at_most(
                1.5,
                "nonblocking: among many / among 1,000",
                f"{NONBLOCKING}, among many",
                f"{NONBLOCKING}, among 1,000",
            ),
            at_most(
                1.5,
                "async def: among many / among 1,000",
                f"{ASYNC}, among many",
                f"{ASYNC}, among 1,000",
            ),
            shown("floor: among many / among 1,000", "floor, among many", "floor, among 1,000"),
        ),
        rounds=3,
        note=(
            "Growth is linear if a check among many takes as long as one among 1,000. The floor"
            " shows what `asyncio.gather()` alone makes of it. Many are 100,000."
        ),
    ),
    Row(
        "stall",
        "Longest stall of the event loop while 1,000 objects are checked, `plain def`",
        "s",
        (at_most(0.020, "djem_async, in seconds", OURS, None),),
        (OURS, "djem"),
    ),
)

COSTS = (
    Row(
        "user_memory",
        "Memory of a user who was never checked",
        "B",
        (at_most(1.0, f"djem_async / {MODEL}", OURS, MODEL),),
        rounds=3,
    ),
    Row(
        "creation",
        "Fetching a user from the database",
        "s",
        (at_most(1.02, f"djem_async / {MODEL}", OURS, MODEL),),
    ),
    Row(
        "decision_memory",
        "Memory of a cached decision",
        "B",
        (
            at_most(64, "one of 1,000, in bytes", f"{OURS}, one of 1,000", None),
            at_most(64, "one of many, in bytes", f"{OURS}, one of many", None),
        ),
        (OURS, "djem"),
        rounds=3,
    ),
    Row(
        "startup",
        "Starting Django",
        "s",
        (at_most(1.05, "with djem_async / without", f"with {OURS}", "without"),),
        (f"with {OURS}", "without"),
        rounds=40,
        note=(
            "Starting is to import Django, to call `django.setup()`, and to load the authentication"
            " backends; it is measured in CPU time."
        ),
    ),
)

ASGI = tuple(
    Row(
        "asgi",
        "Requests a second: uvicorn, session, one object, one check",
        "1/s",
        (
            at_least(0.85, "djem_async / the same view unchecked", OURS, "unchecked"),
            shown("floor / the same view unchecked", FLOOR, "unchecked"),
            at_least(1.2, "djem_async / djem in a thread", OURS, "djem"),
            at_least(1.2, "djem_async / guardian's mixin", OURS, "guardian, mixin"),
            at_least(1.2, "djem_async / guardian in a thread", OURS, "guardian"),
        ),
        (OURS, FLOOR, "unchecked", "djem", "guardian", "guardian, mixin", "rules"),
        (),
        database,
        # Many short ones: what else goes on at the machine must not meet one contender alone.
        seconds=0.2,
        rounds=60,
        note="rules makes no query for permissions: it is shown, and not compared.",
    )
    for database in ("sqlite", "postgresql")
)

ROWS = (*WARM, *COLD, *GATHERED, *COSTS, *ASGI)
