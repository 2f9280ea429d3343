"""Uploads over the socket: in one piece, in chunks, streamed, resumed, cancelled, refused, mounted."""

from __future__ import annotations

import http.client
import os
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from provender.server import Limits
from provender.server.uploads import AREA
from support.served import Answer, Client, digest_of, served

CONTENT = os.urandom(2_000_003)


def begin(client: Client, repository: str = "a/b", query: str = "") -> str:
    answer = client.ask("POST", f"/v2/{repository}/blobs/uploads/{query}")
    assert answer.status == 202, answer
    return answer.headers["location"]


def patch(client: Client, location: str, start: int, chunk: bytes) -> Answer:
    return client.ask("PATCH", location, chunk, content_range=f"{start}-{start + len(chunk) - 1}")


def temporary_files(store: Path) -> list[str]:
    return [path.name for path in store.rglob("*") if AREA in path.parts and len(path.name) == 32]


@pytest.mark.parametrize("algorithm", ["sha256", "sha512"])
def test_post_then_put(shared: Client, algorithm: str) -> None:
    digest = digest_of(CONTENT, algorithm)
    answer = shared.ask("PUT", f"{begin(shared)}?digest={digest}", CONTENT)
    assert answer.status == 201
    assert answer.headers["location"] == f"/v2/a/b/blobs/{digest}"
    assert shared.ask("GET", answer.headers["location"]).body == CONTENT


@pytest.mark.parametrize("query", ["", "?digest-algorithm=sha512"])
def test_chunks_in_order(shared: Client, query: str) -> None:
    location = begin(shared, query=query)
    for start in range(0, len(CONTENT), 700_000):
        answer = patch(shared, location, start, CONTENT[start : start + 700_000])
        assert answer.status == 202
        assert answer.headers["range"] == f"0-{min(start + 700_000, len(CONTENT)) - 1}"
        location = answer.headers["location"]
    digest = digest_of(CONTENT, "sha512")
    assert shared.ask("PUT", f"{location}?digest={digest}").status == 201
    assert shared.ask("GET", f"/v2/a/b/blobs/{digest}").body == CONTENT


def test_a_streamed_chunk_has_no_length(shared: Client) -> None:
    location = begin(shared)

    def pieces() -> Iterator[bytes]:
        for start in range(0, len(CONTENT), 99_999):
            yield CONTENT[start : start + 99_999]

    answer = shared.ask("PATCH", location, pieces())
    assert (answer.status, answer.headers["range"]) == (202, f"0-{len(CONTENT) - 1}")
    assert shared.ask("PUT", f"{location}?digest={digest_of(CONTENT)}").status == 201


def test_a_chunk_out_of_order_is_refused_and_the_upload_goes_on(shared: Client) -> None:
    location = begin(shared)
    assert patch(shared, location, 5, b"later").status == 416
    assert patch(shared, location, 0, b"first").status == 202
    answer = patch(shared, location, 0, b"first")
    assert (answer.status, answer.headers["range"]) == (416, "0-4")
    assert shared.ask("PUT", f"{location}?digest={digest_of(b'first')}").status == 201


@pytest.mark.parametrize("header", ["x-y", "bytes 0-4/5", "4-0", "0-", "-4", "0-4-8"])
def test_a_malformed_content_range_is_refused(shared: Client, header: str) -> None:
    assert shared.ask("PATCH", begin(shared), b"12345", content_range=header).status == 416


def test_a_chunk_of_another_length_than_it_claims_leaves_the_upload_as_it_was(shared: Client) -> None:
    location = begin(shared)
    assert patch(shared, location, 0, b"start").status == 202
    assert shared.ask("PATCH", location, b"12345", content_range="5-20").code == "SIZE_INVALID"
    streamed = shared.ask("PATCH", location, iter([b"12345"]), content_range="5-20")
    assert streamed.code == "SIZE_INVALID"
    assert shared.ask("GET", location).headers["range"] == "0-4"
    assert shared.ask("PUT", f"{location}?digest={digest_of(b'start')}").status == 201


def test_a_broken_chunk_is_resumed_where_it_broke(shared: Client) -> None:
    location = begin(shared)
    host, port = shared.host.split(":")
    with socket.create_connection((host, int(port))) as connection:
        head = f"PATCH {location} HTTP/1.1\r\nHost: {shared.host}\r\nContent-Length: {len(CONTENT)}\r\n\r\n"
        connection.sendall(head.encode() + CONTENT[:1_500_000])
        time.sleep(0.3)  # what was sent is to arrive before the connection ends
    status = shared.ask("GET", location)
    assert status.status == 204
    done = int(status.headers["range"].removeprefix("0-")) + 1
    assert 0 < done <= 1_500_000
    assert patch(shared, status.headers["location"], done, CONTENT[done:]).status == 202
    assert shared.ask("PUT", f"{location}?digest={digest_of(CONTENT)}").status == 201


def test_a_cancelled_upload_is_gone(shared: Client) -> None:
    location = begin(shared)
    patch(shared, location, 0, b"first")
    assert shared.ask("DELETE", location).status == 204
    for method in ("GET", "PATCH", "PUT", "DELETE"):
        answer = shared.ask(method, location)
        assert answer.status == 404
    assert shared.ask("GET", location).code == "BLOB_UPLOAD_UNKNOWN"


def test_an_upload_belongs_to_its_repository(shared: Client) -> None:
    location = begin(shared, "a/b")
    assert shared.ask("GET", location.replace("/a/b/", "/a/c/")).code == "BLOB_UPLOAD_UNKNOWN"


@pytest.mark.parametrize("query", ["?digest=sha256:" + "0" * 64, "?digest=sha256:x", "?digest=md5:" + "0" * 32, ""])
def test_a_wrong_digest_is_refused_and_nothing_is_kept(shared: Client, query: str) -> None:
    answer = shared.ask("PUT", f"{begin(shared)}{query}", b"content")
    assert (answer.status, answer.code) == (400, "DIGEST_INVALID")
    assert shared.ask("GET", f"/v2/a/b/blobs/{digest_of(b'content')}").status == 404
    if query:
        post = shared.ask("POST", f"/v2/a/b/blobs/uploads/{query}", b"content")
        assert (post.status, post.code) == (400, "DIGEST_INVALID")


def test_an_unknown_algorithm_is_refused(shared: Client) -> None:
    assert shared.ask("POST", "/v2/a/b/blobs/uploads/?digest-algorithm=md5").code == "DIGEST_INVALID"


def test_a_blob_is_mounted_as_a_link(store: tuple[Client, Path]) -> None:
    client, path = store
    digest = client.blob("from/here", b"shared")
    answer = client.ask("POST", f"/v2/to/there/blobs/uploads/?mount={digest}&from=from/here")
    assert answer.status == 201
    assert answer.headers["location"] == f"/v2/to/there/blobs/{digest}"
    files = [path / name / "blobs/sha256" / digest.removeprefix("sha256:") for name in ("from/here", "to/there")]
    assert os.path.samefile(*files)
    assert client.ask("DELETE", f"/v2/from/here/blobs/{digest}").status == 202
    assert client.ask("GET", f"/v2/to/there/blobs/{digest}").body == b"shared"


def test_a_mount_without_origin_finds_it_anywhere(shared: Client) -> None:
    digest = shared.blob("from/here", b"shared")
    assert shared.ask("POST", f"/v2/to/there/blobs/uploads/?mount={digest}").status == 201
    assert shared.ask("GET", f"/v2/to/there/blobs/{digest}").body == b"shared"


@pytest.mark.parametrize("query", ["&from=from/here", "&from=none", "&from=..%2f..", ""])
def test_a_mount_of_what_is_not_there_opens_an_upload(shared: Client, query: str) -> None:
    shared.blob("from/here", b"something else")
    answer = shared.ask("POST", f"/v2/to/there/blobs/uploads/?mount={digest_of(b'x')}{query}")
    assert answer.status in ((202, 400) if ".." in query else (202,))


def test_limits_of_size_and_count(tmp_path: Path) -> None:
    limits = Limits(blob_bytes=1000, uploads=2)
    with served(tmp_path / "store", limits=limits) as client:
        location = begin(client)
        assert client.ask("PATCH", location, bytes(1001)).status == 413
        streamed = client.ask("PATCH", location, iter([bytes(600), bytes(600)]))
        assert (streamed.status, streamed.code) == (413, "SIZE_INVALID")
        assert client.ask("PATCH", location, bytes(1000)).status == 202
        assert client.ask("PATCH", location, b"x").status == 413
        begin(client)
        answer = client.ask("POST", "/v2/a/b/blobs/uploads/")
        assert (answer.status, answer.code) == (429, "TOOMANYREQUESTS")
        assert "retry-after" in answer.headers


def test_an_upload_that_nobody_uses_makes_room(tmp_path: Path) -> None:
    with served(tmp_path / "store", limits=Limits(uploads=1, upload_idle_s=0.05)) as client:
        location = begin(client)
        patch(client, location, 0, b"first")
        time.sleep(0.1)
        begin(client)
        assert client.ask("GET", location).status == 404


def test_the_end_of_the_server_leaves_no_temporary_file(tmp_path: Path) -> None:
    with served(tmp_path / "store") as client:
        patch(client, begin(client), 0, b"first")
        assert len(temporary_files(tmp_path / "store")) == 1
    assert not (tmp_path / "store" / AREA).exists()


def test_a_client_that_stands_still_is_cut_off(tmp_path: Path) -> None:
    lines: list[str] = []
    with served(tmp_path / "store", limits=Limits(idle_s=0.3), lines=lines) as client:
        location = begin(client)
        connection = http.client.HTTPConnection(client.host, timeout=10)
        connection.putrequest("PATCH", location)
        connection.putheader("Content-Length", "100")
        connection.endheaders(b"some")
        with pytest.raises((http.client.RemoteDisconnected, ConnectionResetError)):
            connection.getresponse()
        connection.close()
        assert client.ask("GET", location).headers["range"] == "0-3"
    assert any('"status": 499' in line for line in lines)
