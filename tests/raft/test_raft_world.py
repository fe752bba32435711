"""The laws of Raft in worlds that misbehave, and what the options are good for.

TermUnique, VoteOnce, TermMonotone, durability and LeaseDisjoint are judged by `RaftLaws` in
every run, over messages that are lost, late, repeated and reordered, and over crashes
between any two effects.
"""

from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.raft.raft_laws import LawBroken
from tests.raft.raft_swarm import VARIANTS, misadventure, settings_of
from tests.raft.raft_world import CALM, MS, Faults, World

each_variant = pytest.mark.parametrize("variant", VARIANTS)
LAN = Faults(delay_ns=(1 * MS, 4 * MS), disk_ns=(0, 1 * MS), drift_ppm=10_000)
SEEDS = range(8)


def group(variant: str, seed: int, nodes: int = 5, drift_ppm: int = 10_000) -> World:
    """A group in good health, with a leader."""
    print(f"seed {seed}")  # noqa: T201 - shown when it fails
    lan = LAN._replace(drift_ppm=drift_ppm)
    world = World(Random(seed), nodes, settings_of(variant), lan)  # noqa: S311 - a world
    world.run_until(world.agreed, 30_000 * MS)
    return world


@given(
    random=st.randoms(use_true_random=False),
    variant=st.sampled_from(sorted(VARIANTS)),
    nodes=st.sampled_from((3, 4, 5)),
)
@settings(max_examples=30)
def test_the_laws_hold_in_worlds_that_hypothesis_thinks_of(
    random: Random, variant: str, nodes: int
) -> None:
    misadventure(random, variant, nodes=nodes)


@each_variant
def test_the_laws_hold_and_when_the_faults_end_a_leader_stays(variant: str) -> None:
    led = 0
    for seed in SEEDS:
        print(f"seed {seed}")  # noqa: T201 - shown when it fails
        world = misadventure(Random(seed), variant)  # noqa: S311 - a world
        led += len(world.laws.leaders)
        world.faults = CALM
        world.heal()
        for index in range(len(world.nodes)):
            world.append(index, (1, 2))
        world.run(600 * MS)  # what is on its way arrives, and the last down node comes back
        world.run_until(world.agreed, 30_000 * MS)
        leader, term = world.leader, world.term
        world.run(2_000 * MS)
        assert (world.leader, world.term) == (leader, term), "a stable leader was disturbed"
    assert led >= len(SEEDS) // 2, "these worlds elect too seldom to show anything"


def returns_from_exile(variant: str, seed: int) -> tuple[World, bool]:
    """Isolate a follower for long, let it come back; was the leader disturbed?"""
    world = group(variant, seed)
    leader, term = world.leader, world.term
    assert leader is not None
    world.isolate((leader + 1) % 5)
    world.run(3_000 * MS)
    world.heal()
    world.run(1_000 * MS)
    return world, (world.leader, world.term) != (leader, term)


@pytest.mark.parametrize("variant", ["pre-vote", "both", "lease", "staggered", "everything"])
def test_with_pre_vote_an_isolated_server_disturbs_nobody_when_it_returns(variant: str) -> None:
    for seed in SEEDS:
        world, disturbed = returns_from_exile(variant, seed)
        assert not disturbed
        assert world.agreed()


@pytest.mark.parametrize("variant", ["plain", "check-quorum"])
def test_without_pre_vote_it_does(variant: str) -> None:
    assert all(returns_from_exile(variant, seed)[1] for seed in SEEDS)


def removed(variant: str, seed: int) -> int:
    """Terms begun while one server gets no heartbeats but is heard by the others (4.2.3)."""
    world = group(variant, seed)
    leader, term = world.leader, world.term
    assert leader is not None
    world.cut((leader, (leader + 1) % 5))
    world.run(1_000 * MS)
    return max(world.laws.leaders) - term


def test_check_quorum_keeps_votes_from_a_server_that_hears_no_heartbeats() -> None:
    for variant in ("check-quorum", "both", "pre-vote"):
        assert not any(removed(variant, seed) for seed in SEEDS), variant
    assert all(removed("plain", seed) for seed in SEEDS)


def blocked(variant: str, seed: int) -> bool:
    """Whether a leader heard by all, and answered by too few, keeps the rest from electing."""
    world = group(variant, seed)
    leader = world.leader
    assert leader is not None
    rest = [node for node in range(5) if node != leader]
    world.deaf = leader
    world.run(1_500 * MS)
    return not any(world.laws.led[node] for node in rest) or world.leader == leader


def test_check_quorum_unblocks_a_majority_whose_leader_hears_nothing() -> None:
    assert not any(blocked("both", seed) for seed in SEEDS)
    assert all(blocked("pre-vote", seed) for seed in SEEDS)


@each_variant
def test_a_crashed_leader_is_replaced_and_the_old_one_follows(variant: str) -> None:
    for seed in SEEDS[:5]:
        world = group(variant, seed)
        old, term = world.leader, world.term
        assert old is not None
        world.crash(old)
        world.run_until(world.agreed, 30_000 * MS)
        assert world.leader != old
        assert world.term > term
        world.restart(old)
        world.run_until(world.agreed, 30_000 * MS)
        assert world.leader != old


@each_variant
def test_office_goes_to_the_heir_without_an_election_timeout(variant: str) -> None:
    for seed in SEEDS[:5]:
        world = group(variant, seed)
        old = world.leader
        assert old is not None
        heir = next(node for node in (1, 2) if node != old)
        world.transfer(old, heir)
        assert world.run_until(world.agreed_on(heir), 100 * MS) < 50 * MS


def test_an_heir_that_is_gone_costs_nothing() -> None:
    world = group("both", 1)
    old, term = world.leader, world.term
    assert old is not None
    heir = (old + 1) % 5
    world.crash(heir)
    world.run(10 * MS)  # nothing of it is on its way any more
    world.transfer(old, heir)
    world.run(1_000 * MS)
    assert (world.leader, world.term) == (old, term)


def test_by_rank_the_order_of_successors_is_the_order_of_priorities() -> None:
    for seed in SEEDS:
        world = group("everything", seed)
        if world.leader != 2:
            world.transfer(world.leader or 0, 2)
            world.run_until(world.agreed_on(2), 2_000 * MS)
        world.crash(2)
        world.run_until(world.agreed_on(1), 1_000 * MS)
        assert 0 not in world.laws.leaders.values(), "priority 0 never leads"


def leases_met(drift_ppm: int) -> bool:
    """Whether two leases were ever held at once when leaders were cut off."""
    for seed in SEEDS:
        try:
            world = group("lease", seed, drift_ppm=drift_ppm)
            slowest = min(range(5), key=lambda node: world.nodes[node].rate_ppm)
            if world.leader != slowest:  # for the first to stand has a fast clock
                world.transfer(world.leader or 0, slowest)
                world.run_until(world.agreed_on(slowest), 10_000 * MS)
            world.isolate(slowest)
            world.run(1_000 * MS)
        except LawBroken as broken:
            if "LeaseDisjoint" in str(broken):
                return True
            raise
    return False


def test_the_lease_needs_the_drift_bound() -> None:
    assert World(Random(0), 3, settings_of("lease")).nodes[0].protocol.requires.drift_bound  # noqa: S311
    assert leases_met(drift_ppm=400_000)
    assert not leases_met(drift_ppm=10_000)


def test_nothing_else_needs_the_drift_bound() -> None:
    assert not World(Random(0), 3, settings_of("both")).nodes[0].protocol.requires.drift_bound  # noqa: S311
    for seed in SEEDS:
        misadventure(Random(seed), "both", drift_ppm=400_000)  # noqa: S311 - a world
