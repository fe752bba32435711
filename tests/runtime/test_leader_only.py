"""The decorator for functions that only the leader may run."""

import asyncio

import pytest

from elector import (
    ConfigurationError,
    Election,
    LeadershipLost,
    LeaseTiming,
    NotLeader,
    leader_only,
)
from elector.runtime.engine import Engine
from tests.runtime.conftest import Faulty
from tests.runtime.faulty_store import Fault
from tests.runtime.waiting import play, soon

LONG = "60s"


def test_a_function_runs_as_leader_and_gives_the_office_back(memory: str) -> None:
    calls: list[tuple[int, str]] = []

    @leader_only("nightly", store=memory, ttl=LONG)
    def work(one: int, *, other: str) -> str:
        """What it does."""
        calls.append((one, other))
        with (
            Election("nightly", store=memory, ttl=LONG).blocking() as rival,
            pytest.raises(NotLeader),
        ):
            rival.next_tenure("20ms")
        return "done"

    assert [work(1, other="a"), work(2, other="b")] == ["done", "done"]
    assert calls == [(1, "a"), (2, "b")]
    assert (work.__name__, work.__doc__) == ("work", "What it does.")


def test_a_coroutine_function_runs_as_leader_and_gives_the_office_back(memory: str) -> None:
    @leader_only("nightly", store=memory, ttl=LONG)
    async def work(one: int, *, other: str) -> tuple[int, str]:
        async with Election("nightly", store=memory, ttl=LONG) as rival:
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.02):
                    await rival.next_tenure()
        return one, other

    async def scene() -> None:
        assert await work(1, other="a") == (1, "a")
        assert await work(2, other="b") == (2, "b")

    play(scene())


def test_calls_at_the_same_time_run_one_after_the_other(memory: str) -> None:
    at_work = 0

    @leader_only("nightly", store=memory, ttl=LONG)
    async def work() -> None:
        nonlocal at_work
        at_work += 1
        await asyncio.sleep(0.001)
        assert at_work == 1
        at_work -= 1

    async def scene() -> None:
        await asyncio.gather(*(work() for _ in range(20)))

    play(scene())


@pytest.mark.parametrize("wait", ["30ms", "0s"])
def test_a_function_that_is_not_elected_in_time_does_not_run(memory: str, wait: str) -> None:
    @leader_only("nightly", store=memory, ttl=LONG, wait=wait)
    def work() -> None:
        raise AssertionError

    @leader_only("nightly", store=memory, ttl=LONG, wait=wait)
    async def async_work() -> None:
        raise AssertionError

    async def scene() -> None:
        with pytest.raises(NotLeader, match=f"within {wait}"):
            await async_work()

    with Election("nightly", store=memory, ttl=LONG).blocking() as other, other.next_tenure():
        with pytest.raises(NotLeader, match=f"within {wait}"):
            work()
        play(scene())


def test_an_error_of_the_function_comes_out_and_the_office_is_given_back(memory: str) -> None:
    @leader_only("nightly", store=memory, ttl=LONG, wait="10s")
    def work() -> None:
        raise ArithmeticError

    for _ in range(2):
        with pytest.raises(ArithmeticError):
            work()


def test_a_function_that_was_cancelled_for_the_office_s_sake_says_so(faulty: Faulty) -> None:
    timing = LeaseTiming.of("600ms", request_timeout="50ms")

    @leader_only("nightly", store="faulty://a", timing=timing)
    async def work() -> None:
        faulty("a").fail(Fault.REFUSED)
        await asyncio.Event().wait()

    async def scene() -> None:
        with pytest.raises(LeadershipLost):
            await work()

    play(scene())


def test_a_call_that_is_cancelled_leaves_nothing_behind(memory: str) -> None:
    @leader_only("nightly", store=memory, ttl=LONG)
    async def work() -> None:
        await asyncio.Event().wait()

    async def scene() -> None:
        calls = [asyncio.create_task(work()) for _ in range(3)]
        members = len(Engine.current()._leavers)
        await soon(lambda: len(Engine.current()._leavers) >= members + 3)
        for call in calls:
            call.cancel()
        await asyncio.wait(calls)
        assert all(call.cancelled() for call in calls)

    play(scene())


def test_wrong_settings_are_found_where_the_function_is_defined() -> None:
    with pytest.raises(ConfigurationError):
        leader_only("no name")
    with pytest.raises(ConfigurationError):
        leader_only("nightly", store="memory://", wait="10")
