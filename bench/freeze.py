"""The leader is frozen (SIGSTOP), and thawed when another one leads.

It is stopped just behind a renewal: the worst moment, with the whole lease still to run. In
Python it stops itself between its check and its write, which is what fencing is for. Under
``elector run`` the supervisor alone is frozen, and the guardian has to end the command in time.
"""

import signal
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import NamedTuple

from bench.contenders import WORK, await_queue, database, elector_run, read_store, store_url
from bench.figures import Figure, Section
from bench.plan import Plan, progress
from bench.stage import Actor, Stage, Stamp

TTL = "3s"
BOUND_MS = 3150

_AT_ONCE = 6
# After a renewal was written, until all parts of its process know of it.
_KNOWN_S = 0.02
_STUBBORN_WORK = f"trap '' TERM; {WORK}"


class Frozen(NamedTuple):
    """A frozen leader, who waits behind it, and when its lease runs out."""

    leader: Actor
    following: Actor
    at: int
    lease_end: int

    def until(self, begin: Stamp) -> float:
        """Milliseconds from the stop to the next one's work."""
        return (begin.at - self.at) / 1e6

    def after_lease(self, stamp: Stamp) -> float:
        """Milliseconds from the end of the lease."""
        return (stamp.at - self.lease_end) / 1e6


class Thaw(NamedTuple):
    """What came of freezing and thawing a worker; milliseconds."""

    until_next: float
    after_lease: float
    refused: bool


class Orphan(NamedTuple):
    """What came of freezing a supervisor; milliseconds."""

    until_next: float
    margin: float


Stand = Callable[[Stage, str, str], Actor]
Freeze = Callable[[Stage, Actor], None]


def measure(plan: Plan) -> Section:
    """Several elections at a time, each with a database of its own."""
    rounds = plan.rounds_of(12, 2)
    thaws = list(progress("freeze: async with tenure", _thaws(rounds), rounds))
    heeding = list(progress("freeze: elector run", _orphans(rounds, WORK), rounds))
    stubborn = list(
        progress("freeze: elector run, TERM ignored", _orphans(rounds, _STUBBORN_WORK), rounds)
    )
    return Section(
        name="freeze",
        title=f"Leader frozen with SIGSTOP, ttl {TTL}",
        figures=(
            Figure.of(
                "async with tenure: until the next one's work begins",
                [thaw.until_next for thaw in thaws],
                bound=BOUND_MS,
                judged="max",
            ),
            Figure.of("of that, behind the end of the lease", [thaw.after_lease for thaw in thaws]),
            Figure.of(
                "the thawed one's write was refused",
                [100 * thaw.refused for thaw in thaws],
                "%",
                bound=100,
                judged="min",
            ),
            Figure.of(
                "elector run, supervisor frozen: until the next command begins",
                [orphan.until_next for orphan in (*heeding, *stubborn)],
                bound=BOUND_MS,
                judged="max",
            ),
            Figure.of(
                "its command ended before the lease did, by",
                [orphan.margin for orphan in heeding],
                bound=0,
                judged="min",
            ),
            Figure.of(
                "the same, if the command ignores TERM",
                [orphan.margin for orphan in stubborn],
                bound=0,
                judged="min",
            ),
        ),
        remarks=("Stopped just behind a renewal: the whole lease is still to run.",),
    )


def _thaws(rounds: int) -> Iterator[Thaw]:
    for elections in _at_once(rounds):
        with Stage() as stage:
            for frozen in _freeze_all(stage, elections, _worker, _stops_itself):
                begin = stage.hear("begin", frozen.following.name)
                stage.hear("wrote", frozen.following.name)
                frozen.leader.signal(signal.SIGCONT)
                refused = stage.hear("tried", frozen.leader.name).value == 1
                yield Thaw(frozen.until(begin), frozen.after_lease(begin), refused)


def _orphans(rounds: int, work: str) -> Iterator[Orphan]:
    for elections in _at_once(rounds):
        with Stage() as stage:
            for frozen in _freeze_all(stage, elections, partial(_supervisor, work), _is_stopped):
                end = stage.hear("exit", frozen.leader.name)
                begin = stage.hear("begin", frozen.following.name)
                yield Orphan(frozen.until(begin), -frozen.after_lease(end))


def _at_once(rounds: int) -> Iterator[Sequence[str]]:
    for first in range(0, rounds, _AT_ONCE):
        yield [f"e{number}" for number in range(first, min(first + _AT_ONCE, rounds))]


def _freeze_all(
    stage: Stage, elections: Sequence[str], stand: Stand, freeze: Freeze
) -> list[Frozen]:
    """In each election two candidates; the leaders are frozen one after the other."""
    pairs = [_in_line(stage, election, stand) for election in elections]
    return [
        _frozen(stage, election, *pair, freeze)
        for election, pair in zip(elections, pairs, strict=True)
    ]


def _in_line(stage: Stage, election: str, stand: Stand) -> tuple[Actor, Actor]:
    leader = stand(stage, election, f"{election}.leader")
    begin = stage.hear("begin", leader.name)
    if begin.value:
        stage.notice_exit(leader.name, begin.value)
    following = stand(stage, election, f"{election}.next")
    await_queue(stage, following.name, election)
    return leader, following


def _frozen(stage: Stage, election: str, leader: Actor, following: Actor, freeze: Freeze) -> Frozen:
    before = _lease_end(stage, election)
    while (lease_end := _lease_end(stage, election)) == before:
        time.sleep(0.002)
    time.sleep(_KNOWN_S)
    freeze(stage, leader)
    at = stage.hear("frozen", leader.name).at
    return Frozen(leader, following, at, lease_end)


def _lease_end(stage: Stage, election: str) -> int:
    question = "SELECT expires_ns FROM elector_elections WHERE name = ?"
    ((end,),) = read_store(database(stage, election), question, election)
    return end


# -- who is frozen, and how ------------------------------------------------------------------------


def _worker(stage: Stage, election: str, name: str) -> Actor:
    ledger = stage.directory / f"{election}-ledger.db"
    store = store_url(stage, election)
    return stage.python(name, "bench.workers.freezer", election, store, TTL, ledger)


def _stops_itself(_: Stage, leader: Actor) -> None:
    leader.cue("freeze")


def _supervisor(work: str, stage: Stage, election: str, name: str) -> Actor:
    return stage.start(name, *elector_run(stage, name, TTL, work, election))


def _is_stopped(stage: Stage, leader: Actor) -> None:
    stage.note(leader.name, "frozen")
    leader.signal(signal.SIGSTOP)
