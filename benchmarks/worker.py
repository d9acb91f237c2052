"""One library in a process of its own: `python -m benchmarks.worker TASK LIBRARY DATABASE NAME`.

The task is `measure` (the rows that standard input names, a JSON object in each line), `serve`
(the project with uvicorn) or `startup` (how long starting Django takes). So that this can be told,
nothing imports Django before a task has begun.
"""

from __future__ import annotations

import asyncio
import gc
import json
import os
import socket
import sys
import time
import tracemalloc
from collections.abc import Awaitable, Callable
from contextlib import contextmanager
from functools import partial
from inspect import iscoroutinefunction
from typing import TYPE_CHECKING, Any

from benchmarks.shop import project

if TYPE_CHECKING:
    from collections.abc import Iterator

clock = time.process_time if os.environ.get("BENCH_CLOCK") == "cpu" else time.perf_counter
PLAIN, NONBLOCKING, LOGGING = "shop.open_product", "shop.touch_product", "shop.log_product"
COLUMN, RELATION = "shop.view_item", "shop.change_item"  # what the rule reads
SETTINGS: dict[str, dict[str, Any]] = {
    "warm_defined": {"DJEM_UNIVERSAL_OLP": False, "DJEM_PERM_LOG_VERBOSITY": 0},
    "logged_1": {"DJEM_PERM_LOG_VERBOSITY": 1},
    "logged_2": {"DJEM_PERM_LOG_VERBOSITY": 2},
}
Run = Callable[[], Any]  # what is timed: some checks, with all that they need prepared


class Worker:
    """The library with its rows in the database, and the event loop that measures it."""

    def __init__(self, library: str) -> None:
        from benchmarks.shop.models import Product, User

        self.library = library
        self.runner = asyncio.Runner()
        self.users = User.objects.order_by("pk")
        self.products = list(Product.objects.order_by("pk"))

    def listers(self, size: int, number: int) -> list[Any]:
        """Return instances of the user who may see some of the items, of which there are many."""
        pk = project.fill_items(self.library, size)
        return [self.users.get(pk=pk) for _ in range(number)]

    def acheck(self, user: Any) -> Callable[..., Awaitable[bool]]:
        """Return what is awaited for a check with this library."""
        from asgiref.sync import sync_to_async

        has_async_api = self.library in {"djem_async", "django"}
        return user.ahas_perm if has_async_api else sync_to_async(user.has_perm)

    def measure(self, row: str, seconds: float) -> float:
        """Return how long a check takes, at best, or how large something is."""
        gc.collect()
        if row in SIZES:
            return SIZES[row](self)
        with defined(**SETTINGS.get(row, {})):
            number, until = 1, time.perf_counter() + seconds
            while (best := self.time(TIMES[row](self, number))) < 0.001 and number < 500:
                number *= 2
            while time.perf_counter() < until:
                best = min(best, self.time(TIMES[row](self, number)))
        return best / number

    def time(self, run: Run) -> float:
        async def timed() -> float:
            began = clock()
            await run()
            return clock() - began

        if iscoroutinefunction(run):
            return self.runner.run(timed())
        began = clock()
        run()
        return clock() - began

    def count(self, row: str) -> tuple[int, int] | None:
        """Return the queries and the thread hops of a check that is not the first of its kind."""
        from benchmarks.counting import counting

        if row in SIZES:
            return None
        with defined(**SETTINGS.get(row, {})):
            run = TIMES[row](self, 1)
            with counting() as counts:
                self.time(run)
        return counts.queries, counts.hops


# The rows


def one_by_one(
    kind: str, worker: Worker, number: int, perm: str = PLAIN, *, is_async: bool = True
) -> Run:
    """Check one user several times: the model level, one object, or new objects."""
    user, objects = worker.users[0], worker.products
    known: tuple[Any, ...] = (perm,) if kind == "model" else (perm, objects[0])
    assert user.has_perm(perm)
    assert user.has_perm(*known)
    questions = (
        [(perm, obj) for obj in objects[1 : number + 1]] if kind == "new" else [known] * number
    )
    check, acheck = user.has_perm, worker.acheck(user)

    def run() -> None:
        for question in questions:
            check(*question)

    async def arun() -> None:
        for question in questions:
            await acheck(*question)

    return arun if is_async else run


def cold(worker: Worker, number: int) -> Run:
    """Check one object for new users, one after the other."""
    users, obj = list(worker.users[:number]), worker.products[0]

    async def run() -> None:
        for user in users:
            await worker.acheck(user)(PLAIN, obj)

    return run


def gathered(size: int, worker: Worker, number: int) -> Run:
    """Check many objects at once for new users, one after the other."""
    users, objects = list(worker.users[:number]), worker.products[:size]

    async def run() -> None:
        for user in users:
            acheck = worker.acheck(user)
            await asyncio.gather(*(acheck(PLAIN, obj) for obj in objects))

    return run


def listed(perm: str, size: int, worker: Worker, number: int) -> Run:
    """List items for new users, one after the other: a page, and how many there are."""
    from benchmarks.shop.models import Item

    users = worker.listers(size, number)
    find = finder(worker.library, perm)

    def run() -> None:
        for user in users:
            found = find(user).order_by("name")
            page, count = list(found[:50]), found.count()
            assert (len(page), count) == (50, project.LISTED)

    def run_one_by_one() -> None:
        for user in users:
            # Of all, because the count has to be known.
            found = [item for item in Item.objects.order_by("name") if user.has_perm(perm, item)]
            page, count = found[:50], len(found)
            assert (len(page), count) == (50, project.LISTED)

    return run if find else run_one_by_one


def finder(library: str, perm: str) -> Any:
    """Return what lists items with a library, None if it has no lists."""
    from benchmarks.shop.models import Item

    if library == "djem_async":
        from djem_async.shortcuts import get_objects_for_user

        return lambda user: get_objects_for_user(user, perm, Item)
    if library == "guardian":
        from guardian.shortcuts import get_objects_for_user as objects_of

        return lambda user: objects_of(user, COLUMN, Item)
    if library == "django":
        field = "owner" if perm == COLUMN else "editors"
        return lambda user: Item.objects.filter(**{field: user})
    return None


def prefetched(worker: Worker, number: int) -> Run:
    """Check many objects of a plain method for new users, one after the other."""
    return many(worker, PLAIN, list(worker.users[:number]), worker.products)


def prefetched_query(worker: Worker, number: int) -> Run:
    """Check many objects of a method that makes a query, of which half are granted."""
    from benchmarks.shop.models import Item

    users = worker.listers(10_000, number)
    half = project.LISTED // 2
    return many(worker, RELATION, users, list(Item.objects.order_by("pk")[half : half + 1_000]))


def many(worker: Worker, perm: str, users: list[Any], objects: list[Any]) -> Run:
    """Check many objects with what a library has for that, else one by one."""
    from asgiref.sync import sync_to_async

    async def run() -> None:
        for user in users:
            await user.aprefetch_perms([perm], objects)
            for obj in objects:
                user.has_perm(perm, obj)

    async def run_checker() -> None:
        from guardian.core import ObjectPermissionChecker

        for user in users:
            checker = ObjectPermissionChecker(user)
            await sync_to_async(checker.prefetch_perms)(objects)
            for obj in objects:
                checker.has_perm(COLUMN, obj)

    async def run_one_by_one() -> None:
        for user in users:
            acheck = worker.acheck(user)
            for obj in objects:
                await acheck(perm, obj)

    return {"djem_async": run, "guardian": run_checker}.get(worker.library, run_one_by_one)


def user_memory(worker: Worker) -> float:
    """Return how many bytes a user takes that is fetched and never checked."""
    return round(min(allocated(lambda: list(worker.users.all())) for _ in "123") / project.USERS)


def decision_memory(worker: Worker) -> float:
    """Return how many bytes each further decision takes, not counting its object."""
    user, (first, *objects) = worker.users[0], worker.products
    user.has_perm(PLAIN, first)

    def decide() -> None:
        for obj in objects:
            user.has_perm(PLAIN, obj)

    return allocated(decide) / len(objects)


def allocated(work: Callable[[], Any]) -> int:
    tracemalloc.start()
    kept = work()
    gc.collect()
    size, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    del kept
    return size


TIMES: dict[str, Callable[[Worker, int], Run]] = {
    "warm_async": partial(one_by_one, "repeated"),
    "warm_sync": partial(one_by_one, "repeated", is_async=False),
    "warm_defined": partial(one_by_one, "repeated", is_async=False),
    "model_async": partial(one_by_one, "model"),
    "model_sync": partial(one_by_one, "model", is_async=False),
    "logged_1": partial(one_by_one, "repeated", perm=LOGGING, is_async=False),
    "logged_2": partial(one_by_one, "repeated", perm=LOGGING, is_async=False),
    "cold": cold,
    "new_sync": partial(one_by_one, "new", is_async=False),
    "new_async": partial(one_by_one, "new"),
    "new_nonblocking": partial(one_by_one, "new", perm=NONBLOCKING),
    "gathered_200": partial(gathered, 200),
    "gathered_1000": partial(gathered, 1_000),
    "prefetched": prefetched,
    "prefetched_query": prefetched_query,
    "list_10000": partial(listed, COLUMN, 10_000),
    "list_100000": partial(listed, COLUMN, 100_000),
    "list_related": partial(listed, RELATION, 100_000),
}
SIZES = {"user_memory": user_memory, "decision_memory": decision_memory}


@contextmanager
def defined(**values: Any) -> Iterator[None]:
    """Define settings as a settings module does, which are faster than `override_settings`."""
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


# The tasks


def measure(library: str, database: str, name: str) -> None:
    # What the libraries print must not get between the answers.
    answers = os.fdopen(os.dup(sys.stdout.fileno()), "w")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    project.set_up(library, database, name)
    project.fill(library)
    gc.disable()  # it runs ahead of a measurement, and not in the middle of it
    worker = Worker(library)
    answer: dict[str, Any] = {"session": project.sign_in(), "product": worker.products[0].pk}
    with worker.runner:
        print(json.dumps(answer), file=answers, flush=True)
        for line in sys.stdin:
            asked = json.loads(line)
            answer = {"figure": worker.measure(asked["row"], asked["seconds"])}
            if asked["count"]:
                answer["count"] = worker.count(asked["row"])
            print(json.dumps(answer), file=answers, flush=True)


def serve(library: str, database: str, name: str) -> None:
    # With a pool: every request has a thread, and so a connection, of its own, and connecting to
    # PostgreSQL would be most of what is measured.
    project.set_up(library, database, name, pool=True)

    import uvicorn
    from django.core.asgi import get_asgi_application

    listener = socket.create_server(("127.0.0.1", 0))
    # As asyncio does for sockets that it opens itself: no waiting for acknowledgements.
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    print(listener.getsockname()[1], flush=True)
    config = uvicorn.Config(
        get_asgi_application(), loop="asyncio", http="h11", lifespan="off", log_level="warning"
    )
    uvicorn.Server(config).run(sockets=[listener])


def startup(library: str, database: str, name: str) -> None:
    began = time.process_time()
    project.set_up(library, database, name)

    from django.contrib.auth import get_backends

    get_backends()
    print(time.process_time() - began)


if __name__ == "__main__":
    {"measure": measure, "serve": serve, "startup": startup}[sys.argv[1]](*sys.argv[2:])
