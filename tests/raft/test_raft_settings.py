"""Settings that cannot work are refused, with the number to change."""

from typing import Any

import msgspec
import pytest

from elector.core.peers import Delivered, Persist, Send
from elector.core.protocol import Protocol
from elector.errors import ConfigurationError
from elector.protocols.raft import Raft, RaftEffect, RaftEvent, RaftState
from elector.protocols.raft_messages import Ballot, RaftMessage, RequestVote
from elector.protocols.raft_settings import RaftSettings

MS = 1_000_000


def test_one_range_is_enough() -> None:
    settings = RaftSettings.of("150ms", "300ms")
    assert (settings.election_ns, settings.spread_ns) == (150 * MS, 150 * MS)
    assert settings.heartbeat_ns == 75 * MS
    assert settings.sticky
    assert not settings.lease
    assert settings.priority(3) == 1


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        ({"least": "300ms", "greatest": "150ms"}, "less than the least"),
        ({"heartbeat": "1s"}, "heartbeat every 1s does not keep followers quiet for 1s"),
        ({"heartbeat": "0s"}, "more than 0s"),
        ({"least": "soon"}, "election timeout 'soon' is not a duration"),
        ({"retransmit_ns": -1}, "must not be negative"),
        ({"stagger_ns": -1}, "must not be negative"),
        ({"drift_ppm": 500_000}, "between 0 and 500000"),
        ({"lease": True, "check_quorum": False}, "rests on check_quorum"),
        ({"lease": True, "margin_ns": 500 * MS}, "ends before the next heartbeat"),
    ],
)
def test_what_cannot_work_is_refused(options: dict[str, Any], complaint: str) -> None:
    with pytest.raises(ConfigurationError, match=complaint):
        RaftSettings.of(**options)


def test_a_lease_is_shorter_than_the_loyalty_it_rests_on() -> None:
    settings = RaftSettings.of("1s", lease=True, drift_ppm=10_000, margin_ns=5 * MS)
    assert settings.lease_ns == 1000 * MS * 99 // 101 - 5 * MS


def test_state_is_hashable_and_everything_can_be_written_down() -> None:
    assert hash(RaftState()) == hash(RaftState())
    event: Delivered[RaftMessage] = Delivered(5, 1, RequestVote(1, (2, 3)))
    assert msgspec.json.decode(msgspec.json.encode(event), type=Delivered[RaftMessage]) == event
    node: Protocol[RaftState, RaftEvent, RaftEffect] = Raft(0, (0, 1, 2), RaftSettings.of())
    _, effects = node.step(node.initial(), event)
    _, persist, send = effects
    raw = msgspec.msgpack.encode(persist)
    assert msgspec.msgpack.decode(raw, type=Persist[Ballot]) == persist
    raw = msgspec.msgpack.encode(send)
    assert msgspec.msgpack.decode(raw, type=Send[RaftMessage]) == send
