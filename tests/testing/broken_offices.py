"""Stores that are broken in whom they grant an office, under which token, for how long."""

# ruff: noqa: ARG002 - what is left out is the bug

import itertools
from collections.abc import Sequence
from typing import TypeVar

from msgspec.structs import replace

from elector.core.identity import Candidate
from elector.core.office import EndReason
from elector.stores.port import (
    Grant,
    Granted,
    Occupied,
    Record,
)
from tests.stores.worlds import Clock
from tests.testing.breaking import breaks
from tests.testing.remote import Remote

T = TypeVar("T")

_numbers = itertools.count(1)


# -- exclusion -------------------------------------------------------------------------------


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
