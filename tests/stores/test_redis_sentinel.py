"""Valkey with Sentinels: a new primary is found, and what a failover loses is as declared."""

import asyncio
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from elector.core.office import EndReason
from elector.errors import StoreError, StoreUnavailable
from elector.stores.port import Grant, Granted, Store
from elector.stores.redis import RedisStore
from elector.stores.registry import open_store, parse_url
from tests.servers.redis import Trio, sentinel_trio, until
from tests.stores.worlds import DEADLINE_S, SECOND_NS, Ear, candidate, lead, led

TTL_NS = 60 * SECOND_NS


@pytest.fixture
def trio(tmp_path: Path) -> Iterator[Trio]:
    with sentinel_trio(tmp_path) as started:
        yield started


async def renewed(store: Store, grant: Grant) -> bool:
    """Renew as soon as the store answers again."""
    deadline = time.monotonic() + DEADLINE_S
    while True:
        try:
            return (await store.renew([grant]))[0]
        except StoreError:
            assert time.monotonic() < deadline
            await asyncio.sleep(0.1)


def test_what_was_replicated_survives_a_failover(trio: Trio) -> None:
    async def main() -> None:
        store = await open_store(parse_url(trio.url))
        who, ear = candidate("a"), Ear()
        await store.watch("nightly", ear, who)
        grant = await lead(store, "nightly", who, TTL_NS)
        until(lambda: trio.replica.call("HGET", "{elector}:tokens", "nightly") == str(grant.token))
        told = len(ear.news)
        trio.primary.kill()
        assert await renewed(store, grant)
        assert trio.replica.call("ROLE")[0] == "master"
        await ear.until(lambda news: ear.news.index(news) >= told and led("a", grant.token)(news))
        assert await store.release(grant, EndReason.COMPLETED)
        assert (await lead(store, "nightly", candidate("b"))).token > grant.token
        await store.close()

    asyncio.run(main())


def test_what_was_not_replicated_is_lost_as_declared_and_the_tokens_tell(trio: Trio) -> None:
    """Two lead: that is what asynchronous replication does. Only the token tells them apart."""
    assert "two may lead" in RedisStore.traits.failover_loss

    async def main() -> None:
        store = await open_store(parse_url(trio.url))
        first = await lead(store, "nightly", candidate("first"), TTL_NS)
        await store.release(first, EndReason.COMPLETED)
        until(lambda: "holder" not in trio.replica.call("HKEYS", "{elector}:office:nightly"))
        trio.replica.pause()
        lost = await lead(store, "nightly", candidate("a"), TTL_NS)
        trio.primary.kill()
        trio.replica.resume()
        assert not await renewed(store, lost), "the new primary never heard of it"
        second = await store.acquire("nightly", candidate("b"), TTL_NS)
        assert isinstance(second, Granted), "while the first one's lease was not over"
        assert second.token > lost.token, "a plain counter would have given the same again"
        await store.close()

    asyncio.run(main())


def test_sentinels_that_do_not_know_the_name_say_so(trio: Trio) -> None:
    async def main(url: str) -> str:
        with pytest.raises(StoreUnavailable) as refused:
            await open_store(parse_url(url))
        return str(refused.value)

    said = asyncio.run(main(trio.url.replace("sentinel=elections", "sentinel=nobody")))
    assert said.count("watches no 'nobody'") == 3
    for sentinel in trio.sentinels[:2]:
        sentinel.kill()
    asyncio.run(_opens(trio.url))  # one that is left is enough to be told
    trio.sentinels[2].kill()
    assert "no Sentinel names the primary" in asyncio.run(main(trio.url))


async def _opens(url: str) -> None:
    store = await open_store(parse_url(url))
    await store.close()
