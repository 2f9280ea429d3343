"""F26, F30, F40: disks that are full or refuse, and locks of processes that are gone."""

from __future__ import annotations

import errno
import os
import sys
from pathlib import Path

import pytest

from provender.artifact.pull import pull
from provender.oci import Descriptor
from provender.storage import files
from provender.storage.cache import BlobCache, CachedFetcher
from provender.storage.cache_partial import PartialFile
from provender.storage.cached_source import CachedSource
from provender.storage.registry import RegistryRepository
from support.full_disk import limited
from support.registry import TestRegistry
from support.workspace import Workspace, publish, refused

CONTENT = bytes(range(256)) * (48 << 10)  # 12 MiB
BLOB = Descriptor.of(CONTENT, "application/octet-stream")


@pytest.fixture
def workspace(registry: TestRegistry, tmp_path: Path) -> Workspace:
    directory = tmp_path / "project"
    directory.mkdir()
    return Workspace(directory, registry, tmp_path / "cache")


@pytest.mark.skipif(sys.platform == "win32", reason="limits of a process are POSIX")
def test_f26_a_full_disk_leaves_target_and_lock_as_they_were(workspace: Workspace, registry: TestRegistry) -> None:
    publish(registry, "acme/app", "1.0.0", {"a.txt": b"old"})
    publish(registry, "acme/app", "2.0.0", {"a.txt": b"new", "big.bin": CONTENT})
    workspace.depend(app="acme/app:1.0.0")
    workspace.succeed("sync")
    before = workspace.look()
    workspace.depend(app="acme/app:2.0.0")
    wanted = (workspace.directory / "provender.yaml").read_bytes()
    result = limited("sync", workspace=workspace, size=1 << 20)
    assert result.returncode == 74, result.stderr
    assert "too large" in result.stderr
    (workspace.directory / "provender.yaml").write_bytes(before["provender.yaml"][2])
    assert workspace.look() == before
    workspace.check_no_leftovers()
    workspace.check_cache()
    (workspace.directory / "provender.yaml").write_bytes(wanted)
    workspace.succeed("sync")


@pytest.mark.skipif(sys.platform == "win32", reason="limits of a process are POSIX")
def test_f26_a_pull_to_a_full_disk_leaves_nothing(workspace: Workspace, registry: TestRegistry) -> None:
    publish(registry, "acme/app", "1.0", {"a.txt": b"a", "big.bin": CONTENT})
    result = limited(
        "pull", f"{registry.host}/acme/app:1.0", "-o", workspace.directory / "out", workspace=workspace, size=1 << 20
    )
    assert result.returncode == 74, result.stderr
    assert list(workspace.directory.iterdir()) == []
    workspace.check_cache()


def test_f26_a_full_cache_disk_costs_the_cache_alone(
    registry: TestRegistry, repository: RegistryRepository, cache: BlobCache, monkeypatch: pytest.MonkeyPatch
) -> None:
    registry.push_blob("acme/app", CONTENT)
    written = 0
    write = PartialFile.write

    def fill(self: PartialFile, chunk: bytes) -> None:
        nonlocal written
        written += len(chunk)
        if written > 9 << 20:
            raise OSError(errno.ENOSPC, "No space left on device")
        write(self, chunk)

    monkeypatch.setattr(PartialFile, "write", fill)
    with CachedFetcher(repository, cache).fetch(BLOB) as reader:
        got = b"".join(iter(reader.read, b""))
    assert got == CONTENT
    assert [
        path for name in ("partial", "blobs", "tmp") for path in (cache.root / name).rglob("*") if path.is_file()
    ] == []


def test_f26_a_disk_that_fills_up_under_a_large_pull_ends_it(
    registry: TestRegistry,
    repository: RegistryRepository,
    cache: BlobCache,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The file of the download would have become the file of the pull: without it there is no way on."""
    publish(registry, "acme/app", "1.0", {"big.bin": CONTENT})
    write = PartialFile.write
    calls = 0

    def fill(self: PartialFile, chunk: bytes) -> None:
        nonlocal calls
        calls += 1
        if calls > 3:
            raise OSError(errno.ENOSPC, "No space left on device")
        write(self, chunk)

    monkeypatch.setattr(PartialFile, "write", fill)
    with pytest.raises(OSError, match="No space left") as caught:  # noqa: SIM117 (the source is left by the error)
        with CachedSource(repository, cache, largest_bytes=4 << 20) as source:
            pull(source, "1.0", str(tmp_path / "out"))
    assert caught.value.errno == errno.ENOSPC
    assert calls == 4
    assert not (tmp_path / "out").exists()
    assert [path for path in (cache.root / "partial").rglob("*") if path.is_file()] == []


def test_f26_a_lock_file_that_cannot_be_written_stays_the_old_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "provender.lock"
    files.write_atomically(path, b"old")

    def full(fd: int, chunk: bytes) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "write", full)
        with pytest.raises(OSError, match="No space"):
            files.write_atomically(path, b"new")
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_f30_the_lock_file_of_a_dead_process_locks_nobody_out(
    registry: TestRegistry, repository: RegistryRepository, cache: BlobCache
) -> None:
    registry.push_blob("acme/app", CONTENT)
    locks = cache.root / "locks"
    locks.mkdir(parents=True)
    (locks / f"sha256-{BLOB.digest.encoded}").write_bytes(b"999999999")
    with CachedFetcher(repository, cache).fetch(BLOB) as reader:
        assert b"".join(iter(reader.read, b"")) == CONTENT
    assert cache.exists(BLOB)
    assert list(locks.iterdir()) == []


def test_f30_a_file_system_without_locks_costs_the_cache_alone(
    registry: TestRegistry, repository: RegistryRepository, cache: BlobCache, monkeypatch: pytest.MonkeyPatch
) -> None:
    def unsupported(fd: int) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(files, "_lock_now", unsupported)
    registry.push_blob("acme/app", CONTENT)
    with CachedFetcher(repository, cache).fetch(BLOB) as reader:
        assert b"".join(iter(reader.read, b"")) == CONTENT
    assert not cache.exists(BLOB)


@pytest.mark.skipif(not Path("/sys/kernel").is_dir(), reason="needs a directory where not even root may write")
def test_f40_a_target_that_may_not_be_written_is_77(workspace: Workspace, registry: TestRegistry) -> None:
    publish(registry, "acme/app", "1.0", {"a.txt": b"a"})
    result = workspace.json("pull", f"{registry.host}/acme/app:1.0", "-o", "/sys/provender-target")
    assert result.status in (74, 77), result.stderr  # 74 where it is mounted read-only
    assert result.error["where"] == "/sys/provender-target"
    assert not Path("/sys/provender-target").exists()


@pytest.mark.parametrize(
    ("names", "code"),
    [
        (("README", "readme"), "case-collision"),
        (("aux.txt",), "bad-name"),
        (("nul",), "bad-name"),
    ],
)
def test_f40_names_that_cannot_be_everywhere_change_nothing(
    workspace: Workspace, registry: TestRegistry, names: tuple[str, ...], code: str
) -> None:
    publish(registry, "acme/app", "1.0", {"first.txt": b"1", **{name: name.encode() for name in names}})
    out = workspace.directory / "out"
    refused(workspace.json("pull", f"{registry.host}/acme/app:1.0", "-o", out), 65, code)
    assert not out.exists()
