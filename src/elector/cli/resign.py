"""``elector resign``."""

import click

from elector.cli.handover import hand_over
from elector.cli.settings import election_argument, json_option, store_option
from elector.stores.registry import StoreUrl


@click.command(
    "resign",
    epilog="""\b
Example:
  elector resign nightly

\b
Keys: election, leader and token (who was asked), handed_over, next (who leads now, or null).""",
)
@election_argument
@store_option
@click.option(
    "--wait", default="60s", show_default=True, help="How long to wait for the work to stop."
)
@json_option
def command(election: str, store: StoreUrl, wait: str, as_json: bool) -> None:
    """Ask the leader of ELECTION to stop its work and hand over, and wait until it has."""
    hand_over(election, store, wait, None, as_json=as_json)
