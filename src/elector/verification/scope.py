"""What is explored of members that elect among themselves, and what came of it."""

from collections.abc import Callable
from typing import Literal

import msgspec

from elector.core.duration import SECOND_NS
from elector.errors import ConfigurationError
from elector.protocols.raft_settings import RaftSettings
from elector.trace.records import Header, Record

MEGABYTE = 1 << 20

SAFETY = ("TermUnique", "VoteOnce", "Durable", "TermMonotone", "Majority")
"""The properties that the explorer judges; what each says is in `elector.properties.members`."""

Reduction = Literal["messages", "timers", "symmetry"]

PLAIN = RaftSettings(
    election_ns=SECOND_NS,
    spread_ns=SECOND_NS,
    heartbeat_ns=SECOND_NS // 2,
    pre_vote=False,
    check_quorum=False,
)
"""Raft's election as in chapter 3 of the dissertation, without any option."""


class Scope(msgspec.Struct, frozen=True, kw_only=True):
    """A world small enough to try everything in it.

    Attributes:
        nodes: how many members.
        terms: the last term; a step into a later one is not taken.
        restarts: how many crashes there may be in all, each followed by a restart.
        settings: of the protocol. The times in them do not matter: any timer may go off at
            any time.
        transfer: whether a leader may be asked, at any time, to hand over to anybody.

    Raises:
        ConfigurationError: this cannot be explored.

    >>> Scope(nodes=3, terms=2).restarts
    0
    """

    nodes: int = 3
    terms: int = 2
    restarts: int = 0
    settings: RaftSettings = PLAIN
    transfer: bool = False

    def __post_init__(self) -> None:
        if not 1 <= self.nodes <= _MOST_NODES:
            raise ConfigurationError(
                f"nodes is {self.nodes}: 1 to {_MOST_NODES} members can be explored; every bug "
                "of the catalogue shows with four"
            )
        if self.terms < 1 or self.restarts < 0:
            raise ConfigurationError("terms must be at least 1, and restarts not negative")
        if self.settings.lease:
            raise ConfigurationError(
                "a leader's lease counts on clocks, and this explorer has none: turn lease off; "
                "elector simulate raft judges leases"
            )


_MOST_NODES = 7


class Progress(msgspec.Struct, frozen=True):
    """How far an exploration is.

    Attributes:
        states: distinct states found.
        depth: steps from the beginning.
        queue: states found whose successors are not known yet.
        seconds: since the beginning.
        memory: of this process, bytes; 0 where the system does not tell.
    """

    states: int
    depth: int
    queue: int
    seconds: float
    memory: int

    @property
    def rate(self) -> float:
        """Distinct states found in a second."""
        return self.states / self.seconds if self.seconds else 0.0


OnProgress = Callable[[Progress], None]


class Violation(msgspec.Struct, frozen=True):
    """A property that does not hold, and the shortest way there.

    Attributes:
        property: its name.
        text: what was seen.
        steps: how many steps led there.
        header, records: the way, as a trace; ``t`` counts steps.
    """

    property: str
    text: str
    steps: int
    header: Header
    records: tuple[Record, ...]


class Exploration(msgspec.Struct, frozen=True):
    """What came of an exploration.

    Attributes:
        scope: what was explored.
        properties: what was judged.
        reductions: what was used to look at fewer states.
        progress: states, depth and time at the end; `queue` is the frontier that was left.
        complete: everything in the scope was seen.
        stopped: why it is not complete: ``violation``, ``memory``, ``states``,
            ``interrupted``; empty if it is.
        violation: the first one, if there was any.
    """

    scope: Scope
    properties: tuple[str, ...]
    reductions: tuple[Reduction, ...]
    progress: Progress
    stopped: str = ""
    violation: Violation | None = None

    @property
    def complete(self) -> bool:
        """Whether everything in the scope was seen."""
        return not self.stopped

    @property
    def holds(self) -> bool:
        """Whether every property holds everywhere in the scope."""
        return self.complete and self.violation is None
