"""The tables of docs/timing.md: figure 16 of the Raft paper, and rank-staggered candidacy.

::

    python bench/timing.py               both tables, as Markdown
    python bench/timing.py --trials 200  sooner, and rougher
"""

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

if __name__ == "__main__":
    sys.path[0] = str(Path(__file__).resolve().parents[1])

import click

from elector.protocols.raft_settings import RaftSettings
from elector.simulation.faults import MS, Delay, Faults, Weather
from elector.simulation.report import Distribution, Reporter
from elector.simulation.run import Configuration
from elector.simulation.sweep import sweep

_PAPER_WEATHER = Weather(
    delay=Delay("uniform", 2_250_000, 3_250_000), disk=(9_500_000, 9_500_000), votes_only=True
)
_LOGS = ((1, 2), (1, 2), (1, 2), (1, 1), (1, 1))  # of four survivors two can win
_MS = 1e6


class Line(NamedTuple):
    """One line of figure 16.

    Attributes:
        least, greatest: the range of timeouts, ms.
        printed: what the paper's text says of it.
        model: mean, median and greatest that a model fitted to one median predicts, ms.
    """

    least: int
    greatest: int
    printed: str
    model: tuple[int, int, int]

    @property
    def text(self) -> str:
        """As the paper writes it."""
        return f"{self.least} to {self.greatest} ms"

    def configuration(self) -> Configuration:
        """Five nodes, the heartbeat half the least timeout, a crash at any instant of it."""
        return Configuration(
            protocol="raft",
            nodes=5,
            raft=RaftSettings.of(
                f"{self.least}ms", f"{self.greatest}ms", pre_vote=False, check_quorum=False
            ),
            logs=_LOGS,
            faults=Faults(_PAPER_WEATHER),
            crash_leader=True,
        )


FIGURE_16 = (
    Line(150, 151, "", (4625, 3475, 27077)),
    Line(150, 155, "median 287", (357, 287, 1833)),
    Line(150, 175, "", (159, 146, 503)),
    Line(150, 200, "worst 513", (159, 153, 499)),
    Line(150, 300, "", (186, 180, 546)),
    Line(12, 24, "average 35, worst 152", (45, 39, 148)),
    Line(25, 50, "", (52, 49, 135)),
    Line(50, 100, "", (79, 75, 220)),
    Line(100, 200, "", (131, 126, 318)),
)


class Trials(NamedTuple):
    """From the crash until another one led, and until all others had heard of it."""

    led: Distribution
    heard: Distribution


def trials(configuration: Configuration, count: int, label: str) -> Trials:
    """Crash a leader so often, each time in a world of its own.

    Raises:
        RuntimeError: in some trial nobody was elected.
    """
    reporter = Reporter()
    outcomes = sweep(configuration, range(count))
    with click.progressbar(outcomes, length=count, label=f"{label:<44}", file=sys.stderr) as bar:
        for outcome in bar:
            reporter.take(outcome)
    report = reporter.report(crash_leader=True)
    if report.failover is None or report.known is None or report.unelected:
        raise RuntimeError(f"{label}: nobody was elected in {report.unelected} trials")
    return Trials(report.failover, report.known)


def stagger(loss: float, count: int) -> tuple[Distribution, Distribution]:
    """Random candidacies and such in order of rank: until another one led.

    Both send the same heartbeats, may stand again after the same time, and repeat requests
    for votes alike.
    """
    found = []
    for distance in (0, 15 * MS):
        settings = RaftSettings.of(
            *("150ms", "300ms", "50ms"),
            stagger_ns=distance,
            retransmit_ns=30 * MS,
            pre_vote=False,
            check_quorum=False,
        )
        world = Configuration(
            protocol="raft",
            nodes=5,
            raft=settings,
            faults=Faults(Weather(delay=Delay("uniform", 1 * MS, 5 * MS), loss=loss)),
            crash_leader=True,
        )
        label = f"{'rank' if distance else 'random'}, {loss:.0%} loss"
        found.append(trials(world, count, label).led)
    return found[0], found[1]


def _figure_16(count: int) -> Iterator[str]:
    yield "| timeouts | paper | model: mean, median, worst | led: mean, median, worst | "
    yield "known to all: mean, median, worst | mean, over the model's |\n"
    yield "|---|---|--:|--:|--:|--:|\n"
    for line in FIGURE_16:
        found = trials(line.configuration(), count, f"figure 16: {line.text}")
        model = ", ".join(f"{number:,}" for number in line.model)
        over = found.heard.mean_ns / _MS / line.model[0]
        yield (
            f"| {line.text} | {line.printed} | {model} | {_three(found.led)} | "
            f"{_three(found.heard)} | {over:.2f} |\n"
        )


def _three(found: Distribution) -> str:
    return ", ".join(f"{ns / _MS:,.0f}" for ns in (found.mean_ns, found.median_ns, found.max_ns))


def _staggered(count: int) -> Iterator[str]:
    yield "| loss | random: mean, p99, p99.9 | by rank: mean, p99, p99.9 | mean | p99.9 |\n"
    yield "|--:|--:|--:|--:|--:|\n"
    for loss in (0.0, 0.2, 0.4):
        plain, ranked = stagger(loss, count)
        yield (
            f"| {loss:.0%} | {_tails(plain)} | {_tails(ranked)} | "
            f"{ranked.mean_ns / plain.mean_ns:.2f} | {ranked.p999_ns / plain.p999_ns:.2f} |\n"
        )


def _tails(found: Distribution) -> str:
    return ", ".join(f"{ns / _MS:,.0f}" for ns in (found.mean_ns, found.p99_ns, found.p999_ns))


@click.command()
@click.option("--trials", "count", default=1000, show_default=True, help="A line of figure 16.")
@click.option("--many", default=20_000, show_default=True, help="Trials for the tails of rank.")
def main(count: int, many: int) -> None:
    """Print both tables; times in ms."""
    click.echo("".join(_figure_16(count)))
    click.echo("".join(_staggered(many)))


if __name__ == "__main__":
    main()
