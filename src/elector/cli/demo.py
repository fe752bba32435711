"""``elector demo``: three real processes, and everything that can happen to a leader."""

import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import click

_INTERRUPTED = 130


@click.command(
    "demo",
    epilog="""\b
Examples:
  elector demo
  elector demo --json | jq .takeovers""",
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object at the end.")
@click.option("--ttl", default="3s", show_default=True, help="The lease duration.")
@click.option(
    "--keep",
    type=click.Path(path_type=Path, file_okay=False),
    help="Work in this new or empty directory, and leave everything there.",
)
def command(*, as_json: bool, ttl: str, keep: Path | None) -> None:
    """Kill, freeze and shut down leaders, and see that nothing goes wrong.

    Three processes stand in an election on an embedded store in a temporary directory. Whoever
    leads writes to a ledger with a fencing guard. The demo kills the leader, freezes the next
    one past its lease and wakes it (its write must be refused), and asks the third to leave;
    it shows each takeover with its measured time. A judge then reads the ledger and what the
    processes noted themselves.

    Exit code: 0 if nothing is wrong, 1 if two leaders worked at once, a stale write was
    accepted or the demo could not go on, 2 for a wrong option, 130 when interrupted.

    \b
    Keys of the JSON object (times are integers in ns):
      ok           nothing is wrong
      ttl_ns       the lease duration
      duration_ns  how long the demo took
      takeovers    [{act: kill|freeze|shutdown, old, old_token, new, new_token, takeover_ns}]
      refusals     [{replica, token, newest, at_ns}]
      tenures      [{token, replica, begin_ns, end_ns, entries}]
      entries      how many entries the ledger holds
      problems     what is wrong, in words
    """  # noqa: D301 - click reads \\b as "leave the next paragraph as it is"
    import sqlite3

    from elector.core.duration import format_duration
    from elector.core.timing import LeaseTiming
    from elector.demo.company import NAMES
    from elector.demo.show import Show
    from elector.demo.stage import LEAST_TTL_NS, perform, terminable
    from elector.errors import ConfigurationError, ElectorError

    try:
        ttl_ns = LeaseTiming.of(ttl).ttl_ns
    except ConfigurationError as error:
        raise click.BadParameter(str(error), param_hint="--ttl") from error
    if ttl_ns < LEAST_TTL_NS:
        least = format_duration(LEAST_TTL_NS)
        raise click.BadParameter(f"its store keeps leases from {least} on", param_hint="--ttl")
    show = Show(None if as_json else sys.stdout, NAMES)
    try:
        with terminable(), _scene(keep) as directory:
            report = perform(directory, ttl, ttl_ns, show)
    except KeyboardInterrupt:
        show.line()
        click.echo("elector: the demo was interrupted; its processes are gone", err=True)
        sys.exit(_INTERRUPTED)
    except sqlite3.Error as error:
        raise ElectorError(
            f"the demo cannot keep its ledger: {error}; free some space, or choose another disk "
            "with --keep"
        ) from error
    if as_json:
        import msgspec

        click.echo(msgspec.json.encode(report))
    elif keep is not None:
        click.echo(f"\nledger, witnesses and store are in {keep}")
    sys.exit(0 if report.ok else 1)


@contextmanager
def _scene(keep: Path | None) -> Iterator[Path]:
    if keep is None:
        with tempfile.TemporaryDirectory(prefix="elector-demo-") as directory:
            yield Path(directory)
        return
    try:
        keep.mkdir(parents=True, exist_ok=True)
        occupied = any(keep.iterdir())
    except OSError as error:
        raise click.BadParameter(f"{keep}: {error.strerror}", param_hint="--keep") from error
    if occupied:
        raise click.BadParameter(f"{keep} is not empty", param_hint="--keep")
    yield keep.resolve()
