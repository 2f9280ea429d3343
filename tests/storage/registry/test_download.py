from __future__ import annotations

import pytest

from provender.errors import IntegrityError, NotFound, Unavailable
from provender.oci import Descriptor
from provender.storage.abilities import BlobReader
from provender.storage.registry import HttpTransport, NoCredentials, RegistryClient, RegistryRepository, Timing
from support.registry import (
    Action,
    Corrupt,
    Redirect,
    Reply,
    Request,
    Reset,
    SetHeader,
    Stall,
    Status,
    TestRegistry,
    Truncate,
)
from support.registry_client import Connector

CONTENT = bytes(range(256)) * 2000
# Short for a test, yet longer than a busy machine keeps a server that works from answering.
SILENCE_S = 1.5
BLOB = Descriptor.of(CONTENT, "application/octet-stream")


@pytest.fixture(autouse=True)
def stored(registry: TestRegistry) -> None:
    registry.push_blob("acme/app", CONTENT)


def everything(reader: BlobReader, size: int = 70_000) -> bytes:
    chunks = []
    with reader:
        while chunk := reader.read(size):
            chunks.append(chunk)
    return b"".join(chunks)


def ranges(registry: TestRegistry) -> list[str | None]:
    return [item.headers.get("range") for item in registry.asked("GET", "/blobs/")]


def test_a_reset_is_resumed_where_it_happened(registry: TestRegistry, repository: RegistryRepository) -> None:
    registry.fault(("GET", "/blobs/"), action=Reset(200_000))
    assert everything(repository.fetch(BLOB)) == CONTENT
    assert len(ranges(registry)) == 2  # a reset may overtake bytes, so where it resumes is not certain


def test_a_short_body_is_resumed(registry: TestRegistry, repository: RegistryRepository) -> None:
    registry.fault(("GET", "/blobs/"), action=Truncate(123_456))
    assert everything(repository.fetch(BLOB)) == CONTENT
    assert ranges(registry) == [None, "bytes=123456-"]


def test_without_a_length_the_declared_size_tells_the_end(
    registry: TestRegistry, repository: RegistryRepository
) -> None:
    registry.fault(("GET", "/blobs/"), action=Truncate(123_456, without_length=True))
    assert everything(repository.fetch(BLOB)) == CONTENT
    assert ranges(registry) == [None, "bytes=123456-"]


def test_any_number_of_breaks_is_survived_while_there_is_progress(
    registry: TestRegistry, repository: RegistryRepository, connect: Connector
) -> None:
    registry.fault(("GET", "/blobs/"), action=Truncate(40_000), times=12)
    assert everything(repository.fetch(BLOB)) == CONTENT
    assert len(ranges(registry)) == 13
    assert connect.sleeps == []


def test_breaks_without_progress_end(
    registry: TestRegistry, repository: RegistryRepository, connect: Connector
) -> None:
    registry.fault(("GET", "/blobs/"), action=Truncate(1000))
    registry.fault(("GET", "/blobs/"), action=Truncate(0), times=99)
    with pytest.raises(Unavailable) as caught:
        everything(repository.fetch(BLOB))
    assert "at byte 1000 of 512000" in caught.value.message
    assert caught.value.retryable
    assert ranges(registry) == [None, *["bytes=1000-"] * 7]
    assert len(connect.sleeps) == 6


def test_a_server_without_ranges_never_corrupts(registry: TestRegistry, repository: RegistryRepository) -> None:
    registry.content.ranges = False
    registry.fault(("GET", "/blobs/"), action=Reset(300_000))
    registry.fault(("GET", "/blobs/"), action=Reset(100_000))
    assert everything(repository.fetch(BLOB), size=1000) == CONTENT
    assert len(ranges(registry)) == 3


@pytest.mark.parametrize(
    "wrong",
    [
        SetHeader("Content-Range", "bytes 0-511999/512000"),
        SetHeader("Content-Range", "bytes 200000-511999/999999"),
        SetHeader("Content-Range", "nonsense"),
        Status(416, {"Content-Range": "bytes */100", "Content-Length": "100"}),
    ],
)
def test_a_wrong_range_means_starting_over_once(
    registry: TestRegistry, repository: RegistryRepository, wrong: SetHeader | Status
) -> None:
    registry.fault(("GET", "/blobs/"), action=Truncate(200_000))
    registry.fault(("GET", "/blobs/"), action=wrong)
    assert everything(repository.fetch(BLOB)) == CONTENT
    assert ranges(registry) == [None, "bytes=200000-", None]


class SparingRegistry(TestRegistry):
    """Answers a range with so many bytes of it at most, as caches that keep blobs in slices do (RFC 9110, 15.3.7)."""

    __test__ = False
    most = 100_000

    def answer(self, request: Request, fault: Action | None) -> Reply:
        reply = super().answer(request, fault)
        if reply.status == 206:
            first = int(reply.headers["Content-Range"].removeprefix("bytes ").partition("-")[0])
            reply.body = reply.body[: self.most]
            reply.headers["Content-Length"] = str(len(reply.body))
            reply.headers["Content-Range"] = f"bytes {first}-{first + len(reply.body) - 1}/{len(CONTENT)}"
        return reply


def test_a_range_of_which_only_a_part_comes_is_asked_for_further(connect: Connector) -> None:
    with SparingRegistry() as registry:
        registry.push_blob("acme/app", CONTENT)
        repository = connect(registry).repository("acme/app")
        assert everything(repository.fetch(BLOB, offset=212_000)) == CONTENT[212_000:]
        assert ranges(registry) == ["bytes=212000-", "bytes=312000-", "bytes=412000-"]
        registry.most = 10
        with pytest.raises(Unavailable) as caught:
            everything(repository.fetch(BLOB, offset=1))
        assert caught.value.retryable


def test_other_content_after_a_resume_is_found_by_the_digest(
    registry: TestRegistry, repository: RegistryRepository
) -> None:
    registry.fault(("GET", "/blobs/"), action=Truncate(200_000))
    registry.fault(("GET", "/blobs/"), action=Corrupt(5))
    with pytest.raises(IntegrityError) as caught:
        everything(repository.fetch(BLOB))
    assert caught.value.code == "digest-mismatch"


def test_one_wrong_byte_is_found_and_not_asked_for_again(
    registry: TestRegistry, repository: RegistryRepository
) -> None:
    registry.fault(("GET", "/blobs/"), action=Corrupt(400_000), times=9)
    with pytest.raises(IntegrityError) as caught:
        everything(repository.fetch(BLOB))
    assert caught.value.code == "digest-mismatch"
    assert caught.value.where == f"{registry.host}/acme/app@{BLOB.digest}"
    assert len(ranges(registry)) == 1


@pytest.mark.parametrize("size", [len(CONTENT) - 1, len(CONTENT) + 1, 0])
def test_a_wrong_size_is_found_before_the_body_is_read(
    registry: TestRegistry, repository: RegistryRepository, size: int
) -> None:
    with pytest.raises(IntegrityError) as caught:
        repository.fetch(Descriptor(media_type="application/x", digest=BLOB.digest, size=size))
    assert caught.value.code == "size-mismatch"
    assert len(ranges(registry)) == 1


def test_a_body_longer_than_declared_is_cut_off(registry: TestRegistry, repository: RegistryRepository) -> None:
    registry.fault(("GET", "/blobs/"), action=Truncate(1 << 30, without_length=True))
    descriptor = Descriptor(media_type="application/x", digest=BLOB.digest, size=len(CONTENT) - 7)
    with pytest.raises(IntegrityError) as caught:
        everything(repository.fetch(descriptor))
    assert caught.value.code == "size-mismatch"


def test_an_offset_is_asked_for_by_range(registry: TestRegistry, repository: RegistryRepository) -> None:
    assert everything(repository.fetch(BLOB, offset=500_000)) == CONTENT[500_000:]
    assert ranges(registry) == ["bytes=500000-"]


def test_an_offset_survives_a_server_without_ranges(registry: TestRegistry, repository: RegistryRepository) -> None:
    registry.content.ranges = False
    assert everything(repository.fetch(BLOB, offset=500_000), size=10) == CONTENT[500_000:]


def test_an_offset_survives_a_reset(registry: TestRegistry, repository: RegistryRepository) -> None:
    registry.fault(("GET", "/blobs/"), action=Truncate(1000))
    assert everything(repository.fetch(BLOB, offset=400_000)) == CONTENT[400_000:]
    assert ranges(registry) == ["bytes=400000-", "bytes=401000-"]


def test_an_offset_outside_is_refused(registry: TestRegistry, repository: RegistryRepository) -> None:
    for offset in (-1, len(CONTENT) + 1):
        with pytest.raises(IntegrityError):
            repository.fetch(BLOB, offset=offset)
    assert registry.count() == 0


def test_the_end_as_offset_gives_nothing(repository: RegistryRepository) -> None:
    assert everything(repository.fetch(BLOB, offset=len(CONTENT))) == b""


def test_an_empty_blob_is_fetched(registry: TestRegistry, repository: RegistryRepository) -> None:
    registry.push_blob("acme/app", b"")
    assert everything(repository.fetch(Descriptor.of(b"", "application/x"))) == b""


def test_content_that_vanishes_in_the_middle_is_an_error(
    registry: TestRegistry, repository: RegistryRepository
) -> None:
    registry.fault(("GET", "/blobs/"), action=Truncate(1000))
    registry.fault(("GET", "/blobs/"), action=Status(404))
    with pytest.raises(Unavailable) as caught:
        everything(repository.fetch(BLOB))
    assert caught.value.code == "content-vanished"


def test_a_missing_blob_is_not_found_at_once(repository: RegistryRepository) -> None:
    with pytest.raises(NotFound):
        repository.fetch(Descriptor.of(b"absent", "application/x"))


def test_a_redirect_is_followed_to_another_server(registry: TestRegistry, repository: RegistryRepository) -> None:
    with TestRegistry() as storage:
        storage.push_blob("bucket", CONTENT)
        url = f"{storage.url}/v2/bucket/blobs/{BLOB.digest}?X-Amz-Signature=s"
        registry.fault(("GET", "/blobs/"), action=Redirect(url), times=2)
        storage.fault(("GET", "/blobs/"), action=Truncate(1000))
        assert everything(repository.fetch(BLOB)) == CONTENT
        # The signed address may have expired: a resume starts at the registry.
        assert [item.headers.get("range") for item in storage.requests] == [None, "bytes=1000-"]
        assert ranges(registry) == [None, "bytes=1000-"]


def test_a_stalled_server_is_left_and_asked_again(registry: TestRegistry) -> None:
    registry.fault(("GET", "/blobs/"), action=Stall(30, after_bytes=1000))
    with HttpTransport({}, read_timeout_s=SILENCE_S) as transport:
        client = RegistryClient(
            registry.host, transport=transport, credentials=NoCredentials(), timing=Timing(sleep=lambda _: None)
        )
        assert everything(client.repository("acme/app").fetch(BLOB)) == CONTENT
    assert ranges(registry) == [None, "bytes=1000-"]


@pytest.mark.parametrize("path", ["blob", "manifest", "tags", "catalog", "ping"])
def test_a_web_page_is_no_registry_response(connect: Connector, registry: TestRegistry, path: str) -> None:
    registry.html = True
    client = connect(registry)
    repository = client.repository("acme/app")
    actions = {
        "blob": lambda: repository.fetch(BLOB),
        "manifest": lambda: repository.resolve("1.0"),
        "tags": lambda: list(repository.tags()),
        "catalog": lambda: list(client.repositories()),
        "ping": client.ping,
    }
    with pytest.raises(Unavailable) as caught:
        actions[path]()
    assert caught.value.code == "not-a-registry-response"
    assert not caught.value.retryable
    assert caught.value.exit_status == 69
    assert "Please sign in" in caught.value.message
    assert "\x1b" not in caught.value.message
    assert registry.count() == 1


def test_closing_early_is_allowed_and_the_next_request_works(repository: RegistryRepository) -> None:
    reader = repository.fetch(BLOB)
    assert reader.read(10) == CONTENT[:10]
    reader.close()
    assert everything(repository.fetch(BLOB)) == CONTENT
