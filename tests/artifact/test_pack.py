"""Files and directories as layers: what oras would make, and the same digest everywhere."""

from __future__ import annotations

import gzip
import hashlib
import io
import os
import socket
import tarfile
from pathlib import Path

import pytest

from provender.artifact.pack import PackedLayer, Source, pack
from provender.artifact.tar import extract_tar
from provender.artifact.tree import Entry, TreeWriter
from provender.errors import Conflict, InvalidReference, NotFound, ProvenderError, Unsupported
from provender.oci.annotations import TITLE, UNPACK, UNPACKED_DIGEST
from provender.storage.compression import open_stream
from provender.transfer.pool import Cancellation, Cancelled


@pytest.mark.parametrize(
    ("text", "path", "title", "media_type"),
    [
        ("bar", "bar", "bar", None),
        ("bar:text/plain", "bar", "bar", "text/plain"),
        ("./foobar//bar", "./foobar//bar", "foobar/bar", None),
        ("d/", "d/", "d", None),
        (".", ".", ".", None),
        ("./", "./", ".", None),
        ("a..b", "a..b", "a..b", None),
        ("x.json:application/vnd.acme.v1+json", "x.json", "x.json", "application/vnd.acme.v1+json"),
    ],
)
def test_a_source_is_a_path_with_an_optional_type(text: str, path: str, title: str, media_type: str | None) -> None:
    assert Source.parse(text) == Source(path=path, title=title, media_type=media_type)


@pytest.mark.parametrize("text", ["/etc/passwd", "../x", "a/../../b", "C:\\x:text/plain", "c:/x"])
def test_a_path_outside_of_the_working_directory_is_refused_with_a_way_out(text: str) -> None:
    with pytest.raises(InvalidReference) as caught:
        Source.parse(text)
    assert caught.value.code == "unsafe-title"
    assert caught.value.hint is not None


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("", "invalid-source"),
        (":text/plain", "invalid-source"),
        ("a:", "invalid-media-type"),
        ("a:b", "invalid-media-type"),
        ("a:text/plain; charset=utf-8", "invalid-media-type"),
        ("con", "unsafe-title"),
    ],
)
def test_what_is_no_source_is_refused(text: str, code: str) -> None:
    with pytest.raises(InvalidReference) as caught:
        Source.parse(text)
    assert caught.value.code == code


def test_parameters_of_a_media_type_are_named_in_the_hint() -> None:
    with pytest.raises(InvalidReference) as caught:
        Source.parse("a:text/plain; charset=utf-8")
    assert "write text/plain" in str(caught.value.hint)


@pytest.fixture
def work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "work"
    path.mkdir()
    monkeypatch.chdir(path)
    return path


def packed(text: str, tmp_path: Path, **options: int) -> PackedLayer:
    scratch = tmp_path / "scratch"
    scratch.mkdir(exist_ok=True)
    return pack(Source.parse(text), str(scratch), **options)


def test_a_file_is_its_own_layer(work: Path, tmp_path: Path) -> None:
    (work / "foo").write_bytes(b"foo")
    layer = packed("foo", tmp_path)
    assert layer.path == "foo"
    assert layer.descriptor.media_type == "application/vnd.oci.image.layer.v1.tar"
    assert layer.descriptor.digest == "sha256:2c26b46b68ffc68ff99b453c1d30413413422d706483bfa0f98a5e886266e7ae"
    assert (layer.descriptor.size, layer.descriptor.annotations) == (3, {TITLE: "foo"})
    assert packed("foo:text/plain", tmp_path).descriptor.media_type == "text/plain"


def sample(work: Path) -> None:
    (work / "d/sub").mkdir(parents=True)
    (work / "d/empty").mkdir()
    (work / "d/b.txt").write_bytes(b"hello\n" * 100)
    (work / "d/sub/run.sh").write_bytes(b"#!/bin/sh\n")
    (work / "d/sub/run.sh").chmod(0o750)
    (work / "d/sub-x").write_bytes(b"")
    (work / "d/link").symlink_to("sub/run.sh")
    (work / "d" / ("n" * 90) / ("m" * 90)).mkdir(parents=True)
    (work / "d" / ("n" * 90) / ("m" * 90) / "long").write_bytes(b"1")
    (work / "d" / ("p" * 120)).write_bytes(b"2")
    (work / "d/größe").write_bytes(b"3")


GOLDEN_LAYER = "sha256:42370676491a311c773fa27437c2d1a961153d7d98f257a03a5dc6c97b0a6acf"
GOLDEN_TAR = "sha256:286547f8ce942761531cfad1e154d8c4eed08fa4fa9f951523cc8b7f56fa2bfc"


def test_a_directory_has_the_same_digest_on_every_machine(work: Path, tmp_path: Path) -> None:
    sample(work)
    descriptor = packed("d", tmp_path).descriptor
    assert descriptor.annotations == {UNPACKED_DIGEST: GOLDEN_TAR, UNPACK: "true", TITLE: "d"}
    assert descriptor.digest == GOLDEN_LAYER
    assert descriptor.media_type == "application/vnd.oci.image.layer.v1.tar+gzip"


def test_what_differs_between_machines_does_not_count(work: Path, tmp_path: Path) -> None:
    sample(work)
    before = packed("d", tmp_path).descriptor
    for path in work.rglob("*"):
        os.utime(path, (1, 2), follow_symlinks=False)
    (work / "d/b.txt").chmod(0o600)
    (work / "d/sub").chmod(0o700)
    os.link(work / "d/b.txt", work / "outside")
    os.rename(work / "d/b.txt", work / "d/z")
    os.rename(work / "d/z", work / "d/b.txt")
    assert packed("d", tmp_path).descriptor == before
    (work / "d/b.txt").chmod(0o755)
    assert packed("d", tmp_path).descriptor.digest != before.digest


def test_the_time_of_members_is_the_one_that_is_given(work: Path, tmp_path: Path) -> None:
    sample(work)
    layer = packed("d", tmp_path, epoch_s=1_700_000_000)
    with tarfile.open(layer.path) as archive:
        assert {member.mtime for member in archive} == {1_700_000_000}


def test_members_are_sorted_prefixed_and_plain(work: Path, tmp_path: Path) -> None:
    sample(work)
    layer = packed("./d/", tmp_path)
    with tarfile.open(layer.path) as archive:
        members = archive.getmembers()
    names = [member.name for member in members]
    assert names[0] == "d"
    assert names == sorted(names, key=lambda name: [part.encode() for part in name.split("/")])
    assert all(name == "d" or name.startswith("d/") for name in names)
    assert f"d/{'n' * 90}/{'m' * 90}/long" in names
    assert f"d/{'p' * 120}" in names
    assert "d/größe" in names
    assert {(m.uid, m.gid, m.uname, m.gname, m.mtime) for m in members} == {(0, 0, "", "", 0)}
    modes = {member.name: member.mode for member in members}
    assert (modes["d/b.txt"], modes["d/sub/run.sh"], modes["d/sub"]) == (0o644, 0o755, 0o755)
    extended = [member.name for member in members if member.pax_headers]
    assert set(extended) == {f"d/{'p' * 120}", "d/größe"}


def test_the_annotations_are_the_digests_of_what_was_written(work: Path, tmp_path: Path) -> None:
    sample(work)
    layer = packed("d", tmp_path)
    content = Path(layer.path).read_bytes()
    assert layer.descriptor.digest == f"sha256:{hashlib.sha256(content).hexdigest()}"
    assert layer.descriptor.size == len(content)
    unpacked = hashlib.sha256(gzip.decompress(content)).hexdigest()
    assert (layer.descriptor.annotations or {})[UNPACKED_DIGEST] == f"sha256:{unpacked}"


def unpacked(layer: PackedLayer, root: Path) -> tuple[Entry, ...]:
    root.mkdir()
    with TreeWriter(str(root)) as writer:
        extract_tar(open_stream(io.BytesIO(Path(layer.path).read_bytes()), None), writer, origin="o")
        return writer.finish()


def test_what_was_packed_unpacks_to_the_same_tree(work: Path, tmp_path: Path) -> None:
    sample(work)
    entries = unpacked(packed("d", tmp_path), tmp_path / "out")
    again = pack(Source(path=str(tmp_path / "out/d"), title="d"), str(tmp_path))
    assert again.descriptor == packed("d", tmp_path).descriptor
    assert {entry.path: entry.mode for entry in entries}["d/sub/run.sh"] == "755"
    assert (tmp_path / "out/d/empty").is_dir()


def test_the_working_directory_itself_has_no_prefix(work: Path, tmp_path: Path) -> None:
    sample(work)
    layer = packed(".", tmp_path)
    assert layer.descriptor.title == "."
    assert "d/b.txt" in [entry.path for entry in unpacked(layer, tmp_path / "out")]


@pytest.mark.parametrize("target", ["../x", "/etc/passwd", "sub/../../x"])
def test_a_link_that_leaves_the_directory_is_refused(work: Path, tmp_path: Path, target: str) -> None:
    (work / "d").mkdir()
    (work / "d/link").symlink_to(target)
    with pytest.raises(Unsupported) as caught:
        packed("d", tmp_path)
    assert caught.value.code == "bad-link"


@pytest.mark.parametrize("name", ["a:b", "back\\slash", "nul"])
def test_a_name_that_cannot_be_unpacked_everywhere_is_refused(work: Path, tmp_path: Path, name: str) -> None:
    (work / "d").mkdir()
    (work / "d" / name).write_bytes(b"")
    with pytest.raises(Unsupported) as caught:
        packed("d", tmp_path)
    assert caught.value.code == "bad-name"
    assert "rename" in str(caught.value.hint)


def test_a_socket_is_refused(work: Path, tmp_path: Path) -> None:
    (work / "d").mkdir()
    with socket.socket(socket.AF_UNIX) as sock:
        sock.bind("d/s")
        with pytest.raises(Unsupported) as caught:
            packed("d", tmp_path)
        assert caught.value.code == "special-file"
        with pytest.raises(Unsupported):
            packed("d/s", tmp_path)


def test_a_file_that_is_not_there_is_not_found(work: Path, tmp_path: Path) -> None:
    with pytest.raises(NotFound) as caught:
        packed("gone", tmp_path)
    assert caught.value.exit_status == 66


def test_a_file_that_grows_while_it_is_read_is_a_conflict(
    work: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (work / "d").mkdir()
    (work / "d/log").write_bytes(b"one")
    opened = os.open

    def open_late(path: str, flags: int, *rest: int) -> int:
        if path == "d/log":
            with Path(path).open("ab") as file:
                file.write(b"two")
        return opened(path, flags, *rest)

    monkeypatch.setattr(os, "open", open_late)
    with pytest.raises(Conflict) as caught:
        packed("d", tmp_path)
    assert caught.value.code == "changed-while-reading"


def test_packing_stops_once_cancelled(work: Path, tmp_path: Path) -> None:
    sample(work)
    cancellation = Cancellation()
    cancellation.cancel()
    for text in ("d", "d/b.txt"):
        with pytest.raises(Cancelled):
            pack(Source.parse(text), str(tmp_path), cancellation=cancellation)


def test_a_time_before_1970_is_refused(work: Path, tmp_path: Path) -> None:
    (work / "d").mkdir()
    with pytest.raises(ProvenderError) as caught:
        packed("d", tmp_path, epoch_s=-1)
    assert caught.value.code == "invalid-time"
