"""A pull that ended in the middle goes on in the next run, also with blobs too large for the cache to keep."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import pytest

from provender.artifact.pull import pull
from provender.artifact.unpack import UnpackOptions
from provender.errors import IntegrityError, Unavailable
from provender.storage.cache import BlobCache
from provender.storage.cached_source import CachedSource
from provender.storage.registry import RegistryRepository, RetryPolicy
from support.registry import Corrupt, Request, Reset, TestRegistry
from support.registry_client import Connector
from support.workspace import layer, packed, publish

MIB = 1 << 20
BIG = hashlib.shake_256(b"big").digest(20 * MIB + 7)
OTHER = hashlib.shake_256(b"other").digest(12 * MIB + 3)
LARGEST = 4 * MIB  # what the cache keeps here; the real limit is 64 MiB


@pytest.fixture
def impatient(registry: TestRegistry, connect: Connector) -> RegistryRepository:
    """A client that gives up at the first break."""
    return connect(registry, policy=RetryPolicy(tries=1, first_tries=1)).repository("acme/app")


def fetch(origin: RegistryRepository, cache: BlobCache, directory: Path, *, jobs: int = 4) -> None:
    """A pull as the command does it."""
    with CachedSource(origin, cache, largest_bytes=LARGEST) as source:
        pull(source, "1.0", str(directory / "out"), options=UnpackOptions(jobs=jobs))


def start(request: Request) -> int:
    """The first byte that a request asks for."""
    return int(request.headers["range"].removeprefix("bytes=").removesuffix("-"))


def left(cache: BlobCache) -> list[str]:
    """The unfinished and the finished blobs over the size that is kept."""
    found = [path for folder in ("partial", "blobs", "locks") for path in (cache.root / folder).rglob("*")]
    return sorted(
        path.name for path in found if path.is_file() and (path.stat().st_size > LARGEST or "lock" in str(path))
    )


def test_a_large_blob_goes_on_where_the_last_run_ended(
    registry: TestRegistry, impatient: RegistryRepository, cache: BlobCache, tmp_path: Path
) -> None:
    publish(registry, "acme/app", "1.0", {"big.bin": BIG})
    registry.fault(("GET", "/blobs/"), action=Reset(17 * MIB))
    with pytest.raises(Unavailable):
        fetch(impatient, cache, tmp_path)
    assert not (tmp_path / "out").exists()
    fetch(impatient, cache, tmp_path)
    assert (tmp_path / "out" / "big.bin").read_bytes() == BIG
    first, second = registry.asked("GET", "/blobs/")
    assert "range" not in first.headers
    # All but what was on its way when the connection broke: a reset overtakes what was not read yet.
    assert 8 * MIB <= start(second) <= 17 * MIB
    assert left(cache) == []


def test_what_is_finished_is_not_fetched_again_for_what_is_not(
    registry: TestRegistry, impatient: RegistryRepository, cache: BlobCache, tmp_path: Path
) -> None:
    """Of two large files one came whole: only the other one is asked for in the next run."""
    publish(registry, "acme/app", "1.0", {"big.bin": BIG, "other.bin": OTHER})
    registry.fault(("GET", "/blobs/"), action=Reset(1 * MIB), skip=1)
    with pytest.raises(Unavailable):
        fetch(impatient, cache, tmp_path, jobs=1)
    registry.requests.clear()
    fetch(impatient, cache, tmp_path, jobs=1)
    assert {path.name: path.read_bytes() for path in (tmp_path / "out").iterdir()} == {
        "big.bin": BIG,
        "other.bin": OTHER,
    }
    assert registry.count("GET", "/blobs/") == 1


def test_a_large_archive_goes_on_too(
    registry: TestRegistry, impatient: RegistryRepository, cache: BlobCache, tmp_path: Path
) -> None:
    content = packed({"a": BIG, "b": b"small"})
    flux = "application/vnd.cncf.flux.content.v1.tar+gzip"
    publish(registry, "acme/app", "1.0", layers=[layer(registry, "acme/app", content, media_type=flux)])
    registry.fault(("GET", "/blobs/"), action=Reset(17 * MIB))
    with pytest.raises(Unavailable):
        fetch(impatient, cache, tmp_path)
    fetch(impatient, cache, tmp_path)
    assert (tmp_path / "out" / "a").read_bytes() == BIG
    assert 8 * MIB <= start(registry.asked("GET", "/blobs/")[1]) <= 17 * MIB
    assert left(cache) == []


def test_a_file_is_moved_and_not_written_twice(
    registry: TestRegistry, impatient: RegistryRepository, cache: BlobCache, tmp_path: Path
) -> None:
    """The file of the download becomes the file in the directory: the same inode."""
    publish(registry, "acme/app", "1.0", {"big.bin": BIG})
    registry.fault(("GET", "/blobs/"), action=Reset(17 * MIB))
    with pytest.raises(Unavailable):
        fetch(impatient, cache, tmp_path)
    partial = next(path for path in (cache.root / "partial").rglob("*") if path.stat().st_size > LARGEST)
    inode = partial.stat().st_ino
    fetch(impatient, cache, tmp_path)
    status = (tmp_path / "out" / "big.bin").stat()
    assert (status.st_ino, status.st_nlink) == (inode, 1)


def test_the_same_blob_under_two_names_is_two_files(
    registry: TestRegistry, impatient: RegistryRepository, cache: BlobCache, tmp_path: Path
) -> None:
    publish(registry, "acme/app", "1.0", {"one.bin": BIG, "two.bin": BIG})
    fetch(impatient, cache, tmp_path, jobs=2)
    assert {path.read_bytes() == BIG for path in (tmp_path / "out").iterdir()} == {True}
    assert len({path.stat().st_ino for path in (tmp_path / "out").iterdir()}) == 2
    assert left(cache) == []


def test_wrong_content_is_never_moved_anywhere(
    registry: TestRegistry, impatient: RegistryRepository, cache: BlobCache, tmp_path: Path
) -> None:
    publish(registry, "acme/app", "1.0", {"big.bin": BIG})
    registry.fault(("GET", "/blobs/"), action=Corrupt(19 * MIB))
    with pytest.raises(IntegrityError) as caught:
        fetch(impatient, cache, tmp_path)
    assert caught.value.code == "digest-mismatch"
    assert not (tmp_path / "out").exists()
    assert left(cache) == []
    fetch(impatient, cache, tmp_path)
    assert (tmp_path / "out" / "big.bin").read_bytes() == BIG


def test_a_part_that_somebody_changed_is_fetched_anew(
    registry: TestRegistry, impatient: RegistryRepository, cache: BlobCache, tmp_path: Path
) -> None:
    publish(registry, "acme/app", "1.0", {"big.bin": BIG})
    registry.fault(("GET", "/blobs/"), action=Reset(17 * MIB))
    with pytest.raises(Unavailable):
        fetch(impatient, cache, tmp_path)
    partial = next(path for path in (cache.root / "partial").rglob("*") if path.stat().st_size > LARGEST)
    with partial.open("r+b") as file:
        file.seek(5 * MIB)
        file.write(b"changed")
    fetch(impatient, cache, tmp_path)
    assert (tmp_path / "out" / "big.bin").read_bytes() == BIG
    assert "range" not in registry.asked("GET", "/blobs/")[1].headers


def test_a_cache_on_another_device_serves_as_well(
    registry: TestRegistry, impatient: RegistryRepository, tmp_path: Path
) -> None:
    elsewhere = Path("/dev/shm")
    if not elsewhere.is_dir() or os.stat(elsewhere).st_dev == tmp_path.stat().st_dev:
        pytest.skip("there is no second file system here")
    import tempfile

    with tempfile.TemporaryDirectory(dir=elsewhere, prefix="provender-test-") as directory:
        cache = BlobCache(Path(directory), max_bytes=1 << 30)
        publish(registry, "acme/app", "1.0", {"big.bin": BIG})
        registry.fault(("GET", "/blobs/"), action=Reset(17 * MIB))
        with pytest.raises(Unavailable):
            fetch(impatient, cache, tmp_path)
        fetch(impatient, cache, tmp_path)
        assert (tmp_path / "out" / "big.bin").read_bytes() == BIG
        assert "range" in registry.asked("GET", "/blobs/")[1].headers
        assert left(cache) == []
