"""``elector run``: the work of a tenure is a command."""

import os
import shutil
from pathlib import Path

import click

from elector.cli.output import teller
from elector.cli.settings import election_argument, json_option, store_option
from elector.core.duration import parse_duration
from elector.core.timing import LeaseTiming
from elector.stores.registry import StoreUrl

EXIT_CANNOT_EXECUTE = 126
EXIT_NOT_FOUND = 127
_ELECTION_AND_COMMAND = 2


class _Run(click.Command):
    """Options may stand before and after ELECTION, but what follows COMMAND is the command's."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Put the ``--`` that people leave away in front of the command."""
        return super().parse_args(ctx, self._fenced(args))

    def _fenced(self, args: list[str]) -> list[str]:
        options = [option for option in self.params if isinstance(option, click.Option)]
        valued = {name for o in options if not (o.is_flag or o.count) for name in o.opts}
        words, is_value = 0, False
        for place, arg in enumerate(args):
            if is_value:
                is_value = False
            elif arg == "--":
                return args
            elif arg.startswith("-"):
                is_value = arg in valued
            else:
                words += 1
                if words == _ELECTION_AND_COMMAND:
                    return [*args[:place], "--", *args[place:]]
        return args


@click.command(
    "run",
    cls=_Run,
    epilog="""\b
Examples:
  elector run nightly -- python job.py
  elector run migrate --once --timeout 10m -- ./migrate.sh
  elector run scheduler --ttl 5s --on-loss campaign -- celery beat

\b
The command gets ELECTOR_ELECTION, ELECTOR_CANDIDATE, ELECTOR_TOKEN and ELECTOR_STORE (without
secrets). It runs in a process group of its own and without a shell. It is told to stop with
TERM, and killed before anyone else can lead.""",
)
@election_argument
@click.argument("command", nargs=-1, required=True, type=click.UNPROCESSED)
@store_option
@click.option(
    "--ttl", default="15s", show_default=True, envvar="ELECTOR_TTL", help="The lease duration."
)
@click.option(
    "--stop-grace",
    envvar="ELECTOR_STOP_GRACE",
    help="From TERM to KILL when leadership is lost. [default: a fifth of the ttl]",
)
@click.option(
    "--drain-limit",
    envvar="ELECTOR_DRAIN_LIMIT",
    help="How long office is kept for a command that was asked to stop. [default: the ttl]",
)
@click.option(
    "--candidate",
    envvar="ELECTOR_CANDIDATE",
    help="This candidate's name. [default: drawn from host and process]",
)
@click.option(
    "--timeout",
    envvar="ELECTOR_TIMEOUT",
    help="Give up with code 75 if not elected in time. [default: wait for ever]",
)
@click.option(
    "--on-loss",
    type=click.Choice(["exit", "campaign"]),
    default="exit",
    show_default=True,
    envvar="ELECTOR_ON_LOSS",
    help="When office ends before the command: exit with code 76, or stand again.",
)
@click.option(
    "--once",
    is_flag=True,
    help="The work is to be done once by all replicas together: if another one completed it "
    "while this one waited, exit 0 without running it.",
)
@click.option(
    "--trace",
    type=click.Path(path_type=Path, dir_okay=False),
    envvar="ELECTOR_TRACE",
    help="Write all that this candidate does into a new file. [default: no trace]",
)
@click.option("-q", "--quiet", count=True, help="Say only what went wrong.")
@click.option("-v", "--verbose", count=True, help="Say more; twice for the engine's log.")
@json_option
def command(
    election: str,
    command: tuple[str, ...],
    store: StoreUrl,
    ttl: str,
    stop_grace: str | None,
    drain_limit: str | None,
    candidate: str | None,
    timeout: str | None,
    on_loss: str,
    once: bool,
    trace: Path | None,
    quiet: int,
    verbose: int,
    as_json: bool,
) -> None:
    """Wait to be elected, run COMMAND as the leader, and give the office back when it ends."""
    timing = LeaseTiming.of(ttl, stop_grace=stop_grace, drain_limit=drain_limit)
    timeout_ns = None if timeout is None else parse_duration(timeout, "timeout")
    _require_executable(command[0])
    _configure_logs(verbose)

    from elector.runtime.settings import Settings
    from elector.runtime.supervisor import Job, Supervisor

    settings = Settings.of(
        election, store=f"{store.scheme}://{store.rest}", timing=timing, candidate=candidate
    )
    job = Job(command, timeout_ns, campaign_on_loss=on_loss == "campaign", once=once)
    say = teller(election, verbose - quiet, as_json=as_json)
    recorder = None
    if trace is not None:
        from elector.runtime.recorder import Recorder

        recorder = Recorder(trace, settings, lambda text: say("trace", text))
    raise click.exceptions.Exit(Supervisor(settings, job, say, recorder).run())


def _require_executable(name: str) -> None:
    """Find the command before standing for office, not after winning it."""
    if shutil.which(name) is not None:
        return
    there = os.path.exists(name) and os.sep in name  # noqa: PTH110 - as the kernel sees it
    missing = "there is no such file" if os.sep in name else "there is no such command on the PATH"
    why = "it is not executable" if there else missing
    click.echo(f"elector: cannot run {name!r}: {why}", err=True)
    raise click.exceptions.Exit(EXIT_CANNOT_EXECUTE if there else EXIT_NOT_FOUND)


def _configure_logs(verbose: int) -> None:
    import logging

    levels = {0: logging.ERROR, 1: logging.WARNING}
    logging.basicConfig(
        level=levels.get(verbose, logging.INFO), format="elector: %(threadName)s: %(message)s"
    )
