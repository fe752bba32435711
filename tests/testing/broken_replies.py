"""Stores that are broken in what becomes of a request whose reply nobody hears."""

import asyncio
from collections.abc import Sequence
from typing import Any, TypeVar

from msgspec.structs import replace

from elector.core.identity import Candidate
from elector.core.office import EndReason
from elector.stores.port import (
    Grant,
    Granted,
    Notify,
    Occupied,
    Record,
    Watch,
)
from tests.testing.breaking import breaks
from tests.testing.remote import Remote, Work

T = TypeVar("T")


# -- replies that are lost -------------------------------------------------------------------


@breaks("lost_acquisition")
class LateRequests(Remote):
    """A request that was given up is carried out long after those that came after it."""

    async def send(self, work: Work[T], *given: Any) -> T:
        try:
            await asyncio.sleep(0)
            await asyncio.sleep(0)
        except asyncio.CancelledError:
            task = asyncio.get_running_loop().create_task(self._late(work, *given))
            self.under_way.add(task)
            task.add_done_callback(self.under_way.discard)
            raise
        return await work(*given)

    async def _late(self, work: Work[T], *given: Any) -> T:
        for _ in range(20):
            await asyncio.sleep(0)
        return await work(*given)


@breaks("lost_release", "stale_refused")
class LateReleases(LateRequests):
    """The same, and a release frees whatever it finds."""

    async def do_release(self, grant: Grant, reason: EndReason, heir: str | None) -> bool:
        office = self._office(grant.election)
        if office.holder is not None:
            grant = replace(grant, candidate=office.holder, token=office.token)
        return await super().do_release(grant, reason, heir)


@breaks("lost_acquisition")
class OrphansWhoIsCancelled(Remote):
    """Who is cancelled and asks again is somebody new to it."""

    async def acquire(self, election: str, candidate: Candidate, ttl_ns: int) -> Granted | Occupied:
        try:
            return await super().acquire(election, candidate, ttl_ns)
        except asyncio.CancelledError:
            office = self._office(election)
            if office.holder == candidate:
                office.holder = Candidate(candidate.name, "orphan")
            raise


@breaks("lost_renewal")
class LosesWhatWasInDoubt(Remote):
    async def renew(self, grants: Sequence[Grant]) -> list[bool]:
        try:
            return await super().renew(grants)
        except asyncio.CancelledError:
            for grant in grants:
                await self.do_release(grant, EndReason.LOST, None)
            raise


@breaks("replies_apart")
class RepliesOutOfStep(Remote):
    """The reply that nobody waited for is read by the next one who asks."""

    unread: list[Record]

    async def describe(self, election: str) -> Record:
        self.unread = getattr(self, "unread", [])
        try:
            record = await super().describe(election)
        except asyncio.CancelledError:
            self.unread.append(await self.do_describe(election))
            raise
        return self.unread.pop() if self.unread else record


@breaks("neighbours")
class OneForAll(Remote):
    """Requests that were sent together end together."""

    async def acquire(self, election: str, candidate: Candidate, ttl_ns: int) -> Granted | Occupied:
        try:
            return await super().acquire(election, candidate, ttl_ns)
        except asyncio.CancelledError:
            for task in self.under_way:
                task.cancel()
            raise


@breaks("cancelled_watch")
class KeepsCancelledWatches(Remote):
    async def watch(  # type: ignore[override]
        self, election: str, notify: Notify, candidate: Candidate | None = None
    ) -> Watch:
        return await self.send(self.do_watch, election, notify, candidate)


@breaks("closes_clean")
class LeavesATask(Remote):
    async def watch(  # type: ignore[override]
        self, election: str, notify: Notify, candidate: Candidate | None = None
    ) -> Watch:
        self.task = asyncio.get_running_loop().create_task(asyncio.sleep(600))
        return await super().watch(election, notify, candidate)


@breaks("closes_clean")
class HangsWhenClosed(Remote):
    async def close(self) -> None:
        if self._watches:
            await asyncio.sleep(600)
        await super().close()
