"""The reference in docs/commands.md is what the command line says of itself."""

from __future__ import annotations

from collections.abc import Iterator

import click
import pytest

import write_commands
from provender.cli.group import root
from provender.cli.main import SECTIONS


def commands(group: click.Group, *names: str) -> Iterator[tuple[str, click.Command]]:
    context = click.Context(group)
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        assert command is not None
        yield " ".join((*names, name)), command
        if isinstance(command, click.Group):
            yield from commands(command, *names, name)


def test_the_reference_is_current() -> None:
    """Run `make reference` after a change of a command."""
    assert write_commands.TARGET.read_text(encoding="utf-8") == write_commands.reference_text()


@pytest.mark.parametrize("name", [name for name, _ in commands(root)])
def test_every_help_says_what_it_does_and_has_an_example(name: str) -> None:
    text = dict(commands(root))[name].help or ""
    assert "." in text, name
    assert "Example" in text, name
    assert "provender " in text, name


def test_the_table_of_commands_names_modules_that_are_there() -> None:
    assert all(root.get_command(click.Context(root), name) for table in SECTIONS.values() for name in table)
