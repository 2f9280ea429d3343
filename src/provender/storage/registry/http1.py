"""HTTP/1.1 on a socket: the head of a request as bytes, the head of an answer from bytes, and its body piece by piece.

Registry layer, below `direct`, which has the connections. http.client with urllib3 on top takes several times the
processor time for a small answer (docs/benchmarks.md). Whatever the other side says is capped here: the length and the
lines of a head, chunk sizes, trailers, informational answers. RFC 9110 and 9112.
"""

from __future__ import annotations

import re
import struct
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from socket import SHUT_RDWR, SO_RCVTIMEO, SO_SNDTIMEO, SOL_SOCKET, socket
from time import monotonic
from typing import Final, NamedTuple
from urllib.parse import quote

from provender.storage.registry.transport import TransportFailure
from provender.storage.verify import CHUNK_BYTES

__all__ = ["Head", "Incoming", "Socket", "broke", "read_head", "request_head", "system_words", "tls_failure"]

_MAX_HEAD_BYTES: Final = 64 << 10
_MAX_HEADERS: Final = 200
_MAX_INFORMATIONAL: Final = 8
_MAX_CHUNK_LINE_BYTES: Final = 1 << 10
_RECEIVED_BYTES: Final = 64 << 10
_ENDLESS_S: Final = 1e9
_END_BYTES: Final = 3  # of the end of a head, without its last byte
_LINE_END = re.compile(rb"\r?\n")
_HEAD_END = re.compile(rb"\r?\n\r?\n")
_STATUS = re.compile(r"HTTP/1\.([01]) ([1-5][0-9]{2})(?: .*)?")
_HEADER = re.compile(r"^([!#$%&'*+.^_`|~0-9A-Za-z-]+):([^\0\n]*)$", re.MULTILINE)
_CHUNK = re.compile(rb"([0-9A-Fa-f]{1,15})[ \t]*(?:;[^\r\n]*)?\r?\n")
_URL = re.compile(r"[^:/]+://[^/?#]*([^#]*)", re.DOTALL)
_SAFE: Final = "/?:@!$&'()*+,;=-._~%[]|"
_TARGET = re.compile(r"[/?:@!$&'()*+,;=\-._~%\[\]|0-9A-Za-z]*")
_WITH_BODY: Final = ("POST", "PUT", "PATCH")
_UNLIMITED: Final = -1
# What OpenSSL says when the other side does not speak TLS at all.
_NOT_TLS_REASONS: Final = frozenset({"WRONG_VERSION_NUMBER", "HTTP_REQUEST", "PACKET_LENGTH_TOO_LONG"})


def request_head(method: str, url: str, host: str, headers: Mapping[str, str], body_bytes: int | None) -> bytes:
    """The head of a request with a body of so many bytes, or (None) of the length that its headers tell.

    What no request line may hold is encoded; TransportFailure for a header with a line break.
    """
    match = _URL.match(url)
    target = match[1] if match is not None else ""
    if _TARGET.fullmatch(target) is None:
        target = quote(target, safe=_SAFE)
    if not target.startswith("/"):
        target = f"/{target}"
    lines = [f"{method} {target} HTTP/1.1", f"Host: {host}"]
    lines += [f"{name}: {value}" for name, value in headers.items()]
    if (body_bytes or (body_bytes == 0 and method in _WITH_BODY)) and not _has_length(headers):
        lines.append(f"Content-Length: {body_bytes}")
    text = "\r\n".join((*lines, "", ""))
    if text.count("\n") != len(lines) + 1 or text.count("\r") != len(lines) + 1 or "\0" in text:
        raise TransportFailure("url", "not a usable URL or header: it holds a line break")
    try:
        return text.encode("latin-1")
    except UnicodeEncodeError:
        raise TransportFailure("url", "a header that is no Latin-1 text") from None


def _has_length(headers: Mapping[str, str]) -> bool:
    return any(name.lower() == "content-length" for name in headers)


class Head(NamedTuple):
    """The head of an answer. Header names are lower-case; repeated headers are joined by a comma."""

    status: int
    headers: dict[str, str]
    is_kept: bool  # the connection may be used again

    def length(self, method: str) -> int | None:
        """The length of the body; None for one in chunks, -1 for one that ends with the connection."""
        if method == "HEAD" or self.status in (204, 304):
            return 0
        coding = self.headers.get("transfer-encoding")
        if coding is not None:
            if coding.strip().lower() != "chunked":
                raise TransportFailure("broken", "the answer comes in a coding that nobody asked for")
            return None
        text = self.headers.get("content-length")
        if text is None:
            return _UNLIMITED
        said, *others = {part.strip() for part in text.split(",")} if "," in text else (text,)
        if others or not (said.isascii() and said.isdigit() and len(said) < 19):
            raise TransportFailure("broken", "the answer has no valid length")
        return int(said)


class Socket:
    """A connection with what was received and not used yet. One thread uses it; any may `end` it."""

    def __init__(self, raw: socket) -> None:
        self._raw = raw
        self._limit: tuple[float, bool] | None = None
        self._held = b""
        self._at = 0  # what comes before was used
        self._lock = threading.Lock()  # held while the file descriptor is waited for: it may not be given back then

    @property
    def raw(self) -> socket:
        """The socket itself."""
        return self._raw

    @property
    def is_spent(self) -> bool:
        """False if bytes are left that belong to no answer."""
        return self._at == len(self._held)

    def wait_at_most(self, seconds: float, *, is_streaming: bool = False) -> None:
        """How long the other side may say nothing. `is_streaming`: a file is to be sent, which asks for Python's way.

        Python's own limit costs a call of poll before each recv and send; the kernel's costs nothing.
        """
        is_kernels = sys.platform == "linux" and not is_streaming and type(self._raw) is socket
        if self._limit == (seconds, is_kernels):
            return
        if is_kernels:
            limit = struct.pack("@ll", int(seconds), int(seconds % 1 * 1e6))
            self._raw.setsockopt(SOL_SOCKET, SO_RCVTIMEO, limit)
            self._raw.setsockopt(SOL_SOCKET, SO_SNDTIMEO, limit)
        self._raw.settimeout(None if is_kernels else seconds)
        self._limit = (seconds, is_kernels)

    def send(self, content: bytes) -> None:
        """Send all of it; OSError as sockets raise it."""
        self._raw.sendall(content)

    def receive(self, most: int) -> bytes:
        """The next bytes; `b""` at the end of the connection."""
        if self._at < len(self._held):
            content = self._held[self._at : self._at + most]
            self._at += len(content)
            return content
        with self._lock:
            try:
                return self._raw.recv(most)
            except OSError as error:
                raise broke(error) from error

    def until(self, end: re.Pattern[bytes], most: int) -> bytes:
        """What comes up to and with `end`, at most so many bytes, and in no more time than silence may last."""
        begin, start = self._at, self._at
        ends_s = None
        while (match := end.search(self._held, start)) is None:
            if len(self._held) - begin > most:
                raise TransportFailure("broken", "the answer has lines that are too long")
            unused, self._at = self._held[begin:], len(self._held)
            more = self.receive(_RECEIVED_BYTES)
            if ends_s is None:
                ends_s = monotonic() + (_ENDLESS_S if self._limit is None else self._limit[0])
            elif monotonic() > ends_s:
                raise TransportFailure("timeout", "it sends next to nothing")
            if not more:
                raise TransportFailure("broken", "the connection broke: it was closed")
            self._held = unused + more
            begin, start = 0, max(0, len(unused) - _END_BYTES)
        self._at = match.end()
        if self._at - begin > most:
            raise TransportFailure("broken", "the answer has lines that are too long")
        return self._held[begin : self._at]

    def end(self) -> None:
        """Close the connection; a thread that reads from it is told at once."""
        # The socket's own method: that of a TLS socket takes the reader's TLS away under it.
        with suppress(OSError):
            socket.shutdown(self._raw, SHUT_RDWR)
        with self._lock, suppress(OSError):
            self._raw.close()


def read_head(source: Socket) -> Head:
    """The head of the answer, after informational ones."""
    for _ in range(_MAX_INFORMATIONAL):
        head = _parse(source.until(_HEAD_END, _MAX_HEAD_BYTES))
        if head.status >= 200:
            return head
        if head.status == 101:
            break
    raise TransportFailure("broken", "the connection broke: no answer but informational ones")


def _parse(raw: bytes) -> Head:
    first, _, rest = raw.decode("latin-1").rstrip("\r\n").partition("\n")
    status = _STATUS.fullmatch(first.rstrip("\r"))
    if status is None:
        raise TransportFailure("broken", "the connection broke: it does not speak HTTP/1.1")
    count = rest.count("\n") + bool(rest)
    if count > _MAX_HEADERS:
        raise TransportFailure("broken", f"the answer has more than {_MAX_HEADERS} headers")
    found = _HEADER.findall(rest)
    if len(found) != count:
        raise TransportFailure("broken", "the answer has a line that is no header")
    headers = {name.lower(): text.strip() for name, text in found}
    if len(headers) != count:
        headers = _joined(found)
    options = headers.get("connection", "").lower()
    is_kept = "close" not in options and (status[1] == "1" or "keep-alive" in options)
    # Both together are how requests are smuggled (RFC 9112, 6.3): what follows may be anybody's.
    is_kept = is_kept and not ("transfer-encoding" in headers and "content-length" in headers)
    return Head(int(status[2]), headers, is_kept)


def _joined(found: Sequence[tuple[str, str]]) -> dict[str, str]:
    """Headers of which some are repeated."""
    headers: dict[str, list[str]] = {}
    for name, text in found:
        headers.setdefault(name.lower(), []).append(text.strip())
    return {name: ", ".join(values) for name, values in headers.items()}


class Incoming:
    """A streamed answer (see `Response`). `release` gets the connection back at the end of the body, if it is kept."""

    def __init__(self, source: Socket, head: Head, method: str, release: Callable[[Socket], None]) -> None:
        self.status = head.status
        self.headers: Mapping[str, str] = head.headers
        self._source: Socket | None = source
        self._release = release
        self._is_kept = head.is_kept
        self._lock = threading.Lock()
        left = head.length(method)
        self._is_chunked = left is None
        self._left = left or 0  # of the body, or of the chunk
        if left == 0:
            self._done()

    def read(self, size: int = -1, /) -> bytes:
        """The next bytes as they arrive, at most `size` (1 MiB when negative); `b""` at the end."""
        source = self._source
        want = CHUNK_BYTES if size < 0 else size
        if source is None or not want:
            return b""
        if self._is_chunked and not self._left:
            self._left = self._next_chunk(source)
            if not self._left:
                self._done()
                return b""
        if self._left == _UNLIMITED:
            content = source.receive(want)
            if not content:
                self.close()
            return content
        content = source.receive(min(want, self._left))
        if not content:
            raise TransportFailure("broken", "the connection broke: it was closed")
        self._left -= len(content)
        if not self._left:
            if self._is_chunked:
                source.until(_LINE_END, 2)
            else:
                self._done()
        return content

    def close(self) -> None:
        """Let go of the connection; in the middle of an answer it ends, also for a thread that is in `read`."""
        with self._lock:
            source, self._source = self._source, None
        if source is not None:
            source.end()

    def _next_chunk(self, source: Socket) -> int:
        """The size of the next chunk; 0 after the last one and the trailers, which nobody asked for."""
        match = _CHUNK.fullmatch(source.until(_LINE_END, _MAX_CHUNK_LINE_BYTES))
        if match is None:
            raise TransportFailure("broken", "the answer has a chunk without a size")
        size = int(match[1], 16)
        if not size:
            left = _MAX_HEAD_BYTES
            while left > 0 and (line := source.until(_LINE_END, left)).strip():
                left -= len(line)
            if left <= 0:
                raise TransportFailure("broken", "the answer has trailers that are too long")
        return size

    def _done(self) -> None:
        with self._lock:
            source, self._source = self._source, None
        if source is None:
            return
        if self._is_kept and source.is_spent:
            self._release(source)
        else:
            source.end()


def broke(error: OSError) -> TransportFailure:
    """What a failure of an open connection is."""
    if isinstance(error, TimeoutError | BlockingIOError):  # Python's limit, the kernel's
        return TransportFailure("timeout", "no answer in time")
    # Only TLS sockets raise these, and then the module is there; importing it takes a while.
    if type(error).__module__ == "ssl":
        return tls_failure(error)
    return TransportFailure("broken", f"the connection broke: {system_words(error)}")


def system_words(error: OSError) -> str:
    """The system's words."""
    return (error.strerror or str(error) or "it was closed").lower()


def tls_failure(error: object) -> TransportFailure:
    """What a failure of TLS is."""
    import ssl

    if isinstance(error, ssl.SSLCertVerificationError):
        return TransportFailure("certificate", f"its certificate is not trusted: {error.verify_message}")
    if isinstance(error, ssl.SSLEOFError | ssl.SSLZeroReturnError):
        return TransportFailure("broken", "the connection broke within TLS")
    said = getattr(error, "reason", None)
    if said in _NOT_TLS_REASONS:
        return TransportFailure("not-tls", "it does not speak TLS")
    return TransportFailure("tls", f"TLS failed: {said or 'no reason given'}")
