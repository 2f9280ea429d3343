"""Content that can be read again: files and bytes, watched or not."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from provender.artifact.pack import Source
from provender.artifact.publish import publish
from provender.errors import IntegrityError
from provender.oci import Descriptor
from provender.storage.registry import HttpTransport, NoCredentials, RegistryClient
from provender.storage.registry.vouched import vouched
from provender.storage.rewindable import FileReader, HashedFile, Rewindable, Stamp
from provender.storage.verify import BytesReader
from provender.transfer.pool import Cancellation, Cancelled
from provender.transfer.progress import WatchedContent, WatchedReader
from support.readers import Stream
from support.registry import Status, TestRegistry

CONTENT = b"0123456789" * 150_000
LAYER = Descriptor.of(CONTENT, "application/octet-stream")


class Counted:
    """Progress that adds up what it hears."""

    def __init__(self) -> None:
        self.bytes = 0

    def start(self, name: str, total_bytes: int | None, /) -> int:
        return 1

    def advance(self, task: int, n: int, /) -> None:
        assert n > 0
        self.bytes += n

    def done(self, task: int, /) -> None:
        pass


@pytest.fixture
def path(tmp_path: Path) -> Path:
    (tmp_path / "content").write_bytes(CONTENT)
    return tmp_path / "content"


def everything(reader: Rewindable) -> bytes:
    pieces = []
    while piece := reader.read(4096):
        pieces.append(piece)
    return b"".join(pieces)


def test_files_and_bytes_start_again(path: Path) -> None:
    for reader in (FileReader(str(path)), BytesReader(CONTENT)):
        with reader:
            assert reader.read(3) == b"012"
            reader.rewind()
            assert everything(reader) == CONTENT
            assert reader.read(1) == b""
            reader.rewind()
            assert everything(reader) == CONTENT


def test_what_can_start_again_says_so(path: Path) -> None:
    progress, cancellation = Counted(), Cancellation()
    with FileReader(str(path)) as file:
        assert isinstance(file, Rewindable)
        assert isinstance(WatchedContent(file, progress, 1, cancellation), Rewindable)
        assert not isinstance(WatchedReader(file, progress, 1, cancellation), Rewindable)
    assert not isinstance(Stream(CONTENT), Rewindable)


def stamp_of(path: Path) -> Stamp:
    with path.open("rb") as file:
        return Stamp.of(file)


def touch(path: Path, content: bytes) -> None:
    """Write until the system gives the change another time, which may take as long as its clock is coarse."""
    before = stamp_of(path)
    for _ in range(500):
        with path.open("r+b") as file:
            file.write(content)
        if stamp_of(path) != before:
            return
        time.sleep(0.01)
    pytest.fail("a change leaves no trace here")


@pytest.fixture
def hashed(path: Path) -> Iterator[HashedFile]:
    with HashedFile(str(path), LAYER.digest, stamp_of(path)) as file:
        yield file


def test_a_file_that_was_hashed_is_sent_as_it_is(hashed: HashedFile) -> None:
    with TestRegistry() as registry, HttpTransport({}) as transport:
        progress = Counted()
        client = RegistryClient(registry.host, transport=transport, credentials=NoCredentials())
        client.repository("acme/app").push(LAYER, WatchedContent(hashed, progress, 1, Cancellation()))
        assert registry.blob("acme/app", LAYER.digest) == CONTENT
        assert registry.count("PUT") == 1
        assert progress.bytes == len(CONTENT)


def test_it_is_sent_again_after_a_break(hashed: HashedFile) -> None:
    with TestRegistry() as registry, HttpTransport({}) as transport:
        registry.fault(("PUT", "/uploads/"), action=Status(503))
        client = RegistryClient(registry.host, transport=transport, credentials=NoCredentials())
        client.repository("acme/app").push(LAYER, hashed)
        assert registry.blob("acme/app", LAYER.digest) == CONTENT


def test_a_file_that_was_touched_since_is_read_and_hashed_again(path: Path, hashed: HashedFile) -> None:
    assert vouched(hashed, LAYER, "here") is not None
    touch(path, b"x")
    assert vouched(hashed, LAYER, "here") is None


def test_what_was_written_just_now_is_not_settled(path: Path) -> None:
    assert not stamp_of(path).is_settled
    assert stamp_of(path)._replace(mtime_ns=1, ctime_ns=1).is_settled


def test_the_end_of_a_file_that_changes_meanwhile_is_never_sent(path: Path, hashed: HashedFile) -> None:
    body = vouched(hashed, LAYER, "here")
    assert body is not None
    assert body.read(1000) == CONTENT[:1000]
    touch(path, b"x")
    assert body.read(1000) == CONTENT[1000:2000]
    with pytest.raises(IntegrityError) as caught:
        body.read(LAYER.size)
    assert caught.value.code == "digest-mismatch"
    assert not body.verified


def test_a_file_that_became_shorter_is_not_waited_for(path: Path, hashed: HashedFile) -> None:
    body = vouched(hashed, LAYER, "here")
    assert body is not None
    os.truncate(path, 1000)
    assert body.read(1000) == CONTENT[:1000]
    with pytest.raises(IntegrityError, match="changed while"):
        body.read(1000)


def test_small_content_is_hashed_on_its_way(tmp_path: Path) -> None:
    small = tmp_path / "small"
    small.write_bytes(b"small")
    descriptor = Descriptor.of(b"small", "application/octet-stream")
    with HashedFile(str(small), descriptor.digest, stamp_of(small)) as content:
        assert vouched(content, descriptor, "here") is None


def test_what_passes_twice_is_reported_once() -> None:
    progress, cancellation = Counted(), Cancellation()
    reader = WatchedContent(BytesReader(CONTENT), progress, 1, cancellation)
    reader.read(5000)
    reader.rewind()
    reader.read(3000)
    assert progress.bytes == 5000
    reader.rewind()
    assert everything(reader) == CONTENT
    assert progress.bytes == len(CONTENT)
    cancellation.cancel()
    with pytest.raises(Cancelled):
        reader.read(1)


def test_a_published_file_survives_a_proxy_and_broken_connections(path: Path) -> None:
    progress = Counted()
    with TestRegistry() as registry, HttpTransport({}) as transport:
        registry.content.upload_rules.body_max = len(CONTENT) // 4
        registry.fault(("PUT", "/uploads/"), action=Status(503))
        client = RegistryClient(registry.host, transport=transport, credentials=NoCredentials())
        document = publish(
            client.repository("acme/app"), [Source(path=str(path), title="content")], tags=["1"], progress=progress
        )
        layer = document.manifest().layers[0]
        assert registry.blob("acme/app", layer.digest) == CONTENT
        assert progress.bytes == len(CONTENT) + 2
        assert registry.content.uploads == set()
