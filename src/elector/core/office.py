"""What can be said about an office: who leads, until when, and why a tenure ended."""

import enum

import msgspec


class Led(msgspec.Struct, frozen=True, tag="led"):
    """Somebody leads.

    Attributes:
        leader: the candidate's name.
        token: the fencing token of this tenure.
    """

    leader: str
    token: int


class Vacant(msgspec.Struct, frozen=True, tag="vacant"):
    """Nobody leads."""


class Unknown(msgspec.Struct, frozen=True, tag="unknown"):
    """Who leads is not known, which is not the same as nobody.

    Attributes:
        since_ns: since when, on the monotonic clock of this machine.
    """

    since_ns: int


Observation = Led | Vacant | Unknown


class EndReason(enum.StrEnum):
    """Why a tenure ended; these words stand in logs, JSON and history."""

    COMPLETED = "completed"  # the work returned
    FAILED = "failed"  # the work raised, or its process ended with an error
    RESIGNED = "resigned"  # somebody asked the leader to hand over
    TRANSFERRED = "transferred"  # the same, to a named candidate
    SHUTDOWN = "shutdown"  # the candidate left the election
    STALLED = "stalled"  # the application made no progress, so it may not keep office
    LOST = "lost"  # the store says that the lease is no longer ours
    EXPIRED = "expired"  # the lease could not be renewed in time
    DIED = "died"  # the holder's process ended without a word, and a witness said so

    @property
    def involuntary(self) -> bool:
        """Whether the office was taken away rather than given up."""
        return self in {EndReason.LOST, EndReason.EXPIRED, EndReason.DIED}


class Deadlines(msgspec.Struct, frozen=True):
    """The two ends of a tenure, on the holder's own monotonic clock.

    Attributes:
        soft_ns: the work is told to stop here.
        hard_ns: nobody else can lead before this; what still works is aborted here.
    """

    soft_ns: int
    hard_ns: int
