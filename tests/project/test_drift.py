"""Drift: what differs from what was laid, found by looking and, where looking is not enough, by hashing."""

from __future__ import annotations

import os
import shutil
import time
from pathlib import Path

import pytest

from provender.artifact.tree import Entry, tree_digest
from provender.oci import Digest
from provender.project.drift import (
    Drift,
    compare_with_entries,
    compare_with_state,
    is_foreign,
    kept_by,
    read_entries,
    recorded_entries,
)
from provender.project.state import DestinationState

FILES = {"a.txt": b"a", "run": b"#!", "sub/b.txt": b"b"}


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """Three files, one of them executable, and a link, all older than a moment."""
    top = tmp_path / "tree"
    for name, content in FILES.items():
        (top / name).parent.mkdir(parents=True, exist_ok=True)
        (top / name).write_bytes(content)
    (top / "run").chmod(0o755)
    (top / "link").symlink_to("sub/b.txt")
    then = time.time_ns() - 3600 * 10**9
    for place, directories, files in os.walk(top):
        for name in (*directories, *files, "."):
            os.utime(os.path.join(place, name), ns=(then, then), follow_symlinks=False)
    return top


def entries(top: Path) -> tuple[Entry, ...]:
    return tuple(entry for entry in read_entries(str(top), kept=None).values() if entry is not None)


def state(top: Path, *, keep: tuple[str, ...] = ()) -> DestinationState:
    found = entries(top)
    return DestinationState.record(
        str(top),
        tree=tree_digest(found),
        identity=Digest.of(b"identity"),
        contents={entry.path: entry.content for entry in found},
        keep=keep,
        kept=kept_by(keep),
    )


def test_entries_are_what_lies_there(tree: Path) -> None:
    assert entries(tree) == (
        Entry("a.txt", "f", "644", Digest.of(b"a").encoded, 1),
        Entry("link", "l", "-", "sub/b.txt", 0),
        Entry("run", "f", "755", Digest.of(b"#!").encoded, 2),
        Entry("sub/b.txt", "f", "644", Digest.of(b"b").encoded, 1),
    )
    assert read_entries(str(tree / "absent"), kept=None) == {}
    assert read_entries(str(tree / "a.txt"), kept=None) == {}


def test_what_no_artifact_can_lay_has_no_entry(tree: Path) -> None:
    os.mkfifo(tree / "pipe")
    (tree / os.fsdecode(b"\xff")).write_text("x")
    found = read_entries(str(tree), kept=None)
    assert [path for path, entry in found.items() if entry is None] == ["\\udcff", "pipe"]


def test_an_untouched_tree_has_no_drift(tree: Path) -> None:
    recorded = state(tree)
    assert compare_with_state(str(tree), recorded, kept=None) == Drift()
    assert compare_with_state(str(tree), recorded, kept=None, deep=True).is_none
    assert compare_with_entries(str(tree), entries(tree), kept=None).is_none


def change(tree: Path) -> Drift:
    """Every kind of change, and what it should be found as."""
    (tree / "a.txt").write_bytes(b"b")
    (tree / "run").chmod(0o644)
    (tree / "sub/b.txt").unlink()
    (tree / "link").unlink()
    (tree / "link").symlink_to("a.txt")
    (tree / "new/deep").mkdir(parents=True)
    (tree / "new/deep/file").write_bytes(b"")
    return Drift(missing=("sub/b.txt",), changed=("a.txt", "link", "run"), extra=("new/deep/file",))


def test_every_kind_of_change_is_found(tree: Path) -> None:
    recorded, before = state(tree), entries(tree)
    expected = change(tree)
    assert compare_with_state(str(tree), recorded, kept=None) == expected
    assert compare_with_state(str(tree), recorded, kept=None, deep=True) == expected
    assert compare_with_entries(str(tree), before, kept=None) == expected
    assert expected.local == ("a.txt", "link", "new/deep/file", "run")


@pytest.mark.parametrize("kind", ["directory", "link", "pipe"])
def test_something_else_in_a_files_place_is_a_change(tree: Path, kind: str) -> None:
    recorded, before = state(tree), entries(tree)
    (tree / "a.txt").unlink()
    if kind == "directory":
        (tree / "a.txt").mkdir()
        expected = Drift(missing=("a.txt",))
    elif kind == "link":
        (tree / "copy").write_bytes(b"a")
        (tree / "a.txt").symlink_to("copy")
        expected = Drift(changed=("a.txt",), extra=("copy",))
    else:
        os.mkfifo(tree / "a.txt")
        expected = Drift(changed=("a.txt",))
    assert compare_with_state(str(tree), recorded, kept=None) == expected
    assert compare_with_entries(str(tree), before, kept=None) == expected


def test_a_touched_file_is_hashed_and_found_unchanged(tree: Path) -> None:
    recorded = state(tree)
    os.utime(tree / "a.txt")
    shutil.copy2(tree / "sub/b.txt", tree / "copy")
    (tree / "copy").replace(tree / "sub/b.txt")
    assert compare_with_state(str(tree), recorded, kept=None).is_none


def test_only_a_deep_look_finds_what_has_its_old_times_and_size(tree: Path) -> None:
    recorded = state(tree)
    times = (tree / "a.txt").stat()
    with open(tree / "a.txt", "r+b") as file:
        file.write(b"z")
    os.utime(tree / "a.txt", ns=(times.st_atime_ns, times.st_mtime_ns))
    assert compare_with_state(str(tree), recorded, kept=None).is_none
    assert compare_with_state(str(tree), recorded, kept=None, deep=True) == Drift(changed=("a.txt",))


def test_kept_files_do_not_count(tree: Path) -> None:
    before = entries(tree)
    kept = kept_by(("a.txt", "new/**"))
    recorded = state(tree, keep=("a.txt", "new/**"))
    change(tree)
    expected = Drift(missing=("sub/b.txt",), changed=("link", "run"))
    assert compare_with_state(str(tree), recorded, kept=kept) == expected
    assert compare_with_state(str(tree), recorded, kept=kept, deep=True) == expected
    assert compare_with_entries(str(tree), before, kept=kept) == expected
    assert kept_by(()) is None


def test_a_directory_that_is_gone_misses_everything(tree: Path) -> None:
    recorded, before = state(tree), entries(tree)
    shutil.rmtree(tree)
    everything = tuple(entry.path for entry in before)
    assert compare_with_state(str(tree), recorded, kept=None) == Drift(missing=everything)
    assert compare_with_entries(str(tree), before, kept=None) == Drift(missing=everything)


def test_a_state_tells_the_tree_that_it_was_recorded_from(tree: Path) -> None:
    assert tree_digest(recorded_entries(state(tree))) == tree_digest(entries(tree))


def test_a_state_of_other_inodes_is_foreign(tree: Path, tmp_path: Path) -> None:
    recorded = state(tree)
    assert not is_foreign(recorded, recorded.compare(str(tree)), kept=None)
    (tree / "a.txt").write_bytes(b"changed")
    (tree / "run").unlink()
    assert not is_foreign(recorded, recorded.compare(str(tree)), kept=None)
    # As a checkout brings it, or a copy to another machine: the same times at best, never the same inodes.
    shutil.copytree(tree, tmp_path / "copy", symlinks=True)
    assert is_foreign(recorded, recorded.compare(str(tmp_path / "copy")), kept=None)
    assert not is_foreign(recorded, recorded.compare(str(tmp_path / "absent")), kept=None)


def test_what_is_kept_does_not_make_a_state_native(tree: Path, tmp_path: Path) -> None:
    recorded = state(tree)
    shutil.copytree(tree, tmp_path / "copy", symlinks=True)
    kept = kept_by(("a.txt",))
    assert is_foreign(recorded, recorded.compare(str(tmp_path / "copy"), kept=kept), kept=kept)
