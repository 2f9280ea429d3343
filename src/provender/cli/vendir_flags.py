"""vendir's flags as click options: truth values with or without `=value`, lists with commas, everywhere on the line."""

from __future__ import annotations

import csv
import sys
from collections.abc import Callable
from typing import Final, TypeVar

import click

from provender.cli.vendir_output import VendirOutput

__all__ = [
    "UnknownCommand",
    "VendirCommand",
    "VendirGroup",
    "given_arguments",
    "output_of",
    "split_values",
    "ui_options",
]

_F = TypeVar("_F", bound=Callable[..., object])
_META: Final = "provender.vendir.output"
_GIVEN: Final = "provender.vendir.given"


class _Flags(click.Command):
    """A command whose truth values may be written as in Go: `--lazy`, `--lazy=false`, `-l`, `-l=false`, `-ly`."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        return super().parse_args(ctx, self._spelled_out(args))

    def _spelled_out(self, args: list[str]) -> list[str]:
        options = {name: each for each in self.params if isinstance(each, click.Option) for name in each.opts}
        out: list[str] = []
        rest = iter(args)
        for arg in rest:
            if arg == "--" or (not arg.startswith("-") and isinstance(self, click.Group)):
                return [*out, arg, *rest]
            name, equals, _ = arg.partition("=")
            if arg.startswith("--"):
                option = options.get(name)
                out.append(f"{arg}=true" if _is_truth(option) and not equals else arg)
                if option is not None and not _is_truth(option) and not equals and not option.is_flag:
                    out += [each for each in [next(rest, None)] if each is not None]
            elif arg.startswith("-") and len(arg) > 1:
                out += self._short(arg, options, lambda: next(rest, None))
            else:
                out.append(arg)
        return out

    def _short(self, arg: str, options: dict[str, click.Option], following: Callable[[], str | None]) -> list[str]:
        """A group of one-letter flags: truth values, and perhaps one with a value at the end."""
        out: list[str] = []
        letters = arg[1:]
        while letters:
            name, letters = f"-{letters[0]}", letters[1:]
            option = options.get(name)
            if option is None or option.is_flag:
                return [*out, f"{name}{letters}"]
            long = max(option.opts, key=len)
            if _is_truth(option):
                value = "true"
                if letters.startswith("="):
                    value, letters = letters[1:], ""
                out.append(f"{long}={value}")
                continue
            given = letters.removeprefix("=") if letters else following()
            return [*out, long if given is None else f"{long}={given}"]
        return out


class VendirCommand(_Flags):
    """A command of vendir's."""


class VendirGroup(_Flags, click.Group):
    """A group of vendir's commands."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        ctx.find_root().meta.setdefault(_GIVEN, tuple(args))
        return super().parse_args(ctx, args)

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if self.get_command(ctx, args[0]) is None:
            raise UnknownCommand(args[0], ctx)
        return super().resolve_command(ctx, args)


class UnknownCommand(click.UsageError):
    """There is no command of that name."""

    def __init__(self, name: str, ctx: click.Context) -> None:
        from difflib import get_close_matches

        known = ctx.command.list_commands(ctx) if isinstance(ctx.command, click.Group) else []
        near = get_close_matches(name, known, n=1)
        super().__init__(f"there is no command {name!r}" + (f"; did you mean {near[0]!r}?" if near else ""), ctx)
        self.name = name


def given_arguments(ctx: click.Context) -> list[str]:
    """The command line behind `vendir`, as it was given."""
    return [str(each) for each in ctx.find_root().meta.get(_GIVEN, ())]


def _is_truth(option: click.Option | None) -> bool:
    return option is not None and option.type is click.BOOL and not option.is_flag


def split_values(values: tuple[str, ...]) -> list[str]:
    """The values of a list flag: repeated, or separated by commas, in quotes where a comma is meant."""
    try:
        return [each for row in csv.reader([value for value in values if value], strict=True) for each in row]
    except csv.Error as error:
        raise click.UsageError(f"invalid argument {','.join(values)!r}: {error}") from error


def output_of(ctx: click.Context) -> VendirOutput:
    """The output of this run."""
    meta = ctx.find_root().meta
    if _META not in meta:
        output = meta[_META] = VendirOutput()
        output.is_terminal = sys.stdout.isatty()
    found = meta[_META]
    if not isinstance(found, VendirOutput):
        raise click.UsageError("the command line was entered without its edge")
    return found


def _set(name: str) -> Callable[[click.Context, click.Parameter, object], None]:
    def callback(ctx: click.Context, _parameter: click.Parameter, value: object) -> None:
        if value is not None:
            setattr(output_of(ctx), name, value)

    return callback


def _force_terminal(ctx: click.Context, _parameter: click.Parameter, value: bool | None) -> None:
    if value:
        output_of(ctx).is_terminal = True


def _show_columns(ctx: click.Context, _parameter: click.Parameter, values: tuple[str, ...]) -> None:
    shown = frozenset(each.lower() for each in split_values(values))
    if shown:
        output_of(ctx).hidden = frozenset({"version"} - shown)


def ui_options(function: _F) -> _F:
    """`--tty --color --json -y --column`, which all of vendir's commands take."""
    for decorate in reversed(
        (
            click.option(
                "--tty", type=bool, expose_value=False, callback=_force_terminal, help="Print as on a terminal."
            ),
            click.option("--color", type=bool, expose_value=False, callback=_set("has_color"), help="Colour errors."),
            click.option("--json", type=bool, expose_value=False, callback=_set("is_json"), help="Print JSON."),
            click.option("-y", "--yes", type=bool, expose_value=False, help="Accepted; nothing is ever asked."),
            click.option(
                "--column",
                multiple=True,
                expose_value=False,
                callback=_show_columns,
                metavar="NAME",
                help="Show only these columns.",
            ),
        )
    ):
        function = decorate(function)
    return function
