"""The users and objects of one schedule, and the judge of what is answered about them."""

from __future__ import annotations

import asyncio
import contextvars
import copy
import zlib
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from asgiref.sync import sync_to_async
from django.db import DatabaseError, OperationalError

from tests.testapp.models import OtherThing, Thing, User

from .methods import HELPERS, SOUND, Boom, Law
from .moments import History, Key, label
from .threads import CallEnded

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Coroutine, Iterator

    from django.db.models import Model

    from .choices import Choices
    from .loop import ControlledLoop
    from .storages import Storage
    from .threads import Threads

    Start = Callable[[], Coroutine[Any, Any, Any]]

CACHES = ("_perm_cache", "_user_perm_cache", "_group_perm_cache")

# The task or thread of the scenario that is at work, also in the tasks and threads it starts.
_family: contextvars.ContextVar[str] = contextvars.ContextVar("family", default="")


@dataclass
class Program:
    """What a scenario runs, by name."""

    tasks: dict[str, Start] = field(default_factory=dict)
    threads: dict[str, Callable[[], object]] = field(default_factory=dict)
    judge: Callable[[], None] = lambda: None
    """Looks at what has happened, when all tasks of the first event loop have ended."""


@dataclass(eq=False)
class Check:
    user: User
    name: str
    thing: Model | None
    begin: int

    def __str__(self) -> str:
        return f"{self.name} on {label(self.thing) if self.thing else 'the model level'}"


class World:
    """What a scenario works with."""

    def __init__(
        self, seed: str, storage: Storage, threads: Threads, choices: Choices, loop: ControlledLoop
    ) -> None:
        self.choices = choices
        self.verbosity = 0
        self.checks = 0
        self.queries = 0
        self.is_undisturbed = True  # nobody is cancelled
        self.fails_at = 0  # the number of the query that fails
        self.is_writing = False
        self.has_database = storage.has_database
        self.problems: list[str] = []
        self.user, self.other_user = (stored(User(pk=pk, username=f"user {pk}")) for pk in (1, 2))
        self.things: list[Model] = [
            stored(Thing(pk=1, name="one")),
            stored(Thing(pk=2, name="two")),
            stored(OtherThing(pk=1, name="other")),
        ]
        self._seed = seed
        self._storage = storage
        self.pause = threads.pause
        self._loop = loop
        self._now = 0
        self._histories: dict[Key, History] = {}
        self._clears: list[tuple[User, int, int]] = []
        self._drops: list[tuple[User, int, int]] = []  # of Django's caches alone
        self._unfinished = 0  # checks, also those that were cancelled: their threads may go on
        self._injected: list[BaseException] = []
        self._contexts: dict[str, contextvars.Context] = {}
        self._last: dict[str, Check] = {}

    # Time, and what changes with it

    def tick(self) -> int:
        self._now += 1
        return self._now

    async def breathe(self) -> None:
        """Let other tasks go first, perhaps."""
        for _ in range(self.choices.draw((0, 1, 1, 2))):
            await asyncio.sleep(0)

    def history(self, key: Key) -> History:
        if key not in self._histories:
            first = key[0]  # type: ignore[index]
            value = first == "held"
            if first in {"user", "group"}:
                value = zlib.crc32(f"{self._seed} {key}".encode()) % 2 == 0
            self._histories[key] = History(value)
        return self._histories[key]

    def read(self, *key: Any) -> bool:
        return self.history(key).value

    def set(self, *key: Any, value: bool) -> None:
        """Change a value; when this returns, it is changed for everybody."""
        history, begin = self.history(key), self.tick()
        self.is_writing = True
        self._storage.write(key, value)
        self.is_writing = False
        history.change(begin, self.tick(), value)

    async def aset(self, *key: Any, value: bool) -> None:
        if self.has_database and key[0].startswith("held"):
            await sync_to_async(self.set)(*key, value=value)
        else:
            self.set(*key, value=value)

    # Faults

    def problem(self, text: str) -> None:
        self.problems.append(f"{_family.get()}: {text}")

    def injected(self, error: BaseException) -> BaseException:
        self._injected.append(error)
        return error

    def query(self) -> None:
        """Count a query, and fail if it is the one that is to fail."""
        self.queries += 1
        if self.queries == self.fails_at:
            raise self.injected(OperationalError("the database has gone"))

    async def tolerantly(self, work: Awaitable[Any]) -> None:
        """Wait for what may fail as it is told to."""
        with suppress(DatabaseError, Boom):
            await work

    # Clearing

    @contextmanager
    def _clearing(self, user: User) -> Iterator[None]:
        begin = self.tick()
        yield
        self._clears.append((user, begin, self.tick()))

    def clear(self, user: User) -> None:
        with self._clearing(user):
            user.clear_perm_cache()

    async def aclear(self, user: User) -> None:
        with self._clearing(user):
            await user.aclear_perm_cache()

    def delete_caches(self, user: User) -> None:
        """Drop Django's caches in Django's way, which drops what is known of the model level."""
        begin = self.tick()
        found = [name for name in CACHES if hasattr(user, name)]
        for name in found:
            with suppress(AttributeError):
                delattr(user, name)
        if found and not self._unfinished:
            self._drops.append((user, begin, self.tick()))

    @staticmethod
    def _last_before(check: Check, clears: list[tuple[User, int, int]]) -> int:
        """Return when the last of those began that had ended before the check began."""
        ended = (begin for user, begin, end in clears if user is check.user and end < check.begin)
        return max(ended, default=0)

    # Checks

    async def check(self, name: str, thing: Model | None, user: User | None = None) -> bool:
        with self._checking(name, thing, user) as check:
            granted = await check.user.ahas_perm(f"testapp.{name}", thing)
            self._judge(check, granted)
        with self._keeping_log(check.user):
            await self.breathe()
        return granted

    def check_sync(self, name: str, thing: Model | None, user: User | None = None) -> bool:
        with self._checking(name, thing, user) as check:
            granted = check.user.has_perm(f"testapp.{name}", thing)
            self._judge(check, granted)
        with self._keeping_log(check.user):
            self.pause()
        return granted

    @contextmanager
    def _checking(self, name: str, thing: Model | None, user: User | None) -> Iterator[Check]:
        check = Check(user or self.user, name, thing, self.tick())
        self.checks += 1
        self._unfinished += 1
        self._last[_family.get()] = check
        try:
            yield check
        except GeneratorExit:
            raise
        except BaseException as error:
            self._judge_error(check, error)
            raise
        self._unfinished -= 1

    def _law(self, check: Check) -> Law:
        since = self._last_before(check, self._clears)
        level_since = check.begin
        if self.has_database:
            level_since = self._last_before(check, self._clears + self._drops)
        return Law(self.history, check.user.pk, since, level_since, self._now)

    def _judge(self, check: Check, granted: object) -> None:
        law, name, thing = self._law(check), check.name, check.thing
        possible = law.check(name, thing) if thing else law.level(name)
        if type(granted) is not bool or granted not in possible:
            self.problem(
                f"{check} is {granted}, from {check.begin} to {self._now},"
                f" where {sorted(possible)} is allowed"
            )
        self._judge_log(check, f"Permission {'Granted' if granted else 'Denied'}", law.since)

    def _judge_error(self, check: Check, error: BaseException) -> None:
        if isinstance(error, asyncio.CancelledError):
            if _family.get() not in self._loop.cancelled:
                self.problem(f"{check} is cancelled, and nobody has asked for that")
        elif all(error is not injected for injected in self._injected):
            self.problem(f"{check} raises {error!r}")
        self._judge_log(check, f"Error ({type(error).__name__})", self._law(check).since)

    # Logs

    def _judge_log(self, check: Check, result: str, since: int) -> None:
        lines = []
        with suppress(KeyError):
            lines = [str(line) for line in check.user.get_last_log(raw=True)]
        if self.verbosity and not self._is_right(check, result, since, lines[:]):
            self.problem(f"{check}: the last log, which ends with {result!r}, is {lines}")

    @contextmanager
    def _keeping_log(self, user: User) -> Iterator[None]:
        """Find the same log after others have gone on, whatever they do."""
        last = user.get_last_log(raw=True) if self.verbosity else []
        yield
        if self.verbosity and (now := user.get_last_log(raw=True)) != last:
            self.problem(f"the last log has been {last} and is {now}")

    def _is_right(self, check: Check, result: str, since: int, lines: list[str]) -> bool:
        if not lines or lines.pop() != f"\nRESULT: {result}":
            return False
        if check.thing is None:
            return not lines
        if lines:
            answer = lines.pop(0)
            if answer not in {"Model-level Result: Granted\n", "Model-level Result: Denied\n"}:
                return False
            if "Denied" in answer:
                return not lines and result == "Permission Denied"
        elif not result.startswith("Error"):
            return False
        if not lines:
            return True
        # What one call has told, which may have been remembered since the last clear.
        name, thing, call, _ = lines[0].split()
        start = f"{name} {thing} {call} "
        if (name, thing) != (check.name, label(check.thing)) or int(call) <= since:
            return False
        words = [line.removeprefix(start) for line in lines]
        if words[0] != "begins" or len(set(words)) < len(words):
            return False
        if words[-1] != "ends":
            return result.startswith("Error")
        return sorted(words[1:-1]) == (sorted(HELPERS) if name == "helped" else [])

    def judge_rest(self) -> None:
        """Find no log active in this context."""
        for user in (self.user, self.other_user):
            with suppress(KeyError):
                user.log("a line for no log")
                self.problem("a log is still active")

    # Running a program

    async def main(self, program: Program) -> None:
        """Run a program, and look at what it leaves behind."""
        works = [
            self._loop.run_in_executor(None, self._run_thread, name, function)
            for name, function in program.threads.items()
        ]
        tasks = []
        programs = list(program.tasks.items())
        self.choices.random.shuffle(programs)
        for name, start in programs:
            context = self._contexts[name] = contextvars.copy_context()
            run = self._run_task(name, start)
            tasks.append(self._loop.create_task(run, name=name, context=context))
        await asyncio.wait(tasks)
        program.judge()
        for task in tasks:
            self._judge_task(task)
        if works:
            await asyncio.wait(works)
        # The loop must not end before the thread is free again, which may come back to it.
        await sync_to_async(bool)()
        self.fails_at = 0
        await self._check_again()

    async def _run_task(self, name: str, start: Start) -> None:
        _family.set(name)
        try:
            await start()
        finally:
            self.judge_rest()

    def _run_thread(self, name: str, function: Callable[[], object]) -> None:
        _family.set(name)
        try:
            function()
            self.judge_rest()
        except Exception as error:
            self.problem(f"ends with {error!r}")

    def _judge_task(self, task: asyncio.Task[Any]) -> None:
        name = task.get_name()
        was_asked = name in self._loop.cancelled
        if task.cancelled():
            if not was_asked:
                self.problem(f"{name} is cancelled, and nobody has asked for that")
        elif (error := task.exception()) is not None:
            self.problem(f"{name} ends with {error!r}")
        elif was_asked:
            self.problem(f"{name} has been cancelled, but goes on")

    async def _check_again(self) -> None:
        """Make the last check of each task again in its context."""
        for name, context in self._contexts.items():
            if (check := self._last.get(name)) is not None and check.name in SOUND:
                again = check.user.ahas_perm(f"testapp.{check.name}", check.thing)
                # Where a thread was given up, asgiref itself has no more use for the context.
                with suppress(*[CallEnded] if name in self._loop.cancelled else []):
                    await self._loop.create_task(again, context=context)

    def again(self, thing: Model) -> Model:
        """Return the same row in another instance."""
        return copy.copy(thing)


def stored(instance: Any) -> Any:
    """Make an instance look as if it came from the database."""
    instance._state.adding = False
    instance._state.db = "default"
    return instance
