"""Origins, and where a registry may send us: redirects, token realms, upload locations, further pages.

Registry layer, below the session. Rules: scheme, host and port together are an origin, and credentials stay within one;
nothing leads from https to http; nothing leads to this machine or a metadata service unless the registry is there too.
Private networks are allowed: self-hosted registries live there (oras-go #1631).
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import lru_cache
from typing import Final
from urllib.parse import urljoin, urlsplit

import msgspec

from provender.errors import Denied, InvalidProject, Unavailable
from provender.storage.registry.redact import shown_url
from provender.storage.registry.zones import zone_of

__all__ = ["NO_HOSTS", "Origin", "TrustedHosts", "followed", "is_local", "registry_origin"]

_PORTS: Final = {"http": 80, "https": 443}
# Up to where urlsplit ends an authority; it takes tabs and line breaks out first, so they get no short cut.
_AUTHORITY = re.compile(r"https?://[^/?#\s]*(?=[/?#])")


class Origin(msgspec.Struct, frozen=True):
    """Scheme, host and port: the only place that a credential may be sent to."""

    scheme: str
    host: str
    port: int

    @classmethod
    def of(cls, url: str) -> Origin:
        """The origin of an absolute http(s) URL; Unavailable for anything else."""
        match = _AUTHORITY.match(url)
        return _origin(url if match is None else match[0])

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{self.scheme}://{host}" + ("" if self.port == _PORTS[self.scheme] else f":{self.port}")


@lru_cache(maxsize=256)
def _origin(url: str) -> Origin:
    """The origin of what a URL has before its path: every request asks for it several times."""
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError as error:
        raise _bad_url(url) from error
    if parts.scheme not in _PORTS or not host:
        raise _bad_url(url)
    return Origin(parts.scheme, host.lower().rstrip("."), port or _PORTS[parts.scheme])


def registry_origin(host: str, plain_http: bool | None) -> Origin:
    """Where the registry `host` answers; `plain_http` None means http for this machine and https for all others."""
    probe = Origin.of(f"https://{host}/")
    use_http = is_local(probe.host) if plain_http is None else plain_http
    return Origin.of(f"{'http' if use_http else 'https'}://{host}/")


class TrustedHosts:
    """Hosts (`host` for any port, or `host:port`) that the user allows any address: token services on this machine.

    Raises InvalidProject for what is no host; `where` names the setting.
    """

    def __init__(self, hosts: Iterable[str] = (), *, where: str = "") -> None:
        self._named: set[tuple[str, int | None]] = set()
        for text in hosts:
            try:
                parts = urlsplit(f"//{text}")
                host, port = parts.hostname, parts.port
            except ValueError:
                host, port = None, None
            if not host or parts.netloc != text or parts.username is not None:
                raise InvalidProject(
                    f"not a host: {text[:100]!r}",
                    code="invalid-trusted-realm",
                    where=where,
                    hint="write host or host:port, several separated by commas",
                )
            self._named.add((host.rstrip("."), port))

    def __contains__(self, origin: Origin) -> bool:
        return (origin.host, None) in self._named or (origin.host, origin.port) in self._named


NO_HOSTS: Final = TrustedHosts()


def followed(base: str, target: str, registry: Origin, what: str, *, trusted: TrustedHosts = NO_HOSTS) -> str:
    """The absolute URL that `target` (absolute or relative to `base`) names, if it may be followed.

    `what` names the thing for the error ("the redirect", "the token realm"); `trusted` may have any address. Raises
    Denied for a downgrade from https or a local target, Unavailable for what is no URL.
    """
    try:
        # Without the fragment, which is never sent: nor would be what is appended behind it.
        url = (target if _AUTHORITY.match(target) else urljoin(base, target)).partition("#")[0]
    except ValueError as error:
        raise _bad_url(target) from error
    origin = Origin.of(url)
    if "@" in url and urlsplit(url).username is not None:
        raise _refused(what, url, "carries user information")
    if origin.scheme == "http" and "https" in (registry.scheme, Origin.of(base).scheme):
        raise _refused(what, url, "leaves https for plain http", code="insecure-redirect")
    # Written addresses and known names; what a name resolves to is judged when it is connected to (`network`).
    if origin.host == registry.host or origin in trusted:
        return url
    zone = zone_of(origin.host)
    if zone != "public" and (zone == "metadata" or zone != zone_of(registry.host)):
        raise _refused(what, url, f"leads to a {zone} address")
    return url


def is_local(host: str) -> bool:
    """True for this machine: a loopback address, `localhost` or a name below it (without port)."""
    return zone_of(host) == "loopback"


def _refused(what: str, url: str, why: str, *, code: str = "unsafe-target") -> Denied:
    return Denied(
        f"{what} {why}: {shown_url(url)[:200]}",
        code=code,
        hint="it was not followed; ask the operator of the registry whether this is meant",
    )


def _bad_url(url: str) -> Unavailable:
    return Unavailable(
        f"the registry named {shown_url(url)[:200]!r}, which is not an http or https URL",
        code="invalid-url",
        retryable=False,
        exit_status=69,
    )
