"""What the traces of these tests are made of, and how they are judged."""

from typing import Any, NamedTuple

from elector.properties.catalogue import properties_for
from elector.properties.judge import judge
from elector.properties.verdict import Outcome, Verdict
from elector.trace.records import (
    FORMAT,
    Header,
    Persist,
    Record,
    Send,
    Work,
)

NODES = 3
ALL = (0, 1, 2)
LIMIT = 10  # ns, for properties that wait
EVERY = {"every_message": True}


class Case(NamedTuple):
    """A property, a trace, and the verdict.

    Attributes:
        property: its name.
        shows: why this trace is here.
        trace: the records.
        at: number of the record that completes the violation; None: there is none.
        options: for `properties_for`.
    """

    property: str
    shows: str
    trace: tuple[Record, ...]
    at: int | None = None
    options: dict[str, Any] = {}  # noqa: RUF012 - never changed


def said(case: Case, trace: tuple[Record, ...], void: tuple[str, ...] = ()) -> Verdict:
    """The verdict on a trace."""
    options = {"nodes": NODES, "bound_ns": LIMIT, **case.options}
    header = Header(FORMAT, "0.0", "simulation", "raft", ("a", "b", "c"), void=void)
    return judge(header, trace, properties_for("raft", [case.property], **options))[0]


def outcome(case: Case) -> Outcome:
    """What is expected of it: a case that is not violated exercises its property."""
    return "holds" if case.at is None else "violated"


def disk(t: int, node: int, term: int, voted_for: int | None = None) -> Persist:
    return Persist(t, node, {"type": "Ballot", "term": term, "voted_for": voted_for})


def vote(t: int, node: int, to: int, term: int) -> Send:
    return Send(t, node, to, t, {"type": "Vote", "term": term, "granted": True})


def refusal(t: int, node: int, to: int, term: int) -> Send:
    return Send(t, node, to, t, {"type": "Vote", "term": term, "granted": False})


def asks(t: int, node: int, to: int, term: int) -> Send:
    message = {"type": "RequestVote", "term": term, "log": [0, 0], "endorsed": False}
    return Send(t, node, to, t, message)


def pre_asks(t: int, node: int, to: int, term: int) -> Send:
    return Send(t, node, to, t, {"type": "RequestPreVote", "term": term, "log": [0, 0]})


def pre_vote(t: int, node: int, to: int, term: int, *, granted: bool) -> Send:
    return Send(t, node, to, t, {"type": "PreVote", "term": term, "granted": granted})


def beats(t: int, node: int, to: int, term: int) -> Send:
    return Send(t, node, to, t, {"type": "Heartbeat", "term": term, "sent_at": -1})


def began(t: int, node: int, token: int) -> Work:
    return Work(t, node, token, "began")


def stopped(t: int, node: int, token: int) -> Work:
    return Work(t, node, token, "stopped")
