"""The network below urllib3: names to addresses, and connections to those that may be reached.

Registry layer, below the transport. A host that a registry leads to is judged by what its name resolves to, at the
moment of connecting and by the very addresses that are connected to: a name that resolves to another address the next
time gains nothing.
"""

from __future__ import annotations

import socket
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final

from provender.errors import Denied
from provender.storage.registry.zones import Zone, zone_of

if TYPE_CHECKING:
    from urllib3 import HTTPConnectionPool
    from urllib3.connection import HTTPConnection

__all__ = ["Network", "pool_classes"]

_MAX_ADDRESSES: Final = 32


class Network:
    """The system's resolver and sockets."""

    def addresses(self, host: str, port: int) -> list[str]:
        """The addresses of a host, in the order in which they are to be tried; OSError without any."""
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        return list(dict.fromkeys(str(entry[4][0]) for entry in found))[:_MAX_ADDRESSES]

    def connect(
        self, address: str, port: int, *, timeout: Any, options: Sequence[tuple[int, int, int | bytes]]
    ) -> socket.socket:
        """A connection to an address; OSError if there is none. `timeout` and `options` are urllib3's."""
        from urllib3.util.connection import create_connection

        return create_connection((address, port), timeout, socket_options=[*options])

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


def pool_classes(network: Network, led_by: str | None) -> dict[str, type[HTTPConnectionPool]]:
    """The pools of a urllib3 manager whose connections go through `network`, for hosts that `led_by` led to."""
    from urllib3 import HTTPConnectionPool, HTTPSConnectionPool
    from urllib3.connection import HTTPConnection, HTTPSConnection

    class Plain(HTTPConnection):
        def _new_conn(self) -> socket.socket:
            return _dial(self, network, led_by)

    class Tls(HTTPSConnection):
        def _new_conn(self) -> socket.socket:
            return _dial(self, network, led_by)

    class PlainPool(HTTPConnectionPool):
        ConnectionCls = Plain

    class TlsPool(HTTPSConnectionPool):
        ConnectionCls = Tls

    return {"http": PlainPool, "https": TlsPool}


def _dial(connection: HTTPConnection, network: Network, led_by: str | None) -> socket.socket:
    """What urllib3's own `_new_conn` does, with judged addresses."""
    from urllib3.exceptions import ConnectTimeoutError, NameResolutionError, NewConnectionError

    host, port = connection.host, connection.port
    try:
        addresses = network.permitted(host.strip("[]"), port, led_by)
    except socket.gaierror as error:
        raise NameResolutionError(host, connection, error) from error
    failure: OSError | None = None
    for address in addresses:
        try:
            return network.connect(address, port, timeout=connection.timeout, options=connection.socket_options or ())
        except TimeoutError as error:
            raise ConnectTimeoutError(connection, f"connection to {host} timed out") from error
        except OSError as error:
            failure = error
    raise NewConnectionError(connection, f"failed to establish a new connection: {failure}") from failure
