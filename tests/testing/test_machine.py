"""The state machine of the conformance kit finds what a naive store would not do."""

from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis.stateful import run_state_machine_as_test

from elector.stores.port import Store
from elector.testing.stores import LawBroken, store_machine
from tests.stores.worlds import Clock
from tests.testing import broken_news, broken_offices
from tests.testing.remote import Remote

FOUND = settings(
    max_examples=200,
    stateful_step_count=30,
    deadline=None,
    phases=[Phase.generate],
    suppress_health_check=list(HealthCheck),
    derandomize=True,
    database=None,
)


def opener(kind: type[Remote], name: object, clock: Clock) -> Callable[[], Awaitable[Store]]:
    async def opened() -> Store:
        return kind(str(name), clock)

    return opened


@pytest.mark.parametrize(
    "kind",
    [
        broken_offices.EachHasItsOwn,
        broken_offices.NamesakesAreOne,
        broken_offices.ForgetsTokensWhenClosed,
        broken_offices.OneTokenForAll,
        broken_offices.NewTokenForWhoAsksAgain,
        broken_offices.RenewsWithoutLookingAtTheToken,
        broken_offices.ReleasesForNamesakes,
        broken_offices.GivesUpWhenClosed,
        broken_offices.HalfALease,
        broken_offices.RenewsNothing,
        broken_offices.DoesNotProlongWhoAsksAgain,
        broken_offices.SameTokenForWhoComesBack,
        broken_news.StaleReplica,
    ],
)
def test_a_broken_store_is_found_out(tmp_path: Path, kind: type[Remote]) -> None:
    clock = Clock()
    machine = store_machine(opener(kind, tmp_path, clock), advance=clock.advance)
    with pytest.raises(LawBroken):
        run_state_machine_as_test(machine, settings=FOUND)


def test_a_sound_store_is_not(tmp_path: Path) -> None:
    clock = Clock()
    machine = store_machine(opener(Remote, tmp_path, clock), advance=clock.advance)
    quick = settings(FOUND, max_examples=30)
    run_state_machine_as_test(machine, settings=quick)


def test_it_needs_no_clock_of_ours() -> None:
    machine = store_machine("memory://machine")
    quick = settings(FOUND, max_examples=30)
    run_state_machine_as_test(machine, settings=quick)
