"""The laws of Raft in worlds that misbehave, and what the options are good for.

TermUnique, VoteOnce, Durable, TermMonotone, Majority and LeaseDisjoint are judged by `Group`
in every run, over messages that are lost, late, repeated and reordered, and over crashes
between any two effects.
"""

from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from elector.simulation import links
from elector.simulation.faults import MS, Delay, Weather
from tests.raft.group import NEVER, VARIANTS, Group, Violated, misadventure

each_variant = pytest.mark.parametrize("variant", VARIANTS)
SEEDS = range(8)


def seeded(seed: int) -> Random:
    print(f"seed {seed}")  # noqa: T201 - shown when it fails
    return Random(seed)  # noqa: S311 - a world


def group(variant: str, seed: int, drift_ppm: int = 10_000) -> Group:
    """Five nodes in good health, with a leader."""
    lan = Weather(delay=Delay("uniform", 1 * MS, 4 * MS), disk=(0, 1 * MS), drift_ppm=drift_ppm)
    world = Group(seeded(seed), 5, variant, lan)
    world.wait_for(world.agreed, 30_000 * MS)
    return world


def leading(world: Group) -> int:
    leader = world.leader()
    assert leader is not None
    return leader


@given(
    random=st.randoms(use_true_random=False),
    variant=st.sampled_from(sorted(VARIANTS)),
    nodes=st.sampled_from((3, 4, 5)),
)
@settings(max_examples=60)
def test_the_laws_hold_in_worlds_that_hypothesis_thinks_of(
    random: Random, variant: str, nodes: int
) -> None:
    misadventure(random, variant, nodes=nodes)


@each_variant
def test_the_laws_hold_and_when_the_faults_end_a_leader_stays(variant: str) -> None:
    led = 0
    for seed in SEEDS:
        world = misadventure(seeded(seed), variant)
        led += len(world.leaders)
        world.recover()
    assert led >= len(SEEDS) // 2, "these worlds elect too seldom to show anything"


def returns_from_exile(variant: str, seed: int) -> tuple[Group, bool]:
    """Isolate a follower for long, let it come back; was the leader disturbed?"""
    world = group(variant, seed)
    leader, term = leading(world), world.term()
    world.isolate((leader + 1) % 5)
    world.live(3_000 * MS)
    world.heal()
    world.live(1_000 * MS)
    return world, (world.leader(), world.term()) != (leader, term)


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
    leader, term = leading(world), world.term()
    world.cut(*links.both_ways([(leader, (leader + 1) % 5)]))
    world.live(1_000 * MS)
    return max(world.leaders) - term


def test_check_quorum_keeps_votes_from_a_server_that_hears_no_heartbeats() -> None:
    for variant in ("check-quorum", "both", "pre-vote"):
        assert not any(removed(variant, seed) for seed in SEEDS), variant
    assert all(removed("plain", seed) for seed in SEEDS)


def blocked(variant: str, seed: int) -> bool:
    """Whether a leader heard by all, and answered by none, keeps the rest from electing."""
    world = group(variant, seed)
    leader, terms = leading(world), set(world.leaders)
    world.cut(*links.deaf(leader, 5))
    world.live(1_500 * MS)
    others = {who for term, who in world.leaders.items() if term not in terms} - {leader}
    return not others or world.leader() == leader


def test_check_quorum_unblocks_a_majority_whose_leader_hears_nothing() -> None:
    assert not any(blocked("both", seed) for seed in SEEDS)
    assert all(blocked("pre-vote", seed) for seed in SEEDS)


@each_variant
def test_a_crashed_leader_is_replaced_and_the_old_one_follows(variant: str) -> None:
    for seed in SEEDS[:5]:
        world = group(variant, seed)
        old, term = leading(world), world.term()
        world.crash(old, NEVER)
        world.wait_for(world.agreed, 30_000 * MS)
        assert world.leader() != old
        assert world.term() > term
        world.boot(old)
        world.wait_for(world.agreed, 30_000 * MS)
        assert world.leader() != old


@each_variant
def test_office_goes_to_the_heir_without_an_election_timeout(variant: str) -> None:
    for seed in SEEDS[:5]:
        world = group(variant, seed)
        old = leading(world)
        heir = next(node for node in (1, 2) if node != old)
        world.transfer(old, heir)
        assert world.wait_for(world.agreed_on(heir), 100 * MS) < 50 * MS


def test_an_heir_that_is_gone_costs_nothing() -> None:
    world = group("both", 1)
    old, term = leading(world), world.term()
    heir = (old + 1) % 5
    world.crash(heir, NEVER)
    world.live(10 * MS)  # nothing of it is on its way any more
    world.transfer(old, heir)
    world.live(1_000 * MS)
    assert (world.leader(), world.term()) == (old, term)


def successor(seed: int, drift_ppm: int) -> int:
    """Who follows a leader that crashed, where the order is 2, 1, 3, 4, and 0 never stands."""
    world = group("everything", seed, drift_ppm)
    if world.leader() != 2:
        world.transfer(leading(world), 2)
        world.wait_for(world.agreed_on(2), 2_000 * MS)
    world.crash(2, NEVER)
    world.wait_for(world.agreed, 1_000 * MS)
    assert 0 not in world.leaders.values(), "priority 0 never leads"
    return leading(world)


def test_by_rank_the_order_of_successors_is_the_order_of_priorities() -> None:
    assert {successor(seed, drift_ppm=0) for seed in SEEDS} == {1}


def test_a_first_successor_whose_clock_is_fast_may_come_too_early_and_then_the_next_leads() -> None:
    followed = [successor(seed, drift_ppm=10_000) for seed in range(40)]
    assert set(followed) == {1, 3}
    assert followed.count(1) >= 32


def leases_met(drift_ppm: int) -> bool:
    """Whether two leases were ever held at once when leaders were cut off."""
    for seed in SEEDS:
        try:
            world = group("lease", seed, drift_ppm=drift_ppm)
            slowest = min(range(5), key=lambda node: world.clocks[node].ppm)
            if world.leader() != slowest:  # for the first to stand has a fast clock
                world.transfer(leading(world), slowest)
                world.wait_for(world.agreed_on(slowest), 10_000 * MS)
            world.isolate(slowest)
            world.live(1_000 * MS)
        except Violated as violated:
            if violated.name == "LeaseDisjoint":
                return True
            raise
    return False


def test_the_lease_needs_the_drift_bound() -> None:
    assert group("lease", 0).protocols[0].requires.drift_bound
    assert leases_met(drift_ppm=400_000)
    assert not leases_met(drift_ppm=10_000)


def test_nothing_else_needs_the_drift_bound() -> None:
    assert not group("both", 0).protocols[0].requires.drift_bound
    for seed in SEEDS:
        misadventure(seeded(seed), "both", drift_ppm=400_000)
