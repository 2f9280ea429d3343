from __future__ import annotations

import random
import threading
import time

import pytest

from provender.errors import IntegrityError
from provender.oci import Descriptor
from provender.storage.abilities import BlobReader
from provender.storage.registry import (
    NoCredentials,
    RegistryClient,
    RegistryRepository,
    Timing,
    download,
    ranges,
)
from support.registry import Action, Corrupt, Reset, SetHeader, Status, TestRegistry, Throttle, Truncate
from support.registry_client import Connector

MIB = 1 << 20
CONTENT = random.Random(3).randbytes(3 * MIB + 12345)
BLOB = Descriptor.of(CONTENT, "application/octet-stream")


@pytest.fixture(autouse=True)
def small(registry: TestRegistry, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every connection is slow enough, every blob large enough, and the windows are small."""
    monkeypatch.setattr(download, "MIN_BYTES", MIB)
    monkeypatch.setattr(download, "_MEASURED_AFTER_S", 0.0)
    monkeypatch.setattr(ranges.Windows.__init__, "__kwdefaults__", {"count": 4, "window_bytes": 256 << 10})
    registry.push_blob("acme/app", CONTENT)
    registry.fault(("GET", "/blobs/"), action=Throttle(400 * MIB, 128 << 10))


def everything(reader: BlobReader, size: int = 70_001) -> bytes:
    chunks = []
    with reader:
        while chunk := reader.read(size):
            chunks.append(chunk)
    return b"".join(chunks)


@pytest.fixture
def slow(registry: TestRegistry, connect: Connector) -> RegistryRepository:
    """The repository, by a clock on which everything takes long."""
    ticks = iter(range(10**9))
    client = RegistryClient(
        registry.host,
        transport=connect.transport,
        credentials=NoCredentials(),
        plain_http=True,
        timing=Timing(sleep=lambda _: None, monotonic=lambda: next(ticks) / 100, jitter=lambda most: most),
    )
    return client.repository("acme/app")


def asked(registry: TestRegistry) -> list[str]:
    return [item.headers.get("range", "") for item in registry.asked("GET", "/blobs/")]


def test_a_slow_blob_comes_in_windows_and_in_order(registry: TestRegistry, slow: RegistryRepository) -> None:
    assert everything(slow.fetch(BLOB)) == CONTENT
    first, *windows = asked(registry)
    assert first == ""
    assert len(windows) > 4
    bounds = sorted(tuple(map(int, text.removeprefix("bytes=").split("-"))) for text in windows)
    assert all(end - start + 1 <= 256 << 10 for start, end in bounds)
    assert [end + 1 for _, end in bounds[:-1]] == [start for start, _ in bounds[1:]]
    assert bounds[-1][1] == len(CONTENT) - 1


def test_a_fast_blob_comes_in_one_answer(registry: TestRegistry, repository: RegistryRepository) -> None:
    assert everything(repository.fetch(BLOB)) == CONTENT
    assert asked(registry) == [""]


def test_a_small_blob_and_a_host_without_ranges_come_in_one_answer(
    registry: TestRegistry, slow: RegistryRepository, monkeypatch: pytest.MonkeyPatch
) -> None:
    registry.content.ranges = False
    assert everything(slow.fetch(BLOB)) == CONTENT
    registry.content.ranges = True
    monkeypatch.setattr(download, "MIN_BYTES", len(CONTENT))
    assert everything(slow.fetch(BLOB)) == CONTENT
    assert asked(registry) == ["", ""]


def test_one_download_of_a_process_at_a_time(registry: TestRegistry, slow: RegistryRepository) -> None:
    gates = slow.session.wire.gates
    with gates.side_by_side:
        assert everything(slow.fetch(BLOB)) == CONTENT
    assert asked(registry) == [""]
    everything(slow.fetch(BLOB))
    assert len(asked(registry)) > 2
    assert gates.side_by_side.acquire(blocking=False)


@pytest.mark.parametrize(
    "action",
    [
        Truncate(1000),
        Reset(1000),
        Status(500),
        Status(404),
        Status(416),
        Status(200, {}, b"x"),
        SetHeader("Content-Range", "bytes 0-9/10"),
    ],
)
def test_a_window_that_breaks_leads_back_to_one_connection(
    registry: TestRegistry, slow: RegistryRepository, action: Action
) -> None:
    registry.fault(("GET", "/blobs/"), action=action, skip=4)
    assert everything(slow.fetch(BLOB)) == CONTENT


def test_wrong_bytes_in_a_window_are_found(registry: TestRegistry, slow: RegistryRepository) -> None:
    registry.fault(("GET", "/blobs/"), action=Corrupt(77), skip=3)
    with pytest.raises(IntegrityError) as caught:
        everything(slow.fetch(BLOB))
    assert caught.value.code == "digest-mismatch"


def test_leaving_early_ends_the_windows(registry: TestRegistry, slow: RegistryRepository) -> None:
    with slow.fetch(BLOB) as reader:
        for _ in range(8):
            reader.read(70_000)
    ends = time.monotonic() + 10
    while any(thread.name.startswith("provender-range") for thread in threading.enumerate()):
        assert time.monotonic() < ends
        time.sleep(0.01)
    assert slow.session.wire.gates.side_by_side.acquire(blocking=False)


def test_no_window_is_asked_for_before_there_is_room(registry: TestRegistry, slow: RegistryRepository) -> None:
    assert ranges.COUNT * ranges.WINDOW_BYTES <= 64 << 20
    with slow.fetch(BLOB) as reader:
        taken = 0
        while len(asked(registry)) < 5:
            taken += len(reader.read(1000))
        time.sleep(0.1)
        used_up = taken // (256 << 10) + 1
        assert len(asked(registry)) <= 1 + 4 + used_up  # the first answer, four windows, and one for each that was read
