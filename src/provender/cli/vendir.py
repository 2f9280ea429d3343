"""The entry point `provender-vendir`: takes exactly vendir's command line, prints and exits as vendir does."""

from __future__ import annotations

import os
import sys

from provender.cli.vendir_quick import is_vendir_sync_done

TYPE_CHECKING = False  # as mypy knows it
if TYPE_CHECKING:
    import click

    from provender.cli.console import Console


def run() -> None:
    """Run the command line of this process, and exit with its status: 0, or 1 after any failure."""
    os._exit(main(sys.argv[1:]))


def main(arguments: list[str]) -> int:
    """The exit status of a command line of vendir's."""
    if is_vendir_sync_done(arguments):
        return 0
    from provender.cli.commands.vendir import command
    from provender.cli.edge import guarded

    return guarded(_arguments(arguments), command=command, name="vendir", retell=_retell)


def _arguments(arguments: list[str]) -> list[str]:
    return ["version"] if arguments in (["--version"], ["-v"]) else arguments


def _retell(console: Console, error: BaseException) -> int | None:
    """The exit status once the error is told as vendir tells it; None for what it has no words of its own for."""
    import click

    from provender.cli.console import clean
    from provender.errors import ProvenderError

    match error:
        case click.exceptions.Exit() | click.Abort() | SystemExit() | KeyboardInterrupt() | BrokenPipeError():
            return None
        case click.UsageError():
            code, message, where, hint = "usage", _usage(error), None, None
        case ProvenderError():
            code, message, where, hint = error.code, error.message, error.where, error.hint
        case OSError():
            code, message, where, hint = "local-io", str(error), None, None
        case _:
            return None
    console.stop_progress()
    if console.is_json:
        sys.stdout.flush()
        retryable = isinstance(error, ProvenderError) and error.retryable
        console.failure(message, code=code, exit_status=1, where=where, hint=hint, retryable=retryable)
        return 1
    from provender.cli.vendir_output import multi_line

    lines = [f"vendir: Error: {multi_line(clean(message))}"]
    lines += [f"  at {clean(where)}"] if where else []
    lines += [f"  fix {clean(hint)}"] if hint else []
    text = "\n".join(lines)
    sys.stdout.flush()
    sys.stderr.write(f"{console.paint(text, 'red', stream=sys.stderr)}\n")
    sys.stderr.flush()
    return 1


def _usage(error: click.UsageError) -> str:
    """A wrong command line in cobra's words."""
    import click

    from provender.cli.vendir_flags import UnknownCommand

    if isinstance(error, click.NoSuchOption):
        name = error.option_name
        return f"unknown flag: {name}" if name.startswith("--") else f"unknown shorthand flag: {name[1:2]!r} in {name}"
    if isinstance(error, click.BadOptionUsage) and "requires an argument" in error.message:
        return f"flag needs an argument: {error.option_name}"
    path = error.ctx.command_path if error.ctx is not None else "vendir"
    if isinstance(error, UnknownCommand):
        return f"command '{path}' does not accept extra arguments '{error.name}'"
    if error.message.startswith("Got unexpected extra argument"):
        extra = error.message.partition("(")[2].rstrip(")").split(" ")[0]
        return f"command '{path}' does not accept extra arguments '{extra}'"
    return error.format_message()
