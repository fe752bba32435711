"""``elector completion``."""

import click
from click.shell_completion import get_completion_class


@click.command(
    "completion",
    epilog="""\b
Example (in ~/.bashrc):
  eval "$(elector completion bash)\"""",
)
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
@click.pass_context
def command(context: click.Context, shell: str) -> None:
    """Print the completion script for SHELL."""
    kind = get_completion_class(shell)
    if kind is None:
        raise click.UsageError(f"click cannot complete for {shell}")
    root = context.find_root().command
    click.echo(kind(root, {}, "elector", "_ELECTOR_COMPLETE").source())
