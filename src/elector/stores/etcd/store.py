"""``etcd://[user:password@]host[:2379][,host...][/prefix]``: elections on etcd.

With TLS: ``etcds://...?ca=&cert=&key=``. What the URL does not say comes from etcdctl's variables
(`elector.stores.etcd.client.settings_of`).

Interoperation
    Whoever holds the oldest key under ``<prefix>/<election>/`` leads: that is the convention of
    Go's ``concurrency.Election``, so ``etcdctl elect <prefix>/<election> NAME`` and programs in
    other languages stand in the same election, at the same time (``/`` in the name of an election
    is written ``%2F``, so that no election lies within another one). A contender of theirs that
    waits stands in the queue under that prefix, and has the office the moment the one before it
    is gone. Elector's candidates wait in a line beside the queue and take the office when nobody
    stands in the queue: so nobody holds an office without knowing it, an office can be kept for an
    heir, and a dead candidate in line holds nobody up. The price: contenders of other languages
    that wait come before those of Elector.

Laws
    1. An office is taken by one transaction: nobody stands in the queue, and the record of the
       last tenure is the one that we know. So of two requests only one can win, and one that was
       abandoned can win nothing once anybody else has (`elector.stores.etcd.sessions`).
    2. The fencing token is the revision of that transaction: it rises with every write of the
       whole store, and is the same for a Go contender (its key's create revision).
    3. A lease counts as prolonged when a keepalive found it alive and a linearizable request,
       begun no earlier than the lease is counted from, ended in the same Raft term. A keepalive
       alone may have been answered by a member that has been replaced as leader and does not know
       it yet. With that proof any later leader came after the request was sent, and a leader that
       comes into office gives every lease its full time again.
    4. An office is ended by a transaction that compares the token: never somebody else's, nor a
       later one of our own.
    5. Of those who are watched nobody asks: what the watch stream says is good enough to wait by,
       and never good enough to lead by.
"""

import asyncio
import random
from collections.abc import Iterable, Sequence
from typing import Any

import msgspec

from elector.clock import now_ns
from elector.core.duration import SECOND_NS
from elector.core.identity import Candidate
from elector.core.office import EndReason
from elector.errors import OutcomeUnknown, StoreError, StoreUnavailable, UnsupportedTrait
from elector.stores.connection import Kept
from elector.stores.etcd import wire
from elector.stores.etcd.archive import Archive, utc
from elector.stores.etcd.client import (
    PATIENCE_S,
    Client,
    Endpoints,
    LeaseGone,
    Line,
    settings_of,
)
from elector.stores.etcd.rooms import Rooms
from elector.stores.etcd.sessions import Claim, Session, Sessions, patience_s, whole_seconds
from elector.stores.etcd.view import (
    Contender,
    Heir,
    Keys,
    Office,
    Request,
    View,
)
from elector.stores.gather import Gathered
from elector.stores.port import (
    Ask,
    Grant,
    Granted,
    Notify,
    Occupied,
    PastTenure,
    Record,
    Traits,
)
from elector.stores.registry import StoreUrl
from elector.stores.watches import Watching

_KEPT_FOR_HEIR_NS = 5 * SECOND_NS
_USUAL_LEAST_S = 2
_STEPS = 100  # of a transaction; etcd allows 128
_ROUNDS = 16  # of asking again what has just changed
_CLOSING_S = 1.0
_TRIM_ONE_IN = 50


DECLARED = Traits(
    scope="network",
    expiry="server",
    clock="monotonic clock of etcd's leader, in whole seconds; up to 0.5 s late",
    push=True,
    witness=False,
    least_ttl_ns=_USUAL_LEAST_S * SECOND_NS,  # learned when a store is opened
    token_source="revision of the store",  # noqa: S106 - a fencing token, not a password
    failover_loss="nothing while a majority of the members keeps its disks",
    history=True,
    asks="at once",
    transfer=True,
)


async def open_store(url: StoreUrl) -> "EtcdStore":
    """Connect, and find out how short a lease may be.

    Raises:
        StoreUnavailable: etcd does not answer, or refuses us.
    """
    store = EtcdStore(url)
    try:
        await store.open(create=url.create)
    except BaseException:
        await store.close()
        raise
    return store


class EtcdStore:
    """Elections on etcd; see the module."""

    def __init__(self, url: StoreUrl) -> None:
        settings = settings_of(url)
        self._prefix = settings.prefix
        self._endpoints = Endpoints(settings, str(url))
        self._least_s = _USUAL_LEAST_S
        self._kept: Kept[Line] = Kept(self._endpoints.dial, _hang_up, self._resume)
        self._client = Client(self._endpoints, self._kept.get, self._lost)
        self._sessions = Sessions(self._client, self._vacate)
        self._archive = Archive(self._prefix, self._client)
        self._rooms = Rooms(self._client, self._read_through, self._claimed)
        self._read_many = Gathered(self._read_now)
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def traits(self) -> Traits:
        """What etcd can do."""
        return msgspec.structs.replace(DECLARED, least_ttl_ns=self._least_s * SECOND_NS)

    async def open(self, *, create: bool) -> None:
        """Connect; the shortest lease tells how short a lease may be (etcd rounds up)."""
        await self._kept.get()
        if create:
            request = wire.message("LeaseGrantRequest", TTL=1)
            shortest = await self._client.write("LeaseGrant", request)
            self._least_s = shortest.TTL  # and it runs out by itself

    # -- the connection --------------------------------------------------------------------

    def _lost(self, line: Line) -> None:
        self._kept.lost(line, redial=bool(self._rooms))

    async def _resume(self, line: Line) -> None:
        await self._rooms.resume(line)

    def _keys(self, election: str) -> Keys:
        return Keys(self._prefix, election)

    async def _read(self, election: str) -> View:
        """The election now, from a quorum; many who ask at a time are answered together."""
        view, _ = await self._read_many(election)
        self._rooms.learn(view)
        return view

    async def _read_now(self, elections: Sequence[str]) -> list[tuple[View, int]]:
        line = await self._kept.get()
        return await self._read_terms(line, elections)

    async def _read_through(self, line: Line, elections: Sequence[str]) -> list[View]:
        return [view for view, _ in await self._read_terms(line, elections)]

    async def _read_terms(self, line: Line, elections: Sequence[str]) -> list[tuple[View, int]]:
        found: list[tuple[View, int]] = []
        for start in range(0, len(elections), _STEPS):
            some = [self._keys(election) for election in elections[start : start + _STEPS]]
            steps = [wire.read(keys.first, keys.end) for keys in some]
            request = wire.message("TxnRequest", success=steps)
            answer = await self._client.ask(line, "Txn", request, PATIENCE_S, writes=False)
            found += [
                (_view(keys, step, answer), answer.header.raft_term)
                for keys, step in zip(some, answer.responses, strict=True)
            ]
        return found

    async def _transact(
        self,
        keys: Keys,
        conditions: Iterable[Any],
        steps: Iterable[Any],
        patience: float = PATIENCE_S,
    ) -> tuple[bool, View, int]:
        """Do this if that is so; whether it was, what the election is like now, and the term."""
        look = wire.read(keys.first, keys.end)
        request = wire.message(
            "TxnRequest", compare=list(conditions), success=[*steps, look], failure=[look]
        )
        answer = await self._client.write("Txn", request, patience)
        view = _view(keys, answer.responses[-1], answer)
        return answer.succeeded, view, answer.header.raft_term

    # -- acquire ---------------------------------------------------------------------------

    async def acquire(self, election: str, candidate: Candidate, ttl_ns: int) -> Granted | Occupied:
        """Take the office if nobody holds it; see the port."""
        claim = self._sessions.claim(election, candidate)
        if claim is not None and claim.leaving:
            await self._vacate(claim)
            self._sessions.drop(claim)
        view = self._rooms.live(election) if claim is None else None
        if view is not None and self._may_wait_by(view, candidate):
            return _occupied(view, candidate)
        if view is None or view.leader is not None or view.heir is not None:
            view = await self._read(election)
        for _ in range(_ROUNDS):
            view.check()
            if view.leader is not None and view.holds(candidate):
                session = self._sessions.of(view.leader.lease, ttl_ns)
                if not session.retired:
                    return await self._confirm(view.leader, candidate, ttl_ns, election)
                # An abandoned request has won while its lease is being revoked.
                await self._sessions.undone(session)
                view = await self._read(election)
                continue
            if view.leader is None and view.kept_from(candidate.name) is None:
                answer = await self._take(view, candidate, ttl_ns)
            elif self._waits_well(view, candidate):
                self._give_up_claim(election, candidate)
                return _occupied(view, candidate)
            else:
                answer = await self._stand_in_line(view, candidate, ttl_ns)
            if isinstance(answer, Granted):
                return answer
            view = answer
        raise StoreUnavailable(
            f"election {election!r} changed hands too fast to be asked; try again"
        )

    @staticmethod
    def _may_wait_by(view: View, candidate: Candidate) -> bool:
        """Whether what the watch says is enough to wait by, without asking (law 5).

        It is for those who stand in line: they are called when it says something else.
        """
        taken = view.leader is not None or view.kept_from(candidate.name) is not None
        in_line = view.at(view.keys.line(candidate.instance)) is not None
        return taken and in_line and not view.holds(candidate)

    def _waits_well(self, view: View, candidate: Candidate) -> bool:
        """Whether it stands in line, or has no business there because it does not watch."""
        room = self._rooms.get(view.keys.election)
        watches = room is not None and any(one.candidate == candidate for one in room.watchings)
        return not watches or view.at(view.keys.line(candidate.instance)) is not None

    def _give_up_claim(self, election: str, candidate: Candidate) -> None:
        claim = self._sessions.claim(election, candidate)
        if claim is not None:
            self._sessions.drop(claim)

    async def _take(self, view: View, candidate: Candidate, ttl_ns: int) -> Granted | View:
        """Try to take a vacant office (law 1)."""
        keys, sent = view.keys, now_ns()
        session, fresh = await self._sessions.fit(whole_seconds(ttl_ns))
        claim = Claim(keys.election, candidate, session, ttl_ns, sent)
        self._sessions.enter(claim)
        taking = self._transact(
            keys,
            [
                wire.created_at(keys.queue, 0, keys.queue_end),
                wire.written_at(keys.office, view.office_written),
            ],
            [
                wire.put(keys.contender(session.lease), candidate.name.encode(), session.lease),
                wire.put(keys.office, _begun(candidate, ttl_ns)),
                wire.delete(keys.line(candidate.instance)),
                wire.delete(keys.heir),
                *_close_the_books(view),
            ],
            patience_s(ttl_ns),
        )
        try:
            taken, beat = await asyncio.gather(
                taking,
                _no_beat() if fresh else self._sessions.keep(session),
                return_exceptions=True,
            )
        except asyncio.CancelledError:
            self._sessions.doubt(claim)
            raise
        if isinstance(taken, LeaseGone):
            self._sessions.drop(claim)
            self._sessions.ended(session)
            return view
        if isinstance(taken, BaseException):
            if isinstance(taken, StoreUnavailable):
                self._sessions.drop(claim)
            else:
                self._sessions.doubt(claim)
            raise taken
        won, view, term = taken
        if won:
            claim.token = view.token
            self._sessions.waits_no_more(keys.election, candidate)
        else:
            self._sessions.drop(claim)
        self._rooms.learn(view)
        if not won or view.leader is None:
            return view
        if isinstance(beat, BaseException):
            raise beat  # the office is ours, but for how long? Asked again, we shall know
        if beat is not None and beat != (True, term):
            return await self._confirm(view.leader, candidate, ttl_ns, keys.election)
        return Granted(view.token)

    async def _confirm(
        self, leader: Contender, candidate: Candidate, ttl_ns: int, election: str
    ) -> Granted:
        """We hold it already: prolong the lease, and answer with the token we have."""
        session = self._sessions.of(leader.lease, ttl_ns)
        claim = self._sessions.claim(election, candidate)
        sent = now_ns()
        if claim is None or claim.session is not session:
            claim = Claim(election, candidate, session, ttl_ns, sent)
            claim.doubtful = session.doubtful
            self._sessions.enter(claim)
        [alive], [view] = await self._prolong([session], [election])
        if not alive or not view.holds(candidate) or view.token != leader.token:
            self._sessions.drop(claim)
            raise StoreUnavailable(
                f"election {election!r}: the lease of {candidate.name} has ended"
            )
        claim.token, claim.at, claim.ttl_ns = leader.token, sent, ttl_ns
        claim.doubtful = False
        self._sessions.poke()
        return Granted(leader.token)

    async def _stand_in_line(self, view: View, candidate: Candidate, ttl_ns: int) -> View:
        """Take a place in line, by the session of this process."""
        keys = view.keys
        session, _ = await self._sessions.fit(whole_seconds(ttl_ns))
        place = wire.put(keys.line(candidate.instance), candidate.name.encode(), session.lease)
        try:
            _, view, _ = await self._transact(keys, [], [place], patience_s(ttl_ns))
        except LeaseGone:
            self._sessions.ended(session)
            return view
        room = self._rooms.get(keys.election)
        if room is None or all(one.candidate != candidate for one in room.watchings):
            self._soon(self._leave_line(keys, candidate))  # it went meanwhile
        else:
            room.in_vain[candidate.instance] = candidate
            self._sessions.waits(keys.election, candidate, session, keys.line(candidate.instance))
        self._rooms.learn(view)
        return view

    # -- renew -----------------------------------------------------------------------------

    async def renew(self, grants: Sequence[Grant]) -> list[bool]:
        """Prolong leases: one keepalive for each session, and one read (law 3)."""
        sent = now_ns()
        sessions = {place: await self._session_of(grant) for place, grant in enumerate(grants)}
        wanted = {one.lease: one for one in sessions.values() if one is not None}
        if not wanted:
            return [False] * len(grants)
        elections = list({grant.election for grant in grants})
        unseen = [name for name in elections if self._rooms.live(name) is None]
        alive, views = await self._prolong(list(wanted.values()), unseen or elections[:1])
        living = {lease for lease, lives in zip(wanted, alive, strict=True) if lives}
        read = {view.keys.election: view for view in views}
        return [
            self._renewed(grant, sessions[place], living, sent, read)
            for place, grant in enumerate(grants)
        ]

    async def _session_of(self, grant: Grant) -> Session | None:
        """By which session a grant is held; None: it is not, or was not renewed in time."""
        claim = self._sessions.claim(grant.election, grant.candidate)
        if claim is not None and claim.token == grant.token:
            return None if claim.leaving or claim.overdue else claim.session
        view = self._rooms.live(grant.election) or await self._read(grant.election)
        if not _held_by(view, grant) or view.leader is None:
            return None
        return self._sessions.of(view.leader.lease, grant.ttl_ns)

    def _renewed(
        self,
        grant: Grant,
        session: Session | None,
        living: set[int],
        sent: int,
        read: dict[str, View],
    ) -> bool:
        claim = self._sessions.claim(grant.election, grant.candidate)
        view = read.get(grant.election) or self._rooms.live(grant.election)
        kept = session is not None and session.lease in living
        if not kept or view is None or not _held_by(view, grant):
            if view is not None and claim is not None and claim.token == grant.token:
                self._sessions.drop(claim)
            return False
        if claim is None or claim.token != grant.token:
            return claim is None
        if claim.leaving:
            return False
        claim.at, claim.ttl_ns = sent, grant.ttl_ns
        return True

    async def _prolong(
        self, sessions: Sequence[Session], elections: Sequence[str]
    ) -> tuple[list[bool], list[View]]:
        """Keep sessions alive, and read elections, both in one Raft term (law 3)."""
        for _ in range(3):
            beats, found = await asyncio.gather(
                asyncio.gather(*(self._sessions.keep(session) for session in sessions)),
                asyncio.gather(*(self._read_many(name) for name in elections)),
            )
            terms = {term for _, term in found} | {beat.term for beat in beats if beat.alive}
            if len(terms) <= 1:
                for view, _ in found:
                    self._rooms.learn(view)
                return [beat.alive for beat in beats], [view for view, _ in found]
        raise OutcomeUnknown("etcd's members are electing a leader among themselves")

    # -- release ---------------------------------------------------------------------------

    async def release(self, grant: Grant, reason: EndReason, heir: str | None = None) -> bool:
        """Give the office back, and keep it for the heir, if that one waits."""
        election, candidate = grant.election, grant.candidate
        # Whether an heir waits must not be judged by news that may be on its way.
        view = self._rooms.live(election) if heir is None else None
        view = view or await self._read(election)
        claim = self._sessions.claim(election, candidate)
        if claim is not None and claim.token not in {None, grant.token}:
            claim = None
        if not _held_by(view, grant):
            if claim is not None and not claim.doubtful:
                self._sessions.drop(claim)
            return False
        steps = [wire.delete(view.keys.heir)]
        if any(one.name == heir for one in view.line):
            steps = [await self._keep_for(view.keys, str(heir), grant.ttl_ns)]
        if claim is not None:
            claim.leaving = True
        return await self._end(view, grant.token, reason, claim, steps, patience_s(grant.ttl_ns))

    async def _end(
        self,
        view: View,
        token: int,
        reason: EndReason,
        claim: Claim | None,
        steps: Sequence[Any] = (),
        patience: float = PATIENCE_S,
    ) -> bool:
        """End the tenure of this token, of which `view` tells (law 4)."""
        keys, leader, tenure = view.keys, view.leader, view.tenure
        if leader is None or tenure is None:
            return False
        closed = msgspec.structs.replace(tenure, token=token, ended=utc(), reason=reason.value)
        record = msgspec.json.encode(closed)
        done, view, _ = await self._transact(
            keys,
            [wire.created_at(leader.key, token)],
            [
                wire.delete(leader.key),
                wire.put(keys.office, record),
                wire.put(keys.past(token), record),
                wire.delete(keys.ask),
                *steps,
            ],
            patience,
        )
        if claim is not None:
            self._sessions.drop(claim)
        self._rooms.learn(view)
        if random.randrange(_TRIM_ONE_IN) == 0:  # noqa: S311 - spreads load, guards nothing
            self._soon(self._archive.trim(keys))
        return done

    async def _keep_for(self, keys: Keys, heir: str, ttl_ns: int) -> Any:
        kept_ns = min(ttl_ns, _KEPT_FOR_HEIR_NS)
        request = wire.message("LeaseGrantRequest", TTL=whole_seconds(kept_ns))
        lease = await self._client.write("LeaseGrant", request, patience_s(ttl_ns))
        return wire.put(keys.heir, msgspec.json.encode(Heir(heir, kept_ns)), lease.ID)

    async def _vacate(self, claim: Claim) -> None:
        """End what a claim holds or may hold; when it returns, that is certain.

        A doubtful claim may still come to hold the office later, as long as its session lives.
        """
        keys = self._keys(claim.election)
        view = await self._read(claim.election)
        pair = view.at(keys.contender(claim.session.lease))
        if pair is None or (claim.token is not None and claim.token != pair.create_revision):
            return
        rightful = self._sessions.claim(claim.election, claim.candidate)
        if rightful is not claim and rightful is not None and rightful.session is claim.session:
            return
        if view.tenure is not None and view.token == pair.create_revision:
            await self._end(view, view.token, EndReason.EXPIRED, None)
        else:
            condition = wire.created_at(pair.key, pair.create_revision)
            _, view, _ = await self._transact(keys, [condition], [wire.delete(pair.key)])
            self._rooms.learn(view)

    def _claimed(self, election: str, instance: str) -> bool:
        claim = self._sessions.claim(election, Candidate("", instance))
        return claim is not None and claim.token is not None and not claim.leaving

    # -- watch -----------------------------------------------------------------------------

    async def watch(
        self, election: str, notify: Notify, candidate: Candidate | None = None
    ) -> Watching:
        """Be told the present state now and every change from now on; see the port."""
        watching = Watching(election, notify, candidate, self._left)
        await self._rooms.enter(watching)
        return watching

    async def _left(self, watching: Watching) -> None:
        self._rooms.leave(watching)
        candidate = watching.candidate
        if candidate is None or not self._sessions.waits_no_more(watching.election, candidate):
            return
        await self._leave_line(self._keys(watching.election), candidate)

    async def _leave_line(self, keys: Keys, candidate: Candidate) -> None:
        try:
            step = wire.delete(keys.line(candidate.instance))
            _, view, _ = await self._transact(keys, [], [step])
            self._rooms.learn(view)
        except StoreError:
            self._sessions.litter(keys.line(candidate.instance))

    # -- to be read ------------------------------------------------------------------------

    async def describe(self, election: str) -> Record:
        """Who leads and who waits."""
        [record] = await self._archive.records([await self._read(election)])
        return record

    async def elections(self) -> list[Record]:
        """All elections in which an Elector candidate ever led, or anybody stands."""
        return await self._archive.elections()

    async def history(self, election: str, limit: int) -> list[PastTenure]:
        """Past tenures of Elector candidates, newest first; about a thousand are kept."""
        return await self._archive.history(await self._read(election), limit)

    async def ask(self, ask: Ask) -> None:
        """Leave a request for the holder, whose watch sees it at once."""
        view = await self._read(ask.election)
        leader = view.leader
        if leader is None or leader.token != ask.token:
            return
        if view.tenure is None:
            raise UnsupportedTrait(
                f"{leader.name} leads {ask.election!r} by etcd's own convention, not by Elector, "
                "and cannot be asked; end it where it runs"
            )
        request = msgspec.json.encode(Request(ask.token, ask.heir))
        condition = wire.created_at(leader.key, ask.token)
        await self._transact(view.keys, [condition], [wire.put(view.keys.ask, request)])

    def lifelines(self, grant: Grant) -> tuple[int, ...]:  # noqa: ARG002 - the port's signature
        """None: a lease on etcd does not know of processes."""
        return ()

    # -- the end ---------------------------------------------------------------------------

    def _soon(self, work: Any) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def close(self) -> None:
        """Leave every line, end what may still be carried out, and hang up."""
        await self._rooms.close()
        await self._sessions.close(_CLOSING_S)
        for task in self._tasks:
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks)
        await self._kept.close()


async def _hang_up(line: Line) -> None:
    await line.channel.close()


def _view(keys: Keys, step: Any, answer: Any) -> View:
    return View(keys, step.response_range.kvs, answer.header.revision)


def _held_by(view: View, grant: Grant) -> bool:
    return view.holds(grant.candidate) and view.token == grant.token


def _occupied(view: View, candidate: Candidate) -> Occupied:
    return Occupied(view.leader_name, view.token, view.kept_from(candidate.name))


def _begun(candidate: Candidate, ttl_ns: int) -> bytes:
    return msgspec.json.encode(Office(candidate.name, candidate.instance, ttl_ns, utc()))


async def _no_beat() -> None:
    """A lease that was granted a moment ago needs no keepalive."""


def _close_the_books(view: View) -> list[Any]:
    """The tenure before this one, if nobody has noted its end: it ran out."""
    last = view.office
    if last is None or last.ended is not None:
        return []
    closed = msgspec.structs.replace(last, ended=utc(), reason=EndReason.EXPIRED.value)
    return [wire.put(view.keys.past(last.token), msgspec.json.encode(closed))]
