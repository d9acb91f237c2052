"""One contender in one process: measures the row it is told to, as often as it is told to.

    python -m benchmarks.worker CONTENDER DATABASE NAME

It reads a JSON object from each line of its input, ``{"row": …, "seconds": …}``, and answers with
one: ``figures`` (what was measured, by name) and, if asked for, ``counts`` (queries and thread
hops, by the same names).
"""

from __future__ import annotations

import asyncio
import gc
import json
import os
import sys
import time
import tracemalloc
from collections.abc import Awaitable, Callable
from contextlib import contextmanager
from functools import partial
from inspect import iscoroutinefunction
from itertools import repeat
from types import FunctionType
from typing import TYPE_CHECKING, Any

from benchmarks import floor
from benchmarks.shop import project

if TYPE_CHECKING:
    from collections.abc import Iterator

APP = "shop"
# Where the machine has other work, the time of the CPU says more than that on the wall.
clock = time.process_time if os.environ.get("BENCH_CLOCK") == "cpu" else time.perf_counter
SHORT = 0.002  # seconds, in which a loop is seldom interrupted
Figures = dict[str, float]
Row = dict[str, Any]
Check = Callable[[Any], Awaitable[bool]]  # of an object
Ask = Callable[[Any], Check]  # what a user is checked with
Work = Callable[[list[Any]], Awaitable[None]]  # what to do with fresh users
Loops = dict[str, tuple[Any, ...]]  # each a function and its arguments, but for how often


# The loops of the warm rows. Nothing may stand between them and what they measure.


async def await_checks(number: int, user: Any, perm: str, obj: Any) -> None:
    for _ in repeat(None, number):
        await user.ahas_perm(perm, obj)


async def await_model_level(number: int, user: Any, perm: str) -> None:
    for _ in repeat(None, number):
        await user.ahas_perm(perm)


async def await_checks_in_thread(number: int, user: Any, perm: str, obj: Any) -> None:
    from asgiref.sync import sync_to_async

    for _ in repeat(None, number):
        await sync_to_async(user.has_perm)(perm, obj)


def call_checks(number: int, user: Any, perm: str, obj: Any) -> None:
    for _ in repeat(None, number):
        user.has_perm(perm, obj)


def do_nothing(number: int) -> None:
    for _ in repeat(None, number):
        pass


class Worker:
    """The contender, its rows in the database, and the event loop that measures it."""

    def __init__(self, contender: str) -> None:
        from benchmarks.shop.models import Product, User

        self.contender = contender
        self.runner = asyncio.Runner()
        self.User = User
        self.products = list(Product.objects.order_by("pk")[: project.PRODUCTS])
        self.loops: dict[tuple[str, str], tuple[FunctionType, int]] = {}

    def users(self, number: int) -> list[Any]:
        """Fetch users who have not been checked."""
        return list(self.User.objects.order_by("pk")[:number])

    def check(self, user: Any, perm: str, obj: Any) -> Awaitable[bool]:
        """Check in async code, in the way that is right with this library."""
        if self.contender == "djem_async":
            answer: Awaitable[bool] = user.ahas_perm(perm, obj)
            return answer
        from asgiref.sync import sync_to_async

        return sync_to_async(user.has_perm)(perm, obj)

    def checked_user(self, perm: str, obj: Any) -> Any:
        """Fetch a user, and check him in both forms, so that all that can be warm is."""
        (user,) = self.users(1)
        assert user.has_perm(perm, obj)
        assert self.runner.run(self._asked(user, perm, obj))
        return user

    async def _asked(self, user: Any, perm: str, obj: Any) -> bool:
        return await self.check(user, perm, obj)

    def each(self, row: str, seconds: float, loops: Loops) -> Figures:
        """Time loops side by side: the fastest of many short runs, less that of an empty loop."""
        for name, (loop, *args) in loops.items():
            if (row, name) not in self.loops:
                # A loop for each, because Python adapts code to the types that it meets.
                function = FunctionType(loop.__code__.replace(), loop.__globals__)
                once = min(self.time(function, 50, *args) for _ in range(3)) / 50
                self.loops[row, name] = function, max(5, min(100_000, int(SHORT / once)))
        taken: Figures = dict.fromkeys(loops, float("inf"))
        empty: Figures = dict.fromkeys(loops, float("inf"))
        with no_collection():
            until = time.perf_counter() + seconds * len(loops)
            while time.perf_counter() < until:
                for name, (_, *args) in loops.items():
                    loop, number = self.loops[row, name]
                    taken[name] = min(taken[name], self.time(loop, number, *args) / number)
                    empty[name] = min(empty[name], self.time(do_nothing, number) / number)
        return {name: taken[name] - empty[name] for name in loops}

    def time(self, loop: Callable[..., Any], *args: Any) -> float:
        """Time a function, or a coroutine from within."""
        if iscoroutinefunction(loop):
            return self.runner.run(timed(loop(*args)))
        began = clock()
        loop(*args)
        return clock() - began

    def count(self, work: Callable[[], Awaitable[Any]]) -> tuple[int, int]:
        from benchmarks.counting import counting

        async def counted() -> tuple[int, int]:
            with counting() as counts:
                await work()
            return counts.queries, counts.hops

        return self.runner.run(counted())

    def count_sync(self, work: Callable[[], Any]) -> tuple[int, int]:
        from benchmarks.counting import counting

        with counting() as counts:
            work()
        return counts.queries, counts.hops


async def timed(work: Awaitable[Any]) -> float:
    began = clock()
    await work
    return clock() - began


@contextmanager
def no_collection() -> Iterator[None]:
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


@contextmanager
def defined(**values: Any) -> Iterator[None]:
    """Define settings as a settings module would, and not as `override_settings` does."""
    from django.conf import settings
    from django.core.signals import setting_changed

    for name, value in values.items():
        setattr(settings, name, value)
        setting_changed.send(sender=None, setting=name, value=value, enter=True)
    try:
        yield
    finally:
        for name in values:
            delattr(settings, name)
            setting_changed.send(sender=None, setting=name, value=None, enter=False)


# The rows. Each returns its figures, and its counts if they are asked for.


def warm_async(worker: Worker, seconds: float, *, count: bool) -> Row:
    perm, obj = f"{APP}.inline_product", worker.products[0]
    user = worker.checked_user(perm, obj)
    name = worker.contender
    if name == "djem_async":
        loops: Loops = {
            name: (await_checks, user, perm, obj),
            "floor": (await_checks, floor.Warm(perm, obj), perm, obj),
            "bare floor": (await_checks, floor.WarmForOne(perm), perm, obj),
        }
    else:
        loops = {name: (await_checks_in_thread, user, perm, obj)}
    figures = worker.each("warm_async", seconds, loops)
    counts = {name: worker.count(lambda: worker.check(user, perm, obj))} if count else {}
    return {"figures": figures, "counts": counts}


def warm_sync(worker: Worker, seconds: float, *, count: bool) -> Row:
    perm, obj = f"{APP}.inline_product", worker.products[0]
    user = worker.checked_user(perm, obj)
    name = worker.contender
    loops: Loops = {name: (call_checks, user, perm, obj)}
    if name == "djem_async":
        loops["floor"] = (call_checks, floor.Warm(perm, obj), perm, obj)
        loops["bare floor"] = (call_checks, floor.WarmForOne(perm), perm, obj)
    figures = worker.each("warm_sync", seconds, loops)
    if name in {"djem", "djem_async"}:
        with defined(DJEM_UNIVERSAL_OLP=False, DJEM_PERM_LOG_VERBOSITY=0):
            user = worker.checked_user(perm, obj)
            loops = {f"{name}, settings defined": (call_checks, user, perm, obj)}
            figures |= worker.each("warm_sync", seconds, loops)
    counts = {name: worker.count_sync(lambda: user.has_perm(perm, obj))} if count else {}
    return {"figures": figures, "counts": counts}


def warm_model_level(worker: Worker, seconds: float, *, count: bool) -> Row:
    perm = f"{APP}.inline_product"
    (user,) = worker.users(1)
    assert user.has_perm(perm)
    name = worker.contender
    worker.runner.run(await_model_level(1, user, perm))
    figures = worker.each("model_level", seconds, {name: (await_model_level, user, perm)})
    counts = {name: worker.count(lambda: user.ahas_perm(perm))} if count else {}
    return {"figures": figures, "counts": counts}


def logged(verbosity: int) -> Callable[..., Row]:
    def warm_logged(worker: Worker, seconds: float, *, count: bool) -> Row:
        perm, obj = f"{APP}.logged_product", worker.products[0]
        name = worker.contender
        with defined(DJEM_PERM_LOG_VERBOSITY=verbosity):
            user = worker.checked_user(perm, obj)
            loops: Loops = {f"{name}, has_perm": (call_checks, user, perm, obj)}
            counts = {}
            if name == "djem_async":
                loops[f"{name}, ahas_perm"] = (await_checks, user, perm, obj)
                if count:
                    awaited = worker.count(lambda: worker.check(user, perm, obj))
                    counts[f"{name}, ahas_perm"] = awaited
            figures = worker.each(f"verbosity_{verbosity}", seconds, loops)
        return {"figures": figures, "counts": counts}

    return warm_logged


def kinds(worker: Worker) -> dict[str, str]:
    """Name the kinds of access method that make a difference, each with its permission."""
    if worker.contender == "djem_async":
        names = {"nonblocking": "inline", "async def": "async", "plain def": "plain"}
        return {f"djem_async, {name}": f"{APP}.{kind}_product" for name, kind in names.items()}
    return {worker.contender: f"{APP}.inline_product"}


def asking(worker: Worker, perm: str) -> Ask:
    return lambda user: partial(worker.check, user, perm)


def ways(worker: Worker) -> dict[str, Ask]:
    """Name what is measured with fresh users, each with how it checks."""
    found = {name: asking(worker, perm) for name, perm in kinds(worker).items()}
    if worker.contender == "djem_async":
        inline, plain = f"{APP}.inline_product", f"{APP}.plain_product"
        found["floor"] = lambda user: partial(floor.Cold(user).ahas_perm, inline)
        found["floor, plain def"] = lambda user: partial(
            floor.Cold(user).ahas_perm_in_thread, plain
        )
    return found


def fastest(seconds: float, once: Callable[[], float]) -> float:
    """Measure at least twice, and for as long as it may take; return the least."""
    with no_collection():
        until = time.perf_counter() + seconds
        best = min(once(), once())
        while time.perf_counter() < until:
            best = min(best, once())
    return best


def in_each_way(
    worker: Worker, seconds: float, work: Callable[[Ask], tuple[Work, int]], *, count: bool
) -> Row:
    """Measure work that needs fresh users."""
    figures: Figures = {}
    counts: dict[str, tuple[int, int]] = {}
    for perm in kinds(worker).values():
        worker.checked_user(perm, worker.products[0])
    for name, ask in ways(worker).items():
        function, users = work(ask)

        def once(function: Work = function, users: int = users) -> float:
            return worker.runner.run(timed(function(worker.users(users)))) / users

        figures[name] = fastest(seconds, once)
        if count:
            fresh = worker.users(1)
            counts[name] = worker.count(lambda work=function, users=fresh: work(users))
    return {"figures": figures, "counts": counts}


def cold(worker: Worker, seconds: float, *, count: bool) -> Row:
    """Fresh users and one object, one after the other."""
    obj = worker.products[0]

    def work(ask: Ask) -> tuple[Work, int]:
        async def one_by_one(users: list[Any]) -> None:
            for user in users:
                await ask(user)(obj)

        return one_by_one, 10

    return in_each_way(worker, seconds, work, count=count)


def gathered(number: int) -> Callable[..., Row]:
    def gather_row(worker: Worker, seconds: float, *, count: bool) -> Row:
        """Many objects at once, and one fresh user."""
        products = worker.products[:number]

        def work(ask: Ask) -> tuple[Work, int]:
            async def all_at_once(users: list[Any]) -> None:
                check = ask(*users)
                await asyncio.gather(*map(check, products))

            return all_at_once, 1

        return in_each_way(worker, seconds, work, count=count)

    return gather_row


def growth(worker: Worker, seconds: float, *, count: bool) -> Row:
    """What one of many gathered checks takes, with a thousand of them and with more."""
    figures: Figures = {}
    known = floor.Warm("", worker.products[0])

    async def all_at_once(check: Any, perm: str, products: list[Any]) -> None:
        await asyncio.gather(*(check(perm, obj) for obj in products))

    perms = {name: perm for name, perm in kinds(worker).items() if "plain" not in name}
    for title, number, times in (("1,000", 1_000, 5), ("many", many(seconds), 1)):
        products = in_memory(number)
        known.answers = {("", type(obj), "default", obj.pk): True for obj in products}
        for name, perm in {**perms, "floor": ""}.items():
            taken = 0.0
            for user in worker.users(times):
                check = user.ahas_perm if perm else known.ahas_perm
                with no_collection():
                    taken += worker.runner.run(timed(all_at_once(check, perm, products)))
            figures[f"{name}, among {title}"] = taken / number / times
    return {"figures": figures, "counts": {}}


def stall(worker: Worker, seconds: float, *, count: bool) -> Row:
    """The longest time for which other tasks have to wait while a thousand objects are checked."""
    perm = f"{APP}.plain_product"
    worker.checked_user(perm, worker.products[0])

    async def longest(work: Awaitable[Any] | None) -> float:
        worst = 0.0
        task = asyncio.ensure_future(work) if work is not None else None
        until = time.perf_counter() + 0.05
        while not task.done() if task is not None else time.perf_counter() < until:
            before = time.perf_counter()
            await asyncio.sleep(0.001)
            worst = max(worst, time.perf_counter() - before - 0.001)
        if task is not None:
            await task
        return worst

    async def all_at_once(user: Any) -> None:
        await asyncio.gather(*(worker.check(user, perm, obj) for obj in worker.products))

    found: list[float] = []
    for user in worker.users(3):
        with no_collection():
            found.append(worker.runner.run(longest(all_at_once(user))))
    with no_collection():
        idle = min(worker.runner.run(longest(None)) for _ in range(3))
    return {"figures": {worker.contender: min(found), f"{worker.contender}, idle": idle}}


def many(seconds: float) -> int:
    """Return a large number of objects, and a smaller one for the short form."""
    return 100_000 if seconds >= 0.1 else 5_000


def in_memory(number: int) -> list[Any]:
    """Make products that look as if they had been fetched."""
    from benchmarks.shop.models import Product

    names = ["id", "name", "is_open"]
    return [Product.from_db("default", names, [pk, "", True]) for pk in range(1, number + 1)]


def creation(worker: Worker, seconds: float, *, count: bool) -> Row:
    """Fetching users, in this model and in a plain one, on the same rows and in turns."""
    from benchmarks.shop.models import PlainUser

    models = {worker.contender: worker.User, "plain AbstractUser": PlainUser}
    best: Figures = dict.fromkeys(models, float("inf"))
    number = 100  # in which a run is seldom interrupted
    with no_collection():
        until = time.perf_counter() + seconds * 2
        while time.perf_counter() < until:
            for name in [*models, *reversed(models)]:
                began = clock()
                list(models[name]._default_manager.order_by("pk")[:number])
                best[name] = min(best[name], clock() - began)
    return {"figures": {name: best[name] / number for name in best}}


def user_memory(worker: Worker, seconds: float, *, count: bool) -> Row:
    """What each further user takes, in this model and in a plain one."""
    from benchmarks.shop.models import PlainUser

    figures: Figures = {}
    for name, model in ((worker.contender, worker.User), ("plain AbstractUser", PlainUser)):

        def fetch(number: int, model: Any = model) -> list[Any]:
            return list(model._default_manager.order_by("pk")[:number])

        few, many = project.USERS // 2, project.USERS
        more = [allocated(lambda n=n, fetch=fetch: fetch(n)) for n in (few, many) for _ in "123"]
        # Objects take multiples of eight bytes. What is beside that is of the queries.
        figures[name] = 8 * round((min(more[3:]) - min(more[:3])) / (many - few) / 8)
    return {"figures": figures}


def decision_memory(worker: Worker, seconds: float, *, count: bool) -> Row:
    perm = f"{APP}.inline_product"
    figures: Figures = {}
    sizes = {"1,000": 1_000, "many": many(seconds)}
    if worker.contender != "djem_async":
        del sizes["many"]  # it would take long, and is not compared
    for title, number in sizes.items():
        products = in_memory(number)
        (user,) = worker.users(1)
        extra = in_memory(1)

        def decide(user: Any = user, products: list[Any] = products) -> None:
            for obj in products:
                user.has_perm(perm, obj)

        # What is kept once for each user and permission is no part of a decision.
        user.has_perm(perm, extra[0])
        figures[f"{worker.contender}, one of {title}"] = allocated(decide) / number
    return {"figures": figures}


def allocated(work: Callable[[], Any]) -> int:
    """Return by how many bytes the memory in use has grown."""
    gc.collect()
    tracemalloc.start()
    try:
        before, _ = tracemalloc.get_traced_memory()
        kept = work()
        gc.collect()
        after, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    del kept
    return after - before


ROWS: dict[str, Callable[..., Row]] = {
    "warm_async": warm_async,
    "warm_sync": warm_sync,
    "warm_model_level": warm_model_level,
    "warm_verbosity_1": logged(1),
    "warm_verbosity_2": logged(2),
    "cold": cold,
    "gather_200": gathered(200),
    "gather_1000": gathered(1_000),
    "growth": growth,
    "stall": stall,
    "creation": creation,
    "user_memory": user_memory,
    "decision_memory": decision_memory,
}


def new_session() -> str:
    """Sign the first user in, and return the key of the session."""
    from django.contrib.auth import BACKEND_SESSION_KEY, HASH_SESSION_KEY, SESSION_KEY
    from django.contrib.sessions.backends.db import SessionStore

    from benchmarks.shop.models import User

    user = User.objects.order_by("pk")[0]
    session = SessionStore()
    session[SESSION_KEY] = str(user.pk)
    session[BACKEND_SESSION_KEY] = "django.contrib.auth.backends.ModelBackend"
    session[HASH_SESSION_KEY] = user.get_session_auth_hash()
    session.create()
    return str(session.session_key)


def main(contender: str, database: str, name: str) -> None:
    # What the libraries print must not get between the answers.
    answers = os.fdopen(os.dup(sys.stdout.fileno()), "w")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    project.set_up(contender, database, name)
    project.fill(contender)
    worker = Worker(contender)
    answer: dict[str, Any] = {"session": new_session(), "product": worker.products[0].pk}
    with worker.runner:
        while True:
            print(json.dumps(answer), file=answers, flush=True)
            line = sys.stdin.readline()
            if not line:
                return
            asked = json.loads(line)
            row = ROWS[asked["row"]]
            answer = row(worker, asked["seconds"], count=asked["count"])


if __name__ == "__main__":
    main(*sys.argv[1:])
