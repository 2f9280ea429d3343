"""What a layout directory and memory have in common: the abilities of one repository."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from provender.errors import IntegrityError, InvalidReference, NotFound
from provender.oci import Descriptor, Digest, Document
from provender.oci.media_types import INDEX, MANIFEST
from provender.storage.layout import LayoutStorage
from provender.storage.layout_index import fallback_tag
from provender.storage.memory import MemoryStorage
from provender.storage.verify import BytesReader, VerifiedReader, read_all
from support.content import blob, index, manifest

Repository = LayoutStorage | MemoryStorage


@pytest.fixture(params=["layout", "memory"])
def storage(request: pytest.FixtureRequest, tmp_path: Path) -> Repository:
    makers: dict[str, Callable[[], Repository]] = {
        "layout": lambda: LayoutStorage(tmp_path / "layout", create=True),
        "memory": MemoryStorage,
    }
    return makers[request.param]()


def test_pushed_blob_is_fetched_verified(storage: Repository) -> None:
    content = bytes(range(256)) * 9000
    descriptor = blob(content)
    assert not storage.exists(descriptor)
    storage.push(descriptor, BytesReader(content))
    assert storage.exists(descriptor)
    with storage.fetch(descriptor) as reader:
        assert isinstance(reader, VerifiedReader)
        assert read_all(reader, len(content)) == content
        assert reader.verified


def test_sha512_blob_is_kept(storage: Repository) -> None:
    descriptor = Descriptor(media_type="text/plain", digest=Digest.of(b"x", "sha512"), size=1)
    storage.push(descriptor, BytesReader(b"x"))
    with storage.fetch(descriptor) as reader:
        assert read_all(reader, 1) == b"x"


def test_fetch_starts_at_an_offset(storage: Repository) -> None:
    storage.push(blob(b"0123456789"), BytesReader(b"0123456789"))
    with storage.fetch(blob(b"0123456789"), offset=7) as reader:
        assert read_all(reader, 10) == b"789"
    with storage.fetch(blob(b"0123456789"), offset=10) as reader:
        assert read_all(reader, 10) == b""
    with pytest.raises(ValueError, match="outside"):
        storage.fetch(blob(b"0123456789"), offset=11)


def test_wrong_content_is_not_kept(storage: Repository) -> None:
    for content in (b"wrong", b"longer than right", b""):
        with pytest.raises(IntegrityError):
            storage.push(blob(b"right"), BytesReader(content))
    assert not storage.exists(blob(b"right"))
    with pytest.raises(NotFound):
        storage.fetch(blob(b"right"))


def test_pushing_what_is_there_reads_nothing(storage: Repository) -> None:
    storage.push(blob(b"x"), BytesReader(b"x"))
    reader = BytesReader(b"x")
    storage.push(blob(b"x"), reader)
    assert reader.read() == b"x"


def test_document_resolves_by_tag_and_digest(storage: Repository) -> None:
    document = manifest("a")
    storage.push_document(document, ["v1", "latest"])
    for target in ("v1", "latest", document.digest):
        assert storage.resolve(target) == document
    assert list(storage.tags()) == ["latest", "v1"]


def test_document_with_other_bytes_is_refused(storage: Repository) -> None:
    with pytest.raises(IntegrityError):
        storage.push_document(Document(manifest("a").descriptor, manifest("b").raw))
    with pytest.raises(NotFound):
        storage.resolve(manifest("a").digest)


def test_untagged_document_resolves_by_digest(storage: Repository) -> None:
    storage.push_document(manifest("a"))
    assert storage.resolve(manifest("a").digest) == manifest("a")
    assert list(storage.tags()) == []


def test_moved_tag_keeps_the_old_document(storage: Repository) -> None:
    storage.push_document(manifest("a"), ["v1"])
    storage.push_document(manifest("b"), ["v1"])
    assert storage.resolve("v1") == manifest("b")
    assert storage.resolve(manifest("a").digest) == manifest("a")


def test_tag_needs_a_stored_document_and_a_valid_name(storage: Repository) -> None:
    with pytest.raises(NotFound):
        storage.tag(manifest("a").descriptor, "v1")
    storage.push_document(manifest("a"))
    with pytest.raises(InvalidReference):
        storage.tag(manifest("a").descriptor, "a/b")
    with pytest.raises(InvalidReference):
        storage.push_document(manifest("b"), ["ok", "a+b"])
    with pytest.raises(NotFound):
        storage.resolve(manifest("b").digest)
    storage.tag(manifest("a").descriptor, "v1")
    assert storage.resolve("v1") == manifest("a")


def test_missing_tag_names_the_near_ones(storage: Repository) -> None:
    with pytest.raises(NotFound) as empty:
        storage.resolve("v1.2.3")
    assert "nothing is tagged" in (empty.value.hint or "")
    storage.push_document(manifest("a"), ["v1.2.4", "other"])
    with pytest.raises(NotFound) as caught:
        storage.resolve("v1.2.3")
    assert caught.value.code == "tag-not-found"
    assert "did you mean v1.2.4?" in (caught.value.hint or "")
    with pytest.raises(NotFound) as far:
        storage.resolve("zzz")
    assert "other, v1.2.4" in (far.value.hint or "")


def test_blob_is_no_document(storage: Repository) -> None:
    storage.push(blob(b'{"architecture":"amd64"}'), BytesReader(b'{"architecture":"amd64"}'))
    with pytest.raises(NotFound) as caught:
        storage.resolve(blob(b'{"architecture":"amd64"}').digest)
    assert caught.value.code == "not-a-document"
    with pytest.raises(InvalidReference):
        storage.resolve("sha256:abc")


def test_untag_keeps_the_document(storage: Repository) -> None:
    storage.push_document(manifest("a"), ["v1", "v2"])
    storage.untag("v1")
    assert list(storage.tags()) == ["v2"]
    storage.untag("v2")
    assert storage.resolve(manifest("a").digest) == manifest("a")
    with pytest.raises(NotFound):
        storage.untag("v2")


def test_delete_removes_a_manifest_with_all_its_tags(storage: Repository) -> None:
    storage.push_document(manifest("a"), ["v1", "v2"])
    storage.push_document(manifest("b"), ["v3"])
    storage.delete(manifest("a").descriptor)
    assert list(storage.tags()) == ["v3"]
    with pytest.raises(NotFound):
        storage.resolve(manifest("a").digest)
    with pytest.raises(NotFound):
        storage.delete(manifest("a").descriptor)


def test_delete_removes_a_blob(storage: Repository) -> None:
    storage.push(blob(b"x"), BytesReader(b"x"))
    storage.delete(blob(b"x"))
    assert not storage.exists(blob(b"x"))


def test_referrers_are_listed_with_type_and_annotations(storage: Repository) -> None:
    subject = manifest("subject")
    sbom = manifest("sbom", subject=subject.descriptor, artifact_type="test/sbom")
    signature = manifest("signature", subject=sbom.descriptor, artifact_type="test/signature")
    for document in (signature, sbom, subject):
        storage.push_document(document)
    assert list(storage.referrers(sbom.digest)) == [
        Descriptor(
            media_type=MANIFEST,
            digest=signature.digest,
            size=len(signature.raw),
            artifact_type="test/signature",
            annotations={"test.name": "signature"},
        )
    ]
    assert [found.digest for found in storage.referrers(subject.digest, "test/sbom")] == [sbom.digest]
    assert list(storage.referrers(subject.digest, "test/other")) == []
    assert list(storage.referrers(signature.digest)) == []


def test_referrer_without_its_own_type_has_that_of_its_config(storage: Repository) -> None:
    subject = manifest("subject")
    config = Descriptor.of(b"1", "application/vnd.test.config")
    raw = manifest("x", subject=subject.descriptor, artifact_type=None).raw
    raw = raw.replace(b"application/vnd.oci.empty.v1+json", config.media_type.encode())
    storage.push_document(Document.read(raw))
    assert [found.artifact_type for found in storage.referrers(subject.digest)] == [config.media_type]


def test_referrers_under_the_fallback_tag_are_read_once_each(storage: Repository) -> None:
    subject, other = manifest("subject"), manifest("other")
    listed = manifest("listed", subject=subject.descriptor)
    hidden = manifest("hidden", subject=subject.descriptor)
    stranger = manifest("stranger", subject=other.descriptor)
    gone = manifest("gone", subject=subject.descriptor)
    storage.push_document(listed)
    for document in (hidden, stranger):
        storage.push(document.descriptor, BytesReader(document.raw))
    storage.push_document(index(listed, hidden, stranger, gone), [fallback_tag(subject.digest)])
    assert [found.digest for found in storage.referrers(subject.digest)] == [listed.digest, hidden.digest]


def test_deleted_referrer_is_listed_no_more(storage: Repository) -> None:
    subject = manifest("subject")
    referrer = manifest("referrer", subject=subject.descriptor)
    storage.push_document(referrer)
    storage.push_document(index(referrer), [fallback_tag(subject.digest)])
    assert [found.digest for found in storage.referrers(subject.digest)] == [referrer.digest]
    storage.delete(referrer.descriptor)
    assert list(storage.referrers(subject.digest)) == []


def test_child_of_an_index_resolves_though_it_is_not_listed(storage: Repository) -> None:
    child = manifest("child")
    storage.push(child.descriptor, BytesReader(child.raw))
    storage.push_document(index(child), ["multi"])
    assert storage.resolve("multi").descriptor.media_type == INDEX
    assert storage.resolve(child.digest) == child
