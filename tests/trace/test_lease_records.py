"""What a candidate's steps are called in a trace."""

from typing import get_args

import pytest

from elector.core.effects import (
    AbortWork,
    Acquire,
    CandidateEffect,
    Extend,
    Lead,
    LeaveQueue,
    Observe,
    Refuse,
    Release,
    Renew,
    SetTimer,
    StepDown,
    StopWork,
    Withdrawn,
)
from elector.core.events import (
    CandidateEvent,
    Failed,
    Granted,
    Lost,
    Occupied,
    OutcomeLost,
    Released,
    Renewed,
    Start,
    StoreEvent,
    TimerFired,
    WorkStopped,
)
from elector.core.office import Deadlines, EndReason, Led, Unknown, Vacant
from elector.trace import records
from elector.trace.lease import effect_record, event_record
from elector.trace.records import Record

SAID: list[tuple[CandidateEffect, Record | None]] = [
    (Acquire(1), records.Request(5, 2, 1, "acquire")),
    (Renew(3, 7), records.Request(5, 2, 3, "renew", 7)),
    (Release(4, 7, EndReason.COMPLETED), records.Request(5, 2, 4, "release", 7)),
    (Lead(7, Deadlines(10, 20)), records.Lead(5, 2, 7, until=120)),
    (Extend(7, Deadlines(10, 20)), records.Lead(5, 2, 7, until=120)),
    (StepDown(7, EndReason.LOST), records.StepDown(5, 2, 7, "lost")),
    (Observe(Led("b", 7)), records.Follow(5, 2, 1, 7)),
    (Observe(Led("z", 7)), records.Follow(5, 2, None, 7, "z")),
    (Observe(Vacant()), records.Follow(5, 2, None, 0)),
    (Observe(Unknown(4)), records.Follow(5, 2, None, 0)),
    (SetTimer("renew", 1, 2), None),
    (StopWork(7, EndReason.LOST), None),
    (AbortWork(7), None),
    (LeaveQueue(), None),
    (Refuse(7, 8), None),
    (Withdrawn(), None),
]
HEARD: list[tuple[CandidateEvent, str | None]] = [
    (Granted(1, 3, 7), "granted"),
    (Occupied(1, 3, "b", 7), "occupied"),
    (Renewed(1, 3), "renewed"),
    (Lost(1, 3), "lost"),
    (Released(1, 3), "released"),
    (Failed(1, 3), "failed"),
    (OutcomeLost(1, 3), "unknown"),
    (Start(1), None),
    (TimerFired(1, "renew"), None),
    (WorkStopped(1, 7), None),
]


@pytest.mark.parametrize(("effect", "record"), SAID)
def test_effects(effect: CandidateEffect, record: Record | None) -> None:
    nodes = {"a": 0, "b": 1, "c": 2}
    assert effect_record(5, 2, effect, nodes, lambda at: at + 100) == record


@pytest.mark.parametrize(("event", "outcome"), HEARD)
def test_events(event: CandidateEvent, outcome: str | None) -> None:
    answer = None if outcome is None else records.Answer(5, 2, 3, outcome)
    assert event_record(5, 2, event) == answer


def test_no_effect_and_no_answer_is_left_out() -> None:
    assert {type(effect) for effect, _ in SAID} == set(get_args(CandidateEffect))
    assert {type(event) for event, what in HEARD if what} == set(get_args(StoreEvent))
