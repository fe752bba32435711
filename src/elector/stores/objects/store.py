"""``s3://``, ``gs://`` and ``az://``: an election is one object that is compared and set.

Each change reads the record, makes the next one from it (`elector.stores.objects.record`), and
writes it on the condition that the object is still in the version that was read: If-Match on S3
and Azure, a generation on Google, If-None-Match for the first. Of many that write at once one
wins, the others read again. Only stores that compare will do, and that is tried before anything
is granted (`elector.stores.objects.bucket`). Who expires a lease, and how those who wait hear of
it, is in `elector.stores.objects.view`; where it is and as whom we go there in
`elector.stores.objects.url`.

Requests that nobody waits for any more are harmless:

- A late write carries the version that was current when it was sent. As soon as anything newer
  was written, it is refused for ever.
- Asking again while one holds office always writes. So an abandoned release of the same tenure,
  or an abandoned renewal, is refused from then on, and the lease counts from the last request.
- An abandoned acquisition can still win while nothing newer was written. Then the office is its
  candidate's: the next acquisition finds the token it has, and the holder counts from the
  earliest attempt that may have been the one. If the candidate never asks again, nobody works in
  that office, and it is over when its pulse has stood still for the ttl.
- A refused write may be our own that was sent twice on the way, so what is there is read and its
  nonce compared before anybody is told.

A leader costs one write per renew period and no read; one that waits, one conditional read per
``poll`` (a second if the URL says nothing) and one small write per minute.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Sequence
from typing import TypeVar

from elector.core.duration import SECOND_NS
from elector.core.identity import Candidate
from elector.core.office import EndReason
from elector.errors import OutcomeUnknown, StoreCorrupt, StoreUnavailable
from elector.stores.objects.bucket import Bucket, Conflict, Found
from elector.stores.objects.line import FOLDER, Line
from elector.stores.objects.record import Office, read, written
from elector.stores.objects.url import PATIENCE_S, spot_of
from elector.stores.objects.view import Sight, View
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

R = TypeVar("R")
Edit = Callable[[Sight], Office | R]

_LEAST_TTL_NS = 3 * SECOND_NS
_AT_ONCE = 64
_ROUNDS = 30
_RECORD = ".json"


async def open_store(url: StoreUrl) -> "ObjectStore":
    """See that the bucket is there and compares before it writes."""
    bucket = Bucket(spot_of(url))
    try:
        await bucket.reach()
    except BaseException:
        await bucket.close()
        raise
    return ObjectStore(bucket)


class ObjectStore:
    """Elections under a prefix of a bucket."""

    traits = Traits(
        scope="network",
        expiry="observer",
        clock="each contender's own monotonic clock",
        push=False,
        witness=False,
        least_ttl_ns=_LEAST_TTL_NS,
        token_source="a counter in the object, compared and set",  # noqa: S106 - no password
        failover_loss=(
            "nothing within a region; an object that is deleted, restored or replicated "
            "asynchronously to another region falls back, tokens included"
        ),
        history=True,
        asks="at renewal",
        transfer=True,
    )

    def __init__(self, bucket: Bucket) -> None:
        self._bucket = bucket
        self._view = View(bucket)
        self._line = Line(bucket)
        self._turns: dict[str, asyncio.Lock] = {}
        self._slots = asyncio.Semaphore(_AT_ONCE)

    # -- the lease -----------------------------------------------------------------------

    async def acquire(self, election: str, candidate: Candidate, ttl_ns: int) -> Granted | Occupied:
        """Take the office if nobody holds it, or nobody has renewed it for its ttl; see the port.

        A holder that asks again writes again, which prolongs its lease; see above.
        """

        def edit(sight: Sight) -> Office | Occupied:
            office = sight.office
            if office.instance == candidate.instance:
                return office.renewed(ttl_ns)
            left_ns = sight.left_ns(candidate)
            if left_ns == 0:
                return office.acquired(candidate, ttl_ns)
            retry_in_ns = self._hint_ns(election, candidate, left_ns)
            return Occupied(office.holder, office.token, retry_in_ns)

        patience_s = _patience_s(ttl_ns)
        async with self._turn(election, patience_s):
            done = await self._settle(election, edit, patience_s)
        if isinstance(done, Office):
            self._line.leave(election, candidate)
            return Granted(done.token)
        if self._watches(election, candidate):
            self._line.stand(election, candidate)
        return done

    @contextlib.asynccontextmanager
    async def _turn(self, election: str, patience_s: float) -> AsyncIterator[None]:
        """Candidates of one process ask one after the other: many writes at once take seconds."""
        turn = self._turns.setdefault(election, asyncio.Lock())
        try:
            async with asyncio.timeout(patience_s):
                await turn.acquire()
        except TimeoutError:
            raise StoreUnavailable(
                f"{self._bucket.spot} did not answer those in time who asked before us"
            ) from None
        try:
            yield
        finally:
            turn.release()

    def _watches(self, election: str, candidate: Candidate) -> bool:
        watching = self._view.watches.of(election)
        return any(one.candidate == candidate for one in watching)

    def _hint_ns(self, election: str, candidate: Candidate, left_ns: int) -> int:
        """When to ask again: one that watches is told of a vacancy before the lease is over."""
        if self._watches(election, candidate):
            return left_ns
        return min(left_ns, self._bucket.spot.poll_ns)

    async def renew(self, grants: Sequence[Grant]) -> list[bool]:
        """Prolong leases that are still ours; some at a time, each with one write."""
        answers = await asyncio.gather(*map(self._renew, grants), return_exceptions=True)
        for answer in answers:
            if isinstance(answer, BaseException):
                raise answer  # now that the others have been renewed all the same
        return [answer is True for answer in answers]

    async def _renew(self, grant: Grant) -> bool:
        def edit(sight: Sight) -> Office | bool:
            office = sight.office
            if not office.held_by(grant):
                return False
            if office.asked is not None and office.asked.token == grant.token:
                ask = Ask(grant.election, grant.token, office.asked.heir)
                self._view.watches.pass_on(ask, grant.candidate.instance)
            return office.renewed(grant.ttl_ns)

        async with self._slots:
            patience_s = _patience_s(grant.ttl_ns)
            try:
                done = await self._settle(grant.election, edit, patience_s, from_memory=True)
            except StoreCorrupt:
                return False  # it costs this office, and not those that are renewed with it
        return isinstance(done, Office)

    async def release(self, grant: Grant, reason: EndReason, heir: str | None = None) -> bool:
        """Give the office back, kept for min(ttl, 5 s) for an heir; see the port."""

        def edit(sight: Sight) -> Office | bool:
            office = sight.office
            return office.held_by(grant) and office.released(grant.ttl_ns, reason, heir)

        patience_s = _patience_s(grant.ttl_ns)
        done = await self._settle(grant.election, edit, patience_s, from_memory=True)
        return isinstance(done, Office)

    async def _settle(
        self,
        election: str,
        edit: Edit[R],
        patience_s: float = PATIENCE_S,
        *,
        from_memory: bool = False,
    ) -> Office | R:
        """Write what follows from the record, until nobody else has written meanwhile.

        Args:
            election: whose record.
            edit: makes the next record; or an answer, if nothing is to be written.
            patience_s: of each request.
            from_memory: begin with what is known, without reading. An answer is never given
                from memory.
        """
        sight = self._view.known(election) if from_memory else None
        fresh = refused = False
        for _ in range(_ROUNDS):
            if sight is None:
                sight, fresh = await self._look(election, patience_s, in_doubt=refused), True
            wanted = edit(sight)
            if not isinstance(wanted, Office):
                if fresh:
                    return wanted
                sight = None
                continue
            try:
                version = await self._bucket.put(
                    self._view.path(election), written(wanted), sight.version, patience_s
                )
            except Conflict:
                refused = fresh = True
                sight = await self._look(election, patience_s, in_doubt=True)
                if sight.office.nonce == wanted.nonce:
                    return wanted
                continue
            if any(version):
                self._view.learn(wanted, version, sight)
            return wanted
        raise StoreUnavailable(
            f"{self._bucket.spot}: others wrote to election {election!r} {_ROUNDS} times before us"
        )

    async def _look(self, election: str, patience_s: float, *, in_doubt: bool) -> Sight:
        try:
            return await self._view.look(election, patience_s)
        except StoreUnavailable as error:
            if in_doubt:  # what was refused may have been our own write, sent twice on the way
                raise OutcomeUnknown(str(error)) from error
            raise

    # -- watching ------------------------------------------------------------------------

    async def watch(
        self, election: str, notify: Notify, candidate: Candidate | None = None
    ) -> Watching:
        """Be told what looking each ``poll`` shows; see the port."""
        watching = Watching(election, notify, candidate, self._left)
        await self._view.follow(watching)
        return watching

    async def _left(self, watching: Watching) -> None:
        if watching.candidate is not None:
            self._line.leave(watching.election, watching.candidate)
        await self._view.forget(watching)

    async def ask(self, ask: Ask) -> None:
        """Write a request into the record; the holder finds it when it renews."""

        def edit(sight: Sight) -> Office | None:
            office = sight.office
            led = office.holder is not None and office.token == ask.token
            return office.with_ask(ask) if led else None

        await self._settle(ask.election, edit)

    # -- reading -------------------------------------------------------------------------

    async def describe(self, election: str) -> Record:
        """Who leads and who waits; a lease is counted from when this process first saw it."""
        sight, waiting = await asyncio.gather(
            self._view.look(election), self._line.waiting(election)
        )
        return _record(sight, waiting)

    async def elections(self) -> list[Record]:
        """All elections under the prefix, and who waits in them."""
        queues: dict[str, list[tuple[str, float]]] = {}
        paths = []
        for path, at in await self._bucket.names(self._bucket.spot.prefix):
            folder, _, _ = path.rpartition("/")
            if folder.endswith(FOLDER):
                queues.setdefault(folder.removesuffix(FOLDER), []).append((path, at))
            elif path.endswith(_RECORD) and folder == self._bucket.spot.prefix:
                paths.append(path)
        found = await asyncio.gather(*(self._listed(path, queues) for path in paths))
        records = [record for record in found if record is not None]
        return sorted(records, key=lambda record: record.election)

    async def _listed(self, path: str, queues: dict[str, list[tuple[str, float]]]) -> Record | None:
        async with self._slots:
            found = await self._bucket.get(path)
            if not isinstance(found, Found):
                return None  # it was listed a moment ago; who stands in it is told of that
            office = read(found.data, path)
            known = self._view.known(office.election)
            sight = self._view.learn(office, found.version, known)
            waiting = await self._line.named(queues.get(path.removesuffix(_RECORD), []))
            return _record(sight, waiting)

    async def history(self, election: str, limit: int) -> list[PastTenure]:
        """Past tenures, newest first; the last hundred are kept."""
        sight = await self._view.look(election)
        return sight.office.history(limit)

    def lifelines(self, grant: Grant) -> tuple[int, ...]:  # noqa: ARG002 - the port's signature
        """None: a lease in a bucket ends when nobody renews it, whatever a child does."""
        return ()

    async def close(self) -> None:
        """Stop polling and leave the line; leases stay as they are."""
        await self._view.close()
        await self._line.close()
        await self._bucket.close()


def _record(sight: Sight, waiting: tuple[str, ...]) -> Record:
    office, left_ns = sight.office, sight.left_ns(None)
    if office.holder is None or not left_ns:
        return Record(office.election, None, office.token, waiting=waiting)
    since = office.past[-1].began if office.past else None
    return Record(office.election, office.holder, office.token, left_ns, since, waiting)


def _patience_s(ttl_ns: int) -> float:
    """How long a request may take: no leader has more time for it than this."""
    return min(PATIENCE_S, max(1.0, ttl_ns / SECOND_NS / 10))
