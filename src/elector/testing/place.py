"""What a law of the conformance kit works with: a place to open stores on, and time.

A `Place` stands for one database, one server, one bucket: any number of stores can be opened
on it, which know nothing of each other, as in so many processes.
"""

import asyncio
import inspect
import itertools
import secrets
from collections.abc import Awaitable, Callable, Coroutine
from types import TracebackType
from typing import Any, Self, TypeVar

from elector.clock import now_ns
from elector.core.duration import SECOND_NS, format_duration
from elector.core.identity import Candidate
from elector.core.office import EndReason
from elector.stores.port import Ask, Change, Grant, Granted, News, Notify, Occupied, Store, Traits

T = TypeVar("T")

OpenStore = Callable[[], Awaitable[Store]]
Advance = Callable[[int], None]
Restart = Callable[[], object]

DONE = EndReason.COMPLETED

# A lease this long outlives every law that is not about time.
_LONG_NS = 120 * SECOND_NS
_LEAST_TTL_NS = SECOND_NS
_STEPS_PER_TTL = 40


class LawBroken(AssertionError):  # noqa: N818 - says what happened
    """A store does not keep a law of the port.

    Attributes:
        seen: what was seen, in one line.
        law: the name of the law.
    """

    def __init__(self, seen: str, law: str = "") -> None:
        super().__init__(f"{law}: {seen}" if law else seen)
        self.seen, self.law = seen, law


class Unsupported(Exception):  # noqa: N818 - a verdict, not an error
    """A law that does not apply to this store, by what its traits declare; says which."""


class Untried(Exception):  # noqa: N818 - the same
    """A law that could not be looked at with what was given; says what is missing."""


def require(holds: object, seen: str) -> None:
    """Break the law unless it holds."""
    if not holds:
        raise LawBroken(seen)


class Place:
    """Where the stores under test are opened.

    Attributes:
        traits: what the store declares.
        ttl_ns: a lease short enough to be waited for.
        long_ns: a lease that no law outlasts.
        patience_s: how long anything may take that must come; reached only by a failure.
        drift: by how much the rates of the store's clock and ours may differ.
        rounds: how often what depends on chance is tried.
        restart: ends the server and starts it again on what it kept; None if nobody can.
    """

    def __init__(
        self,
        open_store: OpenStore,
        traits: Traits,
        *,
        ttl_ns: int = 0,
        patience_s: float = 30.0,
        drift: float = 0.01,
        rounds: int = 20,
        advance: Advance | None = None,
        restart: Restart | None = None,
    ) -> None:
        self.traits = traits
        self.ttl_ns = max(ttl_ns or _LEAST_TTL_NS, traits.least_ttl_ns)
        self.long_ns = max(_LONG_NS, 4 * self.ttl_ns)
        self.patience_s, self.drift, self.rounds = patience_s, drift, rounds
        self.restart = restart
        self._open, self._advance = open_store, advance
        self._advanced_ns = 0
        self._opened: list[Store] = []
        self._run = f"kit-{secrets.token_hex(5)}"
        self._numbers = itertools.count(1)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        at: TracebackType | None,
    ) -> None:
        failures = []
        while self._opened:
            try:
                await self.soon("closing a store", self._opened.pop(0).close())
            except Exception as failure:  # noqa: BLE001 - the others are closed first
                failures.append(failure)
        if failures and error is None:
            raise failures[0]

    async def open(self) -> Store:
        """Open a store that knows nothing of the others; it is closed with the place."""
        store = await self._open()
        self._opened.append(store)
        return store

    async def shut(self, store: Store) -> None:
        """Close a store before the others, as when its process ends in good order."""
        self._opened = [other for other in self._opened if other is not store]
        await store.close()

    # -- names ---------------------------------------------------------------------------

    def election(self) -> str:
        """A name that was never used: real stores remember."""
        return f"{self._run}-{next(self._numbers)}"

    def candidate(self, name: str = "a") -> Candidate:
        """A candidate with an instance that no other has, whatever its name."""
        return Candidate(name, f"{name}#{self._run}-{next(self._numbers)}")

    # -- time ----------------------------------------------------------------------------

    @property
    def expires(self) -> bool:
        """Whether a lease here ends by itself."""
        return self.traits.expiry != "never"

    @property
    def moves_time(self) -> bool:
        """Whether time passes only when we say so."""
        return self._advance is not None

    @property
    def step_ns(self) -> int:
        """A small part of a lease: how often a contender asks."""
        return self.ttl_ns // _STEPS_PER_TTL

    def now_ns(self) -> int:
        """Now, on the clock that leases are judged by."""
        return now_ns() if self._advance is None else self._advanced_ns

    async def pass_time(self, by_ns: int) -> None:
        """Let so much time pass, at least."""
        if self._advance is None:
            await asyncio.sleep(by_ns / SECOND_NS)
            return
        self._advance(by_ns)
        self._advanced_ns += by_ns
        await asyncio.sleep(0)

    async def restarted(self) -> None:
        """Start the server again."""
        if self.restart is not None:
            result = self.restart()
            if inspect.isawaitable(result):
                await result

    def surely_until(self, sent_at: int) -> int:
        """Nobody else may lead before this, if the request was sent then."""
        return sent_at + int(self.ttl_ns * (1 - self.drift))

    # -- those who play --------------------------------------------------------------------

    async def lead(
        self, store: Store, election: str, who: Candidate, ttl_ns: int | None = None
    ) -> Grant:
        """Acquire an office that must be free."""
        ttl_ns = ttl_ns or self.long_ns
        answer = await store.acquire(election, who, ttl_ns)
        if not isinstance(answer, Granted):
            raise LawBroken(f"{who.name} asked for a vacant office and got {answer}")
        return Grant(election, who, answer.token, ttl_ns)

    async def take_over(self, store: Store, election: str, who: Candidate) -> Grant:
        """Ask again and again for an office whose holder is silent."""
        since = self.now_ns()
        while isinstance(answer := await store.acquire(election, who, self.long_ns), Occupied):
            self.still_in_time(since)
            await self.pass_time(self.step_ns)
        return Grant(election, who, answer.token, self.long_ns)

    def still_in_time(self, since: int, what: str = "the lease of a silent holder") -> None:
        """What lasts as long as a lease must be over some time."""
        waited = self.now_ns() - since
        require(
            waited < 3 * self.ttl_ns + self.patience_s * SECOND_NS,
            f"{what}, {format_duration(self.ttl_ns)}, is not over after {format_duration(waited)}",
        )

    async def release(self, store: Store, grant: Grant, heir: str | None = None) -> None:
        """Give back an office that must be ours."""
        reason = DONE if heir is None else EndReason.TRANSFERRED
        require(
            await store.release(grant, reason, heir),
            f"the holder of token {grant.token} could not release it",
        )

    async def still_led(self, store: Store, grant: Grant) -> None:
        """The office must be this grant's: others are told so, and it can be renewed."""
        record = await store.describe(grant.election)
        require(
            (record.leader, record.token) == (grant.candidate.name, grant.token),
            f"{grant.candidate.name} leads under token {grant.token}, but the store says {record}",
        )

    async def occupied(self, store: Store, election: str, who: Candidate) -> Occupied:
        """Ask for an office that must be taken."""
        answer = await store.acquire(election, who, self.long_ns)
        if isinstance(answer, Granted):
            raise LawBroken(f"{who.name} was granted token {answer.token} while somebody else led")
        return answer

    def ear(self) -> "Ear":
        """An ear to give to a watch."""
        return Ear(self.patience_s)

    async def wait_in_line(
        self, store: Store, election: str, who: Candidate, notify: Notify
    ) -> Occupied:
        """Watch first and ask then, as Elector does; the office must be taken."""
        await store.watch(election, notify, who)
        return await self.occupied(store, election, who)

    async def soon(self, what: str, work: Awaitable[T]) -> T:
        """Await what must come to an end by itself."""
        try:
            async with asyncio.timeout(self.patience_s):
                return await work
        except TimeoutError:
            raise LawBroken(f"{what}: no end within {self.patience_s:g} s") from None


class Ear:
    """Keeps what a watch is told, and waits for what it should be told."""

    def __init__(self, patience_s: float) -> None:
        self.news: list[News] = []
        self._patience_s = patience_s
        self._more = asyncio.Event()

    def __call__(self, news: News) -> None:
        """Be told."""
        self.news.append(news)
        self._more.set()

    async def until(self, wanted: Callable[[News], bool], what: str = "it had to be") -> News:
        """Wait until something was told; `what` says it to people."""
        try:
            async with asyncio.timeout(self._patience_s):
                while not any(map(wanted, self.news)):
                    self._more.clear()
                    await self._more.wait()
        except TimeoutError:
            raise LawBroken(
                f"a watch was never told that {what}; it heard {self.news or 'nothing'}"
            ) from None
        return next(filter(wanted, self.news))

    async def until_led(self, leader: str, token: int) -> Change:
        """Wait to hear who leads under this token."""
        return await self._until_told(leader, token, f"{leader} leads under token {token}")

    async def until_vacant(self, token: int) -> Change:
        """Wait to hear that nobody leads after this token."""
        return await self._until_told(None, token, f"nobody leads after token {token}")

    async def _until_told(self, leader: str | None, token: int, what: str) -> Change:
        def told(news: News) -> bool:
            return isinstance(news, Change) and (news.leader, news.token) == (leader, token)

        await self.until(told, what)
        return next(news for news in self.changes() if told(news))

    def changes(self) -> list[Change]:
        """Everything that was told of who leads."""
        return [news for news in self.news if isinstance(news, Change)]

    def vacancies(self) -> list[Change]:
        """Every vacancy that was told."""
        return [news for news in self.changes() if news.leader is None]

    def asks(self) -> list[Ask]:
        """What was asked of the holder."""
        return [news for news in self.news if isinstance(news, Ask)]


async def together(*plays: Coroutine[Any, Any, T]) -> list[T]:
    """Play at one time; if one fails, the others are ended before that is told."""
    tasks = [asyncio.ensure_future(play) for play in plays]
    try:
        return list(await asyncio.gather(*tasks))
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)
