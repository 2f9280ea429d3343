"""A proxy as repository managers are: it serves a registry below a prefix of the path, over a real socket.

`/v2/PREFIX/name/…` becomes `/v2/name/…` upstream; what the registry says about its own paths is rewritten back. Nothing
is known elsewhere: without the prefix everything is 404.
"""

from __future__ import annotations

import http.client
from typing import Self

from support.faults import Action
from support.registry import TestRegistry
from support.registry_content import Reply, Request
from support.registry_server import Server

__all__ = ["PathProxy"]

_KEPT = ("content-type", "content-range", "docker-content-digest", "www-authenticate", "oci-subject")


class PathProxy:
    """The proxy of `registry` at `host`, below `prefix`; `requests` is what arrived, as it arrived."""

    def __init__(self, registry: TestRegistry, prefix: str) -> None:
        self.prefix = prefix
        self.requests: list[Request] = []
        self._registry = registry
        self._server = Server(self._answer, lambda _: None, None)

    def __enter__(self) -> Self:
        self._server.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        self._server.stop()
        if kind is None and self._server.errors:
            raise RuntimeError("the proxy failed") from self._server.errors[0]

    @property
    def host(self) -> str:
        """`127.0.0.1:PORT`."""
        return f"127.0.0.1:{self._server.port}"

    @property
    def location(self) -> str:
        """What an alias is bound to."""
        return f"{self.host}/{self.prefix}"

    def _answer(self, request: Request, _fault: Action | None) -> Reply:
        self.requests.append(request)
        if request.path in ("/v2", "/v2/"):
            return Reply(200, {"Content-Type": "application/json"}, b"{}")
        below = request.target.removeprefix(f"/v2/{self.prefix}/")
        if below == request.target:
            return Reply(404, {"Content-Type": "text/plain"}, b"no such repository key\n")
        connection = http.client.HTTPConnection(self._registry.host, timeout=20)
        try:
            headers = {name: value for name, value in request.headers.items() if name != "host"}
            connection.request(request.method, f"/v2/{below}", body=request.body or None, headers=headers)
            answer = connection.getresponse()
            body = answer.read()
        finally:
            connection.close()
        found = {name: value for name, value in answer.getheaders() if name.lower() in _KEPT}
        if request.method == "HEAD" and (length := answer.getheader("Content-Length")):
            found["Content-Length"] = length
        for name in ("Location", "Link"):
            if value := answer.getheader(name):
                found[name] = value.replace("/v2/", f"/v2/{self.prefix}/", 1)
        return Reply(answer.status, found, body)
