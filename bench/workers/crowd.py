"""Many elections in one process: ``python -m bench.workers.crowd STORE TTL COUNT WAVE``.

It leads one election, reports ``rss`` (KiB), then leads COUNT others, starting WAVE of them at a
time (``starting``, ``led``). For each line on standard input it reports its processor time
(``cpu_us``) and ``rss``.
"""

import asyncio
import gc
import resource
import sys
from pathlib import Path

from bench.workers.reporting import note
from elector import Election, Tenure


async def main(store: str, ttl: str, count: int, wave: int) -> None:
    """Lead them all, for ever."""
    led = asyncio.Semaphore(0)

    async def work(_: Tenure) -> None:
        led.release()
        await asyncio.get_running_loop().create_future()

    async def lead(name: str) -> None:
        async with Election(name, store=store, ttl=ttl) as election:
            await election.run(work)

    async with asyncio.TaskGroup() as group:
        group.create_task(lead("alone"))
        await led.acquire()
        _report_memory()
        note("starting")
        for first in range(0, count, wave):
            for number in range(first, first + wave):
                group.create_task(lead(f"e{number}"))
            for _ in range(wave):
                await led.acquire()
        note("led")
        asyncio.get_running_loop().add_reader(sys.stdin, _count)


def _count() -> None:
    if not sys.stdin.readline():
        sys.exit()
    used = resource.getrusage(resource.RUSAGE_SELF)
    note("cpu_us", int((used.ru_utime + used.ru_stime) * 1e6))
    _report_memory()


def _report_memory() -> None:
    gc.collect()
    lines = Path("/proc/self/smaps_rollup").read_text().splitlines()
    note("rss", next(int(line.split()[1]) for line in lines if line.startswith("Rss:")))


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])))
