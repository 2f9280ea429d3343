"""Whatever a client sends: never a failure of ours, never a file outside of the store."""

from __future__ import annotations

import http.client
import socket
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from provender.server import Limits
from support.served import MANIFEST, Client, digest_of, served

COMPONENT = st.sampled_from(
    ["a", "a/b", "A", "..", ".", "", "blobs", "a/blobs", "a/blobs/sha256", "index.json", "x/index.json", "oci-layout"]
) | st.text(max_size=12)
DIGEST = (
    st.sampled_from([digest_of(b"there"), digest_of(b"x", "sha512"), "sha256:", "sha256:" + "g" * 64, "v1", "../x"])
    | st.from_regex(r"[a-z0-9+._-]{1,9}:[a-zA-Z0-9=_-]{1,80}", fullmatch=True)
    | st.text(max_size=20)
)
RANGE = st.none() | st.from_regex(r"(bytes=)?[0-9]{0,21}-[0-9]{0,21}(,[0-9]-[0-9])?", fullmatch=True)
QUERY = st.lists(
    st.tuples(
        st.sampled_from(["digest", "mount", "from", "n", "last", "tag", "artifactType", "digest-algorithm"]), DIGEST
    ),
    max_size=3,
)
ENDPOINT = st.sampled_from(["blobs", "manifests", "referrers", "tags", "blobs/uploads"])
METHOD = st.sampled_from(["GET", "HEAD", "PUT", "POST", "PATCH", "DELETE"])


@pytest.fixture(scope="module")
def fuzzed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Client, Path, list[str]]]:
    """A server with some content, its directory, and its log."""
    path = tmp_path_factory.mktemp("fuzzed")
    lines: list[str] = []
    with served(path / "store", lines=lines, limits=Limits(uploads=100_000, manifest_bytes=1000)) as client:
        client.blob("a", b"there")
        client.manifest("a/b", "v1", [b"there"])
        yield client, path, lines


@settings(max_examples=250, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(METHOD, COMPONENT, ENDPOINT, DIGEST, QUERY, RANGE, RANGE, st.binary(max_size=40))
def test_no_request_makes_the_server_fail(
    fuzzed: tuple[Client, Path, list[str]],
    method: str,
    name: str,
    endpoint: str,
    target: str,
    query: list[tuple[str, str]],
    wanted: str | None,
    claimed: str | None,
    body: bytes,
) -> None:
    client, path, lines = fuzzed
    last = "list" if endpoint == "tags" else target
    fields = "&".join(f"{key}={quote(value, safe='')}" for key, value in query)
    url = f"/v2/{quote(name, safe='/')}/{endpoint}/{quote(last, safe=':')}?{fields}"
    answer = client.ask(method, url, body, range=wanted, content_range=claimed, content_type=MANIFEST if body else None)
    assert answer.status < 500, (answer, lines[-1])
    if answer.status >= 400 and answer.status != 416 and method != "HEAD":
        assert answer.code
    assert not [line for line in lines if "failure" in line]
    assert [entry.name for entry in path.iterdir()] == ["store"]


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(st.lists(RANGE, min_size=1, max_size=4), st.binary(min_size=1, max_size=30))
def test_no_sequence_of_chunks_makes_the_server_fail(
    fuzzed: tuple[Client, Path, list[str]], ranges: list[str | None], chunk: bytes
) -> None:
    client, _, _ = fuzzed
    location = client.ask("POST", "/v2/a/blobs/uploads/").headers["location"]
    expected = b""
    for claimed in ranges:
        answer = client.ask("PATCH", location, chunk, content_range=claimed)
        assert answer.status in (202, 400, 416)
        if answer.status == 202:
            expected += chunk
    assert client.ask("PUT", f"{location}?digest={digest_of(expected)}").status == 201
    assert client.ask("GET", f"/v2/a/blobs/{digest_of(expected)}").body == expected


@pytest.mark.parametrize(
    ("request_", "status"),
    [
        (b"nonsense\r\n\r\n", b"400"),
        (b"GET /v2/ HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n", b"400"),
        (b"GET /v2/ HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n", b"400"),
        (b"GET /v2/\xff\xfe HTTP/1.1\r\nHost: x\r\n\r\n", b"40"),
        (b"GET /v2/%00%ff/tags/list HTTP/1.1\r\nHost: x\r\n\r\n", b"400"),
        (b"GET /v2/ HTTP/1.1\r\nHost: x\r\nX: " + b"x" * 70_000 + b"\r\n\r\n", b"431"),
        (b"GET /v2/ HTTP/1.1\r\nHost: x\r\n" + b"X: y\r\n" * 3000 + b"\r\n", b"431"),
        (b"GET /v2/" + b"a" * 70_000 + b" HTTP/1.1\r\nHost: x\r\n\r\n", b"431"),
        (b"GET /v2/a/tags/list?" + b"n=1&" * 300 + b" HTTP/1.1\r\nHost: x\r\n\r\n", b"414"),
    ],
)
def test_malformed_and_oversized_heads_are_refused(
    fuzzed: tuple[Client, Path, list[str]], request_: bytes, status: bytes
) -> None:
    host, port = fuzzed[0].host.split(":")
    with socket.create_connection((host, int(port)), timeout=10) as connection:
        connection.sendall(request_)
        assert connection.recv(200).split(b" ")[1].startswith(status)


def test_a_header_that_never_ends_is_refused(fuzzed: tuple[Client, Path, list[str]]) -> None:
    host, port = fuzzed[0].host.split(":")
    with socket.create_connection((host, int(port)), timeout=10) as connection:
        connection.sendall(b"GET /v2/ HTTP/1.1\r\nX: ")
        with pytest.raises(OSError, match=r"(?i)reset|broken|aborted"):
            connection.sendall(b"x" * 50_000_000)


@pytest.mark.parametrize("sent", [b"", b"GET /v2/ HT", b"GET /v2/ HTTP/1.1\r\nHost: x\r\n\r\nGET /v2"])
def test_a_head_that_does_not_come_ends_the_connection(sent: bytes) -> None:
    with served(None, limits=Limits(head_s=0.3, keep_alive_s=1)) as client:
        host, port = client.host.split(":")
        with socket.create_connection((host, int(port)), timeout=10) as connection:
            connection.sendall(sent)
            try:
                while connection.recv(1000):
                    pass
            except ConnectionResetError:
                pass
        assert client.ask("GET", "/healthz").status == 200


def test_a_large_body_that_is_refused_does_not_hang(fuzzed: tuple[Client, Path, list[str]]) -> None:
    connection = http.client.HTTPConnection(fuzzed[0].host, timeout=20)
    for _ in range(2):
        connection.request("PUT", "/v2/a/manifests/v1", bytes(5 << 20), {"Content-Type": MANIFEST})
        response = connection.getresponse()
        assert response.status == 413
        response.read()
    connection.close()


def test_more_connections_than_allowed_are_told_to_come_back() -> None:
    with served(None, limits=Limits(connections=2)) as client:
        host, port = client.host.split(":")
        idle = [socket.create_connection((host, int(port)), timeout=10) for _ in range(3)]
        try:
            assert client.ask("GET", "/v2/").status == 503
        finally:
            for connection in idle:
                connection.close()
