"""Many processes and threads on one cache."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from provender.oci import Descriptor
from provender.storage.abilities import BlobReader
from provender.storage.cache import BlobCache, CachedFetcher
from provender.storage.verify import BytesReader, VerifiedReader, read_all
from support.content import blob, finish, start_python

_READ = """
import random, sys, time
from pathlib import Path
from support.content import blob
from provender.storage.cache import BlobCache, CachedFetcher
from provender.storage.verify import BytesReader, VerifiedReader, read_all
root, log, max_bytes = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3])

class Slow:
    def __init__(self, content):
        self.inner = BytesReader(content)
    def read(self, size=-1):
        time.sleep(0.01)
        return self.inner.read(min(size, 5000))
    def close(self):
        pass

class Origin:
    def fetch(self, descriptor, *, offset=0):
        with open(log, "a") as file:
            file.write(descriptor.digest + "\\n")
        return VerifiedReader(Slow(contents[descriptor.digest]), descriptor)
    def exists(self, descriptor):
        return True

blobs = [bytes([number]) * 20000 for number in range(12)]
contents = {blob(content).digest: content for content in blobs}
fetcher = CachedFetcher(Origin(), BlobCache(root, max_bytes=max_bytes))
sys.stdin.read(1)
random.shuffle(blobs)
for content in blobs:
    with fetcher.fetch(blob(content)) as reader:
        assert read_all(reader, 20000) == content
"""


def test_processes_that_want_the_same_blobs_download_each_once(tmp_path: Path) -> None:
    log = tmp_path / "log"
    finish([start_python(_READ, str(tmp_path / "cache"), str(log), str(1 << 20)) for _ in range(6)])
    fetched = log.read_text().split()
    assert len(fetched) == 12
    assert len(set(fetched)) == 12
    assert list((tmp_path / "cache" / "tmp").iterdir()) == []
    assert list((tmp_path / "cache" / "locks").iterdir()) == []


def test_processes_on_a_cache_that_is_too_small_read_right_bytes(tmp_path: Path) -> None:
    finish([start_python(_READ, str(tmp_path / "cache"), str(tmp_path / "log"), "60000") for _ in range(4)])
    held = [path.stat().st_size for path in (tmp_path / "cache" / "blobs").rglob("*") if path.is_file()]
    assert set(held) == {20000}
    assert sum(held) <= 60000


class Gate:
    """An origin whose readers stop after the first byte until the gate is opened."""

    def __init__(self, content: bytes) -> None:
        self.content = content
        self.opened = threading.Event()
        self.started = threading.Event()
        self.fetched = 0

    def fetch(self, descriptor: Descriptor, *, offset: int = 0) -> BlobReader:
        self.fetched += 1
        return VerifiedReader(_GatedReader(self, self.content), descriptor)

    def exists(self, descriptor: Descriptor) -> bool:
        return True


class _GatedReader(BytesReader):
    def __init__(self, gate: Gate, content: bytes) -> None:
        super().__init__(content)
        self._gate = gate

    def read(self, size: int = -1, /) -> bytes:
        if self._gate.started.is_set():
            assert self._gate.opened.wait(60)
        self._gate.started.set()
        return super().read(min(size, 1))


def _read(fetcher: CachedFetcher, content: bytes) -> bytes:
    with fetcher.fetch(blob(content)) as reader:
        return read_all(reader, 100)


def test_threads_that_want_one_blob_wait_for_the_first(tmp_path: Path) -> None:
    gate = Gate(b"0123456789")
    fetcher = CachedFetcher(gate, BlobCache(tmp_path, max_bytes=1000, stall_s=60))
    with ThreadPoolExecutor(6) as pool:
        reads = [pool.submit(_read, fetcher, gate.content) for _ in range(6)]
        assert gate.started.wait(60)
        gate.opened.set()
        assert [result.result() for result in reads] == [gate.content] * 6
    assert gate.fetched == 1


def test_stalled_download_of_somebody_else_is_not_waited_for(tmp_path: Path) -> None:
    gate = Gate(b"0123456789")
    cache = BlobCache(tmp_path, max_bytes=1000, wait_s=60, stall_s=0.05)
    quick = CachedFetcher(_Quick(gate.content), cache)
    with ThreadPoolExecutor(1) as pool:
        stalled = pool.submit(_read, CachedFetcher(gate, cache), gate.content)
        assert gate.started.wait(60)
        assert _read(quick, gate.content) == gate.content
        gate.opened.set()
        assert stalled.result() == gate.content
    assert cache.exists(blob(gate.content))


class _Quick:
    def __init__(self, content: bytes) -> None:
        self._content = content

    def fetch(self, descriptor: Descriptor, *, offset: int = 0) -> BlobReader:
        return VerifiedReader(BytesReader(self._content), descriptor)

    def exists(self, descriptor: Descriptor) -> bool:
        return True


def test_killed_download_is_taken_over(tmp_path: Path) -> None:
    code = _READ.partition("random.shuffle")[0] + (
        "reader = fetcher.fetch(blob(blobs[0]))\nreader.read(100)\nprint('reading', flush=True)\ntime.sleep(60)\n"
    )
    process = start_python(code, str(tmp_path / "cache"), str(tmp_path / "log"), str(1 << 20))
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write("x")
    process.stdin.flush()
    try:
        assert process.stdout.readline() == "reading\n"
        assert len(list((tmp_path / "cache" / "tmp").iterdir())) == 1
    finally:
        process.kill()
        process.communicate()
    content = bytes([0]) * 20000
    cache = BlobCache(tmp_path / "cache", max_bytes=1 << 20, wait_s=60, stall_s=60)
    fetcher = CachedFetcher(_Quick(content), cache)
    with fetcher.fetch(blob(content)) as reader:
        assert read_all(reader, 20000) == content
    assert cache.exists(blob(content))
    assert list((tmp_path / "cache" / "tmp").iterdir()) == []
