"""What a candidate can ask of the world, in order; a crash may fall between any two.

Store operations (`Acquire`, `Renew`, `Release`) carry a number, ``op``, and are answered
by an event with that number. The world sends them in the order in which they were asked.
"""

import msgspec

from elector.core.office import Deadlines, EndReason, Observation


class Acquire(msgspec.Struct, frozen=True, tag=True):
    """Ask the store for the office, and to be told when it may be had."""

    op: int


class Renew(msgspec.Struct, frozen=True, tag=True):
    """Prolong the lease held under this token."""

    op: int
    token: int


class Release(msgspec.Struct, frozen=True, tag=True):
    """Give the office back: the work has stopped. `heir` names whom it is kept for."""

    op: int
    token: int
    reason: EndReason
    heir: str | None = None


class LeaveQueue(msgspec.Struct, frozen=True, tag=True):
    """Do not wake us when the office becomes vacant: we would not take it."""


class SetTimer(msgspec.Struct, frozen=True, tag=True):
    """Wake us inside this window (own clock, ns); replaces a timer of the same name."""

    name: str
    earliest: int
    latest: int


class Lead(msgspec.Struct, frozen=True, tag=True):
    """The tenure begins: the work may start."""

    token: int
    deadlines: Deadlines


class Extend(msgspec.Struct, frozen=True, tag=True):
    """The tenure's deadlines have moved."""

    token: int
    deadlines: Deadlines


class StopWork(msgspec.Struct, frozen=True, tag=True):
    """Cancel the work now, and report `WorkStopped` when it has returned."""

    token: int
    reason: EndReason


class AbortWork(msgspec.Struct, frozen=True, tag=True):
    """The hard deadline has passed and the work has not stopped: end it by force."""

    token: int


class StepDown(msgspec.Struct, frozen=True, tag=True):
    """The tenure is over: from here on somebody else may lead."""

    token: int
    reason: EndReason


class Observe(msgspec.Struct, frozen=True, tag=True):
    """Tell observers what is now known of the office."""

    observation: Observation


class Refuse(msgspec.Struct, frozen=True, tag=True):
    """The store broke its word (a fencing token went back): say so loudly, do not lead."""

    token: int
    newest: int


class Withdrawn(msgspec.Struct, frozen=True, tag=True):
    """The candidate has left the election and holds nothing."""


CandidateEffect = (
    Acquire
    | Renew
    | Release
    | LeaveQueue
    | SetTimer
    | Lead
    | Extend
    | StopWork
    | AbortWork
    | StepDown
    | Observe
    | Refuse
    | Withdrawn
)
