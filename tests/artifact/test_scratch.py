"""The working directory of a pull: fresh, removed at the end, and what a killed run left is swept."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from provender.artifact.scratch import packing_directory, scratch_directory


def test_it_is_gone_at_the_end_and_after_an_error(tmp_path: Path) -> None:
    with scratch_directory(str(tmp_path)) as path:
        Path(path, "a").mkdir()
        assert os.listdir(tmp_path) == [os.path.basename(path)]
    assert os.listdir(tmp_path) == []

    def fail() -> None:
        with scratch_directory(str(tmp_path)):
            raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        fail()
    assert os.listdir(tmp_path) == []


def test_what_a_killed_run_left_is_removed_and_what_is_in_use_stays(tmp_path: Path) -> None:
    left = tmp_path / ".provender-pull-left"
    (left / "sub").mkdir(parents=True)
    (tmp_path / ".provender-pull-file").write_text("somebody's")
    (tmp_path / ".provender-pull-link").symlink_to(tmp_path)
    with scratch_directory(str(tmp_path)) as first, scratch_directory(str(tmp_path)) as second:
        assert not left.exists()
        assert first != second
        assert os.path.isdir(first)
    assert sorted(os.listdir(tmp_path)) == [".provender-pull-file", ".provender-pull-link"]


def test_packing_has_a_directory_of_its_own_user(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    parent = tmp_path / f"provender-{os.getuid()}"
    left = parent / ".provender-pull-left"
    with packing_directory() as path:
        assert Path(path).parent == parent
        assert parent.stat().st_mode & 0o777 == 0o700
    left.mkdir()
    with packing_directory():
        assert not left.exists()
    assert os.listdir(parent) == []


@pytest.mark.parametrize("kind", ["link", "file", "open"])
def test_a_name_that_is_somebody_elses_is_left_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    parent, trap = tmp_path / f"provender-{os.getuid()}", tmp_path / "trap"
    trap.mkdir(mode=0o777)
    trap.chmod(0o777)
    if kind == "link":
        parent.symlink_to(trap)
    elif kind == "file":
        parent.touch()
    else:
        trap.rename(parent)
    with packing_directory() as path:
        assert Path(path).parent == tmp_path
        assert os.listdir(path) == []
    assert not Path(path).exists()
