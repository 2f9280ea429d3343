"""The nineteen data sets of the official conformance tool: pushed, listed, pulled, copied and deleted byte for byte.

Against every real registry that is here and our own double, with the referrers API and without. What a registry itself
refuses stands in a table with its reason; a refusal that is not there, or one that no longer happens, is a failure.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import pytest

from interop.dataset_matrix import noted
from interop.registries import KINDS, Registries
from provender.errors import NotFound, ProvenderError
from provender.oci import Descriptor, Document
from provender.storage.abilities import BlobReader
from provender.storage.layout_index import fallback_tag
from provender.storage.registry import HttpTransport, NoCredentials, RegistryClient, RegistryRepository
from provender.storage.verify import BytesReader
from support.datasets import DATA_SETS, DataSet, data_set
from support.registry import TestRegistry
from support.served import served

pytestmark = pytest.mark.interop

DOUBLES = ("double", "double-plain")
OWN = ("serve", "serve-memory")
"""Our own server, over a directory and in memory; it is told to take what is sparse."""


class Refusal(NamedTuple):
    """Why a registry does not take a data set: our error's code, and the reason."""

    code: str
    reason: str


_SPARSE = "a manifest whose layer or child is missing is refused (the specification allows that)"
_SHA512 = "a manifest is computed by sha256 alone: DIGEST_INVALID"

REFUSED: dict[tuple[str, str], Refusal] = {
    ("docker-registry", "sparse"): Refusal("content-missing", _SPARSE),
    ("docker-registry", "sha512"): Refusal("refused-by-registry", _SHA512),
    ("distribution", "sparse"): Refusal("content-missing", _SPARSE),
    ("distribution", "sha512"): Refusal("refused-by-registry", _SHA512),
    ("zot", "sparse"): Refusal("refused-by-registry", _SPARSE),
    ("olareg-mem", "sparse"): Refusal("content-missing", _SPARSE),
    ("olareg-dir", "sparse"): Refusal("content-missing", _SPARSE),
    ("double", "sparse"): Refusal("content-missing", _SPARSE),
    ("double-plain", "sparse"): Refusal("content-missing", _SPARSE),
}
# olareg keeps an untagged child as part of its index: with the index it is gone.
CHILDREN_GO_WITH_THEIR_INDEX = ("olareg-mem", "olareg-dir")


@pytest.fixture(scope="module")
def registries(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Registries]:
    """Registries of these tests alone: zot still has a deleted blob as long as any repository has it."""
    pool = Registries(tmp_path_factory.mktemp("data-sets"))
    try:
        yield pool
    finally:
        pool.stop()


@contextmanager
def running(kind: str, registries: Registries, directory: Path) -> Iterator[RegistryClient]:
    """A client of that kind of registry."""
    with HttpTransport({}) as transport:
        if kind in OWN:
            with served(directory / "store" if kind == "serve" else None, allow_sparse=True) as server:
                yield RegistryClient(server.host, transport=transport, credentials=NoCredentials())
            return
        if kind not in DOUBLES:
            yield RegistryClient(registries.get(kind).host, transport=transport, credentials=NoCredentials())
            return
        with TestRegistry() as double:
            double.content.page_size = 2
            double.content.referrers = kind == "double"
            double.content.referrer_rules.page_size = 1
            double.content.tag_parameter = 10 if kind == "double" else 0
            yield RegistryClient(double.host, transport=transport, credentials=NoCredentials())


@pytest.mark.parametrize("name", DATA_SETS)
@pytest.mark.parametrize("kind", [*KINDS, *OWN, *DOUBLES])
def test_a_data_set_travels_unchanged(
    request: pytest.FixtureRequest, registries: Registries, tmp_path: Path, kind: str, name: str
) -> None:
    data = data_set(name)
    refusal = REFUSED.get((kind, name))
    with running(kind, registries, tmp_path) as client:
        here, there = (client.repository(f"data-sets/{name}-{place}") for place in ("one", "two"))
        if refusal is not None:
            with pytest.raises(ProvenderError) as caught:
                push(data, here)
            assert caught.value.code == refusal.code, caught.value
            noted(request, name, kind, f"refused: {refusal.reason}")
            return
        push(data, here)
        check(data, here)
        copy(data, here, there)
        check(data, there)
        for repository in (here, there):
            delete(data, repository, may_be_gone=kind in CHILDREN_GO_WITH_THEIR_INDEX)
            check_gone(data, repository)
        noted(request, name, kind, "ok")


def push(data: DataSet, repository: RegistryRepository) -> None:
    for descriptor, content in data.blobs.values():
        repository.push(descriptor, BytesReader(content))
    for document in data.documents:
        repository.push_document(document, data.tags.get(document.digest, ()))


def check(data: DataSet, repository: RegistryRepository) -> None:
    """Everything is there as it was pushed."""
    tags = {tag for names in data.tags.values() for tag in names}
    if tags:
        assert tags <= set(repository.tags())
    for document in data.documents:
        for target in (document.digest, *data.tags.get(document.digest, ())):
            found = repository.resolve(target)
            assert found.raw == document.raw
            assert found.descriptor.media_type == document.descriptor.media_type
        for tag in data.tags.get(document.digest, ()):
            assert repository.digest_of(tag) == document.digest
        assert repository.exists(document.descriptor)
        assert whole(repository.fetch(document.descriptor)) == document.raw
    for descriptor, content in data.blobs.values():
        assert repository.exists(descriptor)
        assert whole(repository.fetch(descriptor)) == content
        middle = descriptor.size // 2
        assert whole(repository.fetch(descriptor, offset=middle)) == content[middle:]
    for subject, expected in data.referrers.items():
        listed = list(repository.referrers(subject))
        assert {item.digest: item.artifact_type for item in listed} == expected
        for kind in set(expected.values()):
            wanted = {digest for digest, found in expected.items() if found == kind}
            assert {item.digest for item in repository.referrers(subject, kind)} == wanted
        by_digest = {document.digest: document for document in data.documents}
        for item in listed:
            assert (item.annotations or {}) == (by_digest[item.digest].parse().annotations or {})


def copy(data: DataSet, source: RegistryRepository, target: RegistryRepository) -> None:
    """Everything as it is read from `source`; every other blob is mounted where the registry does that."""
    for number, (descriptor, _) in enumerate(data.blobs.values()):
        if number % 2 and target.mount(descriptor, source.api_name):
            continue
        with source.fetch(descriptor) as reader:
            target.push(descriptor, reader)
    for document in data.documents:
        found: Document = source.resolve(document.digest)
        target.push_document(found, data.tags.get(document.digest, ()))


def delete(data: DataSet, repository: RegistryRepository, *, may_be_gone: bool) -> None:
    """Everything, what points down before what it points to."""
    children = {
        child.digest for document in data.documents if document.is_index for child in document.index().manifests
    }
    for document in reversed(data.documents):
        try:
            repository.delete(document.descriptor)
        except NotFound:
            if not may_be_gone or document.digest not in children:
                raise
    for descriptor, _ in data.blobs.values():
        repository.delete(descriptor)


def check_gone(data: DataSet, repository: RegistryRepository) -> None:
    """Nothing is left but, where there is no API, the empty list under a fallback tag."""
    for document in data.documents:
        assert not repository.exists(document.descriptor)
        for tag in data.tags.get(document.digest, ()):
            with pytest.raises(NotFound):
                repository.resolve(tag)
    for descriptor, _ in data.blobs.values():
        assert not repository.exists(descriptor)
    for subject in data.referrers:
        assert list(repository.referrers(subject)) == []
    try:
        left = set(repository.tags())
    except NotFound:
        left = set()
    assert left <= {fallback_tag(subject) for subject in data.referrers}


def whole(reader: BlobReader) -> bytes:
    with reader:
        pieces = []
        while piece := reader.read(1 << 20):
            pieces.append(piece)
    return b"".join(pieces)


def test_every_refusal_is_of_something_that_there_is() -> None:
    kinds = {"docker-registry", "distribution", "olareg-mem", "olareg-dir", "zot", *OWN, *DOUBLES}
    assert {kind for kind, _ in REFUSED} <= kinds
    assert {name for _, name in REFUSED} <= set(DATA_SETS)
    assert len(DATA_SETS) == 19


def test_a_blob_in_chunks_arrives(registries: Registries) -> None:
    """Chunks, their sizes and the closing PUT, as each real registry takes them."""
    from provender.storage.registry import UploadSettings

    content = bytes(range(256)) * (9 << 10)
    descriptor = Descriptor.of(content, "application/octet-stream")
    for registry in registries.available():
        with HttpTransport({}) as transport:
            client = RegistryClient(
                registry.host,
                transport=transport,
                credentials=NoCredentials(),
                upload=UploadSettings(chunk_bytes=512 << 10),
            )
            repository = client.repository("data-sets/chunks")
            repository.push(descriptor, BytesReader(content))
            assert whole(repository.fetch(descriptor)) == content, registry.kind
