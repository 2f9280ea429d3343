"""uvicorn as we need it: limits on the head of a request, connections that end at once, no signals. Server layer."""

from __future__ import annotations

import asyncio
import io
import os
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import httptools
import uvicorn
from uvicorn.protocols.http.flow_control import HIGH_WATER_LIMIT
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

from provender.server import bursts
from provender.server.bursts import BURST_BYTES, Arriving, Run
from provender.server.calls import ABORT, DIRECT
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
    _direct: _Direct | None = None
    _body_seen = 0
    _body_left = 0

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
        if self._body_left:
            # Of a body that has left the parser.
            body, data = data[: self._body_left], data[self._body_left :]
            self.on_body(body)
            self.body_passed(len(body))
            if not data:
                return
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
        self._direct, self._body_seen = None, 0
        if self.transport.get_extra_info("sslcontext") is None:
            extensions[DIRECT] = self._direct = _Direct(self)
        self.scope["extensions"] = extensions  # type: ignore[typeddict-item]  # ours, not of ASGI

    def on_body(self, body: bytes) -> None:
        """Hand on what arrived as it is: the base class copies it twice."""
        self._body_seen += len(body)
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

    def body_to_come(self, cycle: RequestResponseCycle) -> int:
        """How much more comes of the body of the request of `cycle`; 0 if that is not known or not its turn."""
        if self.cycle is not cycle or not cycle.more_body or cycle.body:
            return 0
        if self._body_left:
            return self._body_left
        headers = dict(self.headers)
        if b"transfer-encoding" in headers:
            return 0
        return int(headers.get(b"content-length", b"0")) - self._body_seen

    def leave_parser(self, left: int) -> None:
        """So much comes of the body that the parser will not see; another one begins with the request after it."""
        if not self._body_left:
            self._body_left = left
            self.parser = httptools.HttpRequestParser(self)

    def body_passed(self, size: int) -> None:
        """So much of the body came without the parser."""
        self._body_left -= size
        if not self._body_left and self.parser is not None:  # as it is once the connection was lost
            self.on_message_complete()

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
        if self._direct is not None:
            self._direct.cycle = self.cycle

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


class _Direct:
    """See `bursts.Direct`. A thread works with duplicates of socket and file, which nobody closes below it."""

    def __init__(self, protocol: LimitedProtocol) -> None:
        self.cycle: RequestResponseCycle | None = None
        self._protocol = protocol

    async def send_file(self, file: io.FileIO, offset: int, count: int) -> int:
        """The system copies from the file to the socket, and reads ahead meanwhile."""
        if (cycle := self._alive()) is None:
            raise ConnectionResetError("the client went away")
        _read_ahead(file, offset + count)
        sent = await asyncio.get_running_loop().sendfile(self._protocol.transport, file, offset, count)
        cycle.expected_content_length -= sent
        return sent

    async def send_burst(self, run: Run, file: io.FileIO, offset: int, count: int) -> int:
        """A thread copies; what it cannot send is left to `send_file`, which meets what is the matter."""
        if (cycle := self._alive()) is None or self._protocol.transport.get_write_buffer_size():
            return 0
        if (connection := self._duplicate()) is None:
            return 0
        _read_ahead(file, offset + count)
        descriptor = os.dup(file.fileno())
        sent = await run(lambda: bursts.send(connection, descriptor, offset, count))
        cycle.expected_content_length -= sent
        return sent

    async def receive_burst(self, run: Run, keep: Callable[[Iterator[memoryview]], None]) -> int:
        """The event loop reads no more until uvicorn's `receive` has it do so again."""
        protocol, cycle = self._protocol, self._alive()
        left = protocol.body_to_come(cycle) if cycle is not None else 0
        if left < _MANY_BYTES or (connection := self._duplicate()) is None:
            return 0
        protocol.flow.pause_reading()
        arriving = Arriving(connection, min(left, BURST_BYTES))

        def work() -> int:
            with connection:
                keep(iter(arriving))
            return arriving.taken

        try:
            return await run(work)
        finally:
            if arriving.taken:
                protocol.leave_parser(left)
                protocol.body_passed(arriving.taken)

    def _alive(self) -> RequestResponseCycle | None:
        """None where the client went away."""
        is_gone = self.cycle is None or self.cycle.disconnected or self._protocol.transport.is_closing()
        return None if is_gone else self.cycle

    def _duplicate(self) -> socket.socket | None:
        """None where the event loop does not work on sockets that do not block, and may read ahead."""
        if not isinstance(asyncio.get_running_loop(), asyncio.SelectorEventLoop):
            return None
        found = self._protocol.transport.get_extra_info("socket")
        return socket.fromfd(found.fileno(), found.family, found.type, found.proto)


def _read_ahead(file: io.FileIO, offset: int) -> None:
    if hasattr(os, "posix_fadvise"):
        os.posix_fadvise(file.fileno(), offset, _AHEAD_BYTES, os.POSIX_FADV_WILLNEED)


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
