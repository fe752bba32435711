"""``elector history``."""

import click
import msgspec

from elector.cli.output import print_json, print_table
from elector.cli.settings import election_argument, json_option, store_option, with_store
from elector.stores.registry import StoreUrl


@click.command(
    "history",
    epilog="""\b
Example:
  elector history nightly --limit 5

\b
Keys: election, token, holder, began, ended (UTC; null while it lasts), reason: completed,
failed, resigned, transferred, shutdown, stalled, lost, expired or died.""",
)
@election_argument
@store_option
@click.option("--limit", type=click.IntRange(1), default=20, show_default=True, help="At most.")
@json_option
def command(election: str, store: StoreUrl, limit: int, as_json: bool) -> None:
    """Show past tenures of ELECTION, newest first."""
    tenures = with_store(store, lambda opened: opened.history(election, limit))
    if as_json:
        print_json(msgspec.to_builtins(tenures))
        return
    print_table(
        ("token", "holder", "began", "ended", "reason"),
        [
            (str(t.token), t.holder, t.began, t.ended or "-", t.reason or "(in office)")
            for t in tenures
        ],
    )
