"""What a candidate can be told. Every event carries ``at``, the candidate's own clock in ns.

``op`` is the number under which the candidate asked: an answer to another question than
the last one is recognised by it.
"""

import msgspec


class Start(msgspec.Struct, frozen=True, tag=True):
    """The user wants this candidate to contend."""

    at: int


class Desist(msgspec.Struct, frozen=True, tag=True):
    """The user does not want to stand for now; a tenure that has begun goes on."""

    at: int


class Withdraw(msgspec.Struct, frozen=True, tag=True):
    """The user wants this candidate out of the election, for good."""

    at: int


class Resign(msgspec.Struct, frozen=True, tag=True):
    """The leader shall hand over; to the candidate named `heir` when it is given."""

    at: int
    heir: str | None = None


class TimerFired(msgspec.Struct, frozen=True, tag=True):
    """A timer asked for with `SetTimer` is due, or nearly: timers may be early."""

    at: int
    name: str


class Granted(msgspec.Struct, frozen=True, tag=True):
    """The store gave us the office under this token."""

    at: int
    op: int
    token: int


class Occupied(msgspec.Struct, frozen=True, tag=True):
    """Somebody else holds the office, or it is kept for somebody else (`leader` None).

    Attributes:
        retry_in_ns: when the store thinks that trying again is worth it; None if it
            cannot tell.
    """

    at: int
    op: int
    leader: str | None
    token: int
    retry_in_ns: int | None = None


class Renewed(msgspec.Struct, frozen=True, tag=True):
    """The store prolonged our lease."""

    at: int
    op: int


class Lost(msgspec.Struct, frozen=True, tag=True):
    """The store says that the lease we wanted to renew is not ours any more."""

    at: int
    op: int


class Released(msgspec.Struct, frozen=True, tag=True):
    """The store took our release; or it found that there was nothing of ours to release."""

    at: int
    op: int


class Failed(msgspec.Struct, frozen=True, tag=True):
    """The operation certainly did not happen."""

    at: int
    op: int


class OutcomeLost(msgspec.Struct, frozen=True, tag=True):
    """The operation may have happened: its reply did not come."""

    at: int
    op: int


class Changed(msgspec.Struct, frozen=True, tag=True):
    """The store tells who leads now (`leader` None: nobody).

    Attributes:
        instance: the leader's instance, to know oneself by.
        retry_in_ns: as in `Occupied`.
    """

    at: int
    leader: str | None
    instance: str | None
    token: int
    retry_in_ns: int | None = None


class WorkStopped(msgspec.Struct, frozen=True, tag=True):
    """The work of the tenure has returned: nothing of it runs any more."""

    at: int
    token: int
    failed: bool = False


class Health(msgspec.Struct, frozen=True, tag=True):
    """Whether the application shows progress; one that does not may not hold office."""

    at: int
    healthy: bool


StoreEvent = Granted | Occupied | Renewed | Lost | Released | Failed | OutcomeLost
CandidateEvent = (
    Start | Desist | Withdraw | Resign | TimerFired | StoreEvent | Changed | WorkStopped | Health
)

__all__ = [
    "CandidateEvent",
    "Changed",
    "Desist",
    "Failed",
    "Granted",
    "Health",
    "Lost",
    "Occupied",
    "OutcomeLost",
    "Released",
    "Renewed",
    "Resign",
    "Start",
    "StoreEvent",
    "TimerFired",
    "Withdraw",
    "WorkStopped",
]
