"""Plain downloads over HTTP: files, archives, indexes and APIs that are no registry.

Storage layer, over the registry client's wire: its redirects (credentials never leave their origin), gates, retries and
TLS. A body goes to a sink as it arrives, hashed and counted; after a break the rest is asked for where the server can.
"""

from __future__ import annotations

import base64
import hashlib
import json
import os
import re
from collections.abc import Callable, Mapping
from typing import Final, Protocol

import msgspec

from provender.errors import Denied, IntegrityError, InvalidProject, NotFound, RateLimited, Unauthorized, Unavailable
from provender.storage.registry.gate import Gates
from provender.storage.registry.origin import Origin
from provender.storage.registry.redact import printable, shown_url
from provender.storage.registry.retry import RetryPolicy, Timing
from provender.storage.registry.tls import TlsSettings
from provender.storage.registry.transport import Request, Transport
from provender.storage.registry.wire import Hop, Wire

__all__ = ["Download", "FileSink", "Sink", "WebClient", "basic_authorization"]

_CHUNK_BYTES: Final = 1 << 20
_MAX_URL: Final = 4096
_MAX_ETAG: Final = 1024
_CONTENT_RANGE: Final = re.compile(r"bytes (\d{1,18})-")


class Sink(Protocol):
    """Where a body goes. `restart` forgets what came, when a download begins anew."""

    def write(self, chunk: bytes, /) -> object: ...
    def restart(self) -> None: ...


class Download(msgspec.Struct, frozen=True, kw_only=True):
    """What came: how much, its sha256, and from where in the end."""

    url: str
    headers: Mapping[str, str]
    size_bytes: int
    sha256: str
    is_unchanged: bool = False
    """Nothing came: it is still what has the `unless` that was given."""

    @property
    def etag(self) -> str | None:
        """What tells this very content from any other at this address (RFC 9110, 8.8.3); a weak one does not."""
        etag = self.headers.get("etag", "")
        return etag if etag.startswith('"') and len(etag) <= _MAX_ETAG and etag.isprintable() else None


class WebClient:
    """Sends GET requests, side by side from several threads; one wire for each origin."""

    def __init__(
        self,
        transport: Transport,
        *,
        policy: RetryPolicy | None = None,
        timing: Timing | None = None,
        gates: Gates | None = None,
        announce: Callable[[str], None] | None = None,
    ) -> None:
        self._transport = transport
        self._policy = policy or RetryPolicy()
        self._timing = timing or Timing()
        self._gates = gates or Gates(timing=self._timing)
        self._announce = announce

    def download(
        self,
        url: str,
        sink: Sink,
        *,
        limit_bytes: int,
        authorization: str | None = None,
        accept: str = "*/*",
        unless: str | None = None,
        tick: Callable[[int], None] | None = None,
    ) -> Download:
        """The body of `url`, written to `sink`. `tick` hears of each piece's size, and may raise to end it.

        `unless` is the `etag` of what is known already: if it is still that, nothing is written (`is_unchanged`).

        Raises NotFound, Unauthorized, Denied, RateLimited or Unavailable by the status, IntegrityError (code
        `too-large`) for a body over the limit, InvalidProject for what is no http or https URL.
        """
        origin = _origin(url)
        wire = Wire(
            self._transport,
            origin,
            tls=TlsSettings(),
            policy=self._policy,
            timing=self._timing,
            gates=self._gates,
            announce=self._announce,
        )
        headers = {"Accept": accept}
        if authorization is not None:
            headers["Authorization"] = authorization
        if unless is not None:
            headers["If-None-Match"] = unless
        request = Request(method="GET", url=url, headers=headers)
        where = f"GET {shown_url(url)}"
        body = _Body(sink, limit_bytes, tick)
        result = wire.persist(lambda: _attempt(wire, request, body), replayable=True, where=where)
        if result.download is None:
            raise _failed(result, where, has_credentials=authorization is not None)
        return result.download

    def json(
        self, url: str, *, limit_bytes: int, authorization: str | None = None, accept: str = "application/json"
    ) -> tuple[object, Mapping[str, str]]:
        """The JSON behind `url`, and the answer's headers."""
        memory = _Memory()
        found = self.download(url, memory, limit_bytes=limit_bytes, authorization=authorization, accept=accept)
        try:
            return json.loads(memory.content), found.headers
        except (ValueError, RecursionError) as error:
            raise Unavailable(
                "the answer is no JSON",
                code="unusable-answer",
                where=f"GET {shown_url(url)}",
                hint="look at what the address gives in a browser",
                retryable=False,
                exit_status=69,
            ) from error

    def content(self, url: str, *, limit_bytes: int, authorization: str | None = None) -> bytes:
        """The whole body of `url`, which is small."""
        memory = _Memory()
        self.download(url, memory, limit_bytes=limit_bytes, authorization=authorization)
        return memory.content


def basic_authorization(username: str, password: str) -> str:
    """The header's value for a user name and a password (RFC 7617)."""
    return f"Basic {base64.b64encode(f'{username}:{password}'.encode()).decode()}"


class FileSink:
    """A sink that is an open file."""

    def __init__(self, fd: int) -> None:
        self._fd = fd

    def write(self, chunk: bytes, /) -> object:
        """Append to the file."""
        view = memoryview(chunk)
        while view:
            view = view[os.write(self._fd, view) :]
        return None

    def restart(self) -> None:
        """Begin the file anew."""
        os.ftruncate(self._fd, 0)
        os.lseek(self._fd, 0, os.SEEK_SET)


class _Memory:
    """A sink in memory."""

    def __init__(self) -> None:
        self._chunks: list[bytes] = []

    @property
    def content(self) -> bytes:
        return b"".join(self._chunks)

    def write(self, chunk: bytes, /) -> object:
        self._chunks.append(chunk)
        return None

    def restart(self) -> None:
        self._chunks.clear()


class _Result(msgspec.Struct, frozen=True):
    """One attempt: the download, or what was answered instead."""

    status: int
    headers: Mapping[str, str]
    text: str = ""
    download: Download | None = None


class _Body:
    """What of a body came so far, over all attempts."""

    def __init__(self, sink: Sink, limit_bytes: int, tick: Callable[[int], None] | None) -> None:
        self._sink = sink
        self._limit_bytes = limit_bytes
        self._tick = tick
        self._hasher = hashlib.sha256()
        self._size = 0
        self._etag: str | None = None

    @property
    def range_headers(self) -> dict[str, str]:
        """What asks for the rest alone, if the server said how to tell that it is the same file (RFC 9110, 13.1.5)."""
        if not self._size or self._etag is None:
            return {}
        return {"Range": f"bytes={self._size}-", "If-Range": self._etag}

    def is_rest(self, hop: Hop) -> bool:
        """True if the answer is the rest of the very file of which the beginning is here."""
        found = _CONTENT_RANGE.match(hop.headers.get("content-range", ""))
        is_next = found is not None and int(found[1]) == self._size
        return hop.status == 206 and is_next and hop.headers.get("etag", self._etag) == self._etag

    def begin(self, hop: Hop) -> None:
        """Forget what came: the answer has all of it."""
        self._sink.restart()
        self._hasher = hashlib.sha256()
        self._size = 0
        etag = hop.headers.get("etag", "")
        self._etag = etag if etag.startswith('"') else None  # a weak one does not tell bytes apart

    def forget(self) -> None:
        """Have the next attempt ask for all of it."""
        self._etag = None

    def take(self, hop: Hop) -> Download:
        """All that the answer has."""
        while chunk := hop.response.read(_CHUNK_BYTES):
            self._size += len(chunk)
            if self._size > self._limit_bytes:
                raise IntegrityError(
                    f"the answer has more than {self._limit_bytes} bytes",
                    code="too-large",
                    where=f"GET {shown_url(hop.url)}",
                    hint="nothing of it was kept; check the address",
                )
            self._hasher.update(chunk)
            self._sink.write(chunk)
            if self._tick is not None:
                self._tick(len(chunk))
        return Download(url=hop.url, headers=hop.headers, size_bytes=self._size, sha256=self._hasher.hexdigest())


def _attempt(wire: Wire, request: Request, body: _Body) -> _Result:
    asked = body.range_headers
    hop = wire.send(msgspec.structs.replace(request, headers={**request.headers, **asked}))
    if asked and hop.status in (206, 416) and not body.is_rest(hop):
        hop.response.close()
        body.forget()
        return _attempt(wire, request, body)
    if hop.status == 304 and "If-None-Match" in request.headers:
        hop.response.close()
        same = Download(url=hop.url, headers=hop.headers, size_bytes=0, sha256="", is_unchanged=True)
        return _Result(200, hop.headers, download=same)
    if hop.status != 200 and not (asked and hop.status == 206):
        answer = hop.answer(_CHUNK_BYTES)
        return _Result(hop.status, hop.headers, printable(answer.body.decode("utf-8", "replace"), 300))
    try:
        if hop.status == 200:
            body.begin(hop)
        return _Result(200, hop.headers, download=body.take(hop))
    finally:
        hop.response.close()


def _origin(url: str) -> Origin:
    if len(url) > _MAX_URL or any(ord(char) < 0x21 or ord(char) == 0x7F for char in url):
        raise _bad_url(url)
    try:
        return Origin.of(url)
    except Unavailable as error:
        raise _bad_url(url) from error


def _bad_url(url: str) -> InvalidProject:
    return InvalidProject(
        f"not an http or https URL: {printable(shown_url(url), 200)!r}",
        code="invalid-url",
        hint="write for example https://example.com/files/a.tar.gz",
    )


def _failed(result: _Result, where: str, *, has_credentials: bool) -> Exception:
    status = result.status
    said = f": {result.text}" if result.text and not result.text.startswith("<") else ""
    match status:
        case 404 | 410:
            return NotFound(
                f"the server has no such file ({status}){said}",
                code="not-found",
                where=where,
                hint="check the address, and the version in it",
            )
        case 401:
            hint = "the credentials were refused" if has_credentials else "give credentials for this address"
            return Unauthorized(f"the server wants credentials (401){said}", where=where, hint=hint)
        case 403:
            return Denied(f"the server refuses this (403){said}", where=where, hint="check the credentials, if any")
        case 429:
            return RateLimited(f"the server asks for a longer pause (429){said}", where=where, hint="try again later")
    is_temporary = status >= 500
    return Unavailable(
        f"Expected 200 OK, but was '{status}'{said}",
        code="unusable-answer",
        where=where,
        hint="try again later" if is_temporary else "check the address",
        retryable=is_temporary,
        exit_status=75 if is_temporary else 69,
    )
