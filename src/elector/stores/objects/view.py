"""What this process has seen of the elections in a bucket, since when, and who is told of it.

Nobody expires a lease in an object store. Whoever contends takes a record over when it has seen
its pulse stand still for the duration that the holder published, on its own monotonic clock:
counted from when the reply came that showed this pulse first. The holder counts from before it
sent that write, which was earlier, and leaves the drift between the two clocks out of its own
share (`elector.core.timing.LeaseTiming.usable_ns`), so it has stopped by then.

There is no push either. One poller for each watched election asks whether the record is still in
the version that is known; an answer that it is costs no transfer. Where only the holder watches
nobody polls: its renewals are refused when something was asked of it, and then it reads.
"""

import asyncio
import contextlib
import random

import msgspec

from elector.clock import now_ns
from elector.core.duration import SECOND_NS
from elector.core.identity import Candidate
from elector.errors import StoreCorrupt, StoreError
from elector.stores.objects.bucket import Bucket, Unchanged, Version
from elector.stores.objects.record import Office, read, stem_of
from elector.stores.objects.url import PATIENCE_S
from elector.stores.port import Change
from elector.stores.watches import Watches, Watching

_JITTER = 0.2
_LATER_S = 0.001  # than the end of a lease


class Sight(msgspec.Struct, frozen=True):
    """A record as this process last saw it.

    Attributes:
        office: what it says; with revision 0, that there is none yet.
        version: to be compared with when it is replaced; None if there is none.
        since: when a reply first showed this pulse, on our clock.
    """

    office: Office
    version: Version | None
    since: int

    def left_ns(self, candidate: Candidate | None) -> int:
        """How long the office is still to be respected by this candidate, 0 if no more."""
        return max(0, self.since + self.office.respected_ns(candidate) - now_ns())

    def change(self, candidate: Candidate | None) -> Change:
        """The state of things, as this candidate (or an observer) should see it."""
        office, left_ns = self.office, self.left_ns(candidate)
        ours = candidate is not None and candidate.instance == office.instance
        if office.holder is not None and (left_ns or ours):
            return Change(
                office.election, office.holder, office.instance, office.token, left_ns or None
            )
        return Change(office.election, None, None, office.token, left_ns or None)


class View:
    """The newest sight of each election.

    Attributes:
        watches: who is told of changes.
    """

    def __init__(self, bucket: Bucket) -> None:
        self.watches = Watches()
        self._bucket = bucket
        self._sights: dict[str, Sight] = {}
        self._pollers: dict[str, _Poller] = {}

    # -- seeing --------------------------------------------------------------------------

    def path(self, election: str) -> str:
        """The object of an election."""
        return self._bucket.spot.path(f"{stem_of(election)}.json")

    def known(self, election: str) -> Sight | None:
        """The newest sight, however old."""
        return self._sights.get(election)

    async def look(self, election: str, patience_s: float = PATIENCE_S) -> Sight:
        """The record as it is now.

        Raises:
            StoreUnavailable: it cannot be read.
            StoreCorrupt: it is gone, older than it was, or not a record.
        """
        path, known = self.path(election), self._sights.get(election)
        version = None if known is None else known.version
        found = await self._bucket.get(path, version, patience_s)
        if isinstance(found, Unchanged) and known is not None:
            return self._sights[election]
        if found is None or isinstance(found, Unchanged):
            if version is not None:
                raise StoreCorrupt(
                    f"{self._bucket.spot}: the record of election {election!r} was there and is "
                    "gone; starting again at token 1 would let a stale leader's writes through: "
                    "restore the object, and let no lifecycle rule delete it"
                )
            return self.learn(Office(election=election), None, known)
        return self.learn(read(found.data, path, election), found.version, known)

    def learn(self, office: Office, version: Version | None, before: Sight | None) -> Sight:
        """Take a record in that was read or written.

        Args:
            office: the record.
            version: of the object.
            before: what was known when the request was sent; the record cannot be older.

        Raises:
            StoreCorrupt: it is older, so the store has lost what it had confirmed.
        """
        election = office.election
        if before is not None and office.revision < before.office.revision:
            raise StoreCorrupt(
                f"{self._bucket.spot}: the record of election {election!r} went back from "
                f"revision {before.office.revision} (token {before.office.token}) to "
                f"{office.revision} (token {office.token}): restore its newest version; until "
                "then nobody is granted this office"
            )
        known = self._sights.get(election)
        if known is not None and office.revision <= known.office.revision:
            return known  # this reply was overtaken by a newer one
        still = known is not None and office.pulse == known.office.pulse
        since = known.since if known is not None and still else now_ns()
        sight = self._sights[election] = Sight(office, version, since)
        if known is None or not still:
            self.tell(election)
        return sight

    # -- telling -------------------------------------------------------------------------

    def tell(self, election: str) -> None:
        """Tell everybody who watches, soon: never while a call of the store is running."""
        poller = self._pollers.get(election)
        if poller is not None:
            poller.stir()
            asyncio.get_running_loop().call_soon(self._tell_all, election)

    def _tell_all(self, election: str) -> None:
        for watching in self.watches.of(election):
            self._tell(watching)

    def _tell(self, watching: Watching) -> None:
        sight = self._sights.get(watching.election)
        if sight is not None and watching in self.watches.of(watching.election):
            watching.notify(sight.change(watching.candidate))

    async def follow(self, watching: Watching) -> None:
        """Tell this one of every change from now on; an observer also of the present state."""
        election = watching.election
        if self.watches.add(watching):
            self._pollers[election] = _Poller(self, election, self._bucket.spot.poll_ns)
        self._pollers[election].stir()
        if watching.candidate is not None:
            return  # which asks next, and is told then
        try:
            await self.look(election)
        except BaseException:
            await self.forget(watching)
            raise
        asyncio.get_running_loop().call_soon(self._tell, watching)

    async def forget(self, watching: Watching) -> None:
        """Tell this one nothing any more."""
        if self.watches.remove(watching):
            poller = self._pollers.pop(watching.election, None)
            if poller is not None:
                await poller.close()

    def polls(self, election: str) -> bool:
        """Whether anybody here waits for news of this election; its holder does not."""
        sight = self._sights.get(election)
        leader = None if sight is None else sight.office.instance
        return any(
            watching.candidate is None or watching.candidate.instance != leader
            for watching in self.watches.of(election)
        )

    async def close(self) -> None:
        """Stop polling."""
        pollers, self._pollers = list(self._pollers.values()), {}
        for poller in pollers:
            await poller.close()


class _Poller:
    """Looks after one election for all who watch it here."""

    def __init__(self, view: View, election: str, poll_ns: int) -> None:
        self._view, self._election, self._poll_s = view, election, poll_ns / SECOND_NS
        self._stirred = asyncio.Event()
        self._task = asyncio.create_task(self._run())

    def stir(self) -> None:
        """Think again about when to look."""
        self._stirred.set()

    async def close(self) -> None:
        """Stop; safe in every state."""
        self._task.cancel()
        await asyncio.wait({self._task})

    async def _run(self) -> None:
        blind, told_of = False, ""
        while True:
            await self._until_due()
            try:
                sight = await self._view.look(self._election)
            except StoreError:
                blind = True  # who stands hears of it from its own requests
                continue
            over = sight.office.holder is not None and not sight.left_ns(None)
            if blind or (over and told_of != sight.office.pulse):
                self._view.tell(self._election)
            blind, told_of = False, sight.office.pulse if over else ""

    async def _until_due(self) -> None:
        """Until the next look, or the end of the lease if that is before."""
        loop = asyncio.get_running_loop()
        # Looks of many processes spread, so that they do not come all at once.
        due = loop.time() + self._poll_s * (1 - _JITTER * random.random())  # noqa: S311
        while (wait_s := self._wait_s(due - loop.time())) is None or wait_s > 0:
            self._stirred.clear()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(wait_s):
                    await self._stirred.wait()
                continue
            return

    def _wait_s(self, due_s: float) -> float | None:
        if not self._view.polls(self._election):
            return None
        sight = self._view.known(self._election)
        left_ns = 0 if sight is None else sight.left_ns(None)
        return min(due_s, left_ns / SECOND_NS + _LATER_S) if left_ns else due_s
