from __future__ import annotations

import os
from pathlib import Path

import pytest

from provender.errors import IntegrityError
from provender.storage.blob_files import ensure_directory, open_regular, receive
from provender.storage.verify import BytesReader
from support.content import blob


def test_open_reads_a_regular_file_below_a_linked_root(tmp_path: Path) -> None:
    (tmp_path / "real" / "a").mkdir(parents=True)
    (tmp_path / "real" / "a" / "b").write_bytes(b"x")
    (tmp_path / "root").symlink_to(tmp_path / "real")
    with open_regular(tmp_path / "root", "a", "b") as file:
        assert file.read() == b"x"


def test_open_refuses_links_at_every_level(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "b").write_bytes(b"x")
    (tmp_path / "a" / "link").symlink_to("b")
    (tmp_path / "dir").symlink_to("a")
    for parts in (("a", "link"), ("dir", "b")):
        with pytest.raises(IntegrityError) as caught:
            open_regular(tmp_path, *parts)
        assert caught.value.code == "not-a-regular-file"
        assert caught.value.where == str(tmp_path.joinpath(*parts))


def test_open_refuses_special_files_without_hanging(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    (tmp_path / "dir").mkdir()
    for name in ("fifo", "dir"):
        with pytest.raises(IntegrityError):
            open_regular(tmp_path, name)


def test_open_reports_absence_as_such(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        open_regular(tmp_path, "a", "b")


def test_directories_are_made_and_links_among_them_refused(tmp_path: Path) -> None:
    assert ensure_directory(tmp_path, "a", "b").is_dir()
    assert ensure_directory(tmp_path, "a", "b").is_dir()
    (tmp_path / "out").symlink_to("/")
    with pytest.raises(IntegrityError):
        ensure_directory(tmp_path, "out", "tmp")


@pytest.mark.parametrize("content", [b"shor", b"longer than that", b"wrong"])
def test_receive_keeps_nothing_of_other_content(tmp_path: Path, content: bytes) -> None:
    with pytest.raises(IntegrityError):
        receive(BytesReader(content), blob(b"right"), tmp_path / "a", durable=True, where="here")
    assert os.listdir(tmp_path) == []


def test_receive_keeps_verified_content(tmp_path: Path) -> None:
    receive(BytesReader(b"right"), blob(b"right"), tmp_path / "a", durable=False, where="here")
    assert (tmp_path / "a").read_bytes() == b"right"
