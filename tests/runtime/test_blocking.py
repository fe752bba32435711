"""The front end for threads."""

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from typing import Literal

import pytest

from elector import (
    BlockingElection,
    BlockingTenure,
    ConfigurationError,
    Election,
    EndReason,
    LeadershipLost,
    LeaseTiming,
    NotLeader,
    Observation,
)
from elector.runtime.holding import Holding
from tests.runtime.waiting import in_line, play, until

LONG = "60s"


def election(store: str, candidate: str = "us") -> BlockingElection:
    return Election("nightly", store=store, candidate=candidate, ttl=LONG).blocking()


@contextmanager
def leading(standing: BlockingElection) -> Iterator[BlockingTenure]:
    with standing, standing.next_tenure() as tenure:
        yield tenure


def leads_promptly(store: str) -> int:
    with leading(election(store, "somebody-else")) as tenure:
        return tenure.token


@contextmanager
def beside(work: Callable[[], object]) -> Iterator["Future[object]"]:
    """Run something in another thread, and wait for its end."""
    result: Future[object] = Future()

    def run() -> None:
        try:
            result.set_result(work())
        except BaseException as error:  # noqa: BLE001 - handed over
            result.set_exception(error)

    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield result
    finally:
        thread.join(30)
        assert not thread.is_alive()


def test_a_body_is_entered_with_a_token_and_time_left(memory: str) -> None:
    with leading(election(memory)) as tenure:
        tenure.check()
        assert tenure.token == 1
        assert 0 < tenure.remaining() < 60
        assert not tenure.stopping
        assert not tenure.wait(0)
    with pytest.raises(LeadershipLost):
        tenure.check()


def test_an_election_has_to_be_entered(memory: str) -> None:
    with pytest.raises(NotLeader, match="enter the election first"):
        election(memory).next_tenure()


def test_an_election_is_entered_once(memory: str) -> None:
    with election(memory) as standing, pytest.raises(ConfigurationError, match="entered already"):
        standing.__enter__()


def test_waiting_has_an_end_if_asked(memory: str) -> None:
    with leading(election(memory, "leader")), election(memory) as standing:
        with pytest.raises(NotLeader, match="within 50ms"):
            standing.next_tenure("50ms")
        with pytest.raises(NotLeader, match="within 0s"):
            standing.next_tenure("0s")


def test_after_waiting_in_vain_one_can_wait_again(memory: str) -> None:
    with election(memory) as standing:
        with leading(election(memory, "leader")), pytest.raises(NotLeader):
            standing.next_tenure("10ms")
        with standing.next_tenure() as tenure:
            assert tenure.token == 2


def test_an_office_that_comes_too_late_is_given_back(
    memory: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Elected in the very moment in which waiting ends."""
    offered = threading.Event()
    leads = BlockingElection._leads

    def too_late(standing: BlockingElection, holding: Holding) -> None:
        leads(standing, holding)
        offered.set()

    monkeypatch.setattr(BlockingElection, "_leads", too_late)
    with election(memory) as standing:

        def gives_up(_until: int | None, wait: str | None) -> None:
            offered.wait()
            raise NotLeader(f"within {wait}")

        monkeypatch.setattr(standing, "_await_offer", gives_up)
        with pytest.raises(NotLeader):
            standing.next_tenure("1s")
        assert leads_promptly(memory) == 2


def test_a_body_is_woken_when_it_has_to_stop(memory: str) -> None:
    with election(memory) as standing, standing.next_tenure() as tenure:
        standing.resign()  # from the body: returns at once
        assert tenure.wait(30)
        assert tenure.stopping
        assert tenure.holding.stop_reason == EndReason.RESIGNED
        tenure.check()  # nobody else can lead as long as we drain
    assert leads_promptly(memory) == 2


def test_resigning_from_another_thread_waits_for_the_work_to_stop(memory: str) -> None:
    said: list[str] = []

    def resign() -> None:
        standing.resign()
        said.append("resigned")

    with election(memory) as standing, standing.next_tenure() as tenure, beside(resign):
        tenure.wait(30)
        said.append("stopped")
        tenure.__exit__(None, None, None)
        until(lambda: len(said) == 2)
    assert said == ["stopped", "resigned"]


def test_an_error_of_the_body_is_passed_on(memory: str) -> None:
    with pytest.raises(ArithmeticError), leading(election(memory)):
        raise ArithmeticError
    assert leads_promptly(memory) == 2


def test_an_interrupt_gives_the_office_back(memory: str) -> None:
    with pytest.raises(KeyboardInterrupt), leading(election(memory)):
        raise KeyboardInterrupt
    assert leads_promptly(memory) == 2


def test_an_interrupt_in_the_moment_of_leaving_the_body_gives_the_office_back_too(
    memory: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(BlockingTenure, "__exit__", interrupted)
        with pytest.raises(KeyboardInterrupt), leading(election(memory)):
            pass
    assert leads_promptly(memory) == 2


def test_a_tenure_that_is_never_entered_is_given_back(memory: str) -> None:
    with election(memory) as standing:
        for _ in standing.tenures():
            break
    assert leads_promptly(memory) == 2


def test_a_tenure_is_used_once(memory: str) -> None:
    with election(memory) as standing:
        with standing.next_tenure() as tenure:
            with pytest.raises(NotLeader, match="still at work"):
                standing.next_tenure()
            with pytest.raises(NotLeader, match="used already"):
                tenure.__enter__()
        unused = standing.next_tenure()
        with standing.next_tenure() as tenure:
            assert tenure.token == unused.token + 1
        with pytest.raises(NotLeader, match="given back unused"):
            unused.__enter__()


def test_leaving_ends_those_who_still_wait(memory: str) -> None:
    with leading(election(memory, "leader")):
        standing = election(memory, "waiting")
        with (
            standing,
            beside(standing.next_tenure) as waits,
            beside(lambda: list(standing.observe())) as watches,
        ):
            play(in_line(memory, "waiting"))
            until(lambda: standing._seen is not None)
            standing.__exit__(None, None, None)
            with pytest.raises(NotLeader, match="has left"):
                waits.result(30)
            watches.result(30)
            with pytest.raises(NotLeader, match="has left"):
                standing.next_tenure()


def test_leaving_from_another_thread_stops_the_body_first(memory: str) -> None:
    with (
        election(memory) as standing,
        standing.next_tenure() as tenure,
        beside(lambda: standing.__exit__(None, None, None)) as leaving,
    ):
        assert tenure.wait(30)
        assert not leaving.done()
        tenure.__exit__(None, None, None)
    assert leads_promptly(memory) == 2


@pytest.mark.parametrize("on_error", ["campaign", "raise"])
def test_run(memory: str, on_error: Literal["campaign", "raise"]) -> None:
    tokens: list[int] = []
    fast = LeaseTiming.of("1s", retry_period="10ms", cooldown="10ms")

    class Enough(BaseException):
        pass

    def work(tenure: BlockingTenure) -> None:
        tokens.append(tenure.token)
        if len(tokens) == 1:
            raise ArithmeticError
        if len(tokens) == 2:
            raise LeadershipLost("by hand")
        raise Enough

    comes_out = Enough if on_error == "campaign" else ArithmeticError
    standing = Election("nightly", store=memory, timing=fast).blocking()
    with standing, pytest.raises(comes_out):
        standing.run(work, on_error=on_error)
    assert tokens == ([1, 2, 3] if on_error == "campaign" else [1])


def test_transfer(memory: str) -> None:
    with election(memory, "us") as us, election(memory, "heir") as heir:
        with us.next_tenure() as tenure, beside(heir.next_tenure) as inherits:
            play(in_line(memory, "heir"))
            us.transfer("heir")
            assert tenure.wait(30)
            tenure.__exit__(None, None, None)
            inherited = inherits.result(30)
        assert isinstance(inherited, BlockingTenure)
        with inherited:
            assert inherited.token == 2


def test_two_candidates_of_one_name_are_still_two(memory: str) -> None:
    with election(memory, "same") as one, election(memory, "same") as other:
        with one.next_tenure(), pytest.raises(NotLeader):
            other.next_tenure("50ms")
        with other.next_tenure() as tenure:
            assert tenure.token == 2


def test_observing_from_a_thread(memory: str) -> None:
    seen: list[Observation] = []
    with election(memory) as standing, beside(lambda: seen.extend(standing.observe())):
        until(lambda: standing._seen is not None)
        with standing.next_tenure():
            until(lambda: "token=1" in repr(standing._seen))
        until(lambda: "Vacant" in repr(standing._seen))
        standing.__exit__(None, None, None)
    assert repr(seen[-1]) == "Vacant()"
