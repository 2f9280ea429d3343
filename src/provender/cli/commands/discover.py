"""`provender discover`: what belongs to an artifact."""

from __future__ import annotations

import click

from provender.cli.console import clean, counted
from provender.cli.options import console_of, jobs_option, output_options, registry_options
from provender.cli.services import Services


@click.command("discover")
@click.argument("reference")
@click.option("--artifact-type", "artifact_types", multiple=True, metavar="TYPE", help="Only this type (repeatable).")
@click.option("--related", metavar="KIND,...", help="Only these kinds: signature, attestation, sbom, or types.")
@click.option("--depth", type=click.IntRange(1), help="How many steps to follow; all unless given.")
@click.option("--platform", metavar="OS/ARCH[/VARIANT]", help="Which child of an index to start from.")
@click.option("--no-digest-tags", is_flag=True, help="Do not look for tags such as sha256-….sig.")
@jobs_option
@registry_options
@output_options
@click.pass_context
def command(
    ctx: click.Context,
    reference: str,
    artifact_types: tuple[str, ...],
    related: str | None,
    depth: int | None,
    platform: str | None,
    no_digest_tags: bool,
    jobs: int,
    registries: tuple[str, ...],
    plain_http: bool | None,
) -> None:
    """Show what refers to the artifact at REFERENCE, what refers to that, and so on, as a tree.

    Found are referrers by the API and by fallback tags, tags made from a digest (sha256-….sig), and all of this for the
    children of an index. A question that a registry did not answer is an error, never "none".

    \b
    Example:
      provender discover ghcr.io/acme/app:1.2.0
      provender discover ghcr.io/acme/app:1.2.0 --related sbom --format json
      provender discover layout:./bundle:1.2.0 --artifact-type application/spdx+json --depth 1
    """
    from provender.artifact.narrow import narrow
    from provender.cli.related_tree import tree_fields, tree_lines
    from provender.oci import Platform, Reference
    from provender.transfer.discover import DiscoverOptions, Start, discover
    from provender.transfer.related import ALL, Related

    console = console_of(ctx)
    asked = Reference.parse(reference)
    chosen = ",".join((*artifact_types, *([related] if related else [])))
    options = DiscoverOptions(
        related=Related.parse(chosen) if chosen else ALL, digest_tags=not no_digest_tags, levels=depth, jobs=jobs
    )
    wanted = asked.target or "latest"
    services = Services(console, registries=registries, plain_http=plain_http, jobs=jobs)
    with services.storages(services.nearby_locations()) as storages:
        storage = storages.open(asked).storage
        platforms = [Platform.parse(platform)] if platform else []
        document = narrow(storage, storage.resolve(wanted), platforms).document
        graph = discover(storage, [Start(document=document, asked=wanted)], options=options)
    for left in graph.left_out:
        if left.reason in ("gone", "other-subject"):
            console.warning(f"left out: {left.digest} ({left.reason}: {left.detail})")
    if console.is_json:
        console.document("discover", tree_fields(graph, document.digest, asked.name))
        return
    console.result(clean(f"{asked.name}@{document.digest}"))
    for line in tree_lines(graph, document.digest):
        console.result(line)
    found = {edge.digest for edges in graph.related.values() for edge in edges}
    console.note(f"{counted(len(found), 'artifact belongs', 'artifacts belong')} to it")
