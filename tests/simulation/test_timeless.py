"""Raft without a lease does not know what time it is: that is why its steps may be memoised.

A step at any instant is the step at another one, with its timers shifted. This is held against
every step of groups that live through faults, so in the states that are reached.
"""

from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from elector.core.effects import SetTimer
from elector.protocols import raft
from elector.protocols.raft import Raft, RaftEffect, RaftEvent, RaftState, Step
from elector.protocols.raft_settings import RaftSettings
from elector.simulation.faults import SECOND_NS
from elector.simulation.members import Make
from tests.mutants.mutation import mutated
from tests.raft.group import VARIANTS, misadventure, settings_of

TIMELESS = [variant for variant in VARIANTS if not settings_of(variant).lease]
LEASED = [variant for variant in VARIANTS if settings_of(variant).lease]


def shifted(effects: tuple[RaftEffect, ...], by: int) -> tuple[RaftEffect, ...]:
    return tuple(
        replace(effect, earliest=effect.earliest + by, latest=effect.latest + by)
        if isinstance(effect, SetTimer)
        else effect
        for effect in effects
    )


class Twice:
    """Makes nodes that take every step a second time, at another instant, and compare.

    Attributes:
        reached: the states from which steps were taken.
    """

    def __init__(self, instant: int, make: Make = Raft) -> None:
        self.instant = instant
        self.make = make
        self.reached = set[RaftState]()

    def __call__(self, node: int, members: tuple[int, ...], times: RaftSettings) -> Raft:
        made = self.make(node, members, times)
        once = made.step

        def step(state: RaftState, event: RaftEvent) -> Step:
            after, effects = once(state, event)
            then = once(state, replace(event, at=self.instant))
            assert then == (after, shifted(effects, self.instant - event.at)), "it knows the time"
            self.reached.add(state)
            return after, effects

        made.step = step  # type: ignore[method-assign] # this one node is watched
        return made


@given(
    variant=st.sampled_from(TIMELESS),
    seed=st.integers(0, 2**32),
    instant=st.integers(0, 10**9 * SECOND_NS),
    nodes=st.sampled_from((3, 4, 5)),
)
@settings(max_examples=60)
def test_a_step_is_the_same_at_any_instant(
    variant: str, seed: int, instant: int, nodes: int
) -> None:
    twice = Twice(instant)
    misadventure(Random(seed), variant, nodes=nodes, make=twice)  # noqa: S311 - a world
    assert len(twice.reached) > nodes


def knows(variant: str, make: Make) -> None:
    for seed in range(20):
        random = Random(seed)  # noqa: S311 - a world
        misadventure(random, variant, make=Twice(seed * SECOND_NS, make))


@pytest.mark.parametrize("variant", LEASED)
def test_with_a_lease_it_is_not(variant: str) -> None:
    with pytest.raises(AssertionError, match="it knows the time"):
        knows(variant, Raft)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("due = at + self.settings.heartbeat_ns", "due = self.settings.heartbeat_ns"),
        ("at if self.settings.lease else _NEVER", "at"),
        ("return replace(state, heard=_NOBODY), self", "return replace(state, until=at), self"),
    ],
    ids=["a timer", "a message", "the state"],
)
def test_a_clock_value_that_gets_anywhere_is_noticed(old: str, new: str) -> None:
    with pytest.raises(AssertionError, match="it knows the time"):
        knows("both", mutated(raft, old, new).Raft)
