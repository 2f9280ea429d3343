"""`provender tree`: the dependencies with what they are made of."""

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
    from provender.project.inventory import Item

_Branch = tuple[str, Sequence["_Branch"]]


@click.command("tree")
@click.argument("names", nargs=-1, metavar="[NAME]...")
@click.option("--files", is_flag=True, help="Show every file that was laid.")
@directory_option
@registry_options
@output_options
@click.pass_context
def command(
    ctx: click.Context,
    names: tuple[str, ...],
    files: bool,
    directory: Path | None,
    registries: tuple[str, ...],
    plain_http: bool | None,
) -> None:
    """Show each dependency as a tree: where it is from, the manifest and layers that are locked, what lies on disk.

    Nothing is asked of a registry.

    \b
    Example:
      provender tree
      provender tree schemas --files
    """
    import msgspec

    from provender.cli.inventory import fields, layers_of, location_of
    from provender.project.inventory import Inventory
    from provender.project.manifest import MANIFEST_NAME, Manifest

    console = console_of(ctx)
    project = project_directory(console, directory)
    manifest = Manifest.load(project / MANIFEST_NAME)
    wanted = {manifest.require(name).name for name in names} or {each.name for each in manifest.dependencies}
    items = [item for item in Inventory.take(project, manifest).items if item.dependency.name in wanted]
    services = Services(console, registries=registries, plain_http=plain_http)
    locations = services.locations(manifest, directory=project)
    if console.is_json:
        rows = [
            {
                **fields(item, location_of(locations, item.dependency)),
                "manifest": getattr(item.entry, "manifest", None),
                "layers": layers_of(item),
                **({"entries": _entries(item)} if files else {}),
            }
            for item in items
        ]
        console.document("tree", {"dependencies": msgspec.to_builtins(rows, enc_hook=str)})
        return
    console.result(console.paint(clean(project.resolve().name), "bold"))
    _draw(console, [_branch(item, location_of(locations, item.dependency), files=files) for item in items])


def _branch(item: Item, location: str | None, *, files: bool) -> _Branch:
    from provender.cli.inventory import layers_of, size, verified_by, version
    from provender.project.origin_words import place_of
    from provender.project.report import short_pin

    dependency, entry = item.dependency, item.entry
    place = place_of(dependency.origin)
    really = f" ({location})" if location not in (None, place) else ""
    stands = ", ".join(text for text in (item.status, size(item), verified_by(item)) if text)
    inside: list[_Branch] = [
        (f"from {dependency.source} {place}{really}".rstrip(), ()),
        (f"to {dependency.to}: {stands}", _file_branches(item) if files else ()),
    ]
    if item.reason:
        inside.append((item.reason, ()))
    layers: list[_Branch] = []
    for part in layers_of(item):
        name = part.get("name") or part["mediaType"]
        text = f"{name}  {short_pin(str(part['digest']))}  {human_bytes(int(str(part['sizeBytes'])))}"
        layers.append((text, ()))
    if layers and entry is not None:
        child = getattr(entry, "manifest", None)
        if child is not None:
            layers = [(f"manifest {short_pin(str(child))}", layers)]
        kind = getattr(entry, "artifact_type", None)
        what = "index" if child is not None else "release" if kind is None and entry.source != "oci" else "manifest"
        inside.append((f"{what} {short_pin(entry.revision)}{f'  {kind}' if kind else ''}", layers))
    return f"{dependency.name}  {version(item)}", inside


def _file_branches(item: Item) -> list[_Branch]:
    return [(f"{each['path']}  {human_bytes(int(str(each['sizeBytes'])))}", ()) for each in _entries(item)]


def _entries(item: Item) -> list[dict[str, object]]:
    from provender.project.drift import recorded_entries

    if item.laid is None:
        return []
    return [
        {"path": each.path, "kind": "link" if each.kind == "l" else "file", "mode": each.mode, "sizeBytes": each.size}
        for each in recorded_entries(item.laid)
    ]


def _draw(console: Console, branches: Sequence[_Branch], prefix: str = "") -> None:
    for number, (text, inside) in enumerate(branches, start=1):
        is_last = number == len(branches)
        shown = clean(text) if prefix else console.paint(clean(text), "bold")
        console.result(f"{prefix}{'└── ' if is_last else '├── '}{shown}")
        _draw(console, inside, prefix + ("    " if is_last else "│   "))
