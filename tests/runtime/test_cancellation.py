"""Cancelled at awkward moments: whatever was under way, nothing is left held."""

import asyncio
import random
from collections.abc import Awaitable, Callable

import pytest

from elector import Election, LeaseTiming
from elector.runtime.engine import Engine
from tests.runtime.conftest import Faulty
from tests.runtime.faulty_store import FaultyStore
from tests.runtime.waiting import play, soon

SEED = 20310512
TIMING = LeaseTiming.of("60s", cooldown="0s", retry_period="1ms")
ROUNDS = 60


def election(name: str) -> Election:
    return Election("nightly", store="faulty://a", candidate=name, timing=TIMING)


async def whole_life() -> None:
    """Everything that can be interrupted, one after the other."""
    async with election("us") as standing:
        async with await standing.next_tenure():
            await asyncio.sleep(0.001)
        async for tenure in standing.tenures():
            async with tenure:
                await asyncio.sleep(0)
                break
        await standing.resign()


async def waiting_life() -> None:
    """The same for one that has to wait for another first."""
    async with election("other") as other, await other.next_tenure():
        waits = asyncio.create_task(whole_life())
        try:
            await asyncio.sleep(0.002)
        finally:
            waits.cancel()
            await asyncio.wait({waits})


async def interrupted(life: Callable[[], Awaitable[None]], luck: random.Random) -> None:
    """Live, until cancelled somewhere: after some turns of the loop, or some time."""
    task = asyncio.ensure_future(life())
    if luck.random() < 0.5:
        for _ in range(luck.randrange(12)):
            await asyncio.sleep(0)
    else:
        await asyncio.sleep(luck.random() * 0.02)
    for _ in range(luck.choice([1, 1, 2])):
        task.cancel()
        await asyncio.sleep(0)
    await asyncio.wait({task})
    assert task.cancelled() or task.exception() is None


@pytest.mark.parametrize("life", [whole_life, waiting_life])
def test_whoever_is_cancelled_leaves_nothing_held(
    faulty: Faulty, life: Callable[[], Awaitable[None]]
) -> None:
    print(f"seed {SEED}")  # noqa: T201 - to replay a failure
    luck = random.Random(SEED)  # noqa: S311 - repeatable
    store = faulty("a")
    store.delays = random.Random(SEED)  # noqa: S311 - the same

    async def scene() -> None:
        for _ in range(ROUNDS):
            await interrupted(life, luck)
            async with election("next") as other, await other.next_tenure():
                pass
        await left(store)

    play(scene(), 60)


async def left(store: FaultyStore) -> None:
    """Nobody stands any more, and the store has no watch that was forgotten."""
    await soon(lambda: not Engine.current()._leavers)
    assert store.watches == 0


def test_waiting_that_is_cancelled_and_begun_again_is_elected_all_the_same(faulty: Faulty) -> None:
    """One candidate that changes its mind, while others take turns."""
    luck = random.Random(SEED)  # noqa: S311 - repeatable
    store = faulty("a")
    store.delays = random.Random(SEED)  # noqa: S311 - the same

    async def scene() -> None:
        async with election("us") as standing, election("other") as other:
            for _ in range(ROUNDS):
                rival = asyncio.create_task(once(other))
                for _ in range(3):
                    waits = asyncio.create_task(standing.next_tenure())
                    await asyncio.sleep(luck.choice([0, 0, 0.001, 0.004]))
                    waits.cancel()
                    await asyncio.wait({waits})
                async with await standing.next_tenure() as tenure:
                    tenure.check()
                await rival
        await left(store)

    play(scene(), 60)


async def once(standing: Election) -> None:
    async with await standing.next_tenure():
        await asyncio.sleep(0.001)


def test_a_loop_that_is_closed_while_we_join_leaves_no_candidate(faulty: Faulty) -> None:
    faulty("a").delays = random.Random(SEED)  # noqa: S311 - repeatable
    engine = Engine.current()
    before = len(engine._leavers)

    async def scene() -> None:
        joining = asyncio.ensure_future(election("us").__aenter__())
        await asyncio.sleep(0)
        joining.cancel()

    for _ in range(20):
        asyncio.run(scene())
    play(soon(lambda: len(engine._leavers) == before))
