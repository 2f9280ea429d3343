"""`provender blob`: single blobs, for scripts."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from provender.cli.console import Console, human_bytes
from provender.cli.options import console_of, output_options, registry_options
from provender.cli.services import Services
from provender.cli.writing import agreed, write_content

if TYPE_CHECKING:
    from provender.oci import Descriptor, Digest, Reference


@click.group("blob")
def command() -> None:
    """Blobs by digest: fetch, push, delete.

    \b
    Example:
      provender blob fetch ghcr.io/acme/app@sha256:2c26b46b68ffc68ff99b453c1d30413413422d706483bfa0f98a5e886266e7ae -o a
    """


@command.command("fetch")
@click.argument("reference")
@click.option("-o", "--output", metavar="FILE", help="Where to; stdout unless given.")
@click.option("--offset", type=click.IntRange(0), default=0, help="Begin at this byte.")
@click.option("--length", type=click.IntRange(1), help="Stop after so many bytes.")
@click.option("--descriptor", is_flag=True, help="Print digest and size instead of the content.")
@registry_options
@output_options
@click.pass_context
def fetch(
    ctx: click.Context,
    reference: str,
    output: str | None,
    offset: int,
    length: int | None,
    descriptor: bool,
    registries: tuple[str, ...],
    plain_http: bool | None,
) -> None:
    """Write the blob that REFERENCE names by its digest to a file or to stdout.

    The whole is verified: a file appears only when everything was right, and stdout that was not right ends with exit
    status 65. A part of a blob (--offset, --length) proves nothing, and is not verified.

    \b
    Example:
      provender blob fetch layout:./bundle@sha256:2c26b46b68ffc68ff99b453c1d30413413422d706483bfa0f98a5e886266e7ae
    """
    from provender.oci import Reference

    console = console_of(ctx)
    console.directory = output
    asked = Reference.parse(reference)
    digest = _digest(asked)
    services = Services(console, registries=registries, plain_http=plain_http)
    with services.storages(services.nearby_locations()) as storages:
        storage = storages.open(asked).storage
        found = storage.find_blob(digest)
        if offset > found.size:
            raise click.UsageError(f"the blob has {found.size} bytes, so there is no byte {offset}")
        is_written = not descriptor and not (console.is_json and output is None)
        if is_written:
            with storage.fetch(found, offset=offset) as reader:
                written = write_content(console, reader, output, limit=length)
    if descriptor or console.is_json:
        _describe(console, asked.name, found)
    if is_written:
        console.note(f"{human_bytes(written)} of {human_bytes(found.size)}", level=1)


@command.command("push")
@click.argument("repository")
@click.argument("file", type=click.Path(dir_okay=False))
@click.option("--media-type", default="application/octet-stream", help="What the descriptor says.", show_default=True)
@click.option("--size", type=click.IntRange(0), help="Refuse a file of another size.")
@registry_options
@output_options
@click.pass_context
def push(
    ctx: click.Context,
    repository: str,
    file: str,
    media_type: str,
    size: int | None,
    registries: tuple[str, ...],
    plain_http: bool | None,
) -> None:
    """Store FILE as a blob of REPOSITORY; with a digest behind it, only if the file has that digest.

    \b
    Example:
      provender blob push ghcr.io/acme/app layer.tar.gz --media-type application/vnd.oci.image.layer.v1.tar+gzip
    """
    from provender.artifact.pack import Source, check_media_type, pack
    from provender.errors import IntegrityError
    from provender.oci import Reference

    console = console_of(ctx)
    asked = Reference.parse(repository)
    if asked.tag is not None:
        raise click.UsageError("a blob has no tag, only a digest")
    source = Source(path=file, title=file, media_type=check_media_type(media_type, "--media-type"))
    layer = pack(source, "")
    packed = layer.descriptor.bare
    if asked.digest not in (None, packed.digest) or size not in (None, packed.size):
        raise IntegrityError(
            f"the file has digest {packed.digest} and {packed.size} bytes",
            code="digest-mismatch",
            where=file,
            hint="nothing was pushed; check the file, or leave digest and size out",
        )
    services = Services(console, registries=registries, plain_http=plain_http)
    with services.storages(services.nearby_locations()) as storages, layer.open() as reader:
        storages.open(asked, create=True).writable.push(packed, reader)
    if console.is_json:
        _describe(console, asked.name, packed)
        return
    console.result(f"{asked.name}@{packed.digest}")


@command.command("delete")
@click.argument("reference")
@click.option("-f", "--force", is_flag=True, help="Do not ask.")
@registry_options
@output_options
@click.pass_context
def delete(
    ctx: click.Context, reference: str, force: bool, registries: tuple[str, ...], plain_http: bool | None
) -> None:
    """Delete the blob that REFERENCE names by its digest. Manifests that need it are broken afterwards.

    \b
    Example:
      provender blob delete \\
        ghcr.io/acme/app@sha256:2c26b46b68ffc68ff99b453c1d30413413422d706483bfa0f98a5e886266e7ae --force
    """
    from provender.oci import Reference

    console = console_of(ctx)
    asked = Reference.parse(reference)
    digest = _digest(asked)
    name = f"{asked.name}@{digest}"
    services = Services(console, registries=registries, plain_http=plain_http)
    with services.storages(services.nearby_locations()) as storages:
        storage = storages.open(asked).writable
        found = storage.find_blob(digest)
        if not agreed(console, f"Delete the blob {name}?", force=force):
            console.note("nothing was deleted")
            return
        storage.delete(found)
    if console.is_json:
        console.document("delete", {"reference": name, "digest": digest})
        return
    console.result(name)


def _describe(console: Console, name: str, blob: Descriptor) -> None:
    fields = {"mediaType": blob.media_type, "digest": blob.digest, "size": blob.size}
    console.document("blob", {"reference": f"{name}@{blob.digest}", **fields})


def _digest(asked: Reference) -> Digest:
    if asked.digest is None:
        raise click.UsageError(f"a blob is named by its digest: {asked.name}@sha256:...")
    return asked.digest
