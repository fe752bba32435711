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


class LeaderReplaced(_Seen):
    """A second tenure began."""

    name = "LeaderReplaced"
    text = "a second tenure began"
    reads = frozenset({records.Lead})

    def __init__(self) -> None:
        super().__init__()
        self._tokens: set[int] = set()

    def counts(self, record: Record) -> bool:
        """See `_Seen.counts`."""
        if isinstance(record, records.Lead):
            self._tokens.add(record.token)
        return len(self._tokens) > 1


class NodeCrashed(_Seen):
    """A process was killed."""

    name = "NodeCrashed"
    text = "a process was killed"
    reads = frozenset({records.Crash})


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
