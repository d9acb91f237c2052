"""``python -m tests.interleaving``: more schedules than the tests have time for."""

from __future__ import annotations

import argparse
import os
import time
from random import randrange

import django

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "tests.settings")
django.setup()

from django.test.utils import setup_databases, teardown_databases  # noqa: E402

from .explorer import Case, Explorer, Failed  # noqa: E402
from .scenarios import SCENARIOS  # noqa: E402
from .storages import DatabaseStorage, OwnStorage, Storage  # noqa: E402

STORAGES = {"memory": Storage, "own": OwnStorage, "database": DatabaseStorage}


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--schedules", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=randrange(2**32))
    parser.add_argument("--storage", default="memory", choices=STORAGES)
    parser.add_argument("--scenario", action="append", choices=SCENARIOS)
    parser.add_argument("--case")
    parser.add_argument("--cancel", action="store_true")
    args = parser.parse_args()
    print(f"--storage {args.storage} --seed {args.seed}")
    begin = time.monotonic()
    with Explorer(STORAGES[args.storage]()).ready() as explorer:
        if args.case:
            outcome = explorer.run(Case.parse(args.case))
            print("\n".join(outcome.problems))
            print(" ".join(outcome.trace))
            return
        names = args.scenario or list(SCENARIOS)
        seed = args.seed
        failures = {}
        while explorer.counts["schedules"] < args.schedules:
            for name in names:
                try:
                    explorer.explore(name, seed, cancels=args.cancel)
                except Failed as failed:
                    explorer.counts["failed"] += 1
                    if name not in failures:
                        failures[name] = failed
                        print(str(failed)[:3000], flush=True)
            seed += 1
    print(dict(explorer.counts), f"{time.monotonic() - begin:.1f} s")


if __name__ == "__main__":
    databases = setup_databases(verbosity=0, interactive=False)
    try:
        main()
    finally:
        teardown_databases(databases, verbosity=0)
