"""Uploads of large blobs that broke off: they go on where the registry is, in the same run and in the next."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from provender.errors import IntegrityError, Unavailable
from provender.oci import Descriptor, Digest
from provender.storage.abilities import UploadNote
from provender.storage.registry import RegistryRepository, UploadSettings
from provender.storage.rewindable import HashedFile, Stamp
from provender.storage.verify import BytesReader
from support.readers import Stream
from support.registry import SetHeader, Status, TestRegistry
from support.registry_client import Connector

MIB = 1 << 20
CONTENT = hashlib.shake_256(b"large").digest(2 * MIB + 1000)
BLOB = Descriptor.of(CONTENT, "application/octet-stream")
LARGE = UploadSettings(large_bytes=MIB)


@pytest.fixture
def large(registry: TestRegistry, connect: Connector) -> RegistryRepository:
    """The repository acme/app, to which a blob of 1 MiB is large."""
    return connect(registry, upload=LARGE).repository("acme/app")


class Notes:
    """Upload notes in memory, with everything that was said."""

    def __init__(self) -> None:
        self.there: dict[Digest, UploadNote] = {}
        self.offsets: list[int] = []

    def opened(self, digest: Digest, location: str, offset: int) -> None:
        self.there[digest] = UploadNote(location, offset)
        self.offsets.append(offset)

    def closed(self, digest: Digest) -> None:
        self.there.pop(digest, None)

    def known(self, digest: Digest) -> UploadNote | None:
        return self.there.get(digest)


def stored(registry: TestRegistry) -> bool:
    return registry.blob("acme/app", BLOB.digest) == CONTENT


def methods(registry: TestRegistry) -> list[str]:
    return [item.method for item in registry.requests]


def broken(registry: TestRegistry, connect: Connector, kept: int, settings: UploadSettings = LARGE) -> Notes:
    """The notes of a run that ended in the middle of the upload."""
    notes = Notes()
    repository = connect(registry, upload=settings).repository("acme/app")
    repository.upload_notes = notes
    registry.content.upload_rules.keeps_of_put = [kept]
    with pytest.raises(Unavailable):
        repository.push(BLOB, Stream(CONTENT))
    registry.requests.clear()
    return notes


@pytest.mark.parametrize("kept", [2, MIB, len(CONTENT) - 1, len(CONTENT)])
def test_an_upload_that_broke_goes_on_where_the_registry_is(
    registry: TestRegistry, large: RegistryRepository, kept: int
) -> None:
    registry.content.upload_rules.keeps_of_put = [kept]
    large.push(BLOB, BytesReader(CONTENT))
    assert stored(registry)
    # The HEAD looks whether it was only the answer that did not come.
    assert methods(registry) == ["HEAD", "POST", "PUT", "HEAD", "GET", "PUT"]
    assert len(registry.asked("PUT")[-1].body) == len(CONTENT) - kept
    assert registry.content.uploads == set()


def test_the_rest_of_a_file_is_sent(registry: TestRegistry, large: RegistryRepository, tmp_path: Path) -> None:
    path = tmp_path / "blob"
    path.write_bytes(CONTENT)
    with path.open("rb") as file:
        stamp = Stamp.of(file)
    registry.content.upload_rules.keeps_of_put = [MIB]
    with HashedFile(str(path), BLOB.digest, stamp) as reader:
        large.push(BLOB, reader)
    assert stored(registry)
    assert [len(item.body) for item in registry.asked("PUT")] == [len(CONTENT), len(CONTENT) - MIB]


def test_the_rest_may_break_too(registry: TestRegistry, large: RegistryRepository) -> None:
    registry.content.upload_rules.keeps_of_put = [MIB, 1000, 0, 5]
    large.push(BLOB, BytesReader(CONTENT))
    assert stored(registry)
    assert registry.count("POST") == 1
    assert len(registry.asked("PUT")[-1].body) == len(CONTENT) - MIB - 1005


@pytest.mark.parametrize("kept", [0, 1])
def test_an_upload_of_which_nothing_arrived_starts_over(
    registry: TestRegistry, large: RegistryRepository, kept: int
) -> None:
    # Range tells one byte and none alike.
    registry.content.upload_rules.keeps_of_put = [kept]
    large.push(BLOB, BytesReader(CONTENT))
    assert stored(registry)
    assert registry.count("POST") == 2
    assert registry.content.uploads == set()


def test_an_upload_that_the_registry_lost_starts_over(registry: TestRegistry, large: RegistryRepository) -> None:
    # So do zot and docker-registry 2.8, whenever a request breaks off.
    registry.content.upload_rules.status = False
    registry.content.upload_rules.keeps_of_put = [MIB]
    large.push(BLOB, BytesReader(CONTENT))
    assert stored(registry)
    assert registry.count("POST") == 2


@pytest.mark.parametrize("said", ["0-1500000", "0-99999999", "0-17", "nonsense", ""])
def test_a_registry_that_tells_wrong_gets_the_whole_again(
    registry: TestRegistry, large: RegistryRepository, said: str
) -> None:
    registry.content.upload_rules.keeps_of_put = [MIB]
    registry.fault(("GET", "/uploads/"), action=SetHeader("Range", said), times=99)
    large.push(BLOB, BytesReader(CONTENT))
    assert stored(registry)
    assert registry.content.uploads == set()


def test_a_small_blob_starts_over_without_asking(registry: TestRegistry, repository: RegistryRepository) -> None:
    registry.content.upload_rules.keeps_of_put = [MIB]
    repository.push(BLOB, BytesReader(CONTENT))
    assert methods(registry) == ["HEAD", "POST", "PUT", "HEAD", "DELETE", "POST", "PUT"]


def test_a_stream_cannot_go_on_in_its_own_run(registry: TestRegistry, large: RegistryRepository) -> None:
    registry.content.upload_rules.keeps_of_put = [MIB]
    with pytest.raises(Unavailable):
        large.push(BLOB, Stream(CONTENT))
    assert registry.content.uploads == set()


def test_another_run_goes_on_by_a_note(registry: TestRegistry, connect: Connector) -> None:
    notes = broken(registry, connect, MIB)
    assert list(notes.there) == [BLOB.digest]
    other = connect(registry, upload=LARGE).repository("acme/app")
    other.upload_notes = notes
    other.push(BLOB, Stream(CONTENT))
    assert stored(registry)
    assert methods(registry) == ["HEAD", "GET", "PUT"]
    assert len(registry.asked("PUT")[0].body) == len(CONTENT) - MIB
    assert notes.there == {}


def test_notes_tell_how_far_chunks_came(registry: TestRegistry, connect: Connector) -> None:
    notes = Notes()
    settings = UploadSettings(chunk_bytes=MIB, large_bytes=MIB)
    repository = connect(registry, upload=settings).repository("acme/app")
    repository.upload_notes = notes
    repository.push(BLOB, Stream(CONTENT))
    assert notes.offsets == [0, MIB, 2 * MIB]
    assert notes.there == {}


def test_a_note_of_an_upload_that_is_lost_begins_anew(registry: TestRegistry, connect: Connector) -> None:
    notes = broken(registry, connect, MIB)
    registry.content.lose_uploads()
    other = connect(registry, upload=LARGE).repository("acme/app")
    other.upload_notes = notes
    other.push(BLOB, Stream(CONTENT))
    assert stored(registry)
    assert methods(registry) == ["HEAD", "GET", "POST", "PUT"]
    assert notes.there == {}


def test_a_note_that_leads_to_another_host_is_not_followed(registry: TestRegistry, connect: Connector) -> None:
    with TestRegistry() as elsewhere:
        notes = Notes()
        location = f"{elsewhere.url}{elsewhere.content.open_upload('acme/app')}"
        notes.opened(BLOB.digest, location, MIB)
        repository = connect(registry, upload=LARGE).repository("acme/app")
        repository.upload_notes = notes
        repository.push(BLOB, Stream(CONTENT))
        assert stored(registry)
        assert elsewhere.requests == []
        assert notes.there == {}


def test_a_note_is_kept_while_the_registry_cannot_be_asked(registry: TestRegistry, connect: Connector) -> None:
    notes = broken(registry, connect, MIB)
    registry.fault(("GET", "/uploads/"), action=Status(503), times=99)
    other = connect(registry, upload=LARGE).repository("acme/app")
    other.upload_notes = notes
    with pytest.raises(Unavailable):
        other.push(BLOB, Stream(CONTENT))
    assert list(notes.there) == [BLOB.digest]


def test_wrong_content_leaves_no_upload_and_no_note(registry: TestRegistry, connect: Connector) -> None:
    notes = broken(registry, connect, MIB)
    other = connect(registry, upload=LARGE).repository("acme/app")
    other.upload_notes = notes
    with pytest.raises(IntegrityError):
        other.push(BLOB, BytesReader(CONTENT[:-1] + b"!"))
    assert registry.content.uploads == set()
    assert notes.there == {}


def test_a_blob_that_is_there_needs_no_note(registry: TestRegistry, connect: Connector) -> None:
    notes = broken(registry, connect, MIB)
    connect(registry).repository("acme/app").push(BLOB, Stream(CONTENT))
    other = connect(registry, upload=LARGE).repository("acme/app")
    other.upload_notes = notes
    other.push(BLOB, Stream(CONTENT))
    assert notes.there == {}


def test_an_interrupt_leaves_the_upload_to_the_next_run(registry: TestRegistry, connect: Connector) -> None:
    class Interrupted(Stream):
        def read(self, size: int = -1, /) -> bytes:
            raise KeyboardInterrupt

    notes = Notes()
    repository = connect(registry, upload=LARGE).repository("acme/app")
    repository.upload_notes = notes
    with pytest.raises(KeyboardInterrupt):
        repository.push(BLOB, Interrupted(CONTENT))
    assert list(notes.there) == [BLOB.digest]
    assert len(registry.content.uploads) == 1
