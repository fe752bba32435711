"""All small traces: those of elections held once and of coverage here, and the others."""

from elector.trace.records import (
    Answer,
    Boot,
    Calm,
    Crash,
    Cut,
    End,
    Expire,
    Fault,
    Follow,
    Lead,
    Pause,
    Persist,
    Record,
    Request,
    StepDown,
    Write,
)
from tests.properties.progress_cases import PROGRESS, TRAFFIC
from tests.properties.safety_cases import MEMBERS, TENURES
from tests.properties.traces import (
    ALL,
    LIMIT,
    Case,
    beats,
    pre_asks,
    refusal,
)

ONCE = (
    Case("Unique", "one", (Lead(0, 1, 7), Lead(1, 1, 7))),
    Case("Unique", "two", (Lead(0, 1, 7), StepDown(1, 1, 7), Lead(2, 0, 8)), at=2),
    Case("Irrevocable", "each once", (Lead(0, 1, 7), Follow(1, 0, 1, 7))),
    Case("Irrevocable", "second thoughts", (Follow(0, 0, 1, 7), Lead(1, 0, 7)), at=1),
    Case("Irrevocable", "stepping down", (Lead(0, 0, 7), StepDown(1, 0, 7)), at=1),
    Case("Agree", "all", (Lead(0, 1, 7), Follow(1, 0, 1, 7), Follow(2, 2, 1, 7))),
    Case("Agree", "not all", (Follow(0, 0, 1, 7), Follow(1, 2, 0, 7)), at=1),
    Case("Valid", "took part", (Boot(0, 1), Lead(1, 1, 7))),
    Case("Valid", "took no part", (Boot(0, 1), Lead(1, 0, 7)), at=1),
    Case("MaxValid", "the greatest", (Boot(0, 0), Boot(0, 1), Lead(1, 1, 7))),
    Case("MaxValid", "the greatest of those", (Boot(0, 0), Lead(1, 0, 7))),
    Case(
        "MaxValid",
        "by identity",
        (Boot(0, 0), Boot(0, 1), Lead(1, 0, 7)),
        None,
        {"identities": (30, 20, 10)},
    ),
    Case("MaxValid", "not the greatest", (Boot(0, 0), Boot(0, 1), Lead(1, 0, 7)), at=2),
    Case("Terminates", "led", (Lead(0, 0, 1), End(1))),
    Case("Terminates", "never", (Boot(0, 0), End(1)), at=1),
    Case("Aware", "all", (Boot(0, 0), Boot(0, 1), Lead(1, 0, 7), Follow(2, 1, 0, 7), End(3))),
    Case(
        "Aware", "the dead need not", (Boot(0, 0), Boot(0, 1), Crash(0, 1), Lead(1, 0, 7), End(2))
    ),
    Case("Aware", "one does not know", (Boot(0, 0), Boot(0, 1), Lead(1, 0, 7), End(2)), at=3),
)

COVERAGE = (
    Case("SomebodyLed", "one", (Lead(0, 0, 1),)),
    Case("LeaderReplaced", "a second one", (Lead(0, 0, 1), Lead(1, 1, 2))),
    Case("LeaderCrashed", "the leader", (Lead(0, 0, 1), Crash(1, 0))),
    Case("NodeCrashed", "one", (Crash(1, 0),)),
    Case("NodePaused", "one", (Pause(1, 0, 5),)),
    Case("LinkCut", "one", (Cut(1, 0, 2),)),
    Case("LeaseExpired", "one", (Expire(1, 1),)),
    Case("LeaseLost", "one", (Answer(0, 0, 1, "lost"),)),
    Case("OutcomeLost", "one", (Answer(0, 0, 1, "unknown"),)),
    Case("StaleWriteRefused", "one", (Write(0, 0, 1, accepted=False, newest=2),)),
)

CASES = (*MEMBERS, *TENURES, *PROGRESS, *TRAFFIC, *ONCE, *COVERAGE)
VIOLATED = tuple(case for case in CASES if case.at is not None)

UNTESTED: tuple[tuple[str, tuple[Record, ...]], ...] = (
    ("TermUnique", (Follow(0, 1, None, 7),)),
    ("VoteOnce", (refusal(0, 0, 1, 3), Persist(1, 0, {"term": 3, "voted_for": 1}))),
    ("Durable", (pre_asks(0, 0, 1, 3), Persist(1, 0, {"term": 3, "voted_for": 1}))),
    ("LeaseDisjoint", (Lead(0, 0, 1), Lead(1, 1, 2))),
    ("StopBeforeTakeover", (Lead(0, 0, 1, 5), Pause(1, 0, 3))),
    ("Unfenced", (Lead(0, 0, 1, 5), Write(4, 0, 1, accepted=True, newest=1))),
    ("EventuallyLed", (Calm(0, LIMIT, ALL), End(9))),
    ("EventuallyKnown", (Calm(0, LIMIT, ALL), Lead(20, 0, 1), End(21))),
    ("Stable", (Calm(0, LIMIT, ALL), Lead(1, 0, 1), StepDown(2, 0, 1), End(20))),
    ("Failover", (Lead(0, 0, 1), Cut(1, 1, 2), Crash(2, 0), End(90))),
    ("QuorumConnected", (Boot(0, 0), End(90))),
    ("CommunicationEfficient", (beats(0, 0, 1, 1), Calm(1, LIMIT, ALL), beats(2, 1, 2, 1))),
    ("NoHerd", (Request(0, 0, 1, "acquire"), Request(0, 1, 1, "acquire"))),
    ("Terminates", (Boot(0, 0),)),
    ("Aware", (Boot(0, 0),)),
    ("LeaderReplaced", (Lead(0, 0, 1, 5), Lead(3, 0, 1, 8))),
    ("LeaderCrashed", (Lead(0, 0, 1), StepDown(1, 0, 1), Crash(2, 0), Crash(3, 1))),
    ("LeaseLost", (Answer(0, 0, 1, "renewed"),)),
    ("OutcomeLost", (Answer(0, 0, 1, "failed"),)),
    ("StaleWriteRefused", (Write(0, 0, 1, accepted=True, newest=1),)),
    ("EventuallyKnown", (Calm(0, LIMIT, ALL), Lead(1, 0, 1), End(9))),
    ("Failover", (Lead(0, 0, 1), StepDown(1, 0, 1), Crash(2, 0), End(90))),
    ("Failover", (Lead(0, 0, 1), Crash(1, 2), Crash(2, 0), End(90))),
    ("Failover", (Lead(0, 0, 1), Fault(1, "slow", 1, 20), Crash(20, 0), End(90))),
)
"""Traces with records that it reads and that put nothing to the test."""
