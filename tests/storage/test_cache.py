from __future__ import annotations

import os
import shutil
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from provender.errors import IntegrityError, NotFound, Unsupported
from provender.oci import Descriptor, Document
from provender.storage import cache as cache_module
from provender.storage.abilities import BlobReader
from provender.storage.cache import BlobCache, CachedFetcher, default_cache_root
from provender.storage.memory import MemoryStorage
from provender.storage.verify import BytesReader, VerifiedReader, read_all
from support.content import blob, manifest

MIB = 1 << 20


class Origin:
    """A storage that counts what it is asked for."""

    def __init__(self, *contents: bytes) -> None:
        self.storage = MemoryStorage()
        self.fetched: list[tuple[str, int]] = []
        for content in contents:
            self.storage.push(blob(content), BytesReader(content))

    def fetch(self, descriptor: Descriptor, *, offset: int = 0) -> BlobReader:
        self.fetched.append((descriptor.digest, offset))
        return self.storage.fetch(descriptor, offset=offset)

    def exists(self, descriptor: Descriptor) -> bool:
        return self.storage.exists(descriptor)


@pytest.fixture
def cache(tmp_path: Path) -> BlobCache:
    return BlobCache(tmp_path / "cache", max_bytes=64 * MIB)


def place(cache: BlobCache, descriptor: Descriptor) -> Path:
    encoded = descriptor.digest.encoded
    return cache.root / "blobs" / descriptor.digest.algorithm / encoded


def entries(cache: BlobCache) -> list[str]:
    return sorted(path.name for path in (cache.root / "blobs").rglob("*") if path.is_file())


def leftovers(cache: BlobCache) -> list[Path]:
    return [path for name in ("tmp", "locks") for path in (cache.root / name).iterdir()]


def read(reader: BlobReader) -> bytes:
    with reader:
        return read_all(reader, 64 * MIB)


@pytest.mark.parametrize(
    ("environ", "expected"),
    [
        ({"PROVENDER_CACHE_DIR": "/c", "XDG_CACHE_HOME": "/x", "HOME": "/h"}, "/c"),
        ({"XDG_CACHE_HOME": "/x", "HOME": "/h"}, "/x/provender"),
        ({"XDG_CACHE_HOME": "relative", "HOME": "/h"}, "/h/.cache/provender"),
        ({"PROVENDER_CACHE_DIR": "", "HOME": "/h"}, "/h/.cache/provender"),
    ],
)
def test_root_follows_the_environment(environ: dict[str, str], expected: str) -> None:
    assert default_cache_root(environ) == Path(expected)


def test_nothing_is_made_before_something_is_stored(cache: BlobCache) -> None:
    assert not cache.exists(blob(b"x"))
    assert cache.open(blob(b"x")) is None
    assert cache.document(blob(b"x").digest) is None
    with pytest.raises(NotFound):
        cache.fetch(blob(b"x"))
    assert not cache.root.exists()


def test_stored_blob_is_served_verified_and_from_an_offset(cache: BlobCache) -> None:
    cache.push(blob(b"0123456789"), BytesReader(b"0123456789"))
    assert cache.exists(blob(b"0123456789"))
    reader = cache.fetch(blob(b"0123456789"))
    assert isinstance(reader, VerifiedReader)
    assert read(reader) == b"0123456789"
    assert read(cache.fetch(blob(b"0123456789"), offset=4)) == b"456789"
    assert leftovers(cache) == []
    assert place(cache, blob(b"0123456789")).is_file()


def test_wrong_content_is_not_stored(cache: BlobCache) -> None:
    with pytest.raises(IntegrityError):
        cache.push(blob(b"right"), BytesReader(b"wrong"))
    assert entries(cache) == []
    assert leftovers(cache) == []


def test_cache_is_private_and_marked_as_a_cache(cache: BlobCache) -> None:
    cache.push(blob(b"x"), BytesReader(b"x"))
    assert cache.root.stat().st_mode & 0o077 == 0
    assert (cache.root / "CACHEDIR.TAG").read_bytes().startswith(b"Signature: 8a477f597d28d172789f06886806bc55")


@pytest.mark.parametrize("damage", [b"wrong", b"cut", b"", b"longer than before"])
def test_damaged_entry_is_removed_and_reported_as_absent(cache: BlobCache, damage: bytes) -> None:
    cache.push(blob(b"right"), BytesReader(b"right"))
    place(cache, blob(b"right")).write_bytes(damage)
    assert cache.open(blob(b"right")) is None
    assert entries(cache) == []


def test_damaged_entry_is_fetched_again(cache: BlobCache) -> None:
    origin = Origin(b"right")
    fetcher = CachedFetcher(origin, cache)
    read(fetcher.fetch(blob(b"right")))
    place(cache, blob(b"right")).write_bytes(b"wrong")
    assert read(fetcher.fetch(blob(b"right"))) == b"right"
    assert read(fetcher.fetch(blob(b"right"))) == b"right"
    assert len(origin.fetched) == 2


def test_large_damaged_entry_is_met_at_its_end_and_removed(cache: BlobCache, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cache_module, "_CHECKED_BEFORE_USE_BYTES", 4)
    origin = Origin(b"right")
    fetcher = CachedFetcher(origin, cache)
    read(fetcher.fetch(blob(b"right")))
    place(cache, blob(b"right")).write_bytes(b"wrong")
    with pytest.raises(IntegrityError) as caught:
        read(fetcher.fetch(blob(b"right")))
    assert caught.value.retryable
    assert caught.value.code == "damaged-cache-entry"
    assert read(fetcher.fetch(blob(b"right"))) == b"right"


def test_entry_that_is_a_link_is_removed(cache: BlobCache, tmp_path: Path) -> None:
    cache.push(blob(b"right"), BytesReader(b"right"))
    place(cache, blob(b"right")).unlink()
    (tmp_path / "outside").write_bytes(b"right")
    place(cache, blob(b"right")).symlink_to(tmp_path / "outside")
    assert not cache.exists(blob(b"right"))
    assert cache.open(blob(b"right")) is None
    assert entries(cache) == []
    assert (tmp_path / "outside").read_bytes() == b"right"


def test_documents_are_kept_by_digest(cache: BlobCache) -> None:
    document = manifest("a")
    cache.push_document(document)
    assert cache.document(document.digest) == document
    with pytest.raises(Unsupported):
        cache.push_document(document, ["v1"])
    cache.push(blob(b"layer"), BytesReader(b"layer"))
    assert cache.document(blob(b"layer").digest) is None
    assert cache.exists(blob(b"layer"))


def test_damaged_document_is_removed(cache: BlobCache) -> None:
    document = manifest("a")
    cache.push_document(document)
    place(cache, document.descriptor).write_bytes(document.raw.replace(b"test.name", b"test.eman"))
    assert cache.document(document.digest) is None
    assert entries(cache) == []


def test_fetcher_asks_for_a_document_once(cache: BlobCache) -> None:
    document = manifest("a")
    asked: list[int] = []

    def ask() -> Document:
        asked.append(1)
        return document

    fetcher = CachedFetcher(Origin(), cache)
    assert fetcher.document(document.digest, ask) == document
    assert fetcher.document(document.digest, ask) == document
    assert asked == [1]
    with pytest.raises(IntegrityError):
        fetcher.document(manifest("b").digest, ask)
    assert cache.document(manifest("b").digest) is None


def test_fetcher_fills_the_cache_in_one_pass(cache: BlobCache) -> None:
    content = os.urandom(3 * MIB)
    origin = Origin(content)
    fetcher = CachedFetcher(origin, cache)
    with fetcher.fetch(blob(content)) as reader:
        assert isinstance(reader, VerifiedReader)
        assert read_all(reader, len(content)) == content
        assert reader.verified
    assert leftovers(cache) == []
    assert read(fetcher.fetch(blob(content))) == content
    assert read(fetcher.fetch(blob(content), offset=MIB)) == content[MIB:]
    assert origin.fetched == [(blob(content).digest, 0)]
    assert fetcher.exists(blob(content))


def test_fetcher_passes_an_offset_through_without_caching(cache: BlobCache) -> None:
    origin = Origin(b"0123456789")
    assert read(CachedFetcher(origin, cache).fetch(blob(b"0123456789"), offset=5)) == b"56789"
    assert origin.fetched == [(blob(b"0123456789").digest, 5)]
    assert not cache.exists(blob(b"0123456789"))


def test_fetcher_verifies_an_origin_that_does_not(cache: BlobCache) -> None:
    class Careless:
        def fetch(self, descriptor: Descriptor, *, offset: int = 0) -> BlobReader:
            return BytesReader(b"wrong")

        def exists(self, descriptor: Descriptor) -> bool:
            return True

    with pytest.raises(IntegrityError):
        read(CachedFetcher(Careless(), cache).fetch(blob(b"right")))
    assert entries(cache) == []
    assert leftovers(cache) == []


def test_reading_that_stops_early_keeps_nothing(cache: BlobCache) -> None:
    fetcher = CachedFetcher(Origin(b"0123456789"), cache)
    with fetcher.fetch(blob(b"0123456789")) as reader:
        assert reader.read(5) == b"01234"
    assert entries(cache) == []
    assert leftovers(cache) == []


def test_missing_content_leaves_no_lock(cache: BlobCache) -> None:
    with pytest.raises(NotFound):
        CachedFetcher(Origin(), cache).fetch(blob(b"x"))
    assert leftovers(cache) == []


def test_full_cache_disk_does_not_fail_the_read(cache: BlobCache, monkeypatch: pytest.MonkeyPatch) -> None:
    content = os.urandom(3 * MIB)
    original = os.write
    written: list[int] = []

    def refuse(fd: int, data: bytes) -> int:
        if len(data) < 1000:
            return original(fd, data)
        if written:
            raise OSError(28, "No space left on device")
        written.append(len(data))
        return original(fd, data)

    with monkeypatch.context() as patch:
        patch.setattr(os, "write", refuse)
        assert read(CachedFetcher(Origin(content), cache).fetch(blob(content))) == content
    assert written
    assert entries(cache) == []
    assert leftovers(cache) == []


@pytest.mark.parametrize("obstacle", ["root", "tmp", "locks", "blobs"])
def test_cache_that_cannot_be_written_does_not_fail_the_read(cache: BlobCache, obstacle: str) -> None:
    path = cache.root if obstacle == "root" else cache.root / obstacle
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(b"a file where a directory should be")
    fetcher = CachedFetcher(Origin(b"x"), cache)
    assert read(fetcher.fetch(blob(b"x"))) == b"x"
    assert fetcher.document(manifest("a").digest, lambda: manifest("a")) == manifest("a")


def test_rename_that_fails_does_not_fail_the_read(cache: BlobCache, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(source: Path, target: Path) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", refuse)
        assert read(CachedFetcher(Origin(b"x"), cache).fetch(blob(b"x"))) == b"x"
    assert entries(cache) == []
    assert leftovers(cache) == []


def test_cache_deleted_while_in_use_is_made_anew(cache: BlobCache) -> None:
    import shutil

    fetcher = CachedFetcher(Origin(b"x", b"y"), cache)
    read(fetcher.fetch(blob(b"x")))
    shutil.rmtree(cache.root)
    assert read(fetcher.fetch(blob(b"y"))) == b"y"
    assert cache.exists(blob(b"y"))


def test_one_thread_with_two_readers_of_one_blob_does_not_wait_for_itself(tmp_path: Path) -> None:
    cache = BlobCache(tmp_path, max_bytes=MIB, wait_s=3600, stall_s=3600)
    fetcher = CachedFetcher(Origin(b"0123456789"), cache)
    with fetcher.fetch(blob(b"0123456789")) as first, fetcher.fetch(blob(b"0123456789")) as second:
        assert read_all(second, 10) == b"0123456789"
        assert read_all(first, 10) == b"0123456789"
    assert cache.exists(blob(b"0123456789"))


def test_least_recently_used_entries_go_first(tmp_path: Path) -> None:
    cache = BlobCache(tmp_path, max_bytes=10_000)
    contents = [bytes([number]) * 2000 for number in range(5)]
    for age, content in enumerate(reversed(contents)):
        cache.push(blob(content), BytesReader(content))
        then = time.time() - 1000 - age * 100
        os.utime(place(cache, blob(content)), (then, then))
    # contents[0] is the oldest; using it makes contents[1] the oldest. Two have to go: nine tenths are to be left.
    oldest = min(contents, key=lambda content: place(cache, blob(content)).stat().st_mtime)
    assert oldest == contents[0]
    read(cache.fetch(blob(oldest)))
    cache.push(blob(b"new" * 500), BytesReader(b"new" * 500))
    kept = [content for content in contents if cache.exists(blob(content))]
    assert [content[0] for content in kept] == [0, 3, 4]
    assert cache.exists(blob(b"new" * 500))


def test_reader_of_an_evicted_entry_reads_on(tmp_path: Path) -> None:
    cache = BlobCache(tmp_path, max_bytes=3000)
    cache.push(blob(b"a" * 2000), BytesReader(b"a" * 2000))
    reader = cache.fetch(blob(b"a" * 2000))
    cache.push(blob(b"b" * 2000), BytesReader(b"b" * 2000))
    assert not cache.exists(blob(b"a" * 2000))
    assert read(reader) == b"a" * 2000


def test_newest_entry_survives_even_if_it_fills_the_cache(tmp_path: Path) -> None:
    cache = BlobCache(tmp_path, max_bytes=3000)
    # The clock of the file system need not tell which is newer: it ticks slowly, and can go backwards.
    for letter in (b"a", b"b"):
        cache.push(blob(letter * 2900), BytesReader(letter * 2900))
        assert cache.exists(blob(letter * 2900))
        (entry,) = (path for path in (cache.root / "blobs").rglob("*") if path.is_file())
        os.utime(entry, (4_000_000_000, 4_000_000_000))
    assert len(entries(cache)) == 1


def test_blob_over_the_whole_size_is_passed_through(tmp_path: Path) -> None:
    cache = BlobCache(tmp_path, max_bytes=10)
    assert read(CachedFetcher(Origin(b"x" * 11), cache).fetch(blob(b"x" * 11))) == b"x" * 11
    cache.push(blob(b"x" * 11), BytesReader(b"x" * 11))
    assert not cache.exists(blob(b"x" * 11))


@pytest.mark.parametrize("spoil", [lambda path: path.write_bytes(b"rubbish"), lambda path: path.unlink()])
def test_spoilt_count_is_counted_again(tmp_path: Path, spoil: Callable[[Path], object]) -> None:
    cache = BlobCache(tmp_path, max_bytes=10_000)
    for letter in (b"a", b"b"):
        cache.push(blob(letter * 2000), BytesReader(letter * 2000))
    assert (tmp_path / "usage").read_bytes() == b"4000"
    spoil(tmp_path / "usage")
    cache.push(blob(b"c" * 2000), BytesReader(b"c" * 2000))
    assert (tmp_path / "usage").read_bytes() == b"6000"


def test_a_count_that_grew_shorter_has_no_old_digits(tmp_path: Path) -> None:
    cache = BlobCache(tmp_path, max_bytes=11_000)
    for letter in (b"a", b"b"):
        cache.push(blob(letter * 5400), BytesReader(letter * 5400))
    assert (tmp_path / "usage").read_bytes() == b"10800"
    cache.push(blob(b"c" * 900), BytesReader(b"c" * 900))
    assert (tmp_path / "usage").read_bytes() == b"6300"


def test_a_cache_that_is_deleted_while_it_is_used_is_made_again(tmp_path: Path) -> None:
    cache = BlobCache(tmp_path / "cache", max_bytes=10_000)
    cache.push(blob(b"a"), BytesReader(b"a"))
    shutil.rmtree(tmp_path / "cache")
    assert read(CachedFetcher(Origin(b"b"), cache).fetch(blob(b"b"))) == b"b"
    assert cache.exists(blob(b"b"))


def test_leftovers_of_killed_processes_are_removed_after_a_day(tmp_path: Path) -> None:
    for name in ("tmp", "locks"):
        (tmp_path / name).mkdir()
        for age in ("old", "young"):
            (tmp_path / name / age).write_bytes(b"half")
        os.utime(tmp_path / name / "old", (time.time() - 2 * 86400,) * 2)
    cache = BlobCache(tmp_path, max_bytes=MIB)
    cache.push(blob(b"x"), BytesReader(b"x"))
    assert sorted(path.name for path in leftovers(cache)) == ["young", "young"]


def test_unfinished_file_of_a_killed_download_does_not_stop_the_next(cache: BlobCache) -> None:
    content = b"x" * 20
    name = f"sha256-{blob(content).digest.encoded}"
    (cache.root / "tmp").mkdir(parents=True)
    (cache.root / "tmp" / name).write_bytes(b"half of something else, which is longer")
    assert read(CachedFetcher(Origin(content), cache).fetch(blob(content))) == content
    assert cache.exists(blob(content))
    assert leftovers(cache) == []
