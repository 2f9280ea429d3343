"""Bindings: where the logical registries of a plan were when it was made. A plan says exactly where things go.

What a destination lacks was looked up there: at another place the same plan would leave gaps. A source may be read
from anywhere, for digests prove themselves.
"""

from __future__ import annotations

from provender.errors import Conflict, InvalidProject
from provender.locations import Locations
from provender.oci import Reference
from provender.relocate.plan import RelocationPlan

__all__ = ["flags_for"]


def flags_for(plan: RelocationPlan, locations: Locations) -> tuple[str, ...]:
    """What to bind besides, as `ALIAS=LOCATION`: the registries of the plan that nothing binds here.

    Raises Conflict (`place-changed`) for a destination that is bound to another place.
    """
    named = (Reference.parse(leg.destination) for leg in plan.legs)
    destinations = {reference.registry for reference in named if reference.kind == "logical"}
    missing: list[str] = []
    for alias, location in sorted(plan.registries.items()):
        try:
            now = str(locations.find(alias).target)
        except InvalidProject as error:
            if error.code != "unbound-registry":
                raise
            missing.append(f"{alias}={location}")
            continue
        if alias in destinations and now != location:
            raise Conflict(
                f"the plan was made for {alias} at {location}, and here it is at {now}",
                code="place-changed",
                where=alias,
                hint=f"bind it with --registry {alias}={location}, or make a plan for the other place",
            )
    return tuple(missing)
