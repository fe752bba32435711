"""``elector watch``."""

import asyncio
import sys
from datetime import UTC, datetime

import click
import msgspec

from elector.cli.output import print_json
from elector.cli.settings import election_argument, json_option, store_option, with_store
from elector.core.office import Led, Observation, Unknown, Vacant
from elector.stores.registry import StoreUrl


@click.command(
    "watch",
    epilog="""\b
Example:
  elector watch nightly --json | jq -c 'select(.state == "led")'

\b
Keys: election, state (led, vacant or unknown), leader and token (null unless led), at (UTC).""",
)
@election_argument
@store_option
@json_option
def command(election: str, store: StoreUrl, as_json: bool) -> None:
    """Follow who leads ELECTION until interrupted: one line per change."""
    from elector.runtime.election import Election

    # What cannot be trusted is said now: an observer would wait for it to mend.
    with_store(store, lambda opened: opened.describe(election), create=True)

    async def follow() -> None:
        url = f"{store.scheme}://{store.rest}"
        async with Election(election, store=url) as watched:
            async for seen in watched.observe():
                _print(election, seen, as_json=as_json)

    asyncio.run(follow())


def _print(election: str, seen: Observation, *, as_json: bool) -> None:
    at = datetime.now(UTC).isoformat(timespec="milliseconds")
    if as_json:
        known = {"leader": None, "token": None, **msgspec.structs.asdict(seen)}
        state = type(seen).__name__.lower()
        keys = {"leader": known["leader"], "token": known["token"]}
        print_json({"election": election, "state": state, **keys, "at": at})
    else:
        click.echo(f"{at}  {election}: {_in_words(seen)}")
        sys.stdout.flush()


def _in_words(seen: Observation) -> str:
    match seen:
        case Led(leader, token):
            return f"{leader} leads (token {token})"
        case Vacant():
            return "nobody leads"
        case Unknown():
            return "not known: the store does not answer"
