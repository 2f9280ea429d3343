"""F26, F27: archives on a full disk, and archives whose writer is interrupted or killed."""

from __future__ import annotations

import gc
import gzip
import os
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any, Self

import pytest

from provender.storage import archive_volume, split_files
from provender.storage.archive_volume import plain_volume
from provender.storage.files import is_temporary
from provender.storage.split_files import SplitFile, stored_volume
from provender.storage.verify import read_all
from provender.storage.volume import FileVolume
from support.full_disk import limited
from support.registry import Stall, TestRegistry
from support.workspace import Workspace, publish

NOISE = os.urandom(1_500_000)
CONTENT = bytes(range(250)) * 4
POSIX = pytest.mark.skipif(sys.platform == "win32", reason="signals and limits of a process are POSIX")


@pytest.fixture
def workspace(registry: TestRegistry, tmp_path: Path) -> Workspace:
    directory = tmp_path / "project"
    directory.mkdir()
    publish(registry, "acme/app", "1.0", {"big.bin": NOISE})
    return Workspace(directory, registry, tmp_path / "cache")


@POSIX
@pytest.mark.parametrize("options", [("layout:a.tar",), ("layout:a.tar.zst", "--split", "1MiB")])
def test_f26_an_archive_on_a_full_disk_leaves_nothing(workspace: Workspace, options: tuple[str, ...]) -> None:
    result = limited("copy", f"{workspace.registry.host}/acme/app:1.0", *options, workspace=workspace, size=700_000)
    assert result.returncode == 74, result.stderr
    assert os.listdir(workspace.directory) == []


@POSIX
def test_f26_a_layout_that_cannot_be_made_on_a_full_disk_leaves_nothing(workspace: Workspace) -> None:
    place = f"{workspace.registry.host}/acme/app:1.0"
    result = limited("copy", place, "layout:deep/out", workspace=workspace, size=20)
    assert result.returncode == 74, result.stderr
    assert os.listdir(workspace.directory) == []


@POSIX
def test_f26_an_archive_that_cannot_be_unpacked_on_a_full_disk_leaves_nothing(workspace: Workspace) -> None:
    workspace.prepare("copy", f"{workspace.registry.host}/acme/app:1.0", "layout:a.tar")
    plain = workspace.directory / "a.tar"
    (workspace.directory / "a.tgz").write_bytes(gzip.compress(plain.read_bytes(), 1))
    plain.unlink()
    result = limited("copy", "layout:a.tgz:1.0", "layout:out", workspace=workspace, size=700_000)
    assert result.returncode == 74, result.stderr
    assert os.listdir(workspace.directory) == ["a.tgz"]
    assert [path for path in workspace.cache.rglob("*") if "archive" in path.name] == []


@POSIX
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
@pytest.mark.parametrize("options", [("layout:a.tar",), ("layout:a.tar", "--split", "1MiB")])
def test_f27_an_archive_that_is_broken_off_has_no_name(
    workspace: Workspace, number: int, options: tuple[str, ...]
) -> None:
    registry, directory = workspace.registry, workspace.directory
    registry.fault(("GET", "/v2/acme/app/blobs/"), action=Stall(100, after_bytes=1_400_000))
    process = workspace.start("copy", f"{registry.host}/acme/app:1.0", *options)
    try:
        _wait_for(lambda: registry.count("GET", "/blobs/") > 0 and os.listdir(directory) != [])
        process.send_signal(number)
        process.communicate(timeout=60)
    finally:
        process.kill()
        process.communicate()
    left = os.listdir(directory)
    if number == signal.SIGINT:
        assert left == []
        return
    assert all(is_temporary(name) or name == ".a.tar.lock" for name in left)
    workspace.prepare("copy", f"{registry.host}/acme/app:1.0", *options)
    assert not [name for name in os.listdir(directory) if name.startswith(".")]


def _wait_for(what: Callable[[], bool]) -> None:
    for _ in range(3000):
        if what():
            return
        time.sleep(0.01)
    raise AssertionError("it never happened")


class _Interrupt:
    """Raises KeyboardInterrupt at one of the lines of a module, but not where it cleans up."""

    def __init__(self, file: str, at: int) -> None:
        self._file = file
        self._at = at
        self.count = 0

    def __enter__(self) -> Self:
        self._before = sys.gettrace()
        sys.settrace(self._call)
        return self

    def __exit__(self, *_: object) -> None:
        sys.settrace(self._before)

    def _call(self, frame: FrameType, event: str, argument: Any) -> Any:
        is_ours = frame.f_code.co_filename == self._file
        return self._line if is_ours and frame.f_code.co_name not in ("discard", "__exit__", "close") else None

    def _line(self, frame: FrameType, event: str, argument: Any) -> Any:
        if event == "line":
            self.count += 1
            if self.count == self._at:
                sys.settrace(None)
                raise KeyboardInterrupt
        return self._line


def _split(path: Path) -> None:
    with SplitFile(path, 400) as file:
        file.write(CONTENT)
        file.commit()


def test_f27_parts_that_are_broken_off_at_any_line_are_all_there_or_not_at_all(tmp_path: Path) -> None:
    with _Interrupt(str(split_files.__file__), -1) as counted:
        _split(tmp_path / "a")
    assert counted.count > 50
    for at in range(1, counted.count + 1):
        directory = tmp_path / str(at)
        directory.mkdir()
        with pytest.raises(KeyboardInterrupt), _Interrupt(str(split_files.__file__), at):
            _split(directory / "a")
        if left := sorted(os.listdir(directory)):
            assert left == ["a.001", "a.002", "a.003", "a.parts"], at
            cursor = stored_volume(directory / "a.parts", where="it").open()
            assert read_all(cursor, 1 << 20) == CONTENT
            cursor.close()


@pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning")
def test_f27_an_archive_whose_unpacking_is_broken_off_at_any_line_leaves_nothing(tmp_path: Path) -> None:
    path = tmp_path / "a.gz"
    path.write_bytes(gzip.compress(CONTENT))
    volume, scratch = FileVolume([path], where="it"), tmp_path / "scratch"
    with _Interrupt(str(archive_volume.__file__), -1) as counted:
        plain_volume(volume, scratch=scratch).close()
    for at in range(1, counted.count + 1):
        with pytest.raises(KeyboardInterrupt), _Interrupt(str(archive_volume.__file__), at):
            plain_volume(volume, scratch=scratch).close()
        assert os.listdir(scratch) == []
    gc.collect()  # what was dropped in the middle warns here, not in another test
