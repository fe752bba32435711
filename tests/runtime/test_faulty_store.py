"""A store that fails: short outages are lived through, long ones end the tenure in time."""

import asyncio
import contextlib
import random

import pytest

from elector import (
    ConfigurationError,
    Election,
    EndReason,
    LeadershipLost,
    LeaseTiming,
    Led,
    NotLeader,
    StoreUnavailable,
    Tenure,
    Unknown,
    Vacant,
    leader_only,
)
from elector.clock import now_ns
from elector.core.identity import Candidate
from elector.runtime.engine import Engine
from elector.runtime.holding import Holding
from elector.stores.port import Ask, Granted
from tests.runtime.conftest import Faulty
from tests.runtime.faulty_store import Fault, FaultyStore
from tests.runtime.waiting import play, soon

LONG = "60s"
# Renewals follow each other quickly, while what they may take is generous.
BRISK = LeaseTiming.of("20s", renew_period="50ms", retry_period="50ms", request_timeout="300ms")
# A lease that runs out within a test.
SHORT = LeaseTiming.of("1s", request_timeout="100ms")
EVERY_FAULT = list(Fault)
KINDS_OF_FAULT = [Fault.REFUSED, Fault.UNHEARD, Fault.STUCK]  # for tests that take a lease's time


def election(timing: LeaseTiming = BRISK, name: str = "us", wire: str = "a") -> Election:
    return Election("nightly", store=f"faulty://{wire}", candidate=name, timing=timing)


def holder(store: FaultyStore) -> str | None:
    """Who holds the office as the store itself sees it, whatever the wire does."""
    office = store.memory._offices.get("nightly")
    return office.holder.name if office is not None and office.holder is not None else None


def queue(store: FaultyStore) -> list[str]:
    """Who waits, as the store itself sees it."""
    line = store.memory._offices["nightly"].line
    return [watch.candidate.name for watch in line if watch.candidate is not None]


# -- outages while leading -----------------------------------------------------------------------


@pytest.mark.parametrize("fault", EVERY_FAULT)
def test_a_short_outage_does_not_cost_the_office(faulty: Faulty, fault: Fault) -> None:
    async def scene() -> None:
        store = faulty("a")
        async with election() as standing, await standing.next_tenure() as tenure:
            store.fail(fault, "renew", times=2)
            calls = store.calls["renew"]
            await soon(lambda: store.calls["renew"] >= calls + 2)
            before = tenure.holding.deadlines
            await soon(lambda: tenure.holding.deadlines != before)
            tenure.check()
            assert not tenure.stopping

    play(scene())


@pytest.mark.parametrize("fault", KINDS_OF_FAULT)
def test_a_long_outage_ends_the_body_at_the_soft_deadline_and_not_before(
    faulty: Faulty, fault: Fault
) -> None:
    async def scene() -> None:
        store = faulty("a")
        async with election(SHORT) as standing:
            with pytest.raises(LeadershipLost) as lost:
                await work(store, standing)
            assert lost.value.reason == EndReason.EXPIRED
            store.mend()

    async def work(store: FaultyStore, standing: Election) -> None:
        async with await standing.next_tenure() as tenure:
            store.fail(fault)
            try:
                await asyncio.Event().wait()
            finally:
                assert now_ns() >= tenure.holding.deadlines.soft_ns
                assert tenure.remaining() == 0

    play(scene())


def test_an_unanswered_renewal_that_was_carried_out_does_not_prolong_what_we_believe(
    faulty: Faulty,
) -> None:
    async def scene() -> None:
        store = faulty("a")
        async with election(SHORT) as standing:
            with pytest.raises(LeadershipLost):
                await work(store, standing)
            store.mend()

    async def work(store: FaultyStore, standing: Election) -> None:
        async with await standing.next_tenure() as tenure:
            store.fail(Fault.UNHEARD)
            believed = tenure.holding.deadlines
            try:
                await asyncio.Event().wait()
            finally:
                assert tenure.holding.deadlines == believed

    play(scene())


def test_a_lease_that_somebody_took_away_ends_the_body_at_once(faulty: Faulty) -> None:
    async def scene() -> None:
        store = faulty("a")
        async with election() as standing:
            with pytest.raises(LeadershipLost) as lost:
                await work(store, standing)
            assert lost.value.reason == EndReason.LOST

    async def work(store: FaultyStore, standing: Election) -> None:
        async with await standing.next_tenure() as tenure:
            office = store.memory._offices["nightly"]
            thief = Candidate("thief", "thief#1")
            office.expires_at = 0
            assert await store.memory.acquire("nightly", thief, 10**9) == Granted(2)
            try:
                await asyncio.Event().wait()
            finally:
                with pytest.raises(LeadershipLost):
                    tenure.check()

    play(scene())


def test_after_an_outage_the_same_candidate_leads_again_under_a_higher_token(
    faulty: Faulty,
) -> None:
    async def scene() -> None:
        store, tokens = faulty("a"), []
        async with election(SHORT) as standing:

            async def work(tenure: Tenure) -> None:
                tokens.append(tenure.token)
                if len(tokens) > 1:
                    raise ArithmeticError
                store.fail(Fault.REFUSED)
                try:
                    await asyncio.Event().wait()
                finally:
                    store.mend()

            with pytest.raises(ArithmeticError):
                await standing.run(work, on_error="raise")
        assert tokens[0] < tokens[1]

    play(scene())


# -- outages while asking ------------------------------------------------------------------------


@pytest.mark.parametrize("fault", EVERY_FAULT)
@pytest.mark.parametrize("op", ["watch", "acquire"])
def test_an_acquisition_that_fails_is_tried_until_it_succeeds(
    faulty: Faulty, fault: Fault, op: str
) -> None:
    async def scene() -> None:
        store = faulty("a")
        store.fail(fault, op, times=2)
        async with election(SHORT) as standing:
            waits = asyncio.create_task(standing.next_tenure())
            await soon(lambda: store.calls[op] >= 1)
            if op == "watch" and fault in {Fault.STUCK, Fault.SILENT}:
                store.mend()  # one registration after the other
            async with await waits as tenure:
                tenure.check()
            store.mend()

    play(scene())


@pytest.mark.parametrize("fault", EVERY_FAULT)
def test_no_body_begins_without_an_office(faulty: Faulty, fault: Fault) -> None:
    """The store fails for good: whoever waits goes on waiting, and may stop."""

    async def scene() -> None:
        store = faulty("a")
        store.fail(fault)
        began = []

        @leader_only("nightly", store="faulty://a", timing=SHORT, wait="300ms")
        async def work() -> None:
            began.append(True)

        calls = asyncio.create_task(work())
        await soon(lambda: store.calls["watch"])
        with pytest.raises(NotLeader):
            await calls
        assert began == []

    play(scene())


@pytest.mark.parametrize("fault", [Fault.UNHEARD, Fault.SILENT])
def test_an_acquisition_in_doubt_counts_from_the_attempt_that_may_have_been_the_one(
    faulty: Faulty, fault: Fault, monkeypatch: pytest.MonkeyPatch
) -> None:
    first: list[int] = []
    timing = LeaseTiming.of("20s", request_timeout="100ms", retry_period="100ms")

    leads = Election._leads

    def note(standing: Election, holding: Holding) -> None:
        first.append(holding.deadlines.hard_ns)  # it is renewed at once
        leads(standing, holding)

    monkeypatch.setattr(Election, "_leads", note)

    async def scene() -> None:
        store = faulty("a")
        async with election(timing) as standing:
            store.fail(fault, "acquire", times=1)
            asked = now_ns()
            waits = asyncio.create_task(standing.next_tenure())
            await soon(lambda: holder(store) == "us")
            granted = now_ns()
            async with await waits as tenure:
                assert tenure.token == 1
            usable = standing.settings.timing.deadlines(0).hard_ns
            assert asked + usable <= first[0] <= granted + usable
            store.mend()

    play(scene())


def test_a_grant_that_comes_when_nobody_waits_for_it_is_given_back(faulty: Faulty) -> None:
    async def scene() -> None:
        store = faulty("a")
        async with election(LeaseTiming.of("20s", request_timeout="50ms")) as standing:
            store.fail(Fault.STUCK, "acquire")
            waits = asyncio.create_task(standing.next_tenure())
            await soon(lambda: store.calls["acquire"])
            waits.cancel()
            await asyncio.wait({waits})
            store.mend()  # it is granted only now
            async with election(BRISK, "other") as other, await other.next_tenure():
                pass

    play(scene())


def test_resigning_during_an_acquisition_gives_back_what_it_brings(faulty: Faulty) -> None:
    async def scene() -> None:
        store = faulty("a")
        timing = LeaseTiming.of("60s", cooldown="10ms", request_timeout="5s")
        async with election(timing) as standing:
            store.fail(Fault.SILENT, "acquire")
            waits = asyncio.create_task(standing.next_tenure())
            await soon(lambda: holder(store) == "us")
            await standing.resign()
            store.mend()
            # It goes on standing: the resignation was of that one office.
            async with await waits as tenure:
                assert tenure.token == 2

    play(scene())


# -- outages while leaving -----------------------------------------------------------------------


@pytest.mark.parametrize("fault", EVERY_FAULT)
def test_a_release_that_fails_is_tried_again(faulty: Faulty, fault: Fault) -> None:
    async def scene() -> None:
        store = faulty("a")
        timing = LeaseTiming.of("60s", request_timeout="50ms", retry_period="10ms")
        async with election(timing) as standing, await standing.next_tenure():
            store.fail(fault, "release", times=2)
        assert holder(store) is None
        store.mend()

    play(scene())


def test_a_body_is_left_when_the_office_has_been_given_back(faulty: Faulty) -> None:
    async def scene() -> None:
        store = faulty("a")

        async def lead(standing: Election) -> None:
            async with await standing.next_tenure():
                store.fail(Fault.STUCK, "release", times=1)
            assert holder(store) is None

        async with election(LeaseTiming.of("60s", request_timeout="5s")) as standing:
            leads = asyncio.create_task(lead(standing))
            await soon(lambda: store.calls["release"])
            assert not leads.done()
            store.mend()
            await leads

    play(scene())


@pytest.mark.parametrize("fault", KINDS_OF_FAULT)
def test_a_store_that_is_gone_does_not_hold_up_those_who_leave(
    faulty: Faulty, fault: Fault
) -> None:
    """Nothing is mended here: leaving comes to its end by itself."""

    async def scene() -> None:
        store = faulty("a")
        async with election(SHORT) as leading, election(SHORT, "waiting") as waiting:
            waits = asyncio.create_task(waiting.next_tenure())
            async with await leading.next_tenure():
                await soon(lambda: store.calls["acquire"] >= 2)
                store.fail(fault)
            waits.cancel()
            await asyncio.wait({waits})

    play(scene())


@pytest.mark.parametrize("op", ["watch", "acquire"])
def test_a_candidate_in_doubt_that_leaves_gives_back_what_it_may_have(
    faulty: Faulty, op: str
) -> None:
    async def scene() -> None:
        store = faulty("a")
        store.fail(Fault.UNHEARD, op, times=1)
        async with election(LeaseTiming.of("60s", retry_period="10s")) as standing:
            waits = asyncio.create_task(standing.next_tenure())
            await soon(lambda: store.calls[op])
            waits.cancel()
            await asyncio.wait({waits})
        assert holder(store) is None

    play(scene())


def test_an_adapter_that_breaks_while_it_closes_does_not_hold_up_those_who_leave(
    faulty: Faulty, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async def broken() -> None:
        raise ArithmeticError

    async def scene() -> None:
        monkeypatch.setattr(faulty("a"), "close", broken)
        async with election():
            pass

    play(scene())
    assert "ArithmeticError" in caplog.text


# -- joining -------------------------------------------------------------------------------------


def test_a_store_that_cannot_be_opened_is_an_error_of_entering(
    faulty: Faulty, monkeypatch: pytest.MonkeyPatch
) -> None:
    faulty("a")

    async def scene() -> None:
        async def refuses(_url: object) -> None:
            raise StoreUnavailable("not today")

        monkeypatch.setattr("elector.runtime.engine.open_store", refuses)
        with pytest.raises(StoreUnavailable, match="not today"):
            await election().__aenter__()
        with pytest.raises(StoreUnavailable, match="not today"):
            election().blocking().__enter__()
        monkeypatch.undo()

    play(scene())
    assert not Engine.current()._stores


def test_too_short_a_lease_is_refused_and_nothing_stays_open(faulty: Faulty) -> None:
    async def scene() -> None:
        store = faulty("a")
        with pytest.raises(ConfigurationError, match="raise ttl"):
            await election(LeaseTiming.of("100us")).__aenter__()
        assert store.closed == 1

    play(scene())


def test_a_store_is_shared_by_all_who_name_it_and_closed_by_the_last(faulty: Faulty) -> None:
    async def scene() -> None:
        store = faulty("a")
        async with election(), election(name="other"):
            assert len(Engine.current()._stores) == 1
            assert store.closed == 0
        assert store.closed == 1

    play(scene())


# -- observing -----------------------------------------------------------------------------------


def test_an_observer_sees_who_leads_without_standing(faulty: Faulty) -> None:
    async def scene() -> None:
        async with election(name="observer", wire="b") as observer, election() as leader:
            seen = aiter(observer.observe())
            assert await anext(seen) == Vacant()
            async with await leader.next_tenure():
                assert await anext(seen) == Led("us", 1)
                assert faulty("b").calls["acquire"] == 0
            assert await anext(seen) == Vacant()

    play(scene())


@pytest.mark.parametrize("fault", KINDS_OF_FAULT)
@pytest.mark.parametrize("stands", [True, False])
def test_while_the_store_is_down_who_leads_is_unknown(
    faulty: Faulty, fault: Fault, stands: bool
) -> None:
    async def scene() -> None:
        wire = faulty("b")
        async with election(SHORT) as leader, election(SHORT, "observer", "b") as observer:
            async with await leader.next_tenure():
                seen = aiter(observer.observe())
                waits = asyncio.create_task(observer.next_tenure()) if stands else None
                while await anext(seen) != Led("us", 1):
                    pass
                wire.fail(fault)
                assert isinstance(await anext(seen), Unknown)
                wire.mend()
                assert await anext(seen) == Led("us", 1)
            if waits is not None:
                waits.cancel()
                await asyncio.wait({waits})

    play(scene())


def test_a_store_that_is_down_from_the_beginning_is_unknown_to_an_observer(
    faulty: Faulty,
) -> None:
    async def scene() -> None:
        faulty("b").fail(Fault.REFUSED)
        async with election(SHORT, "observer", "b") as observer:
            seen = aiter(observer.observe())
            assert isinstance(await anext(seen), Unknown)
            faulty("b").mend()
            assert await anext(seen) == Vacant()

    play(scene())


def test_a_slow_reader_misses_values_in_between_but_never_the_latest(faulty: Faulty) -> None:
    async def scene() -> None:
        async with election(name="observer", wire="b") as observer, election() as leader:
            seen = aiter(observer.observe())
            quick = observer.observe()
            assert await anext(seen) == Vacant()
            for _ in range(3):
                async with await leader.next_tenure() as tenure:
                    last = Led("us", tenure.token)
                    while await anext(quick) != last:
                        pass
            while await anext(quick) != Vacant():
                pass
            assert await anext(seen) == Vacant()  # and not the three that were and are no more
            assert faulty("b").calls["watch"] == 1

    play(scene())


def test_observers_do_not_pile_up_nor_do_their_watches(faulty: Faulty) -> None:
    async def scene() -> None:
        store = faulty("a")
        async with election() as standing:
            for _ in range(50):
                assert await anext(aiter(standing.observe())) == Vacant()
            assert len(standing._observers or ()) <= 1
            assert store.watches == 1

    play(scene())


def test_observing_beside_standing_leaves_one_watch_whatever_the_order(faulty: Faulty) -> None:
    async def scene() -> None:
        store = faulty("a")
        store.delays = luck = random.Random(20310505)  # noqa: S311 - repeatable
        async with election(wire="b", name="leader") as leader, await leader.next_tenure():
            for _ in range(20):
                async with election() as standing:
                    for _ in range(3):
                        if luck.random() < 0.5:
                            standing.observe()
                        waits = asyncio.create_task(standing.next_tenure())
                        await asyncio.sleep(luck.choice([0, 0, 0.001]))
                        standing.observe()
                        if luck.random() < 0.5:
                            await soon(lambda: queue(store) == ["us"])
                        await asyncio.sleep(luck.choice([0, 0.001, 0.003]))
                        waits.cancel()
                        await asyncio.wait({waits})
                    await soon(lambda: store.watches == 1 and not queue(store))
                assert store.watches == 0
        store.delays = None

    play(scene(), 60)


# -- resigning through the store -------------------------------------------------------------------


def test_somebody_else_may_ask_the_leader_to_resign(faulty: Faulty) -> None:
    async def scene() -> None:
        store = faulty("a")
        async with election() as standing:
            with pytest.raises(LeadershipLost) as lost:
                await work(store, standing)
            assert lost.value.reason == EndReason.RESIGNED

    async def work(store: FaultyStore, standing: Election) -> None:
        async with await standing.next_tenure() as tenure:
            await store.ask(Ask("nightly", tenure.token + 1))  # of another tenure: not ours
            await store.ask(Ask("nightly", tenure.token))
            await asyncio.Event().wait()

    play(scene())


def test_somebody_else_may_ask_the_leader_to_hand_over(faulty: Faulty) -> None:
    async def scene() -> None:
        store = faulty("a")
        async with election() as us, election(name="heir") as heir, election(name="next") as other:
            with contextlib.suppress(LeadershipLost):
                async with await us.next_tenure() as tenure:
                    waits = asyncio.create_task(other.next_tenure())
                    await soon(lambda: store.calls["acquire"] >= 2)
                    inherits = asyncio.create_task(heir.next_tenure())
                    await soon(lambda: store.calls["acquire"] >= 3)
                    await store.ask(Ask("nightly", tenure.token, "heir"))
                    await asyncio.Event().wait()
            assert tenure.holding.stop_reason == EndReason.TRANSFERRED
            async with await inherits as tenure:
                assert tenure.token == 2
            async with await waits:
                pass

    play(scene())
