"""Manifests and tags over the socket."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from support.served import EMPTY, INDEX, MANIFEST, Client, described, digest_of, served

DOCKER = "application/vnd.docker.distribution.manifest.v2+json"


def put(client: Client, target: str, raw: bytes, media_type: str | None = MANIFEST) -> tuple[int, str]:
    answer = client.ask("PUT", f"/v2/a/b/manifests/{target}", raw, content_type=media_type)
    return answer.status, "" if answer.status == 201 else answer.code


def artifact(client: Client, **fields: object) -> bytes:
    client.blob("a/b", b"{}")
    layer = described(b"{}", EMPTY)
    return json.dumps({"schemaVersion": 2, "config": layer, "layers": [layer], **fields}).encode()


def test_the_bytes_are_kept_and_the_tag_points_at_them(client: Client) -> None:
    raw = b" " + artifact(client, unknown={"b": 1, "a": [1.0]}) + b"\n"
    answer = client.ask("PUT", "/v2/a/b/manifests/v1", raw, content_type=f"{MANIFEST}; charset=utf-8")
    assert (answer.status, answer.headers["docker-content-digest"]) == (201, digest_of(raw))
    assert answer.headers["location"] == f"/v2/a/b/manifests/{digest_of(raw)}"
    for target in ("v1", digest_of(raw)):
        found = client.ask("GET", f"/v2/a/b/manifests/{target}")
        assert (found.status, found.body, found.headers["content-type"]) == (200, raw, MANIFEST)
        head = client.ask("HEAD", f"/v2/a/b/manifests/{target}")
        assert (head.status, head.headers["content-length"]) == (200, str(len(raw)))
        assert head.headers["docker-content-digest"] == digest_of(raw)
        assert client.ask("GET", f"/v2/a/b/manifests/{target}", if_none_match=f'"{digest_of(raw)}"').status == 304


def test_a_manifest_is_pushed_by_sha512(client: Client) -> None:
    raw = artifact(client)
    digest = digest_of(raw, "sha512")
    answer = client.ask("PUT", f"/v2/a/b/manifests/{digest}", raw, content_type=MANIFEST)
    assert (answer.status, answer.headers["docker-content-digest"]) == (201, digest)
    assert client.ask("GET", f"/v2/a/b/manifests/{digest}").body == raw


def test_docker_manifests_are_taken(client: Client) -> None:
    raw = artifact(client, mediaType=DOCKER)
    assert put(client, "v1", raw, DOCKER) == (201, "")
    assert client.ask("GET", "/v2/a/b/manifests/v1").headers["content-type"] == DOCKER


def test_one_push_sets_several_tags(client: Client) -> None:
    raw = artifact(client)
    target = f"{digest_of(raw)}?tag=one&tag=two&tag=one"
    answer = client.ask("PUT", f"/v2/a/b/manifests/{target}", raw, content_type=MANIFEST)
    assert (answer.status, answer.headers["oci-tag"]) == (201, "one, two")
    assert client.ask("GET", "/v2/a/b/tags/list").json["tags"] == ["one", "two"]
    many = "&".join(f"tag=t{number}" for number in range(100))
    assert put(client, f"{digest_of(raw)}?{many}", raw)[0] == 414


def test_what_is_refused_and_how(client: Client) -> None:
    raw = artifact(client)
    assert put(client, "v1", raw, "application/json") == (400, "MANIFEST_INVALID")
    assert put(client, "v1", raw, INDEX) == (400, "MANIFEST_INVALID")
    assert put(client, "v1", artifact(client, mediaType=DOCKER)) == (400, "MANIFEST_INVALID")
    assert put(client, "v1", artifact(client, manifests=[])) == (400, "MANIFEST_INVALID")
    assert put(client, "v1", b"no json") == (400, "MANIFEST_INVALID")
    assert put(client, "v1", b"") == (400, "MANIFEST_INVALID")
    assert put(client, "v1", b"[" * 100_000) == (400, "MANIFEST_INVALID")
    assert put(client, "sha256:" + "0" * 64, raw) == (400, "DIGEST_INVALID")
    assert put(client, "sha256:bad", raw) == (400, "DIGEST_INVALID")
    assert put(client, ".hidden", raw) == (400, "TAG_INVALID")
    assert put(client, f"{digest_of(raw)}?tag=-x", raw) == (400, "TAG_INVALID")
    assert client.ask("GET", "/v2/a/b/manifests/v1").code == "MANIFEST_UNKNOWN"


def test_a_manifest_over_four_mebibytes_is_too_large(client: Client) -> None:
    def of_size(size: int) -> bytes:
        raw = artifact(client, annotations={"a": ""})
        return raw.replace(b'"a": ""', b'"a": "' + b"x" * (size - len(raw)) + b'"')

    assert len(of_size(4 << 20)) == 4 << 20
    assert put(client, "v1", of_size(4 << 20)) == (201, "")
    assert put(client, "v2", of_size((4 << 20) + 1)) == (413, "SIZE_INVALID")


def test_a_manifest_without_its_blobs_is_refused_unless_that_is_allowed(client: Client, tmp_path: Path) -> None:
    layer = described(b"not pushed", "application/octet-stream")
    raw = artifact(client, layers=[layer])
    assert put(client, "v1", raw) == (400, "MANIFEST_BLOB_UNKNOWN")
    wrong = {**described(b"{}", EMPTY), "size": 3}
    assert put(client, "v1", artifact(client, layers=[wrong])) == (400, "MANIFEST_BLOB_UNKNOWN")
    foreign = {**layer, "urls": ["https://layers.example/x"]}
    assert put(client, "v1", artifact(client, layers=[foreign])) == (201, "")
    index = json.dumps({"schemaVersion": 2, "mediaType": INDEX, "manifests": [{**layer, "mediaType": MANIFEST}]})
    assert put(client, "v2", index.encode(), INDEX) == (201, "")
    with served(tmp_path / "sparse", allow_sparse=True) as sparse:
        assert put(sparse, "v1", raw) == (201, "")


def test_deleting_a_tag_leaves_the_manifest(client: Client) -> None:
    digest = client.manifest("a/b", "v1", [b"x"])
    assert client.ask("DELETE", "/v2/a/b/manifests/v1").status == 202
    assert client.ask("DELETE", "/v2/a/b/manifests/v1").status == 404
    assert client.ask("GET", f"/v2/a/b/manifests/{digest}").status == 200
    assert client.ask("GET", "/v2/a/b/tags/list").json == {"name": "a/b", "tags": []}


def test_deleting_a_manifest_takes_its_tags(client: Client) -> None:
    digest = client.manifest("a/b", "v1", [b"x"])
    client.manifest("a/b", "v2", [b"x"])
    client.manifest("a/b", "other", [b"y"])
    assert client.ask("DELETE", f"/v2/a/b/manifests/{digest}").status == 202
    assert client.ask("GET", "/v2/a/b/tags/list").json["tags"] == ["other"]
    assert client.ask("DELETE", f"/v2/a/b/manifests/{digest}").code == "MANIFEST_UNKNOWN"
    assert client.ask("DELETE", "/v2/a/none/manifests/v1").code == "NAME_UNKNOWN"


def test_a_blob_is_no_manifest(client: Client) -> None:
    digest = client.blob("a/b", b"just bytes")
    assert client.ask("GET", f"/v2/a/b/manifests/{digest}").code == "MANIFEST_UNKNOWN"
    assert client.ask("DELETE", f"/v2/a/b/manifests/{digest}").code == "MANIFEST_UNKNOWN"
    assert client.ask("GET", f"/v2/a/b/blobs/{digest}").body == b"just bytes"


@pytest.mark.parametrize("method", ["POST", "PATCH", "OPTIONS"])
def test_another_method_is_refused(client: Client, method: str) -> None:
    answer = client.ask(method, "/v2/a/b/manifests/v1")
    assert (answer.status, answer.code) == (405, "UNSUPPORTED")
    assert "GET" in answer.headers["allow"]


@pytest.mark.parametrize(
    "change", [{"subject": {"digest": {}}}, {"schemaVersion": None}, {"layers": [1]}, {"config": 1}, {"config": None}]
)
def test_a_manifest_that_is_none_is_refused(client: Client, change: dict[str, object]) -> None:
    document = {"schemaVersion": 2, "mediaType": MANIFEST, "layers": [], "config": described(b"{}", EMPTY), **change}
    client.blob("a", b"{}")
    answer = client.ask("PUT", "/v2/a/manifests/v1", json.dumps(document).encode(), content_type=MANIFEST)
    assert (answer.status, answer.code) == (400, "MANIFEST_INVALID")
