"""What the project commands share: finding the project, running a sync, and saying what it did."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import click

from provender.cli.console import Console, clean, counted, human_bytes
from provender.cli.services import Services

if TYPE_CHECKING:
    from provender.project.report import Change, Difference, SyncReport
    from provender.project.sync import SyncOptions

__all__ = ["directory_option", "edit_and_sync", "project_directory", "render", "synchronise"]

_F = TypeVar("_F", bound=Callable[..., object])
_EDIT_WAIT_S = 600.0
_SIGNS = {
    "installed": ("+", "green"),
    "updated": ("~", "cyan"),
    "repaired": ("!", "yellow"),
    "adopted": ("=", "green"),
    "locked": ("+", "green"),
    "removed": ("-", "red"),
    "released": ("?", "yellow"),
}


def directory_option(function: _F) -> _F:
    """`-C`: the project's directory."""
    option = click.option(
        "-C",
        "--directory",
        type=click.Path(file_okay=False, exists=True, path_type=Path),
        help="The project; the nearest one at or above the working directory unless given.",
    )
    return option(function)


def project_directory(console: Console, directory: Path | None) -> Path:
    """The directory of the project that a command is about; NotFound if there is none."""
    from provender.project.manifest import MANIFEST_NAME, find_manifest

    if directory is not None and (directory / MANIFEST_NAME).is_file():
        found = directory
    else:
        found = find_manifest(directory or Path.cwd()).parent
    console.directory = str(found)
    return found


def synchronise(console: Console, services: Services, directory: Path, options: SyncOptions) -> SyncReport:
    """What a sync or lock of the project did."""
    from provender.project.manifest import MANIFEST_NAME, Manifest
    from provender.project.sync import Synchroniser

    waiting = services.waiting("this project")
    quick = Synchroniser(directory, {})
    is_plain = not (options.is_lock_only or options.is_dry_run or options.is_updating or options.names)
    if is_plain and quick.is_up_to_date():
        return quick.unchanged()
    manifest = Manifest.load(directory / MANIFEST_NAME)
    with services.sources(manifest) as sources:
        return Synchroniser(directory, sources, progress=console.progress(), on_wait=waiting).run(options)


def render(console: Console, report: SyncReport, *, verb: str) -> None:
    """Say what was done: a line for each change, then one for all of it."""
    import msgspec

    console.stop_progress()
    for text in report.notes:
        console.warning(text)
    if console.is_json:
        changes = [msgspec.to_builtins(change, enc_hook=str, str_keys=True) for change in report.changes]
        fields = {"changes": changes, "lockChanged": report.is_lock_changed, "dryRun": report.is_dry_run}
        console.document(verb, fields)
        return
    counts: dict[str, int] = {}
    for change in report.changes:
        counts[change.action] = counts.get(change.action, 0) + 1
        if change.action != "unchanged":
            console.result(_line(console, change))
    console.note(_summary(report, counts, verb=verb, took_s=console.shown_for_s))


def _line(console: Console, change: Change) -> str:
    from provender.project.report import short_pin

    sign, color = _SIGNS[change.action]
    parts = [f"{console.paint(sign, color)} {change.name}"]
    if change.tag:
        is_renamed = change.before_tag not in (None, change.tag)
        parts.append(clean(f"{change.before_tag} -> {change.tag}" if is_renamed else change.tag))
    pin = change.digest or change.commit
    if pin:
        was = f"{short_pin(change.before)} -> " if change.before else ""
        parts.append(f"({was}{short_pin(pin)})")
    parts.append(f"{change.action}: {change.to}")
    if change.is_laid and change.files is not None:
        parts.append(f"{counted(change.files, 'file', 'files')}, {human_bytes(change.size_bytes or 0)}")
    if change.action == "updated" and change.difference is not None:
        parts.append(_difference(change.difference))
    return "  ".join(parts)


def _difference(difference: Difference) -> str:
    counts = ((difference.added, "added"), (difference.removed, "removed"), (difference.modified, "changed"))
    return ", ".join(f"{count} {word}" for count, word in counts if count) or "the same files"


def _summary(report: SyncReport, counts: dict[str, int], *, verb: str, took_s: float | None) -> str:
    total = sum(change.action not in ("removed", "released") for change in report.changes)
    size = sum(change.size_bytes or 0 for change in report.changes if change.is_laid)
    if report.is_nothing:
        return f"{counted(total, 'dependency', 'dependencies')}, nothing to do"
    done = ", ".join(f"{count} {action}" for action, count in counts.items() if action != "unchanged")
    took = "" if took_s is None else f" in {took_s:.1f} s"
    text = f"{counted(total, 'dependency', 'dependencies')}{took}: {done or 'none changed'}"
    if size:
        text += f"; {human_bytes(size)} on disk"
    if report.is_lock_changed:
        text += "; the lock was written" if not report.is_dry_run else "; the lock would change"
    return f"{text} (dry run of {verb}: nothing was changed)" if report.is_dry_run else text


def edit_and_sync(
    console: Console,
    services: Services,
    path: Path,
    edit: Callable[[str], str],
    *,
    verb: str,
    is_synced: bool,
    jobs: int,
) -> None:
    """Change the manifest and sync; if that fails, the manifest is put back as it was. One at a time in a project."""
    from provender.project.state import State
    from provender.storage.files import FileLock

    lock = State.prepare(path.parent) / "edit.lock"
    with FileLock(lock, timeout_s=_EDIT_WAIT_S, what="the manifest", on_wait=services.waiting("this project")):
        _edit_and_sync(console, services, path, edit, verb=verb, is_synced=is_synced, jobs=jobs)


def _edit_and_sync(
    console: Console,
    services: Services,
    path: Path,
    edit: Callable[[str], str],
    *,
    verb: str,
    is_synced: bool,
    jobs: int,
) -> None:
    from provender.project.manifest import read_capped
    from provender.project.sync import SyncOptions
    from provender.settings import MAX_SETTINGS_BYTES
    from provender.storage.files import write_atomically

    before = read_capped(path, MAX_SETTINGS_BYTES)
    after = edit(before.decode("utf-8", "surrogateescape")).encode("utf-8", "surrogateescape")
    mode = path.stat().st_mode & 0o777
    target = path.resolve()
    write_atomically(target, after, mode=mode)
    if not is_synced:
        if console.is_json:
            console.document(verb, {"path": str(path), "changes": []})
        else:
            console.result(f"changed {path}; run 'provender sync' to apply it")
        return
    try:
        report = synchronise(console, services, path.parent, SyncOptions(jobs=jobs))
    except BaseException:
        write_atomically(target, before, mode=mode)
        raise
    render(console, report, verb=verb)
