"""Container images as one tree: layers over each other, deletions, links, and what is refused."""

from __future__ import annotations

import os
import tarfile
from pathlib import Path

import pytest

from provender.artifact.image import unpack_image
from provender.artifact.tree import Entry
from provender.errors import IntegrityError
from provender.oci import Descriptor
from provender.oci.media_types import LAYER_TAR
from provender.storage.memory import MemoryStorage
from provender.storage.verify import BytesReader
from support.archives import Piece, archive, directory, file, hardlink, member, symlink


def laid(tmp_path: Path, *layers: tuple[Piece, ...], wanted: str = "") -> dict[str, str]:
    """The files (and links, as `-> target`) that the layers, lowest first, make."""
    return {
        entry.path: f"-> {entry.content}" if entry.kind == "l" else (tmp_path / "out" / entry.path).read_text()
        for entry in entries_of(tmp_path, *layers, wanted=wanted)
    }


def entries_of(tmp_path: Path, *layers: tuple[Piece, ...], wanted: str = "") -> tuple[Entry, ...]:
    storage = MemoryStorage()
    descriptors = []
    for pieces in layers:
        blob = archive(*pieces)
        descriptors.append(Descriptor.of(blob, LAYER_TAR))
        storage.push(descriptors[-1], BytesReader(blob))
    (tmp_path / "out").mkdir()
    return unpack_image(descriptors, storage, str(tmp_path / "out"), is_wanted=lambda path: path.startswith(wanted))


def test_upper_layers_replace_files_of_lower_ones(tmp_path: Path) -> None:
    assert laid(
        tmp_path,
        (directory("etc"), file("etc/a", b"1"), file("etc/b", b"1")),
        (file("etc/a", b"2", mode=0o755),),
        (file("etc/c", b"3"),),
    ) == {"etc/a": "2", "etc/b": "1", "etc/c": "3"}
    assert (tmp_path / "out/etc/a").stat().st_mode & 0o777 == 0o755


def test_whiteouts_delete_what_lower_layers_have_and_nothing_else(tmp_path: Path) -> None:
    assert laid(
        tmp_path,
        (file("a", b"1"), file("dir/x", b"1"), file("dir/y", b"1"), file("keep/z", b"1"), file("dir2", b"1")),
        (file(".wh.a", b""), file(".wh.dir", b""), file("dir/new", b"2")),
        (file("a", b"3"),),
    ) == {"a": "3", "dir/new": "2", "dir2": "1", "keep/z": "1"}


def test_a_deletion_in_the_middle_does_not_reach_up(tmp_path: Path) -> None:
    assert laid(tmp_path, (file("a", b"1"),), (file("a", b"2"),), (file(".wh.a", b""),), (file("b", b"4"),)) == {
        "b": "4"
    }


def test_opaque_directories_hide_what_lies_below_and_keep_what_came_with_them(tmp_path: Path) -> None:
    assert laid(
        tmp_path,
        (file("d/old", b"1"), file("d/sub/old", b"1"), file("e", b"1")),
        (file("d/new", b"2"), file("d/.wh..wh..opq", b""), file("d/sub/new", b"2")),
    ) == {"d/new": "2", "d/sub/new": "2", "e": "1"}


def test_an_opaque_root_hides_everything(tmp_path: Path) -> None:
    assert laid(tmp_path, (file("a", b"1"), file("d/b", b"1")), (file(".wh..wh..opq", b""), file("c", b"2"))) == {
        "c": "2"
    }


def test_kinds_change_between_layers(tmp_path: Path) -> None:
    assert laid(
        tmp_path,
        (file("f", b"1"), file("d/x", b"1"), symlink("l", "f"), directory("m"), file("m/y", b"1")),
        (file("f/in", b"2"), file("d", b"2"), directory("l"), file("l/z", b"2"), symlink("m", "d")),
    ) == {"d": "2", "f/in": "2", "l/z": "2", "m": "-> d"}


def test_directories_without_files_are_there(tmp_path: Path) -> None:
    entries_of(tmp_path, (directory("tmp"), directory("gone"), file("a", b"1")), (file(".wh.gone", b""),))
    assert sorted(os.listdir(tmp_path / "out")) == ["a", "tmp"]


def test_absolute_links_lead_from_the_images_root(tmp_path: Path) -> None:
    assert laid(
        tmp_path,
        (
            file("usr/bin/real", b"x"),
            symlink("bin", "usr/bin"),
            symlink("etc/alt/tool", "/usr/bin/real"),
            symlink("root", "/"),
            symlink("usr/up", "../../../usr/bin"),
        ),
    ) == {
        "bin": "-> usr/bin",
        "etc/alt/tool": "-> ../../usr/bin/real",
        "root": "-> .",
        "usr/bin/real": "x",
        "usr/up": "-> ../usr/bin",
    }
    assert (tmp_path / "out/etc/alt/tool").read_text() == "x"


def test_hard_links_keep_what_their_target_was(tmp_path: Path) -> None:
    assert laid(
        tmp_path,
        (file("a", b"1"), hardlink("b", "a"), hardlink("c", "/a"), file("deep", b"d")),
        (file("a", b"2"), hardlink("e", "deep"), file(".wh.deep", b"")),
        (hardlink("f", "b"),),
    ) == {"a": "2", "b": "1", "c": "1", "e": "d", "f": "1"}


def test_a_hard_link_to_nothing_is_refused(tmp_path: Path) -> None:
    with pytest.raises(IntegrityError) as caught:
        laid(tmp_path, (file("a", b"1"),), (hardlink("b", "none"),))
    assert caught.value.code == "bad-link"


def test_only_what_is_wanted_is_written(tmp_path: Path) -> None:
    assert laid(
        tmp_path,
        (file("opt/a", b"1"), file("usr/b", b"1"), hardlink("opt/c", "usr/b")),
        (file("usr/d", b"2"), file("opt/.wh.a", b""), file("opt/e", b"2")),
        wanted="opt/",
    ) == {"opt/c": "1", "opt/e": "2"}


@pytest.mark.parametrize(
    ("pieces", "code"),
    [
        ((file("../x", b""),), "bad-name"),
        ((file("/abs/../../x", b""),), "bad-name"),
        ((file("d/.wh...", b""),), "bad-name"),
        ((file("A", b""), file("a", b"")), "case-collision"),
        ((symlink("l", "d"), file("l/x", b"")), "through-link"),
        ((symlink("a", "b/../.."), symlink("b", "c/d/e")), None),
    ],
)
def test_hostile_layers_are_refused(tmp_path: Path, pieces: tuple[Piece, ...], code: str | None) -> None:
    if code is None:
        laid(tmp_path, pieces)
        return
    with pytest.raises(IntegrityError) as caught:
        laid(tmp_path, (file("ok", b""),), pieces)
    assert caught.value.code == code
    assert not (tmp_path / "x").exists()


def test_devices_and_pipes_are_left_out_and_still_hide_what_is_below(tmp_path: Path) -> None:
    special = [
        (member(f"dev/{name}", kind), b"") for name, kind in (("tty", tarfile.CHRTYPE), ("pipe", tarfile.FIFOTYPE))
    ]
    assert laid(tmp_path, (file("dev/tty", b"1"), file("a", b"1")), (*special, file("b", b"2"))) == {"a": "1", "b": "2"}
