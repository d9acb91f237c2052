"""Prints the databases that the tests can use here, one a line.

SQLite is always there. PostgreSQL and MariaDB are used where a server answers; with ``CI`` set
they must answer. ``tests/settings.py`` says where they are looked for.
"""

import os
import subprocess
import sys

SERVERS = ("postgresql", "mariadb")
CONNECT = """
import sys
from django.db import DatabaseError, connection
try:
    connection.ensure_connection()
except DatabaseError as error:
    sys.exit(str(error))
"""


def problem_with(database: str) -> str | None:
    """Return why a database cannot be used, None if it can."""
    # In a process of its own: the settings know one database, chosen when they are imported.
    environment = os.environ | {
        "DJANGO_SETTINGS_MODULE": "tests.settings",
        "DJEM_TEST_DB": database,
    }
    ran = subprocess.run(
        [sys.executable, "-c", CONNECT],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    return ran.stderr.strip() if ran.returncode else None


def main() -> int:
    """Print the databases; fail if one is missing that must not be."""
    required = os.environ.get("CI", "") not in {"", "0", "false"}
    missing = False
    print("sqlite")
    for database in SERVERS:
        problem = problem_with(database)
        if problem is None:
            print(database)
            continue
        missing = True
        fate = "must be tested, as CI is set" if required else "is not tested"
        print(f"{database} {fate}: there is no connection to it.\n{problem}", file=sys.stderr)
    return int(required and missing)


if __name__ == "__main__":
    sys.exit(main())
