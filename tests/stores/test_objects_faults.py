"""Object stores when the network or the server fails: no outcome is guessed, no news missed."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterator

import pytest

from elector.core.office import EndReason
from elector.errors import OutcomeUnknown, StoreError, StoreUnavailable
from elector.stores.objects import bucket as objects_bucket
from elector.stores.port import Granted, Occupied, Store
from elector.stores.registry import open_store, parse_url
from tests.servers.fake_s3 import ALL, fake_s3
from tests.servers.proxy import Proxy
from tests.servers.s3 import S3Server, s3_server
from tests.stores.worlds import (
    DEADLINE_S,
    TTL_NS,
    Ear,
    candidate,
    lead,
)

DONE = EndReason.COMPLETED

BeforeWrite = Callable[[Callable[[], object] | None], None]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Server]:
    with s3_server(tmp_path_factory.mktemp("s3")) as running:
        yield running


@pytest.fixture(autouse=True)
def keys(server: S3Server, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in server.env.items():
        monkeypatch.setenv(name, value)


@pytest.fixture
def proxy(server: S3Server) -> Iterator[Proxy]:
    with Proxy(server.port) as running:
        yield running


@pytest.fixture
def before_write(monkeypatch: pytest.MonkeyPatch) -> BeforeWrite:
    """What to do just before the next record is written, once; reads are let through."""
    planned: list[Callable[[], object]] = []
    put = objects_bucket.Bucket.put

    async def put_after_all(self: objects_bucket.Bucket, *args: object) -> object:
        if planned:
            planned.pop()()
        return await put(self, *args)  # type: ignore[arg-type]

    monkeypatch.setattr(objects_bucket.Bucket, "put", put_after_all)

    def plan(act: Callable[[], object] | None) -> None:
        planned.clear()
        if act is not None:
            planned.append(act)

    return plan


def play(
    server: S3Server, proxy: Proxy, name: str, acts: Callable[[Store, Store], Awaitable[None]]
) -> None:
    """Run ``acts`` with a store behind the proxy, and one with a good network."""

    async def main() -> None:
        stores = [
            await open_store(parse_url(server.url_via(port).replace("/tests?", f"/{name}?")))
            for port in (proxy.port, server.port)
        ]
        try:
            async with asyncio.timeout(2 * DEADLINE_S):
                await acts(stores[0], stores[1])
        finally:
            proxy.heal()
            for store in stores:
                await store.close()

    asyncio.run(main())


async def quiet(proxy: Proxy) -> None:
    """Wait until what was held on the way has arrived, and its connections are closed."""
    async with asyncio.timeout(DEADLINE_S):
        while proxy.connections:  # noqa: ASYNC110 - it is on another thread
            await asyncio.sleep(0.02)


def test_an_acquisition_whose_reply_was_lost_is_found_by_asking_again(
    server: S3Server, proxy: Proxy, before_write: BeforeWrite
) -> None:
    async def acts(far: Store, near: Store) -> None:
        who = candidate("a")
        before_write(lambda: proxy.lose("down"))
        with pytest.raises(OutcomeUnknown, match="did not answer in time"):
            await far.acquire("nightly", who, TTL_NS)
        answer = await near.acquire("nightly", candidate("b"), TTL_NS)
        assert isinstance(answer, Occupied)
        assert (answer.leader, answer.token) == ("a", 1)
        proxy.heal()
        assert await far.acquire("nightly", who, TTL_NS) == Granted(1)

    play(server, proxy, "reply", acts)


@pytest.mark.parametrize("newer", [True, False], ids=["something newer", "nothing newer"])
def test_an_acquisition_that_comes_late_wins_only_while_nothing_newer_was_written(
    server: S3Server, proxy: Proxy, before_write: BeforeWrite, newer: bool
) -> None:
    async def acts(far: Store, near: Store) -> None:
        await near.release(await lead(near, "nightly", candidate("z")), DONE)
        who = candidate("a")
        before_write(lambda: proxy.cut("up"))
        with pytest.raises(OutcomeUnknown):
            await far.acquire("nightly", who, TTL_NS)
        if newer:
            await near.release(await lead(near, "nightly", candidate("b")), DONE)
        proxy.heal()
        await quiet(proxy)
        late = await near.describe("nightly")
        assert (late.leader, late.token) == ((None, 2) if newer else ("a", 2))
        assert await far.acquire("nightly", who, TTL_NS) == Granted(3 if newer else 2)

    play(server, proxy, f"late{newer}", acts)


def test_a_release_that_comes_late_does_not_end_what_was_prolonged(
    server: S3Server, proxy: Proxy, before_write: BeforeWrite
) -> None:
    async def acts(far: Store, near: Store) -> None:
        who = candidate("a")
        grant = await lead(far, "nightly", who)
        before_write(lambda: proxy.cut("up"))
        with pytest.raises(OutcomeUnknown):
            await far.release(grant, DONE)
        # The same candidate, by another way: it holds office still, and asks for it again.
        assert await near.acquire("nightly", who, TTL_NS) == Granted(1)
        proxy.heal()
        await quiet(proxy)
        assert (await near.describe("nightly")).leader == "a"
        assert await near.renew([grant]) == [True]

    play(server, proxy, "release", acts)


def test_a_renewal_whose_reply_was_lost_does_not_cost_the_office(
    server: S3Server, proxy: Proxy, before_write: BeforeWrite
) -> None:
    async def acts(far: Store, near: Store) -> None:
        grant = await lead(far, "nightly", candidate("a"))
        before_write(lambda: proxy.lose("down"))
        with pytest.raises(OutcomeUnknown):
            await far.renew([grant])
        proxy.heal()
        assert await far.renew([grant]) == [True]
        assert await far.release(grant, DONE)
        assert (await near.describe("nightly")).leader is None

    play(server, proxy, "renewal", acts)


def test_a_write_that_was_sent_twice_on_the_way_is_known_again(
    server: S3Server, proxy: Proxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    put = objects_bucket.Bucket.put

    async def twice(self: objects_bucket.Bucket, *args: object) -> object:
        await put(self, *args)  # type: ignore[arg-type]
        return await put(self, *args)  # type: ignore[arg-type]

    async def acts(far: Store, near: Store) -> None:
        monkeypatch.setattr(objects_bucket.Bucket, "put", twice)
        grant = await lead(far, "nightly", candidate("a"))
        assert grant.token == 1
        assert await far.renew([grant]) == [True]
        assert await far.release(grant, DONE)
        assert (await near.describe("nightly")).token == 1

    play(server, proxy, "twice", acts)


def test_nobody_waits_for_ever_for_a_server_that_is_frozen(server: S3Server, proxy: Proxy) -> None:
    async def acts(far: Store, near: Store) -> None:
        grant = await lead(near, "nightly", candidate("a"))
        server.pause()
        try:
            for ask, kind in (
                (near.renew([grant]), OutcomeUnknown),
                (near.release(grant, DONE), OutcomeUnknown),
                (far.acquire("nightly", candidate("b"), TTL_NS), StoreUnavailable),
                (far.describe("nightly"), StoreUnavailable),
                (far.elections(), StoreUnavailable),
                (far.watch("nightly", Ear()), StoreUnavailable),
            ):
                began = time.monotonic()
                with pytest.raises(StoreError) as caught:
                    await ask
                assert type(caught.value) is kind
                assert time.monotonic() - began < 8
        finally:
            server.resume()
        # Whether it was released is unknown, so it is released again, and then it is vacant.
        await near.release(grant, DONE)
        assert (await far.describe("nightly")).leader is None

    play(server, proxy, "frozen", acts)


def test_a_server_that_lets_nobody_in_has_certainly_done_nothing(
    server: S3Server, proxy: Proxy
) -> None:
    async def acts(far: Store, near: Store) -> None:
        grant = await lead(far, "nightly", candidate("a"))
        proxy.refuse()
        proxy.reset()
        await quiet(proxy)
        for ask in (far.renew([grant]), far.release(grant, DONE)):
            with pytest.raises(StoreUnavailable, match="cannot be reached"):
                await ask
        assert (await near.describe("nightly")).leader == "a"
        proxy.heal()
        assert await far.renew([grant]) == [True]

    play(server, proxy, "refused", acts)


def test_a_connection_that_breaks_under_a_write_leaves_it_unknown(
    server: S3Server, proxy: Proxy, before_write: BeforeWrite
) -> None:
    async def acts(far: Store, _near: Store) -> None:
        grant = await lead(far, "nightly", candidate("a"))

        def break_soon() -> None:
            proxy.cut("down")
            asyncio.get_running_loop().call_later(0.3, proxy.reset)

        before_write(break_soon)
        with pytest.raises(OutcomeUnknown, match="broke the connection off"):
            await far.renew([grant])
        proxy.heal()
        assert await far.renew([grant]) == [True]

    play(server, proxy, "broken", acts)


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (500, OutcomeUnknown),
        (503, OutcomeUnknown),
        (403, StoreUnavailable),
        (429, StoreUnavailable),
    ],
)
def test_what_a_status_says_of_a_write(
    status: int, kind: type[StoreError], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(objects_bucket, "_TRIED", set())
    with fake_s3(ALL) as fake:

        async def main() -> None:
            store = await open_store(parse_url(fake.url))
            grant = await lead(store, "nightly", candidate("a"))
            fake.status, written = status, len(fake.writes)
            with pytest.raises(StoreError, match=str(status)) as caught:
                await store.renew([grant])
            assert type(caught.value) is kind
            assert len(fake.writes) == written + 1, "it was tried again behind our back"
            await store.close()

        asyncio.run(main())


def test_a_watch_that_was_cut_off_is_told_how_things_are(server: S3Server, proxy: Proxy) -> None:
    async def acts(far: Store, near: Store) -> None:
        ear = Ear()
        await far.watch("nightly", ear)
        await ear.until_vacant(0)
        proxy.refuse()
        proxy.reset()
        grant = await lead(near, "nightly", candidate("a"))
        await near.release(grant, DONE)
        last = await lead(near, "nightly", candidate("b"))
        proxy.heal()
        await ear.until_led("b", last.token)
        told = len(ear.news)

        # Nothing changes while it is blind, and it is told all the same that it sees again.
        proxy.refuse()
        proxy.reset()
        await asyncio.sleep(0.4)
        assert len(ear.news) == told
        proxy.heal()
        async with asyncio.timeout(DEADLINE_S):
            while len(ear.news) == told:  # noqa: ASYNC110 - the other side is a network
                await asyncio.sleep(0.02)
        assert ear.changes()[-1].leader == "b"

    play(server, proxy, "watch", acts)


def test_a_restart_keeps_tokens(server: S3Server, proxy: Proxy) -> None:
    async def acts(far: Store, near: Store) -> None:
        grant = await lead(near, "nightly", candidate("a"))
        await asyncio.to_thread(server.kill)
        with pytest.raises(StoreUnavailable):
            await far.acquire("nightly", candidate("b"), TTL_NS)
        await asyncio.to_thread(server.start)
        assert await near.renew([grant]) == [True]
        assert await near.release(grant, DONE)
        assert (await lead(far, "nightly", candidate("b"))).token == 2

    play(server, proxy, "restart", acts)
