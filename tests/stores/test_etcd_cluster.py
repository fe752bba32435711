"""etcd with three members: its own leader is paused, killed, cut off; an abandoned request."""

import asyncio
import contextlib
import time
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path

import pytest

from elector.core.identity import Candidate
from elector.core.office import EndReason
from elector.errors import StoreError
from elector.stores.etcd import EtcdStore
from elector.stores.port import Grant, Granted, Store
from tests.servers.etcd import EtcdCluster, EtcdServer, etcd_cluster
from tests.stores.worlds import (
    DEADLINE_S,
    SECOND_NS,
    TTL_NS,
    Ear,
    candidate,
    lead,
    led,
    play_out,
    vacant,
)

DONE = EndReason.COMPLETED
SHORT_NS = 6 * SECOND_NS


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[EtcdCluster]:
    with etcd_cluster(tmp_path) as started:
        yield started


def url_from(cluster: EtcdCluster, first: EtcdServer) -> str:
    """The store's URL with this member in front, so that it is asked first."""
    others = [member for member in cluster.members if member is not first]
    return "etcd://" + ",".join(f"127.0.0.1:{member.port}" for member in [first, *others])


async def insist(acquire: Callable[[], Awaitable[object]]) -> Granted:
    """Ask until the office is granted, as a candidate does whose requests fail."""
    deadline = time.monotonic() + DEADLINE_S
    while time.monotonic() < deadline:
        with contextlib.suppress(StoreError):
            answer = await acquire()
            assert isinstance(answer, Granted), answer
            return answer
        await asyncio.sleep(0.05)
    raise AssertionError("never granted")


def test_abandoned_requests_take_no_office_when_the_paused_leader_wakes(
    cluster: EtcdCluster,
) -> None:
    """Asked in vain, asked again, won, given back; then the first request is carried out."""
    for number in range(6):
        paused = cluster.leader()
        # Now by the paused member itself, now by one that hands the request on to it.
        first = paused if number % 2 else next(one for one in cluster.members if one is not paused)
        elections = [f"nightly-{number}-{which}" for which in range(8)]
        play_out(_wake_late(cluster, paused, elections), *[url_from(cluster, first)] * 2)


def _wake_late(
    cluster: EtcdCluster, paused: EtcdServer, elections: list[str]
) -> Callable[..., Awaitable[None]]:
    async def attempt(store: Store, election: str) -> None:
        who = candidate("a")
        # What is watched is known, so the request that takes the office is the first one.
        await store.watch(election, Ear(), who)
        ready.release()
        await frozen.wait()
        with contextlib.suppress(StoreError):
            grant = Grant(election, who, (await acquired(store, election, who)).token, TTL_NS)
            assert await store.release(grant, DONE)
            return
        granted = await insist(lambda: store.acquire(election, who, TTL_NS))
        await let_go(store, Grant(election, who, granted.token, TTL_NS))

    async def play(near: Store, far: Store) -> None:
        await near.release(await lead(near, "warm-up", candidate("a")), DONE)
        attempts = [asyncio.create_task(attempt(near, election)) for election in elections]
        for _ in attempts:
            await ready.acquire()
        paused.pause()
        frozen.set()
        try:
            await asyncio.gather(*attempts)
        finally:
            paused.resume()
        await until_healthy(cluster)
        await asyncio.sleep(1)  # the woken member does what it was asked to long ago
        leaders = [(await far.describe(election)).leader for election in elections]
        assert leaders == [None] * len(elections)

    ready, frozen = asyncio.Semaphore(0), asyncio.Event()
    return play


async def acquired(store: Store, election: str, who: Candidate) -> Granted:
    answer = await store.acquire(election, who, TTL_NS)
    assert isinstance(answer, Granted)
    return answer


async def let_go(store: Store, grant: Grant) -> None:
    """Release until it is certain."""
    deadline = time.monotonic() + DEADLINE_S
    while time.monotonic() < deadline:
        with contextlib.suppress(StoreError):
            await store.release(grant, DONE)
            return
        await asyncio.sleep(0.05)
    raise AssertionError("never released")


async def until_healthy(cluster: EtcdCluster) -> None:
    deadline = time.monotonic() + DEADLINE_S
    while not all(member.healthy() for member in cluster.members):
        assert time.monotonic() < deadline
        await asyncio.sleep(0.05)


def test_an_office_that_nobody_knows_of_is_vacated_though_its_session_lives_on(
    cluster: EtcdCluster,
) -> None:
    """The candidate asks no more; its lease is kept alive for the sake of another election."""
    paused = cluster.leader()

    async def play(near: EtcdStore, far: Store) -> None:
        keeper, who = candidate("k"), candidate("a")
        kept = await lead(near, "other", keeper, SHORT_NS)
        await near.release(await lead(near, "nightly", who, SHORT_NS), DONE)
        paused.pause()
        try:
            with pytest.raises(StoreError):
                await near.acquire("nightly", who, SHORT_NS)
        finally:
            paused.resume()
        until = time.monotonic() + 2 * SHORT_NS / SECOND_NS
        seen = set()
        renewed = time.monotonic()
        while time.monotonic() < until:
            if time.monotonic() > renewed + 0.5:
                with contextlib.suppress(StoreError):
                    assert await near.renew([kept]) == [True]
                renewed = time.monotonic()
            with contextlib.suppress(StoreError):
                seen.add((await far.describe("nightly")).leader)
            await asyncio.sleep(0.05)
        assert (await far.describe("nightly")).leader is None, seen
        assert (await far.describe("other")).leader == "k"

    others = next(member for member in cluster.members if member is not paused)
    play_out(play, url_from(cluster, paused), url_from(cluster, others))


@pytest.mark.parametrize("end", ["pause", "kill"])
def test_a_tenure_outlives_the_leader_of_the_cluster(cluster: EtcdCluster, end: str) -> None:
    gone = cluster.leader()

    async def play(near: Store, far: Store) -> None:
        who, waiting = candidate("a"), candidate("b")
        grant = await lead(near, "nightly", who)
        ear = Ear()
        await far.watch("nightly", ear, waiting)
        await far.acquire("nightly", waiting, TTL_NS)
        getattr(gone, end)()
        try:
            renewed = await insist_on_renewal(near, grant)
            assert renewed < TTL_NS / SECOND_NS / 2, "within the budget of a lease"
            assert (await far.describe("nightly")).leader == "a"
            assert await near.release(grant, DONE)
            await ear.until(vacant(grant.token))
            assert (await lead(far, "nightly", waiting)).token > grant.token
        finally:
            gone.resume()

    others = next(member for member in cluster.members if member is not gone)
    play_out(play, url_from(cluster, gone), url_from(cluster, others))


async def insist_on_renewal(store: Store, grant: Grant) -> float:
    """Renew until it is done; how long that took, in seconds."""
    began = time.monotonic()
    while True:
        assert time.monotonic() < began + DEADLINE_S
        with contextlib.suppress(StoreError):
            assert await store.renew([grant]) == [True]
            return time.monotonic() - began
        await asyncio.sleep(0.05)


def test_a_watch_goes_on_through_another_member(cluster: EtcdCluster) -> None:
    gone = next(member for member in cluster.members if member is not cluster.leader())

    async def play(near: Store, far: Store) -> None:
        ear, who = Ear(), candidate("a")
        await near.watch("nightly", ear)
        await ear.until(vacant(0))
        gone.kill()
        grant = await lead(far, "nightly", who)
        await ear.until(led("a", grant.token))
        await far.release(grant, DONE)
        await ear.until(vacant(grant.token))

    others = next(member for member in cluster.members if member is not gone)
    play_out(play, url_from(cluster, gone), url_from(cluster, others))


def test_no_majority_no_leader(cluster: EtcdCluster) -> None:
    async def play(store: Store) -> None:
        grant = await lead(store, "nightly", candidate("a"))
        for member in cluster.members[1:]:
            member.kill()
        for _ in range(4):
            with pytest.raises(StoreError):
                await store.acquire("nightly", candidate("b"), TTL_NS)
            with pytest.raises(StoreError):
                await store.renew([grant])
        for member in cluster.members[1:]:
            member.start()
        await insist_on_renewal(store, grant)

    play_out(play, cluster.url)
