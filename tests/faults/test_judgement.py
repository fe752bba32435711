"""What is broken on purpose is seen: each promise, once, on real processes."""

import doctest
from pathlib import Path

import pytest

from elector.clock import now_ns
from tests.faults import evidence, trial, waiting
from tests.faults.catalogue import CATALOGUE, Length
from tests.faults.report import StoreReport
from tests.faults.trial import Plan, carry_out

_SABOTAGE = Path(__file__).parent / "sabotage"


def broken(what: str, place: Path, *faults: tuple[str, Length]) -> StoreReport:
    """The trial of candidates among which this is broken."""
    named = {fault.name: fault for fault in CATALOGUE}
    deals = [(named[name], length) for name, length in faults]
    environment = {"PYTHONPATH": str(_SABOTAGE), "SABOTAGE": what}
    return carry_out(Plan("sqlite", len(deals), 1, deals=deals, environment=environment), place)


def test_a_guard_that_lets_everybody_in(tmp_path: Path) -> None:
    report = broken("guard", tmp_path, ("leader paused writing", "long"))
    assert any("accepted a stale write" in violation for violation in report.violations)
    assert report.refused == 0


def test_work_that_goes_on(tmp_path: Path) -> None:
    # The guard refuses what it writes, and it is seen all the same: unless, in one trial, the loop
    # comes back before the successor does.
    seen = ("went on working", "was still at work when")
    violations: list[str] = []
    for number in range(4):
        place = tmp_path / f"{number}"
        place.mkdir()
        report = broken("work", place, ("event loop blocked", "long"), ("follower killed", "blow"))
        violations += report.violations
        if any(words in each for words in seen for each in violations):
            return
    raise AssertionError(violations)


def test_a_store_that_grants_twice(tmp_path: Path) -> None:
    report = broken("twice", tmp_path, ("follower killed", "blow"))
    assert any("was still at work when" in violation for violation in report.violations)


def test_a_store_that_forgets_leases(tmp_path: Path) -> None:
    report = broken("forgetful", tmp_path, ("follower paused", "long"))
    assert any("lost its office" in each for each in report.violations + report.doubts)
    assert report.cycles[0].needless != "no"


def test_an_office_that_stays_vacant(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(waiting, "PATIENCE_S", 12.0)
    report = broken("vacant", tmp_path, ("leader killed", "blow"))
    assert any("waited 12 s for a leader at work" in each for each in report.violations)


def test_a_candidate_that_ends_by_itself(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(waiting, "PATIENCE_S", 12.0)  # it is started anew, and ends again
    report = broken("mortal", tmp_path, ("follower paused", "long"))
    assert any("ended by itself with exit code 3" in each for each in report.violations), report


def test_a_busy_machine_gets_the_benefit_of_the_doubt(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(trial, "waiting_for_cpu_ns", now_ns)  # somebody waits all the time
    report = broken("forgetful", tmp_path, ("follower killed", "blow"))
    assert report.violations == []
    assert any("lost its office" in doubt for doubt in report.doubts)


def test_the_examples_of_the_judge() -> None:
    assert doctest.testmod(evidence).failed == 0
