"""`provender registry`: what logical registries there are, and where each one is bound by whom."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from provender.cli.console import Console
from provender.cli.options import console_of, output_options, registry_options
from provender.cli.reading import ANY, Reading, reading_of, without_any
from provender.cli.services import Services

if TYPE_CHECKING:
    from provender.locations import Locations
    from provender.oci import Reference


@click.group("registry")
def command() -> None:
    """Logical registries: the names that manifests use, and what they are bound to.

    \b
    Example:
      provender registry list
      provender registry explain acme
    """


@command.command("list")
@registry_options
@output_options
@click.pass_context
def list_(ctx: click.Context, registries: tuple[str, ...], plain_http: bool | None) -> None:
    """List the logical registries that are known here, and where they are.

    \b
    Example:
      provender registry list --format json
    """
    from provender.errors import InvalidProject

    console = console_of(ctx)
    services = Services(console, registries=registries, plain_http=plain_http)
    locations = services.nearby_locations()
    rows: list[tuple[str, str, str]] = []
    for alias in locations.aliases():
        try:
            found = locations.find(alias)
        except InvalidProject:
            rows.append((alias, "", ""))
        else:
            rows.append((alias, str(found.target), str(found.origins["location"])))
    if console.is_json:
        fields = [{"alias": a, "location": place or None, "setBy": origin or None} for a, place, origin in rows]
        console.document("registry-list", {"registries": fields})
        return
    if not rows:
        console.note("no logical registry is named here; see 'registries' in provender.yaml")
        return
    console.table(("ALIAS", "LOCATION", "SET BY"), [(a, place or "(unbound)", origin) for a, place, origin in rows])


@command.command("explain")
@click.argument("name")
@registry_options
@output_options
@click.pass_context
def explain(ctx: click.Context, name: str, registries: tuple[str, ...], plain_http: bool | None) -> None:
    """Show where NAME is read and written, which settings say so, who made them, and why they count;
    and how each host is spoken to: plain or by TLS, by which proxy, with whose certificates.

    NAME is a logical registry, or a repository of one or of a host.

    \b
    Example:
      provender registry explain acme --registry acme=mirror.example/acme
      provender registry explain ghcr.io/acme-oss/rules
    """
    from provender.oci import Reference

    console = console_of(ctx)
    services = Services(console, registries=registries, plain_http=plain_http)
    locations = services.nearby_locations()
    if "/" not in name and ("." in name or ":" in name):
        raise click.UsageError(f"name a repository of the host as well: {name}/…")
    if "/" not in name:
        console.subject = name[:300]
        locations.find(name)  # else the error would name a repository that nobody asked about
        reference = Reference.parse(f"{name}/{ANY}")
        reading = reading_of(locations, reference, plain_http=plain_http)
        _explain_alias(console, locations, name, reading)
        return
    reference = Reference.parse(name)
    reading = reading_of(locations, reference, plain_http=plain_http)
    if reference.kind == "logical":
        _explain_alias(console, locations, reference.registry, reading)
    else:
        _explain_rules(console, locations, reference, reading)


def _explain_alias(console: Console, locations: Locations, alias: str, reading: Reading) -> None:
    rows = locations.explain(alias)
    location = locations.find(alias)  # an alias without location is an error that says where we looked
    if console.is_json:
        fields = [
            {"key": row.key, "value": row.value, "setBy": str(row.origin), "wins": row.wins, "reason": row.reason}
            for row in rows
        ]
        document = {"alias": alias, "location": str(location.target), "settings": fields, **reading.fields}
        console.document("registry-explain", document)
        return
    console.result(f"{alias} is {location.target}")
    if reading.origin not in (None, location.origins["location"]):
        console.note(f"a stronger rule, at {reading.origin}, sends it to {without_any(reading.location or '')}")
    marked = [("*" if row.wins else "", row.key, row.value, str(row.origin), row.reason) for row in rows]
    console.table(("", "KEY", "VALUE", "SET BY", "REASON"), marked)
    reading.show(console)


def _explain_rules(console: Console, locations: Locations, reference: Reference, reading: Reading) -> None:
    rows = locations.explain_rules(reference)
    if console.is_json:
        fields = [
            {
                "prefix": str(row.rule.prefix),
                "value": str(row.rule),
                "setBy": str(row.rule.origin),
                "wins": row.wins,
                "reason": row.reason,
            }
            for row in rows
        ]
        document = {"reference": reference.name, "location": reading.location, "rules": fields, **reading.fields}
        console.document("registry-explain", document)
        return
    console.result(f"{reference.name} is {reading.location or 'blocked'}")
    if rows:
        marked = [
            ("*" if row.wins else "", str(row.rule.prefix), str(row.rule), str(row.rule.origin), row.reason)
            for row in rows
        ]
        console.table(("", "PREFIX", "VALUE", "SET BY", "REASON"), marked)
    else:
        console.note("no rule is about it: it is where its name says")
    reading.show(console)
