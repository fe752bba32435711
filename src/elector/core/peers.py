"""What members that elect among themselves can be told, and what they can ask of the world.

A member is a **node**, known by a small integer; all nodes agree on who the members are.
The world delivers messages (`Delivered`) and carries out effects in their order, over all
steps: what stands behind a `Persist` waits until that is durable, and a crash may fall
between any two effects. `Start`, `TimerFired` and `SetTimer` are those of candidates.

The outputs say ``term`` where those of a candidate say ``token``: a term has at most one
leader, so it serves as a fencing token.
"""

from typing import Generic, TypeVar

import msgspec

Message_co = TypeVar("Message_co", covariant=True)
Durable_co = TypeVar("Durable_co", covariant=True)

Position = tuple[int, int]
"""How far a log reaches: term and index of its last entry. Compared, never computed with."""

NO_LOG: Position = (0, 0)


# -- events ------------------------------------------------------------------------------


class Delivered(msgspec.Struct, Generic[Message_co], frozen=True, tag=True):
    """A message of another node has arrived; it may be late, repeated or out of order."""

    at: int
    source: int
    message: Message_co


class Appended(msgspec.Struct, frozen=True, tag=True):
    """Our log now ends at this position: it grew, or a leader replaced its end."""

    at: int
    position: Position


class Transfer(msgspec.Struct, frozen=True, tag=True):
    """The leader shall hand its office to the node `target`."""

    at: int
    target: int


# -- effects -----------------------------------------------------------------------------


class Send(msgspec.Struct, Generic[Message_co], frozen=True, tag=True):
    """Send a message, once, without waiting for it to arrive."""

    to: int
    message: Message_co


class Persist(msgspec.Struct, Generic[Durable_co], frozen=True, tag=True):
    """Replace what survives a crash; every later effect waits until this is durable."""

    durable: Durable_co


class LeadTerm(msgspec.Struct, frozen=True, tag=True):
    """Output: we lead this term.

    Attributes:
        term: the term; at most one node ever leads it.
        until: with a leader lease, the instant (own clock, ns) before which nobody else
            leads; the effect is repeated when the lease is prolonged. Without: None.
    """

    term: int
    until: int | None = None


class FollowTerm(msgspec.Struct, frozen=True, tag=True):
    """Output: `leader` leads this term; None when we do not know of a leader any more."""

    term: int
    leader: int | None


class StepDownFrom(msgspec.Struct, frozen=True, tag=True):
    """Output: we do not lead this term any more."""

    term: int
