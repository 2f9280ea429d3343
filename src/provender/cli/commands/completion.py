"""`provender completion`: a completion script for a shell."""

from __future__ import annotations

import click

from provender.cli.group import root
from provender.cli.options import console_of

_VARIABLE = "_PROVENDER_COMPLETE"


@click.command("completion")
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish", "powershell"]))
@click.pass_context
def command(ctx: click.Context, shell: str) -> None:
    """Print a completion script for SHELL, to be read by its start-up file.

    \b
    Example:
      provender completion zsh > ~/.zfunc/_provender
      eval "$(provender completion bash)"
    """
    console_of(ctx).result(completion_script(root, "provender", shell))


def completion_script(command: click.Command, program: str, shell: str) -> str:
    """The script that has `shell` ask `program` what may come next."""
    from click.shell_completion import get_completion_class

    kind = get_completion_class(shell)
    if kind is None:
        raise click.UsageError(f"this version of click has no completion for {shell}")
    return kind(command, {}, program, _VARIABLE).source()
