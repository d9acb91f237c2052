"""Put a server under load, with faults, and judge all that it answers.

Needs PostgreSQL, at 127.0.0.1:5432 or where PGHOST, PGPORT, PGUSER and PGPASSWORD say.
"""

import argparse
import os
import secrets
import sys

import django

from .database import Database


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python -m soak",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--seconds", type=float, default=60, help="how long the load lasts")
    parser.add_argument("--seed", type=int, default=secrets.randbelow(10**6))
    parser.add_argument("--bug", default="", help="one of sabotage.py, which must be noticed")
    options = parser.parse_args()

    name = f"djem_async_soak_{os.getpid()}"
    database = Database(name)
    try:
        os.environ["SOAK_DATABASE"] = name
        os.environ["DJANGO_SETTINGS_MODULE"] = "soak.settings"
        django.setup()
        from .run import soak  # imported late, like everything that needs the settings

        return soak(database, options.seconds, options.seed, options.bug)
    finally:
        database.drop()


if __name__ == "__main__":
    sys.exit(main())
