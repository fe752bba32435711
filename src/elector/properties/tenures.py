"""Safety of tenures: one leader at an instant, tokens that rise, work that stops in time."""

from typing import NamedTuple

from elector.properties.verdict import Property
from elector.trace import records
from elector.trace.records import Record


class _Office(NamedTuple):
    token: int
    until: int


class LeaseDisjoint(Property):
    """The intervals [Lead, min(StepDown, until)) of different nodes never meet, on true time.

    Offices without an `until` have no lease, and this says nothing of them. A node that
    crashed leads nobody. Of two things at one instant, the order in the trace decides.
    """

    name = "LeaseDisjoint"
    text = "at no instant are two nodes inside their tenures"
    reads = frozenset({records.Lead, records.StepDown, records.Crash})
    needs = frozenset({"drift_bound", "linearizable_store", "durable_state", "rising_tokens"})

    def __init__(self) -> None:
        super().__init__()
        self._offices: dict[int, _Office] = {}

    def watch(self, record: Record) -> str | None:
        """See `Property.watch`."""
        match record:
            case records.Lead(t, node, token, until) if until is not None:
                self.exercised += 1
                self._offices[node] = _Office(token, until)
                for other, office in self._offices.items():
                    if other != node and t < office.until and t < until:
                        return (
                            f"{node} (token {token}) and {other} (token {office.token}) "
                            "are both inside their tenures"
                        )
            case records.StepDown(_, node, token):
                if node in self._offices and self._offices[node].token == token:
                    del self._offices[node]
            case records.Crash(_, node):
                self._offices.pop(node, None)
            case _:
                pass
        return None


class FenceMonotone(Property):
    """Tokens rise with every tenure; the one that is led with is above all before it.

    It is said of offices that a store grants, one after another. Terms do not keep to this:
    whoever wins an old term may learn so after somebody else has won a newer one.
    """

    name = "FenceMonotone"
    text = "the fencing token of each tenure is above all earlier ones"
    reads = frozenset({records.Lead})
    needs = frozenset({"drift_bound", "linearizable_store", "rising_tokens"})

    def __init__(self) -> None:
        super().__init__()
        self._newest = 0
        self._holder: int | None = None

    def watch(self, record: Record) -> str | None:
        """See `Property.watch`."""
        if not isinstance(record, records.Lead):
            return None
        if record.token == self._newest and record.node == self._holder:
            return None  # the same tenure, prolonged
        self.exercised += 1
        if record.token <= self._newest:
            return f"node {record.node} leads with token {record.token} after {self._newest}"
        self._newest, self._holder = record.token, record.node
        return None


class FenceSafe(Property):
    """A guarded resource accepts no token below one that it has accepted, whatever else breaks."""

    name = "FenceSafe"
    text = "the guarded resource accepts no token below one it has accepted"
    reads = frozenset({records.Write})

    def __init__(self) -> None:
        super().__init__()
        self._newest = 0

    def watch(self, record: Record) -> str | None:
        """See `Property.watch`."""
        if not isinstance(record, records.Write):
            return None
        self.exercised += 1
        if not record.accepted:
            return None
        if record.token < self._newest:
            return f"token {record.token} of node {record.node} was accepted after {self._newest}"
        self._newest = record.token
        return None


class StopBeforeTakeover(Property):
    """No work of one tenure runs when that of another one begins.

    A process that stands still does nothing, and nothing can stop it. So its work does not
    count as running while it is paused; and if the pause outlasts the lease, the work does not
    count any more at all: when the process wakes it finds its deadline behind it, and what it
    does before it looks is for a guard to refuse. `FenceSafe` judges that, and `Unfenced`
    counts it. A pause that is over before the lease is excuses nothing.
    """

    name = "StopBeforeTakeover"
    text = "the work of a tenure has stopped when that of another one begins"
    reads = frozenset({records.Work, records.Lead, records.Crash, records.Pause})
    needs = frozenset({"drift_bound", "linearizable_store", "rising_tokens"})

    def __init__(self) -> None:
        super().__init__()
        self._running: dict[int, int] = {}  # token: node
        self._until: dict[int, int] = {}  # token: end of its lease
        self._paused_until: dict[int, int] = {}
        self._overslept: set[int] = set()  # tokens

    def watch(self, record: Record) -> str | None:
        """See `Property.watch`."""
        match record:
            case records.Work(t, node, token, "began"):
                return self._began(t, node, token)
            case records.Work(_, _, token, "stopped"):
                self._ended(token)
            case records.Crash(_, node):
                for token in [token for token, who in self._running.items() if who == node]:
                    self._ended(token)
            case records.Lead(_, _, token, until) if until is not None:
                self._until[token] = until
                self._overslept.discard(token)
            case records.Pause(_, node, until):
                self._paused_until[node] = until
                self._overslept |= {
                    token
                    for token, who in self._running.items()
                    if who == node and token in self._until and self._until[token] <= until
                }
            case _:
                pass
        return None

    def _began(self, t: int, node: int, token: int) -> str | None:
        self.exercised += 1
        for old, other in self._running.items():
            excused = t <= self._paused_until.get(other, -1) or old in self._overslept
            if old != token and not excused:
                return (
                    f"the work of {other} (token {old}) runs while that of {node} "
                    f"(token {token}) begins"
                )
        self._running[token] = node
        return None

    def _ended(self, token: int) -> None:
        self._running.pop(token, None)
        self._until.pop(token, None)
        self._overslept.discard(token)


class Unfenced(Property):
    """Somebody wrote whose tenure was over: the resource alone can refuse that."""

    name = "Unfenced"
    text = "a former leader tried to write, so that only a guard could refuse it"
    kind = "sometimes"
    reads = frozenset({records.Lead, records.Write})

    def __init__(self) -> None:
        super().__init__()
        self._until: dict[int, int] = {}

    def watch(self, record: Record) -> str | None:
        """See `Property.watch`."""
        match record:
            case records.Lead(_, _, token, until) if until is not None:
                self._until[token] = until
            case records.Write(t, _, token) if t >= self._until.get(token, t + 1):
                self.exercised += 1
            case _:
                pass
        return None
