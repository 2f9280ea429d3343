"""`provender manifest`: exact manifests, for scripts."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import click

from provender.cli.commands.delete import command as delete
from provender.cli.console import Console
from provender.cli.options import console_of, output_options, registry_options
from provender.cli.services import Services
from provender.cli.writing import read_input, write_content

if TYPE_CHECKING:
    from provender.oci import Document


@click.group("manifest")
def command() -> None:
    """Manifests and indexes, byte for byte: fetch, push, delete, fetch-config.

    \b
    Example:
      provender manifest fetch ghcr.io/acme/app:1.2.0 > manifest.json
    """


command.add_command(delete)


@command.command("fetch")
@click.argument("reference")
@click.option("-o", "--output", metavar="FILE", help="Where to; stdout unless given.")
@click.option("--platform", metavar="OS/ARCH[/VARIANT]", help="Which child of an index.")
@click.option("--descriptor", is_flag=True, help="Print the descriptor instead of the content.")
@click.option("--pretty", is_flag=True, help="Indent the JSON: no longer the exact bytes.")
@registry_options
@output_options
@click.pass_context
def fetch(
    ctx: click.Context,
    reference: str,
    output: str | None,
    platform: str | None,
    descriptor: bool,
    pretty: bool,
    registries: tuple[str, ...],
    plain_http: bool | None,
) -> None:
    """Write the exact bytes of the manifest or index that REFERENCE names.

    \b
    Example:
      provender manifest fetch ghcr.io/acme/app:1.2.0 --pretty
      provender manifest fetch layout:./bundle:1.2.0 --platform linux/arm64 -o manifest.json
    """
    from provender.storage.verify import BytesReader

    console = console_of(ctx)
    console.directory = output
    name, document = _document(console, reference, platform, registries=registries, plain_http=plain_http)
    if descriptor or console.is_json:
        fields: dict[str, object] = {
            "reference": f"{name}@{document.digest}",
            "mediaType": document.descriptor.media_type,
            "digest": document.digest,
            "size": document.descriptor.size,
        }
        if not descriptor:
            fields["content"] = json.loads(document.raw)
        console.document("manifest", fields)
        if output is None:
            return
    raw = json.dumps(json.loads(document.raw), indent=2, ensure_ascii=False).encode() + b"\n" if pretty else None
    with BytesReader(raw or document.raw) as reader:
        write_content(console, reader, output)


@command.command("fetch-config")
@click.argument("reference")
@click.option("-o", "--output", metavar="FILE", help="Where to; stdout unless given.")
@click.option("--platform", metavar="OS/ARCH[/VARIANT]", help="Which child of an index; this machine's unless given.")
@registry_options
@output_options
@click.pass_context
def fetch_config(
    ctx: click.Context,
    reference: str,
    output: str | None,
    platform: str | None,
    registries: tuple[str, ...],
    plain_http: bool | None,
) -> None:
    """Write the config of the manifest that REFERENCE names, verified.

    \b
    Example:
      provender manifest fetch-config ghcr.io/acme/app:1.2.0 --platform linux/arm64
    """
    from provender.artifact.pull import resolve_manifest
    from provender.errors import NotFound
    from provender.oci import Platform, Reference

    console = console_of(ctx)
    console.directory = output
    asked = Reference.parse(reference)
    services = Services(console, registries=registries, plain_http=plain_http)
    with services.storages(services.nearby_locations()) as storages:
        storage = storages.open(asked).storage
        wanted = Platform.parse(platform) if platform else None
        document = resolve_manifest(storage, storage.resolve(asked.target or "latest"), platform=wanted)
        config = document.manifest().config
        if config is None:
            raise NotFound(
                f"{document.digest} has no config",
                code="no-config",
                where=reference,
                hint="it is an artifact manifest of before OCI 1.1",
            )
        with storage.fetch(config) as reader:
            write_content(console, reader, output)


@command.command("push")
@click.argument("reference")
@click.argument("file", type=click.Path(dir_okay=False, allow_dash=True))
@click.option("--media-type", help="What it is, where the document does not say it itself.")
@click.option("--tag", "tags", multiple=True, help="A further tag (repeatable).")
@registry_options
@output_options
@click.pass_context
def push(
    ctx: click.Context,
    reference: str,
    file: str,
    media_type: str | None,
    tags: tuple[str, ...],
    registries: tuple[str, ...],
    plain_http: bool | None,
) -> None:
    """Store FILE (- is stdin), byte for byte, as the manifest or index at REFERENCE: a tag, a digest, or neither.

    \b
    Example:
      provender manifest push ghcr.io/acme/app:1.2.0 manifest.json --tag latest
    """
    from provender.errors import InvalidDocument, ProvenderError
    from provender.oci import MAX_DOCUMENT_BYTES, Document, Reference

    console = console_of(ctx)
    asked = Reference.parse(reference)
    raw = read_input(file, MAX_DOCUMENT_BYTES, "manifest")
    try:
        document = Document.read(raw, media_type=media_type, expected=asked.digest)
    except ProvenderError as error:
        # It is a file of the user's that is wrong here, and nothing that came from a registry.
        error.hint = "nothing was pushed; check the file, and what is said of it here"
        raise error.at(file) from None
    if media_type is None and document.parse().media_type is None:
        raise InvalidDocument(
            "the document does not say what it is",
            code="no-media-type",
            where=file,
            exit_status=2,
            hint=f"give --media-type, such as {document.descriptor.media_type}",
        )
    names = list(dict.fromkeys([*([asked.tag] if asked.tag else []), *tags]))
    services = Services(console, registries=registries, plain_http=plain_http)
    with services.storages(services.nearby_locations()) as storages:
        storages.open(asked, create=True).writable.push_document(document, names)
    if console.is_json:
        fields = {
            "reference": f"{asked.name}@{document.digest}",
            "mediaType": document.descriptor.media_type,
            "digest": document.digest,
            "size": document.descriptor.size,
            "tags": names,
        }
        console.document("manifest", fields)
        return
    console.result(f"{asked.name}@{document.digest}")


def _document(
    console: Console, reference: str, platform: str | None, *, registries: tuple[str, ...], plain_http: bool | None
) -> tuple[str, Document]:
    """The name of the repository, and the document."""
    from provender.artifact.narrow import narrow
    from provender.oci import Platform, Reference

    asked = Reference.parse(reference)
    services = Services(console, registries=registries, plain_http=plain_http)
    with services.storages(services.nearby_locations()) as storages:
        storage = storages.open(asked).storage
        platforms = [Platform.parse(platform)] if platform else []
        return asked.name, narrow(storage, storage.resolve(asked.target or "latest"), platforms).document
