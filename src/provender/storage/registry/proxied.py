"""Requests through a proxy, by urllib3, which knows how proxies are spoken to.

Registry layer, below the transport; imported only where a proxy is set.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import TYPE_CHECKING, Final

import msgspec
import urllib3
from urllib3 import exceptions

from provender.errors import InvalidProject, Unsupported
from provender.storage.abilities import BlobReader
from provender.storage.registry.http1 import tls_failure
from provender.storage.registry.redact import shown_url
from provender.storage.registry.tls import TlsSettings
from provender.storage.registry.transport import Request, Response, TransportFailure
from provender.storage.verify import CHUNK_BYTES

if TYPE_CHECKING:
    import ssl

    from urllib3 import BaseHTTPResponse, PoolManager

__all__ = ["ProxiedHttp"]

_SENT_BYTES: Final = 128 << 10


class ProxiedHttp:
    """urllib3: one pool manager for each TLS setting and proxy, `concurrency` idle connections kept for each host."""

    def __init__(
        self, *, concurrency: int, connect_timeout_s: float, context: Callable[[TlsSettings], ssl.SSLContext]
    ) -> None:
        self._concurrency = concurrency
        self._connect_timeout_s = connect_timeout_s
        self._context = context
        self._managers: dict[tuple[str, TlsSettings | None], PoolManager] = {}
        self._lock = threading.Lock()

    def send(
        self, request: Request, proxy: str, tls: TlsSettings | None, *, headers: Mapping[str, str], silence_s: float
    ) -> Response:
        """The answer to a request that goes through `proxy`, the URL of one."""
        manager = self._manager(proxy, tls)
        body = request.body if isinstance(request.body, bytes | None) else _Body(request.body)
        try:
            raw = manager.urlopen(
                request.method,
                request.url,
                body=body,
                headers=headers,
                retries=False,
                redirect=False,
                preload_content=False,
                decode_content=False,
                timeout=urllib3.Timeout(connect=self._connect_timeout_s, read=silence_s),
            )
        except _SourceFailed as error:
            raise error.reason from None
        except exceptions.HTTPError as error:
            raise _failure(error) from error
        return _HttpResponse(raw)

    def close(self) -> None:
        """Close every idle connection."""
        with self._lock:
            managers, self._managers = list(self._managers.values()), {}
        for manager in managers:
            manager.clear()

    def _manager(self, proxy: str, tls: TlsSettings | None) -> PoolManager:
        with self._lock:
            if (proxy, tls) not in self._managers:
                self._managers[proxy, tls] = self._new_manager(proxy, tls)
            return self._managers[proxy, tls]

    def _new_manager(self, proxy: str, tls: TlsSettings | None) -> PoolManager:
        target = _parsed_proxy(proxy)
        return urllib3.ProxyManager(
            target.url,
            32,
            proxy_headers=urllib3.make_headers(proxy_basic_auth=target.userinfo) if target.userinfo else None,
            maxsize=self._concurrency,
            blocksize=CHUNK_BYTES,
            ssl_context=None if tls is None else self._context(tls),
        )


class _Proxy(msgspec.Struct, frozen=True):
    url: str
    userinfo: str | None


def _parsed_proxy(proxy: str) -> _Proxy:
    from urllib.parse import unquote, urlsplit

    try:
        parts = urlsplit(proxy)
        host, port = parts.hostname, parts.port
    except ValueError as error:
        raise _bad_proxy(proxy) from error
    if parts.scheme not in ("http", "https"):
        raise Unsupported(
            f"proxies of the kind {parts.scheme!r} are not supported: {shown_url(proxy)}",
            code="unsupported-proxy",
            hint="name an http:// or https:// proxy in HTTPS_PROXY, or list the registry in NO_PROXY",
        )
    if not host:
        raise _bad_proxy(proxy)
    userinfo = parts.netloc.rpartition("@")[0]
    netloc = f"[{host}]" if ":" in host else host
    return _Proxy(f"{parts.scheme}://{netloc}" + (f":{port}" if port else ""), unquote(userinfo) or None)


def _bad_proxy(proxy: str) -> InvalidProject:
    return InvalidProject(
        f"the proxy variable does not hold a URL: {shown_url(proxy)[:200]!r}",
        code="invalid-proxy",
        hint="write HTTPS_PROXY=http://host:port",
    )


class _HttpResponse:
    """A urllib3 answer. `read1` is the fastest way out of urllib3 (readinto goes through its decoding buffer)."""

    def __init__(self, raw: BaseHTTPResponse) -> None:
        self._raw = raw
        self.status = int(raw.status)
        self.headers: Mapping[str, str] = {name.lower(): value for name, value in raw.headers.itermerged()}

    def read(self, size: int = -1, /) -> bytes:
        want = CHUNK_BYTES if size < 0 else size
        try:
            return self._raw.read1(want, decode_content=False) or b""
        except exceptions.HTTPError as error:
            raise _failure(error) from error

    def close(self) -> None:
        # docker-registry 2.8 promises a body for 416 and sends none: it cannot be drained.
        if self._raw.length_remaining == 0 and self.status != 416:
            self._raw.drain_conn()
        else:
            # A thread that is in a read holds the stream, and closing would wait for it: end the connection first.
            with suppress(ValueError, RuntimeError, OSError):
                self._raw.shutdown()
            self._raw.close()
        self._raw.release_conn()


class _Body:
    """A streamed body whose own failures pass through urllib3, which would take them for failures of the connection."""

    def __init__(self, reader: BlobReader) -> None:
        self._reader = reader

    def read(self, size: int = -1, /) -> bytes:
        try:
            return self._reader.read(_SENT_BYTES if size < 0 else min(size, _SENT_BYTES))
        except (OSError, TransportFailure) as error:
            raise _SourceFailed(error) from error


class _SourceFailed(Exception):
    def __init__(self, reason: OSError | TransportFailure) -> None:
        super().__init__(str(reason))
        self.reason = reason


def _failure(error: exceptions.HTTPError) -> TransportFailure:
    match error:
        case exceptions.ProxyError():
            cause = error.original_error
            inner = _failure(cause) if isinstance(cause, exceptions.HTTPError) else None
            return TransportFailure("proxy", f"the proxy failed: {inner.message if inner else _reason(cause)}")
        case exceptions.SSLError():
            return tls_failure(error.args[0] if error.args else None)
        case exceptions.NameResolutionError():
            return TransportFailure("dns", "the host name cannot be resolved")
        case exceptions.NewConnectionError():
            return TransportFailure("connect", f"cannot connect: {_reason(error)}")
        case exceptions.TimeoutError():
            return TransportFailure("timeout", "no answer in time")
        case exceptions.LocationValueError():
            return TransportFailure("url", "not a usable URL")
        case _:
            return TransportFailure("broken", f"the connection broke: {_reason(error)}")


def _reason(error: BaseException | None) -> str:
    """The system's words for what is at the bottom of an exception."""
    seen = 0
    while error is not None and seen < 8:
        if isinstance(error, OSError) and error.strerror:
            return error.strerror.lower()
        if isinstance(error, OSError) and error.args and isinstance(error.args[0], str):
            return error.args[0]  # such as the answer of a proxy to CONNECT
        nested = next((item for item in error.args if isinstance(item, BaseException)), None)
        error, seen = error.__cause__ or nested or error.__context__, seen + 1
    return "it was closed"
