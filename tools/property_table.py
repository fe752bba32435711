"""The tables of properties in docs/properties.md, made from the catalogue.

::

    python tools/property_table.py            print them
    python tools/property_table.py --write    put them into the document

A test compares the two.
"""

import argparse
import re
from pathlib import Path

from elector.properties.catalogue import DEFAULTS, PROPERTIES
from elector.properties.verdict import ASSUMPTIONS, Property

DOCUMENT = Path(__file__).parent.parent / "docs" / "properties.md"
_PLACE = re.compile(r"(<!-- properties:begin[^\n]*-->\n).*(<!-- properties:end -->)", re.DOTALL)
_NONE = "-"


def table() -> str:
    """One row for each property, and one for each assumption."""
    properties = [
        "| property | kind | what it says | judged of | rests on |",
        "|---|---|---|---|---|",
        *(_row(kind) for kind in PROPERTIES.values()),
    ]
    assumptions = [
        "| assumption | what it says |",
        "|---|---|",
        *(f"| `{name}` | {text} |" for name, text in ASSUMPTIONS.items()),
    ]
    return "\n".join([*properties, "", *assumptions])


def _row(kind: type[Property]) -> str:
    judged_of = [protocol for protocol, names in DEFAULTS.items() if kind.name in names]
    rests_on = [name for name in ASSUMPTIONS if name in kind.needs]
    cells = (f"`{kind.name}`", kind.kind, kind.text, ", ".join(judged_of), _code(rests_on))
    return f"| {' | '.join(cell or _NONE for cell in cells)} |"


def _code(names: list[str]) -> str:
    return ", ".join(f"`{name}`" for name in names)


def written() -> str:
    """The document with the tables of today in it."""
    made = table()
    return _PLACE.sub(lambda place: f"{place[1]}{made}\n{place[2]}", DOCUMENT.read_text())


def main() -> None:
    """Print the tables, or put them into the document."""
    parser = argparse.ArgumentParser(description="the tables of properties")
    parser.add_argument("--write", action="store_true", help=f"rewrite {DOCUMENT.name}")
    if parser.parse_args().write:
        DOCUMENT.write_text(written())
    else:
        print(table())


if __name__ == "__main__":
    main()
