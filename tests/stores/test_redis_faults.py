"""Redis and Valkey when the network or the server fails: no outcome is guessed, no news missed."""

import asyncio
import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import redis

from elector.core.office import EndReason
from elector.errors import OutcomeUnknown, StoreError, StoreUnavailable
from elector.stores.port import Ask, Grant, Store
from elector.stores.registry import open_store, parse_url
from tests.servers.proxy import Proxy
from tests.servers.redis import RedisServer, redis_server
from tests.stores.worlds import (
    DEADLINE_S,
    SECOND_NS,
    TTL_NS,
    Ear,
    candidate,
    insist,
    is_ask,
    lead,
    led,
    play_out,
    vacant,
    wait_in_line,
)

DONE = EndReason.COMPLETED


@pytest.fixture
def server(tmp_path: Path) -> Iterator[RedisServer]:
    with redis_server(tmp_path) as started:
        yield started


@pytest.fixture
def proxy(server: RedisServer) -> Iterator[Proxy]:
    with Proxy(server.port) as started:
        yield started


def test_a_reply_that_was_lost_leaves_the_outcome_unknown_and_is_found_again(
    server: RedisServer, proxy: Proxy
) -> None:
    async def play(far: Store, near: Store) -> None:
        who = candidate("a")
        # The server knows a script from its first use on.
        await far.release(await lead(far, "warm-up", who), DONE)
        proxy.lose("down")
        with pytest.raises(OutcomeUnknown):
            await far.acquire("nightly", who, TTL_NS)
        token = (await near.describe("nightly")).token
        assert token > 0, "it did happen"
        proxy.heal()
        assert (await insist(far, "nightly", who)).token == token
        grant = Grant("nightly", who, token, TTL_NS)

        proxy.lose("down")
        with pytest.raises(OutcomeUnknown):
            await far.release(grant, DONE)
        assert (await near.describe("nightly")).leader is None
        proxy.heal()
        await lead(near, "nightly", candidate("b"))
        while True:
            try:
                assert not await far.release(grant, DONE), "a late release hits nobody"
                break
            except StoreUnavailable:
                await asyncio.sleep(0.02)

    play_out(play, server.url_via(proxy.port), server.url)


def test_a_connection_that_is_reset_before_the_reply_leaves_the_outcome_unknown(
    server: RedisServer, proxy: Proxy
) -> None:
    async def play(far: Store, near: Store) -> None:
        who = candidate("a")
        await lead(far, "warm-up", who)
        proxy.cut("down")
        asked = asyncio.create_task(far.acquire("nightly", who, TTL_NS))
        async with asyncio.timeout(DEADLINE_S):
            while (await near.describe("nightly")).leader is None:
                pass
        proxy.reset()
        with pytest.raises(OutcomeUnknown, match="is unknown"):
            await asked
        proxy.heal()
        token = (await near.describe("nightly")).token
        assert (await insist(far, "nightly", who)).token == token

    play_out(play, server.url_via(proxy.port), server.url)


def test_a_request_that_did_not_arrive_did_not_happen(server: RedisServer, proxy: Proxy) -> None:
    async def play(far: Store, near: Store) -> None:
        who = candidate("a")
        await lead(far, "warm-up", who)
        proxy.lose("up")
        with pytest.raises(OutcomeUnknown):
            await far.acquire("nightly", who, TTL_NS)
        assert (await near.describe("nightly")).token == 0
        proxy.refuse()
        proxy.reset()
        errors = set()
        for _ in range(5):
            try:
                await far.acquire("nightly", who, TTL_NS)
            except StoreUnavailable as error:
                errors.add(type(error))
                await asyncio.sleep(0.01)
        assert errors == {StoreUnavailable}, "nothing can have been sent"
        proxy.heal()
        await insist(far, "nightly", who)

    play_out(play, server.url_via(proxy.port), server.url)


def test_a_frozen_server_ends_every_request_and_serves_again_afterwards(
    server: RedisServer,
) -> None:
    async def play(store: Store) -> None:
        who = candidate("a")
        grant = await lead(store, "nightly", who, 2 * SECOND_NS)
        ear = Ear()
        await store.watch("nightly", ear, who)
        server.pause()
        try:
            outcomes = await asyncio.gather(
                store.renew([grant]),
                store.acquire("daily", who, TTL_NS),
                store.describe("nightly"),
                store.release(grant, DONE),
                store.watch("other", Ear()),
                return_exceptions=True,
            )
            assert all(isinstance(outcome, StoreError) for outcome in outcomes)
            assert any(isinstance(outcome, OutcomeUnknown) for outcome in outcomes)
            with pytest.raises(StoreUnavailable):  # accepted by the kernel, answered by nobody
                await open_store(parse_url(server.url))
        finally:
            server.resume()
        heard = len(ear.news)
        await insist(store, "weekly", who)
        assert len(ear.news) > heard, "told the present state after the reconnection"

    play_out(play, server.url)


def test_a_renewal_that_is_given_up_does_not_spoil_the_connection(
    server: RedisServer, proxy: Proxy
) -> None:
    async def play(far: Store) -> None:
        grants = [await lead(far, name, candidate("a")) for name in ("x", "y")]
        stale = Grant("x", candidate("b"), grants[0].token, TTL_NS)
        proxy.slow("down", 0.2)
        for _ in range(5):
            task = asyncio.create_task(far.renew(grants))
            await asyncio.sleep(0.01)
            task.cancel()
            await asyncio.wait({task})
            assert await far.renew([stale, grants[1]]) == [False, True]
        proxy.heal()

    play_out(play, server.url_via(proxy.port))


@pytest.mark.parametrize("how", ["reset", "listener"])
def test_what_changed_while_nobody_listened_is_told(
    server: RedisServer, proxy: Proxy, how: str
) -> None:
    async def play(far: Store, near: Store) -> None:
        who = candidate("a")
        grant = await lead(near, "nightly", who)
        observer, waiting = Ear(), Ear()
        await far.watch("nightly", observer)
        await wait_in_line(far, "nightly", candidate("b"), waiting)
        proxy.refuse()
        if how == "reset":
            proxy.reset()
        else:
            server.call("CLIENT", "KILL", "TYPE", "pubsub")
        await near.release(grant, DONE)
        proxy.heal()
        for ear in (observer, waiting):
            await ear.until(vacant(grant.token))
        again = await lead(near, "nightly", who)
        for ear in (observer, waiting):
            await ear.until(led("a", again.token))

    play_out(play, server.url_via(proxy.port), server.url)


def test_who_was_cut_off_stands_in_line_again(server: RedisServer, proxy: Proxy) -> None:
    async def play(far: Store, near: Store, third: Store) -> None:
        grant = await lead(near, "nightly", candidate("a"))
        ear, other = Ear(), Ear()
        await wait_in_line(far, "nightly", candidate("b"), ear)
        proxy.refuse()
        proxy.reset()
        async with asyncio.timeout(DEADLINE_S):
            while (await near.describe("nightly")).waiting:
                pass
        # Another one joins the line, and whoever is not there is struck out.
        await wait_in_line(third, "nightly", candidate("c"), other)
        proxy.heal()
        await ear.until(led("a", grant.token))
        assert (await near.describe("nightly")).waiting == ("c", "b")
        await third.close()
        assert await near.release(grant, DONE)
        await ear.until(vacant(grant.token))

    play_out(play, server.url_via(proxy.port), server.url, server.url)


def test_an_ask_that_was_not_heard_is_found_by_a_renewal_and_told_once(
    server: RedisServer, proxy: Proxy
) -> None:
    async def play(far: Store, near: Store) -> None:
        who, ear = candidate("a"), Ear()
        await far.watch("nightly", ear, who)
        grant = await lead(far, "nightly", who)
        proxy.refuse()
        proxy.reset()
        await near.ask(Ask("nightly", grant.token, "b"))
        proxy.heal()
        while not ear.asks():
            try:
                assert await far.renew([grant]) == [True]
            except StoreError:
                await asyncio.sleep(0.02)
        await near.ask(Ask("nightly", grant.token, "c"))
        await ear.until(lambda news: is_ask(news) and news.heir == "c")  # type: ignore[union-attr]
        assert await far.renew([grant]) == [True]
        assert [ask.heir for ask in ear.asks()] == ["b", "c"]

    play_out(play, server.url_via(proxy.port), server.url)


def test_a_server_that_was_restarted_is_found_again_without_being_asked(
    server: RedisServer,
) -> None:
    async def play(store: Store) -> None:
        grant = await lead(store, "nightly", candidate("a"))
        ear = Ear()
        await store.watch("nightly", ear)
        server.kill()
        server.start()
        told_before = len(ear.news)
        await ear.until(lambda news: ear.news.index(news) >= told_before)
        assert led("a", grant.token)(ear.news[-1])
        assert await store.renew([grant]) == [True]

    play_out(play, server.url)


def test_a_server_that_is_busy_has_certainly_not_done_it(server: RedisServer) -> None:
    async def play(store: Store) -> None:
        grant = await lead(store, "nightly", candidate("a"))
        server.call("CONFIG", "SET", "lua-time-limit", "50")
        loop = asyncio.get_running_loop()
        endless = loop.run_in_executor(
            None, lambda: _quietly(lambda: server.call("EVAL", "while true do end", "0"))
        )
        said: StoreError | None = None
        while said is None:
            try:
                await store.renew([grant])
            except StoreError as error:
                said = error
        assert isinstance(said, StoreUnavailable)
        assert "SCRIPT KILL" in str(said)
        _quietly(lambda: server.call("SCRIPT", "KILL"))
        await endless
        assert await store.renew([grant]) == [True]

    play_out(play, server.url)


def _quietly(act: Callable[[], object]) -> None:
    with contextlib.suppress(redis.RedisError):  # it is to be ended from outside
        act()
