"""The database of one run, and what is done to the server's connections."""

import os
import time

import psycopg

KILL = """
    SELECT query LIKE '%%pg_sleep%%', pg_terminate_backend(pid, 1000)
    FROM (
        SELECT pid, query FROM pg_stat_activity
        WHERE application_name = 'soak-server' AND datname = %s AND state = %s
        ORDER BY query LIKE '%%pg_sleep%%' DESC, random() LIMIT 1
    ) AS victim
"""
COUNT = """
    SELECT count(*)
    FROM pg_stat_activity WHERE application_name = 'soak-server' AND datname = %s
"""


class Database:
    """A database that is made for one run."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._connection = psycopg.connect(
            host=os.environ.get("PGHOST", "127.0.0.1"),
            port=os.environ.get("PGPORT", "5432"),
            user=os.environ.get("PGUSER", "postgres"),
            password=os.environ.get("PGPASSWORD"),
            dbname=os.environ.get("PGDATABASE", "postgres"),
            autocommit=True,
        )
        self._connection.execute(f'CREATE DATABASE "{name}"')

    def drop(self) -> None:
        """Remove the database, whoever is connected."""
        self._connection.execute(f'DROP DATABASE "{self._name}" WITH (FORCE)')
        self._connection.close()

    def kill(self, state: str) -> str:
        """Kill a connection of the server that is "active" or "idle", and tell what it did."""
        for _ in range(20):
            row = self._connection.execute(KILL, [self._name, state]).fetchone()
            if row is not None:
                return (
                    state if state == "idle" else "in an access method" if row[0] else "in a query"
                )
            time.sleep(0.01)
        return ""

    def connections(self) -> int:
        """Count the connections of the server."""
        row = self._connection.execute(COUNT, [self._name]).fetchone()
        return row[0] if row else 0
