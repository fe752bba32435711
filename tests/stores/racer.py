"""A process that leads a number of times, and writes down in a shared file when it does.

Usage: racer.py URL NAME TIMES WITNESS. It has no timer: in vain it waits for news, so a
wake-up that gets lost is a race that does not end.
"""

import asyncio
import os
import sys

from elector.core.identity import Candidate
from elector.core.office import EndReason
from elector.stores.port import Grant, Granted, News
from elector.stores.registry import open_store, parse_url

TTL_NS = 600 * 1_000_000_000


async def main(url: str, name: str, times: int, witness: int) -> None:
    store = await open_store(parse_url(url))
    who = Candidate(name, f"{name}#{os.getpid()}")
    news = asyncio.Event()

    def heard(_news: News) -> None:
        news.set()

    watch = await store.watch("race", heard, who)
    while times:
        news.clear()
        answer = await store.acquire("race", who, TTL_NS)
        if isinstance(answer, Granted):
            os.write(witness, f"begin {answer.token} {name}\n".encode())
            os.write(witness, f"end {answer.token} {name}\n".encode())
            grant = Grant("race", who, answer.token, TTL_NS)
            assert await store.release(grant, EndReason.COMPLETED)
            times -= 1
        elif answer.leader is None and answer.retry_in_ns is not None:
            await asyncio.sleep(answer.retry_in_ns / 1e9)
        else:
            await news.wait()
    await watch.close()
    await store.close()


if __name__ == "__main__":
    fd = os.open(sys.argv[4], os.O_WRONLY | os.O_APPEND)
    asyncio.run(main(sys.argv[1], sys.argv[2], int(sys.argv[3]), fd))
