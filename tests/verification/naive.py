"""A twin of the explorer that is slow and plain: sets of messages, no numbers, no tables."""

from collections.abc import Iterator
from typing import Any, NamedTuple

from elector.core.effects import SetTimer
from elector.core.events import Start, TimerFired
from elector.core.peers import Delivered, LeadTerm, Persist, Send
from elector.protocols.raft import Raft, RaftState
from elector.protocols.raft_messages import Ballot
from elector.verification.scope import Scope


class Local(NamedTuple):
    state: RaftState
    timers: frozenset[str] = frozenset()
    disk: Ballot = Ballot()
    led: frozenset[int] = frozenset()


class World(NamedTuple):
    nodes: tuple[Local, ...]
    sent: frozenset[tuple[int, int, Any]]
    crashes: int


def reachable(scope: Scope) -> set[World]:
    members = tuple(range(scope.nodes))
    rafts = [Raft(node, members, scope.settings) for node in members]
    nodes = tuple(_step(raft, Local(raft.initial()), Start(0))[0] for raft in rafts)
    seen = {World(nodes, frozenset(), 0)}
    todo = list(seen)
    while todo:
        for after in _successors(scope, rafts, todo.pop()):
            if after not in seen:
                seen.add(after)
                todo.append(after)
    return seen


def _step(
    raft: Raft, local: Local, event: Any, keeps: int | None = None
) -> tuple[Local, set[tuple[int, int, Any]]]:
    """A step; with `keeps`, as many effects, and then a crash and a restart."""
    timers, sent = set(local.timers), set()
    disk, led = local.disk, set(local.led)
    if isinstance(event, TimerFired):
        timers.remove(event.name)
    state, effects = raft.step(local.state, event)
    for effect in effects[:keeps]:
        match effect:
            case SetTimer(name):
                timers.add(name)
            case Send(to, message):
                sent.add((raft.node, to, message))
            case Persist(durable):
                disk = durable
            case LeadTerm(term):
                led.add(term)
    after = Local(state, frozenset(timers), disk, frozenset(led))
    if keeps is not None:
        fallen = Local(raft.recovered(disk), disk=disk, led=after.led)
        after = _step(raft, fallen, Start(0))[0]
    return after, sent


def _successors(scope: Scope, rafts: list[Raft], world: World) -> Iterator[World]:
    for node, (raft, local) in enumerate(zip(rafts, world.nodes, strict=True)):
        events: list[Any] = [TimerFired(0, name) for name in local.timers]
        events += [Delivered(0, source, m) for source, to, m in world.sent if to == node]
        for event in events:
            state, effects = raft.step(local.state, event)
            if state.term > scope.terms:
                continue
            ends: list[int | None] = [None]
            if world.crashes < scope.restarts:
                ends += range(len(effects) + 1)
            for keeps in ends:
                after, sent = _step(raft, local, event, keeps)
                nodes = (*world.nodes[:node], after, *world.nodes[node + 1 :])
                crashes = world.crashes + (keeps is not None)
                yield World(nodes, world.sent | sent, crashes)
        if world.crashes < scope.restarts:
            fallen = Local(raft.recovered(local.disk), disk=local.disk, led=local.led)
            after, _ = _step(raft, fallen, Start(0))
            nodes = (*world.nodes[:node], after, *world.nodes[node + 1 :])
            yield World(nodes, world.sent, world.crashes + 1)
