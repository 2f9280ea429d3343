"""The socket side of the test registry: HTTP/1.1 with keep-alive in threads, and the faults that need a socket."""

from __future__ import annotations

import selectors
import socket
import ssl
import struct
import sys
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from socketserver import TCPServer

from support.faults import Action, Corrupt, Delay, Do, DropHeader, Reset, SetHeader, Stall, Throttle, Truncate
from support.registry_content import Reply, Request

__all__ = ["Server"]

_Answer = Callable[[Request, Action | None], Reply]
_TakeFault = Callable[[Request], Action | None]


class Server:
    """A server on a port that the system hands out; `stop` ends every connection and thread."""

    def __init__(
        self,
        answer: _Answer,
        take_fault: _TakeFault,
        tls: tuple[str, str] | None,
        port: int = 0,
        *,
        client_ca: str | None = None,
        needs_client: bool = False,
    ) -> None:
        self.answer = answer
        self.shown: list[bool] = []  # for each request over TLS, whether a client certificate came along
        self.take_fault = take_fault
        self.stopping = threading.Event()
        self._http = _HttpServer(self, tls, port, client_ca, needs_client)
        self._thread = threading.Thread(target=self._http.serve, name="test-registry")

    @property
    def port(self) -> int:
        return int(self._http.server_address[1])

    @property
    def connections(self) -> int:
        return self._http.connections

    @property
    def errors(self) -> list[BaseException]:
        """What the handlers raised, but for clients that went away."""
        return self._http.errors

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self.stopping.set()
        self._http.wake()
        self._thread.join(10)
        self._http.end_connections()
        self._http.server_close()


class _HttpServer(ThreadingHTTPServer):
    daemon_threads = False
    block_on_close = True
    timeout = 0  # of `handle_request`, for a client that went away before it was met
    request_queue_size = 64

    def __init__(
        self, owner: Server, tls: tuple[str, str] | None, port: int, client_ca: str | None, needs_client: bool
    ) -> None:
        self.owner = owner
        self.connections = 0
        self.errors: list[BaseException] = []
        self._woken, self._wake = socket.socketpair()
        self._open: set[socket.socket] = set()
        self._open_lock = threading.Lock()
        self._tls: ssl.SSLContext | None = None
        if tls is not None:
            self._tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            self._tls.load_cert_chain(*tls)
            if client_ca is not None:
                self._tls.load_verify_locations(client_ca)
                self._tls.verify_mode = ssl.CERT_REQUIRED if needs_client else ssl.CERT_OPTIONAL
        super().__init__(("127.0.0.1", port), _Handler)

    def serve(self) -> None:
        """Answer until the owner is stopping and wakes it; `serve_forever` would look for that from time to time."""
        with self._woken, selectors.DefaultSelector() as selector:
            for source in (self.socket, self._woken):
                selector.register(source, selectors.EVENT_READ)
            while not self.owner.stopping.is_set():
                if any(key.fileobj is self.socket for key, _ in selector.select()):
                    self.handle_request()

    def wake(self) -> None:
        self._wake.close()

    def server_bind(self) -> None:
        # HTTPServer.server_bind asks the resolver for the host's name, which can take seconds.
        TCPServer.server_bind(self)
        self.server_name, self.server_port = "127.0.0.1", int(self.server_address[1])

    def get_request(self) -> tuple[socket.socket, object]:
        connection, address = super().get_request()
        if self._tls is not None:
            connection = self._tls.wrap_socket(connection, server_side=True, do_handshake_on_connect=False)
        with self._open_lock:
            self._open.add(connection)
            self.connections += 1
        return connection, address

    def shutdown_request(self, request: socket.socket | tuple[bytes, socket.socket]) -> None:
        if isinstance(request, socket.socket):
            with self._open_lock:
                self._open.discard(request)
        super().shutdown_request(request)

    def end_connections(self) -> None:
        """Wake every handler that waits for another request."""
        with self._open_lock:
            for connection in self._open:
                try:
                    connection.shutdown(socket.SHUT_RDWR)
                except OSError:
                    continue

    def handle_error(self, request: object, client_address: object) -> None:
        error = sys.exc_info()[1]
        if error is not None and not isinstance(error, ConnectionError | TimeoutError | ssl.SSLError):
            self.errors.append(error)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    timeout = 60
    server: _HttpServer

    def do_GET(self) -> None:
        request = self._request()
        fault = self.server.owner.take_fault(request)
        if isinstance(fault, Delay):
            self.server.owner.stopping.wait(fault.seconds)
        if isinstance(fault, Do) and not fault.performed:
            fault.what()
        reply = self.server.owner.answer(request, fault)
        if isinstance(fault, Do) and fault.performed:
            fault.what()
        self._send(reply, fault)

    do_HEAD = do_POST = do_PUT = do_PATCH = do_DELETE = do_GET  # noqa: N815 (the names are the base class's)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 (the name is the base class's)
        return

    def _request(self) -> Request:
        headers = {name.lower(): value for name, value in self.headers.items()}
        if isinstance(self.connection, ssl.SSLSocket):
            self.server.owner.shown.append(bool(self.connection.getpeercert()))
        path, _, query = self.path.partition("?")
        return Request(self.command, path, query, headers, self._body(headers))

    def _body(self, headers: dict[str, str]) -> bytes:
        if headers.get("transfer-encoding", "").lower() != "chunked":
            return self.rfile.read(int(headers.get("content-length", "0")))
        chunks = []
        while size := int(self.rfile.readline().partition(b";")[0], 16):
            chunks.append(self.rfile.read(size))
            self.rfile.readline()
        self.rfile.readline()
        return b"".join(chunks)

    def _send(self, reply: Reply, fault: Action | None) -> None:
        body = bytearray(reply.body)
        headers = {"Content-Length": str(len(body)), **reply.headers}
        if isinstance(fault, Corrupt) and fault.offset < len(body):
            body[fault.offset] ^= 1
        if isinstance(fault, SetHeader | DropHeader):
            headers = {name: value for name, value in headers.items() if name.lower() != fault.name.lower()}
        if isinstance(fault, SetHeader):
            headers[fault.name] = fault.value
        if isinstance(fault, Truncate) and fault.without_length:
            del headers["Content-Length"]
            headers["Connection"] = "close"
        if isinstance(fault, Reset) and fault.after_bytes < 0:
            return self._reset()
        if reply.status == 204:
            headers.pop("Content-Length", None)
        if reply.status == 416 or (reply.status != 204 and "Content-Length" not in headers):
            self.close_connection = True
        self.send_response(reply.status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self._send_body(bytes(body), fault)
        return None

    def _send_body(self, body: bytes, fault: Action | None) -> None:
        match fault:
            case Reset(after_bytes):
                self.wfile.write(body[:after_bytes])
                # The reset overtakes what the client has not read yet, so it gets a moment to read.
                self.server.owner.stopping.wait(0.05)
                self._reset()
            case Truncate(after_bytes):
                self.wfile.write(body[:after_bytes])
                self.close_connection = True
            case Stall(seconds, after_bytes):
                self.wfile.write(body[:after_bytes])
                self.server.owner.stopping.wait(seconds)
                self.wfile.write(body[after_bytes:])
            case Throttle(bytes_per_s, piece_bytes):
                for start in range(0, len(body), piece_bytes):
                    self.wfile.write(body[start : start + piece_bytes])
                    if self.server.owner.stopping.wait(piece_bytes / bytes_per_s):
                        return
            case _:
                self.wfile.write(body)

    def _reset(self) -> None:
        self.close_connection = True
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.rfile.close()
        self.connection.close()
