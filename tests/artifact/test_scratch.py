"""The working directory of a pull: fresh, removed at the end, and what a killed run left is swept."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from provender.artifact.scratch import scratch_directory


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
