"""``elector transfer``."""

import click

from elector.cli.handover import hand_over
from elector.cli.settings import election_argument, json_option, store_option
from elector.stores.registry import StoreUrl


@click.command(
    "transfer",
    epilog="""\b
Example:
  elector transfer nightly web-2

\b
Keys: election, leader and token (who was asked), handed_over, next (who leads now, or null).""",
)
@election_argument
@click.argument("candidate")
@store_option
@click.option(
    "--wait", default="60s", show_default=True, help="How long to wait for the work to stop."
)
@json_option
def command(election: str, candidate: str, store: StoreUrl, wait: str, as_json: bool) -> None:
    """Ask the leader of ELECTION to hand over to CANDIDATE, who must be waiting."""
    hand_over(election, store, wait, candidate, as_json=as_json)
