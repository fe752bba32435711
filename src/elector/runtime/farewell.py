"""The farewell: releases the office of an ``elector run`` that was killed, on any store.

What MQTT calls a last will, for stores that nobody tells of a death. A process of its own with
the store open, so that it can do the one thing that it is for at once. Its guardian
(`elector.runtime.guardian`) starts it, tells it what it is to know, and one day perhaps that the
command is dead and the supervisor gone: only then it releases. Whatever else happens, the end of
the guardian above all, it ends without a word, and the lease runs its time
(docs/decisions/0014-farewell.md).

It is run as a plain file, and told the supervisor's ``sys.path`` before it imports anything of
Elector: so it finds the same Elector and the same adapters, however the supervisor found them.

It is told, as JSON lines: the will (``{"path": ..., "store": ..., ...}``; the store's URL with its
secret, which no command line and no environment may hold), and ``{"release_by": ns}``.
"""

import asyncio
import contextlib
import ctypes
import json
import logging
import os
import signal
import socket
import sys
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from elector.stores.port import Store

_PR_SET_PDEATHSIG = 1
# So that a connection which has died quietly is found and made anew before it is needed.
_LOOK_EVERY_S = 60.0
_LONGEST_LINE = 1 << 20
_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 0.02, 1.0


class Farewell:
    """One grant, and the store that it is of.

    Args:
        will: what the supervisor wants to be known.
    """

    def __init__(self, will: dict[str, Any]) -> None:
        from elector.core.identity import Candidate
        from elector.stores.port import Grant
        from elector.stores.registry import StoreUrl

        self._url = StoreUrl(*will["store"])
        candidate = Candidate(*will["candidate"])
        self._grant = Grant(will["election"], candidate, will["token"], will["ttl_ns"])
        self._opening = asyncio.Lock()
        self._opened: Store | None = None

    async def keep_ready(self) -> None:
        """Have the store open, and see now and then that it still answers."""
        from elector.errors import StoreError

        pause = _FIRST_PAUSE_S
        while True:
            try:
                await (await self._store()).describe(self._grant.election)
            except StoreError:
                pause = min(2 * pause, _LOOK_EVERY_S)
            else:
                pause = _LOOK_EVERY_S
            await asyncio.sleep(pause)

    async def release(self) -> None:
        """Give the office back, whatever that takes; a release that is repeated does nothing."""
        from elector.core.office import EndReason
        from elector.errors import StoreError

        pause = _FIRST_PAUSE_S
        while True:
            try:
                await (await self._store()).release(self._grant, EndReason.DIED)
            except StoreError:
                await asyncio.sleep(pause)
                pause = min(2 * pause, _LONGEST_PAUSE_S)
            else:
                return

    async def _store(self) -> "Store":
        from elector.stores.registry import open_store

        async with self._opening:
            if self._opened is None:
                self._opened = await open_store(self._url)
            return self._opened


async def serve(line: socket.socket) -> None:
    """Wait for the one order; return when there is nothing more to do."""
    reader, _ = await asyncio.open_connection(sock=line, limit=_LONGEST_LINE)
    will = await reader.readline()
    if not will:
        return
    told = json.loads(will)
    sys.path[:] = told["path"]
    farewell = Farewell(told)
    ready, order = (
        asyncio.ensure_future(farewell.keep_ready()),
        asyncio.ensure_future(reader.readline()),
    )
    await asyncio.wait([ready, order], return_when=asyncio.FIRST_COMPLETED)
    if not order.done():
        ready.result()  # it has failed in a way that trying again does not mend
    if order.result():
        os.dup2(0, 2)  # whoever reads what elector wrote should not have to wait for us
        await _release_in_time(farewell, json.loads(order.result())["release_by"])


async def _release_in_time(farewell: Farewell, by_ns: int) -> None:
    from elector.clock import now_ns

    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout((by_ns - now_ns()) / 1e9):
            await farewell.release()


async def _serve_and_end(line: socket.socket) -> None:
    """End here and now: closing a store in good order may take longer than anybody waits."""
    try:
        await serve(line)
    except Exception as error:  # noqa: BLE001 - whatever it is, one line is enough
        sys.stderr.write(f"elector: the farewell cannot do its work: {error}\n")
        sys.stderr.flush()
        os._exit(1)
    os._exit(0)


def _end_with_parent() -> None:
    """Where the kernel can, even if this process hangs; the end of the line is the other way."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)


def main() -> None:
    """Serve the guardian at the other end of this line."""
    _end_with_parent()
    line = socket.socket(fileno=int(sys.argv[1]))
    os.closerange(3, line.fileno())  # what others may wait for the end of
    os.closerange(line.fileno() + 1, os.sysconf("SC_OPEN_MAX"))
    logging.getLogger().addHandler(logging.NullHandler())  # the supervisor says what matters
    asyncio.run(_serve_and_end(line))


if __name__ == "__main__":
    main()
