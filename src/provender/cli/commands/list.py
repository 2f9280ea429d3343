"""`provender list`: the dependencies, and what is locked."""

from __future__ import annotations

from pathlib import Path

import click

from provender.cli.options import console_of, output_options
from provender.cli.project import directory_option, project_directory


@click.command("list")
@directory_option
@output_options
@click.pass_context
def command(ctx: click.Context, directory: Path | None) -> None:
    """Show each dependency: what is asked for, what is locked, and where it goes.

    \b
    Example:
      provender list
      provender list --format json
    """
    from provender.project.lock import LOCK_NAME, Lock, stale
    from provender.project.manifest import MANIFEST_NAME, Manifest

    console = console_of(ctx)
    project = project_directory(console, directory)
    manifest = Manifest.load(project / MANIFEST_NAME)
    lock = Lock.load(project / LOCK_NAME) or Lock()
    rows = []
    for each in manifest.dependencies:
        entry = lock.dependencies.get(each.name)
        rows.append((each, entry, stale(each, entry)))
    if console.is_json:
        fields = [
            {
                "name": each.name,
                "reference": each.reference.name,
                "requested": str(each.requested),
                "tag": entry.tag if entry else None,
                "digest": entry.digest if entry else None,
                "artifactType": entry.artifact_type if entry else None,
                "sizeBytes": sum(layer.size for layer in entry.layers) if entry else None,
                "to": each.to,
                "stale": reason,
            }
            for each, entry, reason in rows
        ]
        console.document("list", {"dependencies": fields})
        return
    if not rows:
        console.note("no dependencies yet; add one with 'provender add'")
        return
    table = [
        (
            each.name,
            each.reference.name,
            str(each.requested),
            f"{entry.tag or ''} {entry.digest.short}".strip() if entry else "-",
            each.to,
            "stale" if entry and reason else "" if entry else "not locked",
        )
        for each, entry, reason in rows
    ]
    console.table(("NAME", "FROM", "ASKED FOR", "LOCKED", "TO", ""), table)
