"""Runs cases, and counts them."""

from __future__ import annotations

import asyncio
import gc
import sys
import warnings
import weakref
from collections import Counter
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple
from unittest.mock import patch

from django.db import connections
from django.test import override_settings

from .choices import Choices
from .loop import EVERYBODY, HOWS, Cancellation, ControlledLoop
from .methods import installed
from .moments import inhabited
from .scenarios import SCENARIOS, everything
from .threads import LentThread, Threads
from .world import World

if TYPE_CHECKING:
    from collections.abc import Iterator

    from .storages import Storage


class Case(NamedTuple):
    """All that is needed to run a schedule again."""

    scenario: str
    seed: int
    cancellation: Cancellation | None = None

    def __str__(self) -> str:
        words = [self.scenario, f"seed={self.seed}"]
        if self.cancellation is not None:
            words.append("cancel={}:{}:{}".format(*self.cancellation))
        return " ".join(words)

    @classmethod
    def parse(cls, text: str) -> Case:
        scenario, *words = text.split()
        values = dict(word.split("=") for word in words)
        cancellation = None
        if "cancel" in values:
            task, at, how = values["cancel"].split(":")
            cancellation = Cancellation(task, int(at), how)
        return cls(scenario, int(values["seed"]), cancellation)


class Outcome(NamedTuple):
    problems: list[str]
    trace: list[str]
    cancellations: list[Cancellation]  # all ways to cancel a task of the schedule


class Failed(AssertionError):
    """A schedule that ended as it must not."""


@dataclass
class Explorer:
    """Runs schedules with one storage."""

    storage: Storage
    counts: Counter[str] = field(default_factory=Counter)
    _noise: list[str] = field(default_factory=list)

    @contextmanager
    def ready(self) -> Iterator[Explorer]:
        """Prepare for running schedules."""
        backends = [self.storage.backend, "djem_async.auth.ObjectPermissionsBackend"]
        with (
            closing(self.storage),
            override_settings(AUTHENTICATION_BACKENDS=backends),
            installed(),
            watched() as self._noise,
        ):
            # What Django and the library find out about classes, they find out only once. They
            # must not do so in a schedule that is to be the same the next time.
            self.run(Case("everything", 0))
            self.counts.clear()
            yield self

    def explore(self, scenario: str, seed: int, *, cancels: bool = False) -> None:
        """Run a scenario with one seed, and then cancelling each task wherever it waits."""
        outcome = self.check(Case(scenario, seed))
        for cancellation in outcome.cancellations if cancels else ():
            self.check(Case(scenario, seed, cancellation))
            self.counts["cancellations"] += 1

    def check(self, case: Case) -> Outcome:
        """Run a case, and fail if anything is wrong.

        Raises:
            Failed: What is wrong, and how to see it again.
        """
        outcome = self.run(case)
        if outcome.problems:
            title = f"{case} ({type(self.storage).__name__}) ended as it must not:"
            problems = [f"* {problem}" for problem in outcome.problems]
            raise Failed("\n".join([title, *problems, f"Order: {' '.join(outcome.trace)}"]))
        return outcome

    def run(self, case: Case) -> Outcome:
        """Run a case."""
        self._noise.clear()
        choices = Choices(f"{case.scenario} {case.seed}")
        threads = Threads(choices)
        loop = ControlledLoop(threads, case.cancellation)
        problems, watched = self._schedule(case, threads, loop)
        gc.collect()
        alive = [instance for reference in watched if (instance := reference()) is not None]
        problems += [f"{instance!r} is still alive" for instance in alive]
        problems += loop.noise + self._noise
        self.counts["schedules"] += 1
        self.counts["choices"] += len(choices.trace)
        return Outcome(problems, choices.trace, cancellations(loop))

    def _schedule(
        self, case: Case, threads: Threads, loop: ControlledLoop
    ) -> tuple[list[str], list[weakref.ref[Any]]]:
        choices = threads.choices
        world = World(str(case[:2]), self.storage, threads, choices, loop)
        world.verbosity = choices.draw((0, 1))
        world.is_undisturbed = case.cancellation is None
        threads.enter, threads.leave = self.storage.enter_thread, connections.close_all
        program = (SCENARIOS.get(case.scenario) or everything)(world)

        def run_loop() -> None:
            with asyncio.Runner(loop_factory=lambda: loop) as runner:
                runner.run(world.main(program))

        with (
            inhabited(world),
            override_settings(DJEM_PERM_LOG_VERBOSITY=world.verbosity),
            patch("asgiref.sync.CurrentThreadExecutor", partial(LentThread, threads)),
        ):
            try:
                threads.run("main", run_loop)
            finally:
                self.storage.end()
        problems = world.problems
        if threads.failure is not None:
            notes = getattr(threads.failure, "__notes__", ())
            problems.append("\n".join([repr(threads.failure), *notes]))
        self.counts["checks"] += world.checks
        return problems, [
            weakref.ref(each) for each in (world.user, world.other_user, *world.things)
        ]


def cancellations(loop: ControlledLoop) -> list[Cancellation]:
    """List all ways to cancel a task of a schedule."""
    single = [
        Cancellation(task, at, how)
        for task, number in loop.suspensions.items()
        for at in range(1, number + 1)
        for how in HOWS
    ]
    return [*single, *(Cancellation(EVERYBODY, at) for at in range(1, loop.steps))]


@contextmanager
def watched() -> Iterator[list[str]]:
    """Collect what Python has to complain about where nobody can catch it."""
    noise: list[str] = []

    def note(unraisable: Any) -> None:
        noise.append(f"{unraisable.err_msg}: {unraisable.exc_value!r} {unraisable.object!r}")

    hook, sys.unraisablehook = sys.unraisablehook, note
    gc.collect()
    gc.freeze()  # so that looking at all objects is fast
    gc.disable()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            yield noise
    finally:
        sys.unraisablehook = hook
        gc.enable()
        gc.unfreeze()
