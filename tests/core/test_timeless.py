"""A protocol says that it is timeless; what is kept of its steps rests on that."""

import pytest

from elector.core.events import Start
from elector.core.identity import Candidate
from elector.core.memo import Memo
from elector.core.timing import LeaseTiming
from elector.protocols.lease import LeaseCandidate
from elector.protocols.raft import Raft
from elector.protocols.raft_settings import RaftSettings


def test_steps_that_keep_clock_values_are_not_reused() -> None:
    with pytest.raises(ValueError, match="cannot be reused"):
        Memo(LeaseCandidate(Candidate("a", "a#1"), LeaseTiming.of("15s")))
    with pytest.raises(ValueError, match="cannot be reused"):
        Memo(Raft(0, (0, 1, 2), RaftSettings.of(lease=True)))


def test_a_step_is_taken_once() -> None:
    memo = Memo(Raft(0, (0, 1, 2), RaftSettings.of()))
    begun = memo.number(memo.protocol.initial())
    assert memo.step(begun, Start(0)) is memo.step(begun, Start(0))
    assert memo.state(memo.step(begun, Start(0))[0]) == memo.protocol.initial()
