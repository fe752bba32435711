"""``redis://`` and ``valkey://``: elections on a Redis (7.0 or newer) or Valkey server.

Every operation is one script on the server (`elector.stores.redis.scripts`, where the keys, the
tokens and what they survive are explained), for as many elections as ask at once. A process has
two connections at most: one asks, and from the first watch on one listens. URLs, Sentinel, TLS
and passwords: `elector.stores.redis.url`.

Who is told what: each change is published on the channel of its election, in the script that
makes it. Everybody hears of a new leader; of a vacancy the observers hear, and the one candidate
that is called: the first in line whose process is there, or the heir.

What to know before relying on it:

* A lease follows the server's **wall clock**. A step forward ends leases early, and then two may
  lead until the first one's next renewal; a step back makes them last longer.
* Replication is asynchronous, and ``WAIT`` is no cure: a failover may forget the last grants and
  renewals, and then too two may lead until the first one's next renewal. The second has the
  higher token, unless the new primary's clock is behind by more than the failover took.
* All keys of a prefix have one hash tag: in a cluster they are on one node, which is to be named
  in the URL. Redirections are not followed.
"""

import asyncio
import json
import logging
import secrets
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from itertools import chain, islice

import msgspec

from elector.core.duration import SECOND_NS
from elector.core.identity import Candidate
from elector.core.office import EndReason
from elector.errors import OutcomeUnknown, StoreCorrupt, StoreError, StoreUnavailable
from elector.stores.connection import Kept
from elector.stores.gather import Gathered
from elector.stores.port import (
    Ask,
    Change,
    Grant,
    Granted,
    Notify,
    Occupied,
    PastTenure,
    Record,
    Traits,
)
from elector.stores.redis import scripts
from elector.stores.redis.link import PATIENCE_S, Link, dial
from elector.stores.redis.records import US_NS, Entry, Message, Seen, Tenure, whole_us
from elector.stores.redis.scripts import Script
from elector.stores.redis.url import Place, place_of
from elector.stores.registry import StoreUrl
from elector.stores.watches import Watches, Watching

# A script keeps everybody else waiting; of this many it takes some hundredths of a second.
_MOST_AT_ONCE = 1000
_LEAST_PATIENCE_S = 1.0
_log = logging.getLogger("elector")

_Answer = list[str] | StoreError
_encode = msgspec.json.Encoder().encode
_decode_message = msgspec.json.Decoder(Message).decode
_decode_tenure = msgspec.json.Decoder(Tenure).decode


async def open_store(url: StoreUrl) -> "RedisStore":
    """Connect; nothing is written before somebody stands."""
    store = RedisStore(place_of(url))
    try:
        await store.connect()
    except BaseException:
        await store.close()
        raise
    return store


class RedisStore:
    """The adapter: gathers questions into script calls, and keeps the book of who is told what."""

    traits = Traits(
        scope="network",
        expiry="server",
        clock="the server's wall clock: a step of it ends a lease early or late",
        push=True,
        witness=False,
        least_ttl_ns=500_000_000,
        token_source="the server's time in ms, or one more than the last",  # noqa: S106 - no password
        failover_loss=(
            "grants and renewals that no replica or disk has yet: two may lead until the first "
            "one's next renewal, and the second has the higher token"
        ),
        history=True,
        asks="at once",
        transfer=True,
    )

    def __init__(self, place: Place) -> None:
        self._place = place
        self._session = secrets.token_hex(8)
        self._watches = Watches()
        self._in_line: set[tuple[str, str]] = set()  # election, instance
        self._passed_on: dict[str, Ask] = {}
        self._kept: Kept[Link] = Kept(self._dial, Link.hang_up, self._reopened)
        self._acquire = self._gathered(scripts.ACQUIRE)
        # A renewal that is given up goes on: its reply must not be taken for another one's.
        self._renew: Gathered[list[Entry], list[_Answer]] = Gathered(self._renew_batches)
        self._release = self._gathered(scripts.RELEASE)
        self._leave = self._gathered(scripts.LEAVE)
        self._ask = self._gathered(scripts.ASK)
        self._look = self._gathered(scripts.LOOK)
        self._history = self._gathered(scripts.HISTORY)
        self._subscribe: Gathered[str, None] = Gathered(self._listen_to)

    # -- the connection ------------------------------------------------------------------

    async def connect(self) -> None:
        """Connect now rather than at the first request."""
        await self._kept.get()

    async def _dial(self) -> Link:
        link = await dial(self._place)
        link.on_broken = lambda: self._kept.lost(link, redial=bool(self._watches))
        return link

    async def _reopened(self, link: Link) -> None:
        """Listen again, stand in line again, and tell everybody how things are now."""
        elections = list(self._watches)
        if not elections:
            return
        async with link.patience(PATIENCE_S):
            await link.subscribe(self._channels(elections), self._hear)
            waiting = [
                Entry(name, instance=watching.candidate.instance, member=self._member(watching))
                for name in elections
                for watching in self._watches.of(name)
                if watching.candidate and (name, watching.candidate.instance) in self._in_line
            ]
            if waiting:
                await self._run(link, scripts.REJOIN, waiting)
            answers = await self._run(link, scripts.LOOK, [Entry(name) for name in elections])
        for election, answer in zip(elections, answers, strict=True):
            if not isinstance(answer, StoreError):
                seen = Seen.of(answer)
                for watching in self._watches.of(election):
                    watching.notify(seen.change(election, watching.candidate))

    async def close(self) -> None:
        """See `elector.stores.port.Store.close`."""
        await self._kept.close()

    # -- script calls --------------------------------------------------------------------

    def _gathered(self, script: Script) -> Callable[[Entry], Awaitable[_Answer]]:
        return Gathered[Entry, _Answer](partial(self._call, script))

    async def _call(self, script: Script, entries: Sequence[Entry]) -> list[_Answer]:
        """Run a script; comes to an end by itself."""
        link = await self._kept.get()
        ttl_ns = min((entry.ttl for entry in entries if entry.ttl), default=0) * US_NS
        patience_s = max(_LEAST_PATIENCE_S, ttl_ns / 10 / SECOND_NS) if ttl_ns else PATIENCE_S
        answers: list[_Answer] = []
        while len(answers) < len(entries):
            part = entries[len(answers) : len(answers) + _MOST_AT_ONCE]
            try:
                async with link.patience(patience_s):
                    answers += await self._run(link, script, part)
            except StoreError as error:
                if not answers:
                    raise
                # What was done before is done: the failure is only of those that follow.
                answers += [error] * (len(entries) - len(answers))
        return answers

    async def _run(self, link: Link, script: Script, entries: Sequence[Entry]) -> list[_Answer]:
        key, channel = self._place.key, self._place.channel
        keys = [key("tokens")]
        for entry in entries:
            keys += [key("office", entry.name), key("line", entry.name), key("past", entry.name)]
        arguments = [channel("news", ""), channel("alive", ""), _encode(entries).decode()]
        answers = await link.run(script, keys, arguments)
        return [
            self._failure(entry.name, answer[1]) if answer[0] == "failed" else answer
            for entry, answer in zip(entries, answers, strict=True)
        ]

    def _failure(self, election: str, says: str) -> StoreError:
        keys = self._place.key("*", election)
        if says.startswith(("CORRUPT", "WRONGTYPE")):
            what = says.removeprefix("CORRUPT ").partition(" script:")[0]
            return StoreCorrupt(
                f"election {election!r}: {what}. At {self._place} something was lost, or written "
                f"by somebody else, under {keys}: restore it; or, once nobody works under any of "
                f"its tokens, remove those keys and its field in {self._place.key('tokens')}"
            )
        return OutcomeUnknown(f"election {election!r}: the script at {self._place} failed: {says}")

    # -- the lease -----------------------------------------------------------------------

    async def acquire(self, election: str, candidate: Candidate, ttl_ns: int) -> Granted | Occupied:
        """See `elector.stores.port.Store.acquire`; who watches stands in line from now on."""
        place = (election, candidate.instance)
        watched = self._watching(*place)
        if watched is not None:
            self._in_line.add(place)
        answer = await self._acquire(
            Entry(
                election,
                candidate=candidate.name,
                instance=candidate.instance,
                ttl=whole_us(ttl_ns),
                member=self._member(watched) if watched is not None else "",
            )
        )
        match _known(answer):
            case ["granted", token]:
                self._in_line.discard(place)
                return Granted(int(token))
            case ["occupied", leader, token, left]:
                return Occupied(leader or None, int(token), int(left) * US_NS)
            case other:
                raise OutcomeUnknown(f"{self._place} answered {other!r} to an acquisition")

    async def renew(self, grants: Sequence[Grant]) -> list[bool]:
        """See `elector.stores.port.Store.renew`.

        An office that cannot be read is not ours any more; the others are not touched by that.
        """
        if not grants:
            return []
        answers = await self._renew([_entry(grant) for grant in grants])
        for answer in answers:
            if isinstance(answer, StoreError) and not isinstance(answer, StoreCorrupt):
                raise OutcomeUnknown(str(answer))
        return [self._renewed(*pair) for pair in zip(grants, answers, strict=True)]

    async def _renew_batches(self, batches: Sequence[list[Entry]]) -> list[list[_Answer]]:
        answers = iter(await self._call(scripts.RENEW, list(chain.from_iterable(batches))))
        return [list(islice(answers, len(batch))) for batch in batches]

    def _renewed(self, grant: Grant, answer: _Answer) -> bool:
        if isinstance(answer, StoreError):
            _log.error("%s", answer)
            return False
        if len(answer) > 1:  # somebody asked, and perhaps we did not hear it
            ask = Ask(grant.election, grant.token, answer[1] or None)
            self._pass_on(ask, grant.candidate.instance)
        return answer[0] == "renewed"

    async def release(self, grant: Grant, reason: EndReason, heir: str | None = None) -> bool:
        """See `elector.stores.port.Store.release`."""
        entry = msgspec.structs.replace(_entry(grant), reason=reason.value, heir=heir or "")
        return _known(await self._release(entry))[0] == "released"

    async def ask(self, ask: Ask) -> None:
        """See `elector.stores.port.Store.ask`; a renewal finds what was not heard."""
        _known(await self._ask(Entry(ask.election, token=str(ask.token), heir=ask.heir or "")))

    def lifelines(self, grant: Grant) -> tuple[int, ...]:  # noqa: ARG002 - the port's signature
        """None: a lease ends with its time, whatever a child does."""
        return ()

    # -- watching ------------------------------------------------------------------------

    async def watch(
        self, election: str, notify: Notify, candidate: Candidate | None = None
    ) -> Watching:
        """See `elector.stores.port.Store.watch`."""
        watching = Watching(election, notify, candidate, self._left)
        self._watches.add(watching)
        try:
            await self._subscribe(election)
            if candidate is None:
                notify((await self._see(election)).change(election, None))
        except BaseException:
            self._watches.remove(watching)
            raise
        return watching

    async def _listen_to(self, elections: Sequence[str]) -> list[None]:
        link = await self._kept.get()
        try:
            async with link.patience(PATIENCE_S):
                await link.subscribe(self._channels(elections), self._hear)
        except OutcomeUnknown as error:
            raise StoreUnavailable(str(error)) from None
        return [None] * len(elections)

    def _channels(self, elections: Sequence[str]) -> list[str]:
        """The news of elections, and the channel that shows that this process is there."""
        news = [self._place.channel("news", election) for election in elections]
        return [self._place.channel("alive", self._session), *dict.fromkeys(news)]

    async def _left(self, watching: Watching) -> None:
        last = self._watches.remove(watching)
        try:
            if watching.candidate is not None:
                await self._leave_line(watching, watching.candidate.instance)
            if last and not self._watches.of(watching.election):
                link = await self._kept.get()
                async with link.patience(PATIENCE_S):
                    await link.unsubscribe(self._place.channel("news", watching.election))
        except StoreError:
            pass  # with the connection, both are over

    async def _leave_line(self, watching: Watching, instance: str) -> None:
        place = (watching.election, instance)
        if place in self._in_line:
            self._in_line.discard(place)
            entry = Entry(watching.election, instance=instance, member=self._member(watching))
            _known(await self._leave(entry))

    def _watching(self, election: str, instance: str) -> Watching | None:
        watches = self._watches.of(election)
        return next((w for w in watches if w.candidate and w.candidate.instance == instance), None)

    def _member(self, watching: Watching) -> str:
        """How a candidate stands in line."""
        if watching.candidate is None:
            return ""
        return json.dumps([self._session, watching.candidate.instance, watching.candidate.name])

    def _hear(self, channel: str, text: str) -> None:
        """Pass a message on; of a vacancy, only to observers and to the one that is called."""
        election = channel.removeprefix(self._place.channel("news", ""))
        try:
            message = _decode_message(text)
            token, left = int(message.token), int(message.left or 0) * US_NS
        except ValueError:
            _log.warning("somebody published what is no news on %s: it is ignored", channel)
            return
        if message.ask:
            self._pass_on(Ask(election, token, message.heir), message.instance or "")
            return
        if message.leader:
            change = Change(election, message.leader, message.instance, token, left)
            self._watches.tell(change)
            return
        for watching in self._watches.of(election):
            if watching.candidate is None or watching.candidate.instance == message.called:
                watching.notify(Change(election, None, None, token))

    def _pass_on(self, ask: Ask, instance: str) -> None:
        """Tell the holder once, whether by a message, by a renewal or by both."""
        if self._watching(ask.election, instance) and self._passed_on.get(ask.election) != ask:
            self._passed_on[ask.election] = ask
            self._watches.pass_on(ask, instance)

    # -- reading -------------------------------------------------------------------------

    async def describe(self, election: str) -> Record:
        """See `elector.stores.port.Store.describe`."""
        return (await self._see(election)).record(election)

    async def _see(self, election: str) -> Seen:
        return Seen.of(await self._read(self._look, Entry(election)))

    async def _read(self, read: Callable[[Entry], Awaitable[_Answer]], entry: Entry) -> list[str]:
        try:
            return _known(await read(entry))
        except OutcomeUnknown as error:  # what only reads changes nothing
            raise StoreUnavailable(str(error)) from None

    async def elections(self) -> list[Record]:
        """See `elector.stores.port.Store.elections`."""
        link = await self._kept.get()
        try:
            async with link.patience(PATIENCE_S):
                names = sorted(await link.ask("HKEYS", self._place.key("tokens")))
        except OutcomeUnknown as error:
            raise StoreUnavailable(str(error)) from None
        return list(await asyncio.gather(*(self.describe(name) for name in names)))

    async def history(self, election: str, limit: int) -> list[PastTenure]:
        """See `elector.stores.port.Store.history`; the last thousand tenures are kept."""
        _, lapsed, *kept = await self._read(self._history, Entry(election, limit=limit))
        try:
            tenures = [_decode_tenure(tenure) for tenure in kept]
            if lapsed and tenures and tenures[0].ended is None:
                tenures[0] = msgspec.structs.replace(tenures[0], ended=lapsed, reason="expired")
            return [tenure.past(election) for tenure in tenures]
        except ValueError as error:  # msgspec's are such, too
            raise StoreCorrupt(
                f"election {election!r}: {self._place.key('past', election)} holds what is no "
                f"tenure ({error}): somebody else wrote there; remove that key"
            ) from None


def _entry(grant: Grant) -> Entry:
    return Entry(
        grant.election,
        instance=grant.candidate.instance,
        token=str(grant.token),
        ttl=whole_us(grant.ttl_ns),
    )


def _known(answer: _Answer) -> list[str]:
    if isinstance(answer, StoreError):
        raise answer
    return answer
