"""The mechanisms of real bugs, 1 to 29, each put into the correct code on purpose.

The numbers are those of the project's list of what goes wrong in leader election. A mutant
says where it is put, in which world it shows, and which property has to notice.
"""

from collections.abc import Callable
from random import Random
from types import ModuleType
from typing import Any, NamedTuple

from elector.core.duration import SECOND_NS
from elector.core.timing import LeaseTiming
from elector.protocols import lease, raft
from elector.protocols.raft_settings import RaftSettings
from elector.simulation import lease as lease_world
from elector.simulation import store
from elector.simulation.faults import LEADER, MS, Delay, Faults, Trouble, Weather
from elector.simulation.run import Configuration

S = SECOND_NS
_PLAIN = RaftSettings.of("150ms", "300ms", "50ms", pre_vote=False, check_quorum=False)
_FULL = RaftSettings.of("150ms", "300ms", "50ms")
_LEASED = RaftSettings.of("150ms", "300ms", "30ms", lease=True)
_TIGHT = LeaseTiming.of("15s", margin="0s")

Draw = Callable[[Random], Faults]


class Mutant(NamedTuple):
    """A bug.

    Attributes:
        number: in the list.
        what: the bug, in a few words.
        module: where it is put; None if it is one of settings or of the world.
        old, new: the text that is replaced.
        notices: the property that has to be violated.
        world: in which it shows.
        faults: drawn for each seed.
        scope: for people.
        explorer: scope of the exhaustive search, as (nodes, terms, restarts); None: not there.
    """

    number: int
    what: str
    module: ModuleType | None
    old: str
    new: str
    notices: str
    world: Configuration
    faults: Draw
    scope: str


def _raft(nodes: int = 3, settings: RaftSettings = _PLAIN, seconds: int = 3) -> Configuration:
    return Configuration(protocol="raft", nodes=nodes, raft=settings, duration_ns=seconds * S)


def _lease(seconds: int = 200, nodes: int = 2, **more: Any) -> Configuration:
    return Configuration(
        protocol="lease", nodes=nodes, lease=_TIGHT, duration_ns=seconds * S, **more
    )


# -- weathers ------------------------------------------------------------------------------------


def stormy(random: Random) -> Faults:
    """Messages late, lost and repeated; processes that crash at any effect."""
    weather = Weather(
        delay=Delay("uniform", 1 * MS, random.choice((30, 100, 400)) * MS),
        loss=random.choice((0.0, 0.05, 0.2)),
        duplicate=random.choice((0.0, 0.1, 0.5)),
        disk=(0, random.choice((2, 40)) * MS),
        crash=random.choice((0.0, 0.01, 0.05)),
        down=(0, random.choice((10, 100)) * MS),
        late_ns=random.choice((0, 50 * MS)),
    )
    cut = Trouble(random.randrange(1 * S), "isolate", (LEADER,), 2 * S)
    return Faults(weather, (cut,) if random.random() < 1 / 2 else ())


def restarts(random: Random) -> Faults:
    """Processes that crash and are back at once, while candidacies collide."""
    weather = Weather(
        delay=Delay("uniform", 1 * MS, random.choice((60, 200)) * MS),
        duplicate=0.2,
        disk=(0, 20 * MS),
        crash=random.choice((0.02, 0.05)),
        down=(0, 20 * MS),
    )
    return Faults(weather)


def partitioned(random: Random) -> Faults:
    """The leader is cut off, or hears nothing."""
    kind = random.choice(("isolate", "deaf", "cut"))
    whom = (LEADER, LEADER - 1) if kind == "cut" else (LEADER,)
    lasts = random.randrange(1 * S, 3 * S)
    return Faults(Weather(), (Trouble(1 * S, kind, whom, 1 * S + lasts),))


def deaf_leader(random: Random) -> Faults:
    """The leader is heard and hears nothing, until the end."""
    return Faults(Weather(), (Trouble(random.randrange(1 * S, 2 * S), "deaf", (LEADER,), 60 * S),))


def slow_store(random: Random) -> Faults:
    """Replies that are lost or late, clocks at both ends of the bound."""
    weather = Weather(
        delay=Delay("uniform", 1 * MS, random.choice((10, 700)) * MS),
        drift_ppm=10_000,
        lost_reply=random.choice((0.0, 0.3, 0.6)),
        lost_request=random.choice((0.0, 0.2)),
        late_reply=random.choice((0.0, 0.3)),
        late_request=random.choice((0.0, 0.3)),
        work=random.choice(((0, 0), (0, 40 * S))),
        stop=(0, 2 * S),
    )
    return Faults(weather, _silences(random))


def _silences(random: Random) -> tuple[Trouble, ...]:
    """The store answers nobody, or not the leader, for a while."""
    troubles = []
    at = random.randrange(20 * S)
    while at < 180 * S:
        kind = random.choice(("silent", "numb", "mute", "pause", "resign"))
        whom = () if kind == "silent" else (LEADER,)
        troubles.append(Trouble(at, kind, whom, at + random.randrange(5 * S, 40 * S)))
        at += random.randrange(10 * S, 60 * S)
    return tuple(troubles)


def clock_steps_back(random: Random) -> Faults:
    """The leader hears nothing from the store, and its clock is set back."""
    at = random.randrange(20 * S, 40 * S)
    return Faults(
        Weather(),
        (
            Trouble(at, "mute", (LEADER,), at + 60 * S),
            Trouble(at + 1 * S, "step", (LEADER,), value=-30 * S),
        ),
    )


def blind(random: Random) -> Faults:
    """No announcement of the store arrives, and the leader dies."""
    return Faults(
        Weather(blind=1.0),
        (Trouble(random.randrange(30 * S, 60 * S), "crash", (LEADER,), 190 * S),),
    )


def failovers(random: Random) -> Faults:
    """The store forgets its last write, again and again; work is short."""
    troubles = []
    at = 0
    while at < 180 * S:
        at += random.randrange(1 * S, 12 * S)
        troubles.append(Trouble(at, "failover"))
    return Faults(Weather(work=(0, 8 * S)), tuple(troubles))


def naps(random: Random) -> Faults:
    """Any candidate stands still at any time, for longer than a lease or not; work is short."""
    troubles = []
    at = 0
    while at < 180 * S:
        at += random.randrange(1 * S, 12 * S)
        lasts = random.choice((3 * S, 16 * S, random.randrange(1 * S, 40 * S)))
        troubles.append(Trouble(at, "pause", (random.randrange(2),), at + lasts))
    weather = Weather(delay=Delay("uniform", 1 * MS, 700 * MS), work=(0, 12 * S), stop=(0, 2 * S))
    return Faults(weather, tuple(troubles))


def pauses(random: Random) -> Faults:
    """The leader stands still for longer than its lease, now and then."""
    first = random.randrange(20 * S, 40 * S)
    return Faults(
        Weather(),
        tuple(
            Trouble(at, "pause", (LEADER,), at + random.randrange(16 * S, 40 * S))
            for at in range(first, 180 * S, 60 * S)
        ),
    )


MUTANTS = (
    Mutant(
        1,
        "the vote is lost on restart",
        raft,
        "voted_for=durable.voted_for, log",
        "voted_for=None, log",
        "TermUnique",
        _raft(),
        restarts,
        "N3",
    ),
    Mutant(
        2,
        "the term is lost on restart",
        raft,
        "term=durable.term,",
        "term=0,",
        "TermMonotone",
        _raft(),
        restarts,
        "N3",
    ),
    Mutant(
        3,
        "a second vote in one term",
        raft,
        "if state.voted_for not in {None, source} or message.log < state.log:",
        "if message.log < state.log:",
        "TermUnique",
        _raft(),
        stormy,
        "N3",
    ),
    Mutant(
        4,
        "messages of a lower term are accepted",
        raft,
        "        if message.term < state.term:",
        "        if False:",
        "TermUnique",
        _raft(),
        stormy,
        "N3",
    ),
    Mutant(
        5,
        "an old term's vote is counted now",
        raft,
        "        if message.term < state.term:",
        "        if message.term < state.term and not isinstance(message, Vote):",
        "Majority",
        _raft(),
        stormy,
        "N3",
    ),
    Mutant(
        6,
        "votes are not cleared on a new candidacy",
        raft,
        "votes=frozenset({self.node}),",
        "votes=state.votes | {self.node},",
        "Majority",
        _raft(4),
        stormy,
        "N4",
    ),
    Mutant(
        7,
        "a repeated vote is counted twice",
        raft,
        "votes=state.votes | {source})",
        "votes=state.votes | {(1 + source) * 100 ** len(state.votes)})",
        "Majority",
        _raft(4),
        stormy,
        "N4",
    ),
    Mutant(
        8,
        "half is a quorum",
        raft,
        "self.quorum = len(members) // 2 + 1",
        "self.quorum = (len(members) + 1) // 2",
        "TermUnique",
        _raft(4),
        stormy,
        "N4",
    ),
    Mutant(
        9,
        "the vote is not cleared in a new term",
        raft,
        "term=message.term, voted_for=None)",
        "term=message.term)",
        "EventuallyLed",
        _raft(),
        partitioned,
        "N3",
    ),
    Mutant(
        10,
        "a vote is sent before it is persisted",
        raft,
        "return left + kept + self._outputs(before, after) + effects",
        "return left + self._outputs(before, after) + effects + kept",
        "Durable",
        _raft(),
        stormy,
        "N3",
    ),
    Mutant(
        11,
        "PreVote ignores a lower term",
        raft,
        "            case RequestPreVote():\n"
        "                answer = PreVote(state.term, granted=False)\n"
        "            case Heartbeat():\n"
        "                answer = HeartbeatReply(state.term, _NEVER, state.log)\n",
        "",
        "EventuallyKnown",
        _raft(settings=_FULL),
        stormy,
        "N3",
    ),
    Mutant(
        12,
        "a node that stands does not forget its leader",
        raft,
        "return replace(state, leader=None), (self._patience(state.leader, at),)",
        "return state, (self._patience(state.leader, at),)",
        "EventuallyLed",
        _raft(settings=_FULL),
        stormy,
        "N3",
    ),
    Mutant(
        13,
        "a leader without a quorum goes on",
        raft,
        "        if len(state.heard) + 1 < self.quorum:\n",
        "        if False:\n",
        "QuorumConnected",
        _raft(5, _FULL, 20),
        deaf_leader,
        "N5",
    ),
    Mutant(
        14,
        "plain Raft on partial links changes leaders for ever",
        None,
        "",
        "",
        "a stable leader",
        _raft(5),
        stormy,
        "N5",
    ),
    Mutant(
        17,
        "the lease is counted from the reply",
        lease,
        "deadlines = self.timing.deadlines(state.sent_at)",
        "deadlines = self.timing.deadlines(event.at)",
        "LeaseDisjoint",
        _lease(),
        slow_store,
        "2 candidates",
    ),
    Mutant(
        16,
        "the lease is on a wall clock, which steps back",
        None,
        "",
        "",
        "StopBeforeTakeover",
        _lease(),
        clock_steps_back,
        "2 candidates",
    ),
    Mutant(
        18,
        "the deadline counts from the latest attempt",
        lease,
        "since = state.sent_at if state.doubt_since is None else state.doubt_since",
        "since = state.sent_at",
        "LeaseDisjoint",
        _lease(store="s3"),
        slow_store,
        "2 candidates",
    ),
    Mutant(
        19,
        "a contender counts its own, shorter duration",
        store,
        "return since + self.ttl_ns - shown",
        "return since + self.ttl_ns // 2 - shown",
        "LeaseDisjoint",
        _lease(store="s3"),
        slow_store,
        "2 candidates",
    ),
    Mutant(
        20,
        "a remote timestamp is compared with a local clock",
        store,
        "return since + self.ttl_ns - shown",
        "return self.expires - shown",
        "LeaseDisjoint",
        _lease(store="s3"),
        slow_store,
        "2 candidates",
    ),
    Mutant(
        21,
        "the resource does not compare tokens",
        lease_world,
        "accepted = token >= self.newest_write",
        "accepted = True",
        "FenceSafe",
        _lease(),
        pauses,
        "2 candidates",
    ),
    Mutant(
        22,
        "a grant is led with though it waited too long",
        lease,
        "return EndReason.EXPIRED if at >= state.deadlines.soft_ns else None",
        "return None",
        "StopBeforeTakeover",
        _lease(),
        naps,
        "2 candidates",
    ),
    Mutant(
        23,
        "a failed renewal is taken for success",
        lease,
        "        OutcomeLost: _unanswered,",
        "        OutcomeLost: _renewed,",
        "LeaseDisjoint",
        _lease(),
        slow_store,
        "2 candidates",
    ),
    Mutant(
        24,
        "release does not compare the owner",
        store,
        "return self.held(now) and self.holder == who and self.token == token",
        "return self.held(now)",
        "LeaseDisjoint",
        _lease(nodes=3),
        slow_store,
        "3 candidates",
    ),
    Mutant(
        25,
        "an acquisition of unknown outcome is taken for failed",
        lease,
        "if isinstance(event, OutcomeLost) and state.doubt_since is None:",
        "if False:",
        "LeaseDisjoint",
        _lease(store="s3"),
        slow_store,
        "2 candidates",
    ),
    Mutant(
        26,
        "a token that went back is led with",
        lease,
        "if event.token <= state.newest:",
        "if False:",
        "FenceMonotone",
        _lease(),
        failovers,
        "2 candidates",
    ),
    Mutant(
        27,
        "a missed announcement is never found out",
        lease,
        "        return state, (self._retry_timer(at, retry_in_ns),)",
        "        return state, ()",
        "Failover",
        _lease(),
        blind,
        "2 candidates",
    ),
    Mutant(
        29,
        "resigning lets the next one in before the work stopped",
        lease,
        "return self._stop(replace(state, heir=event.heir), event.at, reason)",
        "return self._release(replace(state, heir=event.heir), reason)",
        "StopBeforeTakeover",
        _lease(),
        slow_store,
        "2 candidates",
    ),
)

# Those that no engine of this table is asked to find, and why.
ELSEWHERE = {
    15: "breaks no property, it only costs time: tests/papers, 3.4, and the table of failovers",
    28: "a bug of ZooKeeper's recipe; no protocol of ours queues behind a predecessor",
}
