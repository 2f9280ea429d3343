"""Blobs over the socket: whole, in parts, conditional, deleted."""

from __future__ import annotations

import http.client
import os
import random
import socket
from pathlib import Path

import pytest

from support.certificates import make_certificates
from support.served import Client, digest_of, served

CONTENT = bytes(range(256)) * 40


@pytest.mark.parametrize("algorithm", ["sha256", "sha512"])
def test_a_blob_comes_back_with_its_digest(shared: Client, algorithm: str) -> None:
    digest = shared.blob("a/b", CONTENT, algorithm)
    for method, body in (("GET", CONTENT), ("HEAD", b"")):
        answer = shared.ask(method, f"/v2/a/b/blobs/{digest}?ns=registry.example")
        assert (answer.status, answer.body) == (200, body)
        assert answer.headers["content-length"] == str(len(CONTENT))
        assert answer.headers["docker-content-digest"] == digest
        assert answer.headers["etag"] == f'"{digest}"'


@pytest.mark.parametrize("size", [0, 1, (128 << 10) + 1, (3 << 20) + 17])
def test_every_size_comes_back_whole(shared: Client, size: int) -> None:
    content = os.urandom(size)
    digest = shared.blob("a/b", content)
    assert shared.ask("GET", f"/v2/a/b/blobs/{digest}").body == content


@pytest.mark.parametrize(
    ("header", "first", "last"),
    [
        ("bytes=0-0", 0, 0),
        ("bytes=500-1499", 500, 1499),
        ("bytes=500-", 500, 10239),
        ("bytes=-500", 9740, 10239),
        ("bytes=-99999", 0, 10239),
        ("bytes=10000-99999", 10000, 10239),
    ],
)
def test_a_range_selects_a_part(shared: Client, header: str, first: int, last: int) -> None:
    digest = shared.blob("a/b", CONTENT)
    answer = shared.ask("GET", f"/v2/a/b/blobs/{digest}", range=header)
    assert (answer.status, answer.body) == (206, CONTENT[first : last + 1])
    assert answer.headers["content-range"] == f"bytes {first}-{last}/{len(CONTENT)}"


@pytest.mark.parametrize("header", ["bytes=500-0", "bytes=10240-", "bytes=-0", "bytes=99999-100000"])
def test_a_range_outside_is_refused(shared: Client, header: str) -> None:
    digest = shared.blob("a/b", CONTENT)
    answer = shared.ask("GET", f"/v2/a/b/blobs/{digest}", range=header)
    assert answer.status == 416
    assert answer.headers["content-range"] == f"bytes */{len(CONTENT)}"


@pytest.mark.parametrize("header", ["lines=1-2", "bytes=1-2,4-5", "bytes=x-y", "bytes", "bytes=--1", "bytes=-"])
def test_a_range_that_cannot_be_read_selects_everything(shared: Client, header: str) -> None:
    digest = shared.blob("a/b", CONTENT)
    assert shared.ask("GET", f"/v2/a/b/blobs/{digest}", range=header).status == 200


def test_a_range_counts_only_if_the_content_is_the_same(shared: Client) -> None:
    digest = shared.blob("a/b", CONTENT)
    path = f"/v2/a/b/blobs/{digest}"
    assert shared.ask("GET", path, range="bytes=0-9", if_range=f'"{digest}"').status == 206
    assert shared.ask("GET", path, range="bytes=0-9", if_range='"other"').status == 200


@pytest.mark.parametrize("form", ['"{}"', 'W/"{}"', '"x", "{}"', "*"])
def test_what_the_client_has_is_not_sent_again(shared: Client, form: str) -> None:
    digest = shared.blob("a/b", CONTENT)
    answer = shared.ask("GET", f"/v2/a/b/blobs/{digest}", if_none_match=form.format(digest))
    assert (answer.status, answer.body) == (304, b"")
    assert answer.headers["docker-content-digest"] == digest


def test_a_deleted_blob_is_gone(shared: Client) -> None:
    digest = shared.blob("a/b", CONTENT)
    assert shared.ask("DELETE", f"/v2/a/b/blobs/{digest}").status == 202
    for method in ("GET", "HEAD", "DELETE"):
        answer = shared.ask(method, f"/v2/a/b/blobs/{digest}")
        assert answer.status == 404
    assert shared.ask("GET", f"/v2/a/b/blobs/{digest}").code == "BLOB_UNKNOWN"


def test_a_manifest_is_not_deleted_as_a_blob(shared: Client) -> None:
    digest = shared.manifest("a/b", "v1", [b"x"])
    assert shared.ask("DELETE", f"/v2/a/b/blobs/{digest}").code == "BLOB_UNKNOWN"
    assert shared.ask("GET", "/v2/a/b/manifests/v1").status == 200


@pytest.mark.parametrize(
    ("path", "status", "code"),
    [
        ("/v2/none/blobs/sha256:" + "0" * 64, 404, "NAME_UNKNOWN"),
        ("/v2/a/b/blobs/sha256:short", 400, "DIGEST_INVALID"),
        ("/v2/a/b/blobs/sha256:" + "A" * 64, 400, "DIGEST_INVALID"),
        ("/v2/a/b/blobs/md5:" + "0" * 32, 400, "DIGEST_INVALID"),
        ("/v2/a/b/blobs/..%2f..%2findex.json", 404, "UNSUPPORTED"),
        ("/v2/A/b/blobs/sha256:" + "0" * 64, 400, "NAME_INVALID"),
        ("/v2/../../etc/blobs/sha256:" + "0" * 64, 400, "NAME_INVALID"),
        ("/v2/a/blobs/b/blobs/sha256:" + "0" * 64, 404, "NAME_UNKNOWN"),
        ("/v2/a/b/nothing", 404, "UNSUPPORTED"),
        ("/", 404, "UNSUPPORTED"),
    ],
)
def test_refusals_have_the_codes_of_the_specification(shared: Client, path: str, status: int, code: str) -> None:
    shared.blob("a/b", b"there")
    answer = shared.ask("GET", path)
    assert (answer.status, answer.code) == (status, code)


def test_a_shortened_file_is_never_taken_for_a_whole_one(tmp_path: Path) -> None:
    content = os.urandom(4 << 20)
    with served(tmp_path / "store") as client:
        digest = client.blob("a", content)
        path = tmp_path / "store/a/blobs/sha256" / digest.removeprefix("sha256:")
        os.truncate(path, 100)
        assert client.ask("GET", f"/v2/a/blobs/{digest}").headers["content-length"] == "100"
        # It is the client's part to compare; a new push repairs it.
        client.blob("a", content)
        assert digest_of(client.ask("GET", f"/v2/a/blobs/{digest}").body) == digest


@pytest.mark.parametrize("tls", [False, True])
def test_a_large_blob_comes_whole_and_in_parts(tmp_path: Path, tls: bool) -> None:
    content = random.Random(5).randbytes(3_000_017)
    with served(tmp_path / "store", certificates=make_certificates(tmp_path) if tls else None) as client:
        digest = client.blob("a", content)
        assert client.ask("GET", f"/v2/a/blobs/{digest}").body == content
        for first, last in ((0, 2_999_999), (131_073, 2_500_000), (2_000_000, 3_000_016)):
            part = client.ask("GET", f"/v2/a/blobs/{digest}", range=f"bytes={first}-{last}")
            assert (part.status, part.body) == (206, content[first : last + 1])


def test_a_client_that_goes_in_the_middle_of_a_large_blob_leaves_the_server_well(tmp_path: Path) -> None:
    with served(tmp_path / "store") as client:
        digest = client.blob("a", bytes(20_000_000))
        host, port = client.host.split(":")
        for _ in range(3):
            with socket.create_connection((host, int(port)), timeout=10) as connection:
                connection.sendall(f"GET /v2/a/blobs/{digest} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
                assert connection.recv(1000).startswith(b"HTTP/1.1 200")
        assert len(client.ask("GET", f"/v2/a/blobs/{digest}").body) == 20_000_000


def test_a_blob_that_grew_shorter_is_not_told_to_be_whole(tmp_path: Path) -> None:
    with served(tmp_path / "store") as client:
        digest = client.blob("a", bytes(40_000_000))
        path = tmp_path / "store" / "a" / "blobs" / digest.replace(":", "/")
        connection = http.client.HTTPConnection(client.host, timeout=20)
        connection.request("GET", f"/v2/a/blobs/{digest}")
        response = connection.getresponse()
        os.truncate(path, 5)
        with pytest.raises((http.client.IncompleteRead, ConnectionError)):
            response.read()
        connection.close()
