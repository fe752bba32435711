"""Small traces of progress and of traffic, and what properties say of them."""

from elector.trace.records import (
    Apply,
    Boot,
    Calm,
    Crash,
    Cut,
    End,
    Expire,
    Fault,
    Follow,
    Heal,
    Lead,
    Pause,
    Request,
    StepDown,
)
from tests.properties.traces import (
    ALL,
    LIMIT,
    Case,
    beats,
)

_CALM = Calm(100, LIMIT, ALL)

PROGRESS = (
    Case("EventuallyLed", "in time", (_CALM, Lead(110, 0, 1), End(130))),
    Case("EventuallyLed", "all the time", (Lead(0, 0, 1), _CALM, End(130))),
    Case(
        "EventuallyLed",
        "what was before does not count",
        (Lead(0, 0, 1), Crash(1, 0), _CALM, Lead(109, 1, 2), End(130)),
    ),
    Case(
        "EventuallyLed",
        "given up, found again",
        (
            _CALM,
            Lead(105, 0, 1, 200),
            StepDown(120, 0, 1, "completed"),
            Lead(125, 1, 2, 300),
            End(140),
        ),
    ),
    Case("EventuallyLed", "never", (_CALM, End(130)), at=1),
    Case("EventuallyLed", "late", (_CALM, Lead(111, 0, 1), End(130)), at=1),
    Case(
        "EventuallyLed",
        "not one of the connected",
        (Calm(100, LIMIT, (1, 2)), Lead(105, 0, 1), End(130)),
        at=2,
    ),
    Case(
        "EventuallyLed",
        "crashed and not replaced",
        (Lead(0, 0, 1), _CALM, Crash(105, 0), End(130)),
        at=3,
    ),
    Case(
        "EventuallyLed",
        "the lease ran out in silence",
        (_CALM, Lead(105, 0, 1, 112), End(130)),
        at=2,
    ),
    Case(
        "EventuallyLed",
        "an old tenure's end ends no new one",
        (Lead(0, 0, 2), StepDown(1, 0, 1), _CALM, End(130)),
    ),
    Case(
        "EventuallyKnown",
        "all name it",
        (_CALM, Lead(105, 0, 1), Follow(106, 1, 0, 1), Follow(107, 2, 0, 1), End(130)),
    ),
    Case(
        "EventuallyKnown",
        "the unconnected need not",
        (Calm(100, LIMIT, (0, 1)), Lead(105, 0, 1), Follow(106, 1, 0, 1), End(130)),
    ),
    Case(
        "EventuallyKnown",
        "one does not",
        (_CALM, Lead(105, 0, 1), Follow(106, 1, 0, 1), End(130)),
        at=3,
    ),
    Case(
        "EventuallyKnown",
        "one names its predecessor",
        (
            Lead(0, 2, 1),
            Follow(1, 1, 2, 1),
            Crash(2, 2),
            _CALM,
            Lead(105, 0, 2),
            Follow(106, 2, 0, 2),
            End(130),
        ),
        at=6,
    ),
    Case(
        "EventuallyKnown",
        "it followed before it stepped down",
        (
            _CALM,
            Lead(101, 1, 1),
            Lead(105, 0, 2),
            Follow(106, 2, 0, 2),
            Follow(107, 1, 0, 2),
            StepDown(108, 1, 1),
            End(130),
        ),
    ),
    Case(
        "EventuallyKnown",
        "a leader found at the last instant",
        (_CALM, Lead(110, 0, 1), End(130)),
        at=2,
    ),
    Case("Stable", "stays", (_CALM, Lead(105, 0, 1), End(130))),
    Case(
        "Stable",
        "unrest before it is due",
        (_CALM, Lead(101, 0, 1), StepDown(102, 0, 1), Lead(104, 1, 2), End(130)),
    ),
    Case(
        "Stable",
        "given up",
        (
            _CALM,
            Lead(105, 0, 1, 200),
            StepDown(120, 0, 1, "completed"),
            Lead(121, 1, 2, 300),
            End(130),
        ),
    ),
    Case("Stable", "steps down", (_CALM, Lead(105, 0, 1), StepDown(120, 0, 1), End(130)), at=2),
    Case(
        "Stable",
        "its lease is lost",
        (_CALM, Lead(105, 0, 1, 200), StepDown(120, 0, 1, "lost")),
        at=2,
    ),
    Case("Stable", "another one leads", (_CALM, Lead(105, 0, 1), Lead(120, 1, 2)), at=2),
    Case(
        "Stable",
        "its lease runs out",
        (_CALM, Lead(105, 0, 1, 115), Lead(112, 0, 1, 120), End(130)),
        at=3,
    ),
    Case("Stable", "as soon as it is due", (_CALM, Lead(105, 0, 1), StepDown(110, 0, 1)), at=2),
    Case(
        "Stable",
        "its lease is prolonged too late",
        (_CALM, Lead(105, 0, 1, 115), Lead(111, 0, 1, 120), Lead(120, 0, 1, 130)),
        at=3,
    ),
    Case("Failover", "in time", (Lead(0, 0, 1), Crash(5, 0), Lead(15, 1, 2))),
    Case(
        "Failover",
        "something else was wrong",
        (
            Lead(0, 0, 1),
            Crash(5, 0),
            Lead(9, 1, 2),
            Boot(10, 0),
            Fault(12, "slow", 2, 20),
            Crash(13, 1),
            Lead(90, 2, 3),
        ),
    ),
    Case("Failover", "late", (Lead(0, 0, 1), Crash(5, 0), Lead(16, 1, 2)), at=2),
    Case(
        "Failover", "never", (Lead(0, 0, 1), Fault(5, "crash", 0, 50), Crash(5, 0), End(60)), at=3
    ),
    Case(
        "Failover",
        "after mended troubles",
        (Lead(0, 0, 1), Cut(1, 1, 2), Pause(1, 1, 3), Heal(4, 1, 2), Crash(5, 0), End(60)),
        at=5,
    ),
    Case(
        "Failover",
        "after somebody came back",
        (Lead(0, 0, 1), Crash(1, 2), Boot(2, 2), Crash(5, 0), End(60)),
        at=4,
    ),
    Case("QuorumConnected", "led", (Boot(0, 0), Boot(0, 1), Lead(8, 0, 1), End(90))),
    Case(
        "QuorumConnected",
        "nobody reaches a majority any more",
        (Boot(0, 0), Boot(0, 1), Crash(5, 1), End(90)),
    ),
    Case("QuorumConnected", "nobody leads", (Boot(0, 0), Boot(0, 1), End(11)), at=2),
    Case(
        "QuorumConnected",
        "the leader lost its majority, another has one",
        (*(Boot(0, node) for node in ALL), Lead(1, 0, 1), Cut(20, 0, 1), Cut(20, 2, 0), End(31)),
        at=6,
    ),
    Case(
        "QuorumConnected",
        "mended in time",
        (
            *(Boot(0, node) for node in ALL),
            Lead(1, 0, 1),
            Cut(20, 0, 1),
            Cut(20, 2, 0),
            Heal(29, 2, 0),
            End(50),
        ),
    ),
    Case(
        "QuorumConnected",
        "pauses do not count",
        (Boot(0, 0), Boot(0, 1), Pause(1, 1, 30), Lead(38, 0, 1), End(50)),
    ),
)

TRAFFIC = (
    Case("QuorumConnected", "in time, to the instant", (Boot(0, 0), Boot(0, 1), End(10))),
    Case(
        "QuorumConnected",
        "half is no majority",
        (*(Boot(0, node) for node in ALL), Lead(1, 2, 1), Crash(20, 2), End(90)),
        None,
        {"nodes": 4},
    ),
    Case(
        "QuorumConnected",
        "the leader stepped down",
        (Boot(0, 0), Boot(0, 1), Lead(1, 0, 1), StepDown(20, 0, 1), End(90)),
        at=4,
    ),
    Case(
        "QuorumConnected",
        "the leader restarted",
        (Boot(0, 0), Boot(0, 1), Lead(1, 0, 1), Crash(20, 0), Boot(21, 0), End(90)),
        at=5,
    ),
    Case(
        "CommunicationEfficient",
        "a star",
        (
            Calm(0, LIMIT, ALL),
            beats(1, 1, 2, 1),
            beats(10, 0, 1, 1),
            beats(11, 1, 0, 1),
            beats(12, 0, 2, 1),
            End(20),
        ),
    ),
    Case(
        "CommunicationEfficient",
        "a triangle",
        (Calm(0, LIMIT, ALL), beats(10, 0, 1, 1), beats(11, 0, 2, 1), beats(12, 1, 2, 1)),
        at=3,
    ),
    Case(
        "NoHerd",
        "at the last instant of the window",
        (Expire(0, 1), Request(1, 0, 1, "acquire"), Request(10**9, 1, 1, "acquire")),
        at=2,
    ),
    Case("NoHerd", "one wakes up", (Expire(0, 1), Request(1, 0, 1, "acquire"))),
    Case(
        "NoHerd",
        "much later is no waking",
        (Expire(0, 1), Request(1, 0, 1, "acquire"), Request(2 * 10**9, 1, 1, "acquire")),
    ),
    Case(
        "NoHerd",
        "two wake up",
        (
            Apply(0, 2, 4, "release", "released", None, 1),
            Request(1, 0, 1, "acquire"),
            Apply(2, 0, 1, "acquire", "granted", 0, 2, 90),
            Request(3, 1, 1, "acquire"),
        ),
        at=3,
    ),
)
