"""Progress: somebody leads once nothing fails any more, and whoever leads then stays.

Infinite statements in their finite forms. `Calm` marks the instant from which nothing fails;
it says how long a leader may be missing, and which nodes are up and connected.
"""

from typing import ClassVar

from elector.properties.verdict import Kind, Property
from elector.trace import records
from elector.trace.records import Record

_INVOLUNTARY = frozenset({"", "lost", "expired", "died"})


class _AfterCalm(Property):
    """Who is in office, and when the time after `Calm` is over."""

    kind: ClassVar[Kind] = "eventually"

    def __init__(self) -> None:
        super().__init__()
        self.calm: records.Calm | None = None
        self.offices: dict[int, int] = {}

    @property
    def leader(self) -> int | None:
        """Who is in office, under the newest token if there are several."""
        return max(self.offices, key=self.offices.__getitem__) if self.offices else None

    def due(self, t: int) -> bool:
        """Whether a leader may not be missing any more."""
        return self.calm is not None and t >= self.calm.t + self.calm.within

    def note(self, record: Record) -> None:
        """Remember who is in office."""
        match record:
            case records.Lead(_, node, token):
                self.offices[node] = token
            case records.StepDown(_, node) | records.Crash(_, node):
                self.offices.pop(node, None)
            case records.Calm():
                self.calm = record
                self.exercised += 1
            case _:
                pass


class EventuallyLed(_AfterCalm):
    """When nothing fails any more, somebody leads before long, and there is a leader at the end."""

    name = "EventuallyLed"
    text = "once nothing fails any more, a leader is found within the bound"
    reads = frozenset({records.Lead, records.StepDown, records.Crash, records.Calm, records.End})

    def __init__(self) -> None:
        super().__init__()
        self._was_due = False

    def watch(self, record: Record) -> str | None:
        """See `Property.watch`."""
        was_led, before = self.leader is not None, self._was_due
        self._was_due = self.due(record.t)
        self.note(record)
        late = self._was_due and not before and not was_led and self.leader is None
        over = isinstance(record, records.End) and self._was_due and self.leader is None
        if (late or over) and self.calm is not None:
            return f"nobody leads, {record.t - self.calm.t} ns after the last fault"
        return None


class Stable(_AfterCalm):
    """A leader that is up, timely and in contact keeps its office."""

    name = "Stable"
    text = "once a leader is found and nothing fails, it stays"
    reads = frozenset({records.Lead, records.StepDown, records.Crash, records.Calm, records.End})

    def watch(self, record: Record) -> str | None:
        """See `Property.watch`."""
        settled = self.leader if self.due(record.t) else None
        self.note(record)
        if settled is None:
            return None
        match record:
            case records.StepDown(_, node, _, reason) if node == settled:
                if reason in _INVOLUNTARY:
                    return f"node {node} lost its office though nothing failed"
            case records.Lead(_, node) if node != settled and settled in self.offices:
                return f"node {node} took the office of {settled} though nothing failed"
            case _:
                pass
        return None


class Failover(Property):
    """After the crash of the leader, and nothing else, the next one leads within a bound."""

    name = "Failover"
    text = "a crashed leader is replaced within the bound, if nothing else fails"
    kind = "eventually"
    reads = frozenset(
        {
            records.Lead,
            records.StepDown,
            records.Crash,
            records.Fault,
            records.Cut,
            records.Pause,
            records.End,
        }
    )

    def __init__(self, bound_ns: int) -> None:
        super().__init__()
        self._bound = bound_ns
        self._offices: set[int] = set()
        self._since: int | None = None

    def watch(self, record: Record) -> str | None:
        """See `Property.watch`."""
        took = None if self._since is None else record.t - self._since
        match record:
            case records.Lead(_, node):
                self._offices.add(node)
                self._since = None
            case records.StepDown(_, node):
                self._offices.discard(node)
            case records.Crash(t, node) if node in self._offices:
                self._offices.discard(node)
                if not self._offices:
                    self._since = t
                    self.exercised += 1
            case records.Fault(_, "crash"):
                pass
            case records.Fault() | records.Cut() | records.Pause():
                self._since = None  # something else fails: the bound says nothing
            case _:
                pass
        if took is not None and took > self._bound:
            return f"nobody led {took} ns after the leader's crash; the bound is {self._bound} ns"
        return None


class QuorumConnected(Property):
    """While some node reaches a majority for long enough, a leader with a majority exists.

    Raft does not promise this (a node whose log is old may be the only one that is connected);
    it is judged where it is asked for by name. Source: Omni-Paxos, EuroSys 2023, section 2.
    """

    name = "QuorumConnected"
    text = "while some node reaches a majority, a leader that reaches a majority is found"
    kind = "eventually"
    reads = frozenset(
        {
            records.Lead,
            records.StepDown,
            records.Crash,
            records.Boot,
            records.Cut,
            records.Heal,
            records.End,
        }
    )

    def __init__(self, nodes: int, bound_ns: int) -> None:
        super().__init__()
        self._nodes, self._bound = nodes, bound_ns
        self._up: set[int] = set()
        self._cuts: set[tuple[int, int]] = set()
        self._offices: set[int] = set()
        self._since: int | None = None

    def watch(self, record: Record) -> str | None:
        """See `Property.watch`."""
        missing = None if self._since is None else record.t - self._since
        self._note(record)
        wanted = any(self._reaches_majority(node) for node in self._up)
        served = any(self._reaches_majority(node) for node in self._offices)
        if wanted and not served:
            self.exercised += 1
            self._since = record.t if self._since is None else self._since
        else:
            self._since = None
        if missing is not None and missing > self._bound:
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


class CommunicationEfficient(_AfterCalm):
    """In the end at most n-1 links carry election traffic: those of the leader.

    Source: Aguilera, Delporte-Gallet, Fauconnier, Toueg, "Stable leader election" (DISC 2001).
    A link is counted once, whatever passes on it in either direction.
    """

    name = "CommunicationEfficient"
    text = "in the end at most n-1 links carry election traffic"
    reads = frozenset(
        {records.Lead, records.StepDown, records.Crash, records.Calm, records.Send, records.End}
    )

    def __init__(self, nodes: int) -> None:
        super().__init__()
        self._nodes = nodes
        self._links: set[frozenset[int]] = set()

    def watch(self, record: Record) -> str | None:
        """See `Property.watch`."""
        self.note(record)
        if isinstance(record, records.Send) and self.due(record.t):
            self._links.add(frozenset({record.node, record.to}))
            if len(self._links) > self._nodes - 1:
                return f"{len(self._links)} links carry traffic among {self._nodes} nodes"
        return None


class NoHerd(Property):
    """When an office becomes vacant, one candidate asks for it, not all of them.

    Counted are the acquisitions that reach the store from the vacancy until it grants the
    office again, each candidate once.
    """

    name = "NoHerd"
    text = "one candidate wakes up for a vacancy, not all"
    reads = frozenset({records.Apply, records.Expire})

    def __init__(self) -> None:
        super().__init__()
        self._asking: set[int] | None = None

    def watch(self, record: Record) -> str | None:
        """See `Property.watch`."""
        match record:
            case records.Apply(_, _, _, _, "released") | records.Expire():
                self._asking = set()
            case records.Apply(_, node, _, "acquire", outcome) if self._asking is not None:
                self.exercised += 1
                self._asking.add(node)
                asked = len(self._asking)
                if outcome == "granted":
                    self._asking = None
                if asked > 1:
                    return f"{asked} candidates asked for one vacancy"
            case _:
                pass
        return None
