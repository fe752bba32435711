"""A kind world: nobody crashes, timers keep their order, messages arrive over the links there are.

Safety has to hold in the worst world; for liveness the world has to be kind, because in a
cruel one no election needs to end (Fischer, Lynch, Paterson 1985). Time goes by in rounds, an
election timeout each. In a round first everything goes off that takes less or as long:
heartbeats, repetitions, the check of the quorum; all that this leads to arrives at once, in
the order in which it was sent. Who was told by none of this to go on waiting may then lose
patience; one of them does, at the choice of the search, and again all that follows arrives.

Terms are only ever compared and counted up, so states in which all terms that can meet are
shifted by the same amount are one; there are finitely many as long as the terms stay close.
"""

from collections import deque
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

from msgspec.structs import replace

from elector.core.effects import SetTimer
from elector.core.events import Start, TimerFired
from elector.core.memo import Memo
from elector.core.peers import Delivered, LeadTerm, Position, Send, StepDownFrom
from elector.protocols.raft import ELECTION, RaftState
from elector.protocols.raft_messages import Ballot
from elector.protocols.raft_settings import RaftSettings
from elector.verification.cores import Build

Links = frozenset[tuple[int, int]]
"""Pairs (from, to): messages pass this way."""

Listener = Callable[[int, Any, tuple[Any, ...], RaftState], None]
"""Is told of every step: who took it, the event, the effects, the state afterwards."""


def both_ways(*pairs: tuple[int, int]) -> Links:
    """Links on which messages pass in both directions.

    >>> sorted(both_ways((0, 1)))
    [(0, 1), (1, 0)]
    """
    return frozenset((*pairs, *((far, near) for near, far in pairs)))


def everyone(nodes: int) -> Links:
    """All links between so many nodes."""
    return frozenset((a, b) for a in range(nodes) for b in range(nodes) if a != b)


class Place(NamedTuple):
    """A node at rest.

    Attributes:
        state: of the protocol, by number.
        armed: the names of its timers.
        office: the term that it says to lead; 0 if none.
    """

    state: int
    armed: frozenset[str]
    office: int


Rest = tuple[Place, ...]
"""All nodes when no message is on its way."""


class Kind:
    """Rounds of a kind world.

    Args:
        nodes: how many.
        settings: of the protocol.
        build: makes a member.
    """

    def __init__(self, nodes: int, settings: RaftSettings, build: Build) -> None:
        members = tuple(range(nodes))
        self.memos = [Memo[RaftState](build(node, members, settings)) for node in members]
        self.links: Links = everyone(nodes)
        self.listener: Listener | None = None
        self.refreshed: set[int] = set()
        self.stirred: set[int] = set()
        self._lasts: dict[str, int] = {}
        self._states: list[int] = []
        self._armed: list[set[str]] = []
        self._office: list[int] = []

    def boot(self, disks: Iterable[tuple[int, Position]]) -> Rest:
        """Start every node with a term and a log on its disk, and no vote."""
        self._states, self._armed, self._office = [], [], []
        for node, (term, log) in enumerate(disks):
            protocol: Any = self.memos[node].protocol
            first = protocol.recovered(Ballot(term), log)
            self._states.append(self.memos[node].number(first))
            self._armed.append(set())
            self._office.append(0)
            self._take(node, Start(at=0), deque())
        return self._rest()

    def beat(self, rest: Rest) -> tuple[Rest, tuple[int, ...]]:
        """The first part of a round; and who may lose patience in the second one."""
        self._resume(rest)
        for name in sorted(self._lasts, key=lambda name: (self._lasts[name], name)):
            for node in range(len(rest)) if name != ELECTION else ():
                if name in self._armed[node]:
                    self._fire(node, name)
        after = self._rest()
        impatient = (
            node
            for node, place in enumerate(after)
            if ELECTION in place.armed and node not in self.refreshed
        )
        return after, tuple(impatient)

    def lose_patience(self, rest: Rest, node: int) -> Rest:
        """The second part of a round."""
        self._resume(rest)
        self._fire(node, ELECTION)
        return self._rest()

    def state(self, node: int, place: Place) -> RaftState:
        """The state of a node, as the protocol has it."""
        return self.memos[node].state(place.state)

    def shifted(self, node: int, place: Place, by: int) -> Place:
        """The same place with all terms that many lower."""
        if not by:
            return place
        state = self.state(node, place)
        number = self.memos[node].number(replace(state, term=state.term - by))
        return Place(number, place.armed, place.office - by if place.office else 0)

    def _resume(self, rest: Rest) -> None:
        self._states = [place.state for place in rest]
        self._armed = [set(place.armed) for place in rest]
        self._office = [place.office for place in rest]
        self.refreshed = set()
        self.stirred = set()

    def _rest(self) -> Rest:
        return tuple(
            Place(state, frozenset(armed), office)
            for state, armed, office in zip(self._states, self._armed, self._office, strict=True)
        )

    def _fire(self, node: int, name: str) -> None:
        """A timer goes off, and all that follows arrives."""
        self._armed[node].discard(name)
        queue: deque[tuple[int, Delivered[Any]]] = deque()
        self._take(node, TimerFired(0, name), queue)
        for _ in range(_ENDLESS):
            if not queue:
                return
            to, arrival = queue.popleft()
            self._take(to, arrival, queue)
        raise RuntimeError("the nodes answer each other without end")

    def _take(self, node: int, event: Any, queue: deque[tuple[int, Delivered[Any]]]) -> None:
        before = self._states[node]
        self._states[node], effects = self.memos[node].step(before, event)
        if self.listener is not None:
            self.listener(node, event, effects, self.memos[node].state(before))
        for effect in effects:
            match effect:
                case SetTimer(name, earliest):
                    self._armed[node].add(name)
                    self._lasts.setdefault(name, earliest)
                    if name == ELECTION:
                        self.refreshed.add(node)
                case Send(to, message):
                    if (node, to) in self.links:
                        queue.append((to, Delivered(0, node, message)))
                case LeadTerm(term):
                    self._office[node] = term
                    self.stirred.add(node)
                case StepDownFrom():
                    self._office[node] = 0
                    self.stirred.add(node)
                case _:
                    pass


_ENDLESS = 100_000
