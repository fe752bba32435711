"""The stores that ship, behind one door, with a clock that only tests move."""

import asyncio
import contextlib
import itertools
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest

from elector.core.identity import Candidate
from elector.errors import StoreError
from elector.stores.memory import MemoryStore
from elector.stores.port import Ask, Change, Grant, Granted, News, Notify, Store
from elector.stores.registry import StoreUrl, open_store, parse_url
from elector.testing import place

SECOND_NS = 1_000_000_000
TTL_NS = 15 * SECOND_NS
KINDS = ("memory", "file", "sqlite")

# Longer than anything here takes on a busy machine: it is reached only by a failure.
DEADLINE_S = 30.0

_numbers = itertools.count(1)


class Clock:
    """Stands still until a test moves it."""

    def __init__(self) -> None:
        self.now_ns = 1_000 * SECOND_NS

    def __call__(self) -> int:
        return self.now_ns

    def advance(self, by_ns: int) -> None:
        self.now_ns += by_ns


class World:
    """One place of one kind, which any number of stores can be opened on."""

    def __init__(self, kind: str, directory: Path, patch: pytest.MonkeyPatch) -> None:
        self.kind = kind
        self.clock = Clock()
        self._place = directory
        patch.setattr("elector.stores.sqlite.table.now_ns", self.clock)

    @property
    def url(self) -> str:
        return {
            "memory": f"memory://{self._place}",
            "file": f"file://{self._place}/offices",
            "sqlite": f"sqlite:///{self._place}/elections.db",
        }[self.kind]

    @property
    def expires(self) -> bool:
        """Whether a lease here ends by itself."""
        return self.kind != "file"

    async def open(self) -> Store:
        if self.kind == "memory":
            return MemoryStore(str(self._place), self.clock)
        return await open_store(parse_url(self.url))

    @contextlib.asynccontextmanager
    async def stores(self, count: int) -> AsyncIterator[list[Store]]:
        """Open stores that know nothing of each other, as in so many processes."""
        opened = [await self.open() for _ in range(count)]
        try:
            yield opened
        finally:
            for store in opened:
                await store.close()

    def run(self, count: int, play: Callable[..., Awaitable[None]]) -> None:
        """Run ``play(*stores)`` with so many stores open."""

        async def main() -> None:
            async with self.stores(count) as stores, asyncio.timeout(DEADLINE_S * 2):
                await play(*stores)

        asyncio.run(main())


def play_out(play: Callable[..., Awaitable[None]], *urls: str | StoreUrl) -> None:
    """Run ``play(*stores)``, one store for each URL, as in so many processes."""

    async def main() -> None:
        places = [parse_url(url) if isinstance(url, str) else url for url in urls]
        stores = [await open_store(place) for place in places]
        try:
            async with asyncio.timeout(2 * DEADLINE_S):
                await play(*stores)
        finally:
            for store in stores:
                await store.close()

    asyncio.run(main())


async def insist(store: Store, election: str, who: Candidate) -> Granted:
    """Ask until the store answers; the office must then be ours."""
    deadline = time.monotonic() + DEADLINE_S
    while True:
        try:
            answer = await store.acquire(election, who, TTL_NS)
        except StoreError:
            assert time.monotonic() < deadline
            await asyncio.sleep(0.02)
            continue
        assert isinstance(answer, Granted)
        return answer


class Ear(place.Ear):
    """Keeps what a watch is told, and waits for what it should be told."""

    def __init__(self) -> None:
        super().__init__(DEADLINE_S)


def led(leader: str, token: int) -> Callable[[News], bool]:
    return lambda news: isinstance(news, Change) and (news.leader, news.token) == (leader, token)


def vacant(token: int) -> Callable[[News], bool]:
    return lambda news: isinstance(news, Change) and (news.leader, news.token) == (None, token)


def is_ask(news: News) -> bool:
    return isinstance(news, Ask)


def candidate(name: str) -> Candidate:
    """A candidate with an instance that no other has, whatever its name."""
    return Candidate(name, f"{name}#{next(_numbers)}")


async def lead(store: Store, election: str, who: Candidate, ttl_ns: int = TTL_NS) -> Grant:
    """Acquire an office that must be free."""
    answer = await store.acquire(election, who, ttl_ns)
    assert isinstance(answer, Granted), answer
    return Grant(election, who, answer.token, ttl_ns)


async def rehearsed(store: Store) -> None:
    """Wait for what a PostgreSQL store does of its own accord after its first acquisition."""
    await vars(store)["_rehearsing"]


async def wait_in_line(store: Store, election: str, who: Candidate, notify: Notify) -> None:
    """Watch first and ask then, as the runtime does; the office must be taken."""
    await store.watch(election, notify, who)
    answer = await store.acquire(election, who, TTL_NS)
    assert not isinstance(answer, Granted), answer
