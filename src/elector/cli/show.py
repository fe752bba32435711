"""``elector show``: a trace as a page."""

from pathlib import Path
from typing import TYPE_CHECKING

import click
import msgspec

from elector.core.duration import parse_duration
from elector.errors import ConfigurationError

if TYPE_CHECKING:
    from elector.trace.records import Header, Plain

_OURS = b'content="elector show"'
_HEAD_BYTES = 4096


@click.command(
    "show",
    epilog="""\b
Examples:
  elector show failure.ndjson
  elector show long.ndjson -o part.html --from 10s --until 12s

The page needs no network and no other file. A trace of a killed process may end in a torn line,
which is left out.""",
)
@click.argument("trace", type=click.Path(path_type=Path, dir_okay=False))
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Write the page here. [default: the trace's name with .html]",
)
@click.option("--from", "since", help="Begin this long after the first record, like 10s.")
@click.option("--until", help="End this long after the first record.")
@click.option("--force", is_flag=True, help="Overwrite a file that is no such page.")
def command(
    trace: Path, output: Path | None, since: str | None, until: str | None, force: bool
) -> None:
    """Draw TRACE as one page: who spoke to whom, who led when, and where it went wrong."""
    from elector.trace.ndjson import read
    from elector.trace.page.render import render

    begin, end = _window(since, until)
    target = trace.with_suffix(".html") if output is None else output
    _refuse_to_overwrite(trace, target, force=force)
    header, records = read(trace, tolerant=True)
    page = render(header, records, _verdicts(header, trace), since=begin, until=end)
    try:
        target.write_text(page, encoding="utf-8")
    except OSError as error:
        raise ConfigurationError(f"cannot write {target}: {error.strerror}") from error
    click.echo(target)


def _window(since: str | None, until: str | None) -> tuple[int, int | None]:
    begin = 0 if since is None else parse_duration(since, "--from")
    end = None if until is None else parse_duration(until, "--until")
    if end is not None and end <= begin:
        raise ConfigurationError(f"--until {until} is not after --from {since or '0s'}")
    return begin, end


def _refuse_to_overwrite(trace: Path, target: Path, *, force: bool) -> None:
    if not target.exists():
        return
    if trace.exists() and target.samefile(trace):
        raise ConfigurationError("the page would overwrite its trace: name another file with -o")
    if force:
        return
    with target.open("rb") as stream:
        if _OURS not in stream.read(_HEAD_BYTES):
            raise ConfigurationError(
                f"{target} exists and is no page of elector show: name another file with -o, "
                "or say --force"
            )


def _verdicts(header: "Header", trace: Path) -> "list[Plain]":
    """What the properties say of the whole trace, and what the explorer said when it wrote it."""
    from elector.properties.catalogue import DEFAULTS, properties_for
    from elector.properties.judge import judge
    from elector.trace.ndjson import read

    if header.protocol not in DEFAULTS:
        return []
    _, records = read(trace, tolerant=True)
    judged = judge(header, records, properties_for(header.protocol, nodes=len(header.nodes)))
    verdicts: list[Plain] = msgspec.to_builtins(judged)
    told = header.run.get("violates")
    if isinstance(told, dict) and not any(v["outcome"] == "violated" for v in verdicts):
        name, text = str(told.get("property", "?")), str(told.get("text", ""))
        verdicts.insert(0, {"name": name, "kind": "always", "outcome": "violated", "text": text})
    return verdicts
