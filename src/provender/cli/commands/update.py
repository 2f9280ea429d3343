"""`provender update`: what is locked, moved as far as the manifest lets it."""

from __future__ import annotations

from pathlib import Path

import click

from provender.cli.options import console_of, jobs_option, output_options, registry_options
from provender.cli.project import directory_option, project_directory, render, synchronise
from provender.cli.services import Services


@click.command("update")
@click.argument("names", nargs=-1, metavar="[NAME]...")
@click.option("--no-sync", is_flag=True, help="Write the lock, leave the destinations alone.")
@click.option("--dry-run", is_flag=True, help="Say what would move, and do nothing.")
@click.option("--force", is_flag=True, help="Overwrite local changes in destinations.")
@directory_option
@jobs_option
@registry_options
@output_options
@click.pass_context
def command(
    ctx: click.Context,
    names: tuple[str, ...],
    no_sync: bool,
    dry_run: bool,
    force: bool,
    directory: Path | None,
    jobs: int,
    registries: tuple[str, ...],
    plain_http: bool | None,
) -> None:
    """Move locked versions to the newest that provender.yaml allows, and tags to where they point now; then sync.

    With names only these dependencies move, and nothing of the others is touched. A digest in the manifest never moves.

    \b
    Example:
      provender update
      provender update schemas --dry-run
    """
    from provender.project.sync import SyncOptions

    console = console_of(ctx)
    services = Services(console, registries=registries, plain_http=plain_http, jobs=jobs)
    options = SyncOptions(
        is_updating=True,
        is_lock_only=no_sync,
        is_dry_run=dry_run,
        is_forced=force,
        jobs=jobs,
        names=tuple(dict.fromkeys(names)),
    )
    report = synchronise(console, services, project_directory(console, directory), options)
    render(console, report, verb="update")
