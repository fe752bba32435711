"""One candidate under test: stands on a store, and writes behind the guard while it leads.

Usage: ``python -m tests.faults.candidate DIRECTORY NAME TTL``, with the store in ``ELECTOR_STORE``.

What it does is told by its witness file and by the ledger (`elector.demo`); the file of renewals
only tells the runner when the next fault may come. Its standard input is a leash: each line is an
order, and the end means that the runner is gone.

freeze          stop this process now, wherever its threads are
freeze-writing  stop it between its check and its write
block SECONDS   hold its event loop up
"""

import asyncio
import contextlib
import ctypes
import itertools
import os
import signal
import sys
import threading
import time
from pathlib import Path

from elector import Election, LeadershipLost, StaleToken, Tenure
from elector.clock import now_ns
from elector.core.duration import SECOND_NS
from elector.demo.ledger import Ledger
from elector.demo.witness import Witness
from elector.runtime.holding import Holding

PACE_S = 0.02
# A loop that does not answer for so long costs the office.
PROGRESS_LIMIT = "1500ms"
RENEWALS = ".renewals"
EXIT_LEADERSHIP_LOST = 76
_PR_SET_PDEATHSIG = 1


class Candidate:
    """A worker with its witness, and what it was told to suffer."""

    def __init__(self, directory: Path, name: str, ttl: str) -> None:
        self.name, self._ttl = name, ttl
        self._ledger = Ledger(directory)
        self._witness = Witness(directory, name)
        self._renewals = (directory / f"{name}.{os.getpid()}{RENEWALS}").open("wb", buffering=0)
        self._remaining = 0.0
        # A process that is stopped in a transaction would hold up everybody who writes, which is
        # the trouble of that database and not what is looked for here.
        self._transaction = threading.Lock()
        self._freezes_writing = threading.Event()
        self._woken_to_write = False
        self._loop: asyncio.AbstractEventLoop | None = None

    async def campaign(self) -> None:
        """Stand until told to go, and lead whenever elected."""
        self._loop = asyncio.get_running_loop()
        async with Election(
            "faults",
            ttl=self._ttl,
            candidate=self.name,
            on_overrun=self._overrun,
            progress_limit=PROGRESS_LIMIT,
        ) as election:
            self._witness.note("standing")
            async for tenure in election.tenures():
                with contextlib.suppress(LeadershipLost, StaleToken):
                    async with tenure:
                        await self._lead(tenure)

    async def _lead(self, tenure: Tenure) -> None:
        self._witness.note("begin", tenure.token)
        try:
            for entry in itertools.count(1):
                self._note_renewal(tenure)
                self._write(tenure, entry)
                await asyncio.sleep(PACE_S)
        finally:
            self._witness.note("end", tenure.token)

    def _write(self, tenure: Tenure, entry: int) -> None:
        """Check, then write, as everybody does; what lies in between is the whole trouble."""
        tenure.check()
        self._witness.note("writing", tenure.token, entry)
        if self._freezes_writing.is_set():
            self._freezes_writing.clear()
            self._woken_to_write = True
            self._stop(tenure.token, entry)
        try:
            with self._transaction:
                self._ledger.write(tenure.token, self.name, entry)
        except StaleToken as refused:
            self._witness.note("refused", tenure.token, entry, refused.newest)
            raise
        self._woken_to_write = False
        self._witness.note("wrote", tenure.token, entry)

    def _note_renewal(self, tenure: Tenure) -> None:
        before, self._remaining = self._remaining, tenure.remaining()
        if self._remaining > before:
            left_ns = int(self._remaining * SECOND_NS)
            self._renewals.write(f"{now_ns()} {tenure.token} {left_ns}\n".encode())

    def _stop(self, token: int = 0, entry: int = 0) -> None:
        self._witness.note("paused", token, entry)
        os.kill(os.getpid(), signal.SIGSTOP)
        self._witness.note("woke", token, entry)

    def _overrun(self, _: Holding) -> None:
        """End the process, as by default, unless it is to show what comes of its late write."""
        if not self._woken_to_write:
            os._exit(EXIT_LEADERSHIP_LOST)

    def obey(self, leash: int) -> None:
        """Do what comes down the leash; with it gone, go at once."""
        with open(leash, "rb", closefd=False) as orders:
            for line in orders:
                order, *arguments = line.decode().split()
                if order == "freeze":
                    with self._transaction:
                        self._stop()
                elif order == "freeze-writing":
                    self._freezes_writing.set()
                elif order == "block" and self._loop is not None:
                    self._loop.call_soon_threadsafe(time.sleep, float(arguments[0]))
        os._exit(1)


def main(directory: Path, name: str, ttl: str) -> None:
    """Stand until SIGTERM."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    candidate = Candidate(directory, name, ttl)
    threading.Thread(target=candidate.obey, args=(sys.stdin.fileno(),), daemon=True).start()
    with contextlib.suppress(asyncio.CancelledError):
        asyncio.run(_until_told(candidate))


async def _until_told(candidate: Candidate) -> None:
    campaign = asyncio.current_task()
    if campaign is not None:
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, campaign.cancel)
    await candidate.campaign()


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2], sys.argv[3])
