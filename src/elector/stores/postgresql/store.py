"""``postgresql://user@host/database?table=elector``: leases in rows, on the database's clock.

One connection does everything, and it is kept open: requests of many candidates go out as one
statement, and changes arrive on it by ``NOTIFY``. What the tables themselves guarantee is told
in `elector.stores.postgresql.schema`; why each statement is right, in
`elector.stores.postgresql.statements`. Everything in the URL but ``table`` is the client
library's: PG* variables, ~/.pgpass, ``sslmode``, several hosts with ``target_session_attrs``.

A vacancy is announced to everybody who waits, and the quickest has it; there is no queue. An
office that is kept for an heir is announced to the heir alone.
"""

import asyncio
import contextlib
import json
from collections.abc import Sequence
from typing import Any, NamedTuple

from elector.core.identity import Candidate
from elector.core.office import EndReason
from elector.errors import StoreError
from elector.stores.connection import Kept
from elector.stores.gather import Gathered
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
from elector.stores.postgresql.connection import PATIENCE_S, bounded, in_words, parse
from elector.stores.postgresql.link import TROUBLES, Dialler, Link
from elector.stores.postgresql.schema import KEPT_TENURES
from elector.stores.registry import StoreUrl
from elector.stores.watches import Watches, Watching

_LEAST_PATIENCE_S = 1.0
_EACH_S = 0.002  # more, for each row of a large batch
_PARTING_S = 0.5
# No reply came, or the server has become a standby: the connection is of no use any more.
_LOST = {None, "25006"}


async def open_store(url: StoreUrl) -> "PostgresStore":
    """Connect, and make the tables if they are missing and the URL does not forbid it."""
    store = PostgresStore(url)
    try:
        await store.connect()
    except BaseException:
        await store.close()
        raise
    return store


class _Question(NamedTuple):
    """One acquisition of a batch."""

    election: str
    candidate: Candidate
    ttl_ns: int


class _Return(NamedTuple):
    """One release of a batch."""

    grant: Grant
    reason: EndReason
    heir: str | None


class _InOrder:
    """Passes news on, except what is older than what was passed on before.

    What a query has read and what was announced meanwhile arrive in either order.
    """

    def __init__(self, notify: Notify) -> None:
        self._notify, self._newest = notify, -1

    def __call__(self, news: News) -> None:
        if isinstance(news, Change):
            # In one tenure the vacancy comes last.
            age = 2 * news.token + (news.leader is None)
            if age < self._newest:
                return
            self._newest = age
        self._notify(news)


class PostgresStore:
    """The adapter.

    Args:
        url: of the database.
    """

    traits = Traits(
        scope="network",
        expiry="server",
        clock="the database server's clock",
        push=True,
        witness=False,
        least_ttl_ns=500_000_000,
        token_source="a column that triggers keep from falling",  # noqa: S106 - not a password
        failover_loss="nothing with a synchronous standby; with an asynchronous one its lag, "
        "tenures and tokens included",
        history=True,
        asks="at once",
        transfer=True,
    )

    def __init__(self, url: StoreUrl) -> None:
        self._address = parse(url)
        self._watches = Watches()
        self._waiting: set[tuple[str, str]] = set()
        self._heard: dict[str, Ask] = {}
        self._kept_offices: dict[str, asyncio.TimerHandle] = {}
        self._turn = asyncio.Lock()
        self._rehearsed = False
        self._rehearsing: asyncio.Task[None] | None = None
        dialler = Dialler(self._address, self._hear, self._ended)
        self._kept = Kept[Link](dialler, _hang_up, self._catch_up)
        self._acquire = Gathered[_Question, Granted | Occupied](self._acquire_all)
        self._release = Gathered[_Return, bool](self._release_all)
        self._read = Gathered[str, Any](self._read_all)
        self._leave = Gathered[tuple[str, str], None](self._leave_all)

    async def connect(self) -> None:
        """Be connected, or say why that cannot be."""
        await self._kept.get()

    # -- the lease -----------------------------------------------------------------------

    async def acquire(self, election: str, candidate: Candidate, ttl_ns: int) -> Granted | Occupied:
        """Take the office if nobody holds it; see the port."""
        return await self._acquire(_Question(election, candidate, ttl_ns))

    async def _acquire_all(self, questions: Sequence[_Question]) -> list[Granted | Occupied]:
        names = [asked.election for asked in questions]
        stand = [self._stands(asked.election, asked.candidate) for asked in questions]
        waiters = {
            (asked.election, asked.candidate.instance)
            for asked, stands in zip(questions, stand, strict=True)
            if stands
        }
        self._waiting |= waiters
        rows = await self._request(
            "acquire",
            [
                {
                    "n": number,
                    "election": asked.election,
                    "name": asked.candidate.name,
                    "instance": asked.candidate.instance,
                    "us": _microseconds(asked.ttl_ns),
                    "enlist": stands,
                }
                for number, (asked, stands) in enumerate(zip(questions, stand, strict=True))
            ],
            ttl_ns=min(asked.ttl_ns for asked in questions),
        )
        if not self._rehearsed:
            self._rehearsed = True
            self._rehearsing = asyncio.create_task(self._rehearse())
        for asked, row in zip(questions, rows, strict=True):
            if row["granted"]:
                self._waiting.discard((asked.election, asked.candidate.instance))
        overtaken = {
            name
            for name, row in zip(names, rows, strict=True)
            if not row["granted"] and not row["known"]
        }
        winners = await self._winners(overtaken)
        return [
            winners.get(name) or _answer(row)
            if name in overtaken and not row["granted"]
            else _answer(row)
            for name, row in zip(names, rows, strict=True)
        ]

    async def _rehearse(self) -> None:
        """Let the server get ready for the moment in which an office changes hands."""
        with contextlib.suppress(StoreError):  # it is only slower then
            await self._request("release", [], ttl_ns=0)  # others wait for their turn
            await self._request("rehearsal", ttl_ns=0)

    async def _winners(self, elections: set[str]) -> dict[str, Occupied]:
        """Who was quicker; the refusal is certain, so that not knowing is no failure."""
        if not elections:
            return {}
        try:
            names = sorted(elections)
            records = map(_record, names, await self._read_all(names))
        except StoreError:
            return {}
        return {
            record.election: Occupied(record.leader, record.token, record.expires_in_ns)
            for record in records
        }

    def _stands(self, election: str, candidate: Candidate) -> bool:
        return any(watching.candidate == candidate for watching in self._watches.of(election))

    async def renew(self, grants: Sequence[Grant]) -> list[bool]:
        """Prolong leases that are still ours, in one statement."""
        if not grants:
            return []
        rows = await self._request(
            "renew",
            [_presented(grant) | {"us": _microseconds(grant.ttl_ns)} for grant in grants],
            ttl_ns=min(grant.ttl_ns for grant in grants),
        )
        for row in rows:
            if row["asked"]:
                self._pass_on(Ask(row["name"], row["token"], row["asked_heir"]), row["instance"])
        renewed = {(row["name"], row["token"], row["instance"]) for row in rows}
        return [
            (grant.election, grant.token, grant.candidate.instance) in renewed for grant in grants
        ]

    async def release(self, grant: Grant, reason: EndReason, heir: str | None = None) -> bool:
        """Give the office back, kept for `heir` if such a candidate waits; see the port."""
        return await self._release(_Return(grant, reason, heir))

    async def _release_all(self, returns: Sequence[_Return]) -> list[bool]:
        grants = [given.grant for given in returns]
        rows = await self._request(
            "release",
            [
                _presented(given.grant) | {"reason": given.reason.value, "heir": given.heir}
                for given in returns
            ],
            ttl_ns=min(grant.ttl_ns for grant in grants),
        )
        released = {(row["name"], row["token"], row["instance"]) for row in rows}
        return [
            (grant.election, grant.token, grant.candidate.instance) in released for grant in grants
        ]

    # -- news ----------------------------------------------------------------------------

    async def watch(
        self, election: str, notify: Notify, candidate: Candidate | None = None
    ) -> Watching:
        """Be told of changes; see the port."""
        watching = Watching(election, _InOrder(notify), candidate, self._unwatch)
        self._watches.add(watching)
        try:
            await self._kept.get()
            if candidate is None:
                watching.notify(_change(election, await self._read(election)))
        except BaseException:
            self._watches.remove(watching)
            raise
        return watching

    async def _unwatch(self, watching: Watching) -> None:
        if self._watches.remove(watching):
            self._heard.pop(watching.election, None)
            self._forget_kept(watching.election)
        if watching.candidate is None:
            return
        place = (watching.election, watching.candidate.instance)
        if place in self._waiting:
            self._waiting.discard(place)
            try:
                await self._leave(place)
            except StoreError:
                return  # its place there lapses by itself

    async def _leave_all(self, places: Sequence[tuple[str, str]]) -> list[None]:
        await self._request(
            "leave", [{"election": name, "instance": instance} for name, instance in places]
        )
        return [None] * len(places)

    def _hear(self, payload: str) -> None:
        """Something was announced."""
        said = json.loads(payload)
        if said.get("ask"):
            ask = Ask(said["e"], said["t"], said["h"])
            self._heard.pop(ask.election, None)  # it was asked once more
            self._pass_on(ask, said["i"])
            return
        left_ns = said["us"] * 1000
        change = Change(said["e"], said["l"], said["i"], said["t"], left_ns if said["l"] else None)
        self._tell(change, said["h"], left_ns)

    def _tell(self, change: Change, heir: str | None, left_ns: int) -> None:
        """Tell everybody; a vacancy that is kept for an heir, to the heir and to observers."""
        self._forget_kept(change.election)
        if change.leader is not None or heir is None or left_ns <= 0:
            self._watches.tell(change)
            return
        for watching in self._watches.of(change.election):
            if watching.candidate is None or watching.candidate.name == heir:
                watching.notify(change)
        self._kept_offices[change.election] = asyncio.get_running_loop().call_later(
            left_ns / 1e9, self._watches.tell, change
        )

    def _forget_kept(self, election: str) -> None:
        timer = self._kept_offices.pop(election, None)
        if timer is not None:
            timer.cancel()

    def _pass_on(self, ask: Ask, instance: str) -> None:
        """Hand a request to the holder; the one that a renewal finds, only if it was not heard."""
        if self._heard.get(ask.election) != ask:
            self._heard[ask.election] = ask
            self._watches.pass_on(ask, instance)

    async def ask(self, ask: Ask) -> None:
        """Leave a request with the election, and announce it; too late, it is dropped."""
        link = await self._link()
        await self._request("ask", ask.election, ask.token, ask.heir, link.channel)

    # -- reading -------------------------------------------------------------------------

    async def describe(self, election: str) -> Record:
        """Who leads and who waits."""
        return _record(election, await self._read(election))

    async def _read_all(self, elections: Sequence[str]) -> list[Any]:
        rows = await self._request("describe", sorted(set(elections)), writes=False)
        known = {row["name"]: row for row in rows}
        return [known.get(name) for name in elections]

    async def elections(self) -> list[Record]:
        """All elections, by name."""
        return [_record(row["name"], row) for row in await self._request("elections", writes=False)]

    async def history(self, election: str, limit: int) -> list[PastTenure]:
        """Past tenures, newest first; the last thousand are kept."""
        limit = min(limit, KEPT_TENURES)
        rows = await self._request("history", election, limit, writes=False)
        return [
            PastTenure(
                election, row["token"], row["holder"], row["began"], row["ended"], row["reason"]
            )
            for row in rows
        ]

    def lifelines(self, grant: Grant) -> tuple[int, ...]:  # noqa: ARG002 - the port's signature
        """None: the server knows nothing of processes here."""
        return ()

    # -- the connection ------------------------------------------------------------------

    async def _request(
        self, statement: str, *values: object, writes: bool = True, ttl_ns: int | None = None
    ) -> list[Any]:
        """Send a statement and await its rows.

        Raises:
            StoreUnavailable: it was not carried out.
            OutcomeUnknown: it may have been.
        """
        patience_s = PATIENCE_S if ttl_ns is None else max(_LEAST_PATIENCE_S, ttl_ns / 1e10)
        patience_s += sum(len(value) for value in values if isinstance(value, list)) * _EACH_S
        async with self._turn:
            link = await self._link()
            query = getattr(link.statements, statement)
            given = [json.dumps(value) if isinstance(value, list) else value for value in values]
            try:
                return await bounded(
                    link.connection, link.connection.fetch(query, *given), patience_s
                )
            except TROUBLES as error:
                if getattr(error, "sqlstate", None) in _LOST:
                    link.connection.terminate()
                    self._ended(link)
                raise in_words(error, self._address, writes=writes) from error

    async def _link(self) -> Link:
        link = await self._kept.get()
        if link.connection.is_closed():  # and the news of that is still on its way
            self._ended(link)
            link = await self._kept.get()
        return link

    def _ended(self, link: Link) -> None:
        self._rehearsed = False
        self._kept.lost(link, redial=bool(self._watches))

    async def _catch_up(self, link: Link) -> None:
        """After a loss: tell everybody who watches how things are now."""
        watched = list(self._watches)
        if not watched:
            return
        reading = link.connection.fetch(link.statements.describe, json.dumps(watched))
        try:
            rows = await bounded(link.connection, reading, PATIENCE_S)
        except TROUBLES as error:
            raise in_words(error, self._address, writes=False) from error
        known = {row["name"]: row for row in rows}
        for name in watched:
            row = known.get(name)
            heir, left_us = (None, 0) if row is None else (row["heir"], row["left_us"])
            self._tell(_change(name, row), heir, left_us * 1000)

    async def close(self) -> None:
        """Hang up; leases stay as they are."""
        for election in tuple(self._kept_offices):
            self._forget_kept(election)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_PARTING_S), self._turn:  # let what is under way end
                pass
        await self._kept.close()
        if self._rehearsing is not None:
            await asyncio.wait({self._rehearsing})
        for gathered in (self._acquire, self._release, self._read, self._leave):
            await gathered.finished()


async def _hang_up(link: Link) -> None:
    try:
        await link.connection.close(timeout=_PARTING_S)
    finally:
        link.connection.terminate()


def _presented(grant: Grant) -> dict[str, Any]:
    return {
        "election": grant.election,
        "token": grant.token,
        "instance": grant.candidate.instance,
    }


def _microseconds(duration_ns: int) -> int:
    """What PostgreSQL can keep of a duration; never less than was asked for."""
    return -(-duration_ns // 1000)


def _answer(row: Any) -> Granted | Occupied:
    if row["granted"]:
        return Granted(row["token"])
    left_us = row["left_us"]
    left_ns = left_us * 1000 if row["known"] and left_us > 0 else None
    return Occupied(row["leader"] if row["known"] else None, row["token"], left_ns)


def _led(row: Any) -> bool:
    return row is not None and row["lasts"] and row["holder"] is not None


def _record(election: str, row: Any) -> Record:
    """A row, or None for an election that nobody ever led."""
    token = 0 if row is None else row["token"]
    waiting = () if row is None else tuple(json.loads(row["waiting"] or "[]"))
    if not _led(row):
        return Record(election, None, token, waiting=waiting)
    left_ns = row["left_us"] * 1000
    return Record(election, row["holder"], token, left_ns, row["since"], waiting)


def _change(election: str, row: Any) -> Change:
    if not _led(row):
        return Change(election, None, None, 0 if row is None else row["token"])
    left_ns = row["left_us"] * 1000
    return Change(election, row["holder"], row["instance"], row["token"], left_ns)
