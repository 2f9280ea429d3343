"""Archives of known advisories, and others meant to escape or to exhaust: all refused, nothing outside is touched.

Every archive is tried alone, and compressed as the second of two layers; the directory around the staging place, which
holds a secret and is the working directory, is compared before and after.
"""

from __future__ import annotations

import gzip
import io
import tarfile
from pathlib import Path

import pytest

from provender.artifact.tar import extract_tar
from provender.artifact.tree import TreeWriter
from provender.errors import ProvenderError
from provender.storage.compression import open_stream
from provender.storage.limits import Limits
from support.archives import END, archive, directory, file, hardlink, header, member, on_disk, padded, pax, symlink


@pytest.fixture
def around(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A directory that must not change, with the staging directory's neighbours; it is the working directory."""
    path = tmp_path / "around"
    for name in ("staging", "neighbour", "etc"):
        (path / name).mkdir(parents=True)
    (path / "secret").write_bytes(b"secret")
    (path / "neighbour" / "kept").write_bytes(b"kept")
    (path / "etc" / "passwd").write_bytes(b"root")
    monkeypatch.chdir(path)
    return path


def outside(around: Path) -> dict[str, tuple[str, int, bytes]]:
    return {path: what for path, what in on_disk(around).items() if path.partition("/")[0] != "staging"}


def unpack(root: str, layers: tuple[bytes, ...], limits: Limits) -> None:
    with TreeWriter(root, limits) as writer:
        for number, layer in enumerate(layers):
            extract_tar(open_stream(io.BytesIO(layer), None, limits), writer, limits=limits, origin=f"layer {number}")
        writer.finish()


def refused(around: Path, *layers: bytes, limits: Limits | None = None) -> ProvenderError:
    """The error of unpacking `layers` into the staging directory; nothing else may have changed."""
    used = limits or Limits()
    before = outside(around)
    with pytest.raises(ProvenderError) as caught:
        unpack(str(around / "staging"), layers, used)
    assert outside(around) == before
    assert caught.value.exit_status == 65
    assert caught.value.hint
    for what, _, content in on_disk(around / "staging").values():
        assert what != "link", "no link is made unless the whole tree was accepted"
        assert content not in (b"secret", b"root", b"kept")
    return caught.value


def cve_2025_4517() -> bytes:
    """A chain of links so long that `realpath` gives up, and a last one that climbs by what was not resolved."""
    long = "d" * 247
    pieces: list[tarfile.TarInfo | tuple[tarfile.TarInfo, bytes]] = []
    path = ""
    for step in "abcdefghijklmnop":
        pieces.append(directory(path + long))
        pieces.append(symlink(path + step, long))
        path += f"{step}/"
    last = "/".join("abcdefghijklmnop") + "/" + "l" * 254
    pieces.append(symlink(last, "../" * 16))
    pieces.append(symlink("escape", f"{last}/../../neighbour"))
    pieces.append(hardlink("flag", "escape/kept"))
    pieces.append(file("flag", b"overwritten"))
    return archive(*pieces)


def cve_2025_4517_without_writes_through_links() -> bytes:
    """The same idea as a table of links alone: each passes for itself, together they climb."""
    long = "d" * 200
    return archive(
        file(f"{long}/{long}/f"),
        symlink("a", f"{long}/{long}"),
        symlink(f"{long}/{long}/up", "../../.."),
        symlink("escape", "a/up/neighbour/kept"),
    )


ARCHIVES: dict[str, bytes] = {
    "cve_2025_4517_realpath_overflow": cve_2025_4517(),
    "cve_2025_4517_links_only": cve_2025_4517_without_writes_through_links(),
    "cve_2026_50163_hardlink_against_working_directory": archive(hardlink("stolen", "secret")),
    "cve_2026_50163_hardlink_below": archive(directory("d"), hardlink("d/stolen", "etc/passwd")),
    "hardlink_climbs": archive(hardlink("stolen", "../secret")),
    "hardlink_absolute": archive(hardlink("stolen", "/etc/passwd")),
    "hardlink_to_link": archive(symlink("l", "inside"), file("inside"), hardlink("h", "l")),
    "hardlink_through_link": archive(symlink("l", "d"), file("d/f"), hardlink("h", "l/f")),
    "hardlink_to_itself": archive(hardlink("h", "h")),
    "cve_2021_21272_write_through_link": archive(symlink("l", "../neighbour"), file("l/kept", b"overwritten")),
    "cve_2021_21272_write_through_link_inside": archive(directory("d"), symlink("l", "d"), file("l/f", b"x")),
    "cve_2021_21272_link_replaced_by_file": archive(symlink("l", "../secret"), file("l", b"overwritten")),
    "cve_2020_27833_chain": archive(symlink("a", ".."), symlink("a/b", ".."), file("a/b/secret", b"x")),
    "cve_2020_27833_chain_of_siblings": archive(directory("d"), symlink("d/a", ".."), symlink("b", "d/a/..")),
    "cve_2026_29064_absolute_link": archive(symlink("l", "/tmp"), file("l/x", b"x")),
    "cve_2026_29064_link_alone": archive(symlink("l", "../../neighbour")),
    "cve_2025_4330_link_to_parent_by_directory": archive(directory("a"), symlink("a/x", "../../neighbour")),
    "cve_2024_12718_root_as_link": archive(symlink(".", "../neighbour")),
    "cpython_157190_hardlink_to_outer_link": archive(symlink("l", "../secret"), hardlink("h", "l")),
    "links_in_a_circle": archive(symlink("a", "b"), symlink("b", "a")),
    "case_of_a_link": archive(directory("d/e"), symlink("d/e/UP", "../.."), symlink("x", "d/e/up/../neighbour")),
    "cve_2007_4559_absolute": archive(file("/etc/passwd", b"x")),
    "cve_2007_4559_climb": archive(file("../secret", b"x")),
    "climb_inside": archive(file("a/../b", b"x")),
    "climb_at_the_end": archive(directory("a/..")),
    "climb_by_pax": pax([(b"path", b"../secret")]) + header(b"fine") + END,
    "climb_by_gnu_long_name": header(b"././@LongLink", kind=b"L", size=b"00000000012\0")
    + padded(b"../secret\0")
    + header(b"fine")
    + END,
    "climb_by_pax_linkpath": pax([(b"linkpath", b"../secret")]) + header(b"l", kind=b"2", link=b"fine") + END,
    "null_in_name": pax([(b"path", b"a\0../secret")]) + header(b"fine") + END,
    "backslash": archive(file("..\\secret", b"x")),
    "drive": archive(file("C:/secret", b"x")),
    "alternate_data_stream": archive(file("f:stream", b"x")),
    "unc": archive(file("//server/share", b"x")),
    "device_name": archive(file("d/NUL.txt", b"x")),
    "trailing_dot": archive(file("d./x", b"x")),
    "escape_sequence": archive(file("a\x1b]0;x\x07", b"x")),
    "not_utf8": header(b"a\xff\xfe") + END,
    "character_device": archive(member("null", tarfile.CHRTYPE)),
    "block_device": archive(member("sda", tarfile.BLKTYPE)),
    "fifo": archive(member("pipe", tarfile.FIFOTYPE)),
    "sparse": header(b"a", kind=b"S") + END,
    "cve_2025_8194_negative_size": header(b"a", size=b"\xff" * 12) + END,
    "negative_octal_size": header(b"a", size=b"-0000000512\0") + END,
    "base_256_overflow": header(b"a", size=b"\x80" + b"\xff" * 11) + END,
    "size_without_content": header(b"a", size=b"\x80" + (1 << 62).to_bytes(11, "big")) + END,
    # The pax size says that the second header is content; who trusts the first header's own size unpacks it.
    "cve_2025_62518_hidden_by_pax_size": pax([(b"size", b"512")])
    + header(b"outer")
    + header(b"hidden")
    + header(b"../secret")
    + END,
    "duplicate_name": archive(file("a", b"1"), file("a", b"2")),
    "duplicate_by_dot": archive(file("a", b"1"), file("./a", b"1")),
    "case_collision": archive(file("a/File"), file("a/file")),
    "unicode_collision": archive(file("caf\u00e9"), file("cafe\u0301")),
    "directory_over_file": archive(file("a"), directory("a")),
    "file_over_directory": archive(file("a/b"), file("a")),
    "deep": archive(file("d/" * 300 + "f")),
    "deep_directories": archive(directory("d/" * 300)),
    "long_component": archive(file("x" * 300)),
    "long_path": archive(file("/".join(["x" * 200] * 30))),
    "long_link": archive(symlink("l", "x/" * 3000)),
    "zip_in_place_of_tar": b"PK\x03\x04" + bytes(2000),
}


@pytest.mark.parametrize("name", sorted(ARCHIVES))
def test_alone(around: Path, name: str) -> None:
    refused(around, ARCHIVES[name])


@pytest.mark.parametrize("name", sorted(ARCHIVES))
def test_compressed_as_the_second_layer(around: Path, name: str) -> None:
    first = archive(directory("first"), file("first/f", b"first"))
    refused(around, first, gzip.compress(ARCHIVES[name], 1))


def test_cve_2026_42574_one_layer_plants_a_link_and_another_writes_through(around: Path) -> None:
    for number, plant in enumerate((symlink("l", "../neighbour"), symlink("l", "inside"))):
        root = around.parent / f"around{number}"
        (root / "staging").mkdir(parents=True)
        (root / "neighbour").mkdir()
        (root / "neighbour" / "kept").write_bytes(b"kept")
        error = refused(root, archive(plant), archive(file("l/kept", b"overwritten")))
        assert error.code == "through-link"
        assert error.where == "layer 1"


def test_the_writing_layer_may_come_first(around: Path) -> None:
    assert (
        refused(around, archive(file("l/kept", b"x")), archive(symlink("l", "../neighbour"))).code == "layer-conflict"
    )


def test_a_layer_may_not_link_to_what_another_layer_links_to(around: Path) -> None:
    assert refused(around, archive(symlink("l", "inside")), archive(hardlink("h", "l"))).code == "bad-link"


def test_links_of_two_layers_are_judged_together(around: Path) -> None:
    first = archive(file("d/e/f"), symlink("d/e/up", "../.."))
    assert refused(around, first, archive(symlink("out", "d/e/up/../neighbour"))).code == "bad-link"


def test_a_link_in_the_staging_directory_is_not_used(around: Path) -> None:
    (around / "staging" / "d").symlink_to(around / "neighbour")
    before = outside(around)
    with pytest.raises(ProvenderError) as caught:
        TreeWriter(str(around / "staging"))
    assert caught.value.exit_status == 65
    assert outside(around) == before


def test_bombs_end_early(around: Path) -> None:
    limits = Limits(ratio_after_bytes=1 << 20)
    zeros = archive(file("zeros", bytes(32 << 20)))
    assert refused(around, gzip.compress(zeros, 9), limits=limits).code == "decompression-bomb"
    left = on_disk(around / "staging")
    assert sum(len(content) for _, _, content in left.values()) < 16 << 20


def test_many_entries_end_early(around: Path) -> None:
    many = archive(*[file(f"d{number}/f") for number in range(500)])
    assert refused(around, many, limits=Limits(entries=100)).code == "too-many-entries"
    assert len(on_disk(around / "staging")) <= 100


def test_headers_without_entries_are_counted(around: Path) -> None:
    endless = pax([(b"comment", b"x")], kind=b"g") + header(b"./", kind=b"5")
    assert refused(around, endless * 500 + END, limits=Limits(entries=100)).code == "too-many-entries"


def test_hard_links_cannot_multiply_content(around: Path) -> None:
    raw = archive(file("f", b"x" * 100_000), *[hardlink(f"h{number}", "f") for number in range(100)])
    assert refused(around, raw, limits=Limits(link_bytes=1 << 20)).code == "too-large"
    assert set(on_disk(around / "staging")) == {"f"}


def test_total_size_counts_over_layers(around: Path) -> None:
    limits = Limits(total_bytes=150_000)
    layers = [archive(file(f"f{number}", bytes(100_000))) for number in range(2)]
    assert refused(around, *layers, limits=limits).code == "too-large"
