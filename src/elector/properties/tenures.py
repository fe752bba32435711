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
    crashed leads nobody.
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
            case records.StepDown(_, node) | records.Crash(_, node):
                self._offices.pop(node, None)
            case _:
                pass
        return None


class FenceMonotone(Property):
    """Tokens rise with every tenure; the one that is led with is above all before it."""

    name = "FenceMonotone"
    text = "the fencing token of each tenure is above all earlier ones"
    reads = frozenset({records.Lead})
    needs = frozenset({"rising_tokens", "linearizable_store"})

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
    """A guarded resource accepts no token below one that it has accepted."""

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

    A process that stands still does nothing, and nothing can stop it: its work does not count
    as running while it is paused. What it does when it wakes, before it notices, is what
    fencing is for: `FenceSafe`, and `Unfenced` counts it.
    """

    name = "StopBeforeTakeover"
    text = "the work of a tenure has stopped when that of another one begins"
    reads = frozenset({records.Work, records.Crash, records.Pause})
    needs = frozenset({"drift_bound", "linearizable_store", "rising_tokens"})

    def __init__(self) -> None:
        super().__init__()
        self._working: dict[int, int] = {}  # node: token
        self._paused_until: dict[int, int] = {}

    def watch(self, record: Record) -> str | None:
        """See `Property.watch`."""
        match record:
            case records.Work(t, node, token, "began"):
                self.exercised += 1
                self._working[node] = token
                for other, old in self._working.items():
                    if other != node and t >= self._paused_until.get(other, 0):
                        return (
                            f"the work of {other} (token {old}) runs while that of {node} "
                            f"(token {token}) begins"
                        )
            case records.Work(_, node, token, "stopped"):
                if self._working.get(node) == token:
                    del self._working[node]
            case records.Crash(_, node):
                self._working.pop(node, None)
            case records.Pause(_, node, until):
                self._paused_until[node] = until
            case _:
                pass
        return None


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
