"""`provender push`: files and directories as an artifact."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from provender.cli.console import counted, human_bytes
from provender.cli.options import console_of, jobs_option, output_options, registry_options
from provender.cli.services import Services
from provender.cli.writing import epoch

if TYPE_CHECKING:
    from provender.artifact.publish import ArtifactCompat


@click.command("push")
@click.argument("reference")
@click.argument("files", nargs=-1, metavar="[FILE[:TYPE]]...")
@click.option("--artifact-type", metavar="TYPE", help="What the artifact is.")
@click.option("--config", metavar="FILE[:TYPE]", help="A file for the manifest's config.")
@click.option("-a", "--annotation", "annotations", multiple=True, metavar="KEY=VALUE", help="Annotate the manifest.")
@click.option("--annotation-file", type=click.Path(dir_okay=False), help="Annotations as JSON, as oras reads them.")
@click.option("--image-spec", type=click.Choice(["v1.1", "v1.0"]), default="v1.1", show_default=True)
@click.option(
    "--artifact-compat",
    type=click.Choice(["image-config", "config-type"]),
    help="A form for registries that refuse artifacts of OCI 1.1.",
)
@click.option("--tag", "tags", multiple=True, help="A further tag (repeatable).")
@jobs_option
@registry_options
@output_options
@click.pass_context
def command(
    ctx: click.Context,
    reference: str,
    files: tuple[str, ...],
    artifact_type: str | None,
    config: str | None,
    annotations: tuple[str, ...],
    annotation_file: str | None,
    image_spec: str,
    artifact_compat: str | None,
    tags: tuple[str, ...],
    jobs: int,
    registries: tuple[str, ...],
    plain_http: bool | None,
) -> None:
    """Publish FILES, and directories as archives, as one artifact at REFERENCE.

    The same files give the same digest on every machine. SOURCE_DATE_EPOCH sets the time of archive members and the
    annotation `created`; without it there is no time.

    A registry that refuses OCI 1.1 artifacts may take one whose config is an image's and whose type is an annotation
    (--artifact-compat image-config), or one whose type is that of its config, as in OCI 1.0 (config-type).

    \b
    Example:
      provender push ghcr.io/acme/rules:1.2.0 rules/ README.md:text/markdown \\
        --artifact-type application/vnd.acme.rules.v1 --tag latest
      provender push layout:./store:1.0 schema.json
    """
    from provender.artifact.annotation_file import parse_annotations, read_annotation_file
    from provender.artifact.pack import Source
    from provender.artifact.publish import ConfigFile, PublishOptions, publish
    from provender.errors import InvalidReference
    from provender.oci import Reference

    console = console_of(ctx)
    target = Reference.parse(reference)
    if target.digest is not None:
        raise InvalidReference(
            "a push cannot choose its digest", code="digest-given", where=reference, hint="name a tag, or none"
        )
    services = Services(console, registries=registries, plain_http=plain_http, jobs=jobs)
    options = PublishOptions(
        artifact_type=artifact_type,
        config=None if config is None else ConfigFile.parse(config),
        annotations=parse_annotations(annotations),
        file_annotations=read_annotation_file(annotation_file) if annotation_file else {},
        image_spec="v1.0" if image_spec == "v1.0" else "v1.1",
        artifact_compat=_compat(artifact_compat),
        created_s=epoch(),
        jobs=jobs,
    )
    sources = [Source.parse(text) for text in files]
    names = list(dict.fromkeys([*([target.tag] if target.tag else []), *tags]))
    with services.storages(services.nearby_locations()) as storages:
        opened = storages.open(target, create=True)
        document = publish(opened.writable, sources, tags=names, options=options, progress=console.progress())
    console.stop_progress()
    manifest = document.manifest()
    size = sum(layer.size for layer in manifest.layers)
    fields = {
        "reference": f"{target.name}@{document.digest}",
        "digest": document.digest,
        "mediaType": document.descriptor.media_type,
        "artifactType": manifest.effective_type,
        "size": document.descriptor.size,
        "tags": names,
    }
    if console.is_json:
        console.document("push", fields)
        return
    console.result(f"{target.name}@{document.digest}")
    shown = ", ".join(names) or "no tag"
    layers = counted(len(manifest.layers), "layer", "layers")
    console.note(f"pushed {layers}, {human_bytes(size)}, to {opened.location} ({shown})")


def _compat(text: str | None) -> ArtifactCompat | None:
    match text:
        case "image-config" | "config-type":
            return text
        case _:
            return None
