"""Origins, and where a registry may send us: redirects, token realms, upload locations, further pages.

Registry layer, below the session. Rules: scheme, host and port together are an origin, and credentials stay within one;
nothing leads from https to http; nothing leads to this machine or a metadata service unless the registry is there too.
Private networks are allowed: self-hosted registries live there (oras-go #1631).
"""

from __future__ import annotations

import ipaddress
import socket
from typing import Final, Literal
from urllib.parse import urljoin, urlsplit

import msgspec

from provender.errors import Denied, Unavailable
from provender.storage.registry.redact import shown_url

__all__ = ["Origin", "followed", "is_local"]

_PORTS: Final = {"http": 80, "https": 443}
_METADATA_NAMES: Final = frozenset({"metadata", "metadata.google.internal", "metadata.goog", "instance-data"})
_METADATA_ADDRESSES: Final = frozenset({"169.254.169.254", "169.254.170.2", "100.100.100.200", "fd00:ec2::254"})

_Zone = Literal["public", "loopback", "link-local", "unspecified", "metadata"]


class Origin(msgspec.Struct, frozen=True):
    """Scheme, host and port: the only place that a credential may be sent to."""

    scheme: str
    host: str
    port: int

    @classmethod
    def of(cls, url: str) -> Origin:
        """The origin of an absolute http(s) URL; Unavailable for anything else."""
        try:
            parts = urlsplit(url)
            host, port = parts.hostname, parts.port
        except ValueError as error:
            raise _bad_url(url) from error
        if parts.scheme not in _PORTS or not host:
            raise _bad_url(url)
        return cls(parts.scheme, host.lower().rstrip("."), port or _PORTS[parts.scheme])

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{self.scheme}://{host}" + ("" if self.port == _PORTS[self.scheme] else f":{self.port}")


def followed(base: str, target: str, registry: Origin, what: str) -> str:
    """The absolute URL that `target` (absolute or relative to `base`) names, if it may be followed.

    `what` names the thing for the error ("the redirect", "the token realm"). Raises Denied for a downgrade from https
    or a local target, Unavailable for what is no URL.
    """
    try:
        url = urljoin(base, target)
    except ValueError as error:
        raise _bad_url(target) from error
    origin = Origin.of(url)
    if urlsplit(url).username is not None:
        raise _refused(what, url, "carries user information")
    if origin.scheme == "http" and "https" in (registry.scheme, urlsplit(base).scheme):
        raise _refused(what, url, "leaves https for plain http", code="insecure-redirect")
    # Only written addresses and known names are looked at, not what a name resolves to: a registry on https can lead
    # to https alone, where a name that resolves to this machine has no certificate to show.
    zone = _zone(origin.host)
    if zone != "public" and origin.host != registry.host and (zone == "metadata" or zone != _zone(registry.host)):
        raise _refused(what, url, f"leads to a {zone} address")
    return url


def is_local(host: str) -> bool:
    """True for this machine: a loopback address, `localhost` or a name below it (without port)."""
    return _zone(host) == "loopback"


def _zone(host: str) -> _Zone:
    name = host.lower().rstrip(".").strip("[]")
    if name in _METADATA_NAMES:
        return "metadata"
    if name == "localhost" or name.endswith(".localhost"):
        return "loopback"
    address = _address(name)
    if address is None:
        return "public"
    if str(address) in _METADATA_ADDRESSES:
        return "metadata"
    if address.is_loopback:
        return "loopback"
    if address.is_link_local:
        return "link-local"
    return "unspecified" if address.is_unspecified else "public"


def _address(name: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        address = ipaddress.ip_address(name.partition("%")[0])
    except ValueError:
        try:
            # `127.1`, `0x7f000001` and `2130706433` are addresses to the resolver as well.
            return ipaddress.IPv4Address(socket.inet_aton(name))
        except (OSError, ValueError):
            return None
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is not None:
        return address.ipv4_mapped
    return address


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
