"""One writer of an archive at a time, and what killed ones left beside it."""

from __future__ import annotations

from pathlib import Path

import pytest

from provender.errors import Unavailable
from provender.storage.files import AtomicFile, temporary_name
from provender.storage.sole_writer import sole_writer


def test_what_killed_writers_of_this_name_left_is_cleared_away(tmp_path: Path) -> None:
    dead = [temporary_name(name) for name in ("a.tar", "a.tar.001", "a.tar.1000", "a.tar.parts")]
    others = [temporary_name(name) for name in ("b.tar", "a.tar.zst", "a.tar.old", "a.ta")]
    for name in [*dead, *others, ".a.tar.lock", "a.tar", ".a.tar.tmp"]:
        (tmp_path / name).write_bytes(b"left")
    with sole_writer(tmp_path / "a.tar"):
        assert not any((tmp_path / name).exists() for name in dead)
    assert {path.name for path in tmp_path.iterdir()} == {*others, "a.tar", ".a.tar.tmp"}


def test_a_second_writer_of_the_name_is_refused_and_takes_nothing_away(tmp_path: Path) -> None:
    with sole_writer(tmp_path / "a.tar"), AtomicFile(tmp_path / "a.tar") as file:
        file.write(b"content")
        with pytest.raises(Unavailable) as caught, sole_writer(tmp_path / "a.tar"):
            pass
        assert caught.value.code == "locked"
        with sole_writer(tmp_path / "b.tar"):
            pass
        file.commit()
    assert [path.name for path in tmp_path.iterdir()] == ["a.tar"]


def test_long_names_share_a_lock_at_most(tmp_path: Path) -> None:
    path = tmp_path / ("n" * 251 + ".tar")
    other = tmp_path / temporary_name("n" * 100)
    other.write_bytes(b"of another name, maybe")
    with sole_writer(path), AtomicFile(path) as file:
        file.commit()
    assert {each.name for each in tmp_path.iterdir()} == {path.name, other.name}
