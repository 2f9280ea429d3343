"""`provender lock`: the lock, made to answer the manifest."""

from __future__ import annotations

from pathlib import Path

import click

from provender.cli.options import console_of, jobs_option, output_options, registry_options
from provender.cli.project import directory_option, project_directory, render, synchronise
from provender.cli.services import Services


@click.command("lock")
@click.option("--locked", is_flag=True, help="Fail if the lock would change, instead of writing it.")
@click.option("--offline", is_flag=True, help="Ask no registry; the cache and layouts have to do.")
@click.option("--dry-run", is_flag=True, help="Say what would be locked, and write nothing.")
@directory_option
@jobs_option
@registry_options
@output_options
@click.pass_context
def command(
    ctx: click.Context,
    locked: bool,
    offline: bool,
    dry_run: bool,
    directory: Path | None,
    jobs: int,
    registries: tuple[str, ...],
    plain_http: bool | None,
) -> None:
    """Resolve what changed in provender.yaml and write provender.lock; the destinations are left alone.

    What is locked and still answers the manifest stays as it is.

    \b
    Example:
      provender lock
      provender lock --locked
    """
    from provender.project.sync import SyncOptions

    console = console_of(ctx)
    services = Services(console, registries=registries, plain_http=plain_http, jobs=jobs, is_offline=offline)
    options = SyncOptions(is_locked=locked, is_dry_run=dry_run, is_lock_only=True, jobs=jobs)
    report = synchronise(console, services, project_directory(console, directory), options)
    render(console, report, verb="lock")
