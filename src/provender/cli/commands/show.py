"""`provender show`: what an artifact is made of."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from provender.cli.console import Console, clean, human_bytes
from provender.cli.options import console_of, output_options, registry_options
from provender.cli.services import Services

if TYPE_CHECKING:
    from provender.oci import Descriptor, Document, Index, Manifest


@click.command("show")
@click.argument("reference")
@click.option("--platform", metavar="OS/ARCH[/VARIANT]", help="Which child of an index.")
@registry_options
@output_options
@click.pass_context
def command(
    ctx: click.Context, reference: str, platform: str | None, registries: tuple[str, ...], plain_http: bool | None
) -> None:
    """Show the type, size, annotations and layers of the artifact at REFERENCE, or the children of an index.

    \b
    Example:
      provender show ghcr.io/acme/app:1.2.0
      provender show ghcr.io/acme/app:1.2.0 --platform linux/arm64 --format json
    """
    from provender.artifact.narrow import narrow
    from provender.oci import Platform, Reference

    console = console_of(ctx)
    asked = Reference.parse(reference)
    services = Services(console, registries=registries, plain_http=plain_http)
    with services.storages(services.nearby_locations()) as storages:
        storage = storages.open(asked).storage
        platforms = [Platform.parse(platform)] if platform else []
        document = narrow(storage, storage.resolve(asked.target or "latest"), platforms).document
    view = document.parse()
    if console.is_json:
        console.document("show", _fields(asked.name, document, view))
        return
    _show(console, asked.name, document, view)


def _fields(name: str, document: Document, view: Manifest | Index) -> dict[str, object]:
    import msgspec

    return {
        "reference": f"{name}@{document.digest}",
        "digest": document.digest,
        "mediaType": document.descriptor.media_type,
        "size": document.descriptor.size,
        "artifactType": view.effective_type,
        "contentSize": _content_size(document, view),
        "content": msgspec.to_builtins(view, enc_hook=str),
    }


def _content_size(document: Document, view: Manifest | Index) -> int | None:
    """The bytes of everything that a manifest names; None for an index, whose children say it."""
    return None if document.is_index else sum(each.size for each in view.successors())


def _show(console: Console, name: str, document: Document, view: Manifest | Index) -> None:
    size = _content_size(document, view)
    facts = [
        ("digest", str(document.digest)),
        ("media type", document.descriptor.media_type),
        ("artifact type", view.effective_type),
        ("size", None if size is None else human_bytes(size)),
        ("subject", None if view.subject is None else str(view.subject.digest)),
        *((f"  {key}", value) for key, value in sorted((view.annotations or {}).items())),
    ]
    console.result(clean(name))
    for label, value in facts:
        if value is not None:
            console.result(clean(f"{label + ':':<15} {value}"))
    if document.is_index:
        children = [[_platform(each), human_bytes(each.size), each.digest] for each in view.successors()]
        console.table(["PLATFORM", "MANIFEST", "DIGEST"], children)
        return
    rows = [[each.title or "-", human_bytes(each.size), each.media_type, each.digest] for each in view.successors()]
    console.table(["TITLE", "SIZE", "TYPE", "DIGEST"], rows)


def _platform(child: Descriptor) -> str:
    if child.platform is not None and not child.platform.is_unknown:
        return str(child.platform)
    return (child.annotations or {}).get("vnd.docker.reference.type") or child.artifact_type or "-"
