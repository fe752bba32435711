"""A candidate that freezes: ``python -m bench.workers.freezer ELECTION STORE TTL LEDGER``.

Its work is one guarded write (report ``wrote``). At a line on standard input it checks its
tenure, as everybody does before writing, stops itself (``frozen``), and when it is thawed goes
on to the write: ``tried``, with 1 if it was refused.
"""

import asyncio
import contextlib
import os
import signal
import sqlite3
import sys

from bench.workers.reporting import note
from elector import Election, LeadershipLost, StaleToken, Tenure
from elector.fencing import SqlGuard


class Ledger:
    """A table that only the newest leader may write to."""

    def __init__(self, file: str) -> None:
        self._connection = sqlite3.connect(file, timeout=10)
        self._guard = SqlGuard()
        self._guard.create(self._connection)
        self._connection.execute("CREATE TABLE IF NOT EXISTS ledger (token INTEGER, who TEXT)")

    def write(self, token: int) -> None:
        """Write one row, or raise `StaleToken`."""
        with self._guard.writing(self._connection, "ledger", token) as cursor:
            cursor.execute("INSERT INTO ledger VALUES (?, ?)", (token, os.environ["BENCH_WHO"]))


async def main(election: str, store: str, ttl: str, file: str) -> None:
    """Stand, and work once."""
    ledger, name = Ledger(file), os.environ["BENCH_WHO"]
    # The leader that is thawed must live to try its write: only warn.
    async with Election(
        election, store=store, ttl=ttl, candidate=name, on_overrun="warn"
    ) as candidate:
        async for tenure in candidate.tenures():
            with contextlib.suppress(LeadershipLost):
                async with tenure:
                    note("begin")
                    await _work(tenure, ledger)
            return


async def _work(tenure: Tenure, ledger: Ledger) -> None:
    ledger.write(tenure.token)
    note("wrote")
    await _cue()
    tenure.check()
    note("frozen")
    os.kill(os.getpid(), signal.SIGSTOP)
    try:
        ledger.write(tenure.token)
    except StaleToken:
        note("tried", 1)
    else:
        note("tried", 0)


async def _cue() -> None:
    """A line on standard input."""
    came = asyncio.Event()
    loop = asyncio.get_running_loop()
    loop.add_reader(sys.stdin, came.set)
    await came.wait()
    loop.remove_reader(sys.stdin)


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
