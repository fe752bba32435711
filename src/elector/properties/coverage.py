"""What a run has put to the test: properties of the kind *sometimes*."""

from typing import ClassVar

from elector.properties.verdict import Kind, Property
from elector.trace import records
from elector.trace.records import Record


class _Seen(Property):
    """Counts records of one kind."""

    kind: ClassVar[Kind] = "sometimes"

    def watch(self, record: Record) -> str | None:
        """See `Property.watch`."""
        self.exercised += self.counts(record)
        return None

    def counts(self, record: Record) -> bool:
        """Whether this is one."""
        return type(record) in self.reads


class SomebodyLed(_Seen):
    """A tenure began."""

    name = "SomebodyLed"
    text = "a tenure began"
    reads = frozenset({records.Lead})

    def __init__(self) -> None:
        super().__init__()
        self._tokens: set[int] = set()

    def counts(self, record: Record) -> bool:
        """See `_Seen.counts`."""
        if not isinstance(record, records.Lead) or record.token in self._tokens:
            return False
        self._tokens.add(record.token)
        return True


class LeaderReplaced(SomebodyLed):
    """A second tenure began."""

    name = "LeaderReplaced"
    text = "a tenure began after another one"

    def counts(self, record: Record) -> bool:
        """See `_Seen.counts`."""
        return super().counts(record) and len(self._tokens) > 1


class NodeCrashed(_Seen):
    """A process was killed."""

    name = "NodeCrashed"
    text = "a process was killed"
    reads = frozenset({records.Crash})


class LeaderCrashed(_Seen):
    """The process of a leader was killed."""

    name = "LeaderCrashed"
    text = "a process was killed that led"
    reads = frozenset({records.Lead, records.StepDown, records.Crash})

    def __init__(self) -> None:
        super().__init__()
        self._offices: set[int] = set()

    def counts(self, record: Record) -> bool:
        """See `_Seen.counts`."""
        match record:
            case records.Lead(_, node):
                self._offices.add(node)
            case records.StepDown(_, node):
                self._offices.discard(node)
            case records.Crash(_, node) if node in self._offices:
                self._offices.discard(node)
                return True
            case _:
                pass
        return False


class NodePaused(_Seen):
    """A process stood still."""

    name = "NodePaused"
    text = "a process stood still"
    reads = frozenset({records.Pause})


class LinkCut(_Seen):
    """A link was cut."""

    name = "LinkCut"
    text = "a link was cut"
    reads = frozenset({records.Cut})


class LeaseExpired(_Seen):
    """The store let a lease expire."""

    name = "LeaseExpired"
    text = "the store let a lease expire"
    reads = frozenset({records.Expire})


class LeaseLost(_Seen):
    """A leader was told that its lease is gone."""

    name = "LeaseLost"
    text = "a leader asked to renew a lease and was told that it is gone"
    reads = frozenset({records.Answer})

    def counts(self, record: Record) -> bool:
        """See `_Seen.counts`."""
        return isinstance(record, records.Answer) and record.outcome == "lost"


class OutcomeLost(_Seen):
    """A candidate did not learn what became of its request."""

    name = "OutcomeLost"
    text = "a candidate did not learn what became of its request"
    reads = frozenset({records.Answer})

    def counts(self, record: Record) -> bool:
        """See `_Seen.counts`."""
        return isinstance(record, records.Answer) and record.outcome == "unknown"


class StaleWriteRefused(_Seen):
    """The guarded resource refused a write."""

    name = "StaleWriteRefused"
    text = "the guarded resource refused a write"
    reads = frozenset({records.Write})

    def counts(self, record: Record) -> bool:
        """See `_Seen.counts`."""
        return isinstance(record, records.Write) and not record.accepted
