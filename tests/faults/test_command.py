"""The command behind ``make faults``."""

import os
import subprocess
import sys
from itertools import islice
from pathlib import Path
from random import Random

import msgspec

from tests.faults.catalogue import possible
from tests.faults.report import Report
from tests.faults.sites import Site
from tests.faults.trial import Deal, deck

_ROOT = Path(__file__).parents[2]
_SABOTAGE = Path(__file__).parent / "sabotage"


def run(*arguments: str, **environment: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, "-m", "tests.faults", *arguments],
        cwd=_ROOT,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=False,
        timeout=90,
    )


def test_a_good_run_leaves_a_report_and_nothing_else(tmp_path: Path) -> None:
    done = run("--stores=sqlite", "--cycles=2", "--seed=1", "--json", TMPDIR=str(tmp_path))
    assert done.returncode == 0, done.stderr
    report = msgspec.json.decode(done.stdout, type=Report)
    assert report.ok
    [store] = report.stores
    assert (store.store, store.seed, len(store.cycles), store.evidence) == ("sqlite", 1, 2, None)
    assert store.writes > 0
    assert list(tmp_path.iterdir()) == []
    assert "seed 1;" in done.stderr


def test_the_same_seed_draws_the_same_faults() -> None:
    site = Site(server="none", urls={})
    many = len(possible(site))

    def drawn(seed: int) -> list[Deal]:
        return list(islice(deck(site, Random(seed)), 2 * many))  # noqa: S311 - repeatable

    assert drawn(1) == drawn(1) != drawn(2)
    assert {deal[0].name for deal in drawn(1)[:many]} == {deal[0].name for deal in possible(site)}


def test_a_violation_is_told_and_the_evidence_kept(tmp_path: Path) -> None:
    sabotage = {"SABOTAGE": "twice", "PYTHONPATH": str(_SABOTAGE), "TMPDIR": str(tmp_path)}
    done = run("--stores=sqlite", "--cycles=1", "--seed=1", **sabotage)
    assert done.returncode == 1
    assert "VIOLATION cycle 1: " in done.stdout
    assert "was still at work when" in done.stdout
    [kept] = tmp_path.iterdir()
    assert f"the evidence is kept in {kept}" in done.stdout
    assert list(kept.glob("*.witness"))


def test_a_store_that_nobody_knows() -> None:
    done = run("--stores=chubby")
    assert done.returncode == 2
    assert "no store is called chubby" in done.stderr
