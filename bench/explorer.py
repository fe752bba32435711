"""How fast the explorer is, beside TLC on a model with the same states, and how much it needs."""

import resource
import time
from multiprocessing import get_context

from bench.figures import Comparison, Figure, Section
from bench.plan import Plan, progress
from elector.verification.members import explore
from elector.verification.scope import MEGABYTE, Scope
from tests.mutants.catalogue import MUTANTS
from tests.mutants.engines import build
from tools import tlc

TIMES_TLC, LEAST_PER_SECOND, MOST_MEGABYTES, MOST_MS = 10, 100_000, 1000, 100
_BOTH = (4, 1, 1)  # of a scope with three nodes TLC's time is java's start, or half an hour
_THREE = (3, 2, 0)
_LARGE = Scope(nodes=3, terms=3, restarts=1)
_STATES = 4_400_000


def measure(plan: Plan) -> Section:
    """The same scope for both, without any reduction; three nodes; memory; one bug."""
    rounds = plan.rounds_of(3, 1)
    ours, theirs, ratios, three = [], [], [], []
    states = all_states = 0
    for _ in progress("explorer", range(rounds), rounds):
        states, seconds = tlc.ours(*_BOTH)
        counted = tlc.count(*_BOTH, workers=2)
        if states != counted.distinct:
            raise RuntimeError(f"TLC counts {counted.distinct} states, and the explorer {states}")
        ours.append(states / seconds)
        theirs.append(counted.distinct / counted.seconds)
        ratios.append(ours[-1] / theirs[-1])
        all_states, took = tlc.ours(*_THREE)
        three.append(all_states / took)
    rate = Figure.of("the explorer, 4 members, 1 term, 1 restart", ours, "states/s")
    with get_context("spawn").Pool(1) as alone:  # a new process: memory is of it alone
        known, megabytes = alone.apply(_memory)
    finds = [_finds_the_lost_vote() for _ in range(rounds * 5)]
    return Section(
        name="explorer",
        title="Explorer: every state of a small world of Raft, without any reduction",
        figures=(
            Figure.of(
                f"3 members, 2 terms: {all_states:,} states",
                three,
                "states/s",
                bound=LEAST_PER_SECOND,
                judged="min",
            ),
            Figure.of(
                f"4 members, 1 term, 1 restart, {states:,} states: over TLC with two workers",
                ratios,
                "times",
                bound=TIMES_TLC,
                judged="min",
            ),
            Figure.of(
                f"memory for {known:,} states",
                [megabytes],
                "MB",
                bound=MOST_MEGABYTES,
                judged="max",
            ),
            Figure.of(
                "a vote lost on restart: until it is found", finds, bound=MOST_MS, judged="median"
            ),
        ),
        comparisons=(
            Comparison.of(Figure.of("TLC, two workers, the same states", theirs, "states/s"), rate),
            Comparison.of(rate, None),
        ),
        remarks=(
            "TLC's time includes the start of java. Both find exactly the same number of states.",
            "In the comparison a ratio below 1 is slower than Elector.",
        ),
    )


def _memory() -> tuple[int, float]:
    found = explore(_LARGE, reductions=(), max_states=_STATES)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    return found.progress.states, peak / MEGABYTE


def _finds_the_lost_vote() -> float:
    mutant = next(mutant for mutant in MUTANTS if mutant.number == 1)
    code = build(mutant).raft
    began = time.perf_counter()
    found = explore(Scope(nodes=3, terms=1, restarts=1), code, ("TermUnique",))
    if found.violation is None:
        raise RuntimeError("the bug was not found")
    return (time.perf_counter() - began) * 1000
