"""Ways to find a bug, and how long each took."""

from collections.abc import Callable
from random import Random
from typing import NamedTuple

from msgspec.structs import replace

from elector.protocols import lease, raft
from elector.simulation import lease as lease_world
from elector.simulation import store
from elector.simulation.run import Build, run
from tests.mutants.catalogue import Mutant
from tests.mutants.mutation import mutated

FIRST_SEEDS = 0
_SEEDS = 1000


class Catch(NamedTuple):
    """That a bug was found.

    Attributes:
        effort: how many seeds, or how many states, it took.
        text: what the property said.
    """

    effort: int
    text: str


def build(mutant: Mutant) -> Build:
    """Our code with the bug in it."""
    if mutant.module is raft:
        return Build(raft=mutated(raft, mutant.old, mutant.new).Raft)
    if mutant.module is lease:
        return Build(lease=mutated(lease, mutant.old, mutant.new).LeaseCandidate)
    if mutant.module is store:
        return Build(register=mutated(store, mutant.old, mutant.new).Register)
    if mutant.module is lease_world:
        return Build(candidates=mutated(lease_world, mutant.old, mutant.new).Candidates)
    return Build()


def by_simulation(mutant: Mutant, seeds: int = _SEEDS, first: int = FIRST_SEEDS) -> Catch | None:
    """Run seeds until the property is violated.

    Only that property is judged, and what the faults void is not excused: that the bug is
    found is what is asked here.
    """
    code = build(mutant)
    for number in range(seeds):
        seed = first + number
        faults = mutant.faults(Random(seed))  # noqa: S311 - a world, not a secret
        world = replace(mutant.world, faults=faults)
        outcome = run(world, seed, properties=(mutant.notices,), build=code, excuses=False)
        if outcome.violation is not None:
            return Catch(number + 1, outcome.violation.text)
    return None


ENGINES: dict[str, Callable[[Mutant], Catch | None]] = {"simulation": by_simulation}
