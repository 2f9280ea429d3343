"""`provender resolve`: the digest behind a reference."""

from __future__ import annotations

import click

from provender.cli.options import console_of, output_options, registry_options
from provender.cli.services import Services


@click.command("resolve")
@click.argument("reference")
@registry_options
@output_options
@click.pass_context
def command(ctx: click.Context, reference: str, registries: tuple[str, ...], plain_http: bool | None) -> None:
    """Print the digest that REFERENCE names now.

    \b
    Example:
      provender resolve ghcr.io/acme/rules:1.2.0
      provender resolve acme/rules:latest --format json
    """
    from provender.oci import Reference

    console = console_of(ctx)
    asked = Reference.parse(reference)
    services = Services(console, registries=registries, plain_http=plain_http)
    with services.storages(services.nearby_locations()) as storages:
        opened = storages.open(asked)
        document = opened.storage.resolve(asked.target or "latest")
    if console.is_json:
        fields = {
            "reference": f"{asked.name}@{document.digest}",
            "digest": document.digest,
            "mediaType": document.descriptor.media_type,
            "artifactType": document.parse().effective_type,
            "size": document.descriptor.size,
            "location": opened.location,
        }
        console.document("resolve", fields)
        return
    console.result(document.digest)
    console.note(f"at {opened.location}", level=1)
