"""`provender why`: the dependency that laid a file."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import click

from provender.cli.console import Console, clean, human_bytes
from provender.cli.options import console_of, output_options, registry_options
from provender.cli.project import directory_option, project_directory
from provender.cli.services import Services

if TYPE_CHECKING:
    from provender.artifact.tree import Entry
    from provender.project.inventory import Inventory, Item
    from provender.project.manifest import Manifest


@click.command("why")
@click.argument("path", metavar="PATH")
@directory_option
@registry_options
@output_options
@click.pass_context
def command(
    ctx: click.Context, path: str, directory: Path | None, registries: tuple[str, ...], plain_http: bool | None
) -> None:
    """Name the dependency that laid the file PATH, where it came from, and whether it still is as it was laid.

    For a directory: the dependencies that lie in it. Exit status 66 if no dependency laid it.

    \b
    Example:
      provender why vendor/schemas/deployment.json
    """
    from provender.errors import NotFound
    from provender.project.inventory import Inventory
    from provender.project.manifest import MANIFEST_NAME, Manifest

    console = console_of(ctx)
    console.subject = path[:300]
    project = project_directory(console, directory)
    manifest = Manifest.load(project / MANIFEST_NAME)
    inventory = Inventory.take(project, manifest)
    inside = _inside(project, path)
    item = inventory.holding(inside)
    if item is not None:
        _explain(console, Services(console, registries=registries, plain_http=plain_http), manifest, item, inside)
        return
    below = inventory.below(inside)
    if not below:
        raise NotFound(
            f"no dependency laid {path[:200]}", code="not-laid", where=str(project), hint=_where_they_are(inventory)
        )
    if console.is_json:
        rows = [{"name": each.dependency.name, "to": each.dependency.to} for each in below]
        console.document("why", {"path": inside or ".", "kind": "directory", "dependencies": rows})
        return
    for each in below:
        console.result(f"{each.dependency.to}  {_origin(each)}")


def _inside(project: Path, path: str) -> str:
    """The path as seen from the project, clean, with `/`; the last part may be a link, which is not followed."""
    from provender.errors import NotFound

    named = Path(os.path.abspath(path))
    root = project.resolve()
    try:
        relative = (named.parent.resolve() / named.name).relative_to(root)
    except ValueError:
        if named.resolve() == root:
            return ""
        raise NotFound(
            f"{path[:200]} lies outside of the project",
            code="outside-project",
            where=str(root),
            hint="name the project with -C, or a path in it",
        ) from None
    return "" if relative == Path() else relative.as_posix()


def _explain(console: Console, services: Services, manifest: Manifest, item: Item, inside: str) -> None:
    from provender.errors import NotFound

    dependency, path = item.dependency, inside.removeprefix(item.dependency.to).lstrip("/")
    if item.entry is None or item.status in ("stale", "to sync"):
        raise NotFound(
            f"{inside} lies where {dependency.name} goes, but what lies there is not what is locked",
            code="not-laid",
            hint="run 'provender sync' and ask again",
        )
    laid = _laid(services, manifest, item)
    found = next((each for each in laid if each.path == path), None)
    within = [each for each in laid if not path or each.path.startswith(f"{path}/")]
    if found is None and not within and item.status != "by hand":
        is_kept = _is_kept(item, path)
        raise NotFound(
            f"{inside} lies in the destination of {dependency.name}, but was not laid by it",
            code="not-laid",
            hint="it is kept: a pattern of 'keep' matches it" if is_kept else "it is yours: nothing of the lock has it",
        )
    now = _now(manifest.directory, inside, found)
    if console.is_json:
        console.document(
            "why",
            {
                "path": inside,
                "kind": "directory" if found is None else "link" if found.kind == "l" else "file",
                "dependency": dependency.name,
                "source": dependency.source,
                "reference": _place(item),
                "tag": item.entry.label,
                "revision": item.entry.revision,
                "to": dependency.to,
                "pathInside": path,
                "mode": found.mode if found else None,
                "content": found.content if found else None,
                "sizeBytes": found.size if found else sum(each.size for each in within),
                "files": 1 if found else len(within),
                "now": now,
            },
        )
        return
    console.result(f"{clean(inside)}  {_origin(item)}")
    if found is not None:
        what = f"link to {found.content}" if found.kind == "l" else f"sha256:{found.content}, {human_bytes(found.size)}"
        console.result(f"  {clean(path)} of it: {clean(what)}")
    elif item.status != "by hand":
        console.result(f"  {len(within)} of its files lie here, {human_bytes(sum(each.size for each in within))}")
    if now != "as laid":
        console.result(f"  {console.paint(now, 'yellow')}")


def _laid(services: Services, manifest: Manifest, item: Item) -> tuple[Entry, ...]:
    """What the dependency laid: from this machine's state, or from its content, laid aside."""
    from provender.project.drift import recorded_entries
    from provender.project.sampling import laid_aside
    from provender.project.sources import source_of

    if item.laid is not None:
        return recorded_entries(item.laid)
    if item.entry is None or item.status == "by hand":
        return ()
    with (
        services.sources(manifest) as sources,
        laid_aside(source_of(sources, item.dependency), item.dependency, item.entry) as (_, entries),
    ):
        return entries


def _now(project: Path, inside: str, entry: Entry | None) -> str:
    """How the file compares with what was laid: only one file is read."""
    from provender.project.drift import read_entry
    from provender.project.state import StatEntry

    if entry is None:
        return "as laid"
    path = project / inside
    try:
        seen = path.lstat()
    except (FileNotFoundError, NotADirectoryError):
        return "missing now"
    name = StatEntry(path.name, seen.st_size, seen.st_mtime_ns, seen.st_ino, seen.st_mode)
    found = read_entry(str(path.parent), name)
    same = found is not None and (found.kind, found.mode, found.content) == (entry.kind, entry.mode, entry.content)
    return "as laid" if same else "changed since"


def _is_kept(item: Item, path: str) -> bool:
    from provender.project.drift import kept_by

    kept = kept_by(item.dependency.keep)
    return kept is not None and kept(path)


def _place(item: Item) -> str:
    from provender.project.origin_words import place_of

    return place_of(item.dependency.origin)


def _origin(item: Item) -> str:
    from provender.cli.inventory import version

    return clean(f"{item.dependency.name}  {version(item)}  {item.dependency.source} {_place(item)}".rstrip())


def _where_they_are(inventory: Inventory) -> str:
    places = ", ".join(item.dependency.to for item in inventory.items[:10])
    return f"dependencies lie in {places}" if places else "the project has no dependencies"
