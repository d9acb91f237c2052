"""``python -m tests.interleaving``: more schedules than the tests have time for."""

from __future__ import annotations

import argparse
import os
from random import randrange

import django

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "tests.settings")
django.setup()

from django.test.utils import setup_databases, teardown_databases  # noqa: E402

from .explorer import Case, Explorer, Failed  # noqa: E402
from .scenarios import SCENARIOS  # noqa: E402
from .storages import DatabaseStorage, Storage  # noqa: E402

STORAGES = {"memory": Storage, "database": DatabaseStorage}


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.interleaving")
    parser.add_argument("--schedules", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=randrange(2**32))
    parser.add_argument("--storage", default="memory", choices=STORAGES)
    parser.add_argument("--cancel", action="store_true", help="cancel tasks wherever they wait")
    parser.add_argument("--case", type=Case.parse, help="repeats one, as a failure prints it")
    args = parser.parse_args()
    print(f"--storage {args.storage} --seed {args.seed}")
    failures: dict[str, Failed] = {}
    with Explorer(STORAGES[args.storage]()).ready() as explorer:
        seed = args.seed
        while explorer.counts["schedules"] < args.schedules and args.case is None:
            for name in SCENARIOS:
                try:
                    explorer.explore(name, seed, cancels=args.cancel)
                except Failed as failed:
                    explorer.counts["failed"] += 1
                    failures.setdefault(name, failed)
            seed += 1
        if args.case is not None:
            explorer.check(args.case)
    print(*failures.values(), dict(explorer.counts), sep="\n")


if __name__ == "__main__":
    databases = setup_databases(verbosity=0, interactive=False)
    try:
        main()
    finally:
        teardown_databases(databases, verbosity=0)
