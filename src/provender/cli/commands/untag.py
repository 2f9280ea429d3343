"""`provender untag`: names taken away from an artifact."""

from __future__ import annotations

import click

from provender.cli.options import console_of, output_options, registry_options
from provender.cli.services import Services


@click.command("untag")
@click.argument("reference")
@click.argument("tags", nargs=-1, metavar="[TAG]...")
@registry_options
@output_options
@click.pass_context
def command(
    ctx: click.Context, reference: str, tags: tuple[str, ...], registries: tuple[str, ...], plain_http: bool | None
) -> None:
    """Remove the tag of REFERENCE and each TAG of the same repository; what they name stays, under its digest.

    Many registries delete by digest alone; that is an error that says so, and nothing is deleted.

    \b
    Example:
      provender untag ghcr.io/acme/rules:old
      provender untag layout:./bundle 1.0 1.1
    """
    from provender.oci import Reference
    from provender.oci.reference import check_tag

    console = console_of(ctx)
    asked = Reference.parse(reference)
    if asked.digest is not None:
        raise click.UsageError(f"untag removes tags, and {reference} names a digest")
    names = list(dict.fromkeys(check_tag(name) for name in (*([asked.tag] if asked.tag else []), *tags)))
    if not names:
        raise click.UsageError("there is no tag to remove: write REPOSITORY:TAG, or name tags behind the repository")
    services = Services(console, registries=registries, plain_http=plain_http)
    with services.storages(services.nearby_locations()) as storages:
        storage = storages.open(asked).writable
        for name in names:
            storage.untag(name)
            if not console.is_json:
                console.result(f"{asked.name}:{name}")
    if console.is_json:
        console.document("untag", {"repository": asked.name, "tags": names})
