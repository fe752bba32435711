"""Judging a run by many properties at once, while it happens or afterwards.

>>> from elector.trace.records import Header, Lead
>>> head = Header(1, "0.0", "simulation", "raft", ("a", "b", "c"))
>>> said = judge(head, [Lead(0, 1, 7), Lead(9, 2, 7)])[0]
>>> said.name, said.outcome, said.at, said.text
('TermUnique', 'violated', 1, '1 and 2 lead under token 7')
"""

from collections.abc import Callable, Iterable, Sequence

from elector.properties.catalogue import properties_for
from elector.properties.verdict import Outcome, Property, Verdict
from elector.trace.records import Header, Record, Send

_Reader = tuple[Callable[[Record], str | None], Property]


class Judge:
    """A watcher that holds a run against properties.

    Args:
        properties: new ones: they remember what they have read.
        void: assumptions that the run breaks on purpose.

    Attributes:
        reads: the kinds of record that any of them wants.
        messages: the types of message that any of them wants; None: all.
        violated: the first violation, of a property whose assumptions stand.

    What a property reads is filtered here as well, so that its verdict does not depend on who
    else is watching.

    >>> from elector.trace.records import Lead
    >>> watching = Judge(properties_for("raft", ["TermUnique"], nodes=3))
    >>> watching.watch(Lead(0, 1, 7)), watching.watch(Lead(9, 2, 7))
    (True, False)
    >>> watching.violated.text
    '1 and 2 lead under token 7'
    """

    def __init__(self, properties: Sequence[Property], void: Iterable[str] = ()) -> None:
        self.properties = list(properties)
        self.void = frozenset(void)
        self.reads = frozenset[type[Record]]().union(*(p.reads for p in properties))
        self.messages = _messages(properties)
        self.violated: Verdict | None = None
        self._found: dict[str, Verdict] = {}
        self._count = -1
        self._t: int | None = None
        self._readers: dict[type[Record], list[_Reader]] = {
            kind: [(p.watch, p) for p in properties if kind in p.reads] for kind in self.reads
        }
        self._readers_of: dict[str, list[_Reader]] = {}  # of messages, by type

    def watch(self, record: Record) -> bool:
        """Take one record, in order; False once a property is violated.

        The number that a verdict gives is that among the records which were told.
        """
        self._count += 1
        self._t = record.t
        if isinstance(record, Send):
            readers = self._those_of(record.message.get("type", ""))
        else:
            readers = self._readers.get(type(record), [])
        for watch, judged in readers:
            complaint = watch(record)
            if complaint is not None and judged.name not in self._found:
                self._note(judged, complaint)
        return self.violated is None

    def _those_of(self, message: str) -> list[_Reader]:
        known = self._readers_of.get(message)
        if known is None:
            known = self._readers_of[message] = [
                (watch, judged)
                for watch, judged in self._readers.get(Send, [])
                if judged.messages is None or message in judged.messages
            ]
        return known

    def _note(self, judged: Property, complaint: str) -> None:
        broken = judged.needs & self.void
        outcome: Outcome = "assumption void" if broken else "violated"
        at = self._count if self._count >= 0 else None
        found = Verdict(judged.name, judged.kind, outcome, complaint, at, self._t)
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
        seen = judged.kind == "sometimes" and judged.exercised
        times = f"seen {judged.exercised} time{'s' * (judged.exercised > 1)}" if seen else ""
        return Verdict(judged.name, judged.kind, outcome, times)


def judge(
    header: Header, records: Iterable[Record], properties: Sequence[Property] | None = None
) -> list[Verdict]:
    """Judge a whole trace; numbers in verdicts are positions among its records, from 0.

    Args:
        header: of the trace; it says what was broken on purpose.
        records: all of them, in order.
        properties: new ones; None: all that make sense for the protocol, of every message.

    Raises:
        ConfigurationError: nothing is known of the protocol in the header.
    """
    if properties is None:
        properties = properties_for(header.protocol, nodes=len(header.nodes), every_message=True)
    judging = Judge(properties, header.void)
    for record in records:
        judging.watch(record)
    return judging.verdicts()


def _messages(properties: Sequence[Property]) -> frozenset[str] | None:
    wanted = [p.messages for p in properties if Send in p.reads]
    if any(types is None for types in wanted):
        return None
    return frozenset[str]().union(*(types for types in wanted if types is not None))
