"""Progress: somebody leads once nothing fails any more, and whoever leads then stays.

Infinite statements in their finite forms. `Calm` marks the instant from which nothing fails;
it says how long a leader may be missing, and which nodes are up and connected. Who is in
office is what nodes say: from `Lead` until `StepDown`, a crash, or the end of the lease.
"""

from typing import ClassVar, NamedTuple

from elector.core.office import EndReason
from elector.properties.verdict import Kind, Property
from elector.trace import records
from elector.trace.records import Record

_INVOLUNTARY = frozenset({"", *(reason.value for reason in EndReason if reason.involuntary)})
_OFFICES: frozenset[type[Record]] = frozenset(
    {records.Lead, records.StepDown, records.Crash, records.Calm, records.End}
)


class _Office(NamedTuple):
    token: int
    until: int | None


class _AfterCalm(Property):
    """Who is in office, and when the time after `Calm` is over."""

    kind: ClassVar[Kind] = "eventually"

    def __init__(self) -> None:
        super().__init__()
        self.calm: records.Calm | None = None
        self.offices: dict[int, _Office] = {}

    def leader(self, t: int) -> int | None:
        """Who is in office, under the newest token if there are several.

        After `Calm`, only those count that are up and connected.
        """
        newest: tuple[int, int] | None = None
        for node, (token, until) in self.offices.items():
            connected = self.calm is None or node in self.calm.core
            if connected and (until is None or t < until):
                newest = max(newest or (token, node), (token, node))
        return newest[1] if newest is not None else None

    def due(self, t: int) -> bool:
        """Whether a leader may not be missing any more."""
        return self.calm is not None and t >= self.calm.t + self.calm.within

    def note(self, record: Record) -> None:
        """Remember who is in office."""
        match record:
            case records.Lead(_, node, token, until):
                self.offices[node] = _Office(token, until)
            case records.StepDown(_, node, token):
                if node in self.offices and self.offices[node].token == token:
                    del self.offices[node]
            case records.Crash(_, node):
                self.offices.pop(node, None)
            case records.Calm():
                self.calm = record
            case _:
                pass


class EventuallyLed(_AfterCalm):
    """When nothing fails any more, no time without a leader is longer than the bound."""

    name = "EventuallyLed"
    text = "once nothing fails any more, a leader is found within the bound"
    reads = _OFFICES

    def __init__(self) -> None:
        super().__init__()
        self._vacant_since: int | None = 0

    def watch(self, record: Record) -> str | None:
        """See `Property.watch`."""
        t = record.t
        if self._vacant_since is None and self.leader(t) is None:  # a lease ran out
            self._vacant_since = max(office.until or 0 for office in self.offices.values())
        since = self._vacant_since
        self.note(record)
        if self.leader(t) is not None:
            self._vacant_since = None
        elif since is None:
            self._vacant_since = t
        if self.calm is None or not self.due(t):
            return None
        self.exercised += 1
        missing = 0 if since is None else t - max(since, self.calm.t)
        if missing > self.calm.within:
            return f"nobody led for {missing} ns, though nothing failed"
        return None


class EventuallyKnown(_AfterCalm):
    """In the end everybody who is up and connected names the leader.

    It is judged at the end of the run, of a leader that was found within the bound.
    """

    name = "EventuallyKnown"
    text = "once nothing fails any more, everybody comes to know the leader"
    reads = _OFFICES | {records.Follow}

    def __init__(self) -> None:
        super().__init__()
        self._named: dict[int, int | None] = {}
        self._since: dict[int, int] = {}  # token: when its tenure began

    def watch(self, record: Record) -> str | None:
        """See `Property.watch`."""
        self.note(record)
        match record:
            case records.Lead(t, node, token):
                self._named[node] = node
                self._since.setdefault(token, t)
            case records.Follow(_, node, leader):
                self._named[node] = leader
            case records.StepDown(_, node) if self._named.get(node) == node:
                self._named[node] = None
            case records.Crash(_, node):
                self._named[node] = None
            case records.End(t) if self.calm is not None and self.due(t):
                return self._lacking(t, self.calm)
            case _:
                pass
        return None

    def _lacking(self, t: int, calm: records.Calm) -> str | None:
        leader = self.leader(t)
        if leader is None or self._since[self.offices[leader].token] > calm.t + calm.within:
            return None
        self.exercised += 1
        ignorant = [node for node in calm.core if self._named.get(node) != leader]
        return f"node {leader} leads, and nodes {ignorant} do not know it" if ignorant else None


class Stable(_AfterCalm):
    """A leader that is up, timely and in contact keeps its office.

    It may give it up: when its work is done, or somebody asked it to.
    """

    name = "Stable"
    text = "once a leader is found and nothing fails, it stays"
    reads = _OFFICES

    def __init__(self) -> None:
        super().__init__()
        self._settled: int | None = None

    def watch(self, record: Record) -> str | None:
        """See `Property.watch`."""
        before, settled = self._settled, None
        if self.due(record.t):
            settled = self.leader(record.t)
            self.exercised += settled is not None
        self.note(record)
        self._settled = self.leader(record.t) if self.due(record.t) else None
        if before is not None and settled != before:
            return f"the lease of node {before} ran out though nothing failed"
        match record:
            case records.StepDown(_, node, _, reason) if node == settled:
                if reason in _INVOLUNTARY:
                    return f"node {node} lost its office though nothing failed"
            case records.Lead(_, node) if settled not in {None, node}:
                return f"node {node} took the office of {settled} though nothing failed"
            case _:
                pass
        return None


class Failover(Property):
    """After the crash of the leader, and nothing else, the next one leads within a bound.

    It is judged only while nothing else is wrong: no other node is down, no link is cut,
    nothing else was done to the world that is not over.

    Args:
        bound_ns: from the crash until the next `Lead`.
    """

    name = "Failover"
    text = "a crashed leader is replaced within the bound, if nothing else fails"
    kind = "eventually"
    reads = frozenset(
        {
            *(records.Lead, records.StepDown, records.Boot, records.Crash, records.Fault),
            *(records.Cut, records.Heal, records.Pause, records.End),
        }
    )

    def __init__(self, bound_ns: int) -> None:
        super().__init__()
        self._bound = bound_ns
        self._offices: set[int] = set()
        self._down: set[int] = set()
        self._cuts: set[tuple[int, int]] = set()
        self._troubled_until = -1
        self._since: int | None = None

    def watch(self, record: Record) -> str | None:
        """See `Property.watch`."""
        since = self._since
        match record:
            case records.Lead(_, node):
                self._offices.add(node)
                self._since = None
            case records.StepDown(_, node):
                self._offices.discard(node)
            case records.Boot(_, node):
                self._down.discard(node)
            case records.Crash(t, node):
                self._crashed(t, node)
            case records.Fault(_, "crash"):
                pass  # the crash itself says more
            case records.Fault(t, _, _, until) | records.Pause(t, _, until):
                self._since = None
                self._troubled_until = max(self._troubled_until, t if until is None else until)
            case records.Cut(_, node, to):
                self._since = None
                self._cuts.add((node, to))
            case records.Heal(_, node, to):
                self._cuts.discard((node, to))
            case _:
                pass
        if since is not None and record.t - since > self._bound:
            took = record.t - since
            return f"nobody led {took} ns after the leader's crash; the bound is {self._bound} ns"
        return None

    def _crashed(self, t: int, node: int) -> None:
        led = node in self._offices
        self._offices.discard(node)
        alone = not self._down and not self._cuts and t > self._troubled_until
        self._down.add(node)
        self._since = t if led and alone and not self._offices else None
        self.exercised += self._since is not None


class QuorumConnected(Property):
    """While some node reaches a majority for long enough, a leader with a majority exists.

    Raft does not promise this (a node whose log is old may be the only one that is connected);
    it is judged where it is asked for by name. Source: Omni-Paxos, EuroSys 2023, section 2.

    Args:
        nodes: how many there are.
        bound_ns: for how long such a leader may be missing.
    """

    name = "QuorumConnected"
    text = "while some node reaches a majority, a leader that reaches a majority is found"
    kind = "eventually"
    reads = frozenset(
        {
            *(records.Lead, records.StepDown, records.Crash, records.Boot, records.Pause),
            *(records.Cut, records.Heal, records.End),
        }
    )

    def __init__(self, nodes: int, bound_ns: int) -> None:
        super().__init__()
        self._nodes, self._bound = nodes, bound_ns
        self._up: set[int] = set()
        self._cuts: set[tuple[int, int]] = set()
        self._offices: set[int] = set()
        self._paused_until = 0  # whoever stands still is not judged, nor are the others
        self._since: int | None = None

    def watch(self, record: Record) -> str | None:
        """See `Property.watch`."""
        since = None if self._since is None else max(self._since, self._paused_until)
        self._note(record)
        if not any(self._reaches_majority(node) for node in self._up):
            self._since = None
        else:
            self.exercised += 1
            served = any(self._reaches_majority(node) for node in self._offices)
            self._since = None if served else record.t if self._since is None else self._since
        if since is not None and record.t - since > self._bound:
            missing = record.t - since
            return f"for {missing} ns nobody led with a majority, though somebody reached one"
        return None

    def _note(self, record: Record) -> None:
        match record:
            case records.Lead(_, node):
                self._offices.add(node)
            case records.StepDown(_, node):
                self._offices.discard(node)
            case records.Crash(_, node):
                self._offices.discard(node)
                self._up.discard(node)
            case records.Boot(_, node):
                self._up.add(node)
            case records.Pause(_, _, until):
                self._paused_until = max(self._paused_until, until)
            case records.Cut(_, node, to):
                self._cuts.add((node, to))
            case records.Heal(_, node, to):
                self._cuts.discard((node, to))
            case _:
                pass

    def _reaches_majority(self, node: int) -> bool:
        reached = sum(
            other in self._up and not {(node, other), (other, node)} & self._cuts
            for other in range(self._nodes)
        )
        return node in self._up and 2 * reached > self._nodes
