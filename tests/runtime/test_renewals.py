"""Renewals go out in batches, and one that fails is answered too."""

import asyncio
import contextlib
import random

import pytest

from elector import Election, LeaseTiming, OutcomeUnknown, StoreError, StoreUnavailable, Tenure
from elector.core.identity import Candidate
from elector.runtime.engine import Engine
from elector.runtime.renewals import Outcome, Renewal, Renewals, meeting_point
from elector.stores.port import Grant
from tests.runtime.conftest import Faulty
from tests.runtime.faulty_store import Fault, FaultyStore
from tests.runtime.waiting import play, soon

SECOND = 1_000_000_000
US = Candidate("us", "us#1")


async def granted(store: FaultyStore, election: str) -> Grant:
    grant = await store.memory.acquire(election, US, 60 * SECOND)
    return Grant(election, US, grant.token, 60 * SECOND)


class Answers(dict[int, Outcome]):
    def renewal(self, grant: Grant, op: int, timeout_ns: int = 30 * SECOND) -> Renewal:
        return Renewal(grant, op, timeout_ns, self.__setitem__)


def test_what_one_turn_asks_for_goes_out_as_one_batch(faulty: Faulty) -> None:
    async def scene() -> None:
        store, answers = faulty("a"), Answers()
        renewals = Renewals(asyncio.get_running_loop())
        lost = Grant("nobody's", US, 7, SECOND)
        for op, grant in enumerate(
            [await granted(store, "one"), lost, await granted(store, "two")]
        ):
            renewals.add(store, answers.renewal(grant, op))
        await soon(lambda: len(answers) == 3)
        assert answers == {0: True, 1: False, 2: True}
        assert (renewals.batches, store.calls["renew"]) == (1, 1)

    play(scene())


def test_stores_have_batches_of_their_own(faulty: Faulty) -> None:
    async def scene() -> None:
        one, other, answers = faulty("a"), faulty("b"), Answers()
        renewals = Renewals(asyncio.get_running_loop())
        renewals.add(one, answers.renewal(await granted(one, "one"), 1))
        renewals.add(other, answers.renewal(await granted(other, "two"), 2))
        await soon(lambda: len(answers) == 2)
        assert (renewals.batches, one.calls["renew"], other.calls["renew"]) == (2, 1, 1)

    play(scene())


@pytest.mark.parametrize(
    ("fault", "kind"),
    [
        (Fault.REFUSED, StoreUnavailable),
        (Fault.UNSENT, OutcomeUnknown),
        (Fault.UNHEARD, OutcomeUnknown),
        (Fault.STUCK, OutcomeUnknown),
        (Fault.SILENT, OutcomeUnknown),
    ],
)
def test_a_batch_that_fails_fails_for_all_in_it(
    faulty: Faulty, fault: Fault, kind: type[StoreError]
) -> None:
    async def scene() -> None:
        store, answers = faulty("a"), Answers()
        renewals = Renewals(asyncio.get_running_loop())
        store.fail(fault, "renew")
        grant = await granted(store, "one")
        renewals.add(store, answers.renewal(grant, 1, 30 * SECOND))
        renewals.add(store, answers.renewal(grant, 2, SECOND // 100))  # the least patient counts
        await soon(lambda: len(answers) == 2)
        assert {type(outcome) for outcome in answers.values()} == {kind}

    play(scene())


def test_an_adapter_that_breaks_is_a_store_that_fails(
    faulty: Faulty, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def scene() -> None:
        store, answers = faulty("a"), Answers()
        renewals = Renewals(asyncio.get_running_loop())

        async def broken(_grants: object) -> list[bool]:
            raise ArithmeticError

        monkeypatch.setattr(store, "renew", broken)
        renewals.add(store, answers.renewal(await granted(store, "one"), 1))
        await soon(lambda: answers)
        assert isinstance(answers[1], StoreError)

    play(scene())


@pytest.mark.parametrize("phase", [0.0, 0.001, 0.5, 0.999])
def test_renewals_that_begin_anywhere_in_the_period_meet_within_ten(phase: float) -> None:
    period = 1_000_000
    late = 1_000  # how long after the timer a request is sent, at the most
    luck = random.Random(20310511)  # noqa: S311 - repeatable
    sent = [luck.randrange(period) for _ in range(500)]
    for _ in range(10):
        for one, at in enumerate(sent):
            earliest, latest = at + period * 4 // 5, at + period
            due = meeting_point(earliest, latest, period, phase)
            assert earliest <= due <= latest
            sent[one] = due + luck.randrange(late)
    beat = period * 9 // 10
    assert max((at - int(phase * beat)) % beat for at in sent) < late


def test_a_window_of_nothing_is_a_meeting_point() -> None:
    assert meeting_point(70, 70, 100, 0.3) == 70
    assert meeting_point(0, 0, 1, 0.9) == 0


def test_a_thousand_elections_renew_together(memory: str) -> None:
    """Four periods are four batches; twelve leave room for a machine that is busy with others."""
    period = SECOND * 6 // 10
    timing = LeaseTiming.of("30s", renew_period="600ms")
    elections = [Election(f"election-{n}", store=memory, timing=timing) for n in range(1000)]

    async def scene() -> None:
        async with contextlib.AsyncExitStack() as stack:

            async def lead(election: Election) -> Tenure:
                await stack.enter_async_context(election)
                return await stack.enter_async_context(await election.next_tenure())

            tenures = []
            for first in range(0, 1000, 100):  # so that they begin all over the period
                tenures += await asyncio.gather(*map(lead, elections[first : first + 100]))
                await asyncio.sleep(period / SECOND / 10)
            while await batches_in_four_periods(tenures) > 12:
                pass  # they have to find together first

    async def batches_in_four_periods(tenures: list[Tenure]) -> int:
        before, start = Engine.current().renewals.batches, earliest(tenures)
        await soon(lambda: earliest(tenures) >= start + 4 * period)
        return Engine.current().renewals.batches - before

    def earliest(tenures: list[Tenure]) -> int:
        return min(tenure.holding.deadlines.hard_ns for tenure in tenures)

    play(scene(), 60)
