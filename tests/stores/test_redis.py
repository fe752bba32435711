"""Redis and Valkey, on a real server: the laws, tokens, batches, and what is at our keys."""

import asyncio
import secrets
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path

import pytest

from elector.core.office import EndReason
from elector.errors import StoreCorrupt, StoreUnavailable
from elector.stores.port import Ask, Grant, Granted, Occupied, Record, Store
from elector.stores.registry import StoreUrl, open_store, parse_url
from elector.testing.stores import LAWS, check_store, store_machine
from tests.servers.redis import RedisServer, redis_server
from tests.stores.worlds import (
    DEADLINE_S,
    TTL_NS,
    Ear,
    candidate,
    lead,
    led,
    play_out,
    vacant,
    wait_in_line,
)

DONE = EndReason.COMPLETED


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    with redis_server(tmp_path_factory.mktemp("redis")) as started:
        yield started


class Corner:
    """A part of a server that no other test has."""

    def __init__(self, server: RedisServer) -> None:
        self.server = server
        self.prefix = secrets.token_hex(4)
        self.url = server.url_via(server.port, query=f"?prefix={self.prefix}")

    def key(self, rest: str) -> str:
        return f"{{{self.prefix}}}:{rest}"

    def run(self, count: int, play: Callable[..., Awaitable[None]]) -> None:
        play_out(play, *[self.url] * count)


@pytest.fixture
def corner(server: RedisServer) -> Corner:
    return Corner(server)


def test_every_law_of_the_kit_holds(corner: Corner) -> None:
    report = check_store(corner.url, restart=corner.server.crash)
    assert report.of("holds") == [law.__name__ for law in LAWS]


def test_it_does_what_a_naive_store_does(corner: Corner) -> None:
    machine = store_machine(corner.url).TestCase
    machine.settings = machine.settings.__class__(max_examples=15, deadline=None)
    machine().runTest()


# -- tokens ----------------------------------------------------------------------------------


def test_tokens_rise_across_a_kill_and_a_lease_that_is_held_survives_it(tmp_path: Path) -> None:
    with redis_server(tmp_path) as server:
        corner = Corner(server)
        tokens: list[int] = []
        who = candidate("a")

        async def take(store: Store) -> None:
            grant = await lead(store, "nightly", candidate("first"))
            await store.release(grant, DONE)
            tokens.append(grant.token)
            tokens.append((await lead(store, "nightly", who)).token)

        async def take_again(store: Store) -> None:
            assert await store.renew([Grant("nightly", who, tokens[-1], TTL_NS)]) == [True]
            assert isinstance(await store.acquire("nightly", candidate("b"), TTL_NS), Occupied)
            assert await store.release(Grant("nightly", who, tokens[-1], TTL_NS), DONE)
            tokens.append((await lead(store, "nightly", candidate("b"))).token)
            assert [past.token for past in await store.history("nightly", 9)] == tokens[::-1]

        corner.run(1, take)
        server.kill()
        server.start()
        corner.run(1, take_again)
        assert tokens == sorted(set(tokens))


def test_tokens_rise_even_where_everything_was_lost(tmp_path: Path) -> None:
    with redis_server(tmp_path, options=()) as server:  # keeps nothing
        corner = Corner(server)
        tokens: list[int] = []

        async def take(store: Store) -> None:
            for _ in range(5):
                grant = await lead(store, "nightly", candidate("a"))
                tokens.append(grant.token)
                await store.release(grant, DONE)

        for _ in range(3):
            corner.run(1, take)
            server.kill()
            server.start()
            assert server.call("DBSIZE") == 0
        assert tokens == sorted(set(tokens))


def test_tokens_rise_although_the_clock_is_behind_the_last_one(corner: Corner) -> None:
    async def play(store: Store) -> None:
        first = await lead(store, "nightly", candidate("a"))
        await store.release(first, DONE)
        ahead = str(first.token + 10**9)  # granted while the clock was wrong, by eleven days
        corner.server.call("HSET", corner.key("office:nightly"), "token", ahead)
        corner.server.call("HSET", corner.key("tokens"), "nightly", ahead)
        assert (await lead(store, "nightly", candidate("b"))).token == int(ahead) + 1

    corner.run(1, play)


# -- what is at our keys ---------------------------------------------------------------------


@pytest.mark.parametrize(
    ("spoil", "says"),
    [
        (("DEL", "office:nightly"), "token none"),
        (("HDEL", "tokens", "nightly"), "of none"),
        (("HSET", "office:nightly", "token", "1"), "knows of token 1"),
        (("DEL", "tokens"), "of none"),
        (("SET", "office:nightly", "mine"), "WRONGTYPE"),
        (("SET", "line:nightly", "mine"), "WRONGTYPE"),
        (("SET", "past:nightly", "mine"), "WRONGTYPE"),
        (("HSET", "office:nightly", "until", "soon"), "has no times"),
        (("HSET", "office:nightly", "since", "now"), "has no times"),
    ],
)
def test_a_key_that_was_lost_or_is_not_ours_is_never_a_win(
    corner: Corner, spoil: tuple[str, ...], says: str
) -> None:
    async def play(one: Store, two: Store) -> None:
        who = candidate("a")
        await lead(one, "nightly", who)
        beside = await lead(one, "beside", who)
        command, key, *rest = spoil
        if command == "SET":
            corner.server.call("DEL", corner.key(key))
        corner.server.call(command, corner.key(key), *rest)
        for asks in (who, candidate("b")):
            with pytest.raises(StoreCorrupt, match=says) as refused:
                await two.acquire("nightly", asks, TTL_NS)
            assert "\n" not in str(refused.value)
            assert "remove those keys" in str(refused.value)
        if spoil != ("DEL", "tokens"):  # that one concerns them all
            answers = await asyncio.gather(
                two.acquire("nightly", who, TTL_NS),
                two.acquire("beside", who, TTL_NS),
                return_exceptions=True,
            )
            assert isinstance(answers[0], StoreCorrupt)
            assert answers[1] == Granted(beside.token)
            assert await one.renew([beside]) == [True]

    corner.run(2, play)


def test_a_renewal_of_what_was_lost_does_not_take_the_others_with_it(corner: Corner) -> None:
    async def play(store: Store) -> None:
        grants = [await lead(store, name, candidate("a")) for name in ("x", "y", "z")]
        corner.server.call("DEL", corner.key("office:y"))
        assert await store.renew(grants) == [True, False, True]

    corner.run(1, play)


def test_what_is_no_news_is_ignored(corner: Corner) -> None:
    async def play(store: Store) -> None:
        ear = Ear()
        await store.watch("nightly", ear)
        for noise in ("", "{}", '{"token":"x"}', "[1]", '{"token":"5","left":"soon"}'):
            corner.server.call("PUBLISH", corner.key("0:news:nightly"), noise)
        grant = await lead(store, "nightly", candidate("a"))
        await store.release(grant, DONE)
        await ear.until(vacant(grant.token))
        assert {news.token for news in ear.news} == {0, grant.token}

    corner.run(1, play)


def test_a_full_memory_refuses_new_tenures_and_ends_none(corner: Corner) -> None:
    async def play(store: Store) -> None:
        grant = await lead(store, "nightly", candidate("a"))
        corner.server.call("CONFIG", "SET", "maxmemory", "1")
        try:
            with pytest.raises(StoreUnavailable, match="raise maxmemory"):
                await store.acquire("daily", candidate("a"), TTL_NS)
            assert await store.renew([grant]) == [True]
            await store.ask(Ask("nightly", grant.token))
            assert await store.release(grant, EndReason.RESIGNED)
        finally:
            corner.server.call("CONFIG", "SET", "maxmemory", "0")
        await lead(store, "daily", candidate("a"))

    corner.run(1, play)


def test_scripts_that_the_server_forgot_are_sent_again(corner: Corner) -> None:
    async def play(store: Store) -> None:
        grant = await lead(store, "nightly", candidate("a"))
        corner.server.call("SCRIPT", "FLUSH")
        assert await store.renew([grant]) == [True]
        corner.server.call("SCRIPT", "FLUSH")
        assert await store.release(grant, DONE)

    corner.run(1, play)


def test_who_only_reads_writes_nothing(corner: Corner) -> None:
    async def main() -> None:
        url = parse_url(corner.url)
        store = await open_store(StoreUrl(url.scheme, url.rest, create=False))
        ear = Ear()
        watch = await store.watch("nightly", ear)
        assert await store.describe("nightly") == Record("nightly", None, 0)
        assert await store.elections() == []
        assert await store.history("nightly", 5) == []
        await store.ask(Ask("nightly", 1))
        await watch.close()
        await store.close()

    asyncio.run(main())
    assert corner.server.call("KEYS", corner.key("*")) == []


def test_two_databases_and_two_prefixes_are_apart(server: RedisServer) -> None:
    async def main() -> None:
        where = f"redis://127.0.0.1:{server.port}"
        urls = [f"{where}/3", f"{where}/4", f"{where}/3?prefix=other"]
        stores = [await open_store(parse_url(url)) for url in urls]
        ears = [Ear() for _ in stores]
        for store, ear in zip(stores, ears, strict=True):
            await store.watch("nightly", ear)
        grants = [await lead(store, "nightly", candidate("a")) for store in stores]
        for grant, ear in zip(grants, ears, strict=True):
            await ear.until(led("a", grant.token))
            assert {news.token for news in ear.news} == {0, grant.token}
        for store in stores:
            await store.close()

    asyncio.run(main())


# -- what it costs ---------------------------------------------------------------------------


def test_a_thousand_elections_cost_one_call_each_way(corner: Corner) -> None:
    async def play(one: Store, two: Store) -> None:
        names = [f"e{number}" for number in range(1000)]
        who = {name: candidate("a") for name in names}
        rivals = {name: candidate("b") for name in names}

        async def calls_of(work: Awaitable[object]) -> tuple[int, int]:
            before = corner.server.commands()
            await work
            after = corner.server.commands()
            of = [
                after.get(name, 0) - before.get(name, 0)
                for name in ("evalsha", "eval", "subscribe")
            ]
            return of[0] or of[1], of[2]

        watches = (two.watch(name, Ear(), rivals[name]) for name in names)
        assert await calls_of(asyncio.gather(*watches)) == (0, 1)
        grants: list[Grant] = []

        async def acquire_all() -> None:
            grants.extend(await asyncio.gather(*(lead(one, name, who[name]) for name in names)))

        assert await calls_of(acquire_all()) == (1, 0)
        in_vain = (two.acquire(name, rivals[name], TTL_NS) for name in names)
        assert await calls_of(asyncio.gather(*in_vain)) == (1, 0)
        assert await calls_of(one.renew(grants)) == (1, 0)
        assert await one.renew(grants) == [True] * 1000
        releases = (one.release(grant, DONE) for grant in grants)
        assert await calls_of(asyncio.gather(*releases)) == (1, 0)

    corner.run(2, play)


def test_a_process_has_two_connections(corner: Corner) -> None:
    async def play(store: Store) -> None:
        def clients() -> int:
            return int(corner.server.call("INFO", "clients")["connected_clients"])

        before = clients()
        for number in range(20):
            watch = await store.watch(f"e{number}", Ear(), candidate("a"))
            await lead(store, f"e{number}", candidate("a"))
            if number % 2:
                await watch.close()
        assert clients() == before + 1

    corner.run(1, play)


# -- the line ----------------------------------------------------------------------------------


def test_who_is_gone_without_a_word_is_not_called(corner: Corner) -> None:
    async def play(one: Store, two: Store, three: Store) -> None:
        grant = await lead(one, "nightly", candidate("a"))
        await wait_in_line(two, "nightly", candidate("gone"), Ear())
        ear = Ear()
        await wait_in_line(three, "nightly", candidate("there"), ear)
        assert (await one.describe("nightly")).waiting == ("gone", "there")
        await two.close()
        async with asyncio.timeout(DEADLINE_S):  # the server hears of the end a moment later
            while (await one.describe("nightly")).waiting != ("there",):  # noqa: ASYNC110
                await asyncio.sleep(0.02)
        assert await one.release(grant, DONE)
        await ear.until(vacant(grant.token))

    corner.run(3, play)


def test_the_line_does_not_grow_by_those_who_are_gone(corner: Corner) -> None:
    async def play(one: Store) -> None:
        await lead(one, "nightly", candidate("a"))
        for _ in range(5):
            passer_by = await open_store(parse_url(corner.url))
            await wait_in_line(passer_by, "nightly", candidate("b"), Ear())
            await passer_by.close()
        assert corner.server.call("ZCARD", corner.key("line:nightly")) == 1

    corner.run(1, play)


def test_a_past_that_is_not_ours_is_named(corner: Corner) -> None:
    async def play(store: Store) -> None:
        await lead(store, "nightly", candidate("a"))
        for junk in ("mine", "{}", '{"token":"1","holder":"a","began":"long ago"}'):
            corner.server.call("RPUSH", corner.key("past:nightly"), junk)
            with pytest.raises(StoreCorrupt, match="is no tenure"):
                await store.history("nightly", 10)
            corner.server.call("RPOP", corner.key("past:nightly"))

    corner.run(1, play)


def test_the_last_thousand_tenures_are_kept(corner: Corner) -> None:
    async def play(store: Store) -> None:
        grant = await lead(store, "nightly", candidate("a"))
        past = corner.key("past:nightly")
        entry = corner.server.call("LINDEX", past, "0")
        corner.server.call("RPUSH", past, *[entry] * 999)
        await store.release(grant, DONE)
        await lead(store, "nightly", candidate("b"))
        assert corner.server.call("LLEN", past) == 1000
        assert len(await store.history("nightly", 5000)) == 1000

    corner.run(1, play)
