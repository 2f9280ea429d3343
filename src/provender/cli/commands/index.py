"""`provender index`: indexes of manifests that are there."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from provender.cli.console import Console, counted
from provender.cli.options import console_of, output_options, registry_options
from provender.cli.services import Services

if TYPE_CHECKING:
    from provender.oci import Digest, Document, Reference
    from provender.storage.abilities import Resolver


@click.group("index")
def command() -> None:
    """Indexes (multi-platform images): create, update.

    \b
    Example:
      provender index create ghcr.io/acme/app:1.2.0 linux-amd64 linux-arm64
    """


@command.command("create")
@click.argument("reference")
@click.argument("manifests", nargs=-1, metavar="[TAG|DIGEST]...")
@click.option("--artifact-type", metavar="TYPE", help="What the index is.")
@click.option("-a", "--annotation", "annotations", multiple=True, metavar="KEY=VALUE", help="Annotate the index.")
@click.option("--tag", "tags", multiple=True, help="A further tag (repeatable).")
@registry_options
@output_options
@click.pass_context
def create(
    ctx: click.Context,
    reference: str,
    manifests: tuple[str, ...],
    artifact_type: str | None,
    annotations: tuple[str, ...],
    tags: tuple[str, ...],
    registries: tuple[str, ...],
    plain_http: bool | None,
) -> None:
    """Store an index of manifests of the same repository at REFERENCE, each with the platform that its config names.

    \b
    Example:
      provender index create ghcr.io/acme/app:1.2.0 linux-amd64 linux-arm64 --tag latest
    """
    from provender.artifact.annotation_file import parse_annotations
    from provender.artifact.indexing import child_entries, new_index
    from provender.artifact.pack import check_media_type
    from provender.oci import Reference

    console = console_of(ctx)
    asked = Reference.parse(reference)
    if asked.digest is not None:
        raise click.UsageError("an index cannot choose its digest: name a tag, or none")
    if artifact_type is not None:
        check_media_type(artifact_type, "artifact type")
    noted = parse_annotations(annotations)
    names = _names(asked, tags)
    services = Services(console, registries=registries, plain_http=plain_http)
    with services.storages(services.nearby_locations()) as storages:
        storage = storages.open(asked).writable
        children = child_entries(storage, manifests)
        document = new_index(children, artifact_type=artifact_type, annotations=noted)
        storage.push_document(document, names)
    _show(console, asked, document, names)


@command.command("update")
@click.argument("reference")
@click.option("--add", multiple=True, metavar="TAG|DIGEST", help="Add a manifest (repeatable).")
@click.option("--merge", multiple=True, metavar="TAG|DIGEST", help="Add the manifests of another index (repeatable).")
@click.option("--remove", multiple=True, metavar="DIGEST", help="Take a manifest out (repeatable).")
@click.option("--tag", "tags", multiple=True, help="A tag for the new index besides its own (repeatable).")
@registry_options
@output_options
@click.pass_context
def update(
    ctx: click.Context,
    reference: str,
    add: tuple[str, ...],
    merge: tuple[str, ...],
    remove: tuple[str, ...],
    tags: tuple[str, ...],
    registries: tuple[str, ...],
    plain_http: bool | None,
) -> None:
    """Store the index at REFERENCE with other children, under the same tag. What else it says stays.

    The new index has another digest: what refers to the old one, such as its signatures, does not refer to it.

    \b
    Example:
      provender index update ghcr.io/acme/app:1.2.0 --add linux-riscv64
    """
    from provender.artifact.indexing import child_entries
    from provender.errors import NotFound
    from provender.oci import Digest, Reference
    from provender.oci.index_edit import changing

    console = console_of(ctx)
    asked = Reference.parse(reference)
    if asked.target is None:
        raise click.UsageError(f"{reference} names a repository: add the tag or digest of the index")
    removed = [Digest(text) for text in remove]
    names = _names(asked, tags)
    services = Services(console, registries=registries, plain_http=plain_http)
    with services.storages(services.nearby_locations()) as storages:
        storage = storages.open(asked).writable
        index = _index(storage, asked.target)
        there = {child.digest for child in index.index().manifests}
        absent: list[Digest] = [digest for digest in removed if digest not in there]
        if absent:
            raise NotFound(
                f"the index does not have {', '.join(absent)}",
                code="no-such-child",
                where=reference,
                hint=f"see provender show {reference}",
            )
        merged = [child for text in merge for child in _index(storage, text).index().manifests]
        document = changing(index, add=[*child_entries(storage, add), *merged], remove=removed)
        if document.digest != index.digest or tags:
            storage.push_document(document, names)
    _show(console, asked, document, names)
    if document.digest == index.digest:
        console.note("the index has these children already")


def _index(storage: Resolver, target: str) -> Document:
    from provender.errors import InvalidDocument

    document = storage.resolve(target)
    if not document.is_index:
        raise InvalidDocument(
            f"{target} is a manifest, not an index",
            code="not-an-index",
            hint="name an index; a manifest is added with --add, and 'provender index create' makes a new index",
        )
    return document


def _names(asked: Reference, tags: tuple[str, ...]) -> list[str]:
    from provender.oci.reference import check_tag

    return list(dict.fromkeys([*([asked.tag] if asked.tag else []), *map(check_tag, tags)]))


def _show(console: Console, asked: Reference, document: Document, names: list[str]) -> None:
    children = document.index().manifests
    if console.is_json:
        fields = {
            "reference": f"{asked.name}@{document.digest}",
            "digest": document.digest,
            "mediaType": document.descriptor.media_type,
            "size": document.descriptor.size,
            "tags": names,
            "manifests": [
                {"digest": child.digest, "platform": None if child.platform is None else str(child.platform)}
                for child in children
            ],
        }
        console.document("index", fields)
        return
    console.result(f"{asked.name}@{document.digest}")
    console.note(f"{counted(len(children), 'manifest', 'manifests')}; tags: {', '.join(names) or 'none'}")
