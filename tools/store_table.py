"""The table of stores in docs/guarantees.md, made from what the adapters declare.

::

    python tools/store_table.py            print it
    python tools/store_table.py --write    put it into the document

A test compares the two. That an adapter shows the traits it declares is the business of the
conformance tests.
"""

import argparse
import asyncio
import re
import tempfile
from pathlib import Path

from elector.core.duration import format_duration
from elector.stores.port import Traits
from elector.stores.registry import open_store, parse_url

DOCUMENT = Path(__file__).parent.parent / "docs" / "guarantees.md"
_PLACE = re.compile(r"(<!-- stores:begin[^\n]*-->\n).*(<!-- stores:end -->)", re.DOTALL)


def table() -> str:
    """One column for each store, one row for each trait."""
    with tempfile.TemporaryDirectory() as directory:
        urls = {
            "memory": "memory://store-table",
            "sqlite": f"sqlite:///{directory}/elections.db",
            "file": f"file://{directory}/elections",
        }
        columns = {name: _cells(asyncio.run(_traits(url))) for name, url in urls.items()}
    rows = next(iter(columns.values()))
    lines = [
        f"| | {' | '.join(f'`{name}://`' for name in columns)} |",
        f"|{'---|' * (len(columns) + 1)}",
        *(f"| {row} | {' | '.join(cells[row] for cells in columns.values())} |" for row in rows),
    ]
    return "\n".join(lines)


async def _traits(url: str) -> Traits:
    store = await open_store(parse_url(url))
    try:
        return store.traits
    finally:
        await store.close()


def _cells(traits: Traits) -> dict[str, str]:
    def whether(fact: bool) -> str:
        return "yes" if fact else "no"

    leased = traits.expiry != "never"
    return {
        "who can stand together": f"one {traits.scope}"
        if traits.scope != "network"
        else "a network",
        "ends a silent holder's lease": traits.expiry,
        "the clock of a lease": traits.clock,
        "least lease": format_duration(traits.least_ttl_ns) if leased else "there is none",
        "the kernel reports a dead holder": whether(traits.witness),
        "tells those who wait": whether(traits.push),
        "where tokens come from": traits.token_source,
        "what can be lost": traits.failover_loss,
        "keeps a history": whether(traits.history),
        "a request to resign reaches the holder": traits.asks,
        "can be kept for a named candidate": "yes" if traits.transfer else "no",
    }


def written() -> str:
    """The document with the table of today in it."""
    made = table()
    return _PLACE.sub(lambda place: f"{place[1]}{made}\n{place[2]}", DOCUMENT.read_text())


def main() -> None:
    """Print the table, or put it into the document."""
    parser = argparse.ArgumentParser(description="the table of stores")
    parser.add_argument("--write", action="store_true", help=f"rewrite {DOCUMENT.name}")
    if parser.parse_args().write:
        DOCUMENT.write_text(written())
    else:
        print(table())


if __name__ == "__main__":
    main()
