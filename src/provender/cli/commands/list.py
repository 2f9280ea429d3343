"""`provender list`: the dependencies, and what is locked."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from provender.cli.options import console_of, output_options
from provender.cli.project import directory_option, project_directory

if TYPE_CHECKING:
    from provender.project.lock import LockedDependency


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
    from provender.project.lock import LOCK_NAME, Lock
    from provender.project.manifest import MANIFEST_NAME, Manifest
    from provender.project.origin_words import place_of, request_of
    from provender.project.report import short_pin
    from provender.project.staleness import stale

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
                "source": each.source,
                "reference": place_of(each.origin),
                "requested": request_of(each.origin),
                **_locked(entry),
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
            place_of(each.origin),
            request_of(each.origin),
            f"{entry.label or ''} {short_pin(entry.revision)}".strip() if entry else "-",
            each.to,
            "stale" if entry and reason else "" if entry else "not locked",
        )
        for each, entry, reason in rows
    ]
    console.table(("NAME", "FROM", "ASKED FOR", "LOCKED", "TO", ""), table)


def _locked(entry: LockedDependency | None) -> dict[str, object]:
    """What the lock tells of a dependency."""
    from provender.project.lock_entry import LockedArtifact
    from provender.project.report import describe

    if entry is None:
        return dict.fromkeys(("tag", "digest", "commit", "artifactType", "sizeBytes"))
    told = describe("", entry, "unchanged", before=None)
    return {
        "tag": told.tag,
        "digest": told.digest,
        "commit": told.commit,
        "artifactType": entry.artifact_type if isinstance(entry, LockedArtifact) else None,
        "sizeBytes": entry.size_bytes,
    }
