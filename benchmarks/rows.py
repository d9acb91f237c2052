"""The rows of `make bench`: what is measured, next to which library, and the ratio to reach."""

from __future__ import annotations

from dataclasses import dataclass

OURS = "djem_async"
# As columns: Django's own users, and the libraries that check permissions of an object.
PEERS = {"django": "Django", "djem": "djem", "guardian": "guardian", "rules": "rules"}
DATABASES = {"sqlite": "SQLite", "postgresql": "PostgreSQL"}


@dataclass(frozen=True)
class Row:
    """Something that djem_async does next to some of its peers."""

    name: str  # what `ROWS=` selects, and `benchmarks.worker` knows it by
    title: str
    peers: tuple[str, ...]
    reach: float | None = None  # the ratio to the first peer that is aimed at
    most: tuple[int, int] | None = None  # queries and thread hops of djem_async
    database: str = "sqlite"
    unit: str = "s"  # of requests a second, more is better
    rounds: int = 9
    seconds: float = 0.1  # of a measurement, roughly

    @property
    def is_more_better(self) -> bool:
        return self.unit == "/s"


LIBRARIES = ("djem", "guardian", "rules")
ROWS = (
    Row("warm_async", "Repeated object check, async", LIBRARIES, 0.02, (0, 0)),
    Row("warm_sync", "Repeated object check, sync", LIBRARIES, 0.08, (0, 0)),
    Row("warm_defined", "The same with both `DJEM_` settings defined", ("djem",), None, (0, 0)),
    Row("model_async", "Repeated model-level check, async", ("django",), 0.4, (0, 0)),
    Row("model_sync", "Repeated model-level check, sync", ("django",), 0.4, (0, 0)),
    Row("logged_1", "Repeated object check, logged, verbosity 1", ("djem",), 0.25, (0, 0)),
    Row("logged_2", "Repeated object check, logged, verbosity 2", ("djem",), 0.25, (0, 0)),
    Row("cold", "First check of a user, async, SQLite", LIBRARIES, 0.35, (1, 1)),
    Row(
        "cold",
        "First check of a user, async, PostgreSQL",
        LIBRARIES,
        0.55,
        (1, 1),
        database="postgresql",
    ),
    Row("new_sync", "Next new object, sync", ("djem",), 0.8, (0, 0)),
    Row("new_async", "Next new object, async", ("djem",), None, (0, 1)),
    Row("new_nonblocking", "Next new object, async, `@nonblocking`", ("djem",), None, (0, 0)),
    Row("gathered_200", "200 gathered checks of a new user", ("djem",), 0.6, (1, 4)),
    Row("gathered_1000", "1,000 gathered checks of a new user", ("djem",), 0.7, (1, 20)),
    Row("prefetched", "1,000 prefetched checks of a new user", ("djem",), 0.05, (1, 3)),
    Row(
        "prefetched_query",
        "1,000 prefetched checks of a new user, query form",
        ("djem", "guardian"),
        0.02,
        (2, 3),
    ),
    Row(
        "list_10000",
        "List of 1,000 out of 10,000 rows, SQLite",
        ("guardian", "django"),
        0.8,
        (3, 0),
    ),
    Row(
        "list_100000",
        "List of 1,000 out of 100,000 rows, SQLite",
        ("djem", "django", "guardian"),
        0.02,
        (3, 0),
        rounds=3,  # of djem, each takes seconds
    ),
    *(
        Row(
            name,
            f"List of 1,000 out of 100,000 rows, {title}",
            ("guardian", "django"),
            0.8,
            (3, 0),
            database=database,
        )
        for name, database, title in (
            ("list_100000", "postgresql", "PostgreSQL"),
            ("list_related", "postgresql", "by a relation, PostgreSQL"),
        )
    ),
    Row("user_memory", "Memory of an unused user", ("django",), 1.0, unit="B", rounds=1),
    Row("decision_memory", "Memory of a cached decision", ("djem",), unit="B", rounds=1),
    Row("startup", "Starting Django (CPU time)", ("django",), rounds=15),
    *(
        Row(
            "requests",
            f"Requests a second, one check each, {title}",
            ("django", *LIBRARIES),
            0.8,
            database=database,
            unit="/s",
            rounds=20,
            seconds=0.3,
        )
        for database, title in DATABASES.items()
    ),
)
