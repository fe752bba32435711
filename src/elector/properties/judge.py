"""Judging a run by many properties at once, while it happens or afterwards.

>>> from elector.properties.catalogue import properties_for
>>> from elector.trace.records import Lead
>>> judge = Judge(properties_for("raft", ["TermUnique"], nodes=3))
>>> judge.watch(Lead(0, 1, 7)), judge.watch(Lead(9, 2, 7))
(True, False)
>>> judge.verdicts()[0].text
'1 and 2 lead under token 7'
"""

from collections.abc import Iterable, Sequence

from elector.properties.verdict import Outcome, Property, Verdict
from elector.trace.records import Header, Record, Send


class Judge:
    """A watcher that holds a run against properties.

    Args:
        properties: new ones: they remember what they have read.
        void: assumptions that the run breaks on purpose.

    Attributes:
        reads: the kinds of record that any of them wants.
        messages: the types of message that any of them wants; None: all.
        violated: the first violation, of a property whose assumptions stand.
    """

    def __init__(self, properties: Sequence[Property], void: Iterable[str] = ()) -> None:
        self.properties = list(properties)
        self.void = frozenset(void)
        self.reads = frozenset[type[Record]]().union(*(p.reads for p in properties))
        self.messages = _messages(properties)
        self.violated: Verdict | None = None
        self._found: dict[str, Verdict] = {}
        self._count = -1
        self._last: Record | None = None
        self._readers: dict[type[Record], list[Property]] = {
            kind: [p for p in properties if kind in p.reads] for kind in self.reads
        }

    def watch(self, record: Record) -> bool:
        """Take one record, in order; False once a property is violated.

        The number that a verdict gives is that among the records which were told.
        """
        self._count += 1
        self._last = record
        for judged in self._readers.get(type(record), ()):
            complaint = judged.watch(record)
            if complaint is not None and judged.name not in self._found:
                self._note(judged, complaint)
        return self.violated is None

    def _note(self, judged: Property, complaint: str) -> None:
        at = self._last.t if self._last is not None else None
        broken = judged.needs & self.void
        outcome: Outcome = "assumption void" if broken else "violated"
        found = Verdict(judged.name, judged.kind, outcome, complaint, self._count, at)
        self._found[judged.name] = found
        if not broken and self.violated is None:
            self.violated = found

    def verdicts(self) -> list[Verdict]:
        """What there is to say, in the order of the properties; the run is over."""
        for judged in self.properties:
            complaint = judged.finish() if judged.name not in self._found else None
            if complaint is not None:
                self._note(judged, complaint)
        return [
            self._found.get(judged.name) or self._unbroken(judged) for judged in self.properties
        ]

    def _unbroken(self, judged: Property) -> Verdict:
        broken = judged.needs & self.void
        if broken:
            text = f"{', '.join(sorted(broken))} was broken on purpose; nothing came of it"
            return Verdict(judged.name, judged.kind, "assumption void", text)
        outcome: Outcome = "holds" if judged.exercised else "never exercised"
        return Verdict(judged.name, judged.kind, outcome)


def judge(
    header: Header, records: Iterable[Record], properties: Sequence[Property]
) -> list[Verdict]:
    """Judge a whole trace; numbers in verdicts are positions among its records, from 0."""
    judging = Judge(properties, header.void)
    for record in records:
        judging.watch(record)
    return judging.verdicts()


def _messages(properties: Sequence[Property]) -> frozenset[str] | None:
    wanted = [p.messages for p in properties if Send in p.reads]
    if any(types is None for types in wanted):
        return None
    return frozenset[str]().union(*(types for types in wanted if types is not None))
