"""How long the simulator's swarm takes to find a bug; and that it finds none in correct code."""

import os
import time

from bench.figures import Figure, Section
from bench.plan import Plan, progress
from elector.core.duration import SECOND_NS
from elector.protocols.raft_settings import RaftSettings
from elector.simulation.report import Reporter
from elector.simulation.run import Configuration
from elector.simulation.sweep import sweep
from tests.mutants.catalogue import MUTANTS
from tests.mutants.engines import by_simulation

SEEDS_TRIED, MOST_S = 15, 1.0
_APART = 100_000
_CHAOS = {
    "lease": Configuration(protocol="lease", nodes=4, duration_ns=120 * SECOND_NS, plan="chaos"),
    "raft": Configuration(protocol="raft", nodes=5, duration_ns=5 * SECOND_NS, plan="chaos"),
    "raft with a leader lease": Configuration(
        protocol="raft",
        nodes=5,
        raft=RaftSettings.of("150ms", "300ms", lease=True, margin_ns=1_000_000),
        duration_ns=3 * SECOND_NS,
        plan="chaos",
    ),
}


def measure(plan: Plan) -> Section:
    """A vote lost on restart, from 15 beginnings; then the correct code under chaos."""
    mutant = next(mutant for mutant in MUTANTS if mutant.number == 1)
    took = []
    for number in progress("a bug, by simulation", range(SEEDS_TRIED), SEEDS_TRIED):
        began = time.perf_counter()
        if by_simulation(mutant, 5000, first=plan.seed + number * _APART) is None:
            raise RuntimeError("5000 seeds did not find the bug")
        took.append(time.perf_counter() - began)
    runs = plan.rounds_of(10_000, 200)
    violations = [_violations(name, runs) for name in _CHAOS]
    return Section(
        name="bugs",
        title="Simulator: finding a bug, and finding none",
        figures=(
            Figure.of(
                f"a vote lost on restart, from {SEEDS_TRIED} different seeds: until it is found",
                took,
                "s",
                bound=MOST_S,
                judged="median",
            ),
            *(
                Figure.of(
                    f"{name}, {runs:,} seeds of chaos: violations of any property",
                    [found],
                    "",
                    bound=0,
                    judged="max",
                )
                for name, found in zip(_CHAOS, violations, strict=True)
            ),
        ),
    )


def _violations(name: str, runs: int) -> int:
    reporter = Reporter()
    outcomes = sweep(_CHAOS[name], range(runs), "process", os.cpu_count())
    for outcome in progress(f"chaos: {name}", outcomes, runs):
        reporter.take(outcome)
    return sum(len(seeds) for seeds in reporter.report().violations.values())
