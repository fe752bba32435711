"""What the nodes of `elector.protocols.raft` say to each other, and what they keep on disk.

No message names a node: who sent it, the envelope knows. Sections are those of Ongaro's
dissertation.
"""

import msgspec

from elector.core.peers import Position


class Ballot(msgspec.Struct, frozen=True, tag=True):
    """What must survive a crash (3.8): the latest term seen, and our vote in it."""

    term: int = 0
    voted_for: int | None = None


class RequestVote(msgspec.Struct, frozen=True, tag=True):
    """The sender stands in this term (3.4).

    Attributes:
        endorsed: the leader itself asked it to stand, so no loyalty is due (4.2.3, 3.10).
    """

    term: int
    log: Position
    endorsed: bool = False


class Vote(msgspec.Struct, frozen=True, tag=True):
    """The answer to `RequestVote`."""

    term: int
    granted: bool


class RequestPreVote(msgspec.Struct, frozen=True, tag=True):
    """The sender would stand in this term, which has not begun: would it be voted for? (9.6)."""

    term: int
    log: Position


class PreVote(msgspec.Struct, frozen=True, tag=True):
    """The answer: granted, with the term that was asked for; or not, with the voter's own."""

    term: int
    granted: bool


class Heartbeat(msgspec.Struct, frozen=True, tag=True):
    """The sender leads this term: an AppendEntries without entries (3.4).

    Attributes:
        sent_at: with a lease, the leader's clock when it sent this; else -1.
    """

    term: int
    sent_at: int


class HeartbeatReply(msgspec.Struct, frozen=True, tag=True):
    """The answer; `sent_at` is given back as it came, for it is the leader's clock."""

    term: int
    sent_at: int
    log: Position


class TimeoutNow(msgspec.Struct, frozen=True, tag=True):
    """The leader has left, and asks the receiver to stand at once (3.10)."""

    term: int


RaftMessage = (
    RequestVote | Vote | RequestPreVote | PreVote | Heartbeat | HeartbeatReply | TimeoutNow
)
