"""What `registry explain` says of reading: where a reference is read, and how each host is spoken to there."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from provender.cli.console import Console

if TYPE_CHECKING:
    from pathlib import Path

    from provender.locations import Locations, Route, Site
    from provender.oci import Reference
    from provender.storage.registry.speaking import Speaking

__all__ = ["ANY", "Reading", "reading_of", "without_any"]

ANY = "any-repository"
"""Stands for every repository of an alias, where only the alias is asked about."""


class Reading:
    """Where a reference is read, in the order of asking; or the error that stands in the way."""

    def __init__(self, route: Route | None, problem: str | None, *, plain_http: bool | None) -> None:
        self.location = None if route is None else str(route.location)
        self.origin = None if route is None else route.location.origin
        self._problem = problem
        self._sites = [
            (site, _speaking(site, plain_http=plain_http)) for site in ([] if route is None else route.sites)
        ]

    @property
    def fields(self) -> dict[str, object]:
        """The keys of the JSON document."""
        sources = [
            {
                "place": without_any(str(site.place)),
                "kind": "location" if site.is_location else "mirror",
                "asked": [
                    what
                    for what, is_asked in (("tags", site.resolves_tags), ("digests", site.serves_digests))
                    if is_asked
                ],
                "namespace": site.place.namespace,
                "connection": None if speaking is None else _connection(speaking),
            }
            for site, speaking in self._sites
        ]
        return {"sources": sources, "problem": self._problem}

    def show(self, console: Console) -> None:
        """Print it for people."""
        if self._problem is not None:
            console.warning(self._problem)
        if len(self._sites) > 1:
            rows = [
                (
                    str(number),
                    without_any(str(site.place)),
                    site.role,
                    "the location" if site.is_location else "a mirror",
                )
                for number, (site, _) in enumerate(self._sites, start=1)
            ]
            console.table(("", "READ FROM", "ASKED FOR", "BECAUSE IT IS"), rows)
        spoken = {speaking.address: speaking for _, speaking in self._sites if speaking is not None}
        if spoken:
            console.table(("HOST", "TLS", "VALUE", "SET BY"), [row for each in spoken.values() for row in _rows(each)])
        for speaking in spoken.values():
            if speaking.problem is not None:
                console.warning(f"{speaking.address}: {speaking.problem}")


def reading_of(locations: Locations, reference: Reference, *, plain_http: bool | None) -> Reading:
    """How a reference is read; a block or a lack of sources is told, and no error."""
    from provender.errors import Denied, InvalidProject

    try:
        return Reading(locations.route(reference), None, plain_http=plain_http)
    except Denied as error:
        return Reading(None, f"{error.message} ({error.hint})", plain_http=plain_http)
    except InvalidProject as error:
        if error.code != "no-source":
            raise
        return Reading(None, f"{error.message} ({error.where})", plain_http=plain_http)


def without_any(place: str) -> str:
    """The name of a place without the repository that stands for all."""
    return place.removesuffix(f"/{ANY}")


def _speaking(site: Site, *, plain_http: bool | None) -> Speaking | None:
    """How the host of a site is spoken to; None for a place on disk. `--plain-http` is not for mirrors."""
    if site.place.host is None:
        return None
    from provender.storage.registry.speaking import speaking_to
    from provender.storage.registry.tls import TlsSettings

    said = site.place.connection
    settings = TlsSettings(_text(said.ca), _text(said.client_certificate), _text(said.client_key))
    is_plain = plain_http if plain_http is not None and site.is_location else said.plain_http
    return speaking_to(site.place.host, settings, plain_http=is_plain, environ=os.environ)


def _text(path: Path | None) -> str | None:
    return None if path is None else str(path)


def _connection(speaking: Speaking) -> dict[str, object]:
    return {
        "address": speaking.address,
        "proxy": speaking.proxy,
        "certificates": None if speaking.certificates is None else str(speaking.certificates),
        "tls": [{"kind": item.kind, "value": item.value, "setBy": item.set_by} for item in speaking.tls],
        "problem": speaking.problem,
    }


def _rows(speaking: Speaking) -> list[tuple[str, str, str, str]]:
    items: list[tuple[str, str, str]] = [(item.kind, item.value, item.set_by) for item in speaking.tls]
    rows = [(speaking.address, *item) for item in items or [("none", "plain HTTP", "")]]
    if speaking.proxy is not None:
        rows.append((speaking.address, "proxy", speaking.proxy, "environment"))
    return rows
