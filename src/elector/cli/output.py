"""Data on stdout, logs on stderr; colour only for people who did not say NO_COLOR."""

import contextlib
import os
import sys
from collections.abc import Callable, Iterable, Sequence

import click
import msgspec

_COLOURS = {
    "leads": "green",
    "lost": "red",
    "error": "red",
    "store": "yellow",
    "stopping": "yellow",
}


def print_json(data: object) -> None:
    """One JSON value on one line, at once."""
    sys.stdout.write(msgspec.json.encode(data).decode() + "\n")
    sys.stdout.flush()


def print_table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """Columns for people."""
    lines = [list(head), *(list(row) for row in rows)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(head))]
    for number, line in enumerate(lines):
        cells = "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True))
        click.echo(click.style(cells.rstrip(), bold=number == 0), color=coloured(sys.stdout))


def coloured(stream: object) -> bool:
    """Whether to colour what goes there."""
    is_terminal = getattr(stream, "isatty", lambda: False)()
    return bool(is_terminal) and not os.environ.get("NO_COLOR")


def teller(election: str, verbosity: int, *, as_json: bool) -> Callable[..., None]:
    """What a supervisor says, on stderr.

    Args:
        election: stands in each line.
        verbosity: below 0 only errors, 0 what happens to office and work, above 0 everything.
        as_json: one JSON object a line, with the keys event, election, text and facts.
    """

    def say(event: str, text: str, *, detail: bool = False, **facts: object) -> None:
        if (detail and verbosity <= 0) or (verbosity < 0 and event not in {"error", "store"}):
            return
        if as_json:
            facts = {"event": event, "election": election, "text": text, **facts}
            line = msgspec.json.encode(facts).decode()
        else:
            token = f" (token {facts['token']})" if "token" in facts else ""
            line = click.style(f"elector: {election}: {text}{token}", fg=_COLOURS.get(event))
        with contextlib.suppress(OSError):  # a full disk under the log is no reason to stop working
            click.echo(line, err=True, color=coloured(sys.stderr))

    return say
