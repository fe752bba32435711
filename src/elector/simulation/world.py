"""What all simulated worlds share: true time, an agenda, clocks, troubles, and who watches.

True time is an integer that no node can see. What is due at one instant happens in the order
in which it was asked for, so a run is a function of its configuration alone.
"""

import heapq
from collections.abc import Callable
from typing import Protocol

from elector.simulation.chance import Chance
from elector.simulation.clock import Clock
from elector.simulation.faults import LEADER, Faults, Trouble, Weather
from elector.trace import records
from elector.trace.records import Record

Deed = Callable[[], None]
_OFFSETS = (0, 7, 10**15)
_WORLD = -1


class Watcher(Protocol):
    """Somebody who judges, measures or writes down what happens."""

    @property
    def reads(self) -> frozenset[type[Record]]:
        """The kinds of record that it wants to be told."""
        ...

    @property
    def messages(self) -> frozenset[str] | None:
        """Of messages that are sent, those of these types; None: all."""
        ...

    def watch(self, record: Record) -> bool:
        """Take one record; False: it has seen enough, and the run may end."""
        ...


class World:
    """Time passes here; subclasses know what nodes are and what befalls them.

    Args:
        nodes: how many.
        faults: all that will go wrong.
        chance: where choices come from.
        watchers: who is told; a record that nobody reads is not even made.
    """

    def __init__(
        self, nodes: int, faults: Faults, chance: Chance, watchers: tuple[Watcher, ...]
    ) -> None:
        self.nodes = nodes
        self.faults = faults
        self.weather = faults.weather
        self.chance = chance
        self.now = 0
        self.over = False
        self.wanted = frozenset[type[Record]]().union(*(watcher.reads for watcher in watchers))
        self.wanted_messages = _messages(watchers)
        self.up = [False] * nodes
        self.paused_until = [0] * nodes
        self.clocks: list[Clock] = []
        self._watching: dict[type[Record], list[Callable[[Record], bool]]] = {
            kind: [watcher.watch for watcher in watchers if kind in watcher.reads]
            for kind in self.wanted
        }
        self._agenda: list[tuple[int, int, int, int]] = []  # when, number, node, what for
        self._deeds: dict[int, Deed] = {}  # by number, where the node is the world
        self._sequence = 0

    # -- the course of time --------------------------------------------------------------

    def at(self, when: int, deed: Deed) -> None:
        """Do something at a true time; never in the past."""
        self._sequence += 1
        self._deeds[self._sequence] = deed
        heapq.heappush(self._agenda, (max(when, self.now), self._sequence, _WORLD, 0))

    def after(self, delay: int, deed: Deed) -> None:
        """Do something later."""
        self.at(self.now + delay, deed)

    def run_until(self, end: int, stop: Callable[[], bool] = lambda: False) -> bool:
        """Let time pass; sooner done when `stop` holds or a watcher has seen enough.

        Returns:
            Whether `stop` holds.
        """
        while self._agenda and self._agenda[0][0] <= end and not self.over:
            if stop():
                return True
            self.now, number, _, _ = heapq.heappop(self._agenda)
            self._deeds.pop(number)()
        if not self.over:
            self.now = max(self.now, end)
        return stop()

    def tell(self, record: Record) -> None:
        """Let those who want to know this know it."""
        for watch in self._watching.get(type(record), ()):
            if not watch(record):
                self.over = True

    def agreed(self) -> bool:
        """Whether every node that is up knows of one leader, and it is in office."""
        leader = self.leader()
        known = {self.follows(node) for node in range(self.nodes) if self.up[node]}
        return leader is not None and known == {leader}

    # -- beginning and end ---------------------------------------------------------------

    def begin(self) -> None:
        """Start all nodes, and let troubles come when they are due."""
        for node in range(self.nodes):
            self.clocks.append(self.new_clock(f"clock {node}"))
            self.tell_clock(node, "start")
        for node in range(self.nodes):
            self.boot(node)
        for trouble in self.faults.troubles:
            self._schedule(trouble)

    def _schedule(self, trouble: Trouble) -> None:
        self.at(trouble.at, lambda: self._strike(trouble))

    def calm_down(self, within: int) -> None:
        """From here on nothing fails any more; properties that wait for that are told."""
        self.weather = Weather()
        self.settle()
        core = tuple(range(self.nodes))
        self.tell(records.Calm(self.now, within, core))

    def end(self) -> None:
        """Say that the run has come to its end."""
        self.tell(records.End(self.now))

    # -- clocks --------------------------------------------------------------------------

    def new_clock(self, name: str) -> Clock:
        """A clock with an offset and a rate that are left to chance, within the drift."""
        random, drift = self.chance.random, self.weather.drift_ppm
        offset = self.chance.choose(f"{name} offset", lambda: random.choice(_OFFSETS), 0)
        ppm = self.chance.choose(f"{name} rate", lambda: random.choice((0, drift, -drift)), 0)
        return Clock(offset, ppm)

    def tell_clock(self, node: int, why: str) -> None:
        """Say what a node's clock does from now on."""
        clock = self.clocks[node]
        self.tell(records.Clock(self.now, node, clock.shows(self.now), clock.ppm, why))

    # -- troubles ------------------------------------------------------------------------

    def _strike(self, trouble: Trouble) -> None:
        named = self._resolved(trouble)
        if named is None:
            return
        self.tell(records.Fault(self.now, trouble.what, named[0] if named else None, trouble.until))
        relief = self.strike(trouble.what, named, trouble)
        if relief is not None:
            self.at(trouble.until, relief)

    def _resolved(self, trouble: Trouble) -> tuple[int, ...] | None:
        """Whom it befalls; None if it is the leader's, and nobody leads."""
        leader = self.leader()
        if leader is None and any(node <= LEADER for node in trouble.nodes):
            return None
        first = leader or 0
        chosen = (first + LEADER - node if node <= LEADER else node for node in trouble.nodes)
        return tuple(node % self.nodes for node in chosen)

    def pause(self, node: int, until: int) -> None:
        """Let a node stand still; what is for it waits."""
        self.paused_until[node] = max(self.paused_until[node], until)
        self.tell(records.Pause(self.now, node, self.paused_until[node]))

    # -- what a subclass knows -----------------------------------------------------------

    def boot(self, node: int) -> None:
        """Start a node."""
        raise NotImplementedError

    def leader(self) -> int | None:
        """Who leads, as far as the world can see."""
        raise NotImplementedError

    def follows(self, node: int) -> int | None:
        """Whom a node takes for the leader."""
        raise NotImplementedError

    def strike(self, what: str, nodes: tuple[int, ...], trouble: Trouble) -> Deed | None:
        """Let a trouble happen; return what ends it."""
        raise NotImplementedError

    def settle(self) -> None:
        """Mend everything."""
        raise NotImplementedError


def _messages(watchers: tuple[Watcher, ...]) -> frozenset[str] | None:
    wanted = [watcher.messages for watcher in watchers if records.Send in watcher.reads]
    if any(types is None for types in wanted):
        return None
    return frozenset[str]().union(*(types for types in wanted if types is not None))
