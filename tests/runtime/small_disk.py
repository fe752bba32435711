"""Leads on a disk that is full for a while, and says what happens.

Usage: small_disk.py full|full-while-waiting DIRECTORY, a small disk of its own
"""

import asyncio
import contextlib
import errno
import logging
import sqlite3
import sys
from pathlib import Path

from elector import Election, LeadershipLost, LeaseTiming, StoreError

TIMING = LeaseTiming.of("1.5s", request_timeout="100ms")


def fill(path: Path) -> None:
    """Take what is left of the disk, to the last byte."""
    with path.open("wb", buffering=0) as filler:
        for size in (4096, 1):
            try:
                while True:
                    filler.write(b"x" * size)
            except OSError as error:
                if error.errno != errno.ENOSPC:
                    raise
    say("full")


def free(path: Path) -> None:
    path.unlink()
    say("free")


def say(text: str) -> None:
    print(text, flush=True)  # noqa: T201 - what the test reads


async def lead(election: Election, then: Path | None) -> None:
    async with await election.next_tenure() as tenure:
        say(f"leads {tenure.token}")
        if then is not None:
            fill(then)
            await asyncio.Event().wait()


async def full(directory: Path) -> None:
    filler = directory / "filler"
    async with Election("nightly", store=f"sqlite:///{directory}/db", timing=TIMING) as election:
        try:
            await lead(election, filler)
        except LeadershipLost as lost:
            say(f"lost {lost.reason}")
        free(filler)
        await lead(election, None)


async def full_while_waiting(directory: Path) -> None:
    filler = directory / "filler"
    async with Election("nightly", store=f"sqlite:///{directory}/db", timing=TIMING) as election:
        fill(filler)
        with contextlib.suppress(TimeoutError, StoreError):
            async with asyncio.timeout(1):
                await lead(election, None)
                return
        say("not elected")
        free(filler)
        await lead(election, None)


def main(how: str, directory: Path) -> None:
    logging.disable(logging.WARNING)  # the store's troubles are expected here
    asyncio.run(full(directory) if how == "full" else full_while_waiting(directory))
    with contextlib.closing(sqlite3.connect(directory / "db")) as database:
        (token,) = database.execute("SELECT token FROM elector_elections").fetchone()
        say(f"the last token is {token}")


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
