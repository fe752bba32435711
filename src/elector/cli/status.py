"""``elector status``."""

import click
import msgspec

from elector.cli.output import print_json, print_table
from elector.cli.settings import json_option, store_option, with_store
from elector.core.duration import format_duration
from elector.core.identity import election_name
from elector.stores.port import Record, Store
from elector.stores.registry import StoreUrl


@click.command(
    "status",
    epilog="""\b
Examples:
  elector status                     every election of the store
  elector status nightly --json

\b
Keys: election, leader (null: nobody), token (the last one granted), expires_in_ns (null: no
lease), since (UTC), waiting (names, first in line first). Without a name: a list of these.""",
)
@click.argument("election", required=False)
@store_option
@json_option
def command(election: str | None, store: StoreUrl, as_json: bool) -> None:
    """Show who leads ELECTION and who waits; without a name, all elections."""
    name = None if election is None else election_name(election)

    async def look(opened: Store) -> list[Record]:
        return await opened.elections() if name is None else [await opened.describe(name)]

    records = with_store(store, look)
    if as_json:
        print_json(msgspec.to_builtins(records if name is None else records[0]))
        return
    print_table(
        ("election", "leader", "token", "lease", "since", "waiting"),
        [
            (
                record.election,
                record.leader or "(nobody)",
                str(record.token) if record.token else "-",
                "-" if record.expires_in_ns is None else format_duration(record.expires_in_ns),
                record.since or "-",
                ", ".join(record.waiting) or "-",
            )
            for record in records
        ],
    )
