"""Bugs put into Raft on purpose; a property that catches none of them would not be worth its name.

Numbers and places are those of tests/mutants, where each bug has to be found by the property
that is named there. Here other properties have to find some of them as well, and three bugs
of the lease are added that the table does not have.
"""

from random import Random

import pytest

from elector.protocols import raft
from elector.protocols.raft import Raft
from elector.simulation import links
from elector.simulation.faults import MS, Delay, Weather
from elector.simulation.members import Make
from tests.mutants.catalogue import MUTANTS, Draw, restarts, stormy
from tests.mutants.engines import by_simulation
from tests.mutants.mutation import mutated
from tests.raft.group import Group, Violated, misadventure

BY_NUMBER = {mutant.number: mutant for mutant in MUTANTS}
LIVES = 2000
LEASED_LIVES = 60

# Bugs of the table that another property than the one named there has to notice: the rule that
# is broken, or the harm that comes of it, two leaders of one term; and in which weather.
NOTICED_TOO = (
    (3, "VoteOnce", stormy),
    (7, "TermUnique", stormy),
    (8, "Majority", stormy),
    (10, "TermUnique", restarts),
)

LEASE = {
    "17 lease counted from the reply": (
        "latest = tuple(max(ack, message.sent_at)",
        "latest = tuple(max(ack, at)",
    ),
    "loyalty forgotten in a crash": (
        "state = replace(state, until=event.at + self.settings.election_ns)",
        "pass",
    ),
    "lease kept while the heir is told to stand": (
        "after, effects = self._step_down(state, at)  # law 6: before the heir is told",
        "after, effects = state, ()",
    ),
}


@pytest.mark.parametrize(("number", "notices", "weather"), NOTICED_TOO)
def test_another_property_notices_it_too(number: int, notices: str, weather: Draw) -> None:
    mutant = BY_NUMBER[number]
    assert mutant.notices != notices, "the table judges that already"
    assert by_simulation(mutant._replace(notices=notices, faults=weather), LIVES), "it survived"


def with_bug(old: str, new: str) -> Make:
    """What makes a node of Raft with one place changed."""
    made: Make = mutated(raft, old, new).Raft
    return made


def forgets(make: Make, seed: int) -> bool:
    """Whether a node starts with another term or vote than it had."""
    try:
        misadventure(Random(seed), "plain", nodes=3, make=make)  # noqa: S311 - a world
    except Violated as violated:
        return violated.name == "Remembers"
    return False


@pytest.mark.parametrize("number", [1, 2])
def test_what_is_forgotten_is_noticed_at_the_restart(number: int) -> None:
    make = with_bug(BY_NUMBER[number].old, BY_NUMBER[number].new)
    assert any(forgets(make, seed) for seed in range(LIVES)), "it survived"


def lease_life(seed: int, make: Make) -> None:
    """Three ways in which a leader's lease is put to the test, in turn."""
    random = Random(seed)  # noqa: S311 - a world
    lan = Weather(delay=Delay("uniform", 1 * MS, 3 * MS), disk=(0, 0))
    world = Group(random, 3, "everything", lan, make=make)
    world.wait_for(world.agreed, 5_000 * MS)
    leader = world.leader()
    assert leader is not None
    other, heir = sorted({0, 1, 2} - {leader})
    match seed % 3:
        case 0:  # answers to it are slow, and then nothing that it says arrives
            world.slow(leader, 40 * MS)
            world.live(random.randint(500, 600) * MS)
            world.cut((leader, other), (leader, heir))
        case 1:  # one follower does not hear it; the other one did, and restarts
            world.cut(*links.both_ways([(leader, heir)]))
            world.live(random.randint(500, 600) * MS)
            world.isolate(leader)
            world.crash(other, world.now)
        case _:  # it hands over, and hears nothing more
            world.transfer(leader, heir)
            world.live(random.randint(2, 9) * MS)
            world.isolate(leader)
    world.live(1_000 * MS)


def two_leases(make: Make) -> bool:
    for seed in range(LEASED_LIVES):
        try:
            lease_life(seed, make)
        except Violated as violated:
            if violated.name == "LeaseDisjoint":
                return True
            raise
    return False


def test_leases_are_disjoint() -> None:
    assert not two_leases(Raft)


@pytest.mark.parametrize("name", LEASE)
def test_a_bug_makes_two_leases_meet(name: str) -> None:
    assert two_leases(with_bug(*LEASE[name])), "nobody was harmed"


def test_a_mutant_whose_text_is_gone_is_reported() -> None:
    with pytest.raises(AssertionError, match="found 0 times"):
        mutated(raft, "no such text", "")
