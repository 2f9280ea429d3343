"""`provender tag`: further names for an artifact."""

from __future__ import annotations

import click

from provender.cli.options import console_of, output_options, registry_options
from provender.cli.services import Services


@click.command("tag")
@click.argument("reference")
@click.argument("tags", nargs=-1, required=True, metavar="TAG...")
@registry_options
@output_options
@click.pass_context
def command(
    ctx: click.Context, reference: str, tags: tuple[str, ...], registries: tuple[str, ...], plain_http: bool | None
) -> None:
    """Point each TAG at the artifact that REFERENCE names, in the same repository.

    \b
    Example:
      provender tag ghcr.io/acme/rules:1.2.0 stable latest
    """
    from provender.oci import Reference
    from provender.oci.reference import check_tag

    console = console_of(ctx)
    asked = Reference.parse(reference)
    names = [check_tag(name) for name in tags]
    services = Services(console, registries=registries, plain_http=plain_http)
    with services.storages(services.nearby_locations()) as storages:
        storage = storages.open(asked).writable
        document = storage.resolve(asked.target or "latest")
        for name in names:
            storage.tag(document.descriptor, name)
    if console.is_json:
        fields = {"reference": f"{asked.name}@{document.digest}", "digest": document.digest, "tags": names}
        console.document("tag", fields)
        return
    for name in names:
        console.result(f"{asked.name}:{name}@{document.digest}")
