"""Connections that go straight to a host: dialled through the network's judgement, with TLS, kept for the next request.

Registry layer, below the transport; what passes over a connection is `http1`'s. Nothing waits for a free connection.
"""

from __future__ import annotations

import select
import threading
from collections import OrderedDict
from collections.abc import Callable, Mapping
from functools import lru_cache, partial
from socket import gaierror, socket
from typing import TYPE_CHECKING, Final, NamedTuple

from provender.storage.abilities import BlobReader
from provender.storage.registry.http1 import Incoming, Socket, broke, read_head, request_head, system_words
from provender.storage.registry.network import Network
from provender.storage.registry.origin import Origin
from provender.storage.registry.tls import TlsSettings
from provender.storage.registry.transport import Response, TransportFailure

if TYPE_CHECKING:
    import ssl

__all__ = ["DirectHttp", "Peer"]

# One send may take as long as a connect, however slow the line is; larger pieces are not faster (measured). Nor is
# `sendfile`: on loopback it hands out single pages, which cost who receives them more than it saves here.
_SENT_BYTES: Final = 128 << 10
_SMALL_BYTES: Final = 16 << 10  # goes along with the head
_MOST_PEERS: Final = 64


class Peer(NamedTuple):
    """Whom a connection leads to, and what makes two of them different: a kept one is used for the same alone."""

    origin: Origin
    tls: TlsSettings | None
    led_by: str | None


class DirectHttp:
    """`concurrency` idle connections are kept for each peer. Safe from several threads."""

    def __init__(
        self,
        network: Network,
        *,
        concurrency: int,
        connect_timeout_s: float,
        context: Callable[[TlsSettings], ssl.SSLContext],
    ) -> None:
        self._network = network
        self._concurrency = concurrency
        self._connect_timeout_s = connect_timeout_s
        self._context = context
        self._contexts: dict[TlsSettings, ssl.SSLContext] = {}
        self._idle: OrderedDict[Peer, list[Socket]] = OrderedDict()
        self._lock = threading.Lock()

    def send(
        self,
        peer: Peer,
        method: str,
        url: str,
        *,
        headers: Mapping[str, str],
        body: bytes | BlobReader | None,
        silence_s: float,
    ) -> Response:
        """The answer; TransportFailure if there is none, and what the body's reader raises."""
        length = len(body or b"") if isinstance(body, bytes | None) else None
        head = request_head(method, url, _host(peer.origin), headers, length)
        source = self._kept(peer) or self._dial(peer)
        is_good = False
        try:
            source.wait_at_most(silence_s, is_streaming=length is None)
            is_kept = _send(source, head, body)
            answer = read_head(source)
            if not is_kept:
                answer = answer._replace(is_kept=False)
            incoming = Incoming(source, answer, method, partial(self._keep, peer))
            is_good = True
            return incoming
        finally:
            if not is_good:
                source.end()

    def close(self) -> None:
        """Close every idle connection."""
        with self._lock:
            idle = [source for sources in self._idle.values() for source in sources]
            self._idle.clear()
        for source in idle:
            source.end()

    def _kept(self, peer: Peer) -> Socket | None:
        while True:
            with self._lock:
                sources = self._idle.get(peer)
                if not sources:
                    return None
                source = sources.pop()
            # What has something to say now was closed by the other side, or says what nobody asked for.
            if not _is_readable(source.raw):
                return source
            source.end()

    def _keep(self, peer: Peer, source: Socket) -> None:
        with self._lock:
            sources = self._idle.setdefault(peer, [])
            surplus = [source] if len(sources) >= self._concurrency else []
            if not surplus:
                sources.append(source)
            if len(self._idle) > _MOST_PEERS:
                surplus += self._idle.popitem(last=False)[1]
        for other in surplus:
            other.end()

    def _dial(self, peer: Peer) -> Socket:
        origin = peer.origin
        context = None if peer.tls is None else self._tls(peer.tls)
        try:
            addresses = self._network.permitted(origin.host, origin.port, peer.led_by)
        except (gaierror, UnicodeError) as error:
            raise TransportFailure("dns", "the host name cannot be resolved") from error
        failure: OSError | None = None
        for address in addresses:
            try:
                raw = self._network.connect(address, origin.port, timeout_s=self._connect_timeout_s)
            except TimeoutError as error:
                raise TransportFailure("timeout", "no answer in time") from error
            except OSError as error:
                failure = error
                continue
            return Socket(raw if context is None else _secured(raw, origin.host, context))
        words = "it has no address" if failure is None else system_words(failure)
        raise TransportFailure("connect", f"cannot connect: {words}") from failure

    def _tls(self, settings: TlsSettings) -> ssl.SSLContext:
        with self._lock:
            context = self._contexts.get(settings)
            if context is None:
                context = self._contexts[settings] = self._context(settings)
                context.set_alpn_protocols(["http/1.1"])
            return context


def _secured(raw: socket, host: str, context: ssl.SSLContext) -> socket:
    is_done = False
    try:
        secured = context.wrap_socket(raw, server_hostname=host)
        is_done = True
        return secured
    except OSError as error:
        raise broke(error) from error
    finally:
        if not is_done:
            raw.close()


@lru_cache(maxsize=_MOST_PEERS)
def _host(origin: Origin) -> str:
    return str(origin).partition("://")[2]


def _is_readable(raw: socket) -> bool:
    if hasattr(select, "poll"):
        poll = select.poll()  # select itself knows no descriptors from 1024 on
        poll.register(raw, select.POLLIN)
        return bool(poll.poll(0))
    return bool(select.select([raw], [], [], 0)[0])


def _send(source: Socket, head: bytes, body: bytes | BlobReader | None) -> bool:
    """Send the request; False if the other side stopped to listen, and may have said why."""
    if body is None or (isinstance(body, bytes) and len(body) <= _SMALL_BYTES):
        return _said(source, head + (body or b""))
    if isinstance(body, bytes):
        return _said(source, head) and _said(source, body)
    if not _said(source, head + body.read(_SENT_BYTES)):
        return False
    while piece := body.read(_SENT_BYTES):
        if not _said(source, piece):
            return False
    return True


def _said(source: Socket, content: bytes) -> bool:
    try:
        source.send(content)
    except (BrokenPipeError, ConnectionResetError):
        return False
    except OSError as error:
        raise broke(error) from error
    return True
