"""Others that do a part of the same, side by side: same machine, same ttl, rounds in turn.

filelock and flock(1) have no ttl. The kubernetes client's election runs with its shortest
retries, and with its lock in a file instead of an API server, so its network costs nothing
here; ten elections at a time, since it waits for seconds.

What one of them cannot do is not timed, but tried once and said in words.
"""

import os
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import NamedTuple

from bench.contenders import (
    Contender,
    ElectorPython,
    ElectorRun,
    FileLockPython,
    FlockCommand,
)
from bench.figures import Comparison, Figure, Section
from bench.handover import end_work
from bench.kill import kill
from bench.plan import Plan, progress
from bench.stage import Actor, Stage
from bench.succession import Change, End, succession

TTL = "3s"

_ELECTIONS = 10
_WATCHED_S = 6.0


class Entrant(NamedTuple):
    """A contender, how it is killed, and what it reports at the end of its work."""

    label: str
    contender: Contender
    kill: End
    end: str


def measure(plan: Plan) -> Section:
    """Crash and handover, all rounds in turn; then what cannot be timed."""
    rounds, batches = plan.rounds_of(40, 3), plan.rounds_of(6, 1)
    crash = _figures(plan, rounds, "crash")
    crash["kubernetes"] = _kubernetes_figure(plan, batches, "crash", _crash)
    handover = _figures(plan, rounds, "handover")
    handover["kubernetes"] = _kubernetes_figure(plan, batches, "handover", _leave)
    return Section(
        name="peers",
        title=f"Beside others, ttl {TTL}",
        comparisons=(*_compared(crash), *_compared(handover)),
        remarks=tuple(progress("peers: what cannot be timed", _tried(), 4)),
    )


def _compared(figures: dict[str, Figure]) -> list[Comparison]:
    python, command = figures["python"], figures["run"]
    return [
        Comparison.of(python, None),
        Comparison.of(figures["filelock"], python),
        Comparison.of(figures["kubernetes"], python),
        Comparison.of(command, None),
        Comparison.of(figures["flock"], command),
    ]


# -- one leader at a time ------------------------------------------------------------------------


def _kill_group(stage: Stage, leader: Actor) -> None:
    """The wrapper and its command: with the wrapper alone, the command would keep the lock."""
    stage.note(leader.name, "killed")
    os.killpg(leader.pid, signal.SIGKILL)


_ENTRANTS = {
    "python": Entrant("Elector in Python", ElectorPython(TTL), kill, "end"),
    "filelock": Entrant("filelock (polls every 50 ms)", FileLockPython(), kill, "end"),
    "run": Entrant("elector run", ElectorRun(TTL), kill, "exit"),
    "flock": Entrant("flock(1)", FlockCommand(), _kill_group, "exit"),
}


def _figures(plan: Plan, rounds: int, kind: str) -> dict[str, Figure]:
    """Of all that take turns, by name."""
    took: dict[str, list[float]] = {name: [] for name in _ENTRANTS}
    with ExitStack() as stages:
        lines = {
            name: _line(stages.enter_context(Stage()), entrant, plan, rounds, kind)
            for name, entrant in _ENTRANTS.items()
        }
        turns = zip(*lines.values(), strict=True)
        for changes in progress(f"peers: {kind}", turns, rounds):
            for (name, entrant), change in zip(_ENTRANTS.items(), changes, strict=True):
                took[name].append(change.since("killed" if kind == "crash" else entrant.end))
    return {name: Figure.of(f"{kind}: {e.label}", took[name]) for name, e in _ENTRANTS.items()}


def _line(stage: Stage, entrant: Entrant, plan: Plan, rounds: int, kind: str) -> Iterator[Change]:
    end = entrant.kill if kind == "crash" else end_work
    pause = plan.pauses(f"peers/{kind}/{entrant.label}")
    return succession(stage, entrant.contender, rounds, pause, end)


# -- the kubernetes client -------------------------------------------------------------------------


def _crash(leader: Actor) -> None:
    leader.signal(signal.SIGKILL)


def _leave(leader: Actor) -> None:
    leader.cue("end")


def _kubernetes_figure(plan: Plan, batches: int, kind: str, end: Callable[[Actor], None]) -> Figure:
    with Stage() as stage:
        turns = _kubernetes_turns(stage, plan, batches, kind, end)
        label = f"peers: {kind}, kubernetes client"
        took = [one for turn in progress(label, turns, batches) for one in turn]
    return Figure.of(f"{kind}: kubernetes client", took)


def _kubernetes_turns(
    stage: Stage, plan: Plan, batches: int, kind: str, end: Callable[[Actor], None]
) -> Iterator[list[float]]:
    drawn = plan.drawn(f"peers/{kind}/kubernetes")
    leader = _kubernetes(stage, "k0", _ELECTIONS)
    _hear_all(stage, leader, "begin")
    for number in range(1, batches + 1):
        following = _kubernetes(stage, f"k{number}", _ELECTIONS)
        _hear_all(stage, following, "standing")
        time.sleep(drawn.uniform(0.2, 1.2))
        stage.note(leader.name, "ended")
        end(leader)
        ended = stage.hear("ended", leader.name).at
        yield [(begin - ended) / 1e6 for begin in _hear_all(stage, following, "begin")]
        stage.part(leader)
        leader = following


def _kubernetes(stage: Stage, name: str, elections: int) -> Actor:
    return stage.python(name, "bench.workers.with_kubernetes", stage.directory, str(elections))


def _hear_all(stage: Stage, actor: Actor, what: str) -> list[int]:
    return [stage.hear(what, f"{actor.name}.{number}").at for number in range(_ELECTIONS)]


# -- what cannot be timed --------------------------------------------------------------------------


def _tried() -> Iterator[str]:
    yield (
        "A ratio above 1 is slower than Elector. flock(1) is faster: it writes nothing to a disk, "
        "gives no token and supervises nothing. The kubernetes client has no release; its handover "
        "is that its process leaves."
    )
    yield _frozen_holders()
    yield _frozen_kubernetes()
    yield f"{_wrapper_killed()} {_wrapper_killed('--close')}"


def _frozen_holders() -> str:
    with ExitStack() as stages:
        lines = []
        for contender in (FileLockPython(), FlockCommand()):
            stage = stages.enter_context(Stage())
            leader, following = _two(stage, contender)
            os.killpg(leader.pid, signal.SIGSTOP)
            lines.append((stage, following, contender.label))
        time.sleep(_WATCHED_S)
        kept = [label for stage, name, label in lines if _began(stage, name, 0) is None]
    return (
        f"A frozen holder keeps the lock for as long as it is frozen, so nobody takes over within "
        f"{_WATCHED_S:g} s: {', '.join(kept) or 'not seen here'}."
    )


def _frozen_kubernetes() -> str:
    with Stage() as stage:
        leader = _kubernetes(stage, "k0", 1)
        stage.hear("begin", "k0.0")
        _kubernetes(stage, "k1", 1)
        stage.hear("standing", "k1.0")
        time.sleep(1)
        stage.note("k0", "frozen")
        leader.signal(signal.SIGSTOP)
        begin, frozen = stage.hear("begin", "k1.0").at, stage.hear("frozen", "k0").at
        stage.note("k0", "thawed")
        leader.signal(signal.SIGCONT)
        steps = []
        while (step := stage.heard("works", "k0.0", within=3)) is not None:
            steps.append(step.at)
        thawed = stage.hear("thawed", "k0").at
    beside = (steps[-1] - thawed) / 1e9 if steps else 0
    return (
        f"The kubernetes client replaces a frozen leader after {(begin - frozen) / 1e9:.1f} s; the "
        f"thawed one worked on for {beside:.1f} s beside the new leader, and it has no token that "
        "a resource could refuse. Elector: see the frozen leader above."
    )


def _wrapper_killed(*options: str) -> str:
    with Stage() as stage:
        leader, following = _two(stage, FlockCommand(*options), watched=True)
        leader.signal(signal.SIGKILL)
        began = _began(stage, following, 2)
        lives = stage.heard("exit", leader.name, within=0) is None
    command = "its command works on" if lives else "its command ends"
    after = "nobody takes over" if began is None else "the next one works beside it"
    return f"`{' '.join(('flock', *options))}` killed, the process alone: {command}, {after}."


def _two(stage: Stage, contender: Contender, *, watched: bool = False) -> tuple[Actor, str]:
    leader = contender.stand(stage, "leader")
    begin = stage.hear("begin", leader.name)
    if watched:
        stage.notice_exit(leader.name, begin.value)
    following = contender.stand(stage, "next")
    contender.await_place(stage, following.name)
    return leader, following.name


def _began(stage: Stage, name: str, within: float) -> int | None:
    stamp = stage.heard("begin", name, within=within)
    return None if stamp is None else stamp.at
