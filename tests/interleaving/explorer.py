"""Runs cases, and counts them."""

from __future__ import annotations

import asyncio
import gc
import sys
import warnings
import weakref
from collections import Counter
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple
from unittest.mock import patch

from django.db import connections
from django.test import override_settings

from . import moments
from .choices import Choices
from .loop import EVERYBODY, HOWS, Case, ControlledLoop
from .methods import installed
from .scenarios import SCENARIOS
from .threads import LentThread, Threads
from .world import World

if TYPE_CHECKING:
    from collections.abc import Iterator

    from .storages import Storage


class Outcome(NamedTuple):
    problems: list[str]
    trace: list[str]
    cancellations: list[Case]  # all ways to cancel a task of the schedule


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
            override_settings(AUTHENTICATION_BACKENDS=backends),
            installed(),
            watched() as self._noise,
        ):
            yield self

    def explore(self, scenario: str, seed: int, *, cancels: bool = False) -> None:
        """Run a scenario with one seed, and then cancelling each task wherever it waits."""
        outcome = self.check(Case(scenario, seed))
        for case in outcome.cancellations if cancels else ():
            self.check(case)
            self.counts["cancellations"] += 1

    def check(self, case: Case) -> Outcome:
        """Run a case, and fail if anything is wrong."""
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
        loop = ControlledLoop(threads, case)
        problems, watched = self._schedule(case, threads, loop)
        gc.collect()
        problems += [f"{each()!r} is still alive" for each in watched if each() is not None]
        problems += loop.noise + self._noise
        self.counts["schedules"] += 1
        return Outcome(problems, choices.trace, cancellations(case, loop))

    def _schedule(
        self, case: Case, threads: Threads, loop: ControlledLoop
    ) -> tuple[list[str], list[weakref.ref[Any]]]:
        choices = threads.choices
        world = World(str(case[:2]), self.storage, threads, choices, loop)
        world.verbosity = choices.draw((0, 1))
        world.is_undisturbed = case.task == "nobody"
        threads.enter, threads.leave = self.storage.enter_thread, connections.close_all
        program = SCENARIOS[case.scenario](world)

        def run_loop() -> None:
            with asyncio.Runner(loop_factory=lambda: loop) as runner:
                runner.run(world.main(program))

        with (
            patch.object(moments, "worlds", [world]),
            override_settings(DJEM_PERM_LOG_VERBOSITY=world.verbosity),
            patch("asgiref.sync.CurrentThreadExecutor", partial(LentThread, threads)),
        ):
            try:
                threads.run("main", run_loop)
            finally:
                self.storage.end()
        problems = world.problems
        if threads.failure is not None:
            problems.append(repr(threads.failure))
        self.counts["checks"] += world.checks
        watched = (world.user, world.other_user, *world.things)
        return problems, [weakref.ref(instance) for instance in watched]


def cancellations(case: Case, loop: ControlledLoop) -> list[Case]:
    """List all ways to cancel a task of a schedule."""
    found = [case._replace(task=EVERYBODY, at=at) for at in range(1, loop.steps)]
    for task, number in loop.suspensions.items():
        for at in range(1, number + 1):
            found += [case._replace(task=task, at=at, how=how) for how in HOWS]
    return found


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
