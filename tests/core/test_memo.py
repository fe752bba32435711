"""Steps are known for good, for protocols of which that is true."""

import pytest

from elector.core.effects import SetTimer
from elector.core.events import Start, TimerFired
from elector.core.identity import Candidate
from elector.core.memo import Interned, Memo
from elector.core.timing import LeaseTiming
from elector.protocols.lease import LeaseCandidate
from elector.protocols.raft import ELECTION, Raft, RaftEffect, RaftEvent, RaftState, Step
from elector.protocols.raft_settings import RaftSettings

PLAIN = RaftSettings.of("150ms", "300ms")
LEASED = RaftSettings.of("150ms", "300ms", lease=True)


class Counting(Raft):
    taken = 0

    def step(self, state: RaftState, event: RaftEvent) -> Step:
        self.taken += 1
        return super().step(state, event)


def test_a_protocol_that_keeps_clock_values_is_refused() -> None:
    with pytest.raises(ValueError, match="cannot be reused"):
        Memo(Raft(0, (0, 1, 2), LEASED))
    with pytest.raises(ValueError, match="cannot be reused"):
        Memo(LeaseCandidate(Candidate("a", "a#1"), LeaseTiming.of("15s")))


def test_a_step_is_taken_once() -> None:
    protocol = Counting(0, (0, 1, 2), PLAIN)
    memo: Memo[RaftState] = Memo(protocol)
    first = memo.number(protocol.initial())
    assert memo.step(first, Start(0)) == memo.step(first, Start(0))
    assert protocol.taken == 1
    assert memo.step(first, TimerFired(0, ELECTION)) != memo.step(first, Start(0))
    assert protocol.taken == 2


def test_it_says_what_the_protocol_says() -> None:
    protocol = Raft(0, (0, 1, 2), PLAIN)
    memo: Memo[RaftState] = Memo(protocol)
    state = protocol.initial()
    number = memo.number(state)
    event: RaftEvent
    for event in (Start(0), TimerFired(0, ELECTION), TimerFired(0, ELECTION)):
        effects: tuple[RaftEffect, ...]
        state, effects = protocol.step(state, event)
        number, told = memo.step(number, event)
        assert (memo.state(number), told) == (state, effects)
        assert any(isinstance(effect, SetTimer) for effect in effects)
    assert number == memo.number(state)
    assert number == 1, "the first event changed nothing, and the third neither"


def test_equal_values_have_one_number() -> None:
    seen = Interned[tuple[int, ...]]()
    numbers = [seen.number(value) for value in ((1,), (2,), (1,))]
    assert numbers == [0, 1, 0]
    assert (len(seen), seen.values) == (2, [(1,), (2,)])
