"""Disks that are full or read-only, and directories that belong to somebody else: an error, and nothing changed."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import pytest

from support.command import Result
from support.workspace import ARCHIVE, Workspace, everything, layer, packed, publish, refused

NOBODY = 65534
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
        synced.succeed("sync")
        assert everything(vendor) == kept
        synced.depend(good="acme/good:1.0.0", big="acme/big:1")
        before = synced.look()
        error = synced.json("sync")
        assert error.status == 74, error
        assert error.error["code"] == "local-io"
        assert "no space left" in error.error["message"]
        assert str(vendor) in error.error["where"]
        assert "free some space" in error.error["hint"]
        assert synced.look() == before
        # What was downloaded is not lost: with space, nothing of it is asked for again.
        remount(vendor, "size=16m")
        asked = synced.registry.count("GET", "/blobs/")
        synced.succeed("sync")
        assert synced.registry.count("GET", "/blobs/") == asked
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
        small.succeed("sync")
        small.depend(good="acme/good:2.0.0")
        fill(project, free=12 << 10)
        before = small.look()
        error = refused(small.json("sync"), 74, "local-io")
        assert "no space left" in error["message"]
        assert small.look() == before
        (project / "ballast").unlink()
        small.succeed("sync")
        assert (project / "vendor/good/a.txt").read_bytes() == b"new\n" * 5000


def test_a_full_disk_for_the_cache_fails_no_sync(project: Workspace) -> None:
    publish(project.registry, "acme/big", "1", {"big.bin": BIG})
    project.depend(big="acme/big:1")
    project.cache.mkdir()
    with mounted(project.cache, "size=1m"):
        project.succeed("sync")
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
    for arguments in (["--help"], ["--version"]):
        with open("/dev/full", "wb") as full:
            run = subprocess.run(
                [sys.executable, "-m", "provender", *arguments], stdout=full, stderr=subprocess.PIPE, timeout=60
            )
        assert run.returncode == 74, (arguments, run)
        assert b"error: no space left on device" in run.stderr
        assert b"Traceback" not in run.stderr
        assert b"Exception ignored" not in run.stderr


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
        there.succeed("sync")
        remount(place, "ro")
        there.succeed("check")
        there.succeed("check", "--deep")
        there.succeed("list")
        there.succeed("sync")
        there.succeed("sync", "--dry-run")


def test_a_read_only_cache_fails_no_sync(synced: Workspace) -> None:
    publish(synced.registry, "acme/other", "1", {"o": b"o"})
    synced.depend(good="acme/good:1.0.0", other="acme/other:1")
    shutil.rmtree(synced.cache)
    synced.cache.mkdir()
    with mounted(synced.cache, "size=1m"):
        remount(synced.cache, "ro")
        synced.succeed("sync")
    assert (synced.directory / "vendor/other/o").read_bytes() == b"o"


# --- somebody else's


@pytest.fixture
def anyone(project: Workspace) -> Iterator[Workspace]:
    """A project that another user may reach, with a cache of that user's; run it with `as_nobody`."""
    if os.geteuid() != 0:
        pytest.skip("only root can become another user")
    top = Path(tempfile.mkdtemp(prefix="provender-test-"))
    try:
        top.chmod(0o755)
        for name in ("project", "cache", "home"):
            (top / name).mkdir(mode=0o755)
        os.chown(top / "cache", NOBODY, NOBODY)
        os.chown(top / "home", NOBODY, NOBODY)
        yield Workspace(top / "project", project.registry, top / "cache")
    finally:
        shutil.rmtree(top)


def as_nobody(workspace: Workspace, *arguments: str) -> Result:
    """The outcome of a command that another user runs."""
    home = str(workspace.directory.parent / "home")
    env = {**os.environ, **workspace.env, "HOME": home, "XDG_CONFIG_HOME": home, "DOCKER_CONFIG": home}
    command = [sys.executable, "-m", "provender", *arguments]
    run = subprocess.run(
        command,
        cwd=workspace.directory,
        env=env,
        user=NOBODY,
        group=NOBODY,
        extra_groups=[],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
    )
    result = Result(run.returncode, run.stdout, run.stderr)
    if "No module named provender" in result.stderr or "can't open file" in result.stderr:
        pytest.skip("the user nobody cannot read this checkout")
    return result


def test_a_directory_of_somebody_else_is_refused_with_its_name(anyone: Workspace) -> None:
    publish(anyone.registry, "acme/good", "1", {"a.txt": b"a"})
    anyone.depend(good="acme/good:1")
    before = anyone.look()
    error = refused(as_nobody(anyone, "sync", "--format", "json"), 77, "local-io")
    assert "permission denied" in error["message"]
    assert str(anyone.directory) in error["where"]
    assert "owner and mode" in error["hint"]
    assert anyone.look() == before
    assert anyone.registry.requests == []


def test_an_unwritable_destination_changes_nothing(anyone: Workspace) -> None:
    publish(anyone.registry, "acme/good", "1", {"a.txt": b"a"})
    publish(anyone.registry, "acme/good", "2", {"a.txt": b"b"})
    os.chown(anyone.directory, NOBODY, NOBODY)
    anyone.depend(good="acme/good:1", other={"oci": "acme/good", "tag": "1", "to": "lib/other"})
    result = as_nobody(anyone, "sync")
    assert result.status == 0, result.stderr
    for place in (anyone.directory / "lib", anyone.directory / "lib/other"):
        os.chown(place, 0, 0)
    anyone.depend(good="acme/good:2", other={"oci": "acme/good", "tag": "2", "to": "lib/other"})
    before = anyone.look()
    error = refused(as_nobody(anyone, "sync", "--format", "json"), 77, "local-io")
    assert str(anyone.directory / "lib") in error["where"]
    assert anyone.look() == before
    anyone.check_no_leftovers()


def test_an_unreadable_file_is_an_error_and_no_difference(anyone: Workspace) -> None:
    publish(anyone.registry, "acme/good", "1", {"a.txt": b"a"})
    os.chown(anyone.directory, NOBODY, NOBODY)
    anyone.depend(good="acme/good:1")
    assert as_nobody(anyone, "sync").status == 0
    path = anyone.directory / "vendor/good/a.txt"
    os.chown(path, 0, 0)
    path.chmod(0o600)
    error = refused(as_nobody(anyone, "check", "--deep", "--format", "json"), 77, "local-io")
    assert str(path) in error["where"]


def test_a_pull_into_an_unwritable_directory_changes_nothing(anyone: Workspace) -> None:
    publish(anyone.registry, "acme/good", "1", {"a.txt": b"a"})
    (anyone.directory / "out").mkdir()
    before = anyone.look()
    for out in ("out", "out/new", "new"):
        error = refused(as_nobody(anyone, "pull", "acme/good:1", "-o", out, "--format", "json"), 77, "local-io")
        assert str(out.split("/")[0]) in error["where"]
        assert anyone.look() == before


def test_a_manifest_that_cannot_be_read_is_named(anyone: Workspace) -> None:
    anyone.depend()
    (anyone.directory / "provender.yaml").chmod(0o600)
    error = refused(as_nobody(anyone, "sync", "--format", "json"), 77, "local-io")
    assert error["where"].endswith("provender.yaml")
