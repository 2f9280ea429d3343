"""`provender add`: a further dependency, in the manifest and on disk."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import click

from provender.cli.options import checked_range, console_of, jobs_option, output_options, registry_options
from provender.cli.project import directory_option, edit_and_sync, project_directory
from provender.cli.services import Services

if TYPE_CHECKING:
    from provender.oci import Reference

_Value = str | list[str]


@click.command("add")
@click.argument("reference")
@click.option("--name", help="What to call it; the last part of the repository unless given.")
@click.option(
    "--version", "version_range", metavar="RANGE", callback=checked_range, help='Which versions, such as ">=1.2, <2".'
)
@click.option("--to", metavar="DIR", help="Where it goes; vendor/NAME unless given.")
@click.option("--artifact-type", metavar="TYPE", help="What it must be.")
@click.option("--platform", metavar="OS/ARCH[/VARIANT]", help="Which child of an index.")
@click.option("--include", multiple=True, metavar="GLOB", help="Only these paths (repeatable).")
@click.option("--exclude", multiple=True, metavar="GLOB", help="Not these paths (repeatable).")
@click.option("--root", metavar="DIR", help="The directory of the artifact that becomes the destination.")
@click.option("--no-sync", is_flag=True, help="Write the manifest and nothing else.")
@directory_option
@jobs_option
@registry_options
@output_options
@click.pass_context
def command(
    ctx: click.Context,
    reference: str,
    name: str | None,
    version_range: str | None,
    to: str | None,
    artifact_type: str | None,
    platform: str | None,
    include: tuple[str, ...],
    exclude: tuple[str, ...],
    root: str | None,
    no_sync: bool,
    directory: Path | None,
    jobs: int,
    registries: tuple[str, ...],
    plain_http: bool | None,
) -> None:
    """Add the artifact at REFERENCE to provender.yaml, comments and order kept, and sync it.

    If it cannot be resolved or laid, the manifest stays as it was.

    \b
    Example:
      provender add ghcr.io/acme/schemas:1.4.2
      provender add acme/schemas --version "^1.2" --include "**/*.json" --to vendor/schemas
    """
    from provender.oci import Reference
    from provender.project.edit import add_dependency
    from provender.project.manifest import MANIFEST_NAME

    console = console_of(ctx)
    project = project_directory(console, directory)
    asked = Reference.parse(reference)
    called = name or _default_name(asked)
    long_form: dict[str, _Value | None] = {
        "version": version_range,
        "to": to,
        "artifactType": artifact_type,
        "platform": platform,
        "include": list(include) or None,
        "exclude": list(exclude) or None,
        "root": root,
    }
    value = _value(asked, {key: item for key, item in long_form.items() if item is not None})
    services = Services(console, registries=registries, plain_http=plain_http, jobs=jobs)
    path = project / MANIFEST_NAME
    edit_and_sync(
        console,
        services,
        path,
        lambda text: add_dependency(text, called, value, where=str(path)),
        verb="add",
        is_synced=not no_sync,
        jobs=jobs,
    )


def _default_name(reference: Reference) -> str:
    last = (reference.repository or reference.registry).rstrip("/").rpartition("/")[2]
    return re.sub(r"[^A-Za-z0-9._-]+", "-", last).strip(".-_") or "artifact"


def _value(reference: Reference, keys: Mapping[str, _Value]) -> str | dict[str, _Value]:
    """The short form where it says everything, else the long one."""
    if not keys and reference.target is not None:
        return str(reference)
    pins: dict[str, _Value] = {}
    if reference.tag is not None:
        pins["tag"] = reference.tag
    if reference.digest is not None:
        pins["digest"] = str(reference.digest)
    return {"oci": reference.name, **pins, **keys}
