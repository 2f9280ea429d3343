from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

from provender.storage.memory import MemoryStorage
from provender.storage.verify import BytesReader
from support.content import blob, manifest


def test_threads_lose_no_tag() -> None:
    storage = MemoryStorage()

    def push(number: int) -> None:
        storage.push(blob(b"shared"), BytesReader(b"shared"))
        storage.push_document(manifest(str(number)), [f"t{number}"])

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(push, range(100)))
    assert set(storage.tags()) == {f"t{number}" for number in range(100)}
    assert storage.exists(blob(b"shared"))
