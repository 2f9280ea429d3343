"""Many processes and threads on one layout."""

from __future__ import annotations

import json
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier

from provender.oci.annotations import REF_NAME
from provender.storage.layout import LayoutStorage
from provender.storage.verify import BytesReader
from support.content import blob, finish, manifest, start_python

_PUSH = """
import sys
from pathlib import Path
from support.content import blob, manifest
from provender.storage.layout import LayoutStorage
from provender.storage.verify import BytesReader
path, name, count = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3])
sys.stdin.read(1)
storage = LayoutStorage(path, create=True)
for number in range(count):
    storage.push(blob(b"shared"), BytesReader(b"shared"))
    storage.push_document(manifest(f"{name}-{number}"), [f"{name}-{number}", "latest"])
"""


def test_eight_processes_that_make_and_tag_one_layout_lose_no_entry(tmp_path: Path) -> None:
    processes = [start_python(_PUSH, str(tmp_path / "layout"), f"p{number}", "10") for number in range(8)]
    finish(processes)
    storage = LayoutStorage(tmp_path / "layout")
    wanted = {f"p{process}-{number}" for process in range(8) for number in range(10)}
    assert set(storage.tags()) == wanted | {"latest"}
    for tag in wanted:
        assert storage.resolve(tag) == manifest(tag)
    entries = json.loads((tmp_path / "layout" / "index.json").read_bytes())["manifests"]
    assert len(entries) == 81
    assert [(entry.get("annotations") or {}).get(REF_NAME) for entry in entries].count("latest") == 1
    assert storage.exists(blob(b"shared"))


def test_threads_that_share_a_storage_lose_no_entry(tmp_path: Path) -> None:
    storage = LayoutStorage(tmp_path / "layout", create=True)

    def push(number: int) -> None:
        storage.push(blob(b"shared"), BytesReader(b"shared"))
        storage.push_document(manifest(str(number)), [f"t{number}"])

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(push, range(60)))
    assert set(storage.tags()) == {f"t{number}" for number in range(60)}


def test_threads_that_make_one_layout_at_once_find_no_stranger_in_it(tmp_path: Path) -> None:
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    try:
        with ThreadPoolExecutor(6) as pool:
            for number in range(150):
                path = tmp_path / str(number)
                started = Barrier(6)

                def make(path: Path = path, started: Barrier = started) -> bool:
                    started.wait(timeout=30)
                    return LayoutStorage(path, create=True).exists(blob(b"nothing"))

                assert not any(future.result() for future in [pool.submit(make) for _ in range(6)])
    finally:
        sys.setswitchinterval(interval)


def test_killed_writer_leaves_a_layout_that_needs_no_repair(tmp_path: Path) -> None:
    storage = LayoutStorage(tmp_path / "layout", create=True)
    code = _PUSH.replace("for number", "print('going', flush=True)\nfor number")
    process = start_python(code, str(storage.path), "killed", "100000")
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write("x")
    process.stdin.flush()
    try:
        assert process.stdout.readline() == "going\n"
        while not list(storage.tags()):
            assert process.poll() is None
    finally:
        process.kill()
        process.communicate()
    again = LayoutStorage(storage.path, lock_timeout_s=5)
    for tag in again.tags():
        assert again.resolve(tag).manifest().annotations is not None
    again.push_document(manifest("after"), ["after"])
    assert again.resolve("after") == manifest("after")
