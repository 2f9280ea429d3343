"""Options that several commands share, and what they set on the console."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import click

from provender.cli.console import Console
from provender.errors import InvalidProject

__all__ = ["checked_range", "console_of", "jobs_option", "output_options", "plain_http_option", "registry_options"]

_F = TypeVar("_F", bound=Callable[..., object])


def console_of(ctx: click.Context) -> Console:
    """The console of this run."""
    console = ctx.find_object(Console)
    if console is None:
        raise click.UsageError("the command line was entered without its edge")
    named = (ctx.params.get(name) for name in ("reference", "repository", "registry", "name"))
    console.subject = next((each[:300] for each in named if isinstance(each, str)), console.subject)
    return console


def checked_range(_ctx: click.Context, parameter: click.Parameter, value: str | None) -> str | None:
    """A range of versions as it was written; one that cannot be read is a wrong argument, not a wrong project."""
    if value is not None:
        from provender.versions import Range

        try:
            Range.parse(value)
        except InvalidProject as error:
            error.where, error.exit_status = parameter.opts[0], 2
            raise
    return value


def _set(name: str) -> Callable[[click.Context, click.Parameter, object], object]:
    def callback(ctx: click.Context, _parameter: click.Parameter, value: object) -> object:
        if value is not None:
            setattr(console_of(ctx), name, value)
        return value

    return callback


def _no_progress(ctx: click.Context, _parameter: click.Parameter, value: bool) -> None:
    if value:
        console_of(ctx).progress_wanted = False


def output_options(function: _F) -> _F:
    """`--format -q -v --debug --no-progress --color`, for every command that reports."""
    for decorate in reversed(
        (
            click.option(
                "--format",
                type=click.Choice(["text", "json"]),
                default=None,
                expose_value=False,
                is_eager=True,
                callback=_set("format"),
                help="How to print the result.",
            ),
            click.option("-q", "--quiet", count=True, expose_value=False, callback=_set("quiet"), help="Say less."),
            click.option("-v", "--verbose", count=True, expose_value=False, callback=_set("verbose"), help="Say more."),
            click.option(
                "--debug",
                is_flag=True,
                expose_value=False,
                callback=_set("debug"),
                help="Trace every request, secrets left out.",
            ),
            click.option(
                "--no-progress", is_flag=True, expose_value=False, callback=_no_progress, help="Show no progress."
            ),
            click.option(
                "--color",
                type=click.Choice(["auto", "always", "never"]),
                default=None,
                expose_value=False,
                callback=_set("color"),
                help="When to colour.",
            ),
        )
    ):
        function = decorate(function)
    return function


def plain_http_option(function: _F) -> _F:
    """`--plain-http`: True without TLS, False with it, None as the place or its location says."""
    option = click.option(
        "--plain-http/--no-plain-http",
        default=None,
        help="HTTP without TLS, as to this machine by default; or TLS, to this machine too.",
    )
    return option(function)


def registry_options(function: _F) -> _F:
    """`--registry --plain-http`, for every command that may speak to a registry."""
    for decorate in reversed(
        (
            click.option(
                "--registry",
                "registries",
                multiple=True,
                metavar="ALIAS=LOCATION",
                help="Bind a logical registry for this run (repeatable).",
            ),
            plain_http_option,
        )
    ):
        function = decorate(function)
    return function


def jobs_option(function: _F) -> _F:
    """`--concurrency`: how many transfers run at once."""
    option = click.option(
        "--concurrency",
        "jobs",
        type=click.IntRange(1, 64),
        default=8,
        show_default=True,
        help="How many transfers run at once; of blobs under 64 KiB four times as many.",
    )
    return option(function)
