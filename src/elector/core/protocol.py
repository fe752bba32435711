"""The contract that every protocol keeps, so that one `step` can run in three worlds.

Rules, from the design:

1. State is frozen and hashable; `step` returns a new state or the same object.
2. Time is only in events: ``event.at``, the node's own monotonic clock, integer
   nanoseconds. No protocol can read a clock.
3. Randomness is an effect: a timer is asked for as a window, and the world that runs the
   protocol chooses inside it.
4. Effects are ordered, and a crash may fall between any two of them.
5. A store operation has three outcomes: it happened, it did not, or unknown.
6. A protocol declares what it needs of the world.
"""

from typing import Protocol as StructuralType
from typing import TypeVar

import msgspec

State = TypeVar("State")
Event_contra = TypeVar("Event_contra", contravariant=True)
Effect_co = TypeVar("Effect_co", covariant=True)


class Requirements(msgspec.Struct, frozen=True):
    """What a protocol needs; a verifier breaks each on purpose to show that it is needed.

    Attributes:
        drift_bound: clock *rates* differ by a bounded factor (offsets never matter).
        linearizable_store: each store operation takes effect at one instant, or never.
        rising_tokens: the store never grants one token twice, nor a lower one later.
        durable_state: the candidate's own state must survive a crash.
        known_members: every node knows who may vote, and all agree on it.
    """

    drift_bound: bool = False
    linearizable_store: bool = False
    rising_tokens: bool = False
    durable_state: bool = False
    known_members: bool = False


class Protocol(StructuralType[State, Event_contra, Effect_co]):
    """A protocol: an initial state and a pure step.

    Attributes:
        requires: what it needs of the world.
        timeless: its state holds no clock value, and the times in its effects are the
            event's `at` plus constants, so that a step taken once is known for all times.
    """

    requires: Requirements
    timeless: bool

    def initial(self) -> State:
        """The state before the first event."""
        ...

    def step(self, state: State, event: Event_contra) -> tuple[State, tuple[Effect_co, ...]]:
        """Take one event; return the new state and what the world shall do, in order."""
        ...
