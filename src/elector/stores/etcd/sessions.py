"""Sessions: the leases that this process holds in etcd, shared by all of its elections.

One lease carries every office that the process holds with one ttl, and every place in line, so
that a thousand elections are kept by one message. What that could break, and why it does not:

1. *Dead work keeps office*: a session lives on for the sake of other elections. So each office is
   a `Claim` with its own time, counted from its own renewals; one that was not renewed within its
   ttl is vacated by `Sessions.tend`, whatever becomes of the session.
2. *Nobody renews those who wait*: so `tend` keeps a session alive while somebody waits by it, and
   for no other reason. Nobody holds office by waiting.
3. *An abandoned request wins later*: a claim whose outcome is unknown makes its session doubtful.
   A doubtful session takes no new claims and is not kept alive by `tend`; it is revoked as soon as
   nothing is held by it, and until then its abandoned claims are looked for, and removed.
4. *A member that does not know yet that it leads no more prolongs a lease in vain*: a keepalive
   is not enough, see law 3 of `elector.stores.etcd.store`.
"""

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, NamedTuple

import grpc.aio

from elector.clock import now_ns
from elector.core.duration import SECOND_NS
from elector.core.identity import Candidate
from elector.errors import OutcomeUnknown, StoreError, StoreUnavailable
from elector.stores.etcd.client import Client, LeaseGone, Line, heard
from elector.stores.etcd.wire import delete, message
from elector.stores.gather import Gathered

_WAITERS_KEPT = 0.4  # of the ttl; later than the renewals of an office, which do it anyway
_TRY_AGAIN_NS = SECOND_NS
_KEYS = 100  # at once
_log = logging.getLogger("elector")


class Session:
    """A lease of ours.

    Attributes:
        lease: its id.
        ttl_s: what the server granted.
        kept_at: when the last message that prolonged it was sent.
        doubtful: an abandoned request may still use it.
        retired: it is being revoked.
    """

    def __init__(self, lease: int, ttl_s: int, kept_at: int) -> None:
        self.lease, self.ttl_s, self.kept_at = lease, ttl_s, kept_at
        self.doubtful = self.retired = False

    @property
    def patience_s(self) -> float:
        """How long a request for it may take."""
        return patience_s(self.ttl_s * SECOND_NS)


class Claim:
    """An office that a candidate of ours holds, or may hold.

    Attributes:
        election: its name.
        candidate: who holds it.
        session: by which lease.
        ttl_ns: for how long it is held without a renewal.
        at: since when that is counted.
        token: None as long as it is not known.
        doubtful: the request for it was abandoned.
        leaving: a request to end it is under way, or was abandoned; never to be granted again.
    """

    def __init__(
        self, election: str, candidate: Candidate, session: Session, ttl_ns: int, at: int
    ) -> None:
        self.election, self.candidate, self.session = election, candidate, session
        self.ttl_ns, self.at = ttl_ns, at
        self.token: int | None = None
        self.doubtful = self.leaving = False

    @property
    def overdue(self) -> bool:
        """Whether it was not renewed in time."""
        return now_ns() - self.at > self.ttl_ns


class _Place(NamedTuple):
    """Somebody's place in line."""

    session: Session
    key: bytes


class Beat(NamedTuple):
    """The answer to a keepalive.

    Attributes:
        alive: whether the lease is there.
        term: the Raft term in which it was asked for.
    """

    alive: bool
    term: int


class Sessions:
    """The sessions and claims of one store.

    Args:
        client: to ask etcd.
        vacate: ends an office of ours that may not be held any longer; it says whether it is
            certain that the claim will never hold it again.
    """

    def __init__(self, client: Client, vacate: Callable[[Claim], Awaitable[None]]) -> None:
        self._client, self._vacate = client, vacate
        self._current: dict[int, Session] = {}
        self._all: dict[int, Session] = {}
        self._granting: dict[int, asyncio.Task[Session]] = {}
        self._claims: dict[tuple[str, str], Claim] = {}
        self._ghosts: list[Claim] = []
        self._lines: dict[tuple[str, str], _Place] = {}
        self._litter: set[bytes] = set()
        self._litter_due = 0
        self._keep = Gathered(self._keep_all)
        self._stream: tuple[Line, Any] | None = None
        self._revoking: dict[int, asyncio.Task[None]] = {}
        self._poked = asyncio.Event()
        self._tending: asyncio.Task[None] | None = None
        self._closed = False

    # -- leases --------------------------------------------------------------------------

    async def fit(self, ttl_s: int) -> tuple[Session, bool]:
        """The session for this ttl, and whether it was granted for this call.

        A session that is not new has to be kept alive before anything counts on it.
        """
        session = self._current.get(ttl_s)
        if session is not None:
            return session, False
        # Many who want one at a time get the same.
        granting = self._granting.get(ttl_s)
        if granting is None:
            granting = self._granting[ttl_s] = asyncio.create_task(self._grant(ttl_s))
            return await asyncio.shield(granting), True
        return await asyncio.shield(granting), False

    async def _grant(self, ttl_s: int) -> Session:
        try:
            sent = now_ns()
            request = message("LeaseGrantRequest", TTL=ttl_s)
            granted = await self._client.write("LeaseGrant", request, patience_s(ttl_s * SECOND_NS))
            session = Session(granted.ID, granted.TTL, sent)
            self._current[ttl_s] = self._all[session.lease] = session
            return session
        finally:
            del self._granting[ttl_s]

    def of(self, lease: int, ttl_ns: int) -> Session:
        """The session of a lease; of one that another process granted, too."""
        return self._all.get(lease) or Session(lease, whole_seconds(ttl_ns), now_ns())

    def ended(self, session: Session) -> None:
        """Use it for nothing new."""
        self._current = {ttl: one for ttl, one in self._current.items() if one is not session}

    async def keep(self, session: Session) -> Beat:
        """Prolong a lease: all that are asked for at a time go out together."""
        return await self._keep(session)

    async def _keep_all(self, asked: Sequence[Session]) -> list[Beat]:
        sessions = {session.lease: session for session in asked}
        line = await self._client.get()
        sent = now_ns()
        patience = min(session.patience_s for session in asked)
        try:
            async with asyncio.timeout(patience):
                beats = await self._beats(line, list(sessions))
        except grpc.aio.AioRpcError as error:
            self._client.judge(line, error, writes=True)
        except (TimeoutError, asyncio.InvalidStateError, EOFError):
            self._client.drop(line)
            raise OutcomeUnknown(f"etcd ({line.endpoint}) did not answer a keepalive") from None
        for lease, session in sessions.items():
            if beats[lease].alive:
                session.kept_at = sent
            else:
                self._forget(session)
        return [beats[session.lease] for session in asked]

    async def _beats(self, line: Line, leases: Sequence[int]) -> dict[int, Beat]:
        """Send keepalives, by a stream that stays open, and wait for the answers."""
        if self._stream is None or self._stream[0] is not line:
            self._stream = (line, line.stream("LeaseKeepAlive"))
        _, call = self._stream
        beats: dict[int, Beat] = {}
        try:
            for lease in leases:
                await heard(call.write(message("LeaseKeepAliveRequest", ID=lease)))
            while len(beats) < len(leases):
                lease, beat = _beat_of(await heard(call.read()))
                beats[lease] = beat
        except BaseException:
            self._hang_up()
            raise
        return beats

    def _hang_up(self) -> None:
        """What it still answers would be taken for an answer to the next question."""
        if self._stream is not None:
            self._stream[1].cancel()
            self._stream = None

    def _forget(self, session: Session) -> None:
        """Its lease has ended, and with it all that it held."""
        self.ended(session)
        self._all.pop(session.lease, None)
        self._ghosts = [claim for claim in self._ghosts if claim.session is not session]

    # -- claims --------------------------------------------------------------------------

    def claim(self, election: str, candidate: Candidate) -> Claim | None:
        """What a candidate holds, or may hold."""
        return self._claims.get((election, candidate.instance))

    def enter(self, claim: Claim) -> None:
        """Enter a claim before it is made; an abandoned one in its place becomes a ghost."""
        before = self._claims.get((claim.election, claim.candidate.instance))
        self._claims[claim.election, claim.candidate.instance] = claim
        if before is not None and before.session is not claim.session:
            self._abandoned(before)
        self.poke()

    def doubt(self, claim: Claim) -> None:
        """The request for this claim was abandoned: it may be carried out at any time."""
        claim.doubtful = claim.session.doubtful = True
        self.ended(claim.session)
        if self.claim(claim.election, claim.candidate) is not claim:
            self._abandoned(claim)  # the candidate has asked again meanwhile

    def drop(self, claim: Claim) -> None:
        """The candidate does not hold it."""
        place = (claim.election, claim.candidate.instance)
        if self._claims.get(place) is claim:
            del self._claims[place]
        self._abandoned(claim)

    def _abandoned(self, claim: Claim) -> None:
        if claim.doubtful and claim.session.lease in self._all:
            self._ghosts.append(claim)
        self._retire(claim.session)

    def _retire(self, session: Session) -> None:
        """Revoke a doubtful session once nothing is held by it: that ends its ghosts for good."""
        held = any(claim.session is session for claim in self._claims.values())
        if not session.doubtful or session.retired or held:
            return
        session.retired = True
        self._ghosts = [claim for claim in self._ghosts if claim.session is not session]
        self._revoke_soon(session)

    def _revoke_soon(self, session: Session) -> "asyncio.Task[None]":
        task = self._revoking.get(session.lease)
        if task is None:
            task = self._revoking[session.lease] = asyncio.create_task(self._revoke(session))
        return task

    async def _revoke(self, session: Session) -> None:
        # If it cannot be revoked, it runs out: nobody keeps it alive any more.
        try:
            with contextlib.suppress(LeaseGone):
                request = message("LeaseRevokeRequest", ID=session.lease)
                await self._client.write("LeaseRevoke", request, session.patience_s)
            self._forget(session)
        except StoreError as error:
            _log.debug("etcd: lease %x could not be revoked: %s", session.lease, error)
        finally:
            del self._revoking[session.lease]

    async def undone(self, session: Session) -> None:
        """Wait until a retired session is revoked, and what was held by it is gone.

        Raises:
            StoreUnavailable: that is not certain.
        """
        if session.lease in self._all:
            await asyncio.shield(self._revoke_soon(session))
        if session.lease in self._all:
            raise StoreUnavailable("an abandoned request is not undone yet; try again")

    # -- those who wait --------------------------------------------------------------------

    def waits(self, election: str, candidate: Candidate, session: Session, key: bytes) -> None:
        """A candidate stands in line by this session, with this key."""
        self._lines[election, candidate.instance] = _Place(session, key)
        self._litter.discard(key)
        self.poke()

    def waits_no_more(self, election: str, candidate: Candidate) -> bool:
        """It has left the line; False if it did not stand there."""
        return self._lines.pop((election, candidate.instance), None) is not None

    def litter(self, key: bytes) -> None:
        """A place in line could not be given up; its session may live on for others."""
        self._litter.add(key)
        self.poke()

    async def _clean_up(self) -> None:
        keys = list(self._litter)[:_KEYS]
        request = message("TxnRequest", success=[delete(key) for key in keys])
        self._litter_due = now_ns() + _TRY_AGAIN_NS
        with contextlib.suppress(StoreError):
            await self._client.write("Txn", request)
            self._litter.difference_update(keys)

    # -- what has to be done now and then ------------------------------------------------------

    def poke(self) -> None:
        """Something may be due earlier than it was."""
        self._poked.set()
        if self._tending is None and not self._closed:
            self._tending = asyncio.create_task(self._tend())

    async def _tend(self) -> None:
        while True:
            self._poked.clear()
            due = self._due()
            delay = None if due is None else max(0.0, (due - now_ns()) / SECOND_NS)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(delay):
                    await self._poked.wait()
                    continue
            try:
                await self._do_what_is_due()
            except Exception:  # noqa: BLE001 - logged with its trace
                # An office must be vacated in time whatever else is wrong here.
                _log.exception("etcd: what has to be done now and then failed; trying again")
                await asyncio.sleep(_TRY_AGAIN_NS / SECOND_NS)

    async def _do_what_is_due(self) -> None:
        await self._vacate_overdue()
        await self._keep_waiters()
        if self._litter and self._litter_due <= now_ns():
            await self._clean_up()

    def _due(self) -> int | None:
        claims = [claim.at + claim.ttl_ns + 1 for claim in (*self._claims.values(), *self._ghosts)]
        litter = [self._litter_due] if self._litter else []
        return min([*claims, *litter, *map(_beat_due, self._waited_by())], default=None)

    def _waited_by(self) -> list[Session]:
        leases = {place.session.lease for place in self._lines.values()}
        known = (self._all[lease] for lease in leases if lease in self._all)
        return [session for session in known if not session.doubtful]

    async def _vacate_overdue(self) -> None:
        for claim in [one for one in (*self._claims.values(), *self._ghosts) if one.overdue]:
            claim.leaving = True
            try:
                await self._vacate(claim)
            except StoreError:
                claim.at = now_ns() - claim.ttl_ns + _TRY_AGAIN_NS  # look again in a second
                continue
            if claim in self._ghosts:
                claim.at = now_ns()  # it may still come, as long as its session lives
            elif claim.overdue:
                self.drop(claim)

    async def _keep_waiters(self) -> None:
        due = [session for session in self._waited_by() if _beat_due(session) <= now_ns()]
        if not due:
            return
        try:
            await asyncio.gather(*(self._keep(session) for session in due))
        except StoreError:
            for session in due:
                session.kept_at += _TRY_AGAIN_NS

    async def close(self, patience_s: float) -> None:
        """Let go of all but offices; leases that hold those stay as they are.

        A lease that holds nothing runs out by itself. To revoke it would be one more write, just
        when the next leader's has to get to the disk.
        """
        self._closed = True
        if self._tending is not None:
            self._tending.cancel()
            await asyncio.wait([self._tending])
        held = {claim.session.lease for claim in self._claims.values()}
        waited_by = {one.session.lease for one in self._lines.values()}
        self._litter |= {one.key for one in self._lines.values() if one.session.lease in held}
        self._lines.clear()
        if self._litter:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(patience_s):
                    await self._clean_up()
        for session in list(self._all.values()):
            used = session.doubtful or self._litter or session.lease in waited_by
            if used and session.lease not in held and not session.retired:
                session.doubtful = True
                self._retire(session)
        if self._revoking:
            await asyncio.wait(list(self._revoking.values()), timeout=patience_s)
        self._hang_up()


def _beat_of(answer: Any) -> tuple[int, Beat]:
    if answer is grpc.aio.EOF:
        raise EOFError
    return answer.ID, Beat(answer.TTL > 0, answer.header.raft_term)


def _beat_due(session: Session) -> int:
    return session.kept_at + int(session.ttl_s * SECOND_NS * _WAITERS_KEPT)


def whole_seconds(ttl_ns: int) -> int:
    """Leases are whole seconds: never less than the ttl."""
    return -(-ttl_ns // SECOND_NS)


def patience_s(ttl_ns: int) -> float:
    """How long a request may take, for a lease of this ttl."""
    return max(1.0, ttl_ns / 10 / SECOND_NS)
