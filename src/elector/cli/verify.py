"""``elector verify``: everything that can happen in a small world; or one trace, step for step."""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import msgspec

from elector.cli.output import print_json, print_table
from elector.cli.settings import json_option
from elector.cli.simulate import parts_per_million
from elector.errors import ConfigurationError, TraceError

if TYPE_CHECKING:
    from elector.verification.lease_scope import LeaseExploration, LeaseScope
    from elector.verification.scope import Exploration, Progress, Violation

EXIT_NOT_AS_EXPECTED = 1
EXIT_INCOMPLETE = 3
EXIT_INTERRUPTED = 130
_UNITS = {"K": 1 << 10, "M": 1 << 20, "G": 1 << 30}


@click.command(
    "verify",
    epilog="""\b
Examples:
  elector verify raft --nodes 3 --terms 2 --restarts 1
  elector verify raft --nodes 4 --terms 2 --max-memory 2G
  elector verify raft --nodes 5 --liveness --links 0-1,0-2,1-2,1-3,2-4 --pre-vote
  elector verify lease --candidates 2 --lost 1
  elector verify lease --drift 1% --real-drift 3% --lost 2 --expect-violation LeaseDisjoint
  elector verify --trace run.ndjson

\b
Exit code: 0 if everything in the scope was seen and holds (or violates what was expected; or the
trace is what the protocol does), 1 if not, 2 for wrong options, 3 if it stopped before everything
was seen, 130 when interrupted.

\b
Keys: protocol, holds, complete, stopped, states, depth, queue, seconds, rate, memory, properties,
violation {property, text, steps}, counterexample (the file, or null); with --trace: steps and
divergence {record, line, t, node, what, differences}, or null.""",
)
@click.argument("protocol", required=False)
@click.option("--nodes", type=int, default=3, show_default=True, help="raft: how many members.")
@click.option("--terms", type=int, default=2, show_default=True, help="raft: the last term.")
@click.option("--restarts", type=int, default=0, show_default=True, help="raft: crashes, in all.")
@click.option("--pre-vote", is_flag=True, help="raft: with PreVote.")
@click.option("--check-quorum", is_flag=True, help="raft: with CheckQuorum.")
@click.option("--transfer", is_flag=True, help="raft: leaders may be asked to hand over.")
@click.option(
    "--liveness",
    is_flag=True,
    help="raft: look for a fair way to go on for ever without a stable leader, instead.",
)
@click.option("--links", help="raft, liveness: only these, both ways, like 0-1,1-2. [default: all]")
@click.option("--full", is_flag=True, help="raft: merge no states that differ.")
@click.option(
    "--candidates", type=int, default=2, show_default=True, help="lease: how many candidates."
)
@click.option("--tenures", type=int, default=2, show_default=True, help="lease: the last token.")
@click.option(
    "--drift",
    default="33.3333%",
    show_default=True,
    help="lease: the bound that candidates count on; a large one makes a small world.",
)
@click.option("--real-drift", help="lease: how far clocks are really off. [default: the bound]")
@click.option("--lost", type=int, default=0, show_default=True, help="lease: requests unanswered.")
@click.option(
    "--late", type=int, default=0, show_default=True, help="lease: messages that come late."
)
@click.option("--pauses", type=int, default=0, show_default=True, help="lease: of processes.")
@click.option("--crashes", type=int, default=0, show_default=True, help="lease: of processes.")
@click.option(
    "--resigns", type=int, default=0, show_default=True, help="lease: requests to resign."
)
@click.option("--property", "properties", multiple=True, help="raft: judge only this one.")
@click.option("--expect-violation", help="Succeed if exactly this property is violated.")
@click.option("--max-memory", default="4G", show_default=True, help="Stop beyond this, like 2G.")
@click.option(
    "--counterexample",
    type=click.Path(path_type=Path, dir_okay=False),
    default=Path("counterexample.ndjson"),
    show_default=True,
    help="Where the shortest way to a violation is written.",
)
@click.option(
    "--trace",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Take the steps of this trace again, and report the first that differs.",
)
@json_option
def command(
    protocol: str | None,
    trace: Path | None,
    expect_violation: str | None,
    counterexample: Path,
    as_json: bool,
    **options: Any,
) -> None:
    """Try everything that can happen to PROTOCOL (lease or raft) in a small world."""
    if trace is not None:
        _check_trace(trace, as_json=as_json)
        return
    options["max_memory"] = _bytes(options["max_memory"])
    if protocol == "raft" and options["liveness"]:
        _find_lasso(options, expect_violation, counterexample, as_json=as_json)
        return
    if protocol == "raft":
        found: Exploration | LeaseExploration = _explore_raft(options)
    elif protocol == "lease":
        found = _explore_lease(options)
    else:
        named = (
            f"there is no protocol {protocol!r} to verify; there are" if protocol else "name one"
        )
        raise ConfigurationError(f"{named}: lease, raft; or give a --trace")
    written = _write(found.violation, counterexample)
    if as_json:
        print_json(_facts(protocol, found, written))
    else:
        _print(protocol, found, written)
    _exit(found, expect_violation)


# -- exploring -------------------------------------------------------------------------------


def _explore_raft(options: dict[str, Any]) -> "Exploration":
    from msgspec.structs import replace

    from elector.verification.members import REDUCTIONS, explore
    from elector.verification.scope import PLAIN, SAFETY, Scope

    settings = replace(PLAIN, pre_vote=options["pre_vote"], check_quorum=options["check_quorum"])
    scope = Scope(
        nodes=options["nodes"],
        terms=options["terms"],
        restarts=options["restarts"],
        settings=settings,
        transfer=options["transfer"],
    )
    return explore(
        scope,
        properties=options["properties"] or SAFETY,
        reductions=() if options["full"] else REDUCTIONS,
        max_memory=options["max_memory"],
        on_progress=_teller(),
    )


def _find_lasso(
    options: dict[str, Any], expected: str | None, counterexample: Path, *, as_json: bool
) -> None:
    from msgspec.structs import replace

    from elector.verification.fairness import Situation, find_lasso
    from elector.verification.kind import both_ways, everyone
    from elector.verification.scope import PLAIN

    settings = replace(PLAIN, pre_vote=options["pre_vote"], check_quorum=options["check_quorum"])
    nodes = options["nodes"]
    every = everyone(nodes)
    links = every if options["links"] is None else both_ways(*_links(options["links"], nodes))
    found = find_lasso(Situation(nodes=nodes, settings=settings, links=links, before=(every,)))
    violation = found.violation
    written = _write(violation, counterexample)
    if as_json:
        print_json(
            {
                "protocol": "raft",
                "holds": violation is None and found.complete,
                "complete": found.complete,
                "states": found.states,
                "seconds": found.seconds,
                "violation": _shown(violation),
                "counterexample": None if written is None else str(written),
            }
        )
    elif violation is not None:
        click.echo(f"{violation.property} is violated: {violation.text}")
        click.echo(f"Such a way is in {written}:\n  elector show {written}")
    else:
        cut = "" if found.complete else f"; {found.cut} ways were not followed to their end"
        click.echo(f"{found.states:,} states, and on every fair way a leader stays{cut}")
    violated = None if violation is None else violation.property
    if violated != expected:
        raise click.exceptions.Exit(EXIT_NOT_AS_EXPECTED)


def _links(text: str, nodes: int) -> list[tuple[int, int]]:
    links = []
    for link in text.split(","):
        near, dash, far = link.partition("-")
        if not (dash and near.isdigit() and far.isdigit() and max(int(near), int(far)) < nodes):
            raise ConfigurationError(
                f"link {link!r} is none between nodes 0 to {nodes - 1}: write it like 0-1"
            )
        links.append((int(near), int(far)))
    return links


def _explore_lease(options: dict[str, Any]) -> "LeaseExploration":
    from elector.verification.lease import explore_lease

    return explore_lease(
        _lease_scope(options), max_memory=options["max_memory"], on_progress=_teller()
    )


def _lease_scope(options: dict[str, Any]) -> "LeaseScope":
    from elector.verification.lease_scope import SMALL, Budgets, LeaseScope, coarse

    drift = parts_per_million(options["drift"])
    real = None if options["real_drift"] is None else parts_per_million(options["real_drift"])
    on_grid = drift == SMALL.drift_ppm
    return LeaseScope(
        candidates=options["candidates"],
        tenures=options["tenures"],
        timing=SMALL if on_grid else coarse(drift),
        drift_ppm=real,
        budgets=Budgets(
            lost=options["lost"],
            late=options["late"],
            pauses=options["pauses"],
            crashes=options["crashes"],
            wishes=options["resigns"],
        ),
        instants="grid" if on_grid and real in {None, drift} else "corners",
    )


def _bytes(text: str) -> int:
    unit = _UNITS.get(text[-1:].upper(), 1)
    digits = text if unit == 1 else text[:-1]
    if not digits.isdigit():
        raise ConfigurationError(f"max-memory {text!r} is no amount: write it like 500M or 2G")
    return int(digits) * unit


def _teller() -> "Callable[[Progress], None] | None":
    """A line that lives on the terminal of somebody who waits."""
    if not sys.stderr.isatty():
        return None

    def tell(progress: "Progress") -> None:
        click.echo(
            f"\r{progress.states:,} states, {progress.rate:,.0f}/s, depth {progress.depth}, "
            f"queue {progress.queue:,}, {progress.memory >> 20:,} MB ",
            nl=False,
            err=True,
        )

    return tell


# -- what came of it -------------------------------------------------------------------------


def _write(violation: "Violation | None", path: Path) -> Path | None:
    if violation is None:
        return None
    from elector.trace.ndjson import Writer

    path.unlink(missing_ok=True)
    with Writer(path, violation.header) as writer:
        for record in violation.records:
            writer.write(record)
    return path


def _facts(
    protocol: str, found: "Exploration | LeaseExploration", written: Path | None
) -> dict[str, object]:
    progress = found.progress
    return {
        "protocol": protocol,
        "holds": found.holds,
        "complete": found.complete,
        "stopped": found.stopped,
        **msgspec.to_builtins(progress),
        "rate": round(progress.rate),
        "properties": list(found.properties),
        "violation": _shown(found.violation),
        "counterexample": None if written is None else str(written),
    }


def _shown(violation: "Violation | None") -> dict[str, object] | None:
    if violation is None:
        return None
    return {
        "property": violation.property,
        "text": violation.text,
        "steps": violation.steps,
    }


def _print(protocol: str, found: "Exploration | LeaseExploration", written: Path | None) -> None:
    if sys.stderr.isatty():
        click.echo("\r\x1b[2K", nl=False, err=True)
    progress = found.progress
    print_table(
        ("protocol", "states", "depth", "seconds", "states/s", "memory"),
        [
            (
                protocol,
                f"{progress.states:,}",
                str(progress.depth),
                f"{progress.seconds:.2f}",
                f"{progress.rate:,.0f}",
                f"{progress.memory >> 20:,} MB",
            )
        ],
    )
    click.echo()
    violation = found.violation
    if violation is not None:
        click.echo(
            f"{violation.property} is violated after {violation.steps} steps: {violation.text}"
        )
        click.echo(f"The shortest way there is in {written}:\n  elector show {written}")
    elif found.complete:
        click.echo(f"everything in this scope was seen, and holds: {', '.join(found.properties)}")
    else:
        why = {"memory": "the memory it may use is full", "interrupted": "it was interrupted"}
        click.echo(
            f"not everything was seen, for {why.get(found.stopped, found.stopped)}: "
            f"{progress.queue:,} states were still to be tried at depth {progress.depth}; "
            "nothing is violated up to there"
        )


def _exit(found: "Exploration | LeaseExploration", expected: str | None) -> None:
    violated = None if found.violation is None else found.violation.property
    if found.stopped == "interrupted":
        raise click.exceptions.Exit(EXIT_INTERRUPTED)
    if expected != violated:
        if expected is not None and violated is None:
            click.echo(f"elector: {expected} was expected to be violated, and is not", err=True)
        if violated is not None or expected is not None:
            raise click.exceptions.Exit(EXIT_NOT_AS_EXPECTED)
    if not found.complete and violated is None:
        raise click.exceptions.Exit(EXIT_INCOMPLETE)


# -- traces ----------------------------------------------------------------------------------


def _check_trace(path: Path, *, as_json: bool) -> None:
    from elector.trace.ndjson import read
    from elector.trace.records import Step
    from elector.verification.divergence import first_divergence

    header, told = read(path, tolerant=True)
    records = list(told)
    steps = sum(isinstance(record, Step) for record in records)
    if told.torn is not None:
        click.echo(f"elector: {path}: line {told.torn} is torn, and left out", err=True)
    try:
        divergence = first_divergence(header, records)
    except TraceError as error:
        raise TraceError(f"{path}: {error}") from error
    if as_json:
        shown = None if divergence is None else msgspec.to_builtins(divergence)
        print_json({"protocol": header.protocol, "steps": steps, "divergence": shown})
    elif divergence is None:
        click.echo(f"{path}: {steps:,} steps, and the protocol takes every one of them so")
    else:
        click.echo(f"{path}: {divergence}")
    if divergence is not None:
        raise click.exceptions.Exit(EXIT_NOT_AS_EXPECTED)
