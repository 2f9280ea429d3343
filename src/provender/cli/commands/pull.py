"""`provender pull`: an artifact's files, in a directory."""

from __future__ import annotations

from contextlib import nullcontext

import click

from provender.cli.console import counted, human_bytes
from provender.cli.options import console_of, jobs_option, output_options, registry_options
from provender.cli.services import Services


@click.command("pull")
@click.argument("reference")
@click.option("-o", "--output", default=".", type=click.Path(file_okay=False), help="Where to; the working directory.")
@click.option("--platform", metavar="OS/ARCH[/VARIANT]", help="Which child of an index; this machine's unless given.")
@click.option("--media-type", "media_types", multiple=True, metavar="GLOB", help="Only layers of this type.")
@click.option(
    "--mode",
    type=click.Choice(["auto", "extract", "copy"]),
    default="auto",
    show_default=True,
    help="Unpack archives or not.",
)
@click.option("--force", is_flag=True, help="Overwrite files that differ.")
@click.option("--no-cache", is_flag=True, help="Read everything from the registry, and keep nothing in the cache.")
@jobs_option
@registry_options
@output_options
@click.pass_context
def command(
    ctx: click.Context,
    reference: str,
    output: str,
    platform: str | None,
    media_types: tuple[str, ...],
    mode: str,
    force: bool,
    no_cache: bool,
    jobs: int,
    registries: tuple[str, ...],
    plain_http: bool | None,
) -> None:
    """Lay the files of the artifact at REFERENCE into a directory, verified.

    Files that are there already stay, unless they differ: that is an error that lists them, or with --force they are
    replaced. Manifests and blobs up to 64 MiB from a registry are kept in the cache, so that the same pull needs one
    request the next time; larger blobs only until the pull is done, so that one that was interrupted goes on.

    \b
    Example:
      provender pull ghcr.io/acme/rules:1.2.0 -o rules
      provender pull layout:./store:1.0 --platform linux/arm64
    """
    from provender.artifact.pull import pull
    from provender.artifact.unpack import UnpackOptions
    from provender.oci import Platform, Reference

    console = console_of(ctx)
    console.directory = output
    source = Reference.parse(reference)
    target = source.target or "latest"
    if source.target is None:
        console.note("no tag or digest is named, so the tag latest is taken")
    services = Services(console, registries=registries, plain_http=plain_http, jobs=jobs)
    options = UnpackOptions(
        media_types=media_types,
        mode="extract" if mode == "extract" else "copy" if mode == "copy" else "auto",
        jobs=jobs,
        repository=source.repository,
        is_hashed=console.is_json,
    )
    with services.storages(services.nearby_locations()) as storages:
        opened = storages.open(source)
        cached = nullcontext(opened.storage) if no_cache else services.cached(opened)
        with cached as origin:
            pulled = pull(
                origin,
                target,
                output,
                platform=None if platform is None else Platform.parse(platform),
                options=options,
                force=force,
                progress=console.progress(),
            )
    console.stop_progress()
    size = sum(entry.size for entry in pulled.entries)
    if console.is_json:
        fields = {
            "reference": f"{source.name}@{pulled.resolved.digest}",
            "digest": pulled.resolved.digest,
            "manifest": pulled.manifest.digest,
            "artifactType": pulled.manifest.manifest().effective_type,
            "files": [
                {"path": entry.path, "kind": entry.kind, "size": entry.size, "content": entry.content}
                for entry in pulled.entries
            ],
            "changed": list(pulled.changed),
        }
        console.document("pull", fields)
        return
    console.result(f"{source.name}@{pulled.resolved.digest}")
    files = counted(len(pulled.entries), "file", "files")
    console.note(f"{files}, {human_bytes(size)}; {len(pulled.changed)} of them new here")
