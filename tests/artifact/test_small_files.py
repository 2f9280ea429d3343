"""The short way for small files gives what the long way gives, and leaves to it whatever is not plain."""

from __future__ import annotations

import io
import os
import tarfile
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given
from hypothesis import strategies as st

from provender.artifact.entry import Entry, SmallFile
from provender.artifact.tar import TarReader, extract_tar
from provender.artifact.tree import TreeWriter
from provender.errors import IntegrityError, ProvenderError
from provender.storage.limits import Limits
from support.archives import END, Piece, archive, directory, file, header, on_disk

FORMATS = (tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT)


class Pieces:
    """A stream that gives so many bytes at once: with few, nothing ever stands whole in the buffer."""

    def __init__(self, raw: bytes, size: int) -> None:
        self._file = io.BytesIO(raw)
        self._size = size

    def read(self, size: int = -1, /) -> bytes:
        return self._file.read(self._size)


def extract(raw: bytes, root: str | Path, *, at_once: int, scribe_after: int | None = None) -> tuple[Entry, ...]:
    with TreeWriter(str(root), scribe_after=scribe_after) as writer:
        extract_tar(Pieces(raw, at_once), writer, origin="layer")
        return writer.finish()


def taken(raw: bytes, *, limits: Limits | None = None) -> list[SmallFile]:
    """What the short way takes after the first member."""
    reader = TarReader(io.BytesIO(raw), limits=limits or Limits())
    member = reader.next()
    assert member is not None
    if member.kind == "file":
        reader.content()
    return reader.small_files()


@pytest.mark.parametrize("form", FORMATS)
@pytest.mark.parametrize("scribe_after", [None, 20])
def test_a_tree_comes_out_the_same_both_ways(tmp_path: Path, form: int, scribe_after: int | None) -> None:
    pieces: list[Piece] = [
        file(f"top/d{n // 30}/f{n}.txt", os.urandom(n * 37 % 2000), mode=0o755 if n % 7 == 0 else 0o644)
        for n in range(300)
    ]
    raw = archive(*pieces, format=form)
    for name in ("long", "short"):
        (tmp_path / name).mkdir()
    slow = extract(raw, tmp_path / "long", at_once=512)
    fast = extract(raw, tmp_path / "short", at_once=1 << 20, scribe_after=scribe_after)
    assert fast == slow
    assert on_disk(tmp_path / "short") == on_disk(tmp_path / "long")


NAMES = st.text("aZ09._-+ é:\\\x01", min_size=1, max_size=6) | st.sampled_from(["con", "nul.txt", "..", ".", "a" * 90])


@given(
    st.lists(st.tuples(st.sampled_from(["d", "d/e", "D", "x" * 60]), NAMES, st.binary(max_size=600)), max_size=12),
    st.sampled_from(FORMATS),
)
def test_both_ways_agree_on_any_archive(members: list[tuple[str, str, bytes]], form: int) -> None:
    raw = archive(*[file(f"{folder}/{name}", content) for folder, name, content in members], format=form)
    outcomes: list[object] = []
    for at_once in (512, 1 << 20):
        with TemporaryDirectory() as root:
            try:
                outcomes.append((extract(raw, root, at_once=at_once), on_disk(Path(root))))
            except ProvenderError as error:
                outcomes.append((error.code, error.message))
    assert outcomes[0] == outcomes[1]


def test_plain_files_of_one_directory_are_taken_together() -> None:
    raw = archive(file("d/a", b"1"), file("d/b", b"2", mode=0o755), file("d/c", b""), file("e/d", b"4"))
    assert taken(raw) == [SmallFile("d/b", b"2", True), SmallFile("d/c", b"", False)]


@pytest.mark.parametrize(
    "odd",
    [
        archive(directory("d/sub")),
        archive(file("d/../b", b"2")),
        archive(file("/d/b", b"2")),
        archive(file("d/con", b"2")),
        archive(file("d/b.", b"2")),
        archive(file("d//b", b"2")),
        archive(file("d/./b", b"2")),
        archive(file("d/b", b"2", mode=0o4755)),
        header(b"d/b", kind=b"2", link=b"/etc"),
        header(b"d/b", kind=b"7"),
        header(b"d/b", size=b"00000007000\0") + b"cut off",
        header(b"d/b")[:-1] + b"\1",
        bytes(1024),
    ],
)
def test_anything_odd_is_left_to_the_long_way(odd: bytes) -> None:
    first = archive(file("d/a", b"1"))[: 2 * 512]
    assert taken(first + odd + END) == []


def test_headers_of_the_short_way_count_too() -> None:
    raw = archive(*[file(f"d/f{number}") for number in range(50)], format=tarfile.USTAR_FORMAT)
    with pytest.raises(IntegrityError, match="headers"):
        taken(raw, limits=Limits(entries=5))


@pytest.mark.parametrize("scribe_after", [None, 20])
@pytest.mark.parametrize("second", ["d/f3", "d/F3"])
def test_names_that_come_twice_are_refused(tmp_path: Path, second: str, scribe_after: int | None) -> None:
    raw = archive(*[file(f"d/f{number}") for number in range(9)], file(second), format=tarfile.USTAR_FORMAT)
    with pytest.raises(IntegrityError) as caught:
        extract(raw, tmp_path, at_once=1 << 20, scribe_after=scribe_after)
    assert caught.value.code in ("duplicate-name", "case-collision")


def test_an_error_of_the_scribe_ends_the_extraction(tmp_path: Path) -> None:
    with TreeWriter(str(tmp_path), scribe_after=1) as writer:
        writer.directory(("d",), origin="o")
        (tmp_path / "d" / "f5").write_text("somebody else's")
        writer.add_files([SmallFile(f"d/f{number}", b"x", False) for number in range(9)], origin="o")
        with pytest.raises(IntegrityError, match="changed in the staging directory"):
            writer.finish()
