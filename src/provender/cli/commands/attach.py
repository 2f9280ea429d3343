"""`provender attach`: files and annotations that refer to an artifact."""

from __future__ import annotations

import click

from provender.cli.console import counted, human_bytes
from provender.cli.options import console_of, jobs_option, output_options, registry_options
from provender.cli.services import Services
from provender.cli.writing import epoch


@click.command("attach")
@click.argument("subject")
@click.argument("files", nargs=-1, metavar="[FILE[:TYPE]]...")
@click.option("--artifact-type", required=True, metavar="TYPE", help="What is attached.")
@click.option("--config", metavar="FILE[:TYPE]", help="A file for the manifest's config.")
@click.option("-a", "--annotation", "annotations", multiple=True, metavar="KEY=VALUE", help="Annotate the manifest.")
@click.option("--annotation-file", type=click.Path(dir_okay=False), help="Annotations as JSON, as oras reads them.")
@click.option("--platform", metavar="OS/ARCH[/VARIANT]", help="Which child of an index to attach to.")
@jobs_option
@registry_options
@output_options
@click.pass_context
def command(
    ctx: click.Context,
    subject: str,
    files: tuple[str, ...],
    artifact_type: str,
    config: str | None,
    annotations: tuple[str, ...],
    annotation_file: str | None,
    platform: str | None,
    jobs: int,
    registries: tuple[str, ...],
    plain_http: bool | None,
) -> None:
    """Attach FILES, annotations or both to the artifact at SUBJECT: an artifact of its own that names it.

    It has no tag: it is found from its subject, with `provender discover`. Where a registry has no referrers API the
    list under the subject's fallback tag is kept, as the distribution specification says.

    \b
    Example:
      provender attach ghcr.io/acme/app:1.2.0 sbom.json:application/spdx+json --artifact-type application/spdx+json
      provender attach ghcr.io/acme/app:1.2.0 --artifact-type application/vnd.acme.review -a com.acme.by=ada
    """
    from provender.artifact.annotation_file import parse_annotations, read_annotation_file
    from provender.artifact.narrow import narrow
    from provender.artifact.pack import Source
    from provender.artifact.publish import ConfigFile, PublishOptions, publish
    from provender.oci import Platform, Reference

    console = console_of(ctx)
    console.subject = subject[:300]
    asked = Reference.parse(subject)
    noted = parse_annotations(annotations)
    if not files and not noted and not annotation_file:
        raise click.UsageError("there is nothing to attach: name a file or an annotation")
    sources = [Source.parse(text) for text in files]
    services = Services(console, registries=registries, plain_http=plain_http, jobs=jobs)
    with services.storages(services.nearby_locations()) as storages:
        opened = storages.open(asked)
        storage = opened.writable
        platforms = [Platform.parse(platform)] if platform else []
        target = narrow(storage, storage.resolve(asked.target or "latest"), platforms).document
        options = PublishOptions(
            artifact_type=artifact_type,
            config=None if config is None else ConfigFile.parse(config),
            annotations=noted,
            file_annotations=read_annotation_file(annotation_file) if annotation_file else {},
            created_s=epoch(),
            subject=target.descriptor,
            jobs=jobs,
        )
        document = publish(storage, sources, options=options, progress=console.progress())
    console.stop_progress()
    if console.is_json:
        fields = {
            "reference": f"{asked.name}@{document.digest}",
            "digest": document.digest,
            "mediaType": document.descriptor.media_type,
            "artifactType": artifact_type,
            "size": document.descriptor.size,
            "subject": target.digest,
        }
        console.document("attach", fields)
        return
    console.result(f"{asked.name}@{document.digest}")
    layers = document.manifest().layers
    size = human_bytes(sum(layer.size for layer in layers))
    console.note(f"attached {counted(len(sources), 'file', 'files')}, {size}, to {asked.name}@{target.digest}")
