"""Nodes of a trace whose steps are taken again: what they run, and what survives their ends."""

from collections.abc import Callable
from typing import Any
from typing import Protocol as StructuralType

import msgspec

from elector.core.events import CandidateEvent
from elector.core.identity import Candidate
from elector.core.peers import NO_LOG, Position
from elector.core.timing import LeaseTiming
from elector.protocols.lease import LeaseCandidate
from elector.protocols.raft import Raft, RaftEvent
from elector.protocols.raft_messages import Ballot
from elector.trace.records import Plain

Taken = tuple[tuple[Any, ...], Any]
"""The effects of a step, and the state after it."""


class Node(StructuralType):
    """One node, whatever its protocol is.

    Attributes:
        event_type: of the events that it can be told.
    """

    event_type: Any

    def booted(self, instance: str) -> None:
        """It begins, for the first time or again."""
        ...

    def recalled(self, after: Plain) -> None:
        """What the state after its first step says about what is not the election's affair."""
        ...

    def persisted(self, durable: Plain) -> None:
        """This survives its end."""
        ...

    def forgot(self) -> None:
        """Its disk lost the last write."""
        ...

    def take(self, event: Any) -> Taken:
        """Take one step."""
        ...


class RetakenCandidate:
    """A candidate; nothing of it survives."""

    event_type: Any = CandidateEvent

    def __init__(
        self,
        name: str,
        timing: LeaseTiming,
        build: Callable[[Candidate, LeaseTiming], LeaseCandidate],
    ) -> None:
        self._name, self._timing, self._build = name, timing, build
        self.booted("")

    def booted(self, instance: str) -> None:
        """See `Node.booted`."""
        self._machine = self._build(Candidate(self._name, instance), self._timing)
        self._state = self._machine.initial()

    def recalled(self, after: Plain) -> None:
        """See `Node.recalled`."""

    def persisted(self, durable: Plain) -> None:
        """See `Node.persisted`."""

    def forgot(self) -> None:
        """See `Node.forgot`."""

    def take(self, event: Any) -> Taken:
        """See `Node.take`."""
        self._state, effects = self._machine.step(self._state, event)
        return effects, self._state


class RetakenMember:
    """A member; its ballot survives, and its log, of which only the position is known here."""

    event_type: Any = RaftEvent

    def __init__(self, machine: Raft) -> None:
        self._machine = machine
        self._durable = self._before = Ballot()
        self.booted("")

    def booted(self, instance: str) -> None:  # noqa: ARG002 - see `Node`
        """See `Node.booted`."""
        self._state = self._machine.recovered(self._durable)

    def recalled(self, after: Plain) -> None:
        """See `Node.recalled`: how far its log reached."""
        log = msgspec.convert(after.get("log", NO_LOG), Position)
        self._state = self._machine.recovered(self._durable, log)

    def persisted(self, durable: Plain) -> None:
        """See `Node.persisted`."""
        self._before, self._durable = self._durable, msgspec.convert(durable, Ballot)

    def forgot(self) -> None:
        """See `Node.forgot`."""
        self._durable = self._before

    def take(self, event: Any) -> Taken:
        """See `Node.take`."""
        self._state, effects = self._machine.step(self._state, event)
        return effects, self._state
