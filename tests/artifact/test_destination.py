"""Where an artifact's files arrive: a new directory whole and at once, an old one file by file."""

from __future__ import annotations

import os
import stat
from contextlib import suppress
from pathlib import Path

import pytest

from provender.artifact.destination import Destination
from provender.artifact.entry import Entry
from provender.errors import Conflict

FILE = Entry(path="d/file", kind="f", mode="644", size=3, content="")


def lay(destination: Destination, content: bytes = b"new") -> None:
    place = Path(destination.staging, "d")
    place.mkdir()
    (place / "file").write_bytes(content)


def names(directory: Path) -> list[str]:
    return sorted(os.listdir(directory))


def test_a_new_directory_appears_with_all_that_was_laid(tmp_path: Path) -> None:
    out = tmp_path / "a/out"
    with Destination.opened(str(out)) as destination:
        lay(destination)
        assert not out.exists()
        inode = os.stat(destination.staging).st_ino
        assert destination.fill([FILE], force=False) == ("d/file",)
        assert out.stat().st_ino == inode
    assert (out / "d/file").read_bytes() == b"new"
    assert names(tmp_path / "a") == ["out"]


@pytest.mark.parametrize("umask", [0o022, 0o077, 0o002])
def test_a_new_directory_has_the_mode_that_the_user_wants(tmp_path: Path, umask: int) -> None:
    before = os.umask(umask)
    try:
        with Destination.opened(str(tmp_path / "out")) as destination:
            destination.fill([], force=False)
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "out").stat().st_mode) == 0o777 & ~umask


def test_what_somebody_made_meanwhile_stays(tmp_path: Path) -> None:
    out = tmp_path / "out"
    with Destination.opened(str(out)) as destination:
        lay(destination)
        (out / "d").mkdir(parents=True)
        (out / "d/mine").write_bytes(b"mine")
        assert destination.fill([FILE], force=False) == ("d/file",)
    assert (out / "d/mine").read_bytes() == b"mine"
    assert (out / "d/file").read_bytes() == b"new"
    assert names(tmp_path) == ["out"]


def test_what_somebody_made_meanwhile_is_not_overwritten(tmp_path: Path) -> None:
    out = tmp_path / "out"
    with Destination.opened(str(out)) as destination:
        lay(destination)
        (out / "d").mkdir(parents=True)
        (out / "d/file").write_bytes(b"own")
        with pytest.raises(Conflict) as caught:
            destination.fill([FILE], force=False)
    assert caught.value.code == "files-differ"
    assert (out / "d/file").read_bytes() == b"own"
    assert names(tmp_path) == ["out"]


@pytest.mark.parametrize("inside", [False, True])
def test_nothing_stays_of_what_failed(tmp_path: Path, inside: bool) -> None:
    with suppress(ZeroDivisionError), Destination.opened(str(tmp_path / "a/b/out")) as destination:
        assert os.path.isdir(destination.staging)
        if inside:
            lay(destination)
        raise ZeroDivisionError
    assert names(tmp_path) == []


def test_an_old_directory_is_the_same_afterwards(tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.mkdir(mode=0o750)
    inode = out.stat().st_ino
    with Destination.opened(str(out)) as destination:
        lay(destination)
        destination.fill([FILE], force=False)
    assert out.stat().st_ino == inode
    assert stat.S_IMODE(out.stat().st_mode) == 0o750
    assert names(out) == ["d"]


def test_what_a_killed_run_left_is_removed_by_the_next_one(tmp_path: Path) -> None:
    (tmp_path / ".provender-pull-left/d").mkdir(parents=True)
    with Destination.opened(str(tmp_path / "out")) as destination:
        lay(destination)
        destination.fill([FILE], force=False)
    assert names(tmp_path) == ["out"]


@pytest.mark.parametrize("written", ["link/../out", "link/../out/", "there/./../out", "link/../new/../out"])
def test_the_path_is_read_as_the_system_reads_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, written: str) -> None:
    (tmp_path / "far/there").mkdir(parents=True)
    (tmp_path / "near").mkdir()
    (tmp_path / "near/link").symlink_to("../far/there")
    monkeypatch.chdir(tmp_path / ("near" if written.startswith("link") else "far"))
    with Destination.opened(written) as destination:
        lay(destination)
        destination.fill([FILE], force=False)
    assert (tmp_path / "far/out/d/file").read_bytes() == b"new"
    assert names(tmp_path / "far") == ["out", "there"]
    assert names(tmp_path / "near") == ["link"]
