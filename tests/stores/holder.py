"""A process that takes an office and keeps it, until the end of its standard input.

Usage: holder.py URL ELECTION NAME [alone|fork|spawn|release]. Prints one JSON object when it
leads. ``fork`` leaves everything to a forked child, ``spawn`` hands the lifelines to another
program, ``release`` forks and gives the office back at the first line it reads.
"""

import asyncio
import json
import os
import subprocess
import sys
from typing import NoReturn

from elector.core.identity import Candidate
from elector.core.office import EndReason
from elector.stores.port import Grant, Granted, Store
from elector.stores.registry import open_store, parse_url

TTL_NS = 600 * 1_000_000_000


async def main(url: str, election: str, name: str, mode: str = "alone") -> None:
    store = await open_store(parse_url(url))
    who = Candidate(name, f"{name}#{os.getpid()}")
    answer = await store.acquire(election, who, TTL_NS)
    if not isinstance(answer, Granted):
        sys.exit(f"the office is not free: {answer}")
    grant = Grant(election, who, answer.token, TTL_NS)
    child = _child(mode, store, grant)
    _say(token=grant.token, child=child)
    if mode == "release":
        sys.stdin.readline()
        done = await store.release(grant, EndReason.COMPLETED)
        _say(released=done)
    sys.stdin.read()


def _say(**what: object) -> None:
    print(json.dumps(what), flush=True)  # noqa: T201 - the test reads it


def _child(mode: str, store: Store, grant: Grant) -> int | None:
    if mode == "fork":
        return os.fork() or _live_until_the_end_of(0)
    if mode == "release":  # our input is ours alone, so the child waits for our own end
        ours, our_end = os.pipe()
        child = os.fork()
        if child == 0:
            os.close(our_end)
            _live_until_the_end_of(ours)
        return child
    if mode == "spawn":
        program = [sys.executable, "-c", "import sys; sys.stdin.read()"]
        return subprocess.Popen(program, pass_fds=store.lifelines(grant)).pid
    return None


def _live_until_the_end_of(fd: int) -> NoReturn:
    while os.read(fd, 1):
        pass
    os._exit(0)


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
