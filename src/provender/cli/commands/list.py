"""`provender list`: the dependencies, what is locked, how big it is and how it stands."""

from __future__ import annotations

from pathlib import Path

import click

from provender.cli.options import console_of, output_options, registry_options
from provender.cli.project import directory_option, project_directory
from provender.cli.services import Services


@click.command("list")
@directory_option
@registry_options
@output_options
@click.pass_context
def command(ctx: click.Context, directory: Path | None, registries: tuple[str, ...], plain_http: bool | None) -> None:
    """Show each dependency: what is asked for, what is locked, how big it is, who vouches for it, where it lies.

    \b
    Example:
      provender list
      provender list --format json
    """
    import msgspec

    from provender.cli.inventory import fields, location_of, size, verified_by, version
    from provender.project.inventory import Inventory
    from provender.project.manifest import MANIFEST_NAME, Manifest
    from provender.project.origin_words import place_of, request_of

    console = console_of(ctx)
    project = project_directory(console, directory)
    manifest = Manifest.load(project / MANIFEST_NAME)
    items = Inventory.take(project, manifest).items
    if console.is_json:
        services = Services(console, registries=registries, plain_http=plain_http)
        locations = services.locations(manifest, directory=project)
        rows = [fields(item, location_of(locations, item.dependency)) for item in items]
        console.document("list", {"dependencies": msgspec.to_builtins(rows, enc_hook=str)})
        return
    if not items:
        console.note("no dependencies yet; add one with 'provender add'")
        return
    table = [
        (
            item.dependency.name,
            place_of(item.dependency.origin),
            request_of(item.dependency.origin),
            version(item),
            item.dependency.to,
            size(item),
            verified_by(item),
            item.status,
        )
        for item in items
    ]
    console.table(("NAME", "FROM", "ASKED FOR", "LOCKED", "TO", "SIZE", "VERIFIED", "STATUS"), table)
