"""The transport: one HTTP request out, one streamed answer back. No redirects, retries, cookies or credentials here.

`Transport` is the seam for another HTTP library; `HttpTransport` is urllib3 in threads. Below the wire, which adds
redirects and retries, and the session, which adds credentials.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from contextlib import suppress
from types import TracebackType
from typing import TYPE_CHECKING, Final, Literal, Protocol, Self

import msgspec

from provender import __version__
from provender.errors import InvalidProject, Unsupported
from provender.storage.abilities import BlobReader
from provender.storage.registry.certs_d import CertificateDirectories
from provender.storage.registry.network import Network, pool_classes
from provender.storage.registry.origin import Origin
from provender.storage.registry.proxies import proxy_for
from provender.storage.registry.redact import header_lines, shown_url
from provender.storage.registry.tls import TlsSettings, tls_context
from provender.storage.verify import CHUNK_BYTES

if TYPE_CHECKING:
    from urllib3 import BaseHTTPResponse, PoolManager, Timeout
    from urllib3.exceptions import HTTPError

__all__ = ["FailureKind", "HttpTransport", "Request", "Response", "Transport", "TransportFailure"]

FailureKind = Literal["connect", "dns", "timeout", "broken", "proxy", "certificate", "not-tls", "tls", "url"]

# After the last byte of a large blob a registry hashes it, or copies it within its object store.
_PATIENCE_AFTER_UPLOAD: Final = 5
# One send may take as long as a connect, however slow the line is; larger pieces are not faster (measured).
_SENT_BYTES: Final = 128 << 10
_TEMPORARY: Final = frozenset({"connect", "dns", "timeout", "broken", "proxy"})
# What OpenSSL says when the other side does not speak TLS at all.
_NOT_TLS_REASONS: Final = frozenset({"WRONG_VERSION_NUMBER", "HTTP_REQUEST", "PACKET_LENGTH_TOO_LONG"})


class Request(msgspec.Struct, frozen=True, kw_only=True):
    """One HTTP request. A streamed body needs its `Content-Length` among the headers.

    `silence_s` shortens how long the other side may say nothing. `led_by` is the registry's host where a registry chose
    the target, which then may not be nearer to this machine than the registry is.
    """

    method: str
    url: str
    headers: dict[str, str] = {}
    body: bytes | BlobReader | None = None
    tls: TlsSettings = TlsSettings()
    silence_s: float | None = None
    led_by: str | None = None

    @property
    def is_replayable(self) -> bool:
        """True if sending it twice is the same as once, and its body can be sent twice.

        Opening an upload (POST without body) twice leaves one that the registry forgets. A chunk twice (PATCH) may be
        there twice: docker-registry 2.8 appends it whatever its range says.
        """
        return self.is_repeatable and self.method not in ("DELETE", "PATCH")

    @property
    def is_repeatable(self) -> bool:
        """True if its body can be sent twice, which is safe if the first time was refused."""
        return self.body is None or isinstance(self.body, bytes)


class Response(Protocol):
    """A streamed answer. Header names are lower-case; repeated headers are joined by a comma."""

    @property
    def status(self) -> int: ...
    @property
    def headers(self) -> Mapping[str, str]: ...
    def read(self, size: int = -1, /) -> bytes:
        """The next bytes as they arrive, at most `size`; `b""` at the end. Raises TransportFailure if it breaks."""
        ...

    def close(self) -> None: ...


class Transport(Protocol):
    """Sends requests; safe to use from several threads."""

    def send(self, request: Request) -> Response:
        """The answer, whatever its status. Raises TransportFailure if there is none."""
        ...


class TransportFailure(Exception):
    """No answer, or one that broke: `kind` says at which step, the text is for people.

    Not an error of the tree: the wire and the download turn it into one, or try again. `origin` is the server that was
    asked, where that is known.
    """

    def __init__(self, kind: FailureKind, message: str, origin: Origin | None = None) -> None:
        super().__init__(message)
        self.kind: FailureKind = kind
        self.message = message
        self.origin = origin

    @property
    def is_temporary(self) -> bool:
        """True if trying again may help."""
        return self.kind in _TEMPORARY


class HttpTransport:
    """urllib3: one pool manager for each TLS setting and proxy, `concurrency` idle connections kept for each host.

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
        self._network = network
        self._certificates = certificates or CertificateDirectories(environ)
        self._completed: dict[tuple[TlsSettings, Origin], TlsSettings] = {}
        self._concurrency = concurrency
        self._timeouts = (connect_timeout_s, read_timeout_s)
        self._proxy_local = proxy_local
        self._debug = debug
        self._managers: dict[tuple[TlsSettings | None, str | None, str | None], PoolManager] = {}
        self._lock = threading.Lock()

    def send(self, request: Request) -> Response:
        from urllib3.exceptions import HTTPError

        manager = self._manager(request)
        headers = {"User-Agent": f"provender/{__version__}", "Accept-Encoding": "identity", **request.headers}
        if self._debug is not None:
            self._debug("\n".join([f"> {request.method} {shown_url(request.url)}", *header_lines(headers)]))
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
                timeout=self._timeout(request),
            )
        except _SourceFailed as error:
            raise error.reason from None
        except HTTPError as error:
            failure = _failure(error)
            if self._debug is not None:
                self._debug(f"< {failure.kind}: {failure.message}")
            raise failure from error
        response = _HttpResponse(raw)
        if self._debug is not None:
            self._debug("\n".join([f"< {raw.status} {shown_url(request.url)}", *header_lines(response.headers)]))
        return response

    def close(self) -> None:
        """Close every idle connection."""
        with self._lock:
            managers, self._managers = list(self._managers.values()), {}
        for manager in managers:
            manager.clear()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None, /
    ) -> None:
        self.close()

    def _timeout(self, request: Request) -> Timeout:
        import urllib3

        connect_s, read_s = self._timeouts
        if request.silence_s is not None:
            read_s = min(read_s, request.silence_s)
        elif request.body is not None and not isinstance(request.body, bytes):
            read_s *= _PATIENCE_AFTER_UPLOAD
        return urllib3.Timeout(connect=connect_s, read=read_s)

    def _manager(self, request: Request) -> PoolManager:
        proxy = proxy_for(request.url, self._environ, local=self._proxy_local)
        tls = self._tls(request) if request.url.startswith("https:") else None
        # A proxy resolves names by itself: what lies behind it is its operator's to judge.
        key = (tls, proxy, request.led_by if proxy is None else None)
        with self._lock:
            if key not in self._managers:
                self._managers[key] = self._new_manager(*key)
            return self._managers[key]

    def _tls(self, request: Request) -> TlsSettings:
        """The settings of the request, with what certs.d says of the host that it goes to."""
        key = (request.tls, Origin.of(request.url))
        with self._lock:
            if key not in self._completed:
                self._completed[key] = self._certificates.complete(*key)
            return self._completed[key]

    def _new_manager(self, tls: TlsSettings | None, proxy: str | None, led_by: str | None) -> PoolManager:
        import urllib3

        context = None if tls is None else tls_context(tls, self._environ)
        if proxy is None:
            manager = urllib3.PoolManager(32, maxsize=self._concurrency, blocksize=CHUNK_BYTES, ssl_context=context)
            if led_by is not None or self._network is not None:
                manager.pool_classes_by_scheme = pool_classes(self._network or Network(), led_by)
            return manager
        target = _parsed_proxy(proxy)
        return urllib3.ProxyManager(
            target.url,
            32,
            proxy_headers=urllib3.make_headers(proxy_basic_auth=target.userinfo) if target.userinfo else None,
            maxsize=self._concurrency,
            blocksize=CHUNK_BYTES,
            ssl_context=context,
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
        self.headers: Mapping[str, str] = {name.lower(): value for name, value in raw.headers.items()}

    def read(self, size: int = -1, /) -> bytes:
        from urllib3.exceptions import HTTPError

        want = CHUNK_BYTES if size < 0 else size
        try:
            return self._raw.read1(want, decode_content=False) or b""
        except HTTPError as error:
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


def _failure(error: HTTPError) -> TransportFailure:
    from urllib3 import exceptions

    match error:
        case exceptions.ProxyError():
            cause = error.original_error
            inner = _failure(cause) if isinstance(cause, exceptions.HTTPError) else None
            return TransportFailure("proxy", f"the proxy failed: {inner.message if inner else _reason(cause)}")
        case exceptions.SSLError():
            return _tls_failure(error)
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


def _tls_failure(error: HTTPError) -> TransportFailure:
    import ssl

    inner = error.args[0] if error.args else None
    if isinstance(inner, ssl.SSLCertVerificationError):
        return TransportFailure("certificate", f"its certificate is not trusted: {inner.verify_message}")
    if isinstance(inner, ssl.SSLEOFError | ssl.SSLZeroReturnError):
        return TransportFailure("broken", "the connection broke within TLS")
    if isinstance(inner, ssl.SSLError) and inner.reason in _NOT_TLS_REASONS:
        return TransportFailure("not-tls", "it does not speak TLS")
    return TransportFailure("tls", f"TLS failed: {getattr(inner, 'reason', None) or 'no reason given'}")


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
