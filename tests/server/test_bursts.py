"""Large bodies that threads move between socket and file: whole, in order, and no longer than the client keeps up."""

from __future__ import annotations

import http.client
import os
import random
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from provender.server import Limits, bursts
from provender.server.bursts import BURST_BYTES, Arriving
from support.certificates import make_certificates
from support.served import Client, digest_of, served

CONTENT = random.Random(9).randbytes(BURST_BYTES + 9_000_017)
DIGEST = digest_of(CONTENT)
_PATIENCE_S = 20.0


@pytest.fixture(scope="module")
def there(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Client]:
    with served(tmp_path_factory.mktemp("there") / "store") as client:
        location = client.ask("POST", "/v2/a/blobs/uploads/").headers["location"]
        assert client.ask("PUT", f"{location}?digest={DIGEST}", CONTENT).status == 201
        yield client


def begin(client: Client) -> str:
    return client.ask("POST", "/v2/a/blobs/uploads/").headers["location"]


def connected(client: Client) -> socket.socket:
    host, port = client.host.split(":")
    return socket.create_connection((host, int(port)), timeout=_PATIENCE_S)


def answers(connection: socket.socket, count: int) -> list[tuple[bytes, bytes]]:
    """The status and the body of so many answers, read in order from one connection."""
    found = []
    with connection.makefile("rb") as stream:
        for _ in range(count):
            status, length = stream.readline().split(b" ")[1], 0
            while (line := stream.readline().strip().lower()) != b"":
                if line.startswith(b"content-length:"):
                    length = int(line.partition(b":")[2])
            found.append((status, stream.read(length)))
    return found


def wait_for(lines: list[str], text: str) -> None:
    ends = time.monotonic() + _PATIENCE_S
    while not any(text in line for line in lines):
        assert time.monotonic() < ends, lines
        time.sleep(0.02)


@pytest.mark.parametrize("offset", [0, 1_234_567])
def test_a_file_goes_out_as_it_is(tmp_path: Path, offset: int) -> None:
    path = tmp_path / "file"
    path.write_bytes(CONTENT)
    ours, theirs = socket.socketpair()
    received = bytearray()

    def read() -> None:
        with theirs:
            while piece := theirs.recv(1 << 20):
                received.extend(piece)

    reader = threading.Thread(target=read)
    reader.start()
    sent = bursts.send(ours, os.open(path, os.O_RDONLY), offset, len(CONTENT))
    reader.join(_PATIENCE_S)
    assert 0 < len(received) == sent  # the file ended before the count, or a slow machine ended the burst
    assert received == CONTENT[offset : offset + sent]


@pytest.mark.parametrize("is_closed", [False, True])
def test_a_client_that_takes_no_more_ends_the_burst(tmp_path: Path, is_closed: bool) -> None:
    path = tmp_path / "file"
    path.write_bytes(CONTENT)
    ours, theirs = socket.socketpair()
    if is_closed:
        theirs.close()
    with theirs:
        assert bursts.send(ours, os.open(path, os.O_RDONLY), 0, len(CONTENT)) < len(CONTENT)
        assert ours.fileno() == -1


def test_no_more_is_taken_than_belongs_to_the_body() -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        theirs.sendall(b"body and the next request")
        arriving = Arriving(ours, 4)
        assert [bytes(piece) for piece in arriving] == [b"body"]
        assert (arriving.taken, ours.recv(100)) == (4, b" and the next request")


@pytest.mark.parametrize("is_closed", [False, True])
def test_a_client_that_sends_no_more_ends_the_burst(is_closed: bool) -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        theirs.sendall(b"some")
        if is_closed:
            theirs.close()
        arriving = Arriving(ours, 1000)
        assert [bytes(piece) for piece in arriving] == [b"some"]
        assert arriving.taken == 4


def test_requests_in_one_go_are_answered_in_order(there: Client) -> None:
    get = f"GET /v2/a/blobs/{DIGEST} HTTP/1.1\r\nHost: {there.host}\r\n"
    part = f"{get}Range: bytes=5-{BURST_BYTES + 5_000_000}\r\n\r\n"
    with connected(there) as connection:
        connection.sendall(f"{get}\r\n{part}{get}Range: bytes=0-9\r\n\r\n".encode())
        whole, second, third = answers(connection, 3)
    assert whole == (b"200", CONTENT)
    assert second == (b"206", CONTENT[5 : BURST_BYTES + 5_000_001])
    assert third == (b"206", CONTENT[:10])


def test_a_connection_serves_on_after_a_large_upload(there: Client) -> None:
    location = begin(there)
    head = f"HTTP/1.1\r\nHost: {there.host}\r\nContent-Length: {len(CONTENT)}\r\n"
    after = b"GET /v2/ HTTP/1.1\r\nHost: x\r\n\r\n"
    with connected(there) as connection:
        connection.sendall(f"PATCH {location} {head}\r\n".encode() + CONTENT)
        assert answers(connection, 1)[0][0] == b"202"
        wrong = begin(there)
        connection.sendall(f"PUT {wrong}?digest={digest_of(b'other')} {head}\r\n".encode() + CONTENT)
        assert answers(connection, 1)[0][0] == b"400"
        connection.sendall(f"PUT {location}?digest={DIGEST} HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n".encode())
        assert answers(connection, 1)[0][0] == b"201"
        # The next requests lie in the same packets as the end of the body.
        connection.sendall(f"PATCH {begin(there)} {head}\r\n".encode() + CONTENT + after)
        assert [status for status, _ in answers(connection, 2)] == [b"202", b"200"]


def test_a_large_upload_is_awaited_where_the_client_asks_first(there: Client) -> None:
    head = f"PUT {begin(there)}?digest={DIGEST} HTTP/1.1\r\nHost: x\r\nContent-Length: {len(CONTENT)}\r\n"
    with connected(there) as connection:
        connection.sendall(f"{head}Expect: 100-continue\r\n\r\n".encode())
        assert answers(connection, 1)[0][0] == b"100"
        connection.sendall(CONTENT)
        assert answers(connection, 1)[0][0] == b"201"


@pytest.mark.parametrize("tls", [False, True])
def test_a_large_upload_is_the_same_with_and_without_tls(tmp_path: Path, tls: bool) -> None:
    with served(tmp_path / "store", certificates=make_certificates(tmp_path) if tls else None) as client:
        assert client.ask("PUT", f"{begin(client)}?digest={DIGEST}", CONTENT).status == 201
        streamed = (CONTENT[start : start + 999_999] for start in range(0, len(CONTENT), 999_999))
        location = begin(client)
        assert client.ask("PATCH", location, streamed).status == 202  # without a length
        assert client.ask("PUT", f"{location}?digest={DIGEST}").status == 201
        assert client.ask("GET", f"/v2/a/blobs/{DIGEST}").body == CONTENT


def test_what_came_of_a_large_upload_that_broke_off_is_kept(there: Client) -> None:
    location, sent = begin(there), BURST_BYTES + 5_000_000
    with connected(there) as connection:
        head = f"PUT {location}?digest={DIGEST} HTTP/1.1\r\nHost: x\r\nContent-Length: {len(CONTENT)}\r\n\r\n"
        connection.sendall(head.encode() + CONTENT[:sent])
        connection.shutdown(socket.SHUT_WR)
        assert connection.recv(1) == b""  # the server has seen the end, and so all before it
    assert there.ask("GET", location).headers["range"] == f"0-{sent - 1}"
    rest = there.ask("PATCH", location, CONTENT[sent:], content_range=f"{sent}-{len(CONTENT) - 1}")
    assert rest.status == 202
    assert there.ask("PUT", f"{location}?digest={DIGEST}").status == 201


def test_a_client_that_stands_still_in_a_large_body_is_cut_off(tmp_path: Path) -> None:
    lines: list[str] = []
    with served(tmp_path / "store", limits=Limits(idle_s=1.0), lines=lines) as client:
        digest = client.blob("a", bytes(80_000_000))
        location, sent = begin(client), BURST_BYTES + 2_000_000
        with connected(client) as up, connected(client) as down:
            up.sendall(f"PATCH {location} HTTP/1.1\r\nHost: x\r\nContent-Length: 90000000\r\n\r\n".encode())
            up.sendall(CONTENT[:sent])
            wait_for(lines, '"status": 499')
            lines.clear()
            assert client.ask("GET", location).headers["range"] == f"0-{sent - 1}"
            down.sendall(f"GET /v2/a/blobs/{digest} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
            taken = 0
            while taken < BURST_BYTES:
                taken += len(down.recv(1 << 20))
            wait_for(lines, '"status": 499')


def test_a_large_upload_that_is_refused_leaves_the_connection_well(tmp_path: Path) -> None:
    with served(tmp_path / "store", limits=Limits(blob_bytes=1000)) as client:
        connection = http.client.HTTPConnection(client.host, timeout=_PATIENCE_S)
        for _ in range(2):
            connection.request("PUT", f"{begin(client)}?digest={DIGEST}", CONTENT)
            response = connection.getresponse()
            assert response.status == 413
            response.read()
        connection.close()
