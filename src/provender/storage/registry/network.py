"""The network: names to addresses, and connections to those that may be reached.

Registry layer, below the transport. A host that a registry leads to is judged by what its name resolves to, at the
moment of connecting and by the very addresses that are connected to: a name that resolves to another address the next
time gains nothing.
"""

from __future__ import annotations

import socket
from typing import Final

from provender.errors import Denied
from provender.storage.registry.zones import Zone, zone_of

__all__ = ["Network"]

_MAX_ADDRESSES: Final = 32


class Network:
    """The system's resolver and sockets."""

    def addresses(self, host: str, port: int) -> list[str]:
        """The addresses of a host, in the order in which they are to be tried; OSError without any."""
        # As bytes where that says the same: for text the resolver imports the tables of international names.
        name = host.encode("ascii") if host.isascii() else host
        found = socket.getaddrinfo(name, port, type=socket.SOCK_STREAM)
        return list(dict.fromkeys(str(entry[4][0]) for entry in found))[:_MAX_ADDRESSES]

    def connect(self, address: str, port: int, *, timeout_s: float) -> socket.socket:
        """A connection to an address; OSError if there is none. Nothing waits in it for more to be sent along."""
        numeric = socket.getaddrinfo(address.encode(), port, type=socket.SOCK_STREAM, flags=socket.AI_NUMERICHOST)
        family, kind, protocol, _, target = numeric[0]
        raw = socket.socket(family, kind, protocol)
        try:
            raw.settimeout(timeout_s)
            raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            raw.connect(target)
        except BaseException:
            raw.close()
            raise
        return raw

    def permitted(self, host: str, port: int, led_by: str | None) -> list[str]:
        """The addresses of `host`, all of them; Denied if one may not be reached from the registry `led_by`.

        None for a host that nobody led to: the user named it.
        """
        addresses = self.addresses(host, port)
        if led_by is None or led_by == host:
            return addresses
        zones = {zone: address for address in addresses if (zone := zone_of(address)) != "public"}
        if zones and not zones.keys() <= self._zones(led_by) - {"metadata"}:
            zone, address = next(iter(zones.items()))
            raise Denied(
                f"{led_by} leads to {host}, which is at a {zone} address ({address})",
                code="unsafe-target",
                hint="nothing was sent there; ask the operator of the registry whether this is meant",
            )
        return addresses

    def _zones(self, host: str) -> set[Zone]:
        try:
            return {zone_of(address) for address in self.addresses(host, 0)}
        except OSError:
            return {zone_of(host)}
