"""`provender init`: a manifest to start from."""

from __future__ import annotations

from pathlib import Path

import click

from provender.cli.options import console_of, output_options


@click.command("init")
@click.option(
    "-C", "--directory", type=click.Path(file_okay=False, exists=True, path_type=Path), help="Where to write it."
)
@output_options
@click.pass_context
def command(ctx: click.Context, directory: Path | None) -> None:
    """Write a provender.yaml without dependencies; one that is there stays.

    \b
    Example:
      provender init
      provender add ghcr.io/acme/schemas --version "^1.2"
    """
    from provender.errors import Conflict
    from provender.project.edit import initial_manifest
    from provender.project.manifest import MANIFEST_NAME

    console = console_of(ctx)
    path = (directory or Path.cwd()) / MANIFEST_NAME
    try:
        with path.open("x", encoding="utf-8", newline="\n") as file:
            file.write(initial_manifest())
    except FileExistsError as error:
        raise Conflict(
            "there is a manifest already", code="manifest-exists", where=str(path), hint="add to it: provender add"
        ) from error
    if console.is_json:
        console.document("init", {"path": str(path)})
        return
    console.result(f"wrote {path}")
