"""A store that fails on demand: one in memory, behind a wire that can be cut in five ways."""

import asyncio
import enum
import random
from collections import Counter
from collections.abc import Coroutine, Sequence
from typing import Any, TypeVar

from elector.core.identity import Candidate
from elector.core.office import EndReason
from elector.errors import OutcomeUnknown, StoreUnavailable
from elector.stores.memory import MemoryStore
from elector.stores.port import (
    Ask,
    Grant,
    Granted,
    Notify,
    Occupied,
    PastTenure,
    Record,
    Traits,
    Watch,
)

T = TypeVar("T")


class Fault(enum.Enum):
    """What goes wrong with a request."""

    REFUSED = "it certainly did not happen, and the caller is told"
    UNSENT = "it did not happen, but the caller cannot know"
    UNHEARD = "it happened, but the caller cannot know"
    STUCK = "it arrives when the wire is mended"
    SILENT = "it happens at once; the reply comes when the wire is mended"


class FaultyStore:
    """A `MemoryStore` with faults; told from any thread, used on the engine thread."""

    def __init__(self, name: str) -> None:
        self.memory = MemoryStore(name)
        self.calls: Counter[str] = Counter()
        self.watches = 0
        self.closed = 0
        self.delays: random.Random | None = None
        self._faults: dict[str, tuple[Fault, float]] = {}
        self._cut = 0

    @property
    def traits(self) -> Traits:
        return self.memory.traits

    # -- for tests -----------------------------------------------------------------------

    def fail(self, fault: Fault, *ops: str, times: float = float("inf")) -> None:
        """From now on, and so often, these operations fail; all of them if none is named."""
        for op in ops or ("acquire", "renew", "release", "watch", "describe", "ask"):
            self._faults[op] = (fault, times)

    def mend(self) -> None:
        """Nothing fails any more, and what was stuck goes through."""
        self._faults.clear()
        self._cut += 1

    # -- the wire --------------------------------------------------------------------------

    def _next_fault(self, op: str) -> Fault | None:
        self.calls[op] += 1
        fault, times = self._faults.get(op, (None, 0))
        if fault is None or times <= 0:
            return None
        self._faults[op] = (fault, times - 1)
        return fault

    async def _mended(self) -> None:
        cut = self._cut
        while self._cut == cut:  # noqa: ASYNC110 - mended from another thread
            await asyncio.sleep(0.005)

    async def _dawdle(self) -> None:
        if self.delays is not None:
            await asyncio.sleep(self.delays.choice([0, 0, 0.0005, 0.002]))

    async def _send(self, op: str, request: Coroutine[Any, Any, T]) -> T:
        fault = self._next_fault(op)
        try:
            await self._dawdle()
            if fault is Fault.REFUSED:
                raise StoreUnavailable(f"{op}: the wire is cut")
            if fault is Fault.UNSENT:
                raise OutcomeUnknown(f"{op}: no reply")
            if fault is Fault.STUCK:
                await self._mended()
            reply = await request
        finally:
            request.close()
        if fault is Fault.UNHEARD:
            raise OutcomeUnknown(f"{op}: no reply")
        if fault is Fault.SILENT:
            await self._mended()
        await self._dawdle()
        return reply

    # -- the port --------------------------------------------------------------------------

    async def acquire(self, election: str, candidate: Candidate, ttl_ns: int) -> Granted | Occupied:
        return await self._send("acquire", self.memory.acquire(election, candidate, ttl_ns))

    async def renew(self, grants: Sequence[Grant]) -> list[bool]:
        return await self._send("renew", self.memory.renew(grants))

    async def release(self, grant: Grant, reason: EndReason, heir: str | None = None) -> bool:
        return await self._send("release", self.memory.release(grant, reason, heir))

    async def watch(
        self, election: str, notify: Notify, candidate: Candidate | None = None
    ) -> "_Counted":
        made: list[Watch] = []

        async def register() -> Watch:
            made.append(await self.memory.watch(election, notify, candidate))
            return made[0]

        try:
            watch = await self._send("watch", register())
        except BaseException:
            for watch in made:
                await watch.close()  # nobody will ever hold it
            raise
        self.watches += 1
        return _Counted(self, watch)

    async def describe(self, election: str) -> Record:
        return await self._send("describe", self.memory.describe(election))

    async def elections(self) -> list[Record]:
        return await self.memory.elections()

    async def history(self, election: str, limit: int) -> list[PastTenure]:
        return await self.memory.history(election, limit)

    async def ask(self, ask: Ask) -> None:
        await self._send("ask", self.memory.ask(ask))

    def lifelines(self, grant: Grant) -> tuple[int, ...]:
        return self.memory.lifelines(grant)

    async def close(self) -> None:
        self.closed += 1
        await self.memory.close()


class _Counted:
    """A watch that is counted, so that one that was forgotten is seen."""

    def __init__(self, store: FaultyStore, watch: Watch) -> None:
        self._store = store
        self._watch = watch
        self._open = True

    async def close(self) -> None:
        if self._open:
            self._open = False
            self._store.watches -= 1
        await self._watch.close()
