"""Zip archives: what they lay on disk, and what they may not do."""

from __future__ import annotations

import io
import os
import stat
import zipfile
from pathlib import Path

import pytest

from provender.artifact.tree import Entry, TreeWriter
from provender.artifact.zip import extract_zip
from provender.errors import ProvenderError
from provender.storage.limits import Limits


def _zip(*members: tuple[str, bytes, int]) -> bytes:
    held = io.BytesIO()
    with zipfile.ZipFile(held, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content, mode in members:
            info = zipfile.ZipInfo(name)
            info.external_attr = mode << 16
            info.create_system = 3
            info.compress_type = zipfile.ZIP_DEFLATED
            archive.writestr(info, content)
    return held.getvalue()


def _unpacked(raw: bytes, root: Path, limits: Limits | None = None) -> tuple[Entry, ...]:
    root.mkdir()
    with TreeWriter(str(root)) as writer:
        extract_zip(io.BytesIO(raw), writer, origin="a.zip", size_bytes=len(raw), limits=limits or Limits())
        return writer.finish()


def test_files_directories_links_and_the_executable_bit_arrive(tmp_path: Path) -> None:
    raw = _zip(
        ("bin/", b"", stat.S_IFDIR | 0o755),
        ("bin/run", b"#!/bin/sh\n", stat.S_IFREG | 0o755),
        ("docs/a.txt", b"text", stat.S_IFREG | 0o644),
        ("link", b"docs/a.txt", stat.S_IFLNK | 0o777),
    )
    entries = _unpacked(raw, tmp_path / "out")
    assert [(each.path, each.kind, each.mode) for each in entries] == [
        ("bin/run", "f", "755"),
        ("docs/a.txt", "f", "644"),
        ("link", "l", "-"),
    ]
    assert os.readlink(tmp_path / "out/link") == "docs/a.txt"


@pytest.mark.parametrize("name", ["../a", "/a", "a/../../b", "C:\\a", "a\\..\\..\\b"])
def test_a_name_that_leaves_the_tree_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(ProvenderError):
        _unpacked(_zip((name, b"x", 0o644)), tmp_path / "out")
    assert not (tmp_path / "a").exists()


def test_a_link_that_leaves_the_tree_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ProvenderError):
        _unpacked(_zip(("l", b"../../etc", stat.S_IFLNK | 0o777)), tmp_path / "out")


def test_a_bomb_is_refused_before_anything_is_written(tmp_path: Path) -> None:
    raw = _zip(("a", b"\0" * (32 << 20), 0o644))
    with pytest.raises(ProvenderError) as caught:
        _unpacked(raw, tmp_path / "out")
    assert caught.value.code == "decompression-bomb"
    assert os.listdir(tmp_path / "out") == []


def test_more_members_than_allowed_are_refused(tmp_path: Path) -> None:
    raw = _zip(*((f"f{number}", b"", 0o644) for number in range(20)))
    with pytest.raises(ProvenderError):
        _unpacked(raw, tmp_path / "out", Limits(entries=10))


@pytest.mark.parametrize("raw", [b"", b"PK\x03\x04 nonsense", b"PK\x05\x06" + b"\0" * 10])
def test_a_damaged_archive_is_refused(tmp_path: Path, raw: bytes) -> None:
    with pytest.raises(ProvenderError) as caught:
        _unpacked(raw, tmp_path / "out")
    assert caught.value.code == "bad-archive"


def test_content_that_was_changed_is_refused(tmp_path: Path) -> None:
    raw = bytearray(_zip(("a", b"some content that is long enough to be compressed " * 20, 0o644)))
    at = raw.find(b"a", 30) + 5
    raw[at] ^= 0xFF
    with pytest.raises(ProvenderError) as caught:
        _unpacked(bytes(raw), tmp_path / "out")
    assert caught.value.code == "bad-archive"
