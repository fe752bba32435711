"""The tables in docs/stores.md, made from what the adapters declare and what was measured.

::

    python tools/store_table.py            print them
    python tools/store_table.py --write    put them into the document

What was measured is in bench/stores.json (`make bench-stores`). A test compares the document with
both. That an adapter shows the traits it declares is the business of the conformance kit.
"""

import argparse
import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from elector.core.duration import format_duration
from elector.stores.port import Traits
from elector.stores.registry import factory_for

ROOT = Path(__file__).parent.parent
DOCUMENT = ROOT / "docs" / "stores.md"
MEASURED = ROOT / "bench" / "stores.json"
# One scheme of each adapter; the order of the tables.
SCHEMES = ("sqlite", "file", "memory", "postgresql", "redis", "etcd", "s3")
_PROMISES = (
    *("", "who can stand together", "ends a silent leader's lease", "least lease"),
    *("a vacancy is", "a request to resign", "office kept for an heir", "history"),
)
_PLACE = re.compile(r"(<!-- stores:begin[^\n]*-->\n).*(<!-- stores:end -->)", re.DOTALL)
_ENDINGS = {
    "a bare client's release": "a bare client releases",
    "the body returns": "the body returns",
    "the command is killed": "the command is killed",
    "`elector run` is killed": "elector run is killed",
    "host gone, ttl 3 s": "host gone",
    "idle requests a second": "idle: requests a second",
}
_FIGURES = ("acquire", "renew", "release until a waiting candidate knows")


def traits_of(scheme: str) -> Traits:
    """What the adapter of a scheme declares; no server is needed for that."""
    module = sys.modules[factory_for(scheme).__module__]
    found = vars(module).values()
    declared = (*found, *(getattr(value, "traits", None) for value in found))
    return next(traits for traits in declared if isinstance(traits, Traits))


def tables() -> str:
    """All of them."""
    traits = {scheme: traits_of(scheme) for scheme in SCHEMES}
    return "\n\n".join(
        [
            _table(
                _PROMISES,
                [(_name(scheme), *_promises(known)) for scheme, known in traits.items()],
            ),
            _table(
                ("", "the clock of a lease", "where tokens come from", "what can be lost"),
                [
                    (_name(scheme), known.clock, known.token_source, known.failover_loss)
                    for scheme, known in traits.items()
                ],
            ),
            _table(
                ("", "tested on", "conformance kit", "acquire", "renew", "release until known"),
                [(_name(scheme), *_measured(scheme)) for scheme in SCHEMES],
            ),
            _table(("", *_ENDINGS), list(_endings())),
        ]
    )


def _name(scheme: str) -> str:
    return f"`{scheme}://`"


def _promises(traits: Traits) -> tuple[str, ...]:
    scope = "a network" if traits.scope == "network" else f"one {traits.scope}"
    ends = {
        "server": "the server",
        "observer": "each contender, by its own watch",
        "host clock": "the host's clock",
        "never": "nobody",
    }[traits.expiry]
    dead = "; a dead one's at once, the kernel" if traits.witness else ""
    return (
        scope,
        f"{ends}{dead}",
        "there is none" if traits.expiry == "never" else format_duration(traits.least_ttl_ns),
        "announced" if traits.push else "found by asking",
        f"arrives {traits.asks}" if traits.asks != "never" else "never arrives",
        "yes" if traits.transfer else "no",
        "yes" if traits.history else "no",
    )


def _measured(scheme: str) -> tuple[str, ...]:
    section = _sections().get(scheme)
    if section is None:
        where = "in one process" if scheme == "memory" else "in every run of the tests"
        return (where, "held to it in the tests", *("not measured",) * 3)
    figures = {figure["what"]: figure for figure in section["figures"]}
    return (
        section["title"].partition(" on ")[2],
        next(text for text in section["remarks"] if text.startswith("Conformance")).partition(": ")[
            2
        ],
        *(_milliseconds(figures[what]) for what in _FIGURES),
    )


def _endings() -> Iterator[tuple[str, ...]]:
    """Until the next one's work begins, for each way in which the one before may end."""
    for scheme, section in _sections().items():
        found = {
            head: figure
            for head, begins in _ENDINGS.items()
            for figure in section["figures"]
            if begins in figure["what"]
        }
        if found:
            yield (_name(scheme), *(_judged(found.get(head)) for head in _ENDINGS))


def _judged(figure: dict[str, Any] | None) -> str:
    if figure is None:
        return "not measured"
    if figure["unit"] != "ms":
        numbers = f"{figure['max']:.3g}"
    else:
        numbers = f"{figure['median']:,.4g} / {figure['p99']:,.4g} ms"
    return numbers if figure["holds"] is not False else f"{numbers} (asked {figure['bound']:.3g})"


def _sections() -> dict[str, Any]:
    return {section["name"]: section for section in json.loads(MEASURED.read_text())["sections"]}


def _milliseconds(figure: dict[str, float]) -> str:
    return f"{figure['median']:.3g} / {figure['p99']:.3g} ms"


def _table(head: tuple[str, ...], rows: list[tuple[str, ...]]) -> str:
    lines = (f"| {' | '.join(row)} |" for row in (head, ("---",) * len(head), *rows))
    return "\n".join(lines)


def written() -> str:
    """The document with the tables of today in it."""
    made = tables()
    return _PLACE.sub(lambda place: f"{place[1]}{made}\n{place[2]}", DOCUMENT.read_text())


def main() -> None:
    """Print the tables, or put them into the document."""
    parser = argparse.ArgumentParser(description="the tables of stores")
    parser.add_argument("--write", action="store_true", help=f"rewrite {DOCUMENT.name}")
    if parser.parse_args().write:
        DOCUMENT.write_text(written())
    else:
        print(tables())


if __name__ == "__main__":
    main()
