"""Whether the records of a production trace say of each step what it means, and nothing else."""

from collections import deque
from collections.abc import Sequence

from elector.core.effects import CandidateEffect
from elector.core.events import CandidateEvent
from elector.trace import records
from elector.trace.lease import effect_record, event_record
from elector.trace.plain import plain
from elector.trace.records import Plain, Record

_OF_EFFECTS = (records.Request, records.Lead, records.Follow, records.StepDown)
Compared = tuple[Plain, Plain]
"""What is recorded, and what should be; the same if nothing is wrong."""

_AS_IT_SHOULD_BE: Compared = ({}, {})


class Wording:
    """Follows the records of one trace. An `Answer` stands before its step, the others behind.

    Args:
        nodes: the names of the trace's nodes.
    """

    def __init__(self, nodes: Sequence[str]) -> None:
        self._numbers = {name: number for number, name in enumerate(nodes)}
        self._answer: records.Answer | None = None
        self._due: deque[Record] = deque()

    def compared(self, record: Record) -> Compared:
        """A record that is no step: is it due here?"""
        if isinstance(record, records.Answer):
            self._answer = record
        elif isinstance(record, _OF_EFFECTS):
            return _pair(record, self._due.popleft() if self._due else None)
        return _AS_IT_SHOULD_BE

    def stepped(
        self, step: records.Step, event: CandidateEvent, effects: Sequence[CandidateEffect]
    ) -> Compared:
        """A step: has all been said of the one before it, and the answer before this one?"""
        if self._due:
            return _pair(None, self._due.popleft())
        answer, self._answer = self._answer, None
        said = (effect_record(step.t, step.node, effect, self._numbers) for effect in effects)
        self._due.extend(record for record in said if record is not None)
        return _pair(answer, event_record(step.t, step.node, event))


def _pair(recorded: Record | None, due: Record | None) -> Compared:
    if recorded == due:
        return _AS_IT_SHOULD_BE
    return _told(recorded), _told(due)


def _told(record: Record | None) -> Plain:
    if record is None:
        return {}
    told: Plain = plain(record)
    return {told.pop("kind"): told}
