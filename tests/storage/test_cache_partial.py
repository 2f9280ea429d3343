from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from provender.oci import Descriptor
from provender.storage.abilities import BlobReader
from provender.storage.cache import BlobCache, CachedFetcher
from provender.storage.files import FileLock
from provender.storage.verify import BytesReader, VerifiedReader
from support.content import finish, start_python

MIB = 1 << 20
CONTENT = bytes(range(251)) * (20 * MIB // 251)
BLOB = Descriptor.of(CONTENT, "application/octet-stream")


class Origin:
    """Gives the content; notes from where on."""

    def __init__(self, content: bytes = CONTENT) -> None:
        self.content = content
        self.offsets: list[int] = []

    def fetch(self, descriptor: Descriptor, *, offset: int = 0) -> BlobReader:
        self.offsets.append(offset)
        return VerifiedReader(BytesReader(self.content[offset:]), descriptor, offset=offset)

    def exists(self, descriptor: Descriptor) -> bool:
        return True


@pytest.fixture
def cache(tmp_path: Path) -> BlobCache:
    return BlobCache(tmp_path / "cache", max_bytes=100 * MIB)


def partials(cache: BlobCache) -> list[Path]:
    return sorted(path for path in (cache.root / "partial").glob("*/*"))


def read(fetcher: CachedFetcher, size: int = len(CONTENT) + 1) -> bytes:
    got = b""
    with fetcher.fetch(BLOB) as reader:
        while len(got) < size and (chunk := reader.read(min(MIB, size - len(got)))):
            got += chunk
    return got


def test_a_read_goes_on_where_the_last_one_left(cache: BlobCache) -> None:
    origin = Origin()
    fetcher = CachedFetcher(origin, cache)
    assert read(fetcher, 9 * MIB + 5) == CONTENT[: 9 * MIB + 5]
    assert read(fetcher, 15 * MIB) == CONTENT[: 15 * MIB]
    assert read(fetcher) == CONTENT
    assert origin.offsets == [0, 9 * MIB + 5, 15 * MIB]
    assert cache.exists(BLOB)
    assert partials(cache) == []


def test_leaving_within_the_kept_part_keeps_it(cache: BlobCache) -> None:
    origin = Origin()
    fetcher = CachedFetcher(origin, cache)
    read(fetcher, 12 * MIB)
    read(fetcher, 2 * MIB)
    assert read(fetcher) == CONTENT
    assert origin.offsets == [0, 12 * MIB, 12 * MIB]


def test_a_small_blob_leaves_nothing(cache: BlobCache) -> None:
    small = Descriptor.of(b"0123456789", "application/x")
    with CachedFetcher(Origin(b"0123456789"), cache).fetch(small) as reader:
        reader.read(5)
    assert partials(cache) == []
    assert list((cache.root / "tmp").iterdir()) == []


def test_a_kept_part_that_cannot_be_a_part_is_dropped(cache: BlobCache) -> None:
    origin = Origin()
    fetcher = CachedFetcher(origin, cache)
    read(fetcher, 12 * MIB)
    path, mark = partials(cache)
    mark.write_text(mark.read_text().replace(f"{12 * MIB:019}", f"{len(CONTENT) + 1:019}"))
    assert read(fetcher) == CONTENT
    assert origin.offsets == [0, 0]
    assert not path.exists()


def test_a_link_in_place_of_the_kept_part_is_not_followed(cache: BlobCache, tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_bytes(b"secret")
    fetcher = CachedFetcher(Origin(), cache)
    read(fetcher, 12 * MIB)
    path, _ = partials(cache)
    path.unlink()
    path.symlink_to(secret)
    assert read(fetcher) == CONTENT
    assert secret.read_bytes() == b"secret"


_KILLED = """
import sys, time
from pathlib import Path
from provender.oci import Descriptor
from provender.storage.cache import BlobCache, CachedFetcher
from provender.storage.verify import BytesReader, VerifiedReader

MIB = 1 << 20
CONTENT = bytes(range(251)) * (20 * MIB // 251)
BLOB = Descriptor.of(CONTENT, "application/octet-stream")

class Origin:
    def fetch(self, descriptor, *, offset=0):
        print("from", offset, flush=True)
        return VerifiedReader(BytesReader(CONTENT[offset:]), descriptor, offset=offset)

reader = CachedFetcher(Origin(), BlobCache(Path(sys.argv[1]), max_bytes=1 << 30)).fetch(BLOB)
left = int(sys.argv[2])
while left > 0 and (chunk := reader.read(min(left, MIB))):
    left -= len(chunk)
if left == 0:
    print("reading", flush=True)
    time.sleep(60)
reader.close()
"""


def test_a_kill_costs_what_came_after_the_last_mark(cache: BlobCache) -> None:
    process = start_python(_KILLED, str(cache.root), str(19 * MIB))
    assert process.stdout is not None
    try:
        assert process.stdout.readline() == "from 0\n"
        assert process.stdout.readline() == "reading\n"
    finally:
        process.kill()
        process.communicate()
    origin = Origin()
    assert read(CachedFetcher(origin, cache)) == CONTENT
    assert origin.offsets == [16 * MIB]


def test_processes_that_meet_one_kept_part_go_on_with_it_once(cache: BlobCache) -> None:
    read(CachedFetcher(Origin(), cache), 12 * MIB)
    outputs = finish([start_python(_KILLED, str(cache.root), str(len(CONTENT) + 1)) for _ in range(4)])
    assert sorted(outputs) == ["", "", "", f"from {12 * MIB}\n"]
    assert cache.exists(BLOB)
    assert partials(cache) == []


def test_old_parts_and_too_many_are_removed_but_not_those_in_use(cache: BlobCache) -> None:
    folder = cache.root / "partial" / "sha256"
    folder.mkdir(parents=True)
    (cache.root / "locks").mkdir()
    for name, size, age_days in (("old", 1, 8), ("used", 1, 8), ("large", 20 * MIB, 2), ("new", 10 * MIB, 1)):
        (folder / name).write_bytes(bytes(size))
        os.utime(folder / name, (time.time() - age_days * 86400,) * 2)
    with FileLock(cache.root / "locks" / "sha256-used", timeout_s=0, what="a test", remove=True):
        cache.push(Descriptor.of(b"x", "a/b"), BytesReader(b"x"))  # the first write of a process tidies
    assert sorted(path.name for path in folder.iterdir()) == ["new", "used"]
