"""``elector replay``: the same run once more, step for step."""

import sys
from collections.abc import Sequence
from pathlib import Path

import click
import msgspec

from elector.cli.output import print_json
from elector.cli.settings import json_option
from elector.core.duration import format_duration
from elector.trace.records import Header, Record

EXIT_DIFFERS = 1
_SILENT = frozenset({"step", "deliver", "answer"})


@click.command(
    "replay",
    epilog="""\b
Example:
  elector replay failure.ndjson

\b
Exit code: 0 if the run is the same to the byte, 1 if it is not (another version of elector, or a
trace that was edited), 2 if the file is no trace of a simulated run.

\b
Keys: same, records, differs_at (number of the first record that differs, or null), verdicts.""",
)
@click.argument("trace", type=click.Path(path_type=Path, dir_okay=False))
@click.option("-q", "--quiet", is_flag=True, help="Only say whether it is the same run.")
@json_option
def command(trace: Path, quiet: bool, as_json: bool) -> None:
    """Make the simulated run of TRACE again, tell it, and compare it record by record."""
    from elector.simulation.recording import again
    from elector.trace.ndjson import read

    head, recorded = read(trace)
    before = list(recorded)
    told, outcome = again(head)
    differs_at = _first_difference(before, told)
    if as_json:
        print_json(
            {
                "same": differs_at is None,
                "records": len(told),
                "differs_at": differs_at,
                "verdicts": msgspec.to_builtins(outcome.verdicts),
            }
        )
    else:
        if not quiet:
            for record in told:
                _tell(head, record)
        for verdict in outcome.verdicts:
            if verdict.outcome == "violated":
                at = "" if verdict.t is None else f"{format_duration(verdict.t)}: "
                click.echo(f"{verdict.name} is violated: {at}{verdict.text}")
        click.echo(_comparison(before, told, differs_at))
    if differs_at is not None:
        raise click.exceptions.Exit(EXIT_DIFFERS)


def _first_difference(before: Sequence[Record], told: Sequence[Record]) -> int | None:
    encode = msgspec.json.encode
    for number, (old, new) in enumerate(zip(before, told, strict=False)):
        if encode(old) != encode(new):
            return number
    return None if len(before) == len(told) else min(len(before), len(told))


def _comparison(before: Sequence[Record], told: Sequence[Record], differs_at: int | None) -> str:
    if differs_at is None:
        return f"the same run: {len(told)} records, to the byte"
    if differs_at == min(len(before), len(told)):
        return f"not the same run: {len(before)} records in the file, {len(told)} now"
    old = msgspec.json.encode(before[differs_at]).decode()
    new = msgspec.json.encode(told[differs_at]).decode()
    return (
        f"not the same run from record {differs_at} on:\n  in the file  {old}\n  now          {new}"
    )


def _tell(head: Header, record: Record) -> None:
    """One line for people: when, who, what."""
    facts = msgspec.to_builtins(record)
    kind, t = facts.pop("kind"), facts.pop("t")
    if kind in _SILENT:
        return
    node = facts.pop("node", None)
    name = "store" if node == -1 else head.nodes[node] if node is not None else ""
    said = " ".join(
        f"{key}={_short(value)}" for key, value in facts.items() if value not in (None, {})
    )
    click.echo(f"{t / 1e9:14.6f}s  {name:<6} {kind:<9} {said}")
    sys.stdout.flush()


def _short(value: object) -> str:
    if isinstance(value, dict):
        return "(" + " ".join(f"{key}={_short(item)}" for key, item in value.items()) + ")"
    return str(value)
