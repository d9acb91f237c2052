"""Compares djem with this library, in an environment that has both; see `tests.oracle`."""

import argparse
import json
import random
import sys
from collections import Counter
from typing import Any

import django

django.setup()

from django.core.management import call_command  # noqa: E402 - Django first
from django.db import transaction  # noqa: E402
from djem.auth import ObjectPermissionsBackend as DjemBackend  # noqa: E402

from djem_async.auth import ObjectPermissionsBackend  # noqa: E402
from tests.differential import expected, library, stage  # noqa: E402
from tests.differential.histories import History, check_many  # noqa: E402
from tests.differential.results import Record, differing, record  # noqa: E402
from tests.testapp.models import PlainUser, User  # noqa: E402

from . import djems  # noqa: E402
from .differences import DIFFERENCES, PAGES  # noqa: E402
from .models import DjemUser  # noqa: E402

OURS = library.Library(User, PlainUser, ObjectPermissionsBackend)
DJEM = library.Library(DjemUser, PlainUser, DjemBackend)


class Comparison:
    """Compares the two libraries, and counts what explained their differences."""

    def __init__(self) -> None:
        call_command("migrate", run_syncdb=True, verbosity=0)
        self.rows = stage.create_permissions(), stage.create_group()
        self.histories = self.steps = self.differing = 0
        self.present: Counter[str] = Counter()
        self.alone: Counter[str] = Counter()

    @stage.installed()
    def compare(self, history: History) -> None:
        history = comparable(history)
        ours, djem = (self.run(history, which) for which in (OURS, DJEM))
        world = expected.World(history)
        right = list(record(history, world, [expected.Person(world, ("sync",))]))
        demand(history, "This library is not what the reference is", ours, right)
        predicted, noted = predict(history)
        demand(history, "djem is not what the entries predict", djem[: len(predicted)], predicted)
        self.histories += 1
        self.steps += len(predicted)
        first = next(differing(ours[: len(predicted)], predicted), None)
        if first is not None:
            number, action, one, other = first
            if not noted[number]:
                fail(history, "No entry explains", action, one, other)
            self.differing += 1
            self.present.update(noted[number])
            # What had its effect in that very step explains it, if that was one thing alone.
            new = noted[number] - (noted[number - 1] if number else set())
            if len(new or noted[number]) == 1:
                self.alone.update(new or noted[number])
        elif len(predicted) < len(ours):
            self.present["recursion"] += 1
            self.alone["recursion"] += 1

    def run(self, history: History, which: library.Library) -> Record:
        with transaction.atomic():
            with library.World(history, which, *self.rows) as world:
                found = list(record(history, world, [library.Person(world, ("sync",))]))
            transaction.set_rollback(True)
        return found


def comparable(history: History) -> History:
    """Leave out explanations, which djem doesn't have."""
    return {
        **history,
        "focus": [action for action in history["focus"] if action[0] != "explain_perm"],
        "steps": [step for step in history["steps"] if step[0][0] != "explain_perm"],
    }


def predict(history: History) -> tuple[Record, list[set[str]]]:
    """Predict what djem does, as far as that is possible, and what was noted after each step."""
    world = djems.World(history)
    found: Record = []
    noted: list[set[str]] = []
    try:
        for step in record(history, world, [djems.Person(world, ("sync",))]):
            found.append(step)
            noted.append(set(world.noted))
    except djems.Incomparable:
        pass
    return found, noted


def demand(history: History, title: str, found: Record, wanted: Record) -> None:
    for _, action, one, other in differing(found, wanted):
        fail(history, title, action, one, other)


def fail(history: History, title: str, action: Any, one: Any, other: Any) -> None:
    raise AssertionError(
        f"{title}:\n{action}\n  {one}\n  {other}\n--history '{json.dumps(history)}'"
    )


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.oracle")
    parser.add_argument("--examples", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(2**32))
    parser.add_argument("--history", type=json.loads, help="repeats one, as a failure prints it")
    options = parser.parse_args()
    comparison = Comparison()
    if options.history:
        comparison.compare(options.history)
        return 0

    print(f"--examples {options.examples} --seed {options.seed}")
    check_many(comparison.compare, options.examples, options.seed)
    print(
        f"{comparison.histories} histories, {comparison.steps} steps;"
        f" djem differs in {comparison.differing} of them, each time on purpose:"
    )
    print("(how often it was the only reason, how often one of several)")
    for page, texts in PAGES.items():
        print(f"docs/{page}.md")
        for name, text in texts.items():
            alone, present = comparison.alone[name], comparison.present[name]
            print(f"{alone:6} {present - alone:6}  {name}: {text}")
    never = [name for name in DIFFERENCES if not comparison.present[name]]
    if never:
        print(f"Never seen, so out of date or in need of more examples: {', '.join(never)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
