"""Elections that are held once: the classics on rings, trees and graphs.

Every node decides once, by `Lead` or `Follow`; `Boot` says that it takes part. In such a
trace the token of a leader is its identity where that means something (`MaxValid`).
"""

from typing import ClassVar

from elector.properties.verdict import Kind, Property
from elector.trace import records
from elector.trace.records import Record

_OUTPUTS: frozenset[type[Record]] = frozenset({records.Lead, records.Follow, records.StepDown})


class Unique(Property):
    """At most one node ever says that it leads."""

    name = "Unique"
    text = "at most one node ever says that it leads"
    reads: ClassVar[frozenset[type[Record]]] = frozenset({records.Lead})

    def __init__(self) -> None:
        super().__init__()
        self._leader: int | None = None

    def watch(self, record: Record) -> str | None:
        """See `Property.watch`."""
        if not isinstance(record, records.Lead):
            return None
        self.exercised += 1
        if self._leader is None:
            self._leader = record.node
        if self._leader != record.node:
            return f"{self._leader} and {record.node} both say that they lead"
        return None


class Irrevocable(Property):
    """Nothing follows a node's output."""

    name = "Irrevocable"
    text = "a node decides once"
    reads = _OUTPUTS

    def __init__(self) -> None:
        super().__init__()
        self._decided: set[int] = set()

    def watch(self, record: Record) -> str | None:
        """See `Property.watch`."""
        if not isinstance(record, records.Lead | records.Follow | records.StepDown):
            return None
        self.exercised += 1
        if record.node in self._decided:
            return f"node {record.node} decided twice"
        self._decided.add(record.node)
        return None


class Agree(Property):
    """All outputs name the same leader."""

    name = "Agree"
    text = "all who decide name the same leader"
    reads: ClassVar[frozenset[type[Record]]] = frozenset({records.Lead, records.Follow})

    def __init__(self) -> None:
        super().__init__()
        self._leader: int | None = None

    def watch(self, record: Record) -> str | None:
        """See `Property.watch`."""
        match record:
            case records.Lead(_, node):
                leader: int | None = node
            case records.Follow(_, node, leader):
                pass
            case _:
                return None
        if leader is None:
            return None
        self.exercised += 1
        if self._leader is None:
            self._leader = leader
        if self._leader != leader:
            return f"node {node} names {leader}, and {self._leader} was named before"
        return None


class _AtTheEnd(Property):
    """Something that the end of the run has to show."""

    kind: ClassVar[Kind] = "eventually"
    reads: ClassVar[frozenset[type[Record]]] = frozenset(
        {records.Boot, records.Crash, records.Lead, records.Follow, records.End}
    )

    def __init__(self) -> None:
        super().__init__()
        self.up: set[int] = set()
        self.decided: set[int] = set()
        self.leaders: dict[int, int] = {}

    def watch(self, record: Record) -> str | None:
        """See `Property.watch`."""
        match record:
            case records.Boot(_, node):
                self.up.add(node)
            case records.Crash(_, node):
                self.up.discard(node)
            case records.Lead(_, node, token):
                self.decided.add(node)
                self.leaders[node] = token
            case records.Follow(_, node):
                self.decided.add(node)
            case records.End():
                self.exercised += 1
                return self.lacking()
            case _:
                pass
        return None

    def lacking(self) -> str | None:
        """What the end lacks."""
        raise NotImplementedError


class Terminates(_AtTheEnd):
    """In the end somebody leads."""

    name = "Terminates"
    text = "in the end somebody leads"

    def lacking(self) -> str | None:
        """See `_AtTheEnd.lacking`."""
        return None if self.leaders else "the run ended and nobody leads"


class Aware(_AtTheEnd):
    """In the end every correct node has decided."""

    name = "Aware"
    text = "in the end every correct node knows the outcome"

    def lacking(self) -> str | None:
        """See `_AtTheEnd.lacking`."""
        unaware = sorted(self.up - self.decided)
        return f"nodes {unaware} have not decided" if unaware else None


class Valid(Property):
    """Whoever leads took part."""

    name = "Valid"
    text = "the leader took part in the election"
    reads: ClassVar[frozenset[type[Record]]] = frozenset({records.Boot, records.Lead})

    def __init__(self) -> None:
        super().__init__()
        self._took_part: set[int] = set()

    def watch(self, record: Record) -> str | None:
        """See `Property.watch`."""
        match record:
            case records.Boot(_, node):
                self._took_part.add(node)
            case records.Lead(_, node):
                self.exercised += 1
                if node not in self._took_part:
                    return f"node {node} leads and took no part"
            case _:
                pass
        return None


class MaxValid(Property):
    """The leader has the greatest identity of all that took part, where that is claimed.

    Args:
        identities: of the nodes, by number; empty: the numbers themselves.
    """

    name = "MaxValid"
    text = "the leader is the participant with the greatest identity"
    reads: ClassVar[frozenset[type[Record]]] = frozenset({records.Boot, records.Lead})

    def __init__(self, identities: tuple[int, ...] = ()) -> None:
        super().__init__()
        self._identities = identities
        self._took_part: set[int] = set()

    def watch(self, record: Record) -> str | None:
        """See `Property.watch`."""
        match record:
            case records.Boot(_, node):
                self._took_part.add(node)
            case records.Lead(_, node):
                self.exercised += 1
                greatest = max(self._took_part, key=self._identity, default=None)
                if node != greatest:
                    return f"node {node} leads, and node {greatest} has the greatest identity"
            case _:
                pass
        return None

    def _identity(self, node: int) -> int:
        return self._identities[node] if self._identities else node
