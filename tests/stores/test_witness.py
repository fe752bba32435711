"""What the kernel says of a holder's process, shown with real processes.

The ttl is ten minutes, so whatever happens within the deadline of a test is not an expiry.
"""

import asyncio
import subprocess
from collections.abc import Callable, Coroutine, Sequence
from pathlib import Path
from typing import Any

import pytest

from elector.errors import UnsupportedTrait
from elector.stores.memory import MemoryStore
from elector.stores.port import Ask, Granted, Occupied, Store
from elector.stores.registry import open_store, parse_url
from tests.stores.processes import Holder, holder
from tests.stores.worlds import TTL_NS, Ear, candidate, lead, vacant, wait_in_line

Play = Callable[[Holder, Store], Coroutine[Any, Any, None]]


@pytest.fixture(params=["file", "sqlite"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    paths = {"file": f"file://{tmp_path}/offices", "sqlite": f"sqlite:///{tmp_path}/elections.db"}
    return paths[request.param]


def run(url: str, mode: str, play: Play, inside: Sequence[str] = ()) -> None:
    async def main(held: Holder) -> None:
        store = await open_store(parse_url(url))
        try:
            async with asyncio.timeout(60):
                await play(held, store)
        finally:
            await store.close()

    with holder(url, "nightly", "holder", mode, inside) as held:
        asyncio.run(main(held))


async def waiter(store: Store) -> tuple[Ear, Any]:
    ear, who = Ear(), candidate("waiter")
    await wait_in_line(store, "nightly", who, ear)
    return ear, who


def test_every_store_with_a_witness_is_shown_here() -> None:
    assert not MemoryStore.traits.witness


def test_a_killed_holder_is_replaced_at_once(url: str) -> None:
    async def play(held: Holder, store: Store) -> None:
        assert store.traits.witness
        ear, who = await waiter(store)
        held.kill()
        await ear.until(vacant(held.token))
        assert (await lead(store, "nightly", who)).token == held.token + 1

    run(url, "alone", play)


def test_a_holder_that_was_killed_before_anybody_waited_is_replaced_too(url: str) -> None:
    async def play(held: Holder, store: Store) -> None:
        held.kill()
        assert (await store.describe("nightly")).leader is None
        assert (await lead(store, "nightly", candidate("late"))).token == held.token + 1

    run(url, "alone", play)


CONTAINERS = {
    "other process ids": ["unshare", "--pid", "--fork", "--kill-child"],
    "another clock": ["unshare", "--time", "--boottime", "100000000", "--fork", "--kill-child"],
}


@pytest.mark.parametrize("kind", CONTAINERS)
def test_a_holder_in_a_container_is_believed_alive_until_the_kernel_says_otherwise(
    url: str, kind: str
) -> None:
    """Its process ids and its times mean nothing here; the end of its pipe means the same."""
    inside = CONTAINERS[kind]
    if subprocess.run([*inside, "true"], capture_output=True, check=False).returncode != 0:
        pytest.skip(f"this system allows no namespace with {kind}")

    async def play(held: Holder, store: Store) -> None:
        ear, who = await waiter(store)
        assert isinstance(await store.acquire("nightly", who, TTL_NS), Occupied)
        held.kill()
        await ear.until(vacant(held.token))
        assert (await lead(store, "nightly", who)).token == held.token + 1

    run(url, "alone", play, inside)


def test_observers_hear_of_a_death(url: str) -> None:
    async def play(held: Holder, store: Store) -> None:
        ear = Ear()
        await store.watch("nightly", ear)
        held.kill()
        await ear.until(vacant(held.token))

    run(url, "alone", play)


def test_many_waiters_and_one_death_make_one_leader(url: str) -> None:
    async def play(held: Holder, store: Store) -> None:
        waiting = [await waiter(store) for _ in range(10)]
        held.kill()
        await waiting[0][0].until(vacant(held.token))
        crowd = [store.acquire("nightly", who, TTL_NS) for _, who in waiting]
        answers = await asyncio.gather(*crowd)
        granted = [answer for answer in answers if isinstance(answer, Granted)]
        assert granted == [Granted(held.token + 1)]

    run(url, "alone", play)


@pytest.mark.parametrize("mode", ["fork", "spawn"])
def test_a_child_that_inherited_the_office_keeps_it(url: str, mode: str) -> None:
    async def play(held: Holder, store: Store) -> None:
        ear, who = await waiter(store)
        held.kill()
        # The holder is gone to the last descriptor, but its child is at work.
        assert isinstance(await store.acquire("nightly", who, TTL_NS), Occupied)
        assert (await store.describe("nightly")).leader == "holder"
        assert ear.vacancies() == []
        held.end_child()
        await ear.until(vacant(held.token))
        assert (await lead(store, "nightly", who)).token == held.token + 1

    run(url, mode, play)


def test_a_release_counts_though_a_child_has_inherited_everything(url: str) -> None:
    async def play(held: Holder, store: Store) -> None:
        ear, who = await waiter(store)
        held.tell("release\n")
        assert held.hear() == {"released": True}
        await ear.until(vacant(held.token))
        assert (await lead(store, "nightly", who)).token == held.token + 1

    run(url, "release", play)


def test_a_frozen_holder_is_not_replaced_by_the_witness(url: str) -> None:
    async def play(held: Holder, store: Store) -> None:
        ear, who = await waiter(store)
        held.stop()
        assert isinstance(await store.acquire("nightly", who, TTL_NS), Occupied)
        held.kill()
        await ear.until(vacant(held.token))

    run(url, "alone", play)


def test_an_ask_waits_for_a_holder_that_does_not_listen(url: str) -> None:
    async def play(held: Holder, store: Store) -> None:
        await store.ask(Ask("nightly", held.token))
        if store.traits.expiry == "never":
            with pytest.raises(UnsupportedTrait):
                await store.ask(Ask("nightly", held.token, "waiter"))
        assert (await store.describe("nightly")).leader == "holder"

    run(url, "alone", play)
