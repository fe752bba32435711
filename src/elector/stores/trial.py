"""A trial of a real store: how long an acquisition, a renewal and a handover take there.

Two stores are opened on one place, as in two processes, and hand an office to each other in an
election that exists for this alone. `elector doctor` shows the figures of a few rounds, and the
table of stores has those of many.
"""

import asyncio
import contextlib
import secrets
from collections.abc import Awaitable, Callable

import msgspec

from elector.clock import now_ns
from elector.core.duration import SECOND_NS
from elector.core.identity import Candidate
from elector.core.office import EndReason
from elector.errors import StoreUnavailable
from elector.stores.port import Change, Grant, Granted, News, Store

ELECTION = "elector-doctor"
_PATIENCE_S = 30.0

Open = Callable[[], Awaitable[Store]]


class Trial(msgspec.Struct, frozen=True):
    """What was measured, in nanoseconds, one figure for each round.

    Attributes:
        acquire_ns: from asking for a free office to having it.
        renew_ns: of one lease.
        handover_ns: from before the release to the moment at which a waiting candidate on
            another connection has heard of it.
    """

    acquire_ns: tuple[int, ...]
    renew_ns: tuple[int, ...]
    handover_ns: tuple[int, ...]


class _Side:
    """One of the two that hand over to each other."""

    def __init__(self, store: Store, ttl_ns: int) -> None:
        self._store, self._ttl_ns = store, ttl_ns
        self._candidate = Candidate("elector-doctor", secrets.token_hex(8))
        self.called = asyncio.Event()

    def _hear(self, news: News) -> None:
        if isinstance(news, Change) and news.leader is None:
            self.called.set()

    async def acquire(self) -> tuple[Grant, int]:
        asked = now_ns()
        answer = await self._store.acquire(ELECTION, self._candidate, self._ttl_ns)
        took = now_ns() - asked
        if not isinstance(answer, Granted):
            raise StoreUnavailable(
                f"election {ELECTION!r}, in which stores are tried, is taken by {answer.leader}: "
                "another trial is under way; wait for its end"
            )
        return Grant(ELECTION, self._candidate, answer.token, self._ttl_ns), took

    async def stand_in_line(self) -> Callable[[], Awaitable[None]]:
        """Watch, and ask in vain, as a candidate does; the answer leaves the line again."""
        watch = await self._store.watch(ELECTION, self._hear, self._candidate)
        await self._store.acquire(ELECTION, self._candidate, self._ttl_ns)
        self.called.clear()
        return watch.close

    async def renew(self, grant: Grant) -> int:
        asked = now_ns()
        if await self._store.renew([grant]) != [True]:
            raise StoreUnavailable("a lease was lost that had just been granted")
        return now_ns() - asked

    async def release(self, grant: Grant) -> None:
        await self._store.release(grant, EndReason.COMPLETED)


async def try_out(open_store: Open, rounds: int, ttl_ns: int | None = None) -> Trial:
    """Hand an office to and fro between two connections.

    Args:
        open_store: opens the store once more; called twice.
        rounds: of each measurement.
        ttl_ns: of the leases; the least that the store grants, and at least 5 s, if not given.

    Raises:
        StoreError: the store did not do what was asked.
    """
    try:
        async with contextlib.AsyncExitStack() as opened:
            stores = []
            for _ in range(2):
                stores.append(await open_store())
                opened.push_async_callback(stores[-1].close)
            return await _hand_to_and_fro(stores, rounds, ttl_ns)
    except TimeoutError:
        raise StoreUnavailable(
            f"a waiting candidate was not told of a release within {_PATIENCE_S:g} s"
        ) from None


async def _hand_to_and_fro(stores: list[Store], rounds: int, ttl_ns: int | None) -> Trial:
    ttl_ns = ttl_ns or max(stores[0].traits.least_ttl_ns, 5 * SECOND_NS)
    ahead, behind = (_Side(store, ttl_ns) for store in stores)
    acquired, renewed, handed = [], [], []
    for _ in range(rounds):
        grant, took = await ahead.acquire()
        acquired.append(took)
        leave = await behind.stand_in_line()
        renewed.append(await ahead.renew(grant))
        released = now_ns()
        await ahead.release(grant)
        async with asyncio.timeout(_PATIENCE_S):
            await behind.called.wait()
        handed.append(now_ns() - released)
        await leave()
        ahead, behind = behind, ahead
    return Trial(tuple(acquired), tuple(renewed), tuple(handed))
