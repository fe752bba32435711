"""``elector doctor``."""

import asyncio
import sys

import click
import msgspec

from elector.cli.output import coloured, print_json
from elector.cli.settings import json_option, store_option
from elector.core.timing import LeaseTiming
from elector.stores.port import Finding
from elector.stores.registry import StoreUrl

EXIT_UNFIT = 1
_COLOURS = {"good": "green", "doubtful": "yellow", "bad": "red"}


@click.command(
    "doctor",
    epilog="""\b
Examples:
  elector doctor --store postgresql://db/app
  elector doctor --store redis://cache:6379 --ttl 5s --json

\b
A trial election named elector-doctor is held in the store; --no-trial writes nothing.
Exit code 1: something is bad, and the store should not be used so.
Keys: what, level (good, doubtful or bad), says, remedy (null: none is needed). With --json: a
list of these.""",
)
@store_option
@click.option(
    "--ttl", envvar="ELECTOR_TTL", default="15s", show_default=True, help="The lease duration."
)
@click.option("--trial/--no-trial", default=True, help="Hold an election to try the store.")
@json_option
def command(store: StoreUrl, ttl: str, *, trial: bool, as_json: bool) -> None:
    """Examine a store: can it be reached, what does it promise, what would weaken that."""
    from elector.stores.checkup import check_up

    findings = asyncio.run(check_up(store, LeaseTiming.of(ttl), trial=trial))
    if as_json:
        print_json(msgspec.to_builtins(findings))
    else:
        click.echo(f"{store}")
        for finding in findings:
            _print(finding)
    if any(finding.level == "bad" for finding in findings):
        raise click.exceptions.Exit(EXIT_UNFIT)


def _print(finding: Finding) -> None:
    level = click.style(f"{finding.level:<8}", fg=_COLOURS[finding.level])
    says = " ".join(finding.says.split())
    remedy = f"; {finding.remedy}" if finding.remedy else ""
    click.echo(f"  {level}  {finding.what:<14}  {says}{remedy}", color=coloured(sys.stdout))
