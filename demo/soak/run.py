"""One run: what happens when, and whether all was well."""

import asyncio
import socket
import tempfile
import time
from pathlib import Path
from random import Random
from typing import Any, Final

from django.contrib.auth import BACKEND_SESSION_KEY, HASH_SESSION_KEY, SESSION_KEY
from django.contrib.sessions.backends.signed_cookies import SessionStore
from django.core.management import call_command
from django.db import connections

from .clients import FAILING, KINDS, Clients
from .database import Database
from .server import Server
from .settings import AUTHENTICATION_BACKENDS, POOL_SIZE
from .world import World

CLIENTS: Final = 12
# The server is measured after each round, and started again after every third.
ROUNDS: Final = 6
# By how much each figure may exceed what it was after the first round of the same process.
MAY_GROW: Final = {
    "users": 2,
    "objects": 3000,
    "tasks": 2,
    "threads": 6,  # of the event loop and the pool, which start them when needed
    "files": 4,
    "connections": 2,
    "KiB": 12_000,
}
# What Python says at some time after a mistake with a coroutine or a task. (Of the futures of
# threads that were given up it says more, but these are asgiref's.)
COMPLAINTS: Final = ("was never awaited", "Task exception was never", "Task was destroyed")
# A load of so many seconds meets with all of this.
LONG: Final = 60
MUST_HAPPEN: Final = (
    *(f"method: {fault}, failed" for fault in FAILING),
    "client disconnected",
    "connection killed in an access method",
    "pool run dry",
)


def soak(database: Database, seconds: float, seed: int, bug: str) -> int:
    """Put a server under load, print the figures, and return the exit status."""
    call_command("migrate", run_syncdb=True, verbosity=0)
    world = World()
    cookies = {user: _cookie(user) for user in [*world.users, world.hog]}
    connections.close_all()
    with socket.create_server(("127.0.0.1", 0)) as free:
        port: int = free.getsockname()[1]
    with tempfile.NamedTemporaryFile(prefix="soak-", suffix=".log", delete=False) as log:
        server = Server(port, log, bug)
        clients = Clients(world, server.address, cookies, seed)
        print(f"Seed {seed}, {seconds:g} s of load by {CLIENTS} clients.\n", flush=True)
        problems = asyncio.run(Run(database, server, clients, seed).run(seconds))
    text = Path(log.name).read_text()
    problems += [f"The server's log says: {each}" for each in COMPLAINTS if each in text]
    if problems:
        print(f"\nNot well ({len(problems)}). The server's log is {log.name}.")
        for problem in problems[:20]:
            print(f"* {problem}")
        return 1
    Path(log.name).unlink()
    print("\nAll is well.")
    return 0


def _cookie(user: Any) -> str:
    session = SessionStore()
    session[SESSION_KEY] = str(user.pk)
    session[BACKEND_SESSION_KEY] = AUTHENTICATION_BACKENDS[0]
    session[HASH_SESSION_KEY] = user.get_session_auth_hash()
    session.save()
    return str(session.session_key)


class Run:
    """A server, its clients, and the faults that come from outside."""

    def __init__(self, database: Database, server: Server, clients: Clients, seed: int) -> None:
        self._database = database
        self._server = server
        self._clients = clients
        self._random = Random(seed)
        self._problems: list[str] = []

    async def run(self, seconds: float) -> list[str]:
        """Do all of it, print the figures, and return what was not well."""
        clients = self._clients
        await self._server.start()
        background = (
            *(clients.work(number) for number in range(CLIENTS)),
            self._kill_connections(),
            self._drain_the_pool(),
        )
        try:
            async with asyncio.TaskGroup() as group:
                tasks = [group.create_task(each) for each in background]
                for _ in range(2):
                    await self._three_rounds(seconds / ROUNDS)
                    await self._restart()
                await clients.pause()
                for task in tasks:
                    task.cancel()
        finally:
            await self._server.kill()
        self._report()
        if seconds >= LONG:
            missing = [kind for kind in KINDS if not clients.served[kind]]
            missing += [fault for fault in MUST_HAPPEN if not clients.faults[fault]]
            self._problems += [f"This never happened: {each}" for each in missing]
        return [*clients.wrong, *self._problems]

    async def _three_rounds(self, seconds: float) -> None:
        first: dict[str, int] = {}
        for _ in range(ROUNDS // 2):
            await asyncio.sleep(seconds)
            await self._clients.pause()
            figures = await self._measure()
            self._clients.resume()
            print(", ".join(f"{name} {figures[name]:,}" for name in MAY_GROW), flush=True)
            first = first or figures
            for name, most in MAY_GROW.items():
                if figures[name] > first[name] + most:
                    self._problems.append(f"{name} grew from {first[name]} to {figures[name]}")

    async def _measure(self) -> dict[str, int]:
        before: dict[str, int] = {}
        figures: dict[str, int] = {}
        # Requests that were given up may still have a thread at work, for a while.
        for _ in range(20):
            figures = await self._server.figures()
            figures["connections"] = await asyncio.to_thread(self._database.connections)
            if all(figures[name] == before.get(name) for name in ("threads", "files", "users")):
                return figures
            before = figures
            await asyncio.sleep(0.5)
        self._problems.append(f"The server did not come to rest: {figures}")
        return figures

    async def _restart(self) -> None:
        clients = self._clients
        await asyncio.sleep(1)
        with clients.trouble(after=0.5):
            clients.shutdown = time.monotonic()
            status = await self._server.stop()
            await clients.pause()
            if status != 0:
                self._problems.append(f"The server's exit status was {status}.")
                await self._server.kill()
            await self._server.start()
            clients.resume()

    async def _kill_connections(self) -> None:
        while True:
            await asyncio.sleep(self._random.uniform(0.2, 1))
            await self._clients.asking()
            state = self._random.choice(["active", "active", "active", "idle"])
            with self._clients.trouble(most=1):
                what = await asyncio.to_thread(self._database.kill, state)
            if what:
                self._clients.faults[f"connection killed {what}"] += 1

    async def _drain_the_pool(self) -> None:
        while True:
            await asyncio.sleep(self._random.uniform(3, 9))
            await self._clients.asking()
            failed = self._clients.failed.total()
            # A connection goes back to the pool a little later than the answer to the client.
            with self._clients.trouble(after=0.5):
                await asyncio.gather(*(self._clients.hog() for _ in range(POOL_SIZE + 8)))
            self._clients.faults["pool run dry"] += self._clients.failed.total() > failed

    def _report(self) -> None:
        clients = self._clients
        for title, counts in {
            "Requests served": clients.served,
            "Requests failed": clients.failed,
            "Requests in flight at a shutdown": clients.at_shutdown,
            "Changes and faults": clients.faults,
            "Checks answered": clients.answers,
        }.items():
            print(f"\n{title}: {counts.total():,}")
            for name, count in sorted(counts.items()):
                print(f"  {count:8,}  {name}")
        print(f"\nWrong answers, and failures without a reason: {len(clients.wrong)}")
