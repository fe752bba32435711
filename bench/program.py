"""The command line of the benchmark: which measurements, how many rounds, and what is printed."""

import importlib
import os
import signal
import sys
import tempfile
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import cast

import click
import msgspec

from bench.figures import Results, Section
from bench.machine import describe_machine
from bench.plan import Plan
from bench.report import as_markdown, as_text

MEASUREMENTS = (
    *("kill", "handover", "freeze", "idle", "start", "peers"),
    *("simulator", "explorer", "bugs", "failover"),
)
STORES = ("sqlite", "file", "postgresql", "redis", "etcd", "s3")
_RESULTS = Path(__file__).with_name("results")
# Kept with the code: the table of stores in the documents is made from it.
_STORES = Path(__file__).with_name("stores.json")
_LATEST = _RESULTS / "latest.json"
_PARTIAL = _RESULTS / "partial.json"


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.option(
    "--only", multiple=True, type=click.Choice(MEASUREMENTS + STORES), help="Measure only this."
)
@click.option("--stores", is_flag=True, help="Measure the stores, on real servers, instead.")
@click.option("--rounds", type=click.IntRange(min=1), help="Rounds of every measurement.")
@click.option("--quick", is_flag=True, help="A few rounds, to see that everything works.")
@click.option("--seed", default=1, show_default=True, help="Of the pauses that are drawn.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON instead of tables.")
@click.option("--markdown", is_flag=True, help="Print Markdown instead of plain text.")
@click.option("--again", is_flag=True, help="Print the latest complete figures; measure nothing.")
def program(
    only: tuple[str, ...],
    stores: bool,
    rounds: int | None,
    quick: bool,
    seed: int,
    as_json: bool,
    markdown: bool,
    again: bool,
) -> None:
    """Measure how fast Elector is, on this machine, and print tables.

    A complete run leaves its figures in bench/results/latest.json, any other one in partial.json.
    With --stores, each store that was measured takes its place in bench/stores.json at once, unless
    the run was a quick one. A bound that does not hold is reported, and is no error.
    """
    if again:
        results = _read(_STORES if stores else _LATEST)
    else:
        plan = Plan(seed, rounds, quick=quick)
        kept = _put_in_place if stores and not quick else None
        results = _measure(only or (STORES if stores else MEASUREMENTS), plan, kept)
        if kept is None:
            _write(_PARTIAL if only or rounds or quick else _LATEST, results)
    if as_json:
        click.echo(_encode(results))
    else:
        click.echo(as_markdown(results) if markdown else as_text(results))


def _measure(
    names: tuple[str, ...], plan: Plan, keep: Callable[[Results], None] | None = None
) -> Results:
    if sys.platform != "linux":
        raise click.ClickException("the benchmark needs Linux: it waits for processes by pidfd")
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _end_in_order)
    with tempfile.TemporaryDirectory() as directory:
        machine = describe_machine(Path(directory))
    began, start = datetime.now(UTC).isoformat(timespec="seconds"), time.monotonic()
    results = Results(machine=machine, seed=plan.seed, began=began, seconds=0.0, sections=())
    for name in names:
        sections = (*results.sections, _section(name, plan))
        results = Results(
            machine={
                **machine,
                "disturbed_rounds": f"{plan.disturbed} of {plan.paused}",
                "load_after": round(os.getloadavg()[0], 2),
            },
            seed=plan.seed,
            began=began,
            seconds=round(time.monotonic() - start, 1),
            sections=sections,
        )
        if keep is not None:
            keep(results)
    return results


def _put_in_place(results: Results) -> None:
    """The stores that were not measured this time keep the figures they have."""
    known = _read(_STORES).sections if _STORES.exists() else ()
    sections = {section.name: section for section in (*known, *results.sections)}
    ordered = tuple(sections[name] for name in STORES if name in sections)
    _write(_STORES, msgspec.structs.replace(results, sections=ordered))


def _section(name: str, plan: Plan) -> Section:
    if name in STORES:
        return cast("Section", importlib.import_module("bench.servers").measure(name, plan))
    return cast("Section", importlib.import_module(f"bench.{name}").measure(plan))


def _end_in_order(number: int, _frame: object) -> None:
    """What is on stage is ended on the way out."""
    sys.exit(128 + number)


def _write(file: Path, results: Results) -> None:
    file.parent.mkdir(exist_ok=True)
    file.write_text(_encode(results) + "\n")


def _encode(results: Results) -> str:
    return msgspec.json.format(msgspec.json.encode(results), indent=1).decode()


def _read(file: Path) -> Results:
    try:
        return msgspec.json.decode(file.read_bytes(), type=Results)
    except FileNotFoundError:
        raise click.ClickException("there are no figures yet: measure first") from None
