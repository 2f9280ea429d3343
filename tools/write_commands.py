"""Write the reference of the command line from its own help texts to `docs/commands.md`."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from pathlib import Path

import click

from provender.cli.group import root
from provender.cli.main import SECTIONS

TARGET = Path(__file__).resolve().parent.parent / "docs" / "commands.md"

_INTRODUCTION = """\
# Commands

Made from the help texts by `make reference`; a test holds it to them. `provender COMMAND --help` says the same.
`pvd` is short for `provender`.

Results go to standard output, everything else to standard error. Exit statuses are in the README. Every option can be
set by a variable as well: `PROVENDER_SYNC_LOCKED=1` is `provender sync --locked`.
"""
_SHARED = ("format", "quiet", "verbose", "debug", "no_progress", "color")


def reference_text() -> str:
    """The whole file."""
    top = _context(root, "provender")
    lines = [_INTRODUCTION, "## Options of every command that reports", "", *_shared_options(top), ""]
    for title, table in SECTIONS.items():
        lines += [f"## {title}", ""]
        for name in table:
            command = root.get_command(top, name)
            if command is not None:
                lines += _command(command, _context(command, name, top), level=3)
    return "\n".join(lines).rstrip() + "\n"


def _context(command: click.Command, name: str, parent: click.Context | None = None) -> click.Context:
    # With its own settings: a command keeps the help option of the first context that asks it for its options.
    return click.Context(command, info_name=name, parent=parent, **command.context_settings)


def _command(command: click.Command, context: click.Context, *, level: int) -> list[str]:
    lines = [f"{'#' * level} `{context.command_path}`", "", *_help(command), ""]
    usage = " ".join([context.command_path, *command.collect_usage_pieces(context)])
    lines += ["```text", usage, "```", ""]
    options = list(_options(command, context))
    if options:
        lines += ["| option | |", "|---|---|", *options, ""]
    if isinstance(command, click.Group):
        for name in command.list_commands(context):
            inner = command.get_command(context, name)
            if inner is not None and inner.name == name:  # else it is a second name of one
                lines += _command(inner, _context(inner, name, context), level=level + 1)
    return lines


def _help(command: click.Command) -> list[str]:
    """The help text as Markdown: `\\b` keeps the lines of a paragraph as they are, which are examples."""
    lines: list[str] = []
    for paragraph in inspect.cleandoc(command.help or "").split("\n\n"):
        if not paragraph.startswith("\b"):
            lines += [*paragraph.split("\n"), ""]
            continue
        title, *examples = paragraph.lstrip("\b\n").split("\n")
        lines += [title, "", "```console", *(f"$ {line.strip()}" for line in examples), "```", ""]
    return lines[:-1]


def _options(command: click.Command, context: click.Context) -> Iterator[str]:
    for param in command.get_params(context):
        if isinstance(param, click.Option) and param.name not in _SHARED and "--help" not in param.opts:
            yield from _row(param, context)


def _shared_options(top: click.Context) -> list[str]:
    command = root.get_command(top, "sync")
    if command is None:
        raise SystemExit("there is no command sync")
    context = _context(command, "sync", top)
    rows = [row for param in command.params if param.name in _SHARED for row in _row(param, context)]
    return ["| option | |", "|---|---|", *rows]


def _row(param: click.Parameter, context: click.Context) -> Iterator[str]:
    record = param.get_help_record(context)
    if record is not None:
        names, text = (part.replace("|", "\\|").replace("\n", " ") for part in record)
        yield f"| `{names}` | {text} |"


if __name__ == "__main__":
    TARGET.write_text(reference_text(), encoding="utf-8")
