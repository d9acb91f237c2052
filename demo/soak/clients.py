"""Clients that ask, disconnect, change what is true, and judge every answer."""

import asyncio
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from math import inf
from random import Random
from typing import Any, Final, NamedTuple, TypeAlias

import httpx

from .models import Gate
from .views import GATE_PERMS, PERMS
from .world import World

BEFORE_THE_VIEW: Final = ("decorator", "decorator-sync", "mixin", "mixin-sync")
SINGLE: Final = ("async", "sync", *BEFORE_THE_VIEW)
# Which faults a view catches, to check again. A sync view cannot give up a method that hangs.
CAUGHT: Final = {
    "after-fault": ("stall", "raise", "ruin", "cancel", "close", "interrupt"),
    "after-fault-sync": ("raise", "ruin", "cancel", "close", "interrupt"),
}
# Which ones fail a request, and how.
FAILING: Final = {"hang": "504", "raise": "500", "ruin": "500", "cancel": "500"}
# How often a request is of which kind, and a check of a gate meets with which fault.
KINDS: Final = {
    **dict.fromkeys(SINGLE, 6),
    **dict.fromkeys(CAUGHT, 5),
    "gathered": 8,
    "revoked": 3,
    "sets": 2,
}
FAULTS: Final = {"": 50, "query": 30, **dict.fromkeys(FAILING, 5)}
# A request that takes longer has met with a deadlock.
TIMEOUT: Final = 20
DENIED: Final = "\nRESULT: Permission Denied"

Check: TypeAlias = tuple[Any, str, Any]
"""A user, a permission and an object."""


class Request(NamedTuple):
    """What is asked, and what happens meanwhile."""

    kind: str
    path: str
    checks: list[Check]
    fault: str = ""
    # Seconds until the client disconnects.
    patience: float | None = None


@dataclass
class Trouble:
    """A reason for requests to fail."""

    until: float
    most: float


def connect(address: str) -> httpx.AsyncClient:
    """Return an HTTP client for the server."""
    # Without a limit to connections: clients that wait for each other are not the server's fault.
    limits = httpx.Limits(max_connections=None)
    return httpx.AsyncClient(base_url=address, timeout=TIMEOUT, limits=limits, verify=False)


class Clients:
    """A number of clients at work, and what happened to them."""

    def __init__(self, world: World, address: str, cookies: dict[Any, str], seed: int) -> None:
        self.served: Counter[str] = Counter()
        self.failed: Counter[str] = Counter()
        self.faults: Counter[str] = Counter()
        self.answers: Counter[str] = Counter()
        self.wrong: list[str] = []
        self.at_shutdown: Counter[str] = Counter()
        # The moment of the last one.
        self.shutdown = 0.0
        self._world = world
        self._cookies = cookies
        self._seed = seed
        self._http = connect(address)
        self._address = address
        self._may_ask = asyncio.Event()
        self._may_ask.set()
        self._idle = asyncio.Event()
        self._working = 0
        self._troubles: list[Trouble] = []

    @contextmanager
    def trouble(self, *, after: float = 0, most: float = inf) -> Iterator[None]:
        """Excuse requests that fail during the block, or soon after, but not more than so many."""
        trouble = Trouble(inf, most)
        self._troubles.append(trouble)
        try:
            yield
        finally:
            trouble.until = time.monotonic() + after

    async def pause(self) -> None:
        """Ask nothing more, wait for the answers, and close the connections."""
        self._may_ask.clear()
        await self._idle.wait()
        await self._http.aclose()
        self._http = connect(self._address)

    def resume(self) -> None:
        """Go on asking."""
        self._may_ask.set()

    async def asking(self) -> None:
        """Wait while clients are paused."""
        await self._may_ask.wait()

    async def work(self, number: int) -> None:
        """Be one of the clients, until cancelled."""
        random = Random(f"{self._seed}-{number}")
        while True:
            await self._may_ask.wait()
            self._working += 1
            self._idle.clear()
            try:
                request = self._invent(random)
                if random.random() < 0.4:
                    fact = random.choice(self._world.relevant(*request.checks[-1]))
                    became = await fact.flip()
                    self.faults["granted in the database" if became else "revoked there"] += 1
                await self._ask(request)
            finally:
                self._working -= 1
                if not self._working:
                    self._idle.set()

    async def hog(self) -> None:
        """Occupy a database connection of the server for some time."""
        check = self._world.hog, "soak.enter_gate", self._world.objects[Gate][0]
        await self._ask(Request("async", _path("async", check), [check], "hog"))

    def _invent(self, random: Random) -> Request:
        kind = random.choices(list(KINDS), list(KINDS.values()))[0]
        user = random.choice(self._world.users)
        perms = GATE_PERMS if kind in CAUGHT else list(PERMS)
        checks = []
        for _ in range(6 if kind == "gathered" else 1):
            perm = random.choice(perms)
            checks.append((user, perm, random.choice(self._world.objects[PERMS[perm]])))
        match kind:
            case "gathered":
                path = "gathered/?" + "&".join(f"check={perm}:{obj.pk}" for _, perm, obj in checks)
            case "revoked":
                path = f"revoked/{random.choice(['model', 'object'])}/"
            case _:
                path = _path(kind, checks[0])
        fault = ""
        if kind in CAUGHT:
            fault = random.choice(CAUGHT[kind])
            if fault == "close" and checks[0][1] == "soak.enter_gate":
                # GeneratorExit from a thread closes the coroutine of the view.
                fault = "raise"
        elif kind == "gathered":
            fault = random.choice(["", "linger", "query", *CAUGHT["after-fault"]])
        elif kind == "revoked":
            fault = random.choice(["", "linger", "query"])
        elif checks[0][1] in GATE_PERMS and kind in SINGLE:
            fault = random.choices(list(FAULTS), list(FAULTS.values()))[0]
        patience = random.uniform(0.001, 0.06) if random.random() < 0.08 else None
        return Request(kind, path, checks, fault, patience)

    async def _ask(self, request: Request) -> None:
        start = time.monotonic()
        outcome = await self._outcome(request, start)
        if start < self.shutdown < time.monotonic():
            self.at_shutdown[outcome] += 1

    async def _outcome(self, request: Request, start: float) -> str:
        headers = {"cookie": f"sessionid={self._cookies[request.checks[0][0]]}"}
        if request.fault:
            headers["x-fault"] = request.fault
        try:
            async with asyncio.timeout(request.patience):
                response = await self._http.get(request.path, headers=headers)
        except TimeoutError:
            self.faults["client disconnected"] += 1
            return "given up by the client"
        except httpx.TimeoutException:
            return self._complain(request, f"no answer in {TIMEOUT} s")
        except httpx.HTTPError as error:
            # The connection was refused or cut off: the server is being started again.
            await asyncio.sleep(0.5)
            return self._note_failure(request, type(error).__name__, start)
        end = time.monotonic()
        if response.status_code in {500, 504}:
            return self._note_failure(request, str(response.status_code), start)
        try:
            self._judge(request, response, start, end)
        except (AssertionError, LookupError, TypeError, ValueError) as error:
            return self._complain(request, f"{error!r}: {response.status_code} {response.text}")
        self.served[request.kind] += 1
        if request.fault:
            self.faults[f"method: {request.fault}, answered"] += 1
        return "answered"

    def _note_failure(self, request: Request, how: str, start: float) -> str:
        self.failed[how] += 1
        if request.kind in SINGLE and FAILING.get(request.fault) == how:
            self.faults[f"method: {request.fault}, failed"] += 1
        elif troubles := self._troubles_since(start):
            # Best one that excuses them all: another request may need the excuse of a single one.
            max(troubles, key=lambda trouble: trouble.most).most -= 1
        else:
            return self._complain(request, f"failed without a reason: {how}")
        return f"failed: {how}"

    def _troubles_since(self, start: float) -> list[Trouble]:
        self._troubles = [each for each in self._troubles if each.until > start - TIMEOUT]
        return [each for each in self._troubles if start <= each.until and each.most]

    def _complain(self, request: Request, text: str) -> str:
        fault = f" with {request.fault}" if request.fault else ""
        self.wrong.append(f"{request.checks[0][0]} at /{request.path}{fault}: {text}")
        return "wrong"

    def _judge(self, request: Request, response: httpx.Response, start: float, end: float) -> None:
        said: Any = response.json()
        match request.kind:
            case "revoked":
                assert [each["granted"] for each in said["first"]] == [True]
                denials = [each["granted"] is False for each in said["then"]]
                assert denials == [True] * 2 * len(GATE_PERMS)
                assert all(each["log"][-1] == DENIED for each in said["then"])
                self.answers["after a clear"] += len(denials)
            case "sets":
                self._judge_set(request.checks[0], said, start, end)
            case "gathered":
                checks = {(perm, obj.pk): (user, perm, obj) for user, perm, obj in request.checks}
                assert len(said["answers"]) >= len(request.checks)
                for answer in said["answers"]:
                    self._judge_one(checks[answer["perm"], answer["pk"]], answer, start, end)
            case _:
                is_denied = request.kind in BEFORE_THE_VIEW and not said["granted"]
                assert response.status_code == (403 if is_denied else 200)
                self._judge_one(request.checks[0], said, start, end)

    def _judge_one(self, check: Check, said: Any, start: float, end: float) -> None:
        user, perm, obj = check
        assert (said["user"], said["perm"], said["pk"]) == (str(user), perm, obj.pk)
        possible = self._world.possible(start, end, *check)
        assert (said["granted"], said["log"]) in possible, f"none of {possible}"
        self.answers["granted" if said["granted"] else "denied"] += 1
        self.answers["with one right answer"] += len(possible) == 1

    def _judge_set(self, check: Check, said: Any, start: float, end: float) -> None:
        user, perm, obj = check
        assert (said["user"], said["pk"]) == (str(user), obj.pk)
        for each, model in PERMS.items():
            is_held = each in said["held"]
            if model is PERMS[perm]:
                possible = self._world.possible(start, end, user, each, obj)
                assert is_held in {granted for granted, _ in possible}, each
            else:
                assert not is_held, each
        self.answers["sets"] += 1


def _path(kind: str, check: Check) -> str:
    _, perm, obj = check
    return f"{kind}/{perm}/{obj.pk}/"
