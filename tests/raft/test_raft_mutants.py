"""Bugs put into Raft on purpose; a law that catches none of them would not be worth its name.

The numbers are those of the mechanisms of real bugs that the project seeds everywhere.
Each mutant replaces some text of the source; if that text is gone, the test fails and
somebody has to look.
"""

import sys
from collections.abc import Iterator
from pathlib import Path
from random import Random
from types import ModuleType
from typing import NamedTuple

import pytest

from elector.protocols import raft
from tests.raft.raft_laws import LawBroken
from tests.raft.raft_swarm import misadventure, settings_of
from tests.raft.raft_world import CALM, MS, Faults, World

LIVES = 2000


class Mutant(NamedTuple):
    """A bug: where it is put, which law has to notice, in how large a group."""

    old: str
    new: str
    notices: str
    nodes: int = 3
    variant: str = "plain"


SAFETY = {
    "1 vote lost on restart": Mutant(
        "voted_for=durable.voted_for, log", "voted_for=None, log", "VoteOnce: forgot"
    ),
    "2 term lost on restart": Mutant("term=durable.term,", "term=0,", "VoteOnce: forgot"),
    "3 a second vote in one term": Mutant(
        "if state.voted_for not in {None, source} or message.log < state.log:",
        "if message.log < state.log:",
        "VoteOnce",
    ),
    "4 messages of a lower term accepted": Mutant(
        "        if message.term < state.term:", "        if False:", "TermUnique"
    ),
    "5 an old term's vote counted now": Mutant(
        "        if message.term < state.term:",
        "        if message.term < state.term and not isinstance(message, Vote):",
        "majority",
    ),
    "6 votes not cleared on a new candidacy": Mutant(
        "votes=frozenset({self.node}),",
        "votes=state.votes | {self.node},",
        "majority",
        4,
    ),
    "7 a repeated vote counted twice": Mutant(
        "votes=state.votes | {source})",
        "votes=state.votes | {(1 + source) * 100 ** len(state.votes)})",
        "majority",
        4,
    ),
    "8 half is a quorum": Mutant(
        "self.quorum = len(members) // 2 + 1",
        "self.quorum = (len(members) + 1) // 2",
        "majority",
        4,
    ),
    "10 sent before it is persisted": Mutant(
        "return left + kept + self._outputs(before, after) + effects",
        "return left + self._outputs(before, after) + effects + kept",
        "durable",
    ),
    "9 vote not cleared in a new term": Mutant(
        "term=message.term, voted_for=None)", "term=message.term)", "no leader"
    ),
    "11 PreVote ignores a lower term": Mutant(
        "            case RequestPreVote():\n"
        "                answer = PreVote(state.term, granted=False)\n"
        "            case Heartbeat():\n"
        "                answer = HeartbeatReply(state.term, _NEVER, state.log)\n",
        "",
        "no leader",
        3,
        "both",
    ),
    "12 a node that stands does not forget its leader": Mutant(
        "return replace(state, leader=None), (self._patience(state.leader, at),)",
        "return state, (self._patience(state.leader, at),)",
        "no leader",
        3,
        "both",
    ),
}
"""Number 8 as `len(members) // 2` would let each of three nodes elect itself at once; rounded
up it is the bug that three nodes cannot show."""

LEASE = {
    "17 lease counted from the reply": Mutant(
        "latest = tuple(max(ack, message.sent_at)",
        "latest = tuple(max(ack, at)",
        "LeaseDisjoint",
    ),
    "loyalty forgotten in a crash": Mutant(
        "state = replace(state, until=event.at + self.settings.election_ns)",
        "pass",
        "LeaseDisjoint",
    ),
    "lease kept while the heir is told to stand": Mutant(
        "after, effects = self._step_down(state, at)  # law 6: before the heir is told",
        "after, effects = state, ()",
        "LeaseDisjoint",
    ),
}

# The same bugs judged by their harm alone: two leaders of one term.
TWO_LEADERS = (
    "1 vote lost on restart",
    "3 a second vote in one term",
    "4 messages of a lower term accepted",
    "7 a repeated vote counted twice",
    "8 half is a quorum",
    "10 sent before it is persisted",
)


def mutated(mutant: Mutant) -> ModuleType:
    """Our code with one bug in it."""
    assert raft.__file__ is not None
    source = Path(raft.__file__).read_text(encoding="utf-8")
    found = source.count(mutant.old)
    assert found == 1, f"found {found} times, so this mutant is of no use: {mutant.old!r}"
    module = ModuleType("mutant of raft")
    sys.modules[module.__name__] = module  # msgspec looks up annotations there
    try:
        exec(source.replace(mutant.old, mutant.new), module.__dict__)  # noqa: S102 - our own source
    finally:
        del sys.modules[module.__name__]
    return module


def complaints(
    build: ModuleType, variant: str, nodes: int, *, only_leaders: bool = False
) -> Iterator[str]:
    """Every law seen broken in some lives, the last part of which is calm."""
    for seed in range(LIVES):
        random = Random(seed)  # noqa: S311 - a world
        try:
            world = misadventure(
                random, variant, nodes=nodes, build=build, only_leaders=only_leaders
            )
            if not only_leaders:
                recovers(world)
        except LawBroken as broken:
            yield f"{broken} (seed {seed})"


def lease_life(build: ModuleType, seed: int) -> None:
    """Three ways in which a leader's lease is put to the test, in turn."""
    random = Random(seed)  # noqa: S311 - a world
    lan = Faults(delay_ns=(1 * MS, 3 * MS), disk_ns=(0, 0))
    world = World(random, 3, settings_of("everything"), lan, build=build)
    world.run_until(world.agreed, 5_000 * MS)
    leader = world.leader
    assert leader is not None
    other, heir = sorted({0, 1, 2} - {leader})
    match seed % 3:
        case 0:  # answers to it are slow, and then nothing that it says arrives
            world.slow = leader
            world.run(random.randint(500, 600) * MS)
            world.mute = leader
        case 1:  # one follower does not hear it; the other one did, and restarts
            world.cut((leader, heir))
            world.run(random.randint(500, 600) * MS)
            world.isolate(leader)
            world.crash(other)
            world.restart(other)
        case _:  # it hands over, and hears nothing more
            world.transfer(leader, heir)
            world.run(random.randint(2, 9) * MS)
            world.isolate(leader)
    world.run(1_000 * MS)


def recovers(world: World) -> None:
    world.faults = CALM
    world.heal()
    for index in range(len(world.nodes)):
        world.append(index, (1, 2))
    world.run(600 * MS)
    try:
        world.run_until(world.agreed, 10_000 * MS)
    except AssertionError as late:
        raise LawBroken(f"no leader: {late}") from late


@pytest.mark.parametrize("name", SAFETY)
def test_a_bug_is_noticed(name: str) -> None:
    mutant = SAFETY[name]
    said = complaints(mutated(mutant), mutant.variant, mutant.nodes)
    assert any(mutant.notices in each for each in said), "it survived"


def two_leases(build: ModuleType) -> bool:
    for seed in range(60):
        try:
            lease_life(build, seed)
        except LawBroken as broken:
            if "LeaseDisjoint" in str(broken):
                return True
            raise
    return False


def test_leases_are_disjoint() -> None:
    assert not two_leases(raft)


@pytest.mark.parametrize("name", LEASE)
def test_a_bug_makes_two_leases_meet(name: str) -> None:
    assert two_leases(mutated(LEASE[name])), "nobody was harmed"


@pytest.mark.parametrize("name", TWO_LEADERS)
def test_a_bug_makes_two_lead_one_term(name: str) -> None:
    mutant = SAFETY[name]
    said = complaints(mutated(mutant), mutant.variant, mutant.nodes, only_leaders=True)
    assert any("TermUnique" in each for each in said), "nobody was harmed"


def test_a_mutant_whose_text_is_gone_is_reported() -> None:
    with pytest.raises(AssertionError, match="found 0 times"):
        mutated(Mutant("no such text", "", ""))
