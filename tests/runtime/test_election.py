"""The asyncio front end, in this process, on a store in memory."""

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from elector import (
    ConfigurationError,
    EndReason,
    LeadershipLost,
    LeaseTiming,
    NotLeader,
    Tenure,
)
from elector import Election as RealElection
from elector.runtime.holding import Holding
from tests.runtime.waiting import in_line, nobody_in_line, play, soon

LONG = "60s"


class Election(RealElection):
    """With a lease that no test waits for."""

    def __init__(self, store: str, candidate: str = "us", *, ttl: str = LONG) -> None:
        super().__init__("nightly", store=store, candidate=candidate, ttl=ttl)


@asynccontextmanager
async def leading(election: RealElection) -> AsyncIterator[Tenure]:
    async with election, await election.next_tenure() as tenure:
        yield tenure


async def resign_from_within(election: RealElection) -> None:
    """Lead, resign, and work on until cancelled."""
    async with await election.next_tenure():
        await election.resign()
        await asyncio.Event().wait()


async def leads_promptly(store: str) -> int:
    """Somebody else gets the office long before a lease would have run out."""
    async with leading(Election(store, "somebody-else")) as tenure:
        return tenure.token


# -- entering and leaving --------------------------------------------------------------------


def test_a_body_is_entered_with_a_token_and_time_left(memory: str) -> None:
    async def scene() -> None:
        async with leading(Election(memory)) as tenure:
            tenure.check()
            assert tenure.token == 1
            assert 0 < tenure.remaining() < 60
            assert not tenure.stopping
        assert tenure.remaining() == 0
        with pytest.raises(LeadershipLost) as lost:
            tenure.check()
        assert lost.value.reason == EndReason.COMPLETED

    play(scene())


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"store": ""}, "store '' is not a URL"),
        ({"ttl": ""}, "ttl '' is not a duration"),
        ({"ttl": 15}, "did you mean 15s"),
        ({"candidate": ""}, "candidate name '' cannot be used"),
        ({"progress_limit": ""}, "progress_limit '' is not a duration"),
    ],
)
def test_an_empty_setting_is_not_taken_for_none(memory: str, wrong: Any, said: str) -> None:
    with pytest.raises(ConfigurationError, match=said):
        RealElection("nightly", **{"store": memory, **wrong})


def test_a_host_of_any_name_has_a_candidate(memory: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("socket.gethostname", lambda: "bücher.example")
    assert RealElection("nightly", store=memory).settings.candidate.startswith("b-cher.example-")


def test_a_tenure_is_used_once(memory: str) -> None:
    async def scene() -> None:
        async with Election(memory) as election:
            tenure = await election.next_tenure()
            async with tenure:
                with pytest.raises(NotLeader, match="used already"):
                    await tenure.__aenter__()
                with pytest.raises(NotLeader, match="still at work"):
                    await election.next_tenure()
            with pytest.raises(NotLeader, match="used already"):
                await tenure.__aenter__()

    play(scene())


def test_a_tenure_that_was_given_back_is_not_entered(memory: str) -> None:
    async def scene() -> None:
        async with Election(memory) as election:
            unused = await election.next_tenure()
            async with await election.next_tenure() as tenure:
                assert tenure.token == unused.token + 1
            with pytest.raises(NotLeader, match="given back unused"):
                await unused.__aenter__()

    play(scene())


def test_a_tenure_that_ended_before_its_body_began_says_why(memory: str) -> None:
    async def scene() -> None:
        async with Election(memory) as election:
            tenure = await election.next_tenure()
            await election.resign()
            with pytest.raises(LeadershipLost, match="before its work began") as lost:
                await tenure.__aenter__()
            assert lost.value.reason == EndReason.RESIGNED

    play(scene())


def test_a_tenure_that_is_never_entered_is_given_back(memory: str) -> None:
    async def scene() -> None:
        async with Election(memory) as election:
            async for _ in election.tenures():
                break
        assert await leads_promptly(memory) == 2

    play(scene())


def test_an_interrupt_in_the_moment_of_leaving_the_body_gives_the_office_back_too(
    memory: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Interrupt(BaseException):
        pass

    async def interrupted(*_: object) -> None:
        raise Interrupt

    async def scene() -> None:
        with monkeypatch.context() as patch:
            patch.setattr(Tenure, "__aexit__", interrupted)
            with pytest.raises(Interrupt):
                async with leading(Election(memory)):
                    pass
        assert await leads_promptly(memory) == 2

    play(scene())


def test_breaking_out_of_a_body_gives_the_office_back(memory: str) -> None:
    async def scene() -> None:
        async with Election(memory) as election:
            async for tenure in election.tenures():
                async with tenure:
                    break
            assert await leads_promptly(memory) == 2  # while we are still in the election

    play(scene())


def test_an_election_is_entered_once(memory: str) -> None:
    async def scene() -> None:
        election = Election(memory)
        with pytest.raises(NotLeader, match="enter the election first"):
            await election.next_tenure()
        async with election:
            with pytest.raises(ConfigurationError, match="entered already"):
                await election.__aenter__()

    play(scene())


def test_leaving_ends_those_who_still_wait(memory: str) -> None:
    async def scene() -> None:
        async with leading(Election(memory, "leader")):
            async with Election(memory, "waiting") as election:
                waits = asyncio.create_task(election.next_tenure())
                await soon(lambda: election._wanted is not None)
            with pytest.raises(NotLeader, match="has left"):
                await waits
            with pytest.raises(NotLeader, match="has left"):
                await election.next_tenure()

    play(scene())


def test_two_cannot_wait_for_one_candidate(memory: str) -> None:
    async def scene() -> None:
        async with leading(Election(memory, "leader")), Election(memory, "waiting") as election:
            waits = asyncio.create_task(election.next_tenure())
            await soon(lambda: election._wanted is not None)
            with pytest.raises(NotLeader, match="awaited already"):
                await election.next_tenure()
            waits.cancel()
            await asyncio.wait({waits})

    play(scene())


# -- the body is told to stop ----------------------------------------------------------------


def test_a_body_that_was_cancelled_for_us_raises_leadership_lost(memory: str) -> None:
    async def scene() -> None:
        async with Election(memory) as election:
            with pytest.raises(LeadershipLost) as lost:
                await resign_from_within(election)
            assert lost.value.reason == EndReason.RESIGNED
            assert isinstance(lost.value.__cause__, asyncio.CancelledError)
            task = asyncio.current_task()
            assert task is not None
            assert task.cancelling() == 0  # nothing of it stays with the caller
            await asyncio.sleep(0)

    play(scene())


def test_a_body_that_completes_although_told_to_stop_has_done_its_work(memory: str) -> None:
    async def scene() -> str:
        async with Election(memory) as election, await election.next_tenure():
            await election.resign()
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                return "done"
            return "never told"

    assert play(scene()) == "done"


def test_a_body_that_never_waits_is_not_cancelled_behind_its_end(memory: str) -> None:
    """The order to stop comes while the body is being entered, and the body does not await."""

    async def scene() -> None:
        async with Election(memory) as election:
            tenure = await election.next_tenure()
            start_work = tenure._driver.start_work

            class Eager:
                def __getattr__(self, name: str) -> object:
                    return getattr(election._driver, name)

                def start_work(self, *args: object) -> None:
                    start_work(*args)  # type: ignore[arg-type] # passed on as it came
                    tenure.holding.tell_to_stop(EndReason.RESIGNED)

            tenure._driver = Eager()  # type: ignore[assignment] # stands in for the driver
            async with tenure:
                pass

    play(scene())


def test_an_error_of_the_body_is_passed_on_as_it_is(memory: str) -> None:
    async def scene() -> None:
        with pytest.raises(ArithmeticError):
            async with leading(Election(memory)):
                raise ArithmeticError
        async with Election(memory) as election:
            with pytest.raises(ArithmeticError):
                await fail_when_told(election)

    async def fail_when_told(election: RealElection) -> None:
        async with await election.next_tenure():
            await election.resign()
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                raise ArithmeticError from None

    play(scene())


def test_a_task_group_in_the_body_is_cancelled_with_it(memory: str) -> None:
    async def scene() -> None:
        cancelled = 0

        async def part() -> None:
            nonlocal cancelled
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                cancelled += 1
                raise

        async def lead(election: RealElection) -> None:
            async with await election.next_tenure(), asyncio.TaskGroup() as group:
                group.create_task(part())
                group.create_task(part())
                await asyncio.sleep(0)
                await election.resign()

        async with Election(memory) as election:
            with pytest.raises(LeadershipLost):
                await lead(election)
        assert cancelled == 2

    play(scene())


def test_an_exception_group_of_the_body_comes_out_whole(memory: str) -> None:
    async def fail() -> None:
        raise ArithmeticError

    async def scene() -> None:
        async with Election(memory) as election:
            with pytest.raises(ExceptionGroup) as group:
                async with await election.next_tenure(), asyncio.TaskGroup() as tasks:
                    tasks.create_task(fail())
            assert group.group_contains(ArithmeticError)
            assert await leads_promptly(memory) == 2

    play(scene())


def test_a_task_of_the_body_may_resign_and_wait_for_it(memory: str) -> None:
    async def scene() -> None:
        async with Election(memory) as election:
            with pytest.raises(LeadershipLost):
                async with await election.next_tenure(), asyncio.TaskGroup() as tasks:
                    tasks.create_task(election.resign())
            assert await leads_promptly(memory) == 2

    play(scene())


# -- cancellation from outside ---------------------------------------------------------------


def test_a_cancellation_from_outside_stays_one(memory: str) -> None:
    async def scene() -> None:
        inside = asyncio.Event()

        async def lead() -> None:
            async with leading(Election(memory)):
                inside.set()
                await asyncio.Event().wait()

        task = asyncio.create_task(lead())
        await inside.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert await leads_promptly(memory) == 2

    play(scene())


def test_a_cancellation_from_outside_wins_over_ours(memory: str) -> None:
    async def scene() -> None:
        inside = asyncio.Event()

        async def lead(election: RealElection) -> None:
            async with await election.next_tenure() as tenure:
                inside.set()
                try:
                    await asyncio.Event().wait()
                finally:
                    assert tenure.stopping
                    task.cancel()

        async with Election(memory) as election:
            task = asyncio.create_task(lead(election))
            await inside.wait()
            await election.resign()
            with pytest.raises(asyncio.CancelledError):
                await task

    play(scene())


def test_a_timeout_around_a_tenure_is_a_timeout(memory: str) -> None:
    async def scene() -> None:
        async with Election(memory) as election:
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.05), await election.next_tenure():
                    await asyncio.Event().wait()
            assert await leads_promptly(memory) == 2

    play(scene())


def test_a_timeout_inside_a_body_is_the_body_s_own(memory: str) -> None:
    async def scene() -> None:
        async with leading(Election(memory)) as tenure:
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.01):
                    await asyncio.Event().wait()
            tenure.check()
            assert not tenure.stopping

    play(scene())


def test_our_own_order_within_a_timeout_is_no_timeout(memory: str) -> None:
    async def scene() -> None:
        async with Election(memory) as election, asyncio.timeout(20):
            with pytest.raises(LeadershipLost):
                await resign_from_within(election)
            await asyncio.sleep(0)

    play(scene())


def test_a_second_cancellation_while_the_office_is_given_back_loses_nothing(memory: str) -> None:
    async def scene() -> None:
        inside = asyncio.Event()

        async def lead(election: RealElection) -> None:
            async with await election.next_tenure():
                inside.set()
                await asyncio.Event().wait()

        async with Election(memory) as election:
            task = asyncio.create_task(lead(election))
            await inside.wait()
            while not task.done():
                task.cancel()
                await asyncio.sleep(0)
            assert task.cancelled()
            assert await leads_promptly(memory) == 2

    play(scene())


def test_a_cancellation_in_the_moment_of_election_gives_the_office_back(
    memory: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def scene() -> None:
        async with Election(memory) as election:
            offer = election._offer

            def offer_and_cancel(holding: Holding) -> None:
                offer(holding)
                waits.cancel()  # before it can wake up with what it was given

            monkeypatch.setattr(election, "_offer", offer_and_cancel)
            waits = asyncio.create_task(election.next_tenure())
            await asyncio.wait({waits})
            assert waits.cancelled()
            assert await leads_promptly(memory) == 2

    play(scene())


def test_waiting_that_is_cancelled_leaves_the_queue(memory: str) -> None:
    async def scene() -> None:
        async with leading(Election(memory, "leader")), Election(memory, "waiting") as election:
            waits = asyncio.create_task(election.next_tenure())
            await in_line(memory, "waiting")
            waits.cancel()
            await nobody_in_line(memory)

    play(scene())


# -- run -------------------------------------------------------------------------------------


def test_run_campaigns_again_after_work_that_raises(
    memory: str, caplog: pytest.LogCaptureFixture
) -> None:
    tokens: list[int] = []
    fast = LeaseTiming.of("1s", retry_period="10ms")

    async def work(tenure: Tenure) -> None:
        tokens.append(tenure.token)
        if len(tokens) < 3:
            raise ArithmeticError
        raise asyncio.CancelledError

    async def scene() -> None:
        async with RealElection("nightly", store=memory, timing=fast) as election:
            with pytest.raises(asyncio.CancelledError):
                await election.run(work)

    play(scene())
    assert tokens == [1, 2, 3]
    said = [record for record in caplog.records if record.levelno >= logging.ERROR]
    assert [record.exc_info is not None for record in said] == [True, True]


def test_run_lets_an_error_out_when_asked(memory: str) -> None:
    async def work(_tenure: Tenure) -> None:
        raise ArithmeticError

    async def scene() -> None:
        async with Election(memory) as election:
            with pytest.raises(ArithmeticError):
                await election.run(work, on_error="raise")
            assert await leads_promptly(memory) == 2

    play(scene())


@pytest.mark.parametrize("when", ["before", "inside"])
def test_run_goes_on_after_a_tenure_that_was_lost(memory: str, when: str) -> None:
    fast = LeaseTiming.of("1s", cooldown="10ms")
    tokens: list[int] = []

    async def scene() -> None:
        async with RealElection("nightly", store=memory, timing=fast) as election:

            async def work(tenure: Tenure) -> None:
                tokens.append(tenure.token)
                if tenure.token > 1:
                    raise ArithmeticError
                await election.resign()
                await asyncio.Event().wait()

            if when == "before":  # the first tenure ends before its body begins
                next_tenure = election.next_tenure

                async def too_late() -> Tenure:
                    tenure = await next_tenure()
                    if tenure.token == 1:
                        tokens.append(tenure.token)
                        await election.resign()
                    return tenure

                election.next_tenure = too_late  # type: ignore[method-assign] # the late offer
            with pytest.raises(ArithmeticError):
                await election.run(work, on_error="raise")

    play(scene())
    assert tokens == [1, 2]


def test_work_that_returns_at_once_is_run_again_and_again(memory: str) -> None:
    tokens: list[int] = []

    async def work(tenure: Tenure) -> None:
        tokens.append(tenure.token)
        if len(tokens) == 8:
            raise asyncio.CancelledError

    async def scene() -> None:
        async with Election(memory) as election:
            with pytest.raises(asyncio.CancelledError):
                await election.run(work)

    play(scene())
    assert tokens == list(range(1, 9))


# -- several ---------------------------------------------------------------------------------


def test_two_elections_in_one_process_do_not_disturb_each_other(memory: str) -> None:
    async def scene() -> None:
        async with (
            RealElection("one", store=memory, ttl=LONG) as one,
            RealElection("two", store=memory, ttl=LONG) as two,
            await two.next_tenure() as kept,
        ):
            with pytest.raises(LeadershipLost):
                await resign_from_within(one)
            kept.check()
            assert not kept.stopping

    play(scene())


def test_two_candidates_of_one_name_are_still_two(memory: str) -> None:
    async def scene() -> None:
        async with Election(memory, "same") as one, Election(memory, "same") as other:
            async with await one.next_tenure() as tenure:
                waits = asyncio.create_task(other.next_tenure())
                await in_line(memory, "same")
                assert not waits.done()
                tenure.check()
            async with await waits as tenure:
                assert tenure.token == 2

    play(scene())


# -- handing over ----------------------------------------------------------------------------


def test_transfer_gives_the_office_to_the_one_named(memory: str) -> None:
    async def scene() -> None:
        async with (
            Election(memory, "us") as us,
            Election(memory, "next") as second,
            Election(memory, "heir") as heir,
        ):
            async with await us.next_tenure():
                waits = asyncio.create_task(second.next_tenure())
                await in_line(memory, "next")
                inherits = asyncio.create_task(heir.next_tenure())
                await in_line(memory, "next", "heir")
                await us.transfer("heir")
            async with await inherits as tenure:
                assert tenure.token == 2
                assert not waits.done()
            async with await waits:
                pass

    play(scene())


def test_transfer_to_nobody_known_goes_to_the_next_in_line(memory: str) -> None:
    async def scene() -> None:
        async with Election(memory, "us") as us, Election(memory, "next") as second:
            async with await us.next_tenure():
                waits = asyncio.create_task(second.next_tenure())
                await in_line(memory, "next")
                await us.transfer("nobody")
            async with await waits as tenure:
                assert tenure.token == 2

    play(scene())


def test_resigning_without_office_returns_at_once(memory: str) -> None:
    async def scene() -> None:
        async with Election(memory) as election:
            await election.resign()
            async with await election.next_tenure():
                pass
            await election.resign()

    play(scene())


def test_resigning_from_another_task_waits_for_the_work_to_stop(memory: str) -> None:
    async def scene() -> list[str]:
        said: list[str] = []
        inside = asyncio.Event()

        async def lead(election: RealElection) -> None:
            async with await election.next_tenure():
                inside.set()
                try:
                    await asyncio.Event().wait()
                finally:
                    await asyncio.sleep(0.05)
                    said.append("stopped")

        async with Election(memory) as election:
            task = asyncio.create_task(lead(election))
            await inside.wait()
            await election.resign()
            said.append("resigned")
            with pytest.raises(LeadershipLost):
                await task
        return said

    assert play(scene()) == ["stopped", "resigned"]
