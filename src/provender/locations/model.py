"""What a location is: where the bytes of a logical registry come from, and who said so for each key.

Values and the grammar of a location's text; nothing here reads files or the environment.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Final, Literal, get_args

import msgspec

from provender.errors import InvalidProject, InvalidReference
from provender.oci import Reference

__all__ = [
    "KEYS",
    "Binding",
    "Connection",
    "Fallback",
    "HostTarget",
    "Key",
    "LayoutTarget",
    "Location",
    "Mirror",
    "Origin",
    "Place",
    "Rewrite",
    "Route",
    "Site",
    "Source",
    "Target",
    "check_alias",
    "is_stronger",
    "parse_host_target",
    "parse_target",
    "rule_host",
]

# From high to low.
Source = Literal[
    "flag",
    "environment",
    "named-file",
    "project-file",
    "user-file",
    "system-file",
    "manifest",
    "registries-conf",
    "hosts-toml",
    "default",
]
Fallback = Literal["location", "none"]
Key = Literal["location", "mirrors", "fallback", "plainHttp", "ca"]
KEYS: Final[tuple[Key, ...]] = ("location", "mirrors", "fallback", "plainHttp", "ca")

_DOCKER_HUB: Final = frozenset({"docker.io", "index.docker.io", "registry-1.docker.io"})
_MAX_SHOWN: Final = 150
_LOCATION_HINT: Final = "write host[:port][/prefix], such as registry.example.com/team, or layout:PATH"

PathResolver = Callable[[str], Path]


class HostTarget(msgspec.Struct, frozen=True):
    """A registry (`host[:port]`), and the prefix that repositories have there; without one it is empty."""

    host: str
    prefix: str = ""

    def __str__(self) -> str:
        return f"{self.host}/{self.prefix}" if self.prefix else self.host


class LayoutTarget(msgspec.Struct, frozen=True):
    """A directory with one OCI layout per repository; the path is absolute."""

    path: Path

    def __str__(self) -> str:
        return f"layout:{self.path}"


Target = HostTarget | LayoutTarget


class Connection(msgspec.Struct, frozen=True, kw_only=True):
    """How a host is spoken to: what somebody set, None for the default. A host's own, never that of another."""

    plain_http: bool | None = None
    ca: Path | None = None
    client_certificate: Path | None = None
    client_key: Path | None = None
    authorities: tuple[Path, ...] = ()
    """Trusted besides the system's, as `ca` is."""
    is_unverified: bool = False
    """No certificate is checked. Nothing in configuration sets that, but a dialect whose files may ask for it."""
    patience_s: float = 0
    """How long it may say nothing, where that is longer than usual."""


class Mirror(msgspec.Struct, frozen=True):
    """Another place of the same content. It serves digests unless told otherwise, and says what a tag is only with
    `resolve`."""

    location: HostTarget
    resolve: bool = False
    digests: bool = True
    connection: Connection = Connection()

    def __str__(self) -> str:
        if not self.digests:
            return f"{self.location} (resolves tags only)"
        return f"{self.location} (resolves tags)" if self.resolve else f"{self.location}"


class Origin(msgspec.Struct, frozen=True):
    """Who set a value: the kind of source, and its name for people (`--registry`, a variable, `file:line:column`)."""

    source: Source
    where: str

    def __str__(self) -> str:
        return self.where


class Binding(msgspec.Struct, frozen=True, kw_only=True):
    """What one source says of one alias: None for each key that it does not set."""

    location: Target | None = None
    mirrors: tuple[Mirror, ...] | None = None
    fallback: Fallback | None = None
    plain_http: bool | None = None
    ca: Path | None = None
    origins: dict[Key, Origin]  # exactly the keys that are set

    def said(self, key: Key) -> str | None:
        """The value of a key for people; None if this source does not set it."""
        match key:
            case "location":
                return None if self.location is None else str(self.location)
            case "mirrors":
                if self.mirrors is None:
                    return None
                return ", ".join(str(mirror) for mirror in self.mirrors) or "none"
            case "fallback":
                return self.fallback
            case "plainHttp":
                return None if self.plain_http is None else str(self.plain_http).lower()
            case "ca":
                return None if self.ca is None else str(self.ca)


class Location(msgspec.Struct, frozen=True, kw_only=True):
    """Where a logical registry is, merged key by key from every source; `origins` says who set each key that is set.

    `plain_http` is None if nobody said; then only loopback hosts are spoken to without TLS.
    """

    alias: str
    target: Target
    mirrors: tuple[Mirror, ...] = ()
    fallback: Fallback = "location"
    plain_http: bool | None = None
    ca: Path | None = None
    origins: dict[Key, Origin]


class Rewrite(msgspec.Struct, frozen=True):
    """A rule for concrete references below `prefix`: they are at `target`, or are refused if it is None.

    Files of other tools add mirrors, how the target is spoken to, and what it may be asked besides them.
    """

    prefix: HostTarget
    target: Target | None
    origin: Origin
    mirrors: tuple[Mirror, ...] = ()
    connection: Connection = Connection()
    resolves_tags: bool = True
    serves_digests: bool = True

    @property
    def is_blocked(self) -> bool:
        return self.target is None

    def __str__(self) -> str:
        mirrors = ", ".join(str(mirror) for mirror in self.mirrors)
        return ("blocked" if self.target is None else str(self.target)) + (f", mirrors: {mirrors}" if mirrors else "")

    def rest(self, host: str, repository: str) -> str | None:
        """What of the repository's name is below the prefix (empty for the prefix itself); None if it is elsewhere.

        A prefix matches whole components only, and a host by all its names.
        """
        repository = _hub_repository(host, repository)
        if rule_host(host) != rule_host(self.prefix.host):
            return None
        if not self.prefix.prefix:
            return repository
        if repository == self.prefix.prefix:
            return ""
        below = repository.removeprefix(f"{self.prefix.prefix}/")
        return below if below != repository else None


class Place(msgspec.Struct, frozen=True, kw_only=True):
    """Where one reference's bytes really are.

    A registry: `host` and the whole `repository` there. A store: `store` and the `repository` in it. A single layout
    (a directory or tar): `layout` alone. `namespace` is the host that a mirror stands in for.
    """

    host: str | None = None
    store: Path | None = None
    layout: Path | None = None
    repository: str = ""
    namespace: str | None = None
    connection: Connection = Connection()
    origin: Origin | None = None  # who sent the reference there; None if it says so itself

    def __str__(self) -> str:
        if self.host is not None:
            return f"{self.host}/{self.repository}"
        if self.store is not None:
            return f"layout:{self.store / self.repository}"
        return f"layout:{self.layout}"


class Site(msgspec.Struct, frozen=True, kw_only=True):
    """One place that reads of a reference go to, and what it is asked there."""

    place: Place
    resolves_tags: bool = True
    serves_digests: bool = True
    is_location: bool = True  # False for a mirror

    @property
    def role(self) -> str:
        """What it is asked, for people."""
        if not self.serves_digests:
            return "tags"
        return "tags and digests" if self.resolves_tags else "digests"


class Route(msgspec.Struct, frozen=True):
    """Where one reference is read, in the order of asking, and the one place where it is written."""

    location: Place
    sites: tuple[Site, ...]

    @property
    def is_direct(self) -> bool:
        """True if reads go to the location and nowhere else, for everything."""
        first = self.sites[0]
        return len(self.sites) == 1 and first.is_location and first.resolves_tags and first.serves_digests


def is_stronger(one: Source, other: Source) -> bool:
    """True if what `one` says counts before what `other` says."""
    order: tuple[str, ...] = get_args(Source)
    return order.index(one) < order.index(other)


def rule_host(host: str) -> str:
    """The one name of a host that rules go by: a block is not to be passed by writing the host in another way."""
    name = host.removesuffix(":443")
    return "docker.io" if name in _DOCKER_HUB else name


def _hub_repository(host: str, repository: str) -> str:
    """The full name of a repository: on Docker Hub, official images lie below `library/`."""
    return f"library/{repository}" if "/" not in repository and rule_host(host) == "docker.io" else repository


def check_alias(text: str, where: str) -> str:
    """`text`, if it can name a logical registry; else InvalidProject (`invalid-alias`)."""
    try:
        if "/" not in text and Reference.parse(f"{text}/x").kind == "logical":
            return text
    except InvalidReference:
        pass
    raise InvalidProject(
        f"{text[:_MAX_SHOWN]!r} cannot name a logical registry",
        code="invalid-alias",
        where=where,
        hint="use lower-case letters and digits, joined by '-' or '_'; names with a dot or colon are hosts",
    )


def parse_target(text: str, where: str, resolve: PathResolver) -> Target:
    """The location that `text` writes: `host[:port][/prefix]` or `layout:PATH`, whose path `resolve` makes absolute.

    Raises InvalidProject (`invalid-location`).
    """
    if not text.startswith("layout:"):
        return parse_host_target(text, where)
    path = text.removeprefix("layout:")
    if not path or "\0" in path:
        raise _invalid(text, where, "it has no path")
    return LayoutTarget(resolve(path))


def parse_host_target(text: str, where: str) -> HostTarget:
    """The `host[:port][/prefix]` that `text` writes, or InvalidProject (`invalid-location`)."""
    if text.startswith("layout:"):
        raise _invalid(text, where, "a host is needed here", hint="write host[:port][/prefix]")
    scheme, separator, rest = text.partition("://")
    if separator and scheme != "oci":
        hint = f"write {_shown(rest)}" + (" with plainHttp: true" if scheme == "http" else "")
        raise _invalid(text, where, "a location has no scheme", hint=hint)
    bare = (rest if separator else text).removesuffix("/")
    try:
        # The grammar of references decides: a location is what has to stand before "/repository".
        reference = Reference.parse(f"{bare}/x")
    except InvalidReference as error:
        raise _invalid(text, where, "it is not a host with an optional prefix", hint=_LOCATION_HINT) from error
    if reference.tag is not None or reference.digest is not None:
        raise _invalid(text, where, "it has a tag or digest", hint=_LOCATION_HINT)
    if reference.kind != "registry":
        host = bare.partition("/")[0][:_MAX_SHOWN]
        raise _invalid(text, where, f"{host!r} is no host", hint=f"write a full host name, or {host}:443 with its port")
    return HostTarget(reference.registry, reference.repository.removesuffix("x").removesuffix("/"))


def _shown(text: str) -> str:
    """Text from outside for a message: cut, and without what may be a password before the host."""
    return re.sub(r"^([a-z]+://)?[^/]*@", r"\1…@", text)[:_MAX_SHOWN]


def _invalid(text: str, where: str, why: str, *, hint: str = _LOCATION_HINT) -> InvalidProject:
    return InvalidProject(f"not a location: {_shown(text)!r}: {why}", code="invalid-location", where=where, hint=hint)
