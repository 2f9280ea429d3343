"""Document: bytes first, strict reading, and what is refused."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from provender.errors import IntegrityError, InvalidDocument, ProvenderError, Unsupported
from provender.oci import EMPTY_DESCRIPTOR, MAX_DOCUMENT_BYTES, Descriptor, Digest, Document, Index, Manifest
from provender.oci import media_types as mt

D = "sha256:" + "a" * 64
LAYER = {"mediaType": "text/plain", "digest": D, "size": 3}


def read(fields: object, media_type: str | None = None) -> Document:
    return Document.read(json.dumps(fields).encode(), media_type=media_type)


def manifest(**fields: object) -> dict[str, object]:
    return {"schemaVersion": 2, "mediaType": mt.MANIFEST, "config": LAYER, "layers": [LAYER], **fields}


def test_the_bytes_are_kept_exactly() -> None:
    raw = b'{ "schemaVersion": 2,\n  "layers": [ ], "x-unknown": {"a": [1, null]} }'
    document = Document.read(raw, media_type=mt.MANIFEST)
    assert document.raw == raw
    assert document.digest == Digest.of(raw)
    assert document.descriptor.size == len(raw)


def test_null_collections_of_go_encoders_are_read() -> None:
    view = read(manifest(layers=None, annotations=None, subject=None, config={**LAYER, "annotations": None})).manifest()
    assert view.layers == ()
    assert view.annotations is None
    assert read({"schemaVersion": 2, "mediaType": mt.INDEX, "manifests": None}).index().manifests == ()


def test_unknown_fields_and_types_are_no_error() -> None:
    view = read(manifest(artifactType="application/vnd.acme.v9", hello=1, layers=[{**LAYER, "zip": True}])).manifest()
    assert view.effective_type == "application/vnd.acme.v9"


@pytest.mark.parametrize(
    ("fields", "kind"),
    [
        ({"artifactType": "a/b"}, "a/b"),
        ({"config": {**LAYER, "mediaType": "application/vnd.cncf.helm.config.v1+json"}}, None),
        ({"config": {**LAYER, "mediaType": mt.EMPTY}}, ""),
        ({"artifactType": ""}, "text/plain"),
    ],
)
def test_the_effective_type_is_the_artifact_type_else_the_config_type(fields: dict[str, object], kind: str) -> None:
    expected = {None: "application/vnd.cncf.helm.config.v1+json", "": None}.get(kind, kind)
    assert read(manifest(**fields)).manifest().effective_type == expected


def test_artifact_manifests_of_release_candidates_are_read() -> None:
    raw = {"mediaType": mt.OCI_ARTIFACT_MANIFEST, "artifactType": "a/b", "blobs": [LAYER], "subject": LAYER}
    view = read(raw).manifest()
    assert view.config is None
    assert [layer.digest for layer in view.layers] == [D]


def test_docker_documents_are_read() -> None:
    assert not read(manifest(mediaType=mt.DOCKER_MANIFEST)).is_index
    assert read({"schemaVersion": 2, "mediaType": mt.DOCKER_INDEX, "manifests": [LAYER]}).is_index


@pytest.mark.parametrize(
    ("raw", "code"),
    [
        (b"", "invalid-json"),
        (b"<html>", "invalid-json"),
        (b"[]", "invalid-json"),
        (b"\xff\xfe", "invalid-json"),
        (b'{"layers":[],"a":NaN}', "invalid-json"),
        (b"[" * 100_000, "invalid-json"),
        (b'{"layers":' + b"[" * 100 + b"]" * 100 + b"}", "invalid-json"),
        (b'{"layers":[],"layers":[]}', "duplicate-key"),
        (b'{"layers":[{"size":1,"size":2}]}', "duplicate-key"),
        (b'{"manifests":[],"layers":[]}', "ambiguous-document"),
        (b'{"manifests":[],"config":{}}', "ambiguous-document"),
        (b'{"schemaVersion":2}', "not-a-document"),
        (b'{"mediaType":"text/html","layers":[]}', "not-a-document"),
        (b'{"mediaType":5,"layers":[]}', "invalid-document"),
        (b'{"schemaVersion":3,"layers":[]}', "invalid-document"),
        (b'{"layers":[{"mediaType":"a/b","digest":"sha256:' + b"a" * 64 + b'","size":-1}]}', "invalid-document"),
        (b'{"layers":[{"mediaType":"a/b","digest":"sha256:' + b"a" * 64 + b'","size":1.5}]}', "invalid-document"),
        (b'{"layers":[{"mediaType":"a/b","digest":"sha256:' + b"a" * 64 + b'","size":"1"}]}', "invalid-document"),
        (
            b'{"layers":[{"mediaType":"a/b","digest":"sha256:' + b"a" * 64 + b'","size":9223372036854775808}]}',
            "invalid-document",
        ),
        (b'{"layers":[{"mediaType":"a/b; c=d","digest":"sha256:' + b"a" * 64 + b'","size":1}]}', "invalid-document"),
        (b'{"layers":[{"mediaType":"a/b","digest":"md5:aa","size":1}]}', "invalid-document"),
        (b'{"layers":[{"mediaType":"a/b","digest":"sha256:../..","size":1}]}', "invalid-document"),
        (b'{"layers":{}}', "invalid-document"),
    ],
)
def test_what_is_refused(raw: bytes, code: str) -> None:
    with pytest.raises(InvalidDocument) as caught:
        Document.read(raw)
    assert caught.value.code == code


def test_over_size_documents_are_refused() -> None:
    with pytest.raises(InvalidDocument, match="over the limit"):
        Document.read(b" " * (MAX_DOCUMENT_BYTES + 1))


def test_media_type_conflicts_are_refused() -> None:
    with pytest.raises(InvalidDocument) as caught:
        read(manifest(), mt.DOCKER_MANIFEST)
    assert caught.value.code == "media-type-conflict"
    with pytest.raises(InvalidDocument, match="has manifests like an index"):
        read({"schemaVersion": 2, "manifests": [], "layers": []}, mt.MANIFEST)
    with pytest.raises(InvalidDocument):
        read({"schemaVersion": 2, "manifests": []}, mt.MANIFEST)


@pytest.mark.parametrize("fields", [{"schemaVersion": 1, "fsLayers": []}, {"mediaType": next(iter(mt.SCHEMA1_TYPES))}])
def test_docker_schema_1_is_named(fields: dict[str, object]) -> None:
    with pytest.raises(Unsupported, match="schema 1"):
        read(fields)


def test_the_expected_digest_is_checked_by_its_algorithm() -> None:
    raw = json.dumps(manifest()).encode()
    assert Document.read(raw, expected=Digest.of(raw, "sha512")).digest.algorithm == "sha512"
    with pytest.raises(IntegrityError) as caught:
        Document.read(raw, expected=Digest(D))
    assert caught.value.code == "digest-mismatch"


def test_a_view_of_the_wrong_kind_is_refused() -> None:
    with pytest.raises(InvalidDocument):
        read(manifest()).index()
    with pytest.raises(InvalidDocument):
        read({"schemaVersion": 2, "mediaType": mt.INDEX, "manifests": []}).manifest()


def test_authored_documents_are_compact_ordered_and_read_back() -> None:
    view = Manifest(
        schema_version=2,
        media_type=mt.MANIFEST,
        artifact_type="application/vnd.acme.v1",
        config=EMPTY_DESCRIPTOR,
        layers=(Descriptor.of(b"<x>", "text/plain", annotations={"org.opencontainers.image.title": "a.txt"}),),
        annotations={"k": "<v> ü"},
    )
    document = Document.author(view)
    assert document.raw.startswith(b'{"schemaVersion":2,"mediaType":')
    assert "<v> ü".encode() in document.raw
    assert document.manifest() == view
    assert list(json.loads(document.raw)) == [
        "schemaVersion",
        "mediaType",
        "artifactType",
        "config",
        "layers",
        "annotations",
    ]


def test_an_authored_empty_index_keeps_its_list() -> None:
    raw = Document.author(Index(schema_version=2, media_type=mt.INDEX, manifests=())).raw
    assert json.loads(raw)["manifests"] == []


@pytest.mark.parametrize("digest", [{}, [], 1, None, True, "", "sha256:", D.upper()])
def test_a_descriptor_whose_digest_is_none_is_refused(digest: object) -> None:
    with pytest.raises(InvalidDocument):
        read(manifest(subject={**LAYER, "digest": digest}))


def test_embedded_data_is_verified() -> None:
    good = Descriptor(media_type=mt.EMPTY, digest=EMPTY_DESCRIPTOR.digest, size=2, data="e30=")
    assert good.embedded() == b"{}"
    assert EMPTY_DESCRIPTOR.embedded() is None
    for data in ("e30", "!!!!", "e3w=", "e30=e30="):
        bad = Descriptor(media_type=mt.EMPTY, digest=EMPTY_DESCRIPTOR.digest, size=2, data=data)
        with pytest.raises(IntegrityError):
            bad.embedded()


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=10),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=10), inner, max_size=4),
    max_leaves=12,
)
keys = st.sampled_from(
    ["schemaVersion", "mediaType", "config", "layers", "manifests", "annotations", "subject", "blobs"]
)

descriptors = st.fixed_dictionaries(
    {"mediaType": json_values | st.just("text/plain"), "digest": json_values | st.just(D), "size": json_values},
    optional={"annotations": json_values, "data": json_values, "platform": json_values, "urls": json_values},
)


@given(st.dictionaries(keys, json_values | descriptors | st.lists(descriptors, max_size=2)))
def test_any_json_is_a_document_or_an_error_of_ours(fields: dict[str, object]) -> None:
    raw = json.dumps(fields).encode()
    try:
        document = Document.read(raw)
    except ProvenderError:
        return
    assert document.raw == raw
    document.parse()


def test_documents_of_other_tools_are_valid(vectors: Path) -> None:
    count = 0
    for path in vectors.glob("oras-layouts/*/blobs/sha256/*"):
        raw = path.read_bytes()
        if raw.startswith(b"{") and (b'"layers"' in raw or b'"manifests"' in raw):
            assert Document.read(raw, expected=Digest(f"sha256:{path.name}")).raw == raw
            count += 1
    assert count > 10


def test_an_artifact_that_poses_as_an_image_says_what_it_is() -> None:
    image = {**LAYER, "mediaType": mt.IMAGE_CONFIG}
    noted = {"dev.provender.artifact.type": "application/vnd.acme.v1"}
    assert read(manifest(config=image, annotations=noted)).manifest().effective_type == "application/vnd.acme.v1"
    assert read(manifest(config=image)).manifest().effective_type == mt.IMAGE_CONFIG
    spoofed = {"dev.provender.artifact.type": "no type"}
    assert read(manifest(config=image, annotations=spoofed)).manifest().effective_type == mt.IMAGE_CONFIG


_FIRST_IN_MANY_THREADS = """
import sys, threading
from provender.oci import Document
sys.setswitchinterval(1e-6)
raw = sys.stdin.buffer.read()
barrier = threading.Barrier(8)
def read():
    barrier.wait()
    Document.read(raw).manifest()
threads = [threading.Thread(target=read) for _ in range(8)]
for thread in threads: thread.start()
for thread in threads: thread.join()
"""


def test_the_first_documents_may_be_read_in_many_threads_at_once() -> None:
    raw = json.dumps(manifest(layers=[{**LAYER, "platform": {"os": "a", "architecture": "b"}}])).encode()
    for _ in range(6):  # a race that was lost in one of four
        done = subprocess.run(
            [sys.executable, "-c", _FIRST_IN_MANY_THREADS], input=raw, capture_output=True, timeout=60
        )
        assert (done.returncode, done.stderr) == (0, b"")
