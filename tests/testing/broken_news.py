"""Stores that are broken in what they tell those who watch, ask or read."""

# ruff: noqa: ARG002 - what is left out is the bug

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
    News,
    Notify,
    PastTenure,
    Record,
    Watch,
)
from tests.testing.breaking import breaks
from tests.testing.remote import Remote

T = TypeVar("T")


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
