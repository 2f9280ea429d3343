"""Tar archives as other programs write them come out as they went in; the standard library is the oracle."""

from __future__ import annotations

import gzip
import io
import tarfile
import tracemalloc
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from provender.artifact.tar import TarReader, extract_tar
from provender.artifact.tree import Entry, TreeWriter
from provender.errors import IntegrityError, ProvenderError
from provender.oci import Descriptor, Digest
from provender.storage.compression import open_stream
from provender.storage.limits import Limits
from provender.storage.verify import VerifiedReader
from support.archives import (
    END,
    archive,
    directory,
    file,
    hardlink,
    header,
    member,
    on_disk,
    padded,
    pax,
    sealed,
    symlink,
)


def extract(
    raw: bytes, root: str | Path, *, strip: tuple[str, ...] = (), limits: Limits | None = None
) -> tuple[Entry, ...]:
    used = limits or Limits()
    with TreeWriter(str(root), used) as writer:
        extract_tar(open_stream(io.BytesIO(raw), None, used), writer, limits=used, origin="layer", strip=strip)
        return writer.finish()


def refused(raw: bytes, root: Path, *, strip: tuple[str, ...] = (), limits: Limits | None = None) -> ProvenderError:
    with pytest.raises(ProvenderError) as caught:
        extract(raw, root, strip=strip, limits=limits)
    assert caught.value.exit_status == 65
    return caught.value


_NAMES = st.text(alphabet="abcdefgü語 -_.", min_size=1, max_size=40).filter(
    lambda name: name.strip(".") and name[-1] not in ". "
)
_LONG = st.text(alphabet="abcdef", min_size=90, max_size=120)
_PATHS = st.lists(_NAMES | _LONG, min_size=1, max_size=5).map("/".join)
_FILES = st.dictionaries(_PATHS, st.tuples(st.binary(max_size=2000), st.booleans()), max_size=8)


@settings(deadline=None, max_examples=60)
@given(_FILES, st.sampled_from([tarfile.PAX_FORMAT, tarfile.GNU_FORMAT, tarfile.USTAR_FORMAT]), st.booleans())
def test_what_tarfile_writes_comes_out_as_tarfile_reads_it(
    files: dict[str, tuple[bytes, bool]], form: int, is_dotted: bool
) -> None:
    files = {
        path: value
        for path, value in files.items()
        if not any(other != path and other.startswith(f"{path}/") for other in files)
    }
    if form == tarfile.USTAR_FORMAT:
        files = {path: value for path, value in files.items() if len(path.encode()) < 98}
    dot = "./" if is_dotted else ""
    pieces = [
        file(dot + path, content, mode=0o750 if executable else 0o600) for path, (content, executable) in files.items()
    ]
    links = {f"zz/link{number}": f"../{path}" for number, path in enumerate(files) if len(path.encode()) < 90}
    raw = archive(
        *([directory("./")] if is_dotted else []),
        *pieces,
        *[symlink(dot + path, target) for path, target in links.items()],
        *[hardlink(f"{dot}hard{number}", dot + target[3:]) for number, target in enumerate(links.values())],
        format=form,
    )
    with TemporaryDirectory() as ours:
        entries = extract(gzip.compress(raw, 1), ours)
        found = {path: value for path, value in on_disk(ours).items() if value[0] != "directory"}
    expected: dict[str, tuple[str, int, bytes]] = {}
    with tarfile.open(fileobj=io.BytesIO(raw)) as tar:
        for info in tar:
            path = info.name.removeprefix("./")
            if info.issym():
                expected[path] = ("link", 0, info.linkname.encode())
            elif not info.isdir():
                held = tar.extractfile(info)
                assert held is not None
                mode = tar.getmember(info.linkname).mode if info.islnk() else info.mode
                expected[path] = ("file", 0o755 if mode & 0o100 else 0o644, held.read())
    assert found == expected
    assert [entry.path for entry in entries] == sorted(expected)


@pytest.mark.parametrize("form", [tarfile.PAX_FORMAT, tarfile.GNU_FORMAT])
def test_long_names_and_links(tmp_path: Path, form: int) -> None:
    name = "/".join(["d" * 200] * 5)
    entries = extract(
        archive(file(name, b"x"), symlink("l" * 150, name), hardlink("hard", name), format=form), tmp_path
    )
    assert {(entry.path, entry.kind) for entry in entries} == {(name, "f"), ("l" * 150, "l"), ("hard", "f")}


def test_old_headers_without_a_magic(tmp_path: Path) -> None:
    blocks = [bytearray(header(b"old/", kind=b"\0")), bytearray(header(b"old/f", kind=b"\0", size=b"         3 \0"))]
    for block in blocks:
        block[257:512] = bytes(255)
    extract(sealed(blocks[0]) + sealed(blocks[1]) + padded(b"abc") + END, tmp_path)
    assert on_disk(tmp_path)["old/f"] == ("file", 0o644, b"abc")


def test_a_name_with_slash_is_a_directory_and_7_is_a_file(tmp_path: Path) -> None:
    extract(header(b"d/") + header(b"f", kind=b"7", size=b"00000000002\0") + padded(b"ab") + END, tmp_path)
    assert on_disk(tmp_path) == {"d": ("directory", 0o755, b""), "f": ("file", 0o644, b"ab")}


def test_base_256_sizes_and_signed_checksums(tmp_path: Path) -> None:
    block = bytearray(header("ü".encode(), size=b"\x80" + (3).to_bytes(11, "big")))
    signed = sum(byte - 256 if byte > 127 else byte for byte in block[:148] + block[156:]) + 256
    block[148:156] = b"%06o\0 " % signed
    extract(bytes(block) + padded(b"abc") + END, tmp_path)
    assert on_disk(tmp_path) == {"ü": ("file", 0o644, b"abc")}


def test_pax_records_override_and_others_are_ignored(tmp_path: Path) -> None:
    raw = (
        pax([(b"comment", b"c")], kind=b"g")
        + pax([(b"path", "näme".encode()), (b"size", b"3"), (b"mtime", b"1.5"), (b"SCHILY.xattr.user.a", b"\n=\0")])
        + header(b"other")
        + padded(b"abc")
        + pax([(b"linkpath", "näme".encode())])
        + header(b"l", kind=b"2", link=b"other")
        + END
    )
    assert [(entry.path, entry.size) for entry in extract(raw, tmp_path)] == [("l", 0), ("näme", 3)]
    assert on_disk(tmp_path)["l"] == ("link", 0, "näme".encode())


def test_whiteouts_are_ordinary_files_and_setuid_is_dropped(tmp_path: Path) -> None:
    extract(archive(file("d/.wh.x"), file(".wh..wh..opq"), file("s", mode=0o6755)), tmp_path)
    found = on_disk(tmp_path)
    assert found["s"] == ("file", 0o755, b"")
    assert {"d/.wh.x", ".wh..wh..opq"} <= set(found)


def test_a_prefix_is_stripped(tmp_path: Path) -> None:
    raw = archive(
        directory("./"),
        directory("a"),
        directory("a/b"),
        file("a/b/f", b"x"),
        directory("a/b/e"),
        hardlink("a/b/h", "a/b/f"),
        symlink("a/b/l", "f"),
    )
    assert [entry.path for entry in extract(raw, tmp_path, strip=("a", "b"))] == ["f", "h", "l"]
    assert (tmp_path / "e").is_dir()


@pytest.mark.parametrize(
    "piece",
    [
        file("other"),
        file("a/bc"),
        file("a/b"),
        symlink("a", "x"),
        symlink("a/b", "x"),
        directory("other"),
        directory("a/c"),
        hardlink("a/b/h", "a/x"),
        hardlink("a/b/h", "a/b"),
    ],
)
def test_members_outside_of_the_prefix_are_refused(tmp_path: Path, piece: tarfile.TarInfo) -> None:
    assert refused(archive(file("a/b/f"), piece), tmp_path, strip=("a", "b")).code == "outside-prefix"


def test_every_cut_is_noticed(tmp_path: Path) -> None:
    raw = archive(file("a", b"x" * 700), directory("d"), format=tarfile.PAX_FORMAT)[: 512 + 1024 + 512 + 1024]
    whole = tmp_path / "whole"
    whole.mkdir()
    assert len(extract(raw, whole)) == 1
    for end in range(0, len(raw), 100):
        root = tmp_path / str(end)
        root.mkdir()
        assert refused(raw[:end], root).code == "truncated"


@pytest.mark.parametrize(
    "raw",
    [
        header(b"a")[:-1] + b"\1" + END,
        header(b"a") + bytes(512) + header(b"b") + END,
        header(b"a", kind=b"5", size=b"00000000001\0") + padded(b"x") + END,
        header(b"a", kind=b"2", size=b"00000000001\0", link=b"b") + padded(b"x") + END,
        header(b"a/", size=b"00000000001\0") + padded(b"x") + END,
        header(b"a", kind=b"Z") + END,
        header(b"a", size=b"0000000000-1"[:12]) + END,
        header(b"a", size=b"0000001_000\0") + END,
        header(b"a", size=b"00000000008\0") + END,
        header(b"a", size=b"0o000000010\0") + END,
        header(b"a", mode=b"rwxr-xr\0") + END,
        header(b"x", kind=b"x", size=b"00000000005\0") + padded(b"99 a=") + header(b"a") + END,
        header(b"x", kind=b"x", size=b"00000000006\0") + padded(b"6 abc\n") + header(b"a") + END,
        header(b"x", kind=b"x", size=b"00000000003\0") + padded(b"3 \n") + header(b"a") + END,
        pax([(b"size", b"-1")]) + header(b"a") + END,
        pax([(b"size", b"9" * 19)]) + header(b"a") + END,
        pax([(b"size", b"9" * 5000)]) + header(b"a") + END,
        pax([(b"path", b"b")], kind=b"g") + header(b"a") + END,
        pax([(b"size", b"0")], kind=b"g") + header(b"a") + END,
        pax([(b"path", b"b")]) + END,
        pax([(b"path", b"b")]) * 9 + header(b"a") + END,
        header(b"L", kind=b"L", size=b"00010000000\0") + END,
    ],
)
def test_malformed_archives_are_refused(tmp_path: Path, raw: bytes) -> None:
    error = refused(raw, tmp_path)
    assert error.code == "bad-archive"
    assert error.where == "layer"


@pytest.mark.parametrize(
    "raw",
    [
        header(b"a", kind=b"S") + END,
        pax([(b"GNU.sparse.major", b"1"), (b"GNU.sparse.minor", b"0")]) + header(b"a") + END,
        pax([(b"GNU.sparse.map", b"0,1")]) + header(b"a") + END,
    ],
)
def test_sparse_files_are_refused_as_unsupported(tmp_path: Path, raw: bytes) -> None:
    assert refused(raw, tmp_path).code == "sparse-file"


def test_what_follows_the_end_is_read_and_verified(tmp_path: Path) -> None:
    raw = archive(file("a", b"x")) + b"more" * 100_000
    right = Descriptor(media_type="a/b", digest=Digest.of(raw), size=len(raw))
    wrong = Descriptor(media_type="a/b", digest=Digest.of(raw + b"!"), size=len(raw))
    for name, descriptor in (("right", right), ("wrong", wrong)):
        (tmp_path / name).mkdir()
        reader = VerifiedReader(io.BytesIO(raw), descriptor)
        with TreeWriter(str(tmp_path / name)) as writer:
            if name == "right":
                extract_tar(open_stream(reader, None), writer, origin="layer")
                assert reader.verified
                continue
            with pytest.raises(IntegrityError) as caught:
                extract_tar(open_stream(reader, None), writer, origin="layer")
            assert caught.value.code == "digest-mismatch"


def test_members_are_listed_without_their_content() -> None:
    raw = archive(file("big", bytes(3 << 20)), directory("d"), file("d/x", b"12", mode=0o755), symlink("l", "big"))
    reader = TarReader(open_stream(io.BytesIO(raw), None))
    listed = []
    while (found := reader.next()) is not None:
        listed.append((found.path, found.kind, found.size, found.executable, found.link))
    assert listed == [
        ("big", "file", 3 << 20, False, ""),
        ("d", "directory", 0, False, ""),
        ("d/x", "file", 2, True, ""),
        ("l", "link", 0, False, "big"),
    ]


def test_content_may_be_left_halfway() -> None:
    raw = archive(file("big", b"x" * (3 << 20)), file("next", b"y"))
    reader = TarReader(open_stream(io.BytesIO(raw), None))
    assert reader.next() is not None
    content = reader.content()
    assert not isinstance(content, bytes)
    next(iter(content))
    found = reader.next()
    assert found is not None
    assert (found.path, reader.content()) == ("next", b"y")


def test_files_larger_than_the_window_keep_their_bytes(tmp_path: Path) -> None:
    big = bytes(range(256)) * ((5 << 20) // 256) + b"tail"
    extract(archive(file("a", big), file("b", b"x" * (1 << 20)), file("c", b"y" * 1000), member("e")), tmp_path)
    assert (tmp_path / "a").read_bytes() == big
    assert (tmp_path / "b").read_bytes() == b"x" * (1 << 20)
    assert (tmp_path / "c").read_bytes() == b"y" * 1000


class Generated:
    """A tar of one file of `size` bytes that is never whole in memory."""

    def __init__(self, size: int) -> None:
        self._pieces = self._made(size)
        self._rest = b""

    def _made(self, size: int) -> Iterator[bytes]:
        piece = bytes(range(256)) * 1024
        yield header(b"big", size=b"%011o\0" % size)
        for _ in range(size // len(piece)):
            yield piece
        yield END

    def read(self, size: int = -1, /) -> bytes:
        if not self._rest:
            self._rest = next(self._pieces, b"")
        piece, self._rest = self._rest[:size], self._rest[size:]
        return piece


def test_memory_does_not_grow_with_the_content(tmp_path: Path) -> None:
    tracemalloc.start()
    try:
        with TreeWriter(str(tmp_path)) as writer:
            extract_tar(open_stream(Generated(64 << 20), None), writer, origin="layer")
            assert writer.finish()[0].size == 64 << 20
        assert tracemalloc.get_traced_memory()[1] < 16 << 20
    finally:
        tracemalloc.stop()
