"""The same model on SimPy: a process for each message and each timer, as its users write it.

The protocol is Elector's own `Raft.step`, the network loses and delays in the same way, and
the same judge is told the same outputs. What differs is what drives them.
"""

from collections.abc import Generator
from random import Random
from typing import Any

import simpy

from elector.core.effects import SetTimer
from elector.core.events import Start, TimerFired
from elector.core.memo import Memo
from elector.core.peers import Delivered, FollowTerm, LeadTerm, Persist, Send, StepDownFrom
from elector.properties.judge import Judge
from elector.protocols.raft import Raft
from elector.protocols.raft_settings import RaftSettings
from elector.simulation.faults import Weather
from elector.trace import records
from elector.trace.plain import plain


class SimPyRaft:
    """One group in one SimPy environment.

    Args:
        memoised: take each step once, as Elector's simulator does; SimPy alone does not.
    """

    def __init__(
        self,
        nodes: int,
        settings: RaftSettings,
        weather: Weather,
        seed: int,
        judge: Judge,
        *,
        memoised: bool,
    ) -> None:
        self.env = simpy.Environment()
        self.random = Random(seed)  # noqa: S311 - a world
        self.weather, self.judge = weather, judge
        self.events = 0
        self.protocols = [Raft(node, tuple(range(nodes)), settings) for node in range(nodes)]
        self.memos = [Memo(protocol) for protocol in self.protocols] if memoised else []
        self.states: list[Any] = [protocol.initial() for protocol in self.protocols]
        if memoised:
            self.states = [memo.number(memo.protocol.initial()) for memo in self.memos]
        self.set: list[dict[str, int]] = [{} for _ in range(nodes)]
        for node in range(nodes):
            self.take(node, Start(self.at()))

    def at(self) -> int:
        """The event's date: a memoised step has none."""
        return 0 if self.memos else int(self.env.now)

    def run(self, until: int) -> None:
        """Let time pass, ns."""
        self.env.run(until)

    def take(self, node: int, event: Any) -> None:
        """One step and its effects."""
        self.events += 1
        if self.memos:
            self.states[node], effects = self.memos[node].step(self.states[node], event)
        else:
            self.states[node], effects = self.protocols[node].step(self.states[node], event)
        self.env.process(self.perform(node, effects, event.at))

    def perform(self, node: int, effects: tuple[Any, ...], at: int) -> Generator[Any, Any, None]:
        """Carry out effects in order; a write is waited for."""
        for effect in effects:
            match effect:
                case Send(to, message):
                    self.tell_sent(node, to, message)
                    if self.random.random() >= self.weather.loss:
                        self.env.process(self.deliver(node, to, message))
                case SetTimer(name, earliest, latest):
                    self.set_timer(node, name, earliest - at, latest - at)
                case Persist(durable):
                    yield self.env.timeout(self.random.randint(*self.weather.disk))
                    self.judge.watch(records.Persist(int(self.env.now), node, plain(durable)))
                case LeadTerm(term):
                    self.judge.watch(records.Lead(int(self.env.now), node, term))
                case FollowTerm(term, leader):
                    self.judge.watch(records.Follow(int(self.env.now), node, leader, term))
                case StepDownFrom(term):
                    self.judge.watch(records.StepDown(int(self.env.now), node, term))
                case _:
                    pass

    def tell_sent(self, node: int, to: int, message: Any) -> None:
        """What the judge reads of messages, and nothing more."""
        if self.judge.messages is None or type(message).__name__ in self.judge.messages:
            self.judge.watch(records.Send(int(self.env.now), node, to, 0, plain(message)))

    def deliver(self, node: int, to: int, message: Any) -> Generator[Any, Any, None]:
        """A message on its way."""
        low, high = self.weather.delay.low_ns, self.weather.delay.high_ns
        yield self.env.timeout(low + int(self.random.random() * (high - low)))
        self.take(to, Delivered(self.at(), node, message))

    def set_timer(self, node: int, name: str, earliest: int, latest: int) -> None:
        """A timer that replaces the one before."""
        mine = self.set[node].get(name, 0) + 1
        self.set[node][name] = mine
        waits = earliest + int(self.random.random() * (latest - earliest))
        self.env.process(self.fire(node, name, mine, max(waits, 0)))

    def fire(self, node: int, name: str, mine: int, waits: int) -> Generator[Any, Any, None]:
        """Wait, and fire unless the timer was set again."""
        yield self.env.timeout(waits)
        if self.set[node].get(name) == mine:
            self.take(node, TimerFired(self.at(), name))
