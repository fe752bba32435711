"""``elector simulate``: what happens to these settings when everything misbehaves."""

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import msgspec

from elector.cli.output import coloured, print_json, print_table
from elector.cli.settings import json_option
from elector.core.duration import format_duration, parse_duration
from elector.errors import ConfigurationError

if TYPE_CHECKING:
    from elector.simulation.report import Distribution, Report, Reporter
    from elector.simulation.run import Configuration
    from elector.simulation.shrink import Failure

EXIT_VIOLATED = 1
EXIT_INTERRUPTED = 130
_MILLION = 1_000_000
_MARKS = {"holds": "green", "violated": "red", "assumption void": "yellow"}


@click.command(
    "simulate",
    epilog="""\b
Examples:
  elector simulate lease --nodes 5 --ttl 15s --for 1h --faults chaos --seed 7
  elector simulate raft --nodes 5 --timeout 150ms..300ms --crash-leader --seeds 1000
  elector simulate raft --scenario cloudflare-2020 --trace story.ndjson
  elector simulate --list

\b
Exit code: 0 if every property holds in every run, 1 if one is violated, 2 for wrong options,
130 when interrupted (what was finished is reported).

\b
Keys: runs, properties {kind, outcomes, violated_by, text}, failover, known and vacancy
{n, mean_ns, median_ns, p99_ns, p999_ns, max_ns}, unelected, availability, leaderless_ns,
simulated_ns, tenures, overlaps, writes, refused, requests, messages, events, configuration,
first_seed, failure (the file that shows the first violation, or null).""",
)
@click.argument("protocol", required=False)
@click.option("--scenario", help="A named story, with settings and faults of its own.")
@click.option("--nodes", "--candidates", type=click.IntRange(1, 99), help="How many. [default: 3]")
@click.option("--ttl", default="15s", show_default=True, help="lease: the lease duration.")
@click.option("--store", default="sqlite", show_default=True, help="lease: the model of the store.")
@click.option(
    "--timeout",
    default="150ms..300ms",
    show_default=True,
    help="raft: least and greatest election timeout.",
)
@click.option("--heartbeat", help="raft: heartbeat interval. [default: half the least timeout]")
@click.option("--plain", is_flag=True, help="raft: without PreVote and CheckQuorum.")
@click.option("--leader-lease", is_flag=True, help="raft: with a leader lease.")
@click.option("--stagger", help="raft: candidacies in order of rank, this far apart.")
@click.option("--retransmit", help="raft: ask silent voters again after this.")
@click.option("--for", "duration", default="1m", show_default=True, help="How long things fail.")
@click.option("--faults", "plan", default="calm", show_default=True, help="A plan; see --list.")
@click.option("--delay", help="A message's way, like 1ms..5ms or pareto:1ms..5ms.")
@click.option("--loss", type=click.FloatRange(0, 1), help="The share of messages that are lost.")
@click.option("--drift", help="The error of clock rates, like 1%; the protocol allows 1%.")
@click.option(
    "--crash-leader", is_flag=True, help="Kill a settled leader, once a run, and time it."
)
@click.option("--seed", default=0, show_default=True, help="Of the first run.")
@click.option(
    "--seeds", type=click.IntRange(1), default=1, show_default=True, help="How many runs."
)
@click.option("--jobs", type=click.IntRange(1), help="How many processes. [default: all cores]")
@click.option(
    "--executor",
    default="process",
    show_default=True,
    help="Where runs are made: serial, process or dask://host:port.",
)
@click.option(
    "--trace", type=click.Path(path_type=Path, dir_okay=False), help="Write the first run here."
)
@click.option(
    "--failure",
    type=click.Path(path_type=Path, dir_okay=False),
    default=Path("failure.ndjson"),
    show_default=True,
    help="Where a violation is written, made as small as it gets.",
)
@click.option("--plot", type=click.Path(path_type=Path, dir_okay=False), help="Draw the failovers.")
@click.option("--list", "lists", is_flag=True, help="List protocols, faults, stores, scenarios.")
@json_option
def command(
    protocol: str | None,
    scenario: str | None,
    executor: str,
    jobs: int | None,
    seed: int,
    seeds: int,
    trace: Path | None,
    failure: Path,
    plot: Path | None,
    lists: bool,
    as_json: bool,
    **options: Any,
) -> None:
    """Run PROTOCOL (lease or raft) in a seeded world where clocks drift and everything fails."""
    if lists:
        _list()
        return
    from elector.simulation.report import Reporter
    from elector.simulation.sweep import sweep

    configuration = _configuration(protocol, scenario, options)
    if plot is not None:
        _require_plots()
    _require_empty(failure, trace)
    reporter, interrupted = Reporter(), False
    outcomes = sweep(configuration, range(seed, seed + seeds), executor, jobs)
    try:
        for outcome in _with_bar(outcomes, seeds):
            reporter.take(outcome)
    except KeyboardInterrupt:
        interrupted = True
    if trace is not None:
        _write_trace(configuration, seed, trace)
    shown = _show_failure(configuration, reporter, failure)
    if plot is not None:
        from elector.simulation.plot import draw

        draw(reporter.failovers_ns(), plot, f"{configuration.protocol}, {reporter.runs} runs")
    report = reporter.report(crash_leader=configuration.crash_leader)
    if as_json:
        facts = {"configuration": msgspec.to_builtins(configuration), "first_seed": seed}
        shown_at = str(failure) if shown is not None else None
        print_json({**msgspec.to_builtins(report), **facts, "failure": shown_at})
    else:
        _print(report, configuration, seed, shown, failure)
    if interrupted:
        raise click.exceptions.Exit(EXIT_INTERRUPTED)
    if report.violations:
        raise click.exceptions.Exit(EXIT_VIOLATED)


# -- what is asked for -----------------------------------------------------------------------


def _configuration(
    protocol: str | None, scenario: str | None, options: dict[str, Any]
) -> "Configuration":
    from elector.simulation.run import PROTOCOLS, Configuration
    from elector.simulation.scenarios import scenario as named

    if scenario is not None:
        found = named(scenario).configuration
        if protocol not in {None, found.protocol}:
            raise ConfigurationError(f"scenario {scenario!r} is one of {found.protocol}")
        return found
    if protocol not in PROTOCOLS:
        raise ConfigurationError(
            f"there is no protocol {protocol!r} to simulate; there are: {', '.join(PROTOCOLS)}"
            if protocol
            else f"name a protocol to simulate: {', '.join(PROTOCOLS)}"
        )
    from elector.core.timing import LeaseTiming
    from elector.simulation.faults import plan_named

    plan_named(options["plan"])
    return Configuration(
        protocol=protocol,
        nodes=options["nodes"] or 3,
        raft=_raft_settings(options),
        lease=LeaseTiming.of(options["ttl"]),
        store=options["store"],
        duration_ns=parse_duration(options["duration"], "for"),
        plan="none" if options["crash_leader"] else options["plan"],
        overrides=_overrides(options),
        crash_leader=options["crash_leader"],
    )


def _raft_settings(options: dict[str, Any]) -> Any:
    from elector.protocols.raft_settings import RaftSettings

    least, _, greatest = options["timeout"].partition("..")
    chosen: dict[str, Any] = {}
    for name in ("stagger", "retransmit"):
        if options[name] is not None:
            chosen[f"{name}_ns"] = parse_duration(options[name], name)
    if options["plain"]:
        chosen.update(pre_vote=False, check_quorum=False)
    if options["leader_lease"]:
        chosen["lease"] = True
    return RaftSettings.of(least, greatest or least, options["heartbeat"], **chosen)


def _overrides(options: dict[str, Any]) -> dict[str, Any]:
    """Single numbers that go on top of the plan's weather."""
    from elector.simulation.faults import parse_delay

    chosen: dict[str, Any] = {}
    if options["delay"] is not None:
        chosen["delay"] = msgspec.to_builtins(parse_delay(options["delay"]))
    if options["loss"] is not None:
        chosen.update(dict.fromkeys(("loss", "lost_request", "lost_reply"), options["loss"]))
    if options["drift"] is not None:
        chosen["drift_ppm"] = parts_per_million(options["drift"])
    return chosen


def parts_per_million(text: str) -> int:
    """Read a share like ``1%``; in millionths."""
    try:
        return round(float(text.removesuffix("%")) * (_MILLION // 100))
    except ValueError:
        raise ConfigurationError(f"drift {text!r} is not a share: write it like 1%") from None


def _require_empty(*paths: Path | None) -> None:
    """Find out before hours of simulation that what they show could not be written."""
    for path in paths:
        if path is not None and path.is_file() and path.stat().st_size:
            raise ConfigurationError(f"{path} is not empty: name another file, or remove it")


def _require_plots() -> None:
    """Find out before hours of simulation, not after them."""
    from importlib.util import find_spec

    if find_spec("matplotlib") is None:
        raise ConfigurationError("--plot needs matplotlib: pip install 'elector[plot]'")


# -- what comes out --------------------------------------------------------------------------


def _with_bar(outcomes: Iterator[Any], length: int) -> Iterator[Any]:
    """A bar on standard error for people who wait; nothing elsewhere."""
    if length == 1 or not sys.stderr.isatty():
        yield from outcomes
        return
    with click.progressbar(
        outcomes, length=length, label="runs", file=sys.stderr, show_pos=True
    ) as bar:
        yield from bar


def _write_trace(configuration: "Configuration", seed: int, path: Path) -> None:
    from elector.simulation.recording import write_run

    write_run(configuration, seed, path)


def _show_failure(
    configuration: "Configuration", reporter: "Reporter", path: Path
) -> "Failure | None":
    """Make the first violation small, and write it down."""
    failing = reporter.failing
    if failing is None:
        return None
    from elector.simulation.recording import write_failure
    from elector.simulation.shrink import Shrinker, recorded

    failure = recorded(configuration, failing.seed)
    if failure is None:
        return None  # a violation that comes only with other code than ours
    label = f"shrinking seed {failing.seed}"
    limit = 400
    with click.progressbar(
        length=limit, label=label, file=sys.stderr, hidden=not sys.stderr.isatty()
    ) as bar:
        smallest = Shrinker(failure, tries=limit, on_try=lambda *_: bar.update(1)).shrink()
    write_failure(smallest, path)
    return smallest


def _print(
    report: "Report",
    configuration: "Configuration",
    seed: int,
    shown: "Failure | None",
    failure: Path,
) -> None:
    seeds = f"seed {seed}" if report.runs == 1 else f"seeds {seed}..{seed + report.runs - 1}"
    click.echo(
        f"{configuration.protocol}, {configuration.nodes} nodes, {report.runs} "
        f"{'run' if report.runs == 1 else 'runs'} ({seeds}), "
        f"{format_duration(report.simulated_ns)} simulated, {report.events:,} events"
    )
    click.echo()
    print_table(("figure", "value"), _figures(report))
    click.echo()
    times = [(name, getattr(report, name)) for name in ("failover", "known", "vacancy")]
    if any(found for _, found in times):
        head = ("how long", "n", "mean", "median", "p99", "p99.9", "max")
        print_table(head, [_row(name, found) for name, found in times if found])
        click.echo()
    _print_properties(report)
    if shown is not None:
        click.echo()
        click.echo(
            f"{shown.violated} is violated; the smallest run that shows it is in {failure}:\n"
            f"  elector replay {failure}\n  elector show {failure}"
        )


def _figures(report: "Report") -> Iterator[tuple[str, str]]:
    yield "tenures", f"{report.tenures:,}"
    yield "availability", f"{report.availability:.4%}"
    yield "without a leader", format_duration(report.leaderless_ns)
    yield "overlaps", str(report.overlaps)
    if report.writes:
        yield "guarded writes", f"{report.writes:,}, {report.refused:,} refused"
    if report.requests:
        yield "requests", _counts(report.requests)
    if report.messages:
        yield "messages", _counts(report.messages)
    if report.unelected:
        yield "nobody in time", f"{report.unelected} runs"


def _counts(counts: dict[str, int]) -> str:
    return ", ".join(f"{name} {count:,}" for name, count in counts.items())


def _row(name: str, found: "Distribution") -> tuple[str, ...]:
    durations = (found.mean_ns, found.median_ns, found.p99_ns, found.p999_ns, found.max_ns)
    return (name, f"{found.n:,}", *(format_duration(ns) for ns in durations))


def _print_properties(report: "Report") -> None:
    width = max(len(name) for name in report.properties)
    click.echo(click.style("properties", bold=True), color=coloured(sys.stdout))
    for name, found in report.properties.items():
        outcomes = ", ".join(
            click.style(
                outcome if count == report.runs else f"{outcome} {count:,}", fg=_MARKS.get(outcome)
            )
            for outcome, count in found.outcomes.items()
        )
        text = f"  {found.text}" if found.text else ""
        click.echo(
            f"{name.ljust(width)}  {found.kind.ljust(10)}  {outcomes}{text}",
            color=coloured(sys.stdout),
        )


def _list() -> None:
    from elector.simulation.faults import KINDS, PLANS
    from elector.simulation.run import PROTOCOLS
    from elector.simulation.scenarios import SCENARIOS
    from elector.simulation.store import MODELS

    print_table(("protocol",), [(name,) for name in PROTOCOLS])
    click.echo()
    print_table(("faults", ""), [(name, plan.text) for name, plan in PLANS.items()])
    click.echo()
    kinds = [(name, kind.text, kind.voids or "") for name, kind in KINDS.items()]
    print_table(("trouble", "", "breaks the assumption"), kinds)
    click.echo()
    print_table(("store", ""), [(name, model.text) for name, model in MODELS.items()])
    click.echo()
    print_table(("scenario", ""), [(name, told.text) for name, told in SCENARIOS.items()])
