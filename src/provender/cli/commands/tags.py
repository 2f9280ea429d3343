"""`provender tags`: the tags of a repository."""

from __future__ import annotations

import click

from provender.cli.archiving import repositories_in, tell_kind
from provender.cli.console import clean
from provender.cli.options import checked_range, console_of, output_options, registry_options
from provender.cli.services import Services


@click.command("tags")
@click.argument("repository")
@click.option(
    "--version",
    "version_range",
    metavar="RANGE",
    callback=checked_range,
    help='Only versions in this range, such as ">=1.2, <2".',
)
@registry_options
@output_options
@click.pass_context
def command(
    ctx: click.Context,
    repository: str,
    version_range: str | None,
    registries: tuple[str, ...],
    plain_http: bool | None,
) -> None:
    """List the tags of REPOSITORY, as the registry orders them; with --version, oldest version first.

    \b
    Example:
      provender tags ghcr.io/acme/rules
      provender tags acme/rules --version "^1.2"
    """
    from provender.oci import Reference

    console = console_of(ctx)
    asked = Reference.parse(repository)
    if asked.target is not None:
        raise click.UsageError(f"tags lists a repository, and {repository} names one artifact in it")
    services = Services(console, registries=registries, plain_http=plain_http)
    with services.storages(services.nearby_locations()) as storages:
        opened = storages.open(asked)
        tell_kind(console, opened)
        within = repositories_in(opened)
        if within:
            console.note(f"its repositories: {', '.join(f'{asked.name}/{name}' for name in within)}")
        found = opened.storage.tags()
        if version_range is None and not console.is_json:
            for tag in found:  # as the pages come
                console.result(clean(tag))
            return
        tags = list(found) if version_range is None else _in_range(list(found), version_range)
    if console.is_json:
        fields: dict[str, object] = {"repository": asked.name, "tags": tags}
        console.document("tags", fields | ({"repositories": within} if within else {}))
        return
    for tag in tags:
        console.result(clean(tag))


def _in_range(tags: list[str], text: str) -> list[str]:
    from provender.versions import Range, Version

    wanted = Range.parse(text)
    versions = [version for tag in tags if (version := Version.from_tag(tag)) is not None and wanted.matches(version)]
    return [version.original for version in sorted(versions, key=Version.order)]
