"""`provender diff`: the files of two versions of a dependency, compared."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from provender.cli.console import Console, clean, human_bytes
from provender.cli.options import console_of, output_options, registry_options
from provender.cli.project import directory_option, project_directory
from provender.cli.services import Services

if TYPE_CHECKING:
    from provender.artifact.tree import Entry
    from provender.project.comparison import FileChange, Side

_SIGNS = {"added": ("+", "green"), "removed": ("-", "red"), "changed": ("~", "cyan")}


@click.command("diff")
@click.argument("name")
@click.argument("versions", nargs=-1, metavar="[A] [B]")
@click.option("-p", "--patch", is_flag=True, help="Show the changes of small text files as a unified diff.")
@click.option("--exit-code", is_flag=True, help="Exit status 1 if there is a difference.")
@directory_option
@registry_options
@output_options
@click.pass_context
def command(
    ctx: click.Context,
    name: str,
    versions: tuple[str, ...],
    patch: bool,
    exit_code: bool,
    directory: Path | None,
    registries: tuple[str, ...],
    plain_http: bool | None,
) -> int:
    """Compare the files of the dependency NAME: from A to B.

    A and B are tags, versions, digests, branches or commits; @lock is what is locked, @disk what lies in the
    destination, @update what an update would take. With A alone: from @lock to A. With neither: from @lock to @disk.

    \b
    Example:
      provender diff schemas
      provender diff schemas 2.0.0 --patch
      provender diff schemas 1.0.0 @update
    """
    from provender.project.comparison import DISK, LOCK, Bench, compare
    from provender.project.lock import LOCK_NAME, Lock
    from provender.project.manifest import MANIFEST_NAME, Manifest
    from provender.project.sources import source_of

    console = console_of(ctx)
    if len(versions) > 2:
        raise click.UsageError(f"diff compares two versions, {len(versions)} were named", ctx)
    first, second = (LOCK, *(versions or (DISK,))) if len(versions) < 2 else versions
    project = project_directory(console, directory)
    manifest = Manifest.load(project / MANIFEST_NAME)
    dependency = manifest.require(name)
    lock = Lock.load(project / LOCK_NAME) or Lock()
    services = Services(console, registries=registries, plain_http=plain_http)
    with services.sources(manifest) as sources:
        source = source_of(sources, dependency)
        bench = Bench(project, dependency, lock.dependencies.get(name), source, progress=console.progress())
        with bench.side(first) as before, bench.side(second) as after:
            console.stop_progress()
            changes = compare(before.entries, after.entries)
            _render(console, name, changes, before, after, is_patch=patch)
    return 1 if exit_code and changes else 0


def _render(
    console: Console, name: str, changes: Sequence[FileChange], before: Side, after: Side, *, is_patch: bool
) -> None:
    from provender.project.comparison import patch

    if console.is_json:
        rows = [
            {
                "path": change.path,
                "change": change.word,
                "before": _fields(change.before),
                "after": _fields(change.after),
                **({"patch": patch(change, before, after)} if is_patch else {}),
            }
            for change in changes
        ]
        sides = {"from": before.title, "to": after.title}
        console.document("diff", {"name": name, **sides, **_counts(changes), "changes": rows})
        return
    for change in changes:
        sign, color = _SIGNS[change.word]
        console.result(f"{console.paint(sign, color)} {clean(change.path)}  {clean(_what(change))}")
        for line in (patch(change, before, after) or ()) if is_patch else ():
            console.result(_painted(console, line))
    counts = _counts(changes)
    said = ", ".join(f"{counts[word]} {word}" for word in _SIGNS if counts[word]) or "the same files"
    grown = int(counts["bytesAfter"]) - int(counts["bytesBefore"])
    size = f"; {human_bytes(abs(grown))} {'more' if grown > 0 else 'less'}" if grown else ""
    console.note(f"{name} from {before.title} to {after.title}: {said}{size}")


def _counts(changes: Sequence[FileChange]) -> dict[str, int]:
    return {
        **{word: sum(change.word == word for change in changes) for word in _SIGNS},
        "bytesBefore": sum(change.before.size for change in changes if change.before),
        "bytesAfter": sum(change.after.size for change in changes if change.after),
    }


def _fields(entry: Entry | None) -> dict[str, object] | None:
    if entry is None:
        return None
    kind = "link" if entry.kind == "l" else "file"
    return {"kind": kind, "mode": entry.mode, "content": entry.content, "sizeBytes": entry.size}


def _what(change: FileChange) -> str:
    before, after = change.before, change.after
    if before is None or after is None:
        only = before or after
        return "" if only is None else f"-> {only.content}" if only.kind == "l" else human_bytes(only.size)
    parts = []
    if before.kind != after.kind:
        parts.append(f"{_kind(before)} -> {_kind(after)}")
    elif before.kind == "l":
        parts.append(f"-> {before.content} became -> {after.content}")
    elif before.mode != after.mode:
        parts.append("became executable" if after.mode == "755" else "is no longer executable")
    if before.kind == after.kind == "f" and before.content != after.content:
        is_same_size = before.size == after.size
        sizes = human_bytes(before.size), human_bytes(after.size)
        parts.append(f"{sizes[0]}, other content" if is_same_size else f"{sizes[0]} -> {sizes[1]}")
    return "; ".join(parts)


def _kind(entry: Entry) -> str:
    return f"link to {entry.content}" if entry.kind == "l" else "file"


def _painted(console: Console, line: str) -> str:
    text = f"  {clean(line)}"
    if line.startswith(("+++", "---")):
        return console.paint(text, "bold")
    color = {"+": "green", "-": "red", "@": "cyan"}.get(line[:1])
    return console.paint(text, color) if color else text
