"""A short version of ``make faults``: every fault once, spread over the stores."""

from pathlib import Path

import pytest

from tests.faults.catalogue import CATALOGUE, Length
from tests.faults.sites import SITES, why_absent
from tests.faults.trial import Plan, carry_out

_SEED = 20_260
_SHARES: dict[str, list[tuple[str, Length]]] = {
    "sqlite": [
        ("leader killed", "blow"),
        ("leader paused", "brief"),
        ("leader paused writing", "long"),
        ("event loop blocked", "brief"),
        ("follower killed", "blow"),
        ("event loop blocked", "long"),
        ("leader told to leave", "blow"),
    ],
    "postgresql": [
        ("accepted, no answer", "brief"),
        ("replies cut", "long"),
        ("slow by seconds", "brief"),
        ("server restarted", "brief"),
        ("leader paused", "long"),
        ("server paused", "long"),
        ("connections reset", "blow"),
        ("election, requests cut", "long"),
    ],
    "redis": [
        ("connections refused", "brief"),
        ("requests cut", "long"),
        ("replies lost", "brief"),
        ("server killed, restarted", "brief"),
        ("slow by seconds", "long"),
        ("server paused", "brief"),
        ("election, replies lost", "long"),
    ],
    "etcd": [
        ("requests cut", "brief"),
        ("connections refused", "long"),
        ("leader paused writing", "brief"),
        ("accepted, no answer", "long"),
        ("slow, yet in time", "blow"),
        ("election, replies lost", "long"),
        ("server killed, restarted", "long"),
    ],
    "etcd-cluster": [
        ("its leader paused", "brief"),
        ("its leader killed", "long"),
        ("its leader paused", "long"),
        ("its leader killed", "brief"),
    ],
    "s3": [
        ("replies cut", "brief"),
        ("connections reset", "blow"),
        ("replies lost", "long"),
        ("election, requests cut", "long"),
        ("follower paused", "long"),
        ("leader told to leave", "blow"),
    ],
}


def test_nothing_is_left_out() -> None:
    assert set(_SHARES) == set(SITES)
    every = {(fault.name, length) for fault in CATALOGUE for length in fault.lengths}
    assert {deal for share in _SHARES.values() for deal in share} == every


@pytest.mark.parametrize("store", SITES)
def test_no_promise_is_broken(store: str, tmp_path: Path) -> None:
    assert why_absent(store) is None  # all of them come with the development tools
    named = {fault.name: fault for fault in CATALOGUE}
    deals = [(named[name], length) for name, length in _SHARES[store]]
    # Shorter than in earnest: what is left of the budget is for a machine that has more to do.
    report = carry_out(Plan(store, len(deals), _SEED, deals=deals, brief=(0.1, 0.4)), tmp_path)
    assert report.violations == [], f"seed {_SEED}, evidence in {report.evidence}"
    assert len(report.cycles) == len(deals)
