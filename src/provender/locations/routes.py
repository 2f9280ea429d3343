"""Routes: from a reference to the places where it is read, in their order, and to the one where it is written.

Over the rules and the bindings of aliases. A block holds for every place that would be asked, whatever led there.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec

from provender.errors import InvalidProject, InvalidReference
from provender.locations.model import (
    Connection,
    HostTarget,
    Location,
    Mirror,
    Place,
    Rewrite,
    Route,
    Site,
    Target,
    rule_host,
)
from provender.locations.rules import Rules
from provender.oci import Reference

__all__ = ["Router"]


class Router:
    """Finds places. `find` gives the merged location of an alias, or raises InvalidProject."""

    def __init__(self, rules: Rules, find: Callable[[str], Location], *, cwd: Path) -> None:
        self._rules = rules
        self._find = find
        self._cwd = cwd

    def place(self, reference: Reference) -> Place:
        """Where the reference is written."""
        if reference.kind == "layout":
            return Place(layout=self._cwd / reference.registry)
        if reference.kind == "registry":
            return self._allowed(self._rewritten(reference), reference)
        location = self._location(reference)
        self._refuse_blocked(location.target, reference)
        return self._allowed(self._bound(location, reference), reference)

    def route(self, reference: Reference) -> Route:
        """Where the reference is read."""
        if reference.kind == "layout":
            place = self.place(reference)
            return Route(place, (Site(place=place),))
        if reference.kind == "registry":
            return self._of_rule(reference)
        return self._of_alias(reference)

    def _of_rule(self, reference: Reference) -> Route:
        place = self._rewritten(reference)
        rule = self._rules.best(reference.registry, reference.repository)
        if rule is None:
            return Route(place, (Site(place=place),))  # what it names was looked up just now
        rest = rule.rest(reference.registry, reference.repository) or ""
        said = Place(namespace=rule_host(reference.registry), origin=rule.origin)
        sites = list(_mirrors(rule.mirrors, rest, reference, said))
        if rule.resolves_tags or rule.serves_digests:
            sites.append(Site(place=place, resolves_tags=rule.resolves_tags, serves_digests=rule.serves_digests))
        if not sites:
            raise _no_source(reference, rule.origin.where, "every host there lacks the capabilities pull and resolve")
        return self._route(place, sites, reference)

    def _of_alias(self, reference: Reference) -> Route:
        location = self._location(reference)
        place = self._bound(location, reference)
        if location.fallback == "location":
            self._refuse_blocked(location.target, reference)
        said = Place(connection=Connection(ca=location.ca), origin=location.origins.get("mirrors"))
        sites = list(_mirrors(location.mirrors, reference.repository, reference, said))
        if location.fallback == "location":
            sites.append(Site(place=place))
        if not sites:
            where = location.origins["fallback"].where
            raise _no_source(reference, where, "fallback is none, and there are no mirrors")
        return self._route(place, sites, reference)

    def _route(self, place: Place, sites: list[Site], reference: Reference) -> Route:
        for site in sites:
            self._allowed(site.place, reference)
        return Route(place, tuple(sites))

    def _allowed(self, place: Place, reference: Reference) -> Place:
        """The place, unless it is blocked: a rewrite or a mirror leads nowhere where nobody may go."""
        if place.host is not None:
            self._rules.refuse_blocked(place.host, place.repository, str(reference))
        return place

    def _rewritten(self, reference: Reference) -> Place:
        """Where a concrete reference, which is not blocked itself, is by the rule for it."""
        self._rules.refuse_blocked(reference.registry, reference.repository, str(reference))
        return _concrete(self._rules.best(reference.registry, reference.repository), reference)

    def _location(self, reference: Reference) -> Location:
        try:
            return self._find(reference.registry)
        except InvalidProject as error:
            error.at(str(reference))
            raise

    def _bound(self, location: Location, reference: Reference) -> Place:
        """The place of a repository at the location of its alias, which a stronger source may have rewritten."""
        target, origin = location.target, location.origins["location"]
        if isinstance(target, HostTarget):
            name = _joined(target.prefix, reference.repository)
            rule = self._rules.above(origin.source, target.host, name)
            if rule is not None and not rule.is_blocked:
                return _concrete(rule, msgspec.structs.replace(reference, registry=target.host, repository=name))
        said = Place(connection=Connection(plain_http=location.plain_http, ca=location.ca), origin=origin)
        return _below(target, reference.repository, reference, said)

    def _refuse_blocked(self, target: Target, reference: Reference) -> None:
        if isinstance(target, HostTarget):
            self._rules.refuse_blocked(target.host, _joined(target.prefix, reference.repository), str(reference))


def _concrete(rule: Rewrite | None, reference: Reference) -> Place:
    """The place of `registry/repository` by the rule for it."""
    if rule is None or rule.target is None:
        return Place(host=reference.registry, repository=reference.repository)
    rest = rule.rest(reference.registry, reference.repository) or ""
    return _below(rule.target, rest, reference, Place(connection=rule.connection, origin=rule.origin))


def _mirrors(mirrors: tuple[Mirror, ...], rest: str, reference: Reference, said: Place) -> Iterator[Site]:
    """The mirrors' sites. `said` has what holds for all of them: a CA, and the host that they stand in for."""
    for mirror in mirrors:
        own = mirror.connection
        if own.ca is None:
            own = msgspec.structs.replace(own, ca=said.connection.ca)
        place = _below(mirror.location, rest, reference, msgspec.structs.replace(said, connection=own))
        if place.host == said.namespace:
            place = msgspec.structs.replace(place, namespace=None)  # the host itself, named among its mirrors
        yield Site(place=place, resolves_tags=mirror.resolve, serves_digests=mirror.digests, is_location=False)


def _below(target: Target, repository: str, reference: Reference, said: Place) -> Place:
    """The place of a repository below a target."""
    if not isinstance(target, HostTarget):
        if not repository:
            raise InvalidProject(
                f"the rewrite leaves no repository name for {target}",
                code="invalid-location",
                where=str(reference),
                hint="let the rewrite's prefix end before the last component",
            )
        return msgspec.structs.replace(said, store=target.path, repository=repository)
    name = _joined(target.prefix, repository)
    try:
        bound = Reference.parse(f"{target.host}/{name}")
    except InvalidReference as error:
        raise InvalidProject(
            f"at {target} this would be {target.host}/{name[:300]}, which is no repository name",
            code="invalid-location",
            where=str(reference),
            hint=error.hint,
        ) from error
    return msgspec.structs.replace(said, host=bound.registry, repository=bound.repository)


def _joined(prefix: str, repository: str) -> str:
    return "/".join(part for part in (prefix, repository) if part)


def _no_source(reference: Reference, where: str, why: str) -> InvalidProject:
    return InvalidProject(
        f"{reference} has no place to be read from: {why}",
        code="no-source",
        where=where,
        hint="name a mirror, or let the location be read",
    )
