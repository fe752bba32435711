"""One replica: campaigns, and writes to the ledger as long as it leads.

Usage: ``python -m elector.demo.replica DIRECTORY NAME TTL``, started by the stage. Its standard
input is a leash: a line ``freeze`` asks it to stop itself at the worst moment, and the end of
the input means that the stage is gone.
"""

import asyncio
import ctypes
import itertools
import os
import signal
import sys
import threading
from contextlib import closing, suppress
from pathlib import Path

from elector.demo.ledger import Ledger
from elector.demo.witness import Witness
from elector.errors import LeadershipError, StaleToken
from elector.runtime.election import Election
from elector.runtime.tenure import Tenure

_PACE_S = 0.02
_PR_SET_PDEATHSIG = 1


class Replica:
    """A worker with a ledger to keep and a witness of what it does."""

    def __init__(self, directory: Path, name: str, ledger: Ledger) -> None:
        self.name = name
        self._ledger = ledger
        self._witness = Witness(directory, name)
        self._freeze = threading.Event()

    async def campaign(self, store: str, ttl: str) -> None:
        """Stand in the election until told to go, and lead whenever elected."""
        # The leader that wakes from a long pause must live to try its write: only warn.
        async with Election(
            "demo", store=store, ttl=ttl, candidate=self.name, on_overrun="warn"
        ) as election:
            self._witness.note("standing")
            async for tenure in election.tenures():
                with suppress(LeadershipError):  # lost, or refused by the guard: stand again
                    async with tenure:
                        await self._lead(tenure)

    async def _lead(self, tenure: Tenure) -> None:
        self._witness.note("begin", tenure.token)
        try:
            for entry in itertools.count(1):
                self._write(tenure, entry)
                await asyncio.sleep(_PACE_S)
        finally:
            self._witness.note("end", tenure.token)

    def _write(self, tenure: Tenure, entry: int) -> None:
        """Check, then write, as everybody does; what lies in between is the whole trouble."""
        tenure.check()
        self._witness.note("writing", tenure.token, entry)
        if self._freeze.is_set():
            self._pause(tenure.token, entry)
        try:
            self._ledger.write(tenure.token, self.name, entry)
        except StaleToken as refused:
            self._witness.note("refused", tenure.token, entry, refused.newest)
            raise
        self._witness.note("wrote", tenure.token, entry)

    def _pause(self, token: int, entry: int) -> None:
        self._freeze.clear()
        self._witness.note("paused", token, entry)
        os.kill(os.getpid(), signal.SIGSTOP)
        self._witness.note("woke", token, entry)

    def leave(self) -> None:
        """Say that this was the end, in good order."""
        self._witness.note("left")

    def obey(self, leash: int) -> None:
        """Do what comes down the leash; with it gone, go at once."""
        with open(leash, "rb", closefd=False) as orders:
            for order in orders:
                if order == b"freeze\n":
                    self._freeze.set()
        os._exit(1)


def main(directory: Path, name: str, ttl: str) -> None:
    """Run one replica until SIGTERM."""
    _die_with_the_stage()
    with closing(Ledger(directory)) as ledger:
        replica = Replica(directory, name, ledger)
        threading.Thread(target=replica.obey, args=(sys.stdin.fileno(),), daemon=True).start()
        with suppress(asyncio.CancelledError):
            asyncio.run(_until_told(replica, f"sqlite:///{directory / 'elections.db'}", ttl))
        replica.leave()


async def _until_told(replica: Replica, store: str, ttl: str) -> None:
    campaign = asyncio.current_task()
    if campaign is not None:
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, campaign.cancel)
    await replica.campaign(store, ttl)


def _die_with_the_stage() -> None:
    """Where the kernel can, be killed when the stage dies: a frozen process reads no leash."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2], sys.argv[3])
