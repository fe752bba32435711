"""A leader of the old kind: it looks at its lease, is paused, wakes up and writes.

Usage: late_writer.py DATABASE TOKEN before|inside|unguarded
"""

import os
import signal
import sqlite3
import sys
from contextlib import closing

from elector.fencing import SqlGuard, StaleToken

_INSERT = "INSERT INTO ledger (token, entry) VALUES (?, 'late')"


def pause() -> None:
    os.kill(os.getpid(), signal.SIGSTOP)


def main(database: str, token: int, how: str) -> str:
    with closing(sqlite3.connect(database)) as connection:
        if how != "inside":
            pause()
        if how == "unguarded":
            with connection:
                connection.execute(_INSERT, (token,))
            return "written"
        try:
            with SqlGuard().writing(connection, "ledger", token) as cursor:
                if how == "inside":
                    pause()
                cursor.execute(_INSERT, (token,))
        except StaleToken as refused:
            return f"refused {refused.token} < {refused.newest}"
        return "written"


if __name__ == "__main__":
    print(main(sys.argv[1], int(sys.argv[2]), sys.argv[3]))  # noqa: T201 - its answer
