"""Layers laid out as files: one pass, everything verified, conflicts and damage refused."""

from __future__ import annotations

import base64
import gzip
import io
import tarfile
from pathlib import Path

import msgspec
import pytest
from backports import zstd

from provender.artifact.tree import Entry
from provender.artifact.unpack import UnpackOptions, unpack
from provender.errors import Conflict, IntegrityError, NotFound, ProvenderError
from provender.oci import EMPTY_DESCRIPTOR, Descriptor, Digest, Manifest
from provender.oci.annotations import TITLE, UNPACK, UNPACKED_DIGEST
from provender.oci.media_types import LAYER_TAR, LAYER_TAR_GZIP
from provender.storage.abilities import BlobReader
from provender.storage.memory import MemoryStorage
from provender.storage.verify import BytesReader, VerifiedReader
from provender.transfer.pool import Cancellation, Cancelled


class Blobs:
    """A fetcher of blobs that notes what it was asked for and can lie about their content."""

    def __init__(self) -> None:
        self.storage = MemoryStorage()
        self.fetched: list[Digest] = []
        self.lies: dict[Digest, bytes] = {}

    def add(self, content: bytes, media_type: str = "application/octet-stream", **notes: str) -> Descriptor:
        notes = {
            {"title": TITLE, "unpack": UNPACK, "digest": UNPACKED_DIGEST}[key]: text for key, text in notes.items()
        }
        descriptor = Descriptor.of(content, media_type, annotations=notes)
        self.storage.push(descriptor, BytesReader(content))
        return descriptor

    def fetch(self, descriptor: Descriptor, *, offset: int = 0) -> BlobReader:
        self.fetched.append(descriptor.digest)
        if descriptor.digest in self.lies:
            return VerifiedReader(BytesReader(self.lies[descriptor.digest]), descriptor)
        return self.storage.fetch(descriptor, offset=offset)

    def exists(self, descriptor: Descriptor) -> bool:
        return self.storage.exists(descriptor)


@pytest.fixture
def blobs() -> Blobs:
    return Blobs()


@pytest.fixture
def staging(tmp_path: Path) -> Path:
    path = tmp_path / "staging"
    path.mkdir()
    return path


def tar_of(files: dict[str, bytes]) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as archive:
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return out.getvalue()


def laid(blobs: Blobs, staging: Path, *layers: Descriptor, options: UnpackOptions | None = None) -> tuple[Entry, ...]:
    return unpack(Manifest(layers=layers), blobs, str(staging), options=options)


def test_titled_files_and_archives_become_one_tree(blobs: Blobs, staging: Path) -> None:
    entries = laid(
        blobs,
        staging,
        blobs.add(b"hello", "text/plain", title="docs/hello.txt"),
        blobs.add(
            gzip.compress(tar_of({"a/b": b"1", "c": b"2"}), mtime=0), "application/vnd.cncf.flux.content.v1.tar+gzip"
        ),
        EMPTY_DESCRIPTOR,
    )
    assert [entry.path for entry in entries] == ["a/b", "c", "docs/hello.txt"]
    assert (staging / "docs/hello.txt").read_bytes() == b"hello"
    assert (staging / "a/b").read_bytes() == b"1"


@pytest.mark.parametrize("pack", [bytes, gzip.compress, zstd.compress], ids=["plain", "gzip", "zstd"])
def test_an_unnamed_archive_is_found_by_its_content_with_one_fetch(blobs: Blobs, staging: Path, pack: object) -> None:
    assert callable(pack)
    layer = blobs.add(pack(tar_of({"x": b"y" * 5000})))
    assert [entry.path for entry in laid(blobs, staging, layer)] == ["x"]
    assert blobs.fetched == [layer.digest]


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"just text",
        gzip.compress(b"text in gzip" * 100, mtime=0),
        gzip.compress(b"z" * 3_000_000, mtime=0),
        b"\x1f\x8b\x08 not really gzip",
        b"\x1f\x8b",
        zstd.compress(b"text in zstd"),
        b"\x28\xb5\x2f\xfd broken",
        bytes(1024),
        bytes(range(256)) * 20_000,
    ],
)
def test_other_content_is_copied_byte_by_byte(blobs: Blobs, staging: Path, content: bytes) -> None:
    layer = blobs.add(content)
    (entry,) = laid(blobs, staging, layer)
    assert entry.path == f"{layer.digest.short}.bin"
    assert (staging / entry.path).read_bytes() == content
    assert blobs.fetched == [layer.digest]


def test_a_packed_directory_keeps_its_title_as_directory(blobs: Blobs, staging: Path) -> None:
    tar = tar_of({"d/e/f": b"x"})
    layer = blobs.add(gzip.compress(tar, mtime=0), LAYER_TAR_GZIP, title="d/e", unpack="true", digest=Digest.of(tar))
    assert [entry.path for entry in laid(blobs, staging, layer)] == ["d/e/f"]


def test_a_wrong_digest_of_the_unpacked_content_is_refused(blobs: Blobs, staging: Path) -> None:
    layer = blobs.add(
        gzip.compress(tar_of({"d/f": b"x"}), mtime=0),
        LAYER_TAR_GZIP,
        title="d",
        unpack="true",
        digest=Digest.of(b"other"),
    )
    with pytest.raises(IntegrityError) as caught:
        laid(blobs, staging, layer)
    assert caught.value.code == "digest-mismatch"
    assert caught.value.where is not None
    assert layer.digest in caught.value.where
    assert "(d)" in caught.value.where


@pytest.mark.parametrize(
    ("noted", "is_refused"), [("sha512:" + "0" * 128, True), ("md5:00", False), ("nonsense", True), ("sha256:0", True)]
)
def test_a_noted_digest_is_checked_if_it_can_be(blobs: Blobs, staging: Path, noted: str, is_refused: bool) -> None:
    layer = blobs.add(
        gzip.compress(tar_of({"d/f": b"x"}), mtime=0), LAYER_TAR_GZIP, title="d", unpack="true", digest=noted
    )
    if is_refused:
        with pytest.raises(IntegrityError):
            laid(blobs, staging, layer)
    else:
        assert len(laid(blobs, staging, layer)) == 1


@pytest.mark.parametrize("title", ["file", None])
@pytest.mark.parametrize("lie", [b"hellO", b"hell", b"hello!", gzip.compress(b"x", mtime=0)])
def test_content_that_is_not_what_its_digest_names_is_refused(
    blobs: Blobs, staging: Path, title: str | None, lie: bytes
) -> None:
    layer = blobs.add(b"hello", **({"title": title} if title else {}))
    blobs.lies[layer.digest] = lie
    with pytest.raises(IntegrityError) as caught:
        laid(blobs, staging, layer)
    assert caught.value.code in ("digest-mismatch", "size-mismatch")
    assert layer.digest in f"{caught.value.message} {caught.value.where}"


def test_an_archive_with_right_files_and_a_wrong_tail_is_refused(blobs: Blobs, staging: Path) -> None:
    good = tar_of({"x": b"y"})
    layer = blobs.add(good)
    blobs.lies[layer.digest] = good[:-1] + b"\1"
    with pytest.raises(IntegrityError):
        laid(blobs, staging, layer)


def test_embedded_data_needs_no_fetch_and_is_verified(blobs: Blobs, staging: Path, tmp_path: Path) -> None:
    embedded = msgspec.structs.replace(
        Descriptor.of(b"small", "text/plain", annotations={TITLE: "s"}), data=base64.b64encode(b"small").decode()
    )
    assert [entry.path for entry in laid(blobs, staging, embedded)] == ["s"]
    assert blobs.fetched == []
    (tmp_path / "other").mkdir()
    wrong = msgspec.structs.replace(embedded, data=base64.b64encode(b"smalL").decode())
    with pytest.raises(IntegrityError) as caught:
        laid(blobs, tmp_path / "other", wrong)
    assert caught.value.code == "embedded-data-mismatch"


def test_two_layers_may_write_the_same_file_only_with_the_same_content(blobs: Blobs, tmp_path: Path) -> None:
    one = blobs.add(tar_of({"x": b"1", "y": b"2"}))
    same = blobs.add(tar_of({"x": b"1", "z": b"3"}))
    other = blobs.add(tar_of({"x": b"2"}))
    first, second = tmp_path / "first", tmp_path / "second"
    first.mkdir()
    second.mkdir()
    assert [entry.path for entry in laid(blobs, first, one, same, one)] == ["x", "y", "z"]
    with pytest.raises(Conflict) as caught:
        laid(blobs, second, one, other)
    assert one.digest in caught.value.message
    assert other.digest in caught.value.message


def test_mode_extract_refuses_what_is_no_archive(blobs: Blobs, staging: Path) -> None:
    layer = blobs.add(b"text " * 500, title="notes.txt")
    with pytest.raises(ProvenderError) as caught:
        laid(blobs, staging, layer, options=UnpackOptions(mode="extract"))
    assert caught.value.exit_status == 65
    assert caught.value.where is not None
    assert "notes.txt" in caught.value.where


def test_mode_copy_keeps_archives(blobs: Blobs, staging: Path) -> None:
    content = gzip.compress(tar_of({"x": b"y"}), mtime=0)
    layer = blobs.add(content, LAYER_TAR_GZIP, title="d", unpack="true")
    assert [entry.path for entry in laid(blobs, staging, layer, options=UnpackOptions(mode="copy"))] == ["d.tar.gz"]
    assert (staging / "d.tar.gz").read_bytes() == content


def test_a_layer_that_is_not_there_is_named(blobs: Blobs, staging: Path) -> None:
    missing = Descriptor.of(b"gone", LAYER_TAR, annotations={TITLE: "gone"})
    with pytest.raises(NotFound) as caught:
        laid(blobs, staging, missing)
    assert missing.digest in f"{caught.value.message} {caught.value.where}"


def test_a_cancelled_unpacking_fetches_nothing(blobs: Blobs, staging: Path) -> None:
    cancellation = Cancellation()
    cancellation.cancel()
    with pytest.raises(Cancelled):
        unpack(Manifest(layers=(blobs.add(b"x", title="x"),)), blobs, str(staging), cancellation=cancellation)
    assert blobs.fetched == []


def test_progress_adds_up_to_the_size_of_every_layer(blobs: Blobs, staging: Path) -> None:
    class Heard:
        def __init__(self) -> None:
            self.totals: list[tuple[str, int | None]] = []
            self.bytes: list[int] = []
            self.ended: list[int] = []

        def start(self, name: str, total_bytes: int | None, /) -> int:
            self.totals.append((name, total_bytes))
            self.bytes.append(0)
            return len(self.totals) - 1

        def advance(self, task: int, n: int, /) -> None:
            self.bytes[task] += n

        def done(self, task: int, /) -> None:
            self.ended.append(task)

    heard = Heard()
    layers = (blobs.add(b"x" * 3000, title="x"), blobs.add(gzip.compress(tar_of({"y": b"z" * 9000}), mtime=0)))
    unpack(Manifest(layers=layers), blobs, str(staging), options=UnpackOptions(jobs=1), progress=heard)
    assert [total for _, total in heard.totals] == [layer.size for layer in layers] == heard.bytes
    assert heard.totals[0][0] == "x"
    assert heard.ended == [0, 1]
