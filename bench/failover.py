"""Failover of Raft: figure 16 of its paper, and candidacies in order of rank beside random ones."""

from bench.figures import Figure, Section
from bench.plan import Plan
from bench.timing import FIGURE_16, stagger, trials
from elector.simulation.report import Distribution

_TRIALS, _MANY = 1000, 20_000
_MS = 1e6
_HALF, _LESS = 0.5, 0.85


def measure(plan: Plan) -> Section:
    """Ratios are judged here; the whole tables are printed by ``python bench/timing.py``."""
    figures = []
    for line in FIGURE_16:
        found = trials(
            line.configuration(), plan.rounds_of(_TRIALS, 100), f"figure 16: {line.text}"
        )
        figures.append(_distribution(f"figure 16, {line.text}, until others know", found.heard))
    for loss in (0.0, 0.2, 0.4):
        plain, ranked = stagger(loss, plan.rounds_of(_MANY, 300))
        figures += _compared(loss, plain, ranked)
    return Section(
        name="failover",
        title="Raft: from the crash of the leader to the next one, simulated",
        figures=tuple(figures),
        remarks=(
            "Figure 16: the printed figures and the model's are beside these in docs/timing.md.",
            "Rank: the same heartbeats, timeouts and retransmission for both.",
        ),
    )


def _distribution(what: str, found: Distribution) -> Figure:
    return Figure.of(what, [found.mean_ns / _MS, found.median_ns / _MS, found.max_ns / _MS])


def _compared(loss: float, plain: Distribution, ranked: Distribution) -> list[Figure]:
    mean, tail = ranked.mean_ns / plain.mean_ns, ranked.p999_ns / plain.p999_ns
    bounds = (1.0, _HALF) if loss == 0 else (_LESS, 1.0)
    return [
        Figure.of(
            f"rank over random, {loss:.0%} loss: mean of {ranked.n:,}",
            [mean],
            "times",
            bound=bounds[0],
            judged="max",
        ),
        Figure.of(
            f"rank over random, {loss:.0%} loss: p99.9 of {ranked.n:,}",
            [tail],
            "times",
            bound=bounds[1],
            judged="max",
        ),
    ]
