"""What passed between lanes: messages of members; requests to the store and their outcomes.

>>> from elector.trace.records import Deliver, Send
>>> archer = Archer()
>>> archer.take(0, Send(5, 0, 1, 77, {"type": "Vote"}))
>>> archer.take(1, Deliver(9, 1, 77))
>>> [(arrow.label, arrow.begin, arrow.end, arrow.fate) for arrow in archer.finish(10)]
[('Vote', 5, 9, 'arrived')]
"""

import msgspec

from elector.trace import records
from elector.trace.page.spans import STORE
from elector.trace.records import Record

_IN_DOUBT = frozenset({"failed", "unknown"})


class Arrow(msgspec.Struct, frozen=True, omit_defaults=True):
    """Something that left a lane.

    Attributes:
        kind: ``message``, ``request`` or ``answer``.
        source: lane that it left.
        target: lane that it was meant for.
        begin: true time at which it left, ns.
        end: when it arrived, or when it was sure that it would not, ns.
        label: type of the message, what was requested, or the outcome.
        sent: number of the record of its leaving.
        came: number of the record of its end.
        fate: ``arrived``, ``dropped``, ``underway`` at the end of the trace.
        why: a dropped one did not arrive.
    """

    kind: str
    source: int
    target: int
    begin: int
    end: int
    label: str
    sent: int
    came: int | None = None
    fate: str = "arrived"
    why: str = ""


class _Left(msgspec.Struct):
    """A message whose end is not known."""

    number: int
    source: int
    target: int
    t: int
    label: str
    ended: bool = False

    def arrow(self, end: int, came: int | None, fate: str, why: str = "") -> Arrow:
        self.ended = True
        return Arrow(
            "message",
            self.source,
            self.target,
            self.t,
            end,
            self.label,
            self.number,
            came,
            fate,
            why,
        )


class _Asked(msgspec.Struct):
    """A request; `applied` tells of the store's doing it: number of the record, and time.

    Until then `doubt` is what the candidate was told, number `doubted`.
    """

    number: int
    t: int
    what: str
    applied: tuple[int, int] | None = None
    outcome: str = ""
    doubt: records.Answer | None = None
    doubted: int | None = None


class Archer:
    """Makes arrows of records."""

    def __init__(self) -> None:
        self._arrows: list[Arrow] = []
        self._left: dict[int, _Left] = {}
        self._asked: dict[tuple[int, int], _Asked] = {}

    def take(self, number: int, record: Record) -> None:
        """Read the next record; `number` is its position in the trace."""
        match record:
            case records.Send(t, node, to, name, message):
                label = str(message.get("type", "message"))
                self._left[name] = _Left(number, node, to, t, label)
            case records.Deliver(t, _, name) if name in self._left:
                self._arrows.append(self._left[name].arrow(t, number, "arrived"))
            case records.Drop(t, _, name, why) if name in self._left:
                self._arrows.append(self._left[name].arrow(t, number, "dropped", why))
            case records.Request(t, node, op, what):
                self._give_up(node, op, t)  # of an earlier process, that counted from 1 too
                self._asked[node, op] = _Asked(number, t, what)
            case records.Apply(t, node, op, _, outcome) if (node, op) in self._asked:
                self._apply(number, t, node, outcome, self._asked[node, op])
            case records.Answer(_, node, op) if (node, op) in self._asked:
                self._answer(number, record, self._asked[node, op])
            case _:
                pass

    def finish(self, end: int) -> list[Arrow]:
        """There are no more records; all arrows, by when they left."""
        for left in self._left.values():
            if not left.ended:
                self._arrows.append(left.arrow(end, None, "underway"))
        for node, op in list(self._asked):
            self._give_up(node, op, end)
        return sorted(self._arrows, key=lambda arrow: (arrow.begin, arrow.end))

    def _apply(self, number: int, t: int, node: int, outcome: str, asked: _Asked) -> None:
        """The store does it: the request has arrived, be it once more."""
        begin = min(asked.t, t)
        self._arrows.append(
            Arrow("request", node, STORE, begin, t, asked.what, asked.number, number)
        )
        asked.applied, asked.outcome = (number, t), outcome

    def _answer(self, number: int, answer: records.Answer, asked: _Asked) -> None:
        lost = answer.outcome in _IN_DOUBT
        if asked.applied is None and lost:
            asked.doubt, asked.doubted = answer, number
            return
        if asked.applied is None:
            # A candidate's own trace does not know when the store did it: some time in between.
            middle = (asked.t + answer.t) // 2
            self._apply(number, middle, answer.node, answer.outcome, asked)
        applied, begin = asked.applied or (number, answer.t)
        self._arrows.append(
            Arrow(
                *("answer", STORE, answer.node, begin, answer.t),
                *(asked.outcome if lost else answer.outcome, applied, number),
                "dropped" if lost else "arrived",
                f"the candidate knows only: {answer.outcome}" if lost else "",
            )
        )

    def _give_up(self, node: int, op: int, t: int) -> None:
        """No more will be told of a request."""
        asked = self._asked.pop((node, op), None)
        if asked is None or asked.applied is not None:
            return
        sent = ("request", node, STORE, asked.t)
        if asked.doubt is None:
            lost = Arrow(*sent, t, asked.what, asked.number, fate="underway")
        else:
            why = f"no answer: {asked.doubt.outcome}"
            lost = Arrow(
                *sent, asked.doubt.t, asked.what, asked.number, asked.doubted, "dropped", why
            )
        self._arrows.append(lost)
