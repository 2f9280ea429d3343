"""`provender outdated`: what is locked and could move, and tags that were moved under the lock."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from provender.cli.console import Console, counted
from provender.cli.options import console_of, jobs_option, output_options, registry_options
from provender.cli.project import directory_option, project_directory
from provender.cli.services import Services

if TYPE_CHECKING:
    from provender.project.outlook import Outlook


@click.command("outdated")
@click.argument("names", nargs=-1, metavar="[NAME]...")
@directory_option
@jobs_option
@registry_options
@output_options
@click.pass_context
def command(
    ctx: click.Context,
    names: tuple[str, ...],
    directory: Path | None,
    jobs: int,
    registries: tuple[str, ...],
    plain_http: bool | None,
) -> int:
    """List what `update` would move, and tags that name something else than when they were locked.

    Exit status 1 if there is anything. A newer version that provender.yaml does not allow is shown beside it as the
    latest; with -v also where nothing else is to be said. A file of a web server is downloaded to be compared, unless
    the server tells by an ETag that it is still the one in the cache.

    \b
    Example:
      provender outdated
      provender outdated schemas --format json
    """
    import msgspec

    from provender.project.lock import LOCK_NAME, Lock
    from provender.project.manifest import MANIFEST_NAME, Manifest
    from provender.project.outlook import look_out

    console = console_of(ctx)
    services = Services(console, registries=registries, plain_http=plain_http, jobs=jobs)
    project = project_directory(console, directory)
    manifest = Manifest.load(project / MANIFEST_NAME)
    lock = Lock.load(project / LOCK_NAME) or Lock()
    with services.sources(manifest) as sources:
        found = look_out(manifest, lock, sources, names=names, jobs=jobs, progress=console.progress())
    console.stop_progress()
    is_current = all(each.is_current for each in found)
    if console.is_json:
        rows = [{**msgspec.to_builtins(each), "update": each.is_update, "current": each.is_current} for each in found]
        console.document("outdated", {"current": is_current, "dependencies": rows})
    else:
        _render(console, found)
    return 0 if is_current else 1


def _render(console: Console, found: tuple[Outlook, ...]) -> None:
    shown = [each for each in found if not each.is_current or (each.latest and console.verbose)]
    if shown:
        rows = [
            (
                each.name,
                each.origin,
                _version(each.locked, each.locked_revision),
                _version(each.wanted, each.wanted_revision) if each.is_update else "",
                each.latest or "",
                "; ".join(_remarks(each)),
            )
            for each in shown
        ]
        console.table(("NAME", "FROM", "LOCKED", "UPDATE", "LATEST", ""), rows)
    behind = sum(not each.is_current for each in found)
    total = counted(len(found), "dependency", "dependencies")
    held = sum(each.is_current and each.latest is not None for each in found)
    text = f"{behind} of {total} to look at" if behind else f"{total}, none outdated"
    if held:
        text += f"; {held} with a newer version out of range" + ("" if console.verbose else " (-v lists them)")
    console.note(text)


def _version(label: str | None, revision: str | None) -> str:
    from provender.project.report import short_pin

    if revision is None:
        return "-"
    return f"{label or ''} {short_pin(revision)}".strip()


def _remarks(each: Outlook) -> list[str]:
    from provender.project.report import short_pin

    remarks = []
    if each.stale:
        remarks.append(f"to be locked: {each.stale}")
    if each.moved_to:
        remarks.append(f"the tag {each.locked} was moved to {short_pin(each.moved_to)}")
    if each.gone:
        remarks.append(f"gone: {each.gone}")
    return remarks
