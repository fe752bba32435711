"""A little world for Raft: true time, drifting clocks, a bad network, disks and crashes.

Everything is decided by one `Random`, so a seed is a run; Hypothesis brings its own.
"""

import heapq
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from random import Random
from types import ModuleType
from typing import Any, NamedTuple

from elector.core.effects import SetTimer
from elector.core.events import Start, TimerFired
from elector.core.peers import (
    Appended,
    Delivered,
    LeadTerm,
    Persist,
    Position,
    Send,
    Transfer,
)
from elector.protocols import raft
from elector.protocols.raft import Raft, RaftEffect, RaftState
from elector.protocols.raft_messages import Ballot
from elector.protocols.raft_settings import RaftSettings
from tests.raft.raft_laws import RaftLaws

MS = 1_000_000
_MILLION = 1_000_000


class Faults(NamedTuple):
    """How bad the world is; rates are probabilities."""

    loss: float = 0.0
    duplicate: float = 0.0
    delay_ns: tuple[int, int] = (1 * MS, 5 * MS)
    disk_ns: tuple[int, int] = (0, 2 * MS)
    crash: float = 0.0  # at each effect
    down_ns: tuple[int, int] = (0, 500 * MS)
    late_ns: int = 0  # how late a timer may be
    drift_ppm: int = 0
    offset: bool = True


CALM = Faults()
WILD = Faults(
    loss=0.1,
    duplicate=0.1,
    delay_ns=(1 * MS, 400 * MS),
    disk_ns=(0, 40 * MS),
    crash=0.02,
    late_ns=50 * MS,
    drift_ppm=10_000,
)


@dataclass
class Node:
    """One process: what it runs, what it still has to do, and its clock."""

    protocol: Raft
    state: RaftState | None
    offset: int
    rate_ppm: int
    todo: deque[RaftEffect] = field(default_factory=deque)
    writing: bool = False
    life: int = 0
    timers: dict[str, int] = field(default_factory=dict)

    def clock(self, now: int) -> int:
        return self.offset + now * self.rate_ppm // _MILLION

    def true_time(self, clock: int) -> int:
        return -((self.offset - clock) * _MILLION // self.rate_ppm)


class World:
    """n nodes; run it with `run`, look at `leader` and `laws`."""

    def __init__(
        self,
        random: Random,
        nodes: int,
        settings: RaftSettings,
        faults: Faults = CALM,
        *,
        build: ModuleType = raft,
        logs: tuple[Position, ...] | None = None,
        only_leaders: bool = False,
    ) -> None:
        self.random = random
        self.faults = faults
        self.now = 0
        self.cuts: set[frozenset[int]] = set()
        self.deaf: int | None = None  # receives nothing
        self.mute: int | None = None  # what it sends is lost
        self.slow: int | None = None  # what it receives takes long
        self.laws = RaftLaws(nodes, only_leaders=only_leaders)
        self.sent = 0
        self._agenda: list[tuple[int, int, Callable[[], None]]] = []
        self._count = 0
        self.logs = list(logs or ((0, 0),) * nodes)
        self.nodes = [
            self._born(build.Raft(node, tuple(range(nodes)), settings)) for node in range(nodes)
        ]
        for node in range(nodes):
            self._boot(node)

    def _born(self, protocol: Raft) -> Node:
        drift = self.faults.drift_ppm
        return Node(
            protocol,
            None,
            offset=self.random.randrange(10**9) if self.faults.offset else 0,
            rate_ppm=_MILLION + self.random.randint(-drift, drift),
        )

    # -- time --------------------------------------------------------------------------

    def at(self, when: int, deed: Callable[[], None]) -> None:
        self._count += 1
        heapq.heappush(self._agenda, (max(when, self.now), self._count, deed))

    def run(self, duration: int) -> None:
        end = self.now + duration
        while self._agenda and self._agenda[0][0] <= end:
            self.now, _, deed = heapq.heappop(self._agenda)
            deed()
        self.now = end

    def run_until(self, condition: Callable[[], bool], limit: int) -> int:
        """Run until it holds; how long that took."""
        begun = self.now
        while not condition():
            assert self.now - begun < limit, f"not within {limit / MS}ms"
            self.run(2 * MS)
        return self.now - begun

    # -- processes ---------------------------------------------------------------------

    def feed(self, index: int, event: Callable[[int], Any]) -> None:
        """Let a node that is up take an event, made from the time on its clock."""
        node = self.nodes[index]
        if node.state is None:
            return
        node.state, effects = node.protocol.step(node.state, event(node.clock(self.now)))
        node.todo.extend(effects)
        self._work(index)

    def _work(self, index: int) -> None:
        """Carry out effects in order; a crash may fall between any two of them."""
        node = self.nodes[index]
        while node.todo and not node.writing:
            if self.random.random() < self.faults.crash:
                self.crash(index)
                low, high = self.faults.down_ns
                self.at(self.now + self.random.randint(low, high), lambda: self.restart(index))
                return
            effect = node.todo.popleft()
            if isinstance(effect, Persist):
                node.writing = True
                self._write(index, effect)
            else:
                self._perform(index, effect)

    def _write(self, index: int, effect: Persist[Ballot]) -> None:
        life = self.nodes[index].life

        def written() -> None:
            if self.nodes[index].life == life:
                self.laws.watch(index, effect, self.now)
                self.nodes[index].writing = False
                self._work(index)

        self.at(self.now + self.random.randint(*self.faults.disk_ns), written)

    def _perform(self, index: int, effect: RaftEffect) -> None:
        node = self.nodes[index]
        until = None
        if isinstance(effect, LeadTerm) and effect.until is not None:
            until = node.true_time(effect.until)
        self.laws.watch(index, effect, self.now, until)
        if isinstance(effect, Send):
            self._send(index, effect)
        elif isinstance(effect, SetTimer):
            self._set_timer(index, effect)

    def _set_timer(self, index: int, timer: SetTimer) -> None:
        node, life = self.nodes[index], self.nodes[index].life
        due = node.true_time(self.random.randint(timer.earliest, timer.latest))
        self._count += 1
        number = node.timers[timer.name] = self._count

        def fire() -> None:
            if node.life == life and node.timers.get(timer.name) == number:
                del node.timers[timer.name]
                self.feed(index, lambda at: TimerFired(at, timer.name))

        self.at(due + self.random.randint(0, self.faults.late_ns), fire)

    def crash(self, index: int) -> None:
        node = self.nodes[index]
        node.state, node.life, node.writing = None, node.life + 1, False
        node.todo.clear()
        node.timers.clear()
        self.laws.crashed(index)

    def restart(self, index: int) -> None:
        if self.nodes[index].state is None:
            self._boot(index)

    def _boot(self, index: int) -> None:
        node = self.nodes[index]
        state = node.protocol.recovered(self.laws.disks[index], self.logs[index])
        self.laws.restarted(index, Ballot(state.term, state.voted_for))
        node.state = state
        self.feed(index, Start)

    def transfer(self, index: int, target: int) -> None:
        self.feed(index, lambda at: Transfer(at, target))

    def append(self, index: int, position: Position) -> None:
        """The log is durable at once: keeping it is somebody else's work."""
        self.logs[index] = position
        self.feed(index, lambda at: Appended(at, position))

    # -- network -----------------------------------------------------------------------

    def cut(self, *links: tuple[int, int]) -> None:
        self.cuts |= {frozenset(link) for link in links}

    def isolate(self, index: int) -> None:
        self.cut(*((index, other) for other in range(len(self.nodes)) if other != index))

    def heal(self) -> None:
        self.cuts.clear()

    def _send(self, source: int, send: Send[Any]) -> None:
        self.sent += 1
        copies = 1 + (self.random.random() < self.faults.duplicate)
        for _ in range(copies):
            if source == self.mute or self.random.random() < self.faults.loss:
                continue
            delay = self.random.randint(*self.faults.delay_ns)
            delay += 80 * MS if send.to == self.slow else 0
            self.at(self.now + delay, lambda: self._arrive(source, send))

    def _arrive(self, source: int, send: Send[Any]) -> None:
        if frozenset({source, send.to}) not in self.cuts and send.to != self.deaf:
            self.feed(send.to, lambda at: Delivered(at, source, send.message))

    # -- what people look at -----------------------------------------------------------

    @property
    def leader(self) -> int | None:
        """Who leads the latest term, if it still says so."""
        offices = self.laws.offices.values()
        return max(offices, key=lambda office: office.term).node if offices else None

    @property
    def term(self) -> int:
        return max(node.state.term for node in self.nodes if node.state is not None)

    def agreed_on(self, node: int) -> Callable[[], bool]:
        return lambda: self.leader == node and self.agreed()

    def agreed(self) -> bool:
        """Whether every node that is up follows, or is, one leader."""
        known = {node.state.leader for node in self.nodes if node.state is not None}
        return len(known) == 1 and known == {self.leader} and self.leader is not None
