"""A candidate in Python: ``python -m bench.workers.tenure ELECTION STORE TTL``.

It leads once. A line on standard input tells its work how to end: ``end`` returns, ``resign``
asks for the resignation and waits to be cancelled. The end of the input ends the work too.
"""

import asyncio
import contextlib
import os
import sys

from bench.workers.reporting import note
from elector import Election, LeadershipLost


async def main(election: str, store: str, ttl: str) -> None:
    """Stand, work, leave."""
    cues = await _standard_input()
    async with Election(election, store=store, ttl=ttl, candidate=os.environ["BENCH_WHO"]) as ours:
        async for tenure in ours.tenures():
            with contextlib.suppress(LeadershipLost):
                async with tenure:
                    note("begin")
                    await _work(ours, cues)
            return


async def _work(election: Election, cues: asyncio.StreamReader) -> None:
    try:
        if await cues.readline() == b"resign\n":
            note("asked")
            await election.resign()
            await asyncio.Event().wait()
    finally:
        note("end")


async def _standard_input() -> asyncio.StreamReader:
    reader = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(
        lambda: asyncio.StreamReaderProtocol(reader), sys.stdin
    )
    return reader


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
