"""What provender speaks HTTP with: connections of its own, and urllib3 where a proxy is in between.

Registry layer, the implementation of the seam `transport`.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from types import TracebackType
from typing import TYPE_CHECKING, Final, Self

from provender import __version__
from provender.storage.registry.certs_d import CertificateDirectories
from provender.storage.registry.direct import DirectHttp, Peer
from provender.storage.registry.network import Network
from provender.storage.registry.origin import Origin
from provender.storage.registry.proxies import proxy_for
from provender.storage.registry.redact import header_lines, shown_url
from provender.storage.registry.tls import TlsSettings, tls_context
from provender.storage.registry.transport import Request, Response, TransportFailure

if TYPE_CHECKING:
    from provender.storage.registry.proxied import ProxiedHttp

__all__ = ["HttpTransport"]

# After the last byte of a large blob a registry hashes it, or copies it within its object store.
_PATIENCE_AFTER_UPLOAD: Final = 5
_MOST_HOSTS: Final = 256
_HEADERS: Final = {"User-Agent": f"provender/{__version__}", "Accept-Encoding": "identity"}


class HttpTransport:
    """A `Transport` that keeps `concurrency` idle connections for each host, TLS setting and proxy.

    `debug` receives request and answer lines without secrets; `network` and `certificates` are those of the
    system unless given. Nothing waits for a free connection: a caller that holds many answers open gets more
    connections than are kept.
    """

    def __init__(
        self,
        environ: Mapping[str, str],
        *,
        concurrency: int = 16,
        connect_timeout_s: float = 10,
        read_timeout_s: float = 60,
        proxy_local: bool = False,
        debug: Callable[[str], None] | None = None,
        network: Network | None = None,
        certificates: CertificateDirectories | None = None,
    ) -> None:
        self._environ = environ
        self._certificates = certificates or CertificateDirectories(environ)
        self._concurrency = concurrency
        self._timeouts = (connect_timeout_s, read_timeout_s)
        self._proxy_local = proxy_local
        self._debug = debug
        self._direct = DirectHttp(
            network or Network(),
            concurrency=concurrency,
            connect_timeout_s=connect_timeout_s,
            context=lambda settings: tls_context(settings, environ),
        )
        self._proxies: dict[Origin, str | None] = {}
        self._proxied: ProxiedHttp | None = None
        self._completed: dict[tuple[TlsSettings, Origin], TlsSettings] = {}
        self._lock = threading.Lock()

    def send(self, request: Request) -> Response:
        headers = {**_HEADERS, **request.headers}
        if self._debug is None:
            return self._sent(request, headers)
        self._debug("\n".join([f"> {request.method} {shown_url(request.url)}", *header_lines(headers)]))
        try:
            response = self._sent(request, headers)
        except TransportFailure as failure:
            self._debug(f"< {failure.kind}: {failure.message}")
            raise
        self._debug("\n".join([f"< {response.status} {shown_url(request.url)}", *header_lines(response.headers)]))
        return response

    def close(self) -> None:
        """Close every idle connection."""
        self._direct.close()
        with self._lock:
            proxied, self._proxied = self._proxied, None
        if proxied is not None:
            proxied.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None, /
    ) -> None:
        self.close()

    def _sent(self, request: Request, headers: Mapping[str, str]) -> Response:
        origin = Origin.of(request.url)
        proxy = self._proxy(origin, request.url)
        tls = self._tls(request.tls, origin) if origin.scheme == "https" else None
        silence_s = self._silence_s(request)
        if proxy is not None:
            # A proxy resolves names by itself: what lies behind it is its operator's to judge.
            return self._by_proxy().send(request, proxy, tls, headers=headers, silence_s=silence_s)
        return self._direct.send(
            Peer(origin, tls, request.led_by),
            request.method,
            request.url,
            headers=headers,
            body=request.body,
            silence_s=silence_s,
        )

    def _proxy(self, origin: Origin, url: str) -> str | None:
        try:
            return self._proxies[origin]
        except KeyError:
            if len(self._proxies) >= _MOST_HOSTS:
                self._proxies.clear()
            found = self._proxies[origin] = proxy_for(url, self._environ, local=self._proxy_local)
            return found

    def _by_proxy(self) -> ProxiedHttp:
        from provender.storage.registry.proxied import ProxiedHttp

        with self._lock:
            if self._proxied is None:
                self._proxied = ProxiedHttp(
                    concurrency=self._concurrency,
                    connect_timeout_s=self._timeouts[0],
                    context=lambda settings: tls_context(settings, self._environ),
                )
            return self._proxied

    def _silence_s(self, request: Request) -> float:
        read_s = max(self._timeouts[1], request.patience_s)
        if request.silence_s is not None:
            return min(read_s, request.silence_s)
        is_streamed = not isinstance(request.body, bytes | None)
        return read_s * _PATIENCE_AFTER_UPLOAD if is_streamed else read_s

    def _tls(self, settings: TlsSettings, origin: Origin) -> TlsSettings:
        """The settings of a request, with what certs.d says of the host that it goes to."""
        key = (settings, origin)
        with self._lock:
            if key not in self._completed:
                self._completed[key] = self._certificates.complete(*key)
            return self._completed[key]
