"""PostgreSQL when the server or the network fails: what is certain, what is not, and after it."""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path

import asyncpg
import pytest

from elector.core.office import EndReason
from elector.errors import OutcomeUnknown, StoreError, StoreUnavailable
from elector.stores.port import Grant, Granted, Occupied, Store
from elector.stores.registry import open_store, parse_url
from tests.servers.postgresql import PostgresServer, postgres_server
from tests.servers.proxy import Proxy
from tests.stores.worlds import (
    SECOND_NS,
    TTL_NS,
    Ear,
    candidate,
    lead,
    led,
    play_out,
    rehearsed,
    vacant,
)

DONE = EndReason.COMPLETED
DEADLINE_S = 60.0
SHORT_NS = 3 * SECOND_NS


@pytest.fixture
def server(tmp_path: Path) -> Iterator[PostgresServer]:
    with postgres_server(tmp_path) as running:
        yield running


@pytest.fixture
def proxy(server: PostgresServer) -> Iterator[Proxy]:
    with Proxy(server.port) as between:
        yield between


def play(urls: list[str], acts: Callable[..., Awaitable[None]]) -> None:
    """Run ``acts(*stores)`` with a store open on each URL."""
    play_out(acts, *urls)


async def in_time(ask: Callable[[], Awaitable[Granted | Occupied]]) -> Granted | Occupied:
    """Ask until there is an answer."""
    while True:
        try:
            async with asyncio.timeout(DEADLINE_S):
                return await ask()
        except StoreError:
            await asyncio.sleep(0.05)


async def until(url: str, query: str) -> None:
    """Wait until a query has a row."""
    connection = await asyncpg.connect(url)
    try:
        while not await connection.fetch(query):  # noqa: ASYNC110 - a server cannot set an event
            await asyncio.sleep(0.01)
    finally:
        await connection.close()


def test_tokens_rise_over_a_killed_server(server: PostgresServer) -> None:
    async def acts(one: Store, two: Store) -> None:
        await two.watch("nightly", Ear())
        for token in range(1, 4):
            who = candidate("a")
            grant = Grant("nightly", who, token, TTL_NS)
            answer = await in_time(lambda who=who: one.acquire("nightly", who, TTL_NS))  # type: ignore[misc]
            assert answer == Granted(token)
            server.kill()
            with pytest.raises(StoreError):
                await one.renew([grant])
            server.start()
            # It leads still, and is found to.
            again = await in_time(lambda who=who: one.acquire("nightly", who, TTL_NS))  # type: ignore[misc]
            assert again == Granted(token)
            assert await one.release(grant, DONE)

    play([server.url, server.url], acts)


def test_a_server_that_is_down_is_certain(server: PostgresServer) -> None:
    async def acts(store: Store) -> None:
        grant = await lead(store, "nightly", candidate("a"))
        server.kill()
        with contextlib.suppress(StoreError):
            await store.renew([grant])  # the connection is found to be lost
        for request in (
            lambda: store.acquire("nightly", candidate("b"), TTL_NS),
            lambda: store.renew([grant]),
            lambda: store.release(grant, DONE),
            lambda: store.describe("nightly"),
            lambda: store.watch("nightly", Ear()),
        ):
            with pytest.raises(StoreUnavailable):
                await request()

    play([server.url], acts)


def test_a_frozen_server_leaves_it_open_and_then_goes_on(server: PostgresServer) -> None:
    async def acts(store: Store) -> None:
        grant = await lead(store, "nightly", candidate("a"), SHORT_NS)
        await rehearsed(store)
        server.pause()
        try:
            with pytest.raises(OutcomeUnknown, match="does not answer"):
                await store.acquire("daily", candidate("b"), SHORT_NS)
            renewing = asyncio.create_task(store.renew([grant]))
            await asyncio.sleep(0.05)
            renewing.cancel()
            await asyncio.wait({renewing}, timeout=1)
            assert renewing.cancelled(), "a cancelled renewal waits for nobody"
            with pytest.raises(StoreUnavailable, match="does not answer"):
                await store.describe("nightly")
        finally:
            server.resume()
        answer = await in_time(lambda: store.acquire("weekly", candidate("c"), TTL_NS))
        assert answer == Granted(1)

    play([server.url], acts)


def test_a_cancelled_renewal_drops_the_connection_and_the_next_one_is_dialled(
    server: PostgresServer, proxy: Proxy
) -> None:
    async def acts(store: Store) -> None:
        grant = await lead(store, "nightly", candidate("a"))
        await rehearsed(store)
        proxy.cut("down")
        renewing = asyncio.create_task(store.renew([grant]))
        await asyncio.sleep(0.05)
        renewing.cancel()
        with pytest.raises(asyncio.CancelledError):
            await renewing
        proxy.heal()
        assert await store.renew([grant]) == [True]

    play([server.url_via(proxy.port)], acts)


def test_an_acquisition_whose_reply_is_lost_is_found_again(
    server: PostgresServer, proxy: Proxy
) -> None:
    async def acts(far: Store, near: Store) -> None:
        await lead(far, "warm", candidate("a"))
        await rehearsed(far)
        who = candidate("a")
        proxy.lose("down")
        with pytest.raises(OutcomeUnknown):
            await far.acquire("nightly", who, TTL_NS)
        proxy.heal()
        assert (await near.describe("nightly")).leader == "a"
        assert await in_time(lambda: far.acquire("nightly", who, TTL_NS)) == Granted(1)
        assert isinstance(await near.acquire("nightly", candidate("b"), TTL_NS), Occupied)

    play([server.url_via(proxy.port), server.url], acts)


def test_an_acquisition_that_waits_in_the_network_does_not_come_back(
    server: PostgresServer, proxy: Proxy
) -> None:
    """A request of a session that was given up is carried out before the next, or never."""

    async def acts(far: Store, near: Store) -> None:
        await lead(far, "warm", candidate("a"))
        await rehearsed(far)
        who = candidate("a")
        proxy.cut("up")
        with pytest.raises(OutcomeUnknown):
            await far.acquire("nightly", who, TTL_NS)
        proxy.heal()  # what was held arrives now
        token = await in_time(lambda: far.acquire("nightly", who, TTL_NS))
        assert isinstance(token, Granted)
        assert await far.release(Grant("nightly", who, token.token, TTL_NS), DONE)
        sessions = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'elector'"
        await until(server.url, f"{sessions} HAVING count(*) = 2")
        assert (await near.describe("nightly")).leader is None

    play([server.url_via(proxy.port), server.url], acts)


def test_the_session_before_is_ended_on_a_server_that_was_frozen(server: PostgresServer) -> None:
    """One frozen backend, the rest of the server is well: what it still holds is not done."""

    async def acts(store: Store, other: Store) -> None:
        from elector.stores.postgresql import PostgresStore

        await lead(store, "warm", candidate("a"))
        await rehearsed(store)
        assert isinstance(store, PostgresStore)
        link = store._kept._connection
        assert link is not None
        who = candidate("a")
        with server.frozen(link.server.pid):
            with pytest.raises(OutcomeUnknown):
                await store.acquire("nightly", who, SHORT_NS)
            grant = await lead(store, "nightly", who)  # by a new session
            assert await store.release(grant, DONE)
        # The frozen one wakes with the request of long ago before it, and is told to go.
        alive = f"SELECT FROM pg_stat_activity WHERE pid = {link.server.pid}"
        await until(server.url, f"SELECT WHERE NOT EXISTS ({alive})")
        assert (await other.describe("nightly")).leader is None
        assert (await lead(other, "nightly", candidate("b"))).token == 2

    play([server.url, server.url], acts)


def test_whoever_watches_is_told_after_the_connection_was_lost(
    server: PostgresServer, proxy: Proxy
) -> None:
    async def acts(far: Store, near: Store) -> None:
        ear, waiter = Ear(), Ear()
        who = candidate("a")
        grant = await lead(near, "nightly", who)
        await far.watch("nightly", ear)
        await far.watch("nightly", waiter, candidate("b"))
        for reset in range(3):
            await ear.until(led("a", grant.token))
            proxy.refuse()
            proxy.reset()
            assert await near.release(grant, DONE)
            proxy.heal()
            await ear.until(vacant(grant.token))
            await waiter.until(vacant(grant.token))
            proxy.refuse()
            proxy.reset()
            grant = await lead(near, "nightly", who)
            proxy.heal()
            assert grant.token == reset + 2

    play([server.url_via(proxy.port), server.url], acts)


def test_a_server_that_restarts_is_found_again_by_those_who_watch(server: PostgresServer) -> None:
    async def acts(one: Store, two: Store) -> None:
        ear = Ear()
        await one.watch("nightly", ear)
        grant = await lead(two, "nightly", candidate("a"))
        await ear.until(led("a", 1))
        server.restart()
        await in_time(lambda: two.acquire("daily", candidate("a"), TTL_NS))
        assert await two.release(grant, DONE)
        await ear.until(vacant(1))

    play([server.url, server.url], acts)


def test_a_network_that_is_slow_by_seconds(server: PostgresServer, proxy: Proxy) -> None:
    async def acts(store: Store) -> None:
        grant = await lead(store, "nightly", candidate("a"))
        proxy.slow("down", 0.7)
        assert await store.renew([grant]) == [True]
        proxy.slow("down", 2.5)
        with pytest.raises(OutcomeUnknown):
            await store.renew([grant])
        proxy.heal()
        answer = await in_time(lambda: store.acquire("nightly", grant.candidate, TTL_NS))
        assert answer == Granted(1)

    play([server.url_via(proxy.port)], acts)


def test_a_standby_is_refused(server: PostgresServer) -> None:
    (server.data / "standby.signal").touch()
    server.restart()

    async def main() -> None:
        for query, why in (
            ("", r"is a standby, .* name the primary"),
            ("?target_session_attrs=read-write", "none of these hosts is a primary"),
        ):
            with pytest.raises(StoreUnavailable, match=why) as caught:
                await open_store(parse_url(server.url + query))
            assert "\n" not in str(caught.value)

    asyncio.run(main())


@pytest.mark.parametrize("said", [b"", b"HTTP/1.1 400 Bad Request\r\n\r\n", b"N-ERR what?\r\n"])
def test_what_answers_is_no_postgresql(said: bytes) -> None:
    async def answer(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(said)
        writer.close()

    async def main() -> None:
        async with await asyncio.start_server(answer, "127.0.0.1", 0) as other:
            port = other.sockets[0].getsockname()[1]
            with pytest.raises(StoreUnavailable) as caught:
                await open_store(parse_url(f"postgresql://elector:hunter2@127.0.0.1:{port}/app"))
            assert "\n" not in str(caught.value)
            assert "hunter2" not in str(caught.value)

    asyncio.run(main())


def test_a_store_closes_while_its_server_is_frozen(server: PostgresServer) -> None:
    async def main() -> None:
        store = await open_store(parse_url(server.url))
        grant = await lead(store, "nightly", candidate("a"))
        server.pause()
        try:
            renewing = asyncio.create_task(store.renew([grant]))
            await asyncio.sleep(0)
            async with asyncio.timeout(10):
                await store.close()
            with pytest.raises(StoreError):
                await renewing
        finally:
            server.resume()

    asyncio.run(main())
