"""One of several processes that write under tokens in no order at all.

Usage: rival_writer.py DATABASE SEED; it starts when a line comes in.
"""

import random
import sqlite3
import sys
from contextlib import closing, suppress

from elector.fencing import SqlGuard, StaleToken

_WRITES = 100


def main(database: str, seed: int) -> None:
    rng, guard = random.Random(seed), SqlGuard()  # noqa: S311 - a test's choices are no secret
    with closing(sqlite3.connect(database, timeout=60)) as connection:
        sys.stdin.readline()
        for _ in range(_WRITES):
            token = rng.randint(1, 2 * _WRITES)
            with suppress(StaleToken), guard.writing(connection, "ledger", token) as cursor:
                cursor.execute("INSERT INTO ledger (token, entry) VALUES (?, ?)", (token, seed))


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
