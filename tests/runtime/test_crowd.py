"""Hundreds of candidates, in several processes, under names of their own and under one name."""

import asyncio
from collections import Counter

import pytest

from elector import Election, LeaseTiming, Tenure
from tests.runtime.processes import Troupe
from tests.runtime.waiting import play, soon
from tests.runtime.witness import BEGIN, END, STEP, Diary, check, entries, stays

TIMING = LeaseTiming.of("60s", cooldown="5s")


@pytest.mark.parametrize(
    ("here", "name", "turns"),
    [(200, "crowd-{}", 60), (3, "same", 30)],
    ids=["hundreds", "one name"],
)
def test_one_at_a_time_and_everybody_s_turn_comes(
    troupe: Troupe, here: int, name: str, turns: int
) -> None:
    """The workers in other processes take part until the end, each time for a few steps."""
    diary = Diary(troupe.diary)

    async def stand(number: int) -> None:
        who = f"here-{number}"  # in the diary everybody is somebody else, whatever the name
        election = Election(
            "nightly", store=troupe.store, candidate=name.format(number), timing=TIMING
        )
        async with election:
            async for tenure in election.tenures():
                async with tenure:
                    await one_turn(tenure, who)

    async def one_turn(tenure: Tenure, who: str) -> None:
        diary.note(who, tenure.token, BEGIN)
        await asyncio.sleep(0.001)
        tenure.check()
        diary.note(who, tenure.token, END)

    async def scene() -> None:
        async with asyncio.TaskGroup() as everybody:
            tasks = [everybody.create_task(stand(number)) for number in range(here)]
            try:
                await soon(lambda: len(entries(troupe.diary, BEGIN)) >= turns, 60)
                await soon(lambda: any(who.startswith("here") for who in whos()))
            finally:
                for task in tasks:
                    task.cancel()

    def whos() -> set[str]:
        return {entry.who for entry in entries(troupe.diary, BEGIN)}

    for there in ("there", "yonder"):
        troupe.start("turns", there, ttl="60s", candidate=name.format(there))
        troupe.saw(there, BEGIN)
    play(scene(), 100)
    seen = entries(troupe.diary)
    check(seen)
    print(Counter(stay.who.partition("-")[0] for stay in stays(seen)))  # noqa: T201 - who led
    assert all(entry.what in {BEGIN, STEP, END} for entry in seen)
