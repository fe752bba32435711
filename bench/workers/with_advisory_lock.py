"""A session advisory lock: ``python -m bench.workers.with_advisory_lock URL``.

It leads once, until a line on standard input, or its end.
"""

import sys
from importlib import import_module
from typing import Any

from bench.workers.reporting import note

# By name, since it is there for the benchmark alone, and type checkers run without it.
_psycopg: Any = import_module("psycopg")


def main(url: str) -> None:
    """Wait for the lock, work, leave."""
    with _psycopg.connect(url.partition("?")[0], autocommit=True) as connection:
        note("standing")
        connection.execute("SELECT pg_advisory_lock(77)")
        note("begin")
        sys.stdin.readline()
        note("end")
        connection.execute("SELECT pg_advisory_unlock(77)")


if __name__ == "__main__":
    main(sys.argv[1])
