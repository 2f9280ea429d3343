"""`provender registry`: what logical registries there are, and where each one is bound by whom."""

from __future__ import annotations

import click

from provender.cli.options import console_of, output_options, registry_options
from provender.cli.services import Services


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
def list_(ctx: click.Context, registries: tuple[str, ...], plain_http: bool) -> None:
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
@click.argument("alias")
@registry_options
@output_options
@click.pass_context
def explain(ctx: click.Context, alias: str, registries: tuple[str, ...], plain_http: bool) -> None:
    """Show every setting of ALIAS, who made it, and which one counts.

    \b
    Example:
      provender registry explain acme --registry acme=mirror.example/acme
    """
    console = console_of(ctx)
    services = Services(console, registries=registries, plain_http=plain_http)
    locations = services.nearby_locations()
    rows = locations.explain(alias)
    location = locations.find(alias)  # an alias without location is an error that says where we looked
    if console.is_json:
        fields = [{"key": row.key, "value": row.value, "setBy": str(row.origin), "wins": row.wins} for row in rows]
        console.document("registry-explain", {"alias": alias, "location": str(location.target), "settings": fields})
        return
    console.result(f"{alias} is {location.target}")
    marked = [("*" if row.wins else "", row.key, row.value, str(row.origin)) for row in rows]
    console.table(("", "KEY", "VALUE", "SET BY"), marked)
    if location.mirrors:
        console.note(f"its {len(location.mirrors)} mirrors are configured, but not used by this version")
