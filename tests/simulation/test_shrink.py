"""A failing run is made small, and the small one fails in the same way."""

from pathlib import Path
from random import Random

import pytest
from msgspec.structs import replace

from elector.simulation.recording import again, write_failure
from elector.simulation.run import run
from elector.simulation.shrink import Failure, Shrinker, recorded
from elector.trace.ndjson import digest, read
from tests.mutants.catalogue import MUTANTS, Mutant
from tests.mutants.engines import build

SHOWN = [m for m in MUTANTS if m.number in {3, 7, 23, 29}]


def failure(mutant: Mutant) -> Failure:
    code = build(mutant)
    for seed in range(400):
        faults = mutant.faults(Random(seed))  # noqa: S311 - a world, not a secret
        world = replace(mutant.world, faults=faults)
        found = recorded(world, seed, code)
        if found is not None:
            return found
    raise AssertionError("no seed shows it")


@pytest.mark.parametrize("mutant", SHOWN, ids=lambda m: f"{m.number} {m.what}")
def test_it_becomes_small_and_fails_in_the_same_way(mutant: Mutant) -> None:
    begun, code = failure(mutant), build(mutant)
    smallest = Shrinker(begun, code, tries=250).shrink()
    assert smallest.violated == begun.violated
    before, after = begun.configuration, smallest.configuration
    assert before.faults is not None
    assert after.faults is not None
    assert after.duration_ns <= before.duration_ns
    assert after.nodes <= before.nodes
    assert len(after.faults.troubles) <= len(before.faults.troubles)
    size = sum(len(counts) for counts in smallest.tape.values())
    assert size * 4 < sum(len(counts) for counts in begun.tape.values())
    outcome = run(after, tape=smallest.tape, replay=True, build=code)
    assert outcome.violation is not None
    assert outcome.violation.name == begun.violated


def test_it_is_written_down_and_run_again(tmp_path: Path) -> None:
    """The file holds the run of the correct code here, so only that it is the same is asked."""
    smallest = Shrinker(failure(SHOWN[0]), build(SHOWN[0]), tries=60).shrink()
    path = tmp_path / "failure.ndjson"
    write_failure(smallest, path)
    head, told = read(path)
    once_more, _ = again(head)
    assert digest(told) == digest(once_more)
