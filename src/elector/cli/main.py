"""``elector``: the command."""

import contextlib
import importlib
import os
import sys
from collections.abc import Sequence
from typing import TextIO

import click

from elector.errors import (
    ConfigurationError,
    ElectorError,
    StoreError,
    TraceError,
    UnsupportedTrait,
)
from elector.version import __version__

EXIT_USAGE = 2
EXIT_STORE_UNAVAILABLE = 69
_EXIT_BROKEN_PIPE = 141  # 128 + SIGPIPE, as shells have it

_VERBS = {
    "run": "Run a command on exactly one of many replicas.",
    "status": "Show who leads, and who waits.",
    "watch": "Follow who leads, one line per change.",
    "resign": "Ask the leader to hand over.",
    "transfer": "Ask the leader to hand over to a named candidate.",
    "history": "Show past tenures.",
    "doctor": "Examine a store before it is relied upon.",
    "simulate": "Run a protocol in a world where everything fails.",
    "verify": "Try everything that can happen in a small world.",
    "replay": "Make a simulated run again, step for step.",
    "show": "Draw a trace as a page: who led when, and what happened.",
    "demo": "See it work: three processes, a kill, a freeze, a polite end.",
    "completion": "Print a shell completion script.",
}


class Verbs(click.Group):
    """Verbs that are imported when they are used; their summaries are known before."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click's signature
        """The verbs, in the order of a first acquaintance."""
        return list(_VERBS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
        """Import a verb."""
        if cmd_name not in _VERBS:
            return None
        command: click.Command = importlib.import_module(f"elector.cli.{cmd_name}").command
        return command

    def invoke(self, ctx: click.Context) -> object:
        """Run the verb; click would call it a failure (1) that nobody reads on."""
        try:
            return super().invoke(ctx)
        except BrokenPipeError as error:
            raise click.exceptions.Exit(_EXIT_BROKEN_PIPE) from error

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002
        """List the verbs without importing them."""
        with formatter.section("Verbs"):
            formatter.write_dl(list(_VERBS.items()))


@click.group(
    cls=Verbs,
    invoke_without_command=True,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog="""\b
Examples:
  elector run nightly -- python job.py     in three shells: one works, two wait
  elector status nightly
  elector watch nightly --json

\b
Exit codes: the command's own, or 128 + signal; 2 usage or settings; 69 store unavailable;
75 not elected in time; 76 leadership lost; 126, 127 the command cannot be run.""",
)
@click.version_option(__version__, message="elector %(version)s")
@click.pass_context
def elector(context: click.Context) -> None:
    """Leader election that can be trusted: many replicas, at most one at work."""
    if context.invoked_subcommand is None:
        click.echo(context.get_help())
        raise click.exceptions.Exit(EXIT_USAGE)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line and exit; a user's mistake is one line, never a traceback."""
    try:
        code = elector.main(
            args=None if arguments is None else list(arguments),
            prog_name="elector",
            standalone_mode=False,
        )
    except click.exceptions.Exit as ended:
        code = ended.exit_code
    except click.Abort:
        code = 130
    except click.UsageError as error:
        path = error.ctx.command_path if error.ctx is not None else "elector"
        code = _complain(f"{error.format_message()} (try: {path} --help)", EXIT_USAGE)
    except click.ClickException as error:
        code = _complain(error.format_message(), EXIT_USAGE)
    except (ConfigurationError, TraceError, UnsupportedTrait) as error:
        code = _complain(error, EXIT_USAGE)
    except StoreError as error:
        code = _complain(error, EXIT_STORE_UNAVAILABLE)
    except ElectorError as error:
        code = _complain(error, 1)
    except KeyboardInterrupt:
        code = 130
    except OSError as error:
        code = _complain(error, 1)  # the system refused us something: a full disk, a directory gone
    _let_go_of(sys.stdout)
    _let_go_of(sys.stderr)
    sys.exit(code if isinstance(code, int) else 0)


def _complain(error: Exception | str, code: int) -> int:
    with contextlib.suppress(OSError):
        click.echo(f"elector: {' '.join(str(error).split())}", err=True)
    return code


def _let_go_of(stream: TextIO | None) -> None:
    """What cannot be written stays unwritten; the interpreter would change the exit code for it."""
    if stream is None:  # it was closed before we began
        return
    try:
        stream.flush()
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
