"""Ways to find a bug, and how long each took."""

from collections.abc import Callable
from random import Random
from typing import NamedTuple

from msgspec.structs import replace

from elector.core.peers import NO_LOG, Position
from elector.properties.catalogue import PROPERTIES
from elector.protocols import lease, raft
from elector.simulation import lease as lease_world
from elector.simulation import store
from elector.simulation.run import Build, run
from elector.verification.fairness import Situation, find_lasso
from elector.verification.kind import both_ways, everyone
from elector.verification.members import explore
from elector.verification.scope import PLAIN, Scope, Violation
from tests.mutants.catalogue import Mutant
from tests.mutants.mutation import mutated
from tests.verification.lease_bugs import BUGS, hunt

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
        candidate = mutated(lease, mutant.old, mutant.new).LeaseCandidate
        return Build(lease=candidate, register=_register(mutant))
    if mutant.module is store:
        return Build(register=mutated(store, mutant.old, mutant.new).Register)
    if mutant.module is lease_world:
        return Build(candidates=mutated(lease_world, mutant.old, mutant.new).Candidates)
    return Build(register=_register(mutant))


def _register(mutant: Mutant) -> store.MakeRegister:
    """Where observers expire a lease, a store that does not prolong for one that asks again.

    Ours does, which makes up for a candidate that does not know what it has asked before.
    """

    def not_prolonging(model: store.Model, ttl_ns: int) -> store.Register:
        return store.Register(model._replace(prolongs=False), ttl_ns)

    return not_prolonging if store.model_named(mutant.world.store).observed else store.Register


def by_simulation(mutant: Mutant, seeds: int = _SEEDS, first: int = FIRST_SEEDS) -> Catch | None:
    """Run seeds until the property is violated.

    Only that property is judged, and what the faults void is not excused: that the bug is
    found is what is asked here.
    """
    if mutant.notices not in PROPERTIES:
        return None
    code = build(mutant)
    for number in range(seeds):
        seed = first + number
        faults = mutant.faults(Random(seed))  # noqa: S311 - a world, not a secret
        world = replace(mutant.world, faults=faults)
        outcome = run(world, seed, properties=(mutant.notices,), build=code, excuses=False)
        if outcome.violation is not None:
            return Catch(number + 1, outcome.violation.text)
    return None


def by_exploration(mutant: Mutant) -> Catch | None:
    """Try everything in the smallest world that is known to show it."""
    if mutant.number in MEMBERS:
        where = MEMBERS[mutant.number]
        scope = Scope(nodes=where.nodes, terms=where.terms, restarts=where.restarts)
        members = explore(scope, build(mutant).raft, (where.notices,))
        return _catch(members.progress.states, members.violation)
    bugs = [bug for bug in BUGS.values() if bug.number == mutant.number]
    if not bugs:
        return None
    candidates = hunt(bugs[0])
    return _catch(candidates.progress.states, candidates.violation)


def by_lasso(mutant: Mutant) -> Catch | None:
    """Look for a fair way to go on for ever without a stable leader."""
    if mutant.number not in LASSOS:
        return None
    found = find_lasso(LASSOS[mutant.number], build(mutant).raft)
    return _catch(found.states, found.violation)


def _catch(states: int, violation: Violation | None) -> Catch | None:
    return None if violation is None else Catch(states, violation.text)


class Where(NamedTuple):
    """A scope of members, and the property that is violated in it."""

    nodes: int
    terms: int
    restarts: int
    notices: str = "TermUnique"


# The smallest worlds known; 9 and 11 to 14 only cost progress: see LASSOS.
MEMBERS = {
    1: Where(3, 1, 1),
    2: Where(3, 1, 1),
    3: Where(3, 1, 0),
    4: Where(3, 2, 0),
    5: Where(3, 2, 0),
    6: Where(4, 2, 0),
    7: Where(4, 1, 0),
    8: Where(4, 1, 0),
    10: Where(3, 1, 1),
}

_BOTH = replace(PLAIN, pre_vote=True, check_quorum=True)
_ALL, _TWO = everyone(3), both_ways((1, 2))
_LOG: Position = (1, 1)

# A leader that is lost; unequal logs and terms; a leader that is heard and hears nobody; and the
# links 1-2, 1-3, 2-3, 2-4, 3-5 of five nodes, counted from 0.
LASSOS = {
    9: Situation(nodes=3, settings=PLAIN, links=_TWO, before=(_ALL,)),
    11: Situation(nodes=3, settings=_BOTH, links=_TWO, disks=((0, NO_LOG), (1, _LOG), (3, NO_LOG))),
    12: Situation(nodes=3, settings=_BOTH, links=_TWO, before=(_ALL,)),
    13: Situation(nodes=3, settings=_BOTH, links=_ALL - {(1, 0), (2, 0)}, before=(_ALL,)),
    14: Situation(
        nodes=5,
        settings=PLAIN,
        links=both_ways((0, 1), (0, 2), (1, 2), (1, 3), (2, 4)),
        before=(everyone(5),),
    ),
}

ENGINES: dict[str, Callable[[Mutant], Catch | None]] = {
    "simulation": by_simulation,
    "exploration": by_exploration,
    "lassos": by_lasso,
}
