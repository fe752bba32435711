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
from bench.servers.places import Place, place_of
from bench.servers.rivals import rivals_of
from bench.stage import Actor, Stage
from bench.succession import End, times_since
from elector.stores.registry import open_store, parse_url
from elector.stores.trial import try_out

TTL = "3s"
GONE_BOUND_MS = 3500
WORK_KILLED_BOUND_MS, RUN_KILLED_BOUND_MS = 100, 150
IDLE_BOUND = 3
# Raw release until a waiter wakes, as first measured with bare clients; times three is allowed.
RAW_RELEASE_MS = {"postgresql": 1.5, "redis": 1.0, "etcd": 2.9}

_AT_ONCE = 6


def measure(store: str, plan: Plan) -> Section:
    """Start its server and measure everything there."""
    with place_of(store) as place:
        python, command = ElectorPython(TTL, place.url), ElectorRun(TTL, place.url)
        allowed = RAW_RELEASE_MS.get(store)
        handover = _times(plan, python, "body returns", end_work, "end", plan.rounds_of(100, 3))
        crash = _times(plan, command, "elector run killed", kill, "killed", plan.rounds_of(100, 3))
        work = _times(plan, command, "command killed", _kill_work, "exit", plan.rounds_of(100, 3))
        gone = list(_gone(plan, place))
        figures = (
            *_latency(plan, place),
            Figure.of(
                "the body returns: until the next one's begins",
                handover,
                bound=None if allowed is None else 3 * allowed,
                judged="median",
            ),
            Figure.of(
                "the command is killed: until the next one's begins",
                work,
                bound=WORK_KILLED_BOUND_MS,
            ),
            Figure.of(
                "elector run is killed: until the next command begins",
                crash,
                bound=RUN_KILLED_BOUND_MS,
            ),
            Figure.of(
                f"host gone, ttl {TTL}: until the next one's work begins",
                gone,
                bound=GONE_BOUND_MS,
            ),
            *_idle(plan, place),
        )
        return Section(
            name=store,
            title=f"{store}:// on {place.name}",
            figures=figures,
            comparisons=tuple(_beside(plan, place, handover, crash)),
            remarks=(
                "Host gone: the leader's process is stopped for good, its connections stay open.",
                "Beside others: the handover of `async with tenure`, the crash of `elector run`.",
            ),
        )


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


def _beside(
    plan: Plan, place: Place, handover: list[float], crash: list[float]
) -> Iterator[Comparison]:
    """Others on the same server: work that ends, and a process that is killed."""
    rivals = rivals_of(place)
    for how, end, since, took in (
        ("handover", end_work, "end", handover),
        ("crash", kill, "killed", crash),
    ):
        ours = Figure.of(f"{how}: elector", took)
        yield Comparison.of(ours, None)
        for rival in rivals:
            rounds = plan.rounds_of(rival.rounds[how], 1)
            times = _times(plan, rival, how, end, since, rounds)
            yield Comparison.of(Figure.of(f"{how}: {rival.label}", times), ours)
