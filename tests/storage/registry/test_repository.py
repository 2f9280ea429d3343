from __future__ import annotations

import json

import pytest

from provender.errors import (
    IntegrityError,
    InvalidDocument,
    InvalidReference,
    NotFound,
    Unavailable,
    Unsupported,
)
from provender.oci import EMPTY_BYTES, EMPTY_DESCRIPTOR, Descriptor, Digest, Document, Index, Manifest
from provender.oci.media_types import INDEX, MANIFEST
from provender.storage.registry import (
    HttpTransport,
    NoCredentials,
    RegistryClient,
    RegistryRepository,
    RetryPolicy,
    Timing,
)
from provender.storage.verify import BytesReader
from support.registry import DropHeader, SetHeader, Status, TestRegistry, digest_of
from support.registry_client import Connector

LAYER = b"layer" * 1000


def a_manifest(*layers: Descriptor, annotations: dict[str, str] | None = None) -> Document:
    return Document.author(
        Manifest(
            schema_version=2,
            media_type=MANIFEST,
            artifact_type="application/vnd.test",
            config=EMPTY_DESCRIPTOR,
            layers=layers or (EMPTY_DESCRIPTOR,),
            annotations=annotations,
        )
    )


def pushed(repository: RegistryRepository, *tags: str) -> Document:
    layer = Descriptor.of(LAYER, "application/octet-stream")
    document = a_manifest(layer)
    repository.push(layer, BytesReader(LAYER))
    repository.push(EMPTY_DESCRIPTOR, BytesReader(EMPTY_BYTES))
    repository.push_document(document, tags)
    return document


def test_what_was_pushed_is_resolved_and_fetched(repository: RegistryRepository) -> None:
    document = pushed(repository, "1.0", "latest")
    assert repository.resolve("1.0") == document
    assert repository.resolve(document.digest) == document
    assert list(repository.tags()) == ["1.0", "latest"]
    with repository.fetch(document.manifest().layers[0]) as reader:
        assert reader.read() == LAYER
        assert reader.read() == b""
    with repository.fetch(document.descriptor) as reader:
        assert reader.read() == document.raw


def test_a_pull_costs_one_request_each_and_one_token(connect: Connector) -> None:
    with TestRegistry(auth="token") as registry:
        registry.push_artifact("acme/app", "1.0", [b"one", b"two", b"three"])
        repository = connect(registry, connect.user(registry)).repository("acme/app")
        manifest = repository.resolve("1.0").manifest()
        for layer in manifest.layers:
            with repository.fetch(layer) as reader:
                while reader.read():
                    pass
        # The first manifest request meets the challenge.
        kinds = [item.path.split("/")[-2] for item in registry.asked("GET", "^/v2/")]
        assert kinds == ["manifests"] * 2 + ["blobs"] * 3
        assert registry.count("*", "^/token") == 1
        assert registry.count() == 6
        assert registry.connections == 1


def test_every_manifest_request_accepts_all_types(registry: TestRegistry, repository: RegistryRepository) -> None:
    document = pushed(repository, "1.0")
    repository.resolve("1.0")
    repository.exists(document.descriptor)
    repository.digest_of("1.0")
    asked = [item for item in registry.asked("*", "/manifests/") if item.method in ("GET", "HEAD")]
    assert len(asked) == 3
    assert all(MANIFEST in item.headers["accept"] and INDEX in item.headers["accept"] for item in asked)


def test_sha512_content_travels(registry: TestRegistry, repository: RegistryRepository) -> None:
    content = Descriptor(media_type="application/x", digest=Digest.of(LAYER, "sha512"), size=len(LAYER))
    repository.push(content, BytesReader(LAYER))
    with repository.fetch(content) as reader:
        assert reader.read() == LAYER
        assert reader.read() == b""
    plain = a_manifest()
    repository.push(EMPTY_DESCRIPTOR, BytesReader(EMPTY_BYTES))
    document = Document.read(plain.raw, expected=Digest.of(plain.raw, "sha512"))
    repository.push_document(document, ["by-tag"])
    # By tag alone it would be stored under sha256 only.
    assert repository.resolve(document.digest) == document
    assert registry.tags("acme/app") == {"by-tag": plain.digest}


def test_indexes_travel(repository: RegistryRepository) -> None:
    child = pushed(repository)
    index = Document.author(Index(schema_version=2, media_type=INDEX, manifests=(child.descriptor.bare,)))
    repository.push_document(index, ["multi"])
    assert repository.resolve("multi").is_index


def test_exists_asks_and_says_no(repository: RegistryRepository) -> None:
    document = pushed(repository)
    assert repository.exists(document.descriptor)
    assert repository.exists(EMPTY_DESCRIPTOR)
    assert not repository.exists(Descriptor.of(b"other", "application/x"))


def test_could_not_ask_is_no_no(registry: TestRegistry, repository: RegistryRepository) -> None:
    registry.fault(("HEAD", "/blobs/"), action=Status(500), times=99)
    with pytest.raises(Unavailable):
        repository.exists(EMPTY_DESCRIPTOR)


@pytest.mark.parametrize(
    ("target", "code"), [("nope", "manifest-not-found"), ("sha256:" + "0" * 64, "manifest-not-found")]
)
def test_an_unknown_target_is_not_found(repository: RegistryRepository, target: str, code: str) -> None:
    pushed(repository)
    with pytest.raises(NotFound) as caught:
        repository.resolve(target)
    assert caught.value.code == code
    assert caught.value.where is not None
    assert caught.value.where.endswith(target)


def test_an_unknown_repository_and_blob_are_not_found(connect: Connector, registry: TestRegistry) -> None:
    repository = connect(registry).repository("acme/none")
    with pytest.raises(NotFound) as caught:
        list(repository.tags())
    assert caught.value.code == "repository-not-found"
    registry.push_blob("acme/none", b"x")
    with pytest.raises(NotFound) as caught:
        repository.fetch(EMPTY_DESCRIPTOR)
    assert caught.value.code == "blob-not-found"


def test_a_target_that_is_neither_tag_nor_digest_is_never_sent(
    registry: TestRegistry, repository: RegistryRepository
) -> None:
    for target in ("../x", "sha256:abc", "a/b", "", "x?y"):
        with pytest.raises(InvalidReference):
            repository.resolve(target)
    with pytest.raises(InvalidReference):
        repository.push_document(a_manifest(), ["+bad"])
    assert registry.count() == 0


def test_a_manifest_with_another_digest_than_asked_for_is_refused(
    registry: TestRegistry, repository: RegistryRepository
) -> None:
    digest = registry.push_artifact("acme/app", None, [LAYER])
    stored = registry.content.repository("acme/app").manifests
    stored[digest] = (MANIFEST, a_manifest().raw)
    with pytest.raises(IntegrityError) as caught:
        repository.resolve(digest)
    assert caught.value.code == "digest-mismatch"


def test_a_lying_digest_header_is_only_reported(
    registry: TestRegistry, repository: RegistryRepository, connect: Connector
) -> None:
    digest = registry.push_artifact("acme/app", "1.0", [LAYER])
    registry.fault(("GET", "/manifests/"), action=SetHeader("Docker-Content-Digest", "sha256:" + "0" * 64), times=2)
    assert repository.resolve("1.0").digest == digest
    assert repository.resolve("1.0").digest == digest
    assert len(connect.warnings) == 1


@pytest.mark.parametrize("kind", ["application/octet-stream", "text/plain; charset=utf-8", "application/json", "x/y"])
def test_without_a_telling_content_type_the_field_decides(
    registry: TestRegistry, repository: RegistryRepository, kind: str
) -> None:
    registry.push_artifact("acme/app", "1.0", [LAYER])
    registry.fault(("GET", "/manifests/"), action=SetHeader("Content-Type", kind))
    assert repository.resolve("1.0").descriptor.media_type == MANIFEST


def test_parameters_of_the_content_type_do_not_matter(registry: TestRegistry, repository: RegistryRepository) -> None:
    registry.push_artifact("acme/app", "1.0", [LAYER])
    registry.fault(("GET", "/manifests/"), action=SetHeader("Content-Type", f"{MANIFEST}; charset=utf-8"))
    assert repository.resolve("1.0").descriptor.media_type == MANIFEST


def test_a_conflict_of_content_type_and_field_is_refused(
    registry: TestRegistry, repository: RegistryRepository
) -> None:
    registry.push_artifact("acme/app", "1.0", [LAYER])
    registry.fault(("GET", "/manifests/"), action=SetHeader("Content-Type", INDEX))
    with pytest.raises(InvalidDocument) as caught:
        repository.resolve("1.0")
    assert caught.value.code == "media-type-conflict"
    assert caught.value.where == f"{registry.host}/acme/app:1.0"


def test_a_document_over_the_limit_is_not_read_to_its_end(
    registry: TestRegistry, repository: RegistryRepository
) -> None:
    registry.push_manifest("acme/app", b" " * (9 << 20), tag="huge")
    with pytest.raises(InvalidDocument) as caught:
        repository.resolve("huge")
    assert caught.value.code == "document-too-large"


def test_a_document_that_no_registry_takes_is_not_sent(registry: TestRegistry, repository: RegistryRepository) -> None:
    with pytest.raises(InvalidDocument) as caught:
        repository.push_document(a_manifest(annotations={"a": "x" * (4 << 20)}), ["big"])
    assert caught.value.code == "document-too-large"
    assert registry.count() == 0


def test_a_registry_that_stores_something_else_is_found_out(
    registry: TestRegistry, repository: RegistryRepository
) -> None:
    repository.push(EMPTY_DESCRIPTOR, BytesReader(EMPTY_BYTES))
    registry.fault(("PUT", "/manifests/"), action=SetHeader("Docker-Content-Digest", "sha256:" + "1" * 64))
    with pytest.raises(IntegrityError) as caught:
        repository.push_document(a_manifest(), ["1.0"])
    assert caught.value.code == "digest-mismatch"


def test_digest_of_a_tag_costs_one_head(registry: TestRegistry, repository: RegistryRepository) -> None:
    digest = registry.push_artifact("acme/app", "1.0", [LAYER])
    assert repository.digest_of("1.0") == digest
    assert repository.digest_of("2.0") is None
    assert registry.count("GET") == 0
    assert registry.count("HEAD") == 2


@pytest.mark.parametrize("header", ["Docker-Content-Digest", "Content-Type"])
def test_a_head_that_leaves_something_out_is_followed_by_a_get(
    registry: TestRegistry, repository: RegistryRepository, header: str
) -> None:
    digest = registry.push_artifact("acme/app", "1.0", [LAYER])
    registry.fault(("HEAD", "/manifests/"), action=DropHeader(header))
    assert repository.digest_of("1.0") == digest
    assert [item.method for item in registry.requests] == ["HEAD", "GET"]


def test_a_registry_without_digest_headers_works(registry: TestRegistry, repository: RegistryRepository) -> None:
    registry.content.content_digest = False
    document = pushed(repository, "1.0")
    assert repository.resolve("1.0") == document
    assert repository.head(document.digest) == document.descriptor.bare


def test_tagging_what_was_just_pushed_needs_no_get(registry: TestRegistry, repository: RegistryRepository) -> None:
    document = pushed(repository, "1.0")
    repository.tag(document.descriptor, "stable")
    assert registry.tags("acme/app")["stable"] == document.digest
    assert registry.count("GET") == 0


def test_tagging_gets_and_puts_the_very_bytes(
    registry: TestRegistry, repository: RegistryRepository, connect: Connector
) -> None:
    config = {"mediaType": "a/b", "digest": registry.push_blob("acme/app", b"{}"), "size": 2}
    raw = json.dumps({"schemaVersion": 2, "layers": [], "config": config, "x": " é "}, indent=1).encode()
    digest = registry.push_manifest("acme/app", raw)
    descriptor = Descriptor(media_type=MANIFEST, digest=Digest(digest), size=len(raw))
    repository.tag(descriptor, "kept")
    assert registry.manifest("acme/app", "kept") == raw
    with pytest.raises(NotFound):
        repository.tag(Descriptor.of(b"{}", MANIFEST), "other")


def test_untag_removes_the_tag_alone(registry: TestRegistry, repository: RegistryRepository) -> None:
    document = pushed(repository, "1.0", "2.0")
    repository.untag("1.0")
    assert registry.tags("acme/app") == {"2.0": document.digest}
    with pytest.raises(NotFound):
        repository.untag("1.0")


@pytest.mark.parametrize(
    "answer",
    [
        Status(400, {}, b'{"errors":[{"code":"DIGEST_INVALID"}]}'),
        Status(405),
        Status(403, {}, b'{"errors":[{"code":"UNSUPPORTED"}]}'),
    ],
)
def test_registries_that_cannot_remove_tags_are_unsupported(
    registry: TestRegistry, repository: RegistryRepository, answer: Status
) -> None:
    pushed(repository, "1.0")
    registry.fault(("DELETE", "/manifests/"), action=answer)
    with pytest.raises(Unsupported) as caught:
        repository.untag("1.0")
    assert caught.value.code == "delete-unsupported"


def test_delete_removes_documents_and_blobs(registry: TestRegistry, repository: RegistryRepository) -> None:
    document = pushed(repository, "1.0")
    repository.delete(document.descriptor)
    repository.delete(document.manifest().layers[0])
    assert registry.tags("acme/app") == {}
    with pytest.raises(NotFound):
        repository.delete(document.descriptor)
    registry.content.deletes = False
    with pytest.raises(Unsupported):
        repository.delete(EMPTY_DESCRIPTOR)


def test_deleting_asks_for_the_right_to_delete(connect: Connector) -> None:
    with TestRegistry(auth="token") as registry:
        digest = registry.push_artifact("acme/app", "1.0", [LAYER])
        repository = connect(registry, connect.user(registry)).repository("acme/app")
        found = repository.resolve("1.0")
        repository.delete(found.descriptor)
        assert registry.manifest("acme/app", digest) is None


def test_docker_hub_is_spoken_to_under_its_real_names(connect: Connector) -> None:
    from provender.storage.registry import NoCredentials, RegistryClient

    client = RegistryClient("docker.io", transport=connect.transport, credentials=NoCredentials())
    assert client.repository("alpine").api_name == "library/alpine"
    assert client.repository("grafana/grafana").api_name == "grafana/grafana"
    assert str(client.repository("alpine").session.registry) == "https://registry-1.docker.io"


def test_the_catalog_lists_repositories(connect: Connector, registry: TestRegistry) -> None:
    registry.content.page_size = 2
    for name in ("a", "b/c", "d", "Bad Name", "e"):
        registry.push_blob(name, b"x")
    assert sorted(connect(registry).repositories()) == ["a", "b/c", "d", "e"]


def test_ping_accepts_a_registry_and_nothing_else(connect: Connector, registry: TestRegistry) -> None:
    connect(registry).ping()
    registry.fault(("GET", "/v2/"), action=Status(404, {"Content-Type": "text/html"}, b"<html>nginx"))
    with pytest.raises(Unavailable) as caught:
        connect(registry).ping()
    assert caught.value.code == "not-a-registry-response"


def test_warnings_are_given_once_and_cleaned(connect: Connector, registry: TestRegistry) -> None:
    registry.warning = '299 - "moving \x1b[31msoon"'
    client = connect(registry)
    client.ping()
    client.ping()
    assert connect.warnings == [f"{registry.host}: moving [31msoon"]


def test_a_length_that_is_no_number_is_one_that_is_not_told(
    registry: TestRegistry, repository: RegistryRepository
) -> None:
    digest = registry.push_artifact("acme/app", "1.0", [b"x"])
    registry.fault(("HEAD", ""), action=SetHeader("Content-Length", "²"), times=9)
    with pytest.raises(Unavailable) as caught:
        repository.find_blob(Digest(digest_of(b"x")))
    assert caught.value.code == "no-content-length"
    assert repository.digest_of("1.0") == digest


def test_a_least_size_of_chunks_that_is_no_number_is_none(
    registry: TestRegistry, repository: RegistryRepository
) -> None:
    registry.fault(("POST", "/uploads/"), action=SetHeader("OCI-Chunk-Min-Length", "²"))
    repository.push(Descriptor.of(b"x", "application/x"), BytesReader(b"x"))
    assert registry.blob("acme/app", digest_of(b"x")) == b"x"


def test_a_document_that_drips_is_left(registry: TestRegistry) -> None:
    registry.push_artifact("acme/app", "1.0", [b"x"])
    policy = RetryPolicy(slow_after_s=0, slow_bytes_s=1e15, tries=2)  # nothing comes as fast as that
    with HttpTransport({}) as transport:
        client = RegistryClient(
            registry.host,
            transport=transport,
            credentials=NoCredentials(),
            policy=policy,
            timing=Timing(sleep=lambda _: None),
        )
        with pytest.raises(Unavailable) as caught:
            client.repository("acme/app").resolve("1.0")
    assert caught.value.code == "connection-timeout"
    assert registry.count() == 2
