"""What a property says of a run, and what a property is.

A property reads records and complains. One that says *always* complains of the record that
breaks it, so that the prefix up to there shows the violation and no shorter one does. One that
says *sometimes* never complains: it tells whether the run put anything to the test. One that
says *eventually* complains when its time is over.
"""

from typing import ClassVar, Literal

import msgspec

from elector.trace.records import Record

Kind = Literal["always", "sometimes", "eventually"]
Outcome = Literal["holds", "violated", "never exercised", "assumption void"]

ASSUMPTIONS: dict[str, str] = {
    "drift_bound": "clock rates stay within the declared bound; clocks do not jump or stop",
    "durable_state": "what was persisted survives a crash",
    "linearizable_store": "the store keeps a lease for as long as it promised",
    "rising_tokens": "the store forgets no token that it has granted",
}
"""What a property may rest on, by the names that stand in `Header.void`."""


class Verdict(msgspec.Struct, frozen=True, omit_defaults=True):
    """A property's word on one run.

    Attributes:
        name: of the property.
        kind: always, sometimes or eventually.
        outcome: *never exercised* if nothing in the run could have broken it; *assumption
            void* if the run broke on purpose what the property rests on.
        text: what was seen, where something was.
        at: number of the record that completes the shortest prefix which shows it.
        t: true time of that record, ns.
    """

    name: str
    kind: Kind
    outcome: Outcome
    text: str = ""
    at: int | None = None
    t: int | None = None


class Property:
    """A predicate over a trace.

    Attributes:
        name: as users write it.
        text: what it says, in one line.
        kind: always, sometimes or eventually.
        reads: the records it wants to be told.
        messages: of messages sent, only those of these types; None: all of them.
        needs: assumptions that it rests on, of `ASSUMPTIONS`.
        exercised: how often it was put to the test.
    """

    name: ClassVar[str]
    text: ClassVar[str]
    kind: ClassVar[Kind] = "always"
    reads: ClassVar[frozenset[type[Record]]]
    messages: frozenset[str] | None = None
    needs: ClassVar[frozenset[str]] = frozenset()

    def __init__(self) -> None:
        self.exercised = 0

    def watch(self, record: Record) -> str | None:
        """Take one record; what is wrong, if something is now."""
        raise NotImplementedError

    def finish(self) -> str | None:
        """There are no more records; what is missing, if something is."""
        return None
