"""Layouts as zot stores them."""

from __future__ import annotations

import os
import tarfile
from pathlib import Path

import pytest

from provender.oci import EMPTY_BYTES, EMPTY_DESCRIPTOR, Descriptor
from provender.storage.archive import ArchiveStorage
from provender.storage.layout import LayoutStorage
from provender.storage.roots import StoreRoot
from provender.storage.verify import read_all
from support.content import manifest

FOOBAR = "sha256:fd6ed2f36b5465244d5dc86cb4e7df0ab8a9d24adc57825099f522fe009a22bb"


@pytest.fixture(params=["directory", "archive"])
def artifacts(request: pytest.FixtureRequest, vectors: Path, tmp_path: Path) -> LayoutStorage | ArchiveStorage:
    path = vectors / "oras-layouts" / "artifacts"
    if request.param == "directory":
        return LayoutStorage(path)
    with tarfile.open(tmp_path / "artifacts.tar", "w") as archive:
        archive.add(path, ".")
    return ArchiveStorage(tmp_path / "artifacts.tar")


def referrers(storage: LayoutStorage | ArchiveStorage, digest: str) -> dict[str, str | None]:
    return {found.digest.short[:8]: found.artifact_type for found in storage.referrers(storage.resolve(digest).digest)}


def test_tags_and_their_documents_are_read(artifacts: LayoutStorage | ArchiveStorage) -> None:
    assert list(artifacts.tags()) == ["blob", "config", "empty", "foobar", "multi", "unnamed", "v1.3.8"]
    foobar = artifacts.resolve("foobar")
    assert foobar.digest == FOOBAR
    assert len(foobar.raw) == 851
    assert artifacts.resolve("multi").is_index
    for tag in artifacts.tags():
        assert artifacts.resolve(artifacts.resolve(tag).digest) == artifacts.resolve(tag)


def test_referrer_graph_is_found(artifacts: LayoutStorage | ArchiveStorage) -> None:
    assert referrers(artifacts, "foobar") == {"e2c6633a": "test/sbom.file"}
    sbom = next(artifacts.referrers(artifacts.resolve("foobar").digest))
    assert referrers(artifacts, sbom.digest) == {"0cb8c4da": "test/signature.file"}
    multi = artifacts.resolve("multi")
    assert set(referrers(artifacts, multi.digest)) == {"7679bc22", "d37baf66"}
    assert "c5e00045" in referrers(artifacts, multi.index().manifests[0].digest)


def test_tree_of_referrers_below_an_index_is_found(artifacts: LayoutStorage | ArchiveStorage) -> None:
    pending = [artifacts.resolve("v1.3.8")]
    found: set[str] = set()
    while pending:
        document = pending.pop()
        if document.is_index:
            pending.extend(artifacts.resolve(child.digest) for child in document.index().manifests)
        for referrer in artifacts.referrers(document.digest):
            found.add(referrer.digest.short[:8])
            pending.append(artifacts.resolve(referrer.digest))
    assert found == {"20e7d3a6", "359bac7f", "938419ae"}


def test_every_blob_reads_verified(artifacts: LayoutStorage | ArchiveStorage) -> None:
    seen = 0
    for tag in artifacts.tags():
        document = artifacts.resolve(tag)
        if not document.is_index:
            for descriptor in document.manifest().successors():
                with artifacts.fetch(descriptor) as reader:
                    assert len(read_all(reader, 1 << 20)) == descriptor.size
                    seen += 1
    assert seen >= 8


def test_layout_whose_list_is_null_is_empty_and_has_its_blob(vectors: Path) -> None:
    storage = LayoutStorage(vectors / "oras-layouts" / "blobs")
    assert list(storage.tags()) == []
    foo = Descriptor.of(b"foo", "text/plain")
    with storage.fetch(foo) as reader:
        assert read_all(reader, 3) == b"foo"


def test_reading_leaves_the_layouts_as_they_are(vectors: Path) -> None:
    before = sorted(os.listdir(vectors / "oras-layouts" / "images"))
    storage = LayoutStorage(vectors / "oras-layouts" / "images")
    with storage.fetch(EMPTY_DESCRIPTOR) as reader:
        assert read_all(reader, 2) == EMPTY_BYTES
    assert storage.resolve("nonjson-config").manifest().config is not None
    assert storage.resolve("empty_index").index().manifests == ()
    assert list(storage.referrers(manifest("absent").digest)) == []
    assert sorted(os.listdir(vectors / "oras-layouts" / "images")) == before == ["blobs", "index.json", "oci-layout"]


def test_folder_of_layouts_is_a_store(vectors: Path) -> None:
    root = StoreRoot(vectors / "oras-layouts")
    assert list(root.repositories()) == ["artifacts", "blobs", "images"]
    assert root.repository("artifacts").resolve("foobar").digest == FOOBAR
