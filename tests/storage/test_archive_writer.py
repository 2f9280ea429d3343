"""An archive that is written: the same bytes each time, readable by others, and nothing unverified in it."""

from __future__ import annotations

import io
import tarfile
from pathlib import Path

import msgspec
import pytest

from provender.errors import IntegrityError
from provender.oci import Descriptor, Document
from provender.oci.annotations import REF_NAME
from provender.storage.archive import ArchiveStorage
from provender.storage.archive_writer import Part, archive_size, write_archive
from provender.storage.verify import BytesReader, read_all
from support.content import blob, manifest

LAYER = b"layer" * 1000
OTHER = b"other" * 300_000


def part(content: bytes, media_type: str = "application/octet-stream") -> Part:
    return Part(Descriptor.of(content, media_type), lambda: BytesReader(content))


def document_part(document: Document) -> Part:
    return Part(document.descriptor, lambda: BytesReader(document.raw))


@pytest.fixture
def document() -> Document:
    return manifest("a", layers=(blob(LAYER), blob(OTHER)))


@pytest.fixture
def parts(document: Document) -> list[Part]:
    config = document.manifest().config
    assert config is not None
    return [part(OTHER), part(LAYER), document_part(document), part(b"{}"), part(LAYER)]


def written(entries: list[Descriptor], parts: list[Part], *, zstd: bool = False) -> bytes:
    out = io.BytesIO()
    write_archive(out, entries, parts, compression="zstd" if zstd else "none")
    return out.getvalue()


def named(document: Document, name: str) -> Descriptor:
    return msgspec.structs.replace(document.descriptor, annotations={REF_NAME: name})


def test_what_is_written_is_read_again(document: Document, parts: list[Part], tmp_path: Path) -> None:
    path = tmp_path / "a.tar"
    path.write_bytes(written([named(document, "v1")], parts))
    storage = ArchiveStorage(path)
    assert list(storage.tags()) == ["v1"]
    assert storage.resolve("v1").raw == document.raw
    for content in (LAYER, OTHER):
        with storage.fetch(blob(content)) as reader:
            assert read_all(reader, len(content)) == content


def test_the_order_of_parts_does_not_matter_and_the_index_comes_first(document: Document, parts: list[Part]) -> None:
    raw = written([named(document, "v1")], parts)
    assert written([named(document, "v1")], parts[::-1]) == raw
    with tarfile.open(fileobj=io.BytesIO(raw)) as archive:
        members = archive.getmembers()
    names = [member.name for member in members]
    assert names[:3] == ["oci-layout", "index.json", f"blobs/sha256/{document.digest.encoded}"]
    assert names[3:] == sorted(names[3:])
    assert len(set(names)) == len(names) == 6
    assert {(member.mtime, member.uid, member.gid, member.mode, member.uname) for member in members} == {
        (0, 0, 0, 0o644, "")
    }


def test_the_size_is_known_before(document: Document, parts: list[Part]) -> None:
    entries = [named(document, "v1")]
    assert archive_size(entries, [each.descriptor for each in parts]) == len(written(entries, parts))


def test_compressed_it_is_the_same_tar(document: Document, parts: list[Part]) -> None:
    from provender.storage.compression import open_stream
    from provender.storage.limits import DEFAULT_LIMITS

    entries = [named(document, "v1")]
    compressed, raw = written(entries, parts, zstd=True), written(entries, parts)
    assert len(compressed) < len(raw) / 10
    stream = open_stream(BytesReader(compressed), "zstd", DEFAULT_LIMITS, where="it")
    assert b"".join(iter(lambda: stream.read(1 << 20), b"")) == raw


@pytest.mark.parametrize("served", [b"", LAYER[:-1], LAYER + b"x", LAYER[::-1]])
def test_content_that_is_not_what_its_digest_says_is_an_error(served: bytes) -> None:
    wrong = Part(Descriptor.of(LAYER, "application/octet-stream"), lambda: BytesReader(served))
    with pytest.raises(IntegrityError):
        written([], [wrong])


def test_one_digest_with_two_sizes_is_an_error() -> None:
    descriptor = Descriptor.of(LAYER, "a/b")
    other = Descriptor(media_type="a/b", digest=descriptor.digest, size=descriptor.size + 1)
    with pytest.raises(IntegrityError) as caught:
        written([], [part(LAYER), Part(other, lambda: BytesReader(LAYER))])
    assert caught.value.code == "size-mismatch"
