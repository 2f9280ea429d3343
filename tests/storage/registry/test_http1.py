"""HTTP/1.1 on a socket: what is sent, and what of all that a server may say is taken for an answer."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator, Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from provender.storage.registry.http1 import Socket, read_head, request_head
from provender.storage.registry.http_transport import HttpTransport
from provender.storage.registry.transport import Request, Response, TransportFailure
from support.readers import Stream

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


class Scripted:
    """A server that sends, for each request on any connection, the next of its texts; `None` closes the connection."""

    def __init__(self, texts: Sequence[bytes | None]) -> None:
        self._texts = list(texts)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.received: list[bytes] = []
        self.connections = 0
        self._thread = threading.Thread(target=self._serve)
        self._thread.start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._listener.getsockname()[1]}/v2/"

    def close(self) -> None:
        self._texts.clear()
        # Wakes the thread that accepts.
        with socket.create_connection(self._listener.getsockname()):
            self._thread.join(10)
        self._listener.close()

    def _serve(self) -> None:
        while self._texts:
            connection, _ = self._listener.accept()
            with connection:
                connection.settimeout(10)
                self._answer(connection)

    def _answer(self, connection: socket.socket) -> None:
        self.connections += 1
        while self._texts:
            received = b""
            while b"\r\n\r\n" not in received:
                more = connection.recv(65536)
                if not more:
                    return
                received += more
            self.received.append(received)
            text = self._texts.pop(0)
            if text is None:
                return
            connection.sendall(text)
            if b"close" in text or not self._texts:
                return


@pytest.fixture
def serve() -> Iterator[Callable[..., Scripted]]:
    made: list[Scripted] = []

    def start(*texts: bytes | None) -> Scripted:
        made.append(Scripted(texts))
        return made[-1]

    yield start
    for server in made:
        server.close()


def ask(server: Scripted, transport: HttpTransport, *, method: str = "GET") -> bytes:
    """The whole body of the answer to one request."""
    response = transport.send(Request(method=method, url=server.url))
    try:
        return b"".join(iter(response.read, b""))
    finally:
        response.close()


def outcome(send: Callable[[], Response]) -> tuple[int, str]:
    """The status of an answer, or the kind of failure."""
    try:
        response = send()
    except TransportFailure as failure:
        return 0, failure.kind
    response.close()
    return response.status, ""


@pytest.mark.parametrize(
    ("text", "body"),
    [
        (OK, b"ok"),
        (b"HTTP/1.1 200 OK\nContent-Length: 2\n\nok", b"ok"),
        (b"HTTP/1.1 200\r\nContent-Length: 2, 2\r\n\r\nok", b"ok"),
        (b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early\r\nLink: <x>\r\n\r\n" + OK, b"ok"),
        (b"HTTP/1.1 204 No Content\r\n\r\n", b""),
        (b"HTTP/1.0 200 OK\r\n\r\nuntil the end, close", b"until the end, close"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n", b"ok"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: Chunked\r\n\r\n1;x=y\r\no\r\n01\r\nk\r\n0\r\nT: t\r\n\r\n", b"ok"),
    ],
)
def test_bodies_of_every_framing_are_read(serve: Callable[..., Scripted], text: bytes, body: bytes) -> None:
    with HttpTransport({}, read_timeout_s=10) as transport:
        assert ask(serve(text), transport) == body


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nok",
        b"HTTP/1.1 200 OK\r\nContent-Length: 2, 3\r\n\r\nok",
        b"HTTP/1.1 200 OK\r\nContent-Length: -2\r\n\r\nok",
        b"HTTP/1.1 200 OK\r\nContent-Length: " + b"9" * 40 + b"\r\n\r\nok",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\nok",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n-2\r\nok\r\n0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nokay\r\n0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2" + b";" * 2000 + b"\r\nok\r\n0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n" + b"T: t\r\n" * 20_000 + b"\r\n",
        b"HTTP/2 200 OK\r\nContent-Length: 2\r\n\r\nok",
        b"HTTP/1.1 2000 OK\r\n\r\n",
        b"SSH-2.0-OpenSSH\r\n\r\n",
        b"HTTP/1.1 200 OK\r\n folded: x\r\nContent-Length: 2\r\n\r\nok",
        b"HTTP/1.1 200 OK\r\nno header\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nX : y\r\n\r\n",
        b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 300 + b"\r\n",
        b"HTTP/1.1 200 OK\r\nX: " + b"y" * 70_000 + b"\r\n\r\n",
        b"y" * 200_000,
        b"HTTP/1.1 100 Continue\r\n\r\n" * 20,
        b"HTTP/1.1 101 Switching Protocols\r\n\r\n",
    ],
)
def test_anything_else_is_a_broken_answer(serve: Callable[..., Scripted], text: bytes) -> None:
    with HttpTransport({}, read_timeout_s=10) as transport, pytest.raises(TransportFailure) as caught:
        ask(serve(text), transport)
    assert caught.value.kind == "broken"


def test_a_connection_is_used_again_unless_something_is_odd(serve: Callable[..., Scripted]) -> None:
    both = b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n"
    server = serve(OK, OK, OK + b"HTTP/1.1 200 OK\r\n", OK, both, OK, OK)
    with HttpTransport({}, read_timeout_s=10) as transport:
        assert [ask(server, transport) for _ in range(3)] == [b"ok"] * 3
        assert server.connections == 1
        # Somebody's answer to a question that was not asked.
        assert ask(server, transport) == b"ok"
        assert server.connections == 2
        assert ask(server, transport) == b"ok"
        # Two lengths: what follows may be anybody's.
        assert ask(server, transport) == b"ok"
        assert server.connections == 3


def test_a_connection_that_was_closed_meanwhile_is_not_used(serve: Callable[..., Scripted]) -> None:
    server = serve(OK + b"", None, OK)
    with HttpTransport({}, read_timeout_s=10) as transport:
        assert ask(server, transport) == b"ok"
        with pytest.raises(TransportFailure):
            ask(server, transport)
        assert ask(server, transport) == b"ok"


def test_an_answer_to_head_has_no_body_whatever_it_promises(serve: Callable[..., Scripted]) -> None:
    server = serve(b"HTTP/1.1 200 OK\r\nContent-Length: 5000\r\n\r\n", OK)
    with HttpTransport({}, read_timeout_s=10) as transport:
        assert ask(server, transport, method="HEAD") == b""
        assert ask(server, transport) == b"ok"
    assert server.connections == 1


def test_a_head_that_drips_is_not_waited_for_longer_than_silence() -> None:
    ours, theirs = socket.socketpair()
    is_over = threading.Event()

    def drip() -> None:
        theirs.sendall(b"HTTP/1.1 200 OK\r\n")
        for _ in range(200):
            if is_over.wait(0.02):
                return
            theirs.sendall(b"X: a\r\n")
        theirs.sendall(b"\r\n")

    thread = threading.Thread(target=drip)
    with ours, theirs:
        source = Socket(ours)
        source.wait_at_most(0.3)
        thread.start()
        try:
            with pytest.raises(TransportFailure) as caught:
                read_head(source)
        finally:
            is_over.set()
            thread.join()
    assert caught.value.kind == "timeout"


def test_a_refusal_in_the_middle_of_a_body_is_heard(serve: Callable[..., Scripted]) -> None:
    server = serve(b"HTTP/1.1 413 Too Large\r\nContent-Length: 2\r\nConnection: close\r\n\r\nno")
    size = 8 << 20
    headers = {"Content-Length": str(size)}
    with HttpTransport({}, read_timeout_s=10) as transport:
        request = Request(method="PUT", url=server.url, headers=headers, body=Stream(bytes(size)))
        status, kind = outcome(lambda: transport.send(request))
    assert status == 413 or kind == "broken"  # where the reset is faster than the answer


@given(st.text(max_size=60), st.text(max_size=20))
def test_nothing_in_a_url_or_header_becomes_another_line(path: str, value: str) -> None:
    try:
        head = request_head("GET", f"http://h.example/{path}", "h.example", {"X": value}, 0)
    except TransportFailure:
        return
    first, *rest = head.decode("latin-1").split("\r\n")
    assert len(rest) == 4
    assert first.count(" ") == 2
    assert first.startswith("GET /")
    assert first.isascii()
    assert first.isprintable()


@given(st.binary(max_size=300), st.integers(1, 50))
def test_no_bytes_raise_anything_but_a_failure(content: bytes, piece: int) -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        ours.settimeout(5)
        for start in range(0, len(content), piece):
            theirs.sendall(content[start : start + piece])
        theirs.shutdown(socket.SHUT_WR)
        head, kind = None, "broken"
        try:
            head = read_head(Socket(ours))
        except TransportFailure as failure:
            kind = failure.kind
    assert kind == "broken"
    assert head is None or content.startswith(b"HTTP/1.")
