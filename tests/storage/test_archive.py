from __future__ import annotations

import io
import os
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from provender.errors import IntegrityError, InvalidDocument, NotFound, ProvenderError, Unsupported
from provender.oci import Descriptor, Digest
from provender.storage import tar_table
from provender.storage.archive import ArchiveStorage
from provender.storage.layout import LayoutStorage
from provender.storage.layout_index import fallback_tag
from provender.storage.tar_table import scan
from provender.storage.verify import BytesReader, VerifiedReader, read_all
from support.content import blob, index, manifest

LAYER = b"layer" * 1000


@pytest.fixture
def layout(tmp_path: Path) -> LayoutStorage:
    storage = LayoutStorage(tmp_path / "layout", create=True)
    storage.push(blob(LAYER), BytesReader(LAYER))
    storage.push_document(manifest("a", layers=(blob(LAYER),)), ["v1"])
    return storage


def files(layout: LayoutStorage) -> dict[str, bytes]:
    found = {path.relative_to(layout.path).as_posix(): path for path in layout.path.rglob("*") if path.is_file()}
    return {name: path.read_bytes() for name, path in sorted(found.items())}


def make(
    path: Path,
    content: dict[str, bytes],
    *,
    tar_format: int = tarfile.PAX_FORMAT,
    extra: Callable[[tarfile.TarFile], None] | None = None,
) -> Path:
    with tarfile.open(path, "w", format=tar_format) as archive:
        for name, data in content.items():
            add(archive, name, data)
        if extra is not None:
            extra(archive)
    return path


def add(archive: tarfile.TarFile, name: str, data: bytes = b"", **fields: object) -> None:
    member = tarfile.TarInfo(name)
    member.size = len(data)
    for key, value in fields.items():
        setattr(member, key, value)
    archive.addfile(member, io.BytesIO(data))


@pytest.mark.parametrize("tar_format", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
@pytest.mark.parametrize("prefix", ["", "./"])
def test_every_ability_of_a_layout_is_there(
    layout: LayoutStorage, tmp_path: Path, tar_format: int, prefix: str
) -> None:
    subject = manifest("a", layers=(blob(LAYER),))
    referrer = manifest("referrer", subject=subject.descriptor)
    layout.push_document(referrer)
    layout.push_document(index(referrer), [fallback_tag(subject.digest)])
    content = {prefix + name: data for name, data in files(layout).items()}
    storage = ArchiveStorage(make(tmp_path / "a.tar", content, tar_format=tar_format))
    assert storage.resolve("v1") == subject
    assert storage.resolve(subject.digest) == subject
    assert list(storage.tags()) == list(layout.tags())
    assert [found.digest for found in storage.referrers(subject.digest)] == [referrer.digest]
    assert storage.exists(blob(LAYER))
    assert not storage.exists(blob(b"absent"))
    with storage.fetch(blob(LAYER)) as reader:
        assert isinstance(reader, VerifiedReader)
        assert read_all(reader, len(LAYER)) == LAYER
    with storage.fetch(blob(LAYER), offset=4990) as reader:
        assert read_all(reader, 100) == LAYER[4990:]
    with pytest.raises(NotFound):
        storage.fetch(blob(b"absent"))


@pytest.mark.parametrize("tar_format", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_long_names_and_strange_neighbours_are_passed(layout: LayoutStorage, tmp_path: Path, tar_format: int) -> None:
    long = Descriptor(media_type="text/plain", digest=Digest.of(b"long", "sha512"), size=4)

    def extra(archive: tarfile.TarFile) -> None:
        add(archive, "manifest.json", b"[]")
        add(archive, "d" * 90 + "/" + "f" * 90, b"x" * 700)
        add(archive, "link", type=tarfile.SYMTYPE, linkname="/etc/passwd")
        add(archive, "../../outside", b"x")
        add(archive, "blobs", type=tarfile.DIRTYPE)
        if tar_format != tarfile.USTAR_FORMAT:  # whose names are too short for it
            add(archive, f"blobs/sha512/{long.digest.encoded}", b"long")

    storage = ArchiveStorage(make(tmp_path / "a.tar", files(layout), tar_format=tar_format, extra=extra))
    assert storage.resolve("v1").manifest().layers == (blob(LAYER),)
    assert storage.exists(long) == (tar_format != tarfile.USTAR_FORMAT)


def test_damaged_blob_is_met_at_its_end(layout: LayoutStorage, tmp_path: Path) -> None:
    content = files(layout)
    content[f"blobs/sha256/{blob(LAYER).digest.encoded}"] = LAYER[:-1] + b"!"
    storage = ArchiveStorage(make(tmp_path / "a.tar", content))
    with storage.fetch(blob(LAYER)) as reader, pytest.raises(IntegrityError):
        read_all(reader, len(LAYER))


@pytest.mark.parametrize(("start", "word"), [(b"\xfd7zXZ\0..", "unxz"), (b"BZh9", "bunzip2")])
def test_unknown_compression_is_unsupported_with_the_command(tmp_path: Path, start: bytes, word: str) -> None:
    (tmp_path / "a.tgz").write_bytes(start)
    with pytest.raises(Unsupported) as caught:
        ArchiveStorage(tmp_path / "a.tgz")
    assert caught.value.code == "compressed-archive"
    assert word in (caught.value.hint or "")
    assert caught.value.where == f"layout:{tmp_path / 'a.tgz'}"


@pytest.mark.parametrize("content", [b"", b"hello", b"x" * 2048, bytes(10240)])
def test_other_files_are_not_a_layout(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "a.tar").write_bytes(content)
    with pytest.raises(InvalidDocument) as caught:
        ArchiveStorage(tmp_path / "a.tar")
    assert caught.value.code == "not-a-layout"


@pytest.mark.parametrize("missing", ["oci-layout", "index.json"])
def test_tar_of_something_else_is_not_a_layout(layout: LayoutStorage, tmp_path: Path, missing: str) -> None:
    content = files(layout)
    del content[missing]
    with pytest.raises(InvalidDocument) as caught:
        ArchiveStorage(make(tmp_path / "a.tar", content))
    assert caught.value.code == "not-a-layout"
    assert missing in caught.value.message


def test_missing_archive_is_not_found(tmp_path: Path) -> None:
    with pytest.raises(NotFound):
        ArchiveStorage(tmp_path / "a.tar")


def test_device_is_no_archive() -> None:
    with pytest.raises(Unsupported):
        ArchiveStorage(Path(os.devnull))


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.FIFOTYPE, tarfile.CHRTYPE])
@pytest.mark.parametrize("name", ["index.json", "oci-layout", "blobs/sha256/" + "0" * 64])
def test_layout_file_that_is_a_link_or_device_is_refused(
    layout: LayoutStorage, tmp_path: Path, kind: bytes, name: str
) -> None:
    content = files(layout)
    content.pop(name, None)

    def extra(archive: tarfile.TarFile) -> None:
        add(archive, name, type=kind, linkname="/etc/passwd")

    with pytest.raises(IntegrityError) as caught:
        ArchiveStorage(make(tmp_path / "a.tar", content, extra=extra))
    assert caught.value.code == "hostile-archive"


@pytest.mark.parametrize("name", ["index.json", "./oci-layout"])
def test_second_index_is_refused(layout: LayoutStorage, tmp_path: Path, name: str) -> None:
    with pytest.raises(IntegrityError) as caught:
        ArchiveStorage(make(tmp_path / "a.tar", files(layout), extra=lambda archive: add(archive, name, b"{}")))
    assert "twice" in caught.value.message


def test_size_beyond_the_end_is_refused(layout: LayoutStorage, tmp_path: Path) -> None:
    path = make(tmp_path / "a.tar", files(layout))
    raw = path.read_bytes()
    path.write_bytes(raw[:2000])
    with pytest.raises(IntegrityError) as caught:
        ArchiveStorage(path)
    assert caught.value.code == "archive-truncated"


@pytest.mark.parametrize("size", [1 << 40, (1 << 62) - 1])
def test_absurd_size_is_refused(layout: LayoutStorage, tmp_path: Path, size: int) -> None:
    member = tarfile.TarInfo("blobs/sha256/" + "0" * 64)
    member.size = size
    raw = make(tmp_path / "a.tar", files(layout)).read_bytes()
    (tmp_path / "a.tar").write_bytes(member.tobuf(tarfile.GNU_FORMAT) + raw)
    with pytest.raises(IntegrityError):
        ArchiveStorage(tmp_path / "a.tar")


@pytest.mark.parametrize("kind", [b"x", b"L", b"g"])
def test_absurd_extended_header_is_not_read(layout: LayoutStorage, tmp_path: Path, kind: bytes) -> None:
    member = tarfile.TarInfo("header")
    member.type = kind
    member.size = 2 << 20
    raw = member.tobuf(tarfile.USTAR_FORMAT) + bytes(2 << 20) + make(tmp_path / "a.tar", files(layout)).read_bytes()
    (tmp_path / "a.tar").write_bytes(raw)
    with pytest.raises(IntegrityError) as caught:
        ArchiveStorage(tmp_path / "a.tar")
    assert "extended header" in caught.value.message


@pytest.mark.parametrize("record", [b"x", b"99 path=a\n", b"0 a=b\n", b"11 size=-1\n", b"12 size=1e9\n", b"9" * 30])
def test_damaged_extended_header_is_refused(layout: LayoutStorage, tmp_path: Path, record: bytes) -> None:
    member = tarfile.TarInfo("header")
    member.type = b"x"
    member.size = len(record)
    raw = member.tobuf(tarfile.USTAR_FORMAT) + record.ljust(512, b"\0")
    (tmp_path / "a.tar").write_bytes(raw + make(tmp_path / "b.tar", files(layout)).read_bytes())
    with pytest.raises(IntegrityError):
        ArchiveStorage(tmp_path / "a.tar")


def test_too_many_members_are_refused(layout: LayoutStorage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tar_table, "_MAX_MEMBERS", 3)
    with pytest.raises(IntegrityError) as caught:
        ArchiveStorage(make(tmp_path / "a.tar", files(layout)))
    assert "more than 3" in caught.value.message


def test_too_many_bytes_of_extended_headers_are_refused(
    layout: LayoutStorage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tar_table, "_MAX_ALL_EXTENSIONS_BYTES", 2000)

    def extra(archive: tarfile.TarFile) -> None:
        for number in range(3):
            add(archive, f"{number}" * 800)

    with pytest.raises(IntegrityError) as caught:
        ArchiveStorage(make(tmp_path / "a.tar", files(layout), extra=extra))
    assert "extended headers" in caught.value.message


def test_archive_that_changes_is_noticed(layout: LayoutStorage, tmp_path: Path) -> None:
    path = make(tmp_path / "a.tar", files(layout))
    storage = ArchiveStorage(path)
    make(tmp_path / "b.tar", {**files(layout), "more": b"x" * 20000}).replace(path)
    with pytest.raises(IntegrityError) as caught:
        storage.fetch(blob(LAYER))
    assert caught.value.code == "archive-changed"


_NAMES = st.text(st.characters(codec="utf-8", exclude_characters="\0\n"), min_size=1, max_size=130).filter(
    lambda name: name.strip("/") == name and not name.startswith("./") and "//" not in name
)


@given(
    st.dictionaries(_NAMES, st.binary(max_size=1500), max_size=5),
    st.sampled_from([tarfile.GNU_FORMAT, tarfile.PAX_FORMAT]),
)
def test_table_agrees_with_the_writer_for_any_names(content: dict[str, bytes], tar_format: int) -> None:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tar_format) as archive:
        for name, data in content.items():
            add(archive, name, data)
    table = scan(buffer, lambda name: True)
    raw = buffer.getvalue()
    assert {name: raw[member.offset : member.offset + member.size] for name, member in table.items()} == content


@given(st.data())
def test_any_damage_is_an_error_of_ours_or_harmless(data: st.DataObject) -> None:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.PAX_FORMAT) as archive:
        add(archive, "ü" * 60, b"x" * 600)
        add(archive, "index.json", b"{}")
    raw = bytearray(buffer.getvalue())
    for _ in range(data.draw(st.integers(1, 4))):
        raw[data.draw(st.integers(0, 3500))] = data.draw(st.integers(0, 255))
    try:
        table = scan(io.BytesIO(bytes(raw)), lambda name: True)
    except ProvenderError:
        return
    assert all(0 <= member.offset <= member.offset + member.size <= len(raw) for member in table.values())
