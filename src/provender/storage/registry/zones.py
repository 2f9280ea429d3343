"""Zones: how near to this machine an address or a host name is. Pure.

Registry layer, below `origin`, which judges what a registry writes, and `network`, which judges what names resolve to.
"""

from __future__ import annotations

import ipaddress
import socket
from typing import Final, Literal

__all__ = ["Zone", "zone_of"]

Zone = Literal["public", "loopback", "link-local", "unspecified", "metadata"]
"""Private networks (RFC 1918, RFC 4193) count as public: self-hosted registries live there (oras-go #1631)."""

_METADATA_NAMES: Final = frozenset({"metadata", "metadata.google.internal", "metadata.goog", "instance-data"})
# Services that hand out credentials of the machine: of AWS (also in containers), Google, Azure, Oracle and Alibaba.
_METADATA_ADDRESSES: Final = frozenset(
    {
        "169.254.169.254",
        "169.254.170.2",
        "169.254.170.23",
        "168.63.129.16",
        "192.0.0.192",
        "100.100.100.200",
        "fd00:ec2::254",
        "fd00:ec2::23",
        "fd20:ce::254",
    }
)
_NAT64: Final = ipaddress.IPv6Network("64:ff9b::/96")
_IPV4_COMPATIBLE: Final = ipaddress.IPv6Network("::/96")

_Address = ipaddress.IPv4Address | ipaddress.IPv6Address


def zone_of(host: str) -> Zone:
    """The zone of an address, or of a name as far as the name alone tells (without port)."""
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


def _address(name: str) -> _Address | None:
    try:
        address = ipaddress.ip_address(name.partition("%")[0])
    except ValueError:
        try:
            # `127.1`, `0x7f000001` and `2130706433` are addresses to the resolver as well.
            return ipaddress.IPv4Address(socket.inet_aton(name))
        except (OSError, ValueError):
            return None
    return address if isinstance(address, ipaddress.IPv4Address) else _inner(address)


def _inner(address: ipaddress.IPv6Address) -> _Address:
    """The IPv4 address that a gateway makes of it, if there is one."""
    if (inner := address.ipv4_mapped or address.sixtofour) is not None:
        return inner
    if address in _NAT64 or (address in _IPV4_COMPATIBLE and int(address) > 0xFFFF):
        return ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
    return address
