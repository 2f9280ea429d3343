"""`provender remove`: dependencies taken out of the manifest, and their files off the disk."""

from __future__ import annotations

from pathlib import Path

import click

from provender.cli.options import console_of, jobs_option, output_options, registry_options
from provender.cli.project import directory_option, edit_and_sync, project_directory
from provender.cli.services import Services


@click.command("remove")
@click.argument("names", nargs=-1, required=True, metavar="NAME...")
@click.option("--no-sync", is_flag=True, help="Change the manifest and nothing else.")
@directory_option
@jobs_option
@registry_options
@output_options
@click.pass_context
def command(
    ctx: click.Context,
    names: tuple[str, ...],
    no_sync: bool,
    directory: Path | None,
    jobs: int,
    registries: tuple[str, ...],
    plain_http: bool | None,
) -> None:
    """Remove each dependency NAME from provender.yaml, and its files unless somebody changed them.

    \b
    Example:
      provender remove schemas
    """
    from provender.project.edit import remove_dependency
    from provender.project.manifest import MANIFEST_NAME

    console = console_of(ctx)
    path = project_directory(console, directory) / MANIFEST_NAME
    services = Services(console, registries=registries, plain_http=plain_http, jobs=jobs)

    def without(text: str) -> str:
        for name in names:
            text = remove_dependency(text, name, where=str(path))
        return text

    edit_and_sync(console, services, path, without, verb="remove", is_synced=not no_sync, jobs=jobs)
