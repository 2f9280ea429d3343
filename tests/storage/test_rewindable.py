"""Content that can be read again: files and bytes, watched or not."""

from __future__ import annotations

from pathlib import Path

import pytest

from provender.artifact.pack import Source
from provender.artifact.publish import publish
from provender.storage.registry import HttpTransport, NoCredentials, RegistryClient
from provender.storage.rewindable import FileReader, Rewindable
from provender.storage.verify import BytesReader
from provender.transfer.pool import Cancellation, Cancelled
from provender.transfer.progress import WatchedContent, WatchedReader
from support.readers import Stream
from support.registry import Status, TestRegistry

CONTENT = b"0123456789" * 100_000


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
        assert registry.content.uploads == {}
