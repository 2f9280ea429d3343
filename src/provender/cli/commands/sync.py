"""`provender sync`: the project's directories, made equal to the lock."""

from __future__ import annotations

from pathlib import Path

import click

from provender.cli.options import console_of, jobs_option, output_options, registry_options
from provender.cli.project import directory_option, project_directory, render, synchronise
from provender.cli.services import Services


@click.command("sync")
@click.argument("names", nargs=-1, metavar="[NAME]...")
@click.option("--locked", is_flag=True, help="Fail if the lock does not answer the manifest, instead of resolving.")
@click.option("--frozen", is_flag=True, help="As --locked; no tag or version is ever asked for.")
@click.option("--offline", is_flag=True, help="Ask no registry; the cache and layouts have to do.")
@click.option("--dry-run", is_flag=True, help="Say what would be done, and do nothing.")
@click.option("--force", is_flag=True, help="Overwrite local changes in destinations.")
@directory_option
@jobs_option
@registry_options
@output_options
@click.pass_context
def command(
    ctx: click.Context,
    names: tuple[str, ...],
    locked: bool,
    frozen: bool,
    offline: bool,
    dry_run: bool,
    force: bool,
    directory: Path | None,
    jobs: int,
    registries: tuple[str, ...],
    plain_http: bool | None,
) -> None:
    """Resolve what is not locked yet, and lay everything on disk, verified. All of it happens, or nothing.

    Files that you changed are never overwritten without --force; the error lists them. With names only these
    dependencies are looked at: what the lock and the disk have of the others stays as it is.

    \b
    Example:
      provender sync
      provender sync --locked --format json
      provender sync schemas rules
    """
    from provender.project.sync import SyncOptions

    console = console_of(ctx)
    services = Services(console, registries=registries, plain_http=plain_http, jobs=jobs, is_offline=offline)
    options = SyncOptions(
        is_locked=locked or frozen, is_dry_run=dry_run, is_forced=force, jobs=jobs, names=tuple(dict.fromkeys(names))
    )
    report = synchronise(console, services, project_directory(console, directory), options)
    render(console, report, verb="sync")
