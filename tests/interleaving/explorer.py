"""Runs cases, and counts them."""

from __future__ import annotations

import asyncio
import gc
import sys
import types
import warnings
import weakref
from collections import Counter
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from functools import partial
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple
from unittest.mock import patch

from django.db import connections
from django.test import override_settings

import djem_async

from .choices import Choices
from .loop import EVERYBODY, HOWS, Cancellation, ControlledLoop, Monitor
from .methods import installed
from .moments import inhabited
from .scenarios import SCENARIOS, everything
from .threads import Threads
from .world import World

if TYPE_CHECKING:
    from collections.abc import Iterator

    from .storages import Storage

PACKAGE = str(Path(djem_async.__file__).parent)


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
    suspensions: Counter[str]
    steps: int


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
            # What the library finds out about classes it keeps, and must not find out in the middle
            # of a schedule that is to be the same the next time.
            for seed in range(6):
                self.run(Case("everything", seed))
            self.counts.clear()
            yield self

    def explore(self, scenario: str, seed: int, *, cancels: bool = False) -> None:
        """Run a scenario with one seed, and then cancelling each task wherever it waits."""
        outcome = self.check(Case(scenario, seed))
        if not cancels:
            return
        for cancellation in cancellations(outcome):
            self.check(Case(scenario, seed, cancellation))
            self.counts["cancellations"] += 1

    def check(self, case: Case) -> Outcome:
        """Run a case, and fail if anything is wrong.

        Raises:
            Failed: What is wrong, and how to see it again.
        """
        outcome = self.run(case)
        if outcome.problems:
            raise Failed(
                "\n".join(
                    [
                        f"{case} ({type(self.storage).__name__}) ended as it must not:",
                        *(f"* {problem}" for problem in outcome.problems),
                        f"Order: {' '.join(outcome.trace)}",
                    ]
                )
            )
        return outcome

    def run(self, case: Case) -> Outcome:
        """Run a case."""
        outcome, grown = self._run(case)
        if grown:
            # The library may have learnt something about a class; it does not do so twice.
            grown &= self._run(case)[1]
            outcome.problems.extend(f"{count} more of {name}" for name, count in grown.items())
        return outcome

    def _run(self, case: Case) -> tuple[Outcome, Counter[str]]:
        before = living()
        self._noise.clear()
        choices = Choices(f"{case.scenario} {case.seed}")
        monitor = Monitor(case.cancellation)
        problems, checks, watched = self._schedule(case, choices, monitor)
        gc.collect()
        alive = [instance for reference in watched if (instance := reference()) is not None]
        problems += [f"{instance!r} is still alive" for instance in alive]
        problems += monitor.noise + self._noise
        self.counts["schedules"] += 1
        self.counts["checks"] += checks
        self.counts["choices"] += len(choices.trace)
        outcome = Outcome(problems, choices.trace, monitor.suspensions, monitor.steps)
        return outcome, living() - before

    def _schedule(
        self, case: Case, choices: Choices, monitor: Monitor
    ) -> tuple[list[str], int, list[weakref.ref[Any]]]:
        threads = Threads(choices)
        world = World(str(case[:2]), self.storage, threads, choices, monitor)
        world.verbosity = choices.draw((0, 1, 2))
        threads.preempt_in = PACKAGE
        threads.preempt_rate = choices.draw((0, 0, 0, 0.02, 0.1))
        threads.enter, threads.leave = self.storage.enter_thread, connections.close_all
        program = (SCENARIOS.get(case.scenario) or everything)(world)
        numbers = count(1)

        def run_loop(main: Any, **_options: Any) -> Any:
            name = f"loop{next(numbers)}"
            with threads.counted_in(name):
                new_loop = partial(ControlledLoop, threads, monitor, name)
                with asyncio.Runner(loop_factory=new_loop) as runner:
                    return runner.run(main)

        with (
            inhabited(world),
            override_settings(DJEM_PERM_LOG_VERBOSITY=world.verbosity),
            patch.object(asyncio, "run", run_loop),
        ):
            try:
                threads.run("main", lambda: run_loop(world.main(program)))
            finally:
                self.storage.end()
        problems = world.problems
        if threads.failure is not None:
            notes = getattr(threads.failure, "__notes__", ())
            problems.append("\n".join([repr(threads.failure), *notes]))
        watch = [weakref.ref(each) for each in (world.user, world.other_user, *world.things)]
        return problems, world.checks, watch


def cancellations(outcome: Outcome) -> Iterator[Cancellation]:
    """List all ways to cancel a task of a schedule."""
    for task, number in outcome.suspensions.items():
        for at in range(1, number + 1) if not task.startswith("loop") else ():
            yield from (Cancellation(task, at, how) for how in HOWS)
    for at in range(1, outcome.steps):
        yield Cancellation(EVERYBODY, at)


KINDS = (asyncio.Task, asyncio.Future, types.CoroutineType, types.FrameType, types.TracebackType)


def living() -> Counter[str]:
    """Count what should not outlive a schedule."""
    found: Counter[str] = Counter()
    for thing in gc.get_objects():
        kind = type(thing)
        # Not tuples: the garbage collector follows only some of them.
        is_ours = kind.__module__.startswith(("djem_async", "tests.testapp"))
        if kind in KINDS or (is_ours and not issubclass(kind, tuple)):
            found[kind.__qualname__] += 1
    return found


@contextmanager
def watched() -> Iterator[list[str]]:
    """Collect what Python has to complain about where nobody can catch it."""
    noise: list[str] = []

    def note(unraisable: Any) -> None:
        noise.append(f"{unraisable.err_msg}: {unraisable.exc_value!r} {unraisable.object!r}")

    hook, sys.unraisablehook = sys.unraisablehook, note
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1)  # threads that are not told so go on until they wait
    gc.collect()
    gc.freeze()  # so that looking at all objects is fast
    gc.disable()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            yield noise
    finally:
        sys.unraisablehook = hook
        sys.setswitchinterval(interval)
        gc.enable()
        gc.unfreeze()
