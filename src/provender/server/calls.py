"""One request as handlers see it, and how an answer leaves: over raw ASGI, with time limits on a client's every step.

Server layer.
"""

from __future__ import annotations

import asyncio
import io
import time
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import Executor
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final, TypeVar
from urllib.parse import parse_qs

from provender.server.bursts import BURST_BYTES, Direct
from provender.server.limits import Limits
from provender.server.replies import Problem, Reply
from provender.storage.abilities import BlobReader

if TYPE_CHECKING:
    from starlette.types import Receive, Scope, Send

__all__ = ["ABORT", "DIRECT", "Call", "ClientGone"]

ABORT: Final = "provender.abort"
"""The scope extension that ends the connection at once; whoever runs the application may offer it."""

DIRECT: Final = "provender.direct"
"""The scope extension that moves large bodies below HTTP: `Direct`."""

_T = TypeVar("_T")

_SMALL_BYTES: Final = 128 << 10
_CHUNK_BYTES: Final = 1 << 20
_MANY_CHUNK_BYTES: Final = 256 << 10
_MANY_STREAMS: Final = 24
_LOT_BYTES: Final = 2 << 20
_MANY_LOT_BYTES: Final = 512 << 10
_MANY_LOTS: Final = 4
_MAX_PIECE_BYTES: Final = 8 << 20
_QUICK_S: Final = 0.5
_AT_ONCE_S: Final = 0.05
_MANY_BURSTS: Final = 4


class ClientGone(Exception):
    """The client went away, or was too slow: there is nobody to answer."""


class Streams:
    """How many bodies are on their way: with many, each gets a smaller share of the memory."""

    def __init__(self) -> None:
        self.running = 0
        self._bursts = 0

    @contextmanager
    def burst(self) -> Iterator[bool]:
        """True while the block runs if there may be one more burst: most threads are kept for short work."""
        is_granted = self._bursts < _MANY_BURSTS
        self._bursts += is_granted
        try:
            yield is_granted
        finally:
            self._bursts -= is_granted

    @contextmanager
    def one_more(self) -> Iterator[None]:
        """A body that is on its way while the block runs."""
        self.running += 1
        try:
            yield
        finally:
            self.running -= 1

    @property
    def lot_bytes(self) -> int:
        """How much of a body that arrives is gathered before it is written: few large lots cost least."""
        return _LOT_BYTES if self.running <= _MANY_LOTS else _MANY_LOT_BYTES

    @property
    def chunk_bytes(self) -> int:
        return _CHUNK_BYTES if self.running <= _MANY_STREAMS else _MANY_CHUNK_BYTES


class Call:
    """A request: its head parsed, its body to be read once."""

    def __init__(
        self, scope: Scope, receive: Receive, send: Send, *, limits: Limits, executor: Executor, streams: Streams
    ) -> None:
        self.method: str = scope["method"]
        self.path: str = scope["path"]
        self.scope = scope
        self.limits = limits
        self.user: str | None = None
        self.bytes_in = 0
        self.bytes_out = 0
        self.status = 0
        self._receive = receive
        self._send = send
        self._executor = executor
        self.streams = streams
        self._headers: dict[str, str] = {}
        for name, value in scope["headers"]:
            self._headers.setdefault(name.decode("latin-1"), value.decode("latin-1"))
        self._query: dict[str, list[str]] | None = None

    @property
    def is_reading(self) -> bool:
        """True for GET and HEAD."""
        return self.method in ("GET", "HEAD")

    def header(self, name: str) -> str | None:
        """The first header of that lower-case name."""
        return self._headers.get(name)

    def values(self, name: str) -> list[str]:
        """Every value of a query parameter."""
        if self._query is None:
            text = self.scope["query_string"].decode("latin-1")
            try:
                self._query = parse_qs(text, keep_blank_values=True, max_num_fields=self.limits.query_fields)
            except ValueError as error:
                raise Problem(414, "UNSUPPORTED", "the query has too many fields") from error
        return self._query.get(name, [])

    def value(self, name: str) -> str | None:
        """The first value of a query parameter."""
        found = self.values(name)
        return found[0] if found else None

    def number(self, name: str) -> int | None:
        """A query parameter that is a number from 0 on; Problem 400 if it is something else."""
        text = self.value(name)
        if text is None:
            return None
        if not text.isascii() or not text.isdigit() or len(text) > 18:
            raise Problem(400, "PAGINATION_NUMBER_INVALID", f"{name} is not a number")
        return int(text)

    def content_length(self) -> int | None:
        """The declared length of the body; None for a streamed one."""
        text = self.header("content-length")
        if text is None:
            return None
        if not text.isascii() or not text.isdigit() or len(text) > 18:
            raise Problem(400, "SIZE_INVALID", "Content-Length is not a number")
        return int(text)

    async def run(self, function: Callable[[], _T]) -> _T:
        """The result of `function`, run by a thread: for whatever may wait for a disk or a lock."""
        return await asyncio.get_running_loop().run_in_executor(self._executor, function)

    async def chunks(self) -> AsyncIterator[bytes]:
        """The body as it comes; raises ClientGone if it ends early or stands still for too long."""
        while True:
            try:
                async with asyncio.timeout(self.limits.idle_s):
                    message = await self._receive()
            except TimeoutError as error:
                self._abort()
                raise ClientGone from error
            if message["type"] != "http.request":
                raise ClientGone
            body = message.get("body", b"")
            if body:
                self.bytes_in += len(body)
                yield body
            if not message.get("more_body", False):
                return

    async def burst(self, keep: Callable[[Iterator[memoryview]], None]) -> int:
        """Have a thread `keep` what comes of the body after the last chunk; how much it was, 0 if none can now."""
        if (direct := self._direct()) is None:
            return 0
        with self.streams.burst() as is_granted:
            taken = await direct.receive_burst(self.run, keep) if is_granted else 0
        self.bytes_in += taken
        return taken

    async def whole(self, limit: int) -> bytes:
        """The body in memory; Problem 413 if it has more than `limit` bytes."""
        too_large = Problem(413, "SIZE_INVALID", f"the content is over the limit of {limit} bytes")
        if (self.content_length() or 0) > limit:
            raise too_large
        parts: list[bytes] = []
        total = 0
        async for chunk in self.chunks():
            total += len(chunk)
            if total > limit:
                raise too_large
            parts.append(chunk)
        return b"".join(parts)

    async def answer(self, reply: Reply) -> None:
        """Send the answer, and close its reader."""
        self.status = reply.status
        length = reply.length if reply.reader is not None else len(reply.body)
        headers = [(name.lower().encode("latin-1"), value.encode("latin-1")) for name, value in reply.headers]
        if reply.status not in (204, 304) and not any(name == b"content-length" for name, _ in headers):
            headers.append((b"content-length", b"%d" % length))
        try:
            await self._put({"type": "http.response.start", "status": reply.status, "headers": headers})
            if self.method == "HEAD" or reply.status in (204, 304):
                await self._put({"type": "http.response.body"})
            elif reply.reader is None:
                await self._body(reply.body, more=False)
            else:
                await self._stream(reply)
        finally:
            if reply.reader is not None:
                reply.reader.close()

    async def _stream(self, reply: Reply) -> None:
        reader, left = reply.reader, reply.length
        if reader is None:
            return
        if left <= _SMALL_BYTES:
            # One read that the page cache answers: a thread would cost more than it takes.
            await self._body(_exactly(reader.read, left), more=False)
            return
        if (direct := self._direct()) is not None and isinstance(reader, io.FileIO):
            await self._send_file(direct, reader, left)
            return
        with self.streams.one_more():
            await self._stream_ahead(reader, left)

    async def _stream_ahead(self, reader: BlobReader, left: int) -> None:
        ahead = self._ahead(reader.read, min(self.streams.chunk_bytes, left))
        try:
            while left:
                chunk = await ahead
                if not chunk:
                    self._abort()
                    raise ClientGone  # the file is shorter than it was: the client must not take it for complete
                left -= len(chunk)
                if left:
                    ahead = self._ahead(reader.read, min(self.streams.chunk_bytes, left))
                await self._body(chunk, more=left > 0)
        finally:
            if not ahead.done():
                await asyncio.wait([ahead])  # the reader is closed next, and not below a thread that reads

    async def _send_file(self, direct: Direct, file: io.FileIO, left: int) -> None:
        offset, size, is_at_once = file.tell(), _CHUNK_BYTES, False
        while left:
            if is_at_once:
                wanted = min(left, BURST_BYTES)
                with self.streams.burst() as is_granted:
                    sent = await direct.send_burst(self.run, file, offset, wanted) if is_granted else 0
                is_at_once = sent == wanted
            else:
                started = time.monotonic()
                sent = await self._send_piece(direct, file, offset, min(left, size))
                # Each piece has its time limit: large ones are for quick clients only.
                size = min(2 * size, _MAX_PIECE_BYTES) if time.monotonic() - started < _QUICK_S else _CHUNK_BYTES
                is_at_once = time.monotonic() - started < _AT_ONCE_S
            offset += sent
            left -= sent
            self.bytes_out += sent
        await self._body(b"", more=False)

    async def _send_piece(self, direct: Direct, file: io.FileIO, offset: int, count: int) -> int:
        try:
            async with asyncio.timeout(self.limits.idle_s):
                sent = await direct.send_file(file, offset, count)
        except TimeoutError as error:
            self._abort()
            raise ClientGone from error
        except OSError as error:
            raise ClientGone from error
        if not sent:
            self._abort()
            raise ClientGone  # the file is shorter than it was: the client must not take it for complete
        return sent

    def _ahead(self, read: Callable[[int], bytes], size: int) -> asyncio.Future[bytes]:
        return asyncio.get_running_loop().run_in_executor(self._executor, read, size)

    async def _body(self, chunk: bytes, *, more: bool) -> None:
        self.bytes_out += len(chunk)
        await self._put({"type": "http.response.body", "body": chunk, "more_body": more})

    async def _put(self, message: dict[str, object]) -> None:
        try:
            async with asyncio.timeout(self.limits.idle_s):
                await self._send(message)
        except TimeoutError as error:
            self._abort()
            raise ClientGone from error

    def _direct(self) -> Direct | None:
        found: Direct | None = self.scope.get("extensions", {}).get(DIRECT)
        return found

    def _abort(self) -> None:
        abort = self.scope.get("extensions", {}).get(ABORT)
        if callable(abort):
            abort()


def _exactly(read: Callable[[int], bytes], size: int) -> bytes:
    parts = []
    while size and (chunk := read(size)):
        parts.append(chunk)
        size -= len(chunk)
    if size:
        raise ClientGone
    return parts[0] if len(parts) == 1 else b"".join(parts)
