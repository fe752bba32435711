"""``memory://name``: elections within one process, for tests and for trying things out.

All stores opened under one name share one state, also between threads and event loops;
``memory://`` alone is the name "". Nothing survives the process, tokens included.

A watch is called on the event loop on which it was opened, never while a call of the store
is still running.
"""

import asyncio
import threading
from collections import deque
from collections.abc import Callable, Sequence
from datetime import UTC, datetime

from msgspec.structs import replace

from elector.clock import now_ns
from elector.core.duration import SECOND_NS
from elector.core.identity import Candidate
from elector.core.office import EndReason
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
    Traits,
)
from elector.stores.registry import StoreUrl

Clock = Callable[[], int]

_KEPT_FOR_HEIR_NS = 5 * SECOND_NS
_HISTORY = 1000

# Every method holds it for microseconds; what watches are told leaves through their loops.
_LOCK = threading.RLock()


async def open_store(url: StoreUrl) -> "MemoryStore":
    """Open the store of this name; it exists as long as the process."""
    return MemoryStore(url.rest)


class MemoryStore:
    """A store in this process's memory, with leases on an injectable clock."""

    traits = Traits(
        scope="process",
        expiry="host clock",
        clock="monotonic clock of the host",
        push=True,
        witness=False,
        least_ttl_ns=1_000_000,
        token_source="a counter in memory",  # noqa: S106 - a fencing token, not a password
        failover_loss="everything, tokens included, ends with the process",
        history=True,
        asks="at once",
        transfer=True,
    )

    def __init__(self, name: str = "", clock: Clock = now_ns) -> None:
        with _LOCK:
            self._offices = _OFFICES.setdefault(name, {})
        self._clock = clock
        self._watches: set[_Watch] = set()

    def _office(self, election: str) -> "_Office":
        """The election as it is now; it is made when it is first spoken of."""
        office = self._offices.setdefault(election, _Office(election))
        office.now = self._clock()
        return office

    async def acquire(self, election: str, candidate: Candidate, ttl_ns: int) -> Granted | Occupied:
        """Take the office if nobody holds it; see the port."""
        with _LOCK:
            return self._office(election).acquire(candidate, ttl_ns)

    async def renew(self, grants: Sequence[Grant]) -> list[bool]:
        """Prolong leases that are still ours."""
        with _LOCK:
            return [self._office(grant.election).renew(grant) for grant in grants]

    async def release(self, grant: Grant, reason: EndReason, heir: str | None = None) -> bool:
        """Give the office back and tell the next in line, or the heir."""
        with _LOCK:
            return self._office(grant.election).release(grant, reason, heir)

    async def watch(
        self, election: str, notify: Notify, candidate: Candidate | None = None
    ) -> "_Watch":
        """Be told the present state now and every change from now on; see the port."""
        with _LOCK:
            watch = _Watch(self, election, notify, candidate)
            self._watches.add(watch)
            self._office(election).enter(watch)
        return watch

    def unwatch(self, watch: "_Watch") -> None:
        """Forget a registration; if it was its turn, it is the next one's."""
        with _LOCK:
            if not watch.closed:
                watch.closed = True
                self._watches.discard(watch)
                self._office(watch.election).leave(watch)

    async def describe(self, election: str) -> Record:
        """Who leads and who waits."""
        with _LOCK:
            known = election in self._offices
            return self._office(election).record() if known else Record(election, None, 0)

    async def elections(self) -> list[Record]:
        """All elections in which somebody ever led or waits."""
        with _LOCK:
            records = [self._office(election).record() for election in sorted(self._offices)]
        return [record for record in records if record.token or record.waiting]

    async def history(self, election: str, limit: int) -> list[PastTenure]:
        """Past tenures, newest first; the last thousand are kept."""
        with _LOCK:
            office = self._office(election)
            office.notice_expiry()
            return list(reversed(office.past))[:limit]

    async def ask(self, ask: Ask) -> None:
        """Hand a request to the holder's watch; one that comes too late is dropped."""
        with _LOCK:
            self._office(ask.election).pass_on(ask)

    def lifelines(self, grant: Grant) -> tuple[int, ...]:  # noqa: ARG002 - the port's signature
        """None: a lease in memory ends with its process whatever a child does."""
        return ()

    async def close(self) -> None:
        """Close the watches of this store; leases stay as they are."""
        for watch in tuple(self._watches):
            self.unwatch(watch)


class _Office:
    """One election; `now` is set before each call, everything happens at that instant."""

    def __init__(self, election: str) -> None:
        self.election = election
        self.now = 0
        self.token = 0
        self.holder: Candidate | None = None
        self.expires_at = 0
        self.heir: str | None = None
        self.kept_until = 0
        self.watches: list[_Watch] = []
        self.line: list[_Watch] = []  # those of candidates that wait, first in line first
        self.called: _Watch | None = None  # who was told of the present vacancy
        self.past: deque[PastTenure] = deque(maxlen=_HISTORY)

    # -- the lease ---------------------------------------------------------------------

    def acquire(self, candidate: Candidate, ttl_ns: int) -> Granted | Occupied:
        self._lapse()  # silently: whoever asks takes the office now
        mine = self.holder is not None and self.holder.instance == candidate.instance
        if mine:
            self.expires_at = self.now + ttl_ns
            return Granted(self.token)
        if self.holder is not None or self._kept_ns(candidate):
            self._stand_in_line(candidate)
            news = self.present(candidate)
            return Occupied(news.leader, news.token, news.retry_in_ns)
        self._install(candidate, ttl_ns)
        return Granted(self.token)

    def _install(self, candidate: Candidate, ttl_ns: int) -> None:
        self.token += 1
        self.holder, self.expires_at = candidate, self.now + ttl_ns
        self.called = None
        self.line = [watch for watch in self.line if watch.candidate != candidate]
        self.past.append(
            PastTenure(self.election, self.token, candidate.name, _utc(), ended=None, reason=None)
        )
        for watch in self.watches:
            watch.send(self.present(watch.candidate))

    def renew(self, grant: Grant) -> bool:
        ours = self._held_by(grant)
        if ours:
            self.expires_at = self.now + grant.ttl_ns
        return ours

    def release(self, grant: Grant, reason: EndReason, heir: str | None) -> bool:
        if not self._held_by(grant):
            return False
        self._vacate(reason)
        if any(watch.candidate and watch.candidate.name == heir for watch in self.line):
            self.heir, self.kept_until = heir, self.now + min(grant.ttl_ns, _KEPT_FOR_HEIR_NS)
        self._announce_vacancy()
        return True

    def _held_by(self, grant: Grant) -> bool:
        """Whether this very grant holds office: instance and token, not the name."""
        self.notice_expiry()
        return (
            self.holder is not None
            and self.holder.instance == grant.candidate.instance
            and self.token == grant.token
        )

    def _lapse(self) -> bool:
        expired = self.holder is not None and self.now >= self.expires_at
        if expired:
            self._vacate(EndReason.EXPIRED)
        return expired

    def notice_expiry(self) -> None:
        if self._lapse():
            self._announce_vacancy()

    def _vacate(self, reason: EndReason) -> None:
        self.holder, self.heir = None, None
        self.past[-1] = replace(self.past[-1], ended=_utc(), reason=reason.value)

    def _kept_ns(self, candidate: Candidate | None) -> int | None:
        """How long the vacant office is still kept for somebody else than this candidate."""
        heirless = self.heir is None or self.now >= self.kept_until
        if candidate is None or heirless or candidate.name == self.heir:
            return None
        return self.kept_until - self.now

    # -- those who wait and look on -------------------------------------------------------

    def present(self, candidate: Candidate | None) -> Change:
        """The state of things, as this candidate (or an observer) should see it."""
        if self.holder is None:
            return Change(self.election, None, None, self.token, self._kept_ns(candidate))
        left_ns = self.expires_at - self.now
        return Change(self.election, self.holder.name, self.holder.instance, self.token, left_ns)

    def enter(self, watch: "_Watch") -> None:
        self.notice_expiry()
        self.watches.append(watch)
        if watch.candidate is not None and watch.candidate != self.holder:
            self.line.append(watch)
        watch.send(self.present(watch.candidate))

    def _stand_in_line(self, candidate: Candidate) -> None:
        """One that has led loses its place, and gets a new one when it asks again in vain."""
        for watch in self.watches:
            if watch.candidate == candidate and watch not in self.line:
                self.line.append(watch)

    def leave(self, watch: "_Watch") -> None:
        self.watches = [other for other in self.watches if other is not watch]
        self.line = [other for other in self.line if other is not watch]
        if self.called is watch and self.holder is None:
            self.heir = None
            self._call_next()  # it was told of the vacancy and does not want it

    def _announce_vacancy(self) -> None:
        for watch in self.watches:
            if watch.candidate is None:
                watch.send(self.present(None))
        self._call_next()

    def _call_next(self) -> None:
        """Tell the next in line that may take the office, and only that one."""
        may_take = (watch for watch in self.line if self._kept_ns(watch.candidate) is None)
        self.called = next(
            (watch for watch in may_take if watch.send(self.present(watch.candidate))), None
        )

    def pass_on(self, ask: Ask) -> None:
        self.notice_expiry()
        if self.holder is None or ask.token != self.token:
            return
        for watch in self.watches:
            if watch.candidate == self.holder:
                watch.send(ask)

    def record(self) -> Record:
        self.notice_expiry()
        waiting = tuple(watch.candidate.name for watch in self.line if watch.candidate is not None)
        if self.holder is None:
            return Record(self.election, None, self.token, waiting=waiting)
        return Record(
            self.election,
            self.holder.name,
            self.token,
            expires_in_ns=self.expires_at - self.now,
            since=self.past[-1].began,
            waiting=waiting,
        )


class _Watch:
    """A registration; what it is told arrives on the loop it was opened on."""

    def __init__(
        self, store: MemoryStore, election: str, notify: Notify, candidate: Candidate | None
    ) -> None:
        self.candidate = candidate
        self.election = election
        self.notify = notify
        self.closed = False
        self._store = store
        self._loop = asyncio.get_running_loop()

    def send(self, news: News) -> bool:
        """Pass news on; False when the loop that would take it has ended."""
        try:
            self._loop.call_soon_threadsafe(self._receive, news)
        except RuntimeError:
            return False
        return True

    def _receive(self, news: News) -> None:
        if not self.closed:
            self.notify(news)

    async def close(self) -> None:
        """Leave the queue; safe to call twice."""
        self._store.unwatch(self)


def _utc() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds")


_OFFICES: dict[str, dict[str, _Office]] = {}
