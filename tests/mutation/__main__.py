"""``python -m tests.mutation``: change the package, and see whether a test fails."""

from __future__ import annotations

import argparse
import json
import os
import random
import sys
import time
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

from .mutants import ROOT, Mutant, modules, mutants_of
from .runner import judged, workers
from .selection import Selection, changed_since

if TYPE_CHECKING:
    from typing import Any

FOLDER = ROOT / ".mutation"
EQUIVALENT = Path(__file__).with_name("equivalent.txt")
# What a test has noticed is not tried again, as long as the module is the same.
NOTICED = FOLDER / "noticed.txt"
DONE = ("killed", "timeout")
FIRST = 60  # tests: most changes are noticed by one of the first few
ENOUGH = 0.95  # of all changes must be noticed, and in these modules all of them:
DECISIVE = (
    "_decision",
    "_cache",
    "_warm",
    "_backends",
    "_objects",
    "_plans",
    "access",
    "auth.backends",
)


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.mutation", description=__doc__)
    parser.add_argument("--modules", default="", help="only these, such as _cache,auth.backends")
    parser.add_argument("--changed", metavar="REVISION", help="only modules changed since then")
    parser.add_argument("--seconds", type=float, help="try what this allows, at random")
    parser.add_argument("--seed", type=int, default=0, help="for that choice")
    parser.add_argument("--processes", type=int, default=os.cpu_count())
    options = parser.parse_args()
    FOLDER.mkdir(exist_ok=True)
    began = time.monotonic()

    selection = Selection(FOLDER)
    if not selection.is_up_to_date:
        selection.make()
    # First, so that what is forked is small.
    with workers(options.processes) as pool:
        selection.load()
        found = wanted(options)
        print(f"{len(found)} changes of {len({m.module for m in found})} modules", flush=True)
        check_tests(selection, pool)
        outcomes = try_all(found, selection, pool, began, options.seconds)
    return report(outcomes, time.monotonic() - began)


def wanted(options: argparse.Namespace) -> list[Mutant]:
    """List the changes to try."""
    names = modules()
    if options.modules:
        chosen = {f"djem_async.{name}" for name in options.modules.split(",")}
        names = [name for name in names if name in chosen]
    if options.changed:
        changed = changed_since(options.changed)
        names = [name for name in names if name in changed]
    found = [mutant for name in names for mutant in mutants_of(name)]
    if options.seconds:
        random.Random(options.seed).shuffle(found)
    return found


def check_tests(selection: Selection, pool: Any) -> None:
    """Find tests that fail here without any change, so that they prove nothing."""
    known = FOLDER / "unfit.json"
    if known.exists() and known.stat().st_mtime > (FOLDER / "report.xml").stat().st_mtime:
        selection.unfit = set(json.loads(known.read_text()))
        return
    tests = selection.tests
    size = 300
    batches = [tests[start : start + size] for start in range(0, len(tests), size)]
    fits = pool.map(fit, batches)
    left = [batch for batch, found in zip(batches, fits, strict=True) if not found]
    # One that failed hides the others after it.
    singles = [[test] for batch in left for test in batch]
    fits = pool.map(fit, singles, chunksize=1)
    selection.unfit = {test for (test,), found in zip(singles, fits, strict=True) if not found}
    known.write_text(json.dumps(sorted(selection.unfit)))
    print(f"{len(tests)} tests, of which {len(selection.unfit)} cannot be used", flush=True)


def fit(tests: list[str]) -> bool:
    return judged(tests) == "survived"


def attempt(item: tuple[Mutant, list[str]]) -> tuple[Mutant, str]:
    mutant, tests = item
    outcome = judged(tests[:FIRST], mutant)
    if outcome == "survived" and len(tests) > FIRST:
        outcome = judged(tests[FIRST:], mutant)
    return mutant, outcome


def try_all(
    found: list[Mutant],
    selection: Selection,
    pool: Any,
    began: float,
    seconds: float | None,
) -> list[tuple[Mutant, str]]:
    known = NOTICED.read_text().split() if NOTICED.exists() else []
    noticed = set(known)
    outcomes = [(mutant, "killed") for mutant in found if mutant.fingerprint in noticed]
    left = [mutant for mutant in found if mutant.fingerprint not in noticed]
    print(f"{len(outcomes)} of them were noticed before", flush=True)
    work = ((mutant, selection.tests_for(mutant)) for mutant in left)
    with NOTICED.open("a") as record:
        for count, (mutant, outcome) in enumerate(pool.imap_unordered(attempt, work), 1):
            outcomes.append((mutant, outcome))
            if outcome in DONE:
                print(mutant.fingerprint, file=record, flush=True)
            else:
                print(f"{outcome}: {mutant}", flush=True)
            if count % 100 == 0:
                print(f"{count} of {len(left)}", flush=True)
            if seconds and time.monotonic() - began > seconds:
                break
    return outcomes


def explanations() -> dict[str, str]:
    """Read which changes nobody can notice, each with the reason."""
    reasons: dict[str, str] = {}
    reason = ""
    for line in EQUIVALENT.read_text().splitlines():
        if line.startswith("# "):
            reason = line.removeprefix("# ")
        elif line.strip():
            reasons[line.strip()] = reason
    return reasons


def report(outcomes: list[tuple[Mutant, str]], seconds: float) -> int:
    reasons = explanations()
    total: Counter[str] = Counter()
    killed: Counter[str] = Counter()
    explained: Counter[str] = Counter()
    survived: list[Mutant] = []
    for mutant, outcome in outcomes:
        module = mutant.module.removeprefix("djem_async.")
        total[module] += 1
        if outcome in DONE:
            killed[module] += 1
        elif mutant.key in reasons:
            explained[module] += 1
        else:
            survived.append(mutant)
    print(f"\n{'module':24} changes  noticed  cannot be  not noticed")
    for module in sorted(total):
        numbers = total[module], killed[module], explained[module]
        left = numbers[0] - numbers[1] - numbers[2]
        print("{:24} {:7}  {:7}  {:9}  {:11}".format(module, *numbers, left))
    count, possible = sum(killed.values()), sum(total.values()) - sum(explained.values())
    share = count / possible if possible else 1.0
    print(
        f"{len(outcomes)} changes in {seconds:.0f} s: {count} noticed,"
        f" {sum(explained.values())} cannot be, {len(survived)} are not: {share:.1%}"
    )
    for mutant in survived:
        print(mutant)
    in_decisive = [m for m in survived if m.module.removeprefix("djem_async.") in DECISIVE]
    return int(share < ENOUGH or bool(in_decisive))


if __name__ == "__main__":
    sys.exit(main())
