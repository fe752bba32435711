"""Stores that are broken on purpose, and the laws that each of them breaks."""

# ruff: noqa: ARG002 - what is left out is the bug

import asyncio
import itertools
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from msgspec.structs import replace

from elector.core.identity import Candidate
from elector.core.office import EndReason
from elector.errors import StoreError
from elector.stores.memory import MemoryStore
from elector.stores.port import (
    Ask,
    Change,
    Grant,
    Granted,
    News,
    Notify,
    Occupied,
    PastTenure,
    Record,
    Watch,
)
from tests.stores.worlds import Clock
from tests.testing.remote import Remote, Work

T = TypeVar("T")
Kind = TypeVar("Kind", bound=type[Remote])

BROKEN: dict[type[Remote], tuple[str, ...]] = {}
_numbers = itertools.count(1)


def breaks(*laws: str) -> Callable[[Kind], Kind]:
    def entered(kind: Kind) -> Kind:
        BROKEN[kind] = laws
        return kind

    return entered


# -- exclusion -----------------------------------------------------------------------------


@breaks("exclusion", "race", "handover", "lost_acquisition")
class EachHasItsOwn(Remote):
    """Every connection sees offices of its own."""

    def __init__(self, name: str, clock: Clock) -> None:
        super().__init__(f"{name}/{next(_numbers)}", clock)


@breaks("crowd", "race")
class LooksBeforeItTakes(Remote):
    """Whether the office is free is asked in one request, and it is taken in another."""

    async def acquire(self, election: str, candidate: Candidate, ttl_ns: int) -> Granted | Occupied:
        if (await self.describe(election)).leader is not None:
            return await super().acquire(election, candidate, ttl_ns)
        return await self.send(self._take, election, candidate, ttl_ns)

    async def _take(self, election: str, who: Candidate, ttl_ns: int) -> Granted | Occupied:
        self._office(election)._install(who, ttl_ns)
        return await self.do_acquire(election, who, ttl_ns)


@breaks("exclusion", "race")
class NamesakesAreOne(Remote):
    """The owner is told by the name, which two of a fleet may share."""

    async def do_acquire(self, election: str, who: Candidate, ttl_ns: int) -> Granted | Occupied:
        held = self._office(election).holder
        namesake = Candidate("r" if who.name.startswith("r") else who.name, "")
        if held is not None and held.name.startswith(namesake.name):
            return Granted(self._office(election).token)
        return await super().do_acquire(election, who, ttl_ns)


@breaks("exclusion")
class SaysSomebodyElseLeads(Remote):
    async def do_acquire(self, election: str, who: Candidate, ttl_ns: int) -> Granted | Occupied:
        answer = await super().do_acquire(election, who, ttl_ns)
        return answer if isinstance(answer, Granted) else replace(answer, leader="nobody")


@breaks("elections_apart")
class FoldsNames(Remote):
    """The names of elections are those of files where case does not count."""

    async def do_acquire(self, election: str, who: Candidate, ttl_ns: int) -> Granted | Occupied:
        return await super().do_acquire(election.lower(), who, ttl_ns)

    async def do_describe(self, election: str) -> Record:
        return await super().do_describe(election.lower())


# -- tokens and grants -----------------------------------------------------------------------


@breaks("tokens_rise")
class ForgetsTokensWhenClosed(Remote):
    async def close(self) -> None:
        for office in self._offices.values():
            if office.holder is None:
                office.token = 0
        await super().close()


@breaks("tokens_outlive_a_restart")
class ForgetsTokensWhenRestarted(Remote):
    def restart(self) -> None:
        self._offices.clear()


@breaks("tokens_outlive_a_restart")
class WatchesEndWithTheServer(Remote):
    def restart(self) -> None:
        for office in self._offices.values():
            office.watches.clear()


@breaks("tokens_rise", "lost_acquisition", "stale_refused", "race", "handover", "over_at_last")
class OneTokenForAll(Remote):
    async def do_acquire(self, election: str, who: Candidate, ttl_ns: int) -> Granted | Occupied:
        office = self._office(election)
        if office.holder is None:
            office.token = 0
        office._lapse()
        office.token = office.token if office.holder else 0
        return await super().do_acquire(election, who, ttl_ns)


@breaks("asking_again", "lost_acquisition", "outlives_its_store")
class NewTokenForWhoAsksAgain(Remote):
    async def do_acquire(self, election: str, who: Candidate, ttl_ns: int) -> Granted | Occupied:
        office = self._office(election)
        if office.holder == who:
            office.token += 1
        return await super().do_acquire(election, who, ttl_ns)


@breaks("stale_refused", "over_at_last")
class RenewsWithoutLookingAtTheToken(Remote):
    async def do_renew(self, grants: Sequence[Grant]) -> list[bool]:
        offices = [self._office(grant.election) for grant in grants]
        return [office.holder is not None for office in offices]


@breaks("stale_refused")
class ReleasesForNamesakes(Remote):
    async def do_release(self, grant: Grant, reason: EndReason, heir: str | None) -> bool:
        office = self._office(grant.election)
        ours = office.holder is not None and office.holder.name == grant.candidate.name
        if ours and office.holder is not None:
            grant = replace(grant, candidate=office.holder, token=office.token)
        return await super().do_release(grant, reason, heir)


@breaks("batch")
class AllOrNothing(Remote):
    async def do_renew(self, grants: Sequence[Grant]) -> list[bool]:
        return [all(await super().do_renew(grants))] * len(grants)


@breaks("outlives_its_store")
class GivesUpWhenClosed(Remote):
    async def close(self) -> None:
        for office in self._offices.values():
            if office.holder is not None:
                office._vacate(EndReason.SHUTDOWN)
        await super().close()


# -- time ------------------------------------------------------------------------------------


@breaks("never_early")
class HalfALease(Remote):
    async def do_acquire(self, election: str, who: Candidate, ttl_ns: int) -> Granted | Occupied:
        return await super().do_acquire(election, who, ttl_ns // 2)


@breaks("never_early")
class RenewsNothing(Remote):
    async def do_renew(self, grants: Sequence[Grant]) -> list[bool]:
        return [self._office(grant.election)._held_by(grant) for grant in grants]


@breaks("never_early")
class DoesNotProlongWhoAsksAgain(Remote):
    async def do_acquire(self, election: str, who: Candidate, ttl_ns: int) -> Granted | Occupied:
        office = self._office(election)
        if office.holder == who:
            return Granted(office.token)
        return await super().do_acquire(election, who, ttl_ns)


@breaks("over_at_last", "back_in_office", "heir_that_does_not_come", "expiry_remembered")
class NeverExpires(Remote):
    """The lease has no end, nor has the claim of an heir."""

    async def do_acquire(self, election: str, who: Candidate, ttl_ns: int) -> Granted | Occupied:
        office = self._office(election)
        office.kept_until = 1 << 100
        return await super().do_acquire(election, who, 1 << 100)


@breaks("back_in_office")
class SameTokenForWhoComesBack(Remote):
    async def do_acquire(self, election: str, who: Candidate, ttl_ns: int) -> Granted | Occupied:
        office = self._office(election)
        office._lapse()
        if office.past and office.past[-1].holder == who.name and office.holder is None:
            office.token -= 1
        return await super().do_acquire(election, who, ttl_ns)


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


# -- watching --------------------------------------------------------------------------------


class _Deaf(Remote):
    """What is told goes through a sieve."""

    def passes(self, news: News, who: Candidate | None, heard: list[News]) -> bool:
        raise NotImplementedError

    async def do_watch(self, election: str, notify: Notify, who: Candidate | None) -> Watch:
        heard: list[News] = []

        def sifted(news: News) -> None:
            if self.passes(news, who, heard):
                notify(news)
            heard.append(news)

        return await super().do_watch(election, sifted, who)


@breaks("observer_told")
class TellsOnlyWhatIsNew(_Deaf):
    def passes(self, news: News, who: Candidate | None, heard: list[News]) -> bool:
        return who is not None or bool(heard)


@breaks("observer_told")
class ForgetsTheInstance(Remote):
    async def do_watch(self, election: str, notify: Notify, who: Candidate | None) -> Watch:
        def told(news: News) -> None:
            notify(replace(news, instance=None) if isinstance(news, Change) else news)

        return await super().do_watch(election, told, who)


@breaks("last_change")
class LosesEveryTenth(_Deaf):
    def passes(self, news: News, who: Candidate | None, heard: list[News]) -> bool:
        return len(heard) % 10 != 9


@breaks("woken", "handover", "heir", "call_handed_on", "cancelled_watch")
class DoesNotWakeWhoWaits(_Deaf):
    def passes(self, news: News, who: Candidate | None, heard: list[News]) -> bool:
        return who is None or not isinstance(news, Change) or news.leader is not None


@breaks("woken")
class TellsNewLeadersToObserversOnly(_Deaf):
    def passes(self, news: News, who: Candidate | None, heard: list[News]) -> bool:
        return who is None or not isinstance(news, Change) or news.leader != "d"


@breaks("call_handed_on")
class KeepsTheCall(Remote):
    def unwatch(self, watch: Any) -> None:
        self._office(watch.election).called = None
        super().unwatch(watch)


@breaks("found_by_asking")
class CoolsDown(Remote):
    """After a release nobody may lead for a while."""

    async def do_release(self, grant: Grant, reason: EndReason, heir: str | None) -> bool:
        done = await super().do_release(grant, reason, heir)
        office = self._office(grant.election)
        office.heir, office.kept_until = "nobody", office.now + 1_000_000
        return done


class _Unclosed:
    def __init__(self, watch: Watch) -> None:
        self._watch = watch

    async def close(self) -> None:
        return


@breaks("closed_watch")
class DoesNotCloseWatches(Remote):
    async def do_watch(self, election: str, notify: Notify, who: Candidate | None) -> Watch:
        return _Unclosed(await super().do_watch(election, notify, who))


class _Once:
    def __init__(self, watch: Watch) -> None:
        self._watch: Watch | None = watch

    async def close(self) -> None:
        if self._watch is None:
            raise StoreError("closed twice")
        await self._watch.close()
        self._watch = None


@breaks("closed_watch")
class ClosesOnlyOnce(Remote):
    async def do_watch(self, election: str, notify: Notify, who: Candidate | None) -> Watch:
        return _Once(await super().do_watch(election, notify, who))


# -- handing over ----------------------------------------------------------------------------


@breaks("asked", "late_ask")
class AsksNobody(Remote):
    async def do_ask(self, ask: Ask) -> None:
        return


@breaks("asked")
class AsksEverybody(Remote):
    async def do_ask(self, ask: Ask) -> None:
        for watch in self._office(ask.election).watches:
            watch.send(ask)


@breaks("asked", "late_ask")
class AsksWhoeverLeads(Remote):
    """The token of the ask is not compared, and one that came too late is kept."""

    kept: Ask | None = None

    async def do_ask(self, ask: Ask) -> None:
        office = self._office(ask.election)
        if office.holder is None:
            self.kept = ask
        for watch in office.watches:
            if watch.candidate == office.holder:
                for each in filter(None, (self.kept, ask)):
                    watch.send(each)


@breaks("heir")
class IgnoresHeirs(Remote):
    async def do_release(self, grant: Grant, reason: EndReason, heir: str | None) -> bool:
        return await super().do_release(grant, reason, None)


@breaks("heir")
class DeclaresNoHeirsAndTakesThem(Remote):
    traits = replace(MemoryStore.traits, transfer=False)


@breaks("asked")
class DeclaresNoAsksAndTakesThem(Remote):
    traits = replace(MemoryStore.traits, asks="never")


@breaks("heir_that_does_not_come")
class WaitsForTheHeirForEver(Remote):
    async def do_release(self, grant: Grant, reason: EndReason, heir: str | None) -> bool:
        done = await super().do_release(grant, reason, heir)
        self._office(grant.election).kept_until = 1 << 100
        return done


# -- reading ---------------------------------------------------------------------------------


@breaks("described")
class KnowsNoEnd(Remote):
    async def do_describe(self, election: str) -> Record:
        return replace(await super().do_describe(election), expires_in_ns=None)


@breaks("described")
class StaleReplica(Remote):
    """Reads what was true before the last change."""

    async def do_describe(self, election: str) -> Record:
        now = await super().do_describe(election)
        return now if now.token == 0 else replace(now, leader=None)


@breaks("described")
class LocalTime(Remote):
    async def do_describe(self, election: str) -> Record:
        record = await super().do_describe(election)
        return record if record.since is None else replace(record, since=record.since[:-6])


@breaks("listed")
class ListsOnlyThoseInOffice(Remote):
    async def elections(self) -> list[Record]:
        return [record for record in await super().elections() if record.leader]


@breaks("remembered", "expiry_remembered")
class OldestFirst(Remote):
    async def history(self, election: str, limit: int) -> list[PastTenure]:
        return list(reversed(await super().history(election, limit)))


@breaks("remembered")
class DeclaresNoHistoryAndTellsIt(Remote):
    traits = replace(MemoryStore.traits, history=False)


@breaks("expiry_remembered")
class EverybodyCompleted(Remote):
    async def history(self, election: str, limit: int) -> list[PastTenure]:
        return [
            replace(tenure, reason=tenure.reason and "completed")
            for tenure in await super().history(election, limit)
        ]
