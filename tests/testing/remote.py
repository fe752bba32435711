"""A store in memory that is reached as over a network: its requests take turns of the loop.

It is sound: requests are carried out in the order in which they were sent, also those whose
caller no longer waits. The broken ones are made from it.
"""

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from typing import Any, TypeVar

from elector.core.identity import Candidate
from elector.core.office import EndReason
from elector.stores.memory import MemoryStore
from elector.stores.port import Ask, Grant, Granted, Notify, Occupied, PastTenure, Record, Watch
from tests.stores.worlds import Clock

T = TypeVar("T")
Work = Callable[..., Coroutine[Any, Any, T]]


class Remote(MemoryStore):
    """The client's half; what begins with `do_` is the server's."""

    def __init__(self, name: str, clock: Clock) -> None:
        super().__init__(name, clock)
        self.clock = clock
        self._line = asyncio.Lock()
        self.under_way: set[asyncio.Task[Any]] = set()

    def restart(self) -> None:
        """What a restart of the server does to what it keeps: nothing."""

    async def send(self, work: Work[T], *given: Any) -> T:
        task = asyncio.get_running_loop().create_task(self.serve(work, *given))
        self.under_way.add(task)
        task.add_done_callback(self.under_way.discard)
        return await asyncio.shield(task)

    async def serve(self, work: Work[T], *given: Any) -> T:
        async with self._line:
            await asyncio.sleep(0)
            result = await work(*given)
            await asyncio.sleep(0)
            return result

    async def do_acquire(self, election: str, who: Candidate, ttl_ns: int) -> Granted | Occupied:
        return await MemoryStore.acquire(self, election, who, ttl_ns)

    async def do_renew(self, grants: Sequence[Grant]) -> list[bool]:
        return await MemoryStore.renew(self, grants)

    async def do_release(self, grant: Grant, reason: EndReason, heir: str | None) -> bool:
        return await MemoryStore.release(self, grant, reason, heir)

    async def do_watch(self, election: str, notify: Notify, who: Candidate | None) -> Watch:
        return await MemoryStore.watch(self, election, notify, who)

    async def do_describe(self, election: str) -> Record:
        return await MemoryStore.describe(self, election)

    async def do_ask(self, ask: Ask) -> None:
        await MemoryStore.ask(self, ask)

    async def acquire(self, election: str, candidate: Candidate, ttl_ns: int) -> Granted | Occupied:
        return await self.send(self.do_acquire, election, candidate, ttl_ns)

    async def renew(self, grants: Sequence[Grant]) -> list[bool]:
        return await self.send(self.do_renew, grants)

    async def release(self, grant: Grant, reason: EndReason, heir: str | None = None) -> bool:
        return await self.send(self.do_release, grant, reason, heir)

    async def watch(  # type: ignore[override]  # a watch of the port
        self, election: str, notify: Notify, candidate: Candidate | None = None
    ) -> Watch:
        opening = asyncio.ensure_future(self.send(self.do_watch, election, notify, candidate))
        try:
            return await asyncio.shield(opening)
        except asyncio.CancelledError:
            await (await opening).close()
            raise

    async def describe(self, election: str) -> Record:
        return await self.send(self.do_describe, election)

    async def ask(self, ask: Ask) -> None:
        await self.send(self.do_ask, ask)

    async def history(self, election: str, limit: int) -> list[PastTenure]:
        return await MemoryStore.history(self, election, limit)

    async def close(self) -> None:
        while self.under_way:
            await asyncio.wait(self.under_way)
        await MemoryStore.close(self)
