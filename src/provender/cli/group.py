"""The root command and its nested kin: subcommands by name, imported when called; help from the table."""

from __future__ import annotations

import click

from provender import __version__
from provender.cli.main import SECTIONS, load

__all__ = ["Commands", "root"]

_EPILOG = """\b
Examples:
  provender init && provender add ghcr.io/acme/schemas --version ">=1, <2"
  provender sync --locked
  provender push registry.example/team/rules:1.0 rules/ README.md
"""


class Commands(click.Group):
    """A group whose commands come from the table in `cli.main`."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002  # click's signature
        return [name for table in SECTIONS.values() for name in table]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002  # as above
        command = load(cmd_name)
        return command if isinstance(command, click.Command) else None

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        name = args[0]
        if self.get_command(ctx, name) is None and not name.startswith("-"):
            from difflib import get_close_matches

            near = get_close_matches(name, self.list_commands(ctx), n=1)
            hint = f"; did you mean {near[0]!r}?" if near else ""
            ctx.fail(f"there is no command {name!r}{hint}")
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002  # as above
        for title, table in SECTIONS.items():
            with formatter.section(title):
                formatter.write_dl([(name, help_text) for name, (_, help_text) in table.items()])


@click.group(
    cls=Commands,
    epilog=_EPILOG,
    context_settings={
        "help_option_names": ["-h", "--help"],
        "auto_envvar_prefix": "PROVENDER",
        "max_content_width": 100,
    },
)
@click.version_option(__version__, "-V", "--version", prog_name="provender", message="%(prog)s %(version)s")
def root() -> None:
    """One package manager for anything that lives in OCI registries.

    provender.yaml says what a project needs, provender.lock pins it by digest, `provender sync` lays it on disk,
    verified.
    """
