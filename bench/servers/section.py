"""The section of one store: latency, handover, the ways of dying, idle cost, others beside it."""

import asyncio
import os
import signal
import time
from collections.abc import Iterator

from bench.contenders import Contender, ElectorPython, ElectorRun, await_queue
from bench.figures import Comparison, Figure, Section
from bench.handover import end_work
from bench.kill import kill
from bench.plan import Plan, progress
from bench.servers.idle import requests_a_second
from bench.servers.rivals import bare, rivals_of
from bench.stage import Actor, Stage
from bench.succession import End, times_since
from elector.stores.registry import open_store, parse_url
from elector.stores.trial import try_out
from elector.testing.stores import check_store
from tests.servers.places import Place, place_of

TTL = "3s"
GONE_BOUND_MS = 3500
WORK_KILLED_BOUND_MS, RUN_KILLED_BOUND_MS = 100, 150
IDLE_BOUND = 3
TIMES_BARE = 3

_AT_ONCE = 6
_SETTLED_S = 2.5


def measure(store: str, plan: Plan) -> Section:
    """Start its server and measure everything there; of an embedded store only what is quick."""
    # We fork while gRPC is at work here; its handlers for that can keep the child from starting.
    os.environ.setdefault("GRPC_ENABLE_FORK_SUPPORT", "0")
    with place_of(store) as place:
        figures, comparisons = list(_latency(plan, place)), list[Comparison]()
        if place.serves:
            endings = _Endings(plan, place)
            figures += [*endings.figures(), *_idle(plan, place)]
            comparisons += _beside(plan, place, endings)
        return Section(
            name=store,
            title=f"{store}:// on {place.name}",
            figures=tuple(figures),
            comparisons=tuple(comparisons),
            remarks=(_conformance(place), *(_REMARKS if place.serves else ())),
        )


_REMARKS = (
    f"elector run is killed {_SETTLED_S:g} s after the next one came to stand in line.",
    "Host gone: the leader's process is stopped for good, its connections stay open.",
    f"A body's return is held to {TIMES_BARE} times what a bare client needs in the same run.",
    "Beside others: the handover of `async with tenure`, the crash of `elector run`.",
)


class _Endings:
    """Each way in which a tenure ends, in milliseconds until the next one's work begins."""

    def __init__(self, plan: Plan, place: Place) -> None:
        python, command = ElectorPython(TTL, place.url), ElectorRun(TTL, place.url)
        rounds = plan.rounds_of(100, 3)
        waker = bare(place)
        self.bare = waker and _times(plan, waker, "release", end_work, "end", rounds)
        self.handover = _times(plan, python, "body returns", end_work, "end", rounds)
        self.work_killed = _times(plan, command, "command killed", _kill_work, "exit", rounds)
        self.run_killed = _times(
            plan, command, "elector run killed", _kill_settled, "killed", plan.rounds_of(50, 3)
        )
        self.gone = list(_gone(plan, place))

    def figures(self) -> Iterator[Figure]:
        until = "until the next one's work begins"
        bound = None
        if self.bare:
            woken = Figure.of("a bare client releases: until a waiting one knows", self.bare)
            bound = round(TIMES_BARE * woken.median, 2)
            yield woken
        yield Figure.of(f"the body returns: {until}", self.handover, bound=bound, judged="median")
        yield Figure.of(
            f"the command is killed: {until}", self.work_killed, bound=WORK_KILLED_BOUND_MS
        )
        yield Figure.of(
            f"elector run is killed: {until}", self.run_killed, bound=RUN_KILLED_BOUND_MS
        )
        yield Figure.of(f"host gone, ttl {TTL}: {until}", self.gone, bound=GONE_BOUND_MS)


def _conformance(place: Place) -> str:
    report = check_store(place.url, stop=False, restart=place.restart)
    rest = [
        f"{w}: {', '.join(laws)}"
        for w in ("unsupported", "untried", "broken")
        if (laws := report.of(w))
    ]
    held = f"{len(report.of('holds'))} of {len(report.outcomes)} laws hold"
    return f"Conformance kit: {'; '.join([held, *rest])}"


def _latency(plan: Plan, place: Place) -> Iterator[Figure]:
    rounds = plan.rounds_of(200, 10)
    tried = asyncio.run(try_out(lambda: open_store(parse_url(place.url)), rounds))
    yield Figure.of("acquire", [took / 1e6 for took in tried.acquire_ns])
    yield Figure.of("renew", [took / 1e6 for took in tried.renew_ns])
    yield Figure.of(
        "release until a waiting candidate knows", [took / 1e6 for took in tried.handover_ns]
    )


def _times(
    plan: Plan,
    contender: Contender,
    how: str,
    end: End,
    since: str,
    rounds: int,
) -> list[float]:
    label = f"{contender.label}: {how}"
    return [took for (took,) in times_since((since,), contender, plan, rounds, label, end)]


def _kill_work(_: Stage, leader: Actor) -> None:
    """Kill the command, not Elector: by the process id that it has reported."""
    os.kill(leader.work, signal.SIGKILL)


def _kill_settled(stage: Stage, leader: Actor) -> None:
    """Kill Elector when its farewell has had the time to come."""
    time.sleep(_SETTLED_S)
    kill(stage, leader)


def _gone(plan: Plan, place: Place) -> Iterator[float]:
    """Several elections at a time, in each the leader stops for good."""
    rounds = plan.rounds_of(60, 2)
    for first in progress("host gone", range(0, rounds, _AT_ONCE), length=-(-rounds // _AT_ONCE)):
        names = [f"gone{n}" for n in range(first, min(first + _AT_ONCE, rounds))]
        with Stage() as stage:
            contenders = {name: ElectorPython(TTL, place.url, name) for name in names}
            leaders = {n: c.stand(stage, f"{n}.leader") for n, c in contenders.items()}
            for name in names:
                stage.hear("begin", f"{name}.leader")
                contenders[name].stand(stage, f"{name}.next")
                await_queue(stage, f"{name}.next", name, place.url)
            drawn = plan.drawn(f"gone/{first}")
            for name in names:
                time.sleep(drawn.uniform(0.0, 0.3))
                stage.note(f"{name}.leader", "gone")
                os.killpg(leaders[name].pid, signal.SIGSTOP)
            for name in names:
                begin = stage.hear("begin", f"{name}.next")
                yield (begin.at - stage.hear("gone", f"{name}.leader").at) / 1e6


def _idle(plan: Plan, place: Place) -> Iterator[Figure]:
    counted = requests_a_second(plan, place)
    if counted is not None:
        elections, rates = counted
        yield Figure.of(
            f"{elections:,} elections x 3 processes, idle: requests a second",
            rates,
            "",
            bound=IDLE_BOUND,
            judged="max",
        )


def _beside(plan: Plan, place: Place, endings: _Endings) -> Iterator[Comparison]:
    """Others on the same server: work that ends, and a process that is killed."""
    rivals = rivals_of(place)
    for how, end, since, took in (
        ("handover", end_work, "end", endings.handover),
        ("crash", kill, "killed", endings.run_killed),
    ):
        ours = Figure.of(f"{how}: elector", took)
        yield Comparison.of(ours, None)
        for rival in rivals:
            rounds = min(rival.rounds[how], plan.rounds_of(rival.rounds[how], 1))
            times = _times(plan, rival, how, end, since, rounds)
            yield Comparison.of(Figure.of(f"{how}: {rival.label}", times), ours)
