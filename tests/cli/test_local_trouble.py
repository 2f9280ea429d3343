"""Disks that are full or read-only, and directories that belong to somebody else: an error, and nothing changed."""

from __future__ import annotations

import errno
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import pytest

from support.command import Result
from support.workspace import ARCHIVE, Workspace, everything, layer, packed, publish, refused

BIG = os.urandom(1 << 20) * 3


@contextmanager
def mounted(place: Path, options: str) -> Iterator[None]:
    """A file system in memory at `place`; the test is skipped where none can be mounted."""
    program = shutil.which("mount")
    if program is None or os.geteuid() != 0:
        pytest.skip("only root can mount a small file system")
    command = [program, "-t", "tmpfs", "-o", options, "provender-test", str(place)]
    run = subprocess.run(command, capture_output=True, text=True, timeout=30)
    if run.returncode != 0:
        pytest.skip(f"this system mounts no tmpfs: {run.stderr.strip()}")
    try:
        yield
    finally:
        subprocess.run(["umount", str(place)], capture_output=True, timeout=30, check=True)


def remount(place: Path, options: str) -> None:
    subprocess.run(["mount", "-o", f"remount,{options}", str(place)], capture_output=True, timeout=30, check=True)


def fill(place: Path, *, free: int) -> None:
    """Leave about `free` bytes of a small file system."""
    with (place / "ballast").open("wb") as file:
        status = os.statvfs(place)
        file.write(bytes(max(0, status.f_bavail * status.f_frsize - free)))


# --- a full disk


def test_a_full_disk_changes_nothing(synced: Workspace, tmp_path: Path) -> None:
    publish(synced.registry, "acme/big", "1", {"big.bin": BIG})
    vendor = synced.directory / "vendor"
    kept = everything(vendor)
    shutil.rmtree(vendor)
    vendor.mkdir()
    with mounted(vendor, "size=2m"):
        synced.prepare("sync")
        assert everything(vendor) == kept
        synced.depend(good="acme/good:1.0.0", big="acme/big:1")
        before = synced.look()
        error = synced.json("sync")
        assert error.status == 74, error
        assert error.error["code"] == "local-io"
        assert "no space left" in error.error["message"]
        assert str(synced.directory) in error.error["where"]
        assert "free some space" in error.error["hint"]
        assert synced.look() == before
        remount(vendor, "size=16m")
        synced.prepare("sync")
        assert (vendor / "big/big.bin").read_bytes() == BIG
    synced.check_cache()


def test_a_full_disk_under_an_archive_changes_nothing(synced: Workspace) -> None:
    content = layer(synced.registry, "acme/big", packed({"big.bin": BIG}), media_type=ARCHIVE)
    publish(synced.registry, "acme/big", "1", layers=[content])
    small = synced.directory / "small"
    small.mkdir()
    with mounted(small, "size=2m"):
        synced.depend(good="acme/good:1.0.0", big={"oci": "acme/big", "tag": "1", "to": "small/big"})
        before = synced.look()
        error = refused(synced.json("sync"), 74, "local-io")
        assert "no space left" in error["message"]
        assert synced.look() == before
        error = refused(synced.json("copy", "acme/big:1", "layout:small/big.tar"), 74, "local-io")
        assert error["where"] == "small/big.tar", "the disk that is full, not the source"
        error = refused(synced.json("pull", "acme/big:1", "-o", "small/out"), 74, "local-io")
        assert "no space left" in error["message"]
        assert synced.look() == before


def test_a_full_disk_for_the_lock_takes_everything_back(synced: Workspace, tmp_path: Path) -> None:
    publish(synced.registry, "acme/good", "2.0.0", {"a.txt": b"new\n" * 5000})
    project = tmp_path / "small"
    project.mkdir()
    with mounted(project, "size=1m"):
        shutil.copytree(synced.directory, project, dirs_exist_ok=True, symlinks=True)
        small = Workspace(project, synced.registry, synced.cache)
        small.prepare("sync")
        small.depend(good="acme/good:2.0.0")
        fill(project, free=12 << 10)
        before = small.look()
        error = refused(small.json("sync"), 74, "local-io")
        assert "no space left" in error["message"]
        assert small.look() == before
        (project / "ballast").unlink()
        small.prepare("sync")
        assert (project / "vendor/good/a.txt").read_bytes() == b"new\n" * 5000


def test_a_full_disk_for_the_cache_fails_no_sync(project: Workspace) -> None:
    publish(project.registry, "acme/big", "1", {"big.bin": BIG})
    project.depend(big="acme/big:1")
    project.cache.mkdir()
    with mounted(project.cache, "size=1m"):
        project.prepare("sync")
        assert (project.directory / "vendor/big/big.bin").read_bytes() == BIG
        project.check_cache()


def test_a_limit_on_the_size_of_files_changes_nothing(synced: Workspace) -> None:
    publish(synced.registry, "acme/big", "1", {"big.bin": BIG})
    synced.depend(good="acme/good:1.0.0", big="acme/big:1")
    before = synced.look()
    code = (
        "import resource, signal, sys; resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, 1 << 20));"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN); sys.argv = ['provender', 'sync', '--format', 'json'];"
        "from provender.cli.main import run; run()"
    )
    result = run_python(synced, code)
    error = refused(result, 74, "local-io")
    assert "file too large" in error["message"]
    assert synced.look() == before
    synced.check_cache()
    synced.check_no_leftovers()


def run_python(workspace: Workspace, code: str, env: Mapping[str, str] | None = None) -> Result:
    run = subprocess.run(
        [sys.executable, "-c", code],
        cwd=workspace.directory,
        env={**os.environ, **workspace.env, **(env or {})},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
    )
    return Result(run.returncode, run.stdout, run.stderr)


def test_a_full_disk_for_standard_output_is_an_error() -> None:
    if not os.path.exists("/dev/full"):
        pytest.skip("this system has no /dev/full")
    for arguments in (["--help"], ["--version"], ["completion", "zsh"], ["registry", "explain", "localhost/app"]):
        with open("/dev/full", "wb") as full:
            run = subprocess.run(
                [sys.executable, "-m", "provender", *arguments], stdout=full, stderr=subprocess.PIPE, timeout=60
            )
        assert run.returncode == 74, (arguments, run)
        assert b"error: no space left on device" in run.stderr
        assert b"Traceback" not in run.stderr
        assert b"Exception ignored" not in run.stderr
    assert b"\n  at standard output\n  fix the work was done" in run.stderr, "results are not taken for the work"


# --- read-only


def test_a_read_only_destination_changes_nothing(synced: Workspace) -> None:
    publish(synced.registry, "acme/other", "1", {"o": b"o"})
    place = synced.directory / "mounted"
    place.mkdir()
    with mounted(place, "size=1m"):
        remount(place, "ro")
        synced.depend(good="acme/good:1.0.0", other={"oci": "acme/other", "tag": "1", "to": "mounted/other"})
        before = synced.look()
        error = refused(synced.json("sync"), 74, "local-io")
        assert "read-only" in error["message"]
        assert str(place) in error["where"]
        assert synced.look() == before
        error = refused(synced.json("pull", "acme/other:1", "-o", "mounted/out"), 74, "local-io")
        assert "read-only" in error["message"]
        assert synced.look() == before


def test_a_read_only_project_can_be_checked_and_listed(synced: Workspace, tmp_path: Path) -> None:
    place = tmp_path / "mounted"
    place.mkdir()
    with mounted(place, "size=1m"):
        shutil.copytree(synced.directory, place, dirs_exist_ok=True)
        there = Workspace(place, synced.registry, synced.cache)
        there.prepare("sync")
        remount(place, "ro")
        there.prepare("check")
        there.prepare("check", "--deep")
        there.prepare("list")
        there.prepare("sync")
        there.prepare("sync", "--dry-run")


def test_a_read_only_cache_fails_no_sync(synced: Workspace) -> None:
    publish(synced.registry, "acme/other", "1", {"o": b"o"})
    synced.depend(good="acme/good:1.0.0", other="acme/other:1")
    shutil.rmtree(synced.cache)
    synced.cache.mkdir()
    with mounted(synced.cache, "size=1m"):
        remount(synced.cache, "ro")
        synced.prepare("sync")
    assert (synced.directory / "vendor/other/o").read_bytes() == b"o"


# --- without permission

# Root passes by every mode; without these three capabilities it is held to them like anybody else.
_AS_ANYBODY = """
import ctypes, os, sys
libc = ctypes.CDLL(None, use_errno=True)
for capability in (1, 2, 3):
    if libc.prctl(24, capability, 0, 0, 0):
        sys.exit("capabilities cannot be dropped")
os.execv(sys.executable, [sys.executable, *sys.argv[1:]])
"""


def as_anybody(workspace: Workspace, *arguments: str) -> Result:
    """The outcome of a command that has to respect modes, whoever runs this test."""
    command = [sys.executable, "-m", "provender", *arguments]
    if os.geteuid() == 0:
        if sys.platform != "linux":
            pytest.skip("root respects no modes here")
        command[1:1] = ["-c", _AS_ANYBODY]
    run = subprocess.run(
        command,
        cwd=workspace.directory,
        env={**os.environ, **workspace.env},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
    )
    if "capabilities cannot be dropped" in run.stderr:
        pytest.skip("root cannot drop its capabilities here, and respects no modes")
    return Result(run.returncode, run.stdout, run.stderr)


def test_an_unwritable_project_is_refused_with_its_name(project: Workspace) -> None:
    publish(project.registry, "acme/good", "1", {"a.txt": b"a"})
    project.depend(good="acme/good:1")
    project.directory.chmod(0o555)
    before = project.look()
    error = refused(as_anybody(project, "sync", "--format", "json"), 77, "local-io")
    assert "permission denied" in error["message"]
    assert str(project.directory) in error["where"]
    assert "owner and mode" in error["hint"]
    assert project.look() == before
    assert project.registry.requests == []
    project.directory.chmod(0o755)


def test_an_unwritable_destination_changes_nothing(project: Workspace) -> None:
    publish(project.registry, "acme/good", "1", {"a.txt": b"a"})
    publish(project.registry, "acme/good", "2", {"a.txt": b"b"})
    project.depend(good="acme/good:1", other={"oci": "acme/good", "tag": "1", "to": "lib/other"})
    project.prepare("sync")
    (project.directory / "lib").chmod(0o555)
    project.depend(good="acme/good:2", other={"oci": "acme/good", "tag": "2", "to": "lib/other"})
    before = project.look()
    error = refused(as_anybody(project, "sync", "--format", "json"), 77, "local-io")
    assert str(project.directory / "lib") in error["where"]
    assert project.look() == before
    (project.directory / "lib").chmod(0o755)
    project.check_no_leftovers()
    project.prepare("sync")


def test_an_unreadable_file_is_an_error_and_no_difference(synced: Workspace) -> None:
    path = synced.directory / "vendor/good/a.txt"
    path.chmod(0o200)
    error = refused(as_anybody(synced, "check", "--deep", "--format", "json"), 77, "local-io")
    assert str(path) in error["where"]


def test_a_pull_into_an_unwritable_directory_changes_nothing(project: Workspace) -> None:
    publish(project.registry, "acme/good", "1", {"a.txt": b"a"})
    (project.directory / "out").mkdir(mode=0o555)
    before = project.look()
    for out in ("out", "out/new"):
        error = refused(as_anybody(project, "pull", "acme/good:1", "-o", out, "--format", "json"), 77, "local-io")
        assert "out" in error["where"]
        assert project.look() == before


def test_a_manifest_that_cannot_be_read_is_named(synced: Workspace) -> None:
    (synced.directory / "provender.yaml").chmod(0o200)
    before = synced.look()
    for command in ("check", "list", "lock"):
        error = refused(as_anybody(synced, command, "--format", "json"), 77, "local-io")
        assert error["where"].endswith("provender.yaml")
        assert synced.look() == before


def test_an_unreadable_cache_fails_no_sync(synced: Workspace) -> None:
    publish(synced.registry, "acme/other", "1", {"o": b"o"})
    synced.depend(good="acme/good:1.0.0", other="acme/other:1")
    synced.cache.chmod(0o000)
    result = as_anybody(synced, "sync")
    synced.cache.chmod(0o700)
    assert result.status == 0, result.stderr
    assert (synced.directory / "vendor/other/o").read_bytes() == b"o"


def test_an_unwritable_store_changes_nothing_on_push(project: Workspace) -> None:
    (project.directory / "a.txt").write_text("a")
    project.prepare("push", "layout:./store:1", "a.txt")
    (project.directory / "a.txt").write_text("b")
    for place in [project.directory / "store", *(project.directory / "store").rglob("*")]:
        if place.is_dir():
            place.chmod(0o555)
    before = project.look()
    error = refused(as_anybody(project, "push", "layout:./store:2", "a.txt", "--format", "json"), 77, "local-io")
    assert "store" in error["where"]
    assert project.look() == before
    for place in [project.directory / "store", *(project.directory / "store").rglob("*")]:
        if place.is_dir():
            place.chmod(0o755)


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT])
def test_a_full_disk_under_a_copy_keeps_what_was_finished_and_says_so(
    project: Workspace, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    publish(project.registry, "acme/app", "1", {"a.txt": b"small", "b.bin": bytes(100_000)})
    write = os.write

    def full(fd: int, content: bytes) -> int:
        if len(content) > 10_000:
            raise OSError(number, os.strerror(number))
        return write(fd, content)

    monkeypatch.setattr(os, "write", full)
    result = project.answer("copy", "acme/app:1", "layout:there", "--concurrency", "1")
    assert result.status == 74, result.stderr
    assert result.stderr.splitlines()[-1].endswith("and run again; what was finished is kept, nothing is half done")
    kept = [path.read_bytes() for path in (project.directory / "there/blobs").rglob("*") if path.is_file()]
    assert b"small" in kept
    project.check_no_leftovers()
