"""Compressed archives, read in place: by their table of frames, or by way of a temporary file that stays small."""

from __future__ import annotations

import gzip
import io
import os
import random
import struct
import tarfile
import tempfile
import threading
from contextlib import closing
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from provender.errors import IntegrityError, ProvenderError
from provender.storage import archive_volume, seekable_zstd
from provender.storage.archive import ArchiveStorage
from provender.storage.archive_volume import plain_volume
from provender.storage.archive_writer import Part, write_archive
from provender.storage.limits import Limits
from provender.storage.seekable_zstd import SeekableVolume, SeekableWriter
from provender.storage.verify import BytesReader, read_all
from provender.storage.volume import FileVolume
from support.content import blob, manifest
from support.zstd import compressed

NOISE = random.Random(7).randbytes(700_000)
ZEROS = bytes(900_000)


@pytest.fixture
def small_frames(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(seekable_zstd, "_FRAME_BYTES", 100_000)


def written(*, zstd: bool) -> bytes:
    out = io.BytesIO()
    document = manifest("a", layers=(blob(NOISE), blob(ZEROS)))
    contents = [NOISE, ZEROS, b"{}"]
    parts = [Part(document.descriptor, lambda: BytesReader(document.raw))]
    parts += [Part(blob(content), lambda content=content: BytesReader(content)) for content in contents]  # type: ignore[misc]
    write_archive(out, [document.descriptor], parts, compression="zstd" if zstd else "none")
    return out.getvalue()


def seekable(content: bytes) -> bytes:
    out = io.BytesIO()
    with SeekableWriter(out, level=1) as writer:
        writer.write(content)
    return out.getvalue()


def volume(path: Path, content: bytes) -> FileVolume:
    path.write_bytes(content)
    return FileVolume([path], where="it")


def all_of(storage: ArchiveStorage) -> None:
    for content in (NOISE, ZEROS):
        with storage.fetch(blob(content)) as reader:
            assert read_all(reader, len(content)) == content
        with storage.fetch(blob(content), offset=650_000) as reader:
            assert read_all(reader, len(content)) == content[650_000:]


@pytest.mark.usefixtures("small_frames")
def test_an_archive_of_ours_is_read_by_its_table_without_a_temporary_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("a temporary file was made")

    monkeypatch.setattr(tempfile, "TemporaryFile", refuse)
    path = tmp_path / "a.tar.zst"
    path.write_bytes(written(zstd=True))
    all_of(ArchiveStorage(path))


@pytest.mark.usefixtures("small_frames")
@pytest.mark.parametrize("kind", ["gzip", "zstd", "zstd without content sizes", "several members"])
def test_any_other_compressed_archive_is_read_and_leaves_nothing(tmp_path: Path, kind: str) -> None:
    raw = written(zstd=False)
    content = {
        "gzip": lambda: gzip.compress(raw, 1),
        "zstd": lambda: compressed(raw),
        "zstd without content sizes": lambda: compressed(raw, sized=False),
        "several members": lambda: gzip.compress(raw[:999], 1) + gzip.compress(raw[999:], 1),
    }[kind]()
    path = tmp_path / "a.tar.x"
    path.write_bytes(content)
    scratch = tmp_path / "scratch"
    storage = ArchiveStorage(path, scratch=scratch)
    assert os.listdir(scratch) == []  # no name that a killed process could leave
    all_of(storage)
    storage.close()


@pytest.mark.usefixtures("small_frames")
def test_threads_share_an_archive_that_had_to_be_unpacked(tmp_path: Path) -> None:
    path = tmp_path / "a.tgz"
    path.write_bytes(gzip.compress(written(zstd=False), 1))
    storage, failures = ArchiveStorage(path, scratch=tmp_path), []

    def read() -> None:
        try:
            all_of(storage)
        except BaseException as error:  # noqa: BLE001 - told to the test
            failures.append(error)

    threads = [threading.Thread(target=read) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert not failures
    storage.close()


def test_the_temporary_file_is_as_large_as_the_archive_not_as_its_content(tmp_path: Path) -> None:
    content = bytes(20 << 20) + NOISE
    stored = volume(tmp_path / "a", compressed(content))
    spool = plain_volume(stored, scratch=tmp_path)
    assert isinstance(spool, SeekableVolume)
    assert spool.size_bytes == len(content)
    assert spool.starts[-1] < stored.size_bytes * 1.1
    spool.close()


def test_a_temporary_file_over_the_bound_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(archive_volume, "_LEAST_SPOOL_BYTES", 10_000)
    monkeypatch.setattr(archive_volume, "_SPOOL_FACTOR", 0)
    with pytest.raises(IntegrityError) as caught:
        plain_volume(volume(tmp_path / "a", gzip.compress(NOISE)), scratch=tmp_path)
    assert caught.value.code == "archive-too-large"
    assert os.listdir(tmp_path) == ["a"]


@pytest.mark.parametrize("cut", [20, 3000])
def test_a_compressed_archive_that_is_cut_short_is_refused(tmp_path: Path, cut: int) -> None:
    for content in (gzip.compress(written(zstd=False), 1), compressed(written(zstd=False)), written(zstd=True)):
        (tmp_path / "a").write_bytes(content[:-cut])
        with pytest.raises(IntegrityError):
            ArchiveStorage(tmp_path / "a", scratch=tmp_path)


def test_a_bomb_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(archive_volume, "_LIMITS", Limits(ratio=1100, ratio_after_bytes=1 << 20))
    path = tmp_path / "a"
    path.write_bytes(compressed(bytes(40 << 20)))
    with pytest.raises(IntegrityError) as caught:
        ArchiveStorage(path, scratch=tmp_path)
    assert caught.value.code == "decompression-bomb"


@pytest.mark.usefixtures("small_frames")
@pytest.mark.parametrize("change", ["more frames", "a frame more", "other sizes", "huge frames", "reserved bits"])
def test_a_table_that_does_not_fit_is_not_believed(tmp_path: Path, change: str) -> None:
    content = bytearray(seekable(NOISE))
    count = struct.unpack("<I", content[-9:-5])[0]
    first = len(content) - 9 - 8 * count
    if change == "more frames":
        content[-9:-5] = struct.pack("<I", 0xFFFFFFF)
    elif change == "a frame more":
        content[-9:-5] = struct.pack("<I", count + 1)
    elif change == "other sizes":
        content[first : first + 4] = struct.pack("<I", 5)
    elif change == "huge frames":
        content[first + 4 : first + 8] = struct.pack("<I", 1 << 30)
    else:
        content[-5] = 0x40
    assert SeekableVolume.of(volume(tmp_path / "a", bytes(content))) is None


@pytest.mark.usefixtures("small_frames")
def test_frames_that_are_not_what_the_table_says_are_refused_when_they_are_read(tmp_path: Path) -> None:
    content = bytearray(seekable(NOISE))
    count = struct.unpack("<I", content[-9:-5])[0]
    first = len(content) - 9 - 8 * count
    a, b = struct.unpack("<II", content[first : first + 8])
    content[first : first + 8] = struct.pack("<II", a, b - 1)
    found = SeekableVolume.of(volume(tmp_path / "a", bytes(content)))
    assert found is not None
    with closing(found.open()) as cursor, pytest.raises(IntegrityError) as caught:
        cursor.read(10)
    assert caught.value.code == "corrupt"


@given(st.data())
def test_damage_of_a_compressed_archive_is_an_error_of_ours_or_left_to_the_digests(data: st.DataObject) -> None:
    plain = io.BytesIO()
    with tarfile.open(fileobj=plain, mode="w", format=tarfile.USTAR_FORMAT) as tar:
        info = tarfile.TarInfo("a")
        info.size = 3000
        tar.addfile(info, io.BytesIO(NOISE[:3000]))
    raw = bytearray(seekable(plain.getvalue()))
    raw[data.draw(st.integers(0, len(raw) - 1))] ^= data.draw(st.integers(1, 255))
    with tempfile.TemporaryDirectory() as directory:
        stored = volume(Path(directory) / "a", bytes(raw))
        try:
            found = plain_volume(stored, scratch=Path(directory))
            with closing(found), closing(found.open()) as cursor:
                content = read_all(cursor, 1 << 20)
        except ProvenderError:
            return
        assert found is stored or len(content) == len(plain.getvalue())
