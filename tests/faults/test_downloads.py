"""F1 to F10 and F39: what goes wrong with the bytes of a blob on their way."""

from __future__ import annotations

import random

import pytest

from provender.errors import IntegrityError, Unavailable
from provender.oci import Descriptor
from provender.storage.abilities import BlobReader
from provender.storage.cache import BlobCache, CachedFetcher
from provender.storage.registry import (
    HttpTransport,
    NoCredentials,
    RegistryClient,
    RegistryRepository,
    RetryPolicy,
    Timing,
)
from support.registry import Corrupt, Reset, SetHeader, Stall, Status, TestRegistry, Throttle, Truncate
from support.registry_client import Connector

MIB = 1 << 20
CONTENT = random.Random(7).randbytes(20 * MIB)
BLOB = Descriptor.of(CONTENT, "application/octet-stream")
# Short for a test, yet longer than a busy machine keeps a server that works from answering.
SILENCE_S = 1.5


@pytest.fixture(autouse=True)
def stored(registry: TestRegistry) -> None:
    registry.push_blob("acme/app", CONTENT)


def everything(reader: BlobReader) -> bytes:
    chunks = []
    with reader:
        while chunk := reader.read():
            chunks.append(chunk)
    return b"".join(chunks)


def ranges(registry: TestRegistry) -> list[str | None]:
    return [item.headers.get("range") for item in registry.asked("GET", "/blobs/")]


def partials(cache: BlobCache) -> list[str]:
    return sorted(path.name for path in (cache.root / "partial").rglob("*") if path.is_file())


def entries(cache: BlobCache) -> list[str]:
    return [path.name for path in (cache.root / "blobs").rglob("*") if path.is_file()]


def test_f01_reset_at_40_percent_resumes_by_range(
    registry: TestRegistry, repository: RegistryRepository, connect: Connector
) -> None:
    content = CONTENT * 3 + CONTENT[: 4 * MIB]  # 64 MiB
    registry.push_blob("acme/app", content)
    registry.fault(("GET", "/blobs/"), action=Reset(len(content) * 4 // 10))
    assert everything(repository.fetch(Descriptor.of(content, "application/octet-stream"))) == content
    first, second = ranges(registry)
    assert first is None
    # A reset may overtake bytes, so where it goes on is not certain.
    assert second is not None
    assert second.startswith("bytes=")
    assert connect.sleeps == []


def test_f02_a_short_body_resumes_and_is_never_the_whole(
    registry: TestRegistry, repository: RegistryRepository
) -> None:
    registry.fault(("GET", "/blobs/"), action=Truncate(8 * MIB))
    assert everything(repository.fetch(BLOB)) == CONTENT
    assert ranges(registry) == [None, f"bytes={8 * MIB}-"]


def test_f02_a_whole_answer_that_is_too_short_is_refused(
    registry: TestRegistry, repository: RegistryRepository
) -> None:
    registry.content.repository("acme/app").blobs[BLOB.digest] = CONTENT[: 8 * MIB]
    with pytest.raises(IntegrityError) as caught:
        repository.fetch(BLOB)
    assert caught.value.code == "size-mismatch"


def test_f03_without_a_length_the_descriptor_tells_the_end(
    registry: TestRegistry, repository: RegistryRepository
) -> None:
    registry.fault(("GET", "/blobs/"), action=Truncate(8 * MIB, without_length=True))
    assert everything(repository.fetch(BLOB)) == CONTENT
    assert ranges(registry) == [None, f"bytes={8 * MIB}-"]


def test_f04_a_break_at_every_mebibyte_succeeds(
    registry: TestRegistry, repository: RegistryRepository, connect: Connector
) -> None:
    registry.fault(("GET", "/blobs/"), action=Truncate(MIB), times=19)
    assert everything(repository.fetch(BLOB)) == CONTENT
    assert ranges(registry) == [None, *(f"bytes={number * MIB}-" for number in range(1, 20))]
    assert connect.sleeps == []


def test_f04_a_few_bytes_each_time_are_no_progress(registry: TestRegistry, repository: RegistryRepository) -> None:
    registry.fault(("GET", "/blobs/"), action=Truncate(100), times=999)
    with pytest.raises(Unavailable):
        everything(repository.fetch(BLOB))
    assert len(ranges(registry)) == 8


def test_f05_a_break_at_the_same_place_for_ever_ends_and_keeps_the_part(
    registry: TestRegistry, repository: RegistryRepository, cache: BlobCache, connect: Connector
) -> None:
    registry.fault(("GET", "/blobs/"), action=Truncate(12 * MIB + 17))
    registry.fault(("GET", "/blobs/"), action=Reset(-1), times=99)
    with pytest.raises(Unavailable) as caught:
        everything(CachedFetcher(repository, cache).fetch(BLOB))
    assert caught.value.exit_status == 75
    assert registry.host in caught.value.message
    assert "(8 tries)" in caught.value.message
    assert caught.value.where == f"{registry.host}/acme/app@{BLOB.digest}"
    assert sum(connect.sleeps) <= 300
    assert partials(cache) == [BLOB.digest.encoded, f"{BLOB.digest.encoded}.mark"]

    registry.requests.clear()
    with TestRegistry() as repaired:  # the registry is itself again
        repaired.push_blob("acme/app", CONTENT)
        again = connect(repaired).repository("acme/app")
        assert everything(CachedFetcher(again, cache).fetch(BLOB)) == CONTENT
        assert ranges(repaired) == [f"bytes={12 * MIB + 17}-"]
    assert partials(cache) == []
    assert entries(cache) == [BLOB.digest.encoded]


def test_f05_the_message_says_how_far_it_came(registry: TestRegistry, repository: RegistryRepository) -> None:
    registry.fault(("GET", "/blobs/"), action=Truncate(12 * MIB))
    registry.fault(("GET", "/blobs/"), action=Truncate(0), times=99)
    with pytest.raises(Unavailable) as caught:
        everything(repository.fetch(BLOB))
    assert f"at byte {12 * MIB} of {len(CONTENT)}" in caught.value.message
    assert "tries)" in caught.value.message


def test_f06_a_range_answered_by_the_whole_is_read_on_and_remembered(
    registry: TestRegistry, repository: RegistryRepository
) -> None:
    registry.content.ranges = False
    registry.fault(("GET", "/blobs/"), action=Truncate(3 * MIB))
    assert everything(repository.fetch(BLOB)) == CONTENT
    assert ranges(registry) == [None, f"bytes={3 * MIB}-"]

    registry.requests.clear()
    registry.fault(("GET", "/blobs/"), action=Truncate(3 * MIB))
    assert everything(repository.fetch(BLOB)) == CONTENT
    assert ranges(registry) == [None, None]  # a host without ranges is not asked for one again


def test_f06_an_etag_guards_the_resume(registry: TestRegistry, repository: RegistryRepository) -> None:
    registry.content.etags = True
    registry.fault(("GET", "/blobs/"), action=Truncate(3 * MIB))
    assert everything(repository.fetch(BLOB)) == CONTENT
    assert registry.asked("GET", "/blobs/")[1].headers["if-range"] == f'"{BLOB.digest}"'


def test_f06_another_etag_means_starting_over_not_a_host_without_ranges(
    registry: TestRegistry, repository: RegistryRepository
) -> None:
    registry.content.etags = True
    registry.fault(("GET", "/blobs/"), action=SetHeader("ETag", '"another"'))
    with repository.fetch(BLOB) as reader:
        reader.read(10)
    for length in (3 * MIB, 5 * MIB):
        registry.fault(("GET", "/blobs/"), action=Truncate(length))
    assert everything(repository.fetch(BLOB)) == CONTENT
    assert ranges(registry)[1:] == [None, f"bytes={3 * MIB}-", f"bytes={8 * MIB}-"]


@pytest.mark.parametrize(
    "wrong",
    [
        SetHeader("Content-Range", f"bytes 0-{len(CONTENT) - 1}/{len(CONTENT)}"),
        SetHeader("Content-Range", f"bytes {3 * MIB}-{len(CONTENT) - 1}/{len(CONTENT) + 1}"),
        Status(206, {"Content-Type": "multipart/byteranges; boundary=x"}, b"--x--"),
    ],
    ids=["start", "total", "multipart"],
)
def test_f07_a_wrong_range_is_discarded_for_one_whole_answer(
    registry: TestRegistry, repository: RegistryRepository, wrong: SetHeader | Status
) -> None:
    registry.fault(("GET", "/blobs/"), action=Truncate(3 * MIB))
    registry.fault(("GET", "/blobs/"), action=wrong)
    assert everything(repository.fetch(BLOB)) == CONTENT
    assert ranges(registry) == [None, f"bytes={3 * MIB}-", None]


def test_f07_a_range_that_nobody_asked_for_is_an_error(registry: TestRegistry, repository: RegistryRepository) -> None:
    registry.fault(("GET", "/blobs/"), action=Truncate(3 * MIB))
    registry.fault(("GET", "/blobs/"), action=Status(206, {"Content-Range": "bytes 0-4/5"}, b"abcde"), times=9)
    with pytest.raises(Unavailable):
        everything(repository.fetch(BLOB))
    assert len(ranges(registry)) == 3


def interrupted(cache: BlobCache, repository: RegistryRepository, size: int) -> None:
    """Read the first `size` bytes through the cache and leave."""
    with CachedFetcher(repository, cache).fetch(BLOB) as reader:
        left = size
        while left:
            left -= len(reader.read(min(left, MIB)))


def test_f08_a_416_to_a_kept_part_starts_over_once(
    registry: TestRegistry, repository: RegistryRepository, cache: BlobCache
) -> None:
    interrupted(cache, repository, 10 * MIB)
    registry.requests.clear()
    registry.fault(("GET", "/blobs/"), action=Status(416, {"Content-Range": "bytes */5", "Content-Length": "5"}))
    assert everything(CachedFetcher(repository, cache).fetch(BLOB)) == CONTENT
    assert ranges(registry) == [f"bytes={10 * MIB}-", None]
    assert partials(cache) == []


def test_f08_a_replaced_blob_is_refused_and_the_kept_part_goes(
    registry: TestRegistry, repository: RegistryRepository, cache: BlobCache
) -> None:
    interrupted(cache, repository, 10 * MIB)
    registry.content.repository("acme/app").blobs[BLOB.digest] = CONTENT[:MIB]
    with pytest.raises(IntegrityError):
        everything(CachedFetcher(repository, cache).fetch(BLOB))
    assert entries(cache) == partials(cache) == []


def test_f09_one_wrong_byte_is_not_stored_and_not_asked_for_again(
    registry: TestRegistry, repository: RegistryRepository, cache: BlobCache
) -> None:
    registry.fault(("GET", "/blobs/"), action=Corrupt(14 * MIB), times=9)
    wrong = bytearray(CONTENT)
    wrong[14 * MIB] ^= 1
    with pytest.raises(IntegrityError) as caught:
        everything(CachedFetcher(repository, cache).fetch(BLOB))
    assert caught.value.exit_status == 65
    assert not caught.value.retryable
    assert BLOB.digest in caught.value.message
    assert Descriptor.of(bytes(wrong), "x/y").digest in caught.value.message
    assert len(ranges(registry)) == 1
    assert entries(cache) == partials(cache) == []


@pytest.mark.parametrize("damage", ["flipped", "cut", "mark"])
def test_f10_a_damaged_part_of_an_earlier_run_is_found_before_it_is_used(
    registry: TestRegistry, repository: RegistryRepository, cache: BlobCache, damage: str
) -> None:
    interrupted(cache, repository, 10 * MIB)
    path = cache.root / "partial" / "sha256" / BLOB.digest.encoded
    content = bytearray(path.read_bytes())
    assert len(content) == 10 * MIB
    if damage == "flipped":
        content[5 * MIB] ^= 1
        path.write_bytes(content)
    elif damage == "cut":
        path.write_bytes(content[:MIB])
    else:
        path.with_name(f"{path.name}.mark").write_bytes(b"9" * 100)
    registry.requests.clear()
    assert everything(CachedFetcher(repository, cache).fetch(BLOB)) == CONTENT
    assert ranges(registry) == [None]
    assert partials(cache) == []


def test_f10_a_part_that_was_wrong_at_its_source_is_not_used_twice(
    registry: TestRegistry, repository: RegistryRepository, cache: BlobCache
) -> None:
    registry.fault(("GET", "/blobs/"), action=Corrupt(5))
    interrupted(cache, repository, 10 * MIB)
    with pytest.raises(IntegrityError) as caught:
        everything(CachedFetcher(repository, cache).fetch(BLOB))
    assert caught.value.retryable  # nobody can tell which attempt was wrong
    assert partials(cache) == []
    assert everything(CachedFetcher(repository, cache).fetch(BLOB)) == CONTENT


def test_f10_a_part_of_nearly_everything_needs_no_request(
    registry: TestRegistry, repository: RegistryRepository, cache: BlobCache
) -> None:
    interrupted(cache, repository, len(CONTENT))  # read whole, but the end was never met
    registry.requests.clear()
    assert everything(CachedFetcher(repository, cache).fetch(BLOB)) == CONTENT
    assert ranges(registry) == []
    assert entries(cache) == [BLOB.digest.encoded]


def test_f39_silence_after_the_headers_is_left_and_resumed(registry: TestRegistry) -> None:
    registry.fault(("GET", "/blobs/"), action=Stall(30, after_bytes=5 * MIB))
    with HttpTransport({}) as transport:
        client = RegistryClient(
            registry.host,
            transport=transport,
            credentials=NoCredentials(),
            policy=RetryPolicy(slow_after_s=SILENCE_S),
            timing=Timing(sleep=lambda _: None),
        )
        assert everything(client.repository("acme/app").fetch(BLOB)) == CONTENT
    assert ranges(registry) == [None, f"bytes={5 * MIB}-"]


def test_f39_a_drip_is_left_and_resumed(registry: TestRegistry) -> None:
    registry.fault(("GET", "/blobs/"), action=Throttle(5000, piece_bytes=500))
    with HttpTransport({}) as transport:
        client = RegistryClient(
            registry.host,
            transport=transport,
            credentials=NoCredentials(),
            policy=RetryPolicy(slow_after_s=SILENCE_S, slow_bytes_s=50_000),
            timing=Timing(sleep=lambda _: None),
        )
        assert everything(client.repository("acme/app").fetch(BLOB)) == CONTENT
    first, second = ranges(registry)
    assert first is None
    assert second is not None
