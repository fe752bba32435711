"""Many candidates in one process: ``python -m bench.workers.standing STORE TTL COUNT WAVE``.

It stands in COUNT elections, WAVE at a time, and reports ``standing`` when it knows in each who
leads, be it itself. Then it does nothing.
"""

import asyncio
import sys

from bench.workers.reporting import note
from elector import Election, Tenure
from elector.core.office import Led


async def main(store: str, ttl: str, count: int, wave: int) -> None:
    """Stand in them all, for ever."""

    async def work(_: Tenure) -> None:
        await asyncio.get_running_loop().create_future()

    async def stand(name: str, settled: asyncio.Semaphore) -> None:
        async with Election(name, store=store, ttl=ttl) as election:
            standing = asyncio.create_task(election.run(work))
            async for seen in election.observe():
                if isinstance(seen, Led):
                    break
            settled.release()
            await standing

    async with asyncio.TaskGroup() as group:
        for first in range(0, count, wave):
            settled = asyncio.Semaphore(0)
            for number in range(first, first + wave):
                group.create_task(stand(f"idle{number}", settled))
            for _ in range(wave):
                await settled.acquire()
        note("standing")


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])))
