"""uvicorn as we need it: limits on the head of a request, connections that end at once, no signals. Server layer."""

from __future__ import annotations

import asyncio
import io
import os
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import uvicorn
from uvicorn.protocols.http.flow_control import HIGH_WATER_LIMIT
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from provender.server.calls import ABORT, SEND_FILE
from provender.server.limits import Limits

__all__ = ["LimitedProtocol", "QuietServer"]

_AHEAD_BYTES = 8 << 20
_LARGE_BYTES = 256 << 10  # what asyncio reads at most unless told otherwise
_MANY_BYTES = 1 << 20


class LimitedProtocol(HttpToolsProtocol):
    """One connection: a head that is too large or too slow ends it."""

    limits = Limits()
    _head_bytes = 0
    _waiting_bytes = 0
    _is_in_head = True
    _is_too_large = False
    _head_timer: asyncio.TimerHandle | None = None

    @classmethod
    def limited_by(cls, limits: Limits) -> type[LimitedProtocol]:
        """The class with other limits: uvicorn makes the objects itself."""
        return type("LimitedProtocol", (cls,), {"limits": limits})

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn has it
        """The time for the first head begins."""
        super().connection_made(transport)
        self._expect_head()

    def connection_lost(self, exc: Exception | None) -> None:
        """Nothing is expected any more."""
        self._head_done()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """A head that does not come whole has so long and no longer, and so much room and no more."""
        super().data_received(data)
        if not self._is_in_head:
            return
        if self._head_timer is None:
            self._expect_head()
        # The parser keeps a header that is not complete, and says nothing of it.
        self._waiting_bytes += len(data)
        if self._waiting_bytes > self.limits.head_bytes and not self.transport.is_closing():
            self._is_too_large = True
            self.send_400_response("")

    def on_message_begin(self) -> None:
        """A head begins."""
        super().on_message_begin()
        self._is_in_head = True
        self._head_bytes = 0
        extensions: dict[str, object] = {ABORT: self.transport.abort}
        if self.transport.get_extra_info("sslcontext") is None:
            extensions[SEND_FILE] = self.send_file
        self.scope["extensions"] = extensions  # type: ignore[typeddict-item]  # ours, not of ASGI

    def on_body(self, body: bytes) -> None:
        """Hand on what arrived as it is: the base class copies it twice."""
        cycle = self.cycle
        if cycle.body or cycle.response_complete:
            super().on_body(body)
            return
        cycle.body = body  # type: ignore[assignment]  # read once, and then replaced
        if len(body) >= _LARGE_BYTES:
            self._read_at_once(_MANY_BYTES)
        if len(body) > HIGH_WATER_LIMIT:
            self.flow.pause_reading()
        cycle.message_event.set()

    def on_message_complete(self) -> None:
        """The body is whole."""
        self._read_at_once(_LARGE_BYTES)
        super().on_message_complete()

    def _read_at_once(self, size: int) -> None:
        """How much asyncio reads from the socket: what takes part in a large body comes in large pieces."""
        if getattr(self.transport, "max_size", size) != size:
            self.transport.max_size = size  # type: ignore[attr-defined]  # of the transports of asyncio's own loops

    async def send_file(self, file: io.FileIO, offset: int, count: int) -> int:
        """See `SendFile`. The system copies from the file to the socket, and reads ahead meanwhile."""
        if self.cycle.disconnected or self.transport.is_closing():
            raise ConnectionResetError("the client went away")
        if hasattr(os, "posix_fadvise"):
            os.posix_fadvise(file.fileno(), offset + count, _AHEAD_BYTES, os.POSIX_FADV_WILLNEED)
        sent = await asyncio.get_running_loop().sendfile(self.transport, file, offset, count)
        self.cycle.expected_content_length -= sent
        return sent

    def on_url(self, url: bytes) -> None:
        """Count."""
        self._count(len(url))
        super().on_url(url)

    def on_header(self, name: bytes, value: bytes) -> None:
        """Count: each header costs more than its bytes."""
        self._count(len(name) + len(value) + 32)
        super().on_header(name, value)

    def on_headers_complete(self) -> None:
        """The head is whole."""
        self._head_done()
        super().on_headers_complete()

    def send_400_response(self, msg: str) -> None:
        """Say 431 where the head was too large."""
        if not self._is_too_large:
            super().send_400_response(msg)
            return
        self.transport.write(
            b"HTTP/1.1 431 Request Header Fields Too Large\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"
        )
        self.transport.close()

    def _count(self, size: int) -> None:
        self._head_bytes += size
        if self._head_bytes > self.limits.head_bytes:
            self._is_too_large = True
            raise ValueError("the head of the request is too large")

    def _expect_head(self) -> None:
        self._head_timer = asyncio.get_running_loop().call_later(self.limits.head_s, self.transport.abort)

    def _head_done(self) -> None:
        self._is_in_head = False
        self._waiting_bytes = 0
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None


class QuietServer(uvicorn.Server):
    """uvicorn's server without its own signal handlers, which would raise the signal once more at the end."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Nothing is captured."""
        yield

    def stop(self) -> None:
        """End when the running requests are done; called again, at once."""
        self.force_exit = self.should_exit
        self.should_exit = True

    async def run_on(self, listener: socket.socket, ready: Callable[[], object]) -> None:
        """Serve `listener` until `stop`; `ready` is called once requests are answered."""
        running = asyncio.ensure_future(self.serve([listener]))
        while not self.started and not running.done():
            await asyncio.sleep(0.005)
        if self.started:
            ready()
        await running
