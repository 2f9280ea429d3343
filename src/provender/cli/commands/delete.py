"""`provender delete`: an artifact, gone with all its tags."""

from __future__ import annotations

import click

from provender.cli.options import console_of, output_options, registry_options
from provender.cli.services import Services
from provender.cli.writing import agreed


@click.command("delete")
@click.argument("reference")
@click.option("-f", "--force", is_flag=True, help="Do not ask.")
@registry_options
@output_options
@click.pass_context
def command(
    ctx: click.Context, reference: str, force: bool, registries: tuple[str, ...], plain_http: bool | None
) -> None:
    """Delete the manifest that REFERENCE names, with every tag that points to it.

    Its blobs, children and referrers stay until the registry collects its garbage. Where a registry has no referrers
    API the manifest leaves the list of its subject. To remove only a tag, use `provender untag`.

    \b
    Example:
      provender delete ghcr.io/acme/rules:0.9.0
      provender delete layout:./bundle@sha256:2c26b46b68ffc68ff99b453c1d30413413422d706483bfa0f98a5e886266e7ae --force
    """
    from provender.oci import Reference

    console = console_of(ctx)
    asked = Reference.parse(reference)
    if asked.target is None:
        raise click.UsageError(f"{reference} names a repository: add the tag or digest of what is to be deleted")
    services = Services(console, registries=registries, plain_http=plain_http)
    with services.storages(services.nearby_locations()) as storages:
        storage = storages.open(asked).writable
        document = storage.resolve(asked.target)
        name = f"{asked.name}@{document.digest}"
        if not agreed(console, f"Delete {name} with every tag that points to it?", force=force):
            console.note("nothing was deleted")
            return
        storage.delete(document.descriptor)
    if console.is_json:
        console.document("delete", {"reference": name, "digest": document.digest})
        return
    console.result(name)
