"""Which hosts a request may name: on loopback only this machine's own, against DNS rebinding. Server layer."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable

from provender.server.calls import Call
from provender.server.replies import Problem

__all__ = ["HostRule", "is_loopback"]

_HOST = re.compile(r"(\[[0-9A-Fa-f:.]+\]|[^:\[\]]+)(?::[0-9]{1,5})?")


class HostRule:
    """Refuses requests for other hosts, and those that a page of another site makes a browser send.

    A name of an attacker that resolves to 127.0.0.1 makes a browser speak to us with that name in `Host`.
    """

    def __init__(self, allowed: Iterable[str] = (), *, check_host: bool = True) -> None:
        self._allowed = frozenset(name.lower() for name in allowed)
        self._check_host = check_host

    def check(self, call: Call) -> None:
        """Nothing, or Problem 403."""
        host = call.header("host")
        if self._check_host and host is not None and not self._is_allowed(host):
            raise Problem(403, "DENIED", "this registry is for its own machine, and does not answer to that host name")
        origin = call.header("origin")
        if origin is not None and not call.is_reading and origin.partition("://")[2] != host:
            raise Problem(403, "DENIED", "pages of other sites may not write here")

    def _is_allowed(self, host: str) -> bool:
        match = _HOST.fullmatch(host)
        if match is None:
            return False
        name = match[1].lower()
        return is_loopback(name.strip("[]")) or name in self._allowed


def is_loopback(host: str) -> bool:
    """True for an address or name that means this machine wherever it is resolved."""
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
