"""Staging: directories beside their destinations that never outlive a run, and the files that move over."""

from __future__ import annotations

import os
import stat
from contextlib import suppress
from pathlib import Path

import pytest

from provender.artifact.tree import Entry
from provender.errors import Conflict, InvalidProject
from provender.oci import Digest
from provender.project.drift import kept_by
from provender.project.lock_entry import LockedOci
from provender.project.origin import Requested
from provender.project.staging import Staged, Staging, carry_over, settle
from provender.project.state import STATE_DIRECTORY
from provender.project.swap import Swap, recover
from support.workspace import everything


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A project's directory."""
    path = tmp_path / "project"
    (path / STATE_DIRECTORY).mkdir(parents=True)
    return path


def test_a_staging_directory_lies_beside_its_destination_and_goes(root: Path) -> None:
    with Staging(str(root)) as staging:
        path = Path(staging.make(str(root / "deep/down/x")))
        other = Path(staging.make(str(root / "deep/down/x")))
        assert path.parent == root / "deep/down"
        assert path != other
        (path / "file").write_text("x")
    assert sorted(os.listdir(root)) == [STATE_DIRECTORY]


def test_directories_that_were_there_stay(root: Path) -> None:
    (root / "vendor/empty").mkdir(parents=True)
    before = everything(root)
    with suppress(KeyboardInterrupt), Staging(str(root)) as staging:
        staging.make(str(root / "vendor/empty/deeper/x"))
        staging.make(str(root / "vendor/y"))
        raise KeyboardInterrupt
    assert everything(root) == before


def test_what_was_swapped_in_stays(root: Path) -> None:
    with Staging(str(root)) as staging:
        path = Path(staging.make(str(root / "vendor/x")))
        (path / "file").write_text("x")
        Swap(str(root)).replace(str(path), str(root / "vendor/x"))
    assert (root / "vendor/x/file").read_text() == "x"


def test_a_frame_holds_staged_directories(root: Path) -> None:
    with Staging(str(root)) as staging:
        parts = {}
        for name in ("one", "deep/two"):
            path = Path(staging.make(str(root / "vendor/x")))
            (path / "file").write_text(name)
            parts[name] = str(path)
        frame = Path(staging.frame(str(root / "vendor/x"), parts))
        assert (frame / "deep/two/file").read_text() == "deep/two"
        assert sorted(os.listdir(frame)) == ["deep", "one"]
        assert os.listdir(root / "vendor") == [frame.name]
    assert sorted(os.listdir(root)) == [STATE_DIRECTORY]


def test_a_directory_that_nobody_may_write_goes_too(root: Path) -> None:
    with Staging(str(root)) as staging:
        path = Path(staging.make(str(root / "vendor/x")))
        (path / "sub").mkdir()
        (path / "sub/file").write_text("x")
        (path / "sub").chmod(0o500)
    assert sorted(os.listdir(root)) == [STATE_DIRECTORY]


def test_a_killed_run_is_known_by_what_it_announced(root: Path) -> None:
    killed = Staging(str(root))
    killed.announce(["vendor/x", "other/ü"])
    path = Path(killed.make(str(root / "vendor/x")))
    (path / "file").write_text("x")
    assert Staging.announced(str(root)) == ("vendor/x", "other/ü")
    recover(str(root / "vendor/x"))
    assert os.listdir(root / "vendor") == []
    with Staging(str(root)):
        pass
    assert Staging.announced(str(root)) == ()


def test_an_announcement_that_was_made_up_leads_nowhere(root: Path) -> None:
    (root / STATE_DIRECTORY / "staging").write_bytes(b"../outside\n/etc\nvendor/../..\n.git/x\n\xff\n\nvendor/fine\n")
    assert [each for each in Staging.announced(str(root)) if "\ufffd" not in each] == ["vendor/fine"]


def locked(tree: Digest | None) -> LockedOci:
    return LockedOci(
        registry="acme",
        repository="x",
        requested=Requested(tag="1"),
        tag="1",
        digest=Digest.of(b"d"),
        media_type="application/x",
        artifact_type=None,
        layers=(),
        tree=tree,
        to="vendor/x",
    )


def test_a_staged_directory_is_recorded_with_its_content_but_not_what_is_kept(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / name).write_text(name)
    staged = Staged(path=str(tmp_path), entries=tuple(Entry(name, "f", "644", name, 1) for name in ("a", "b")))
    settle()
    state = staged.record(locked(Digest.of(b"t")), keep=("b",))
    assert [entry.path for entry in state.files] == ["a"]
    assert (state.contents, state.keep) == (["a"], ("b",))
    assert state.compare(str(tmp_path), kept=kept_by(("b",))).is_unchanged
    with pytest.raises(InvalidProject, match="tree of vendor/x is not known"):
        staged.record(locked(None), keep=())


@pytest.fixture
def old(tmp_path: Path) -> Path:
    """A destination with files of several kinds."""
    path = tmp_path / "old"
    (path / "local/deep").mkdir(parents=True)
    (path / "local/deep/mine").write_text("mine")
    (path / "local/link").symlink_to("deep")
    (path / "local/secret").write_text("s")
    (path / "local/secret").chmod(0o600)
    (path / "a").write_text("old")
    return path


@pytest.fixture
def new(tmp_path: Path) -> Path:
    path = tmp_path / "new"
    path.mkdir()
    (path / "a").write_text("new")
    return path


def test_without_patterns_nothing_is_carried_over(old: Path, new: Path) -> None:
    carry_over(str(old), str(new), kept=None)
    carry_over(str(old), str(new), kept=kept_by(("other/**",)))
    assert os.listdir(new) == ["a"]


def test_kept_files_are_carried_over_and_stay(old: Path, new: Path) -> None:
    before = everything(old)
    carry_over(str(old), str(new), kept=kept_by(("local/**", "a")))
    assert (new / "local/deep/mine").read_text() == "mine"
    assert os.readlink(new / "local/link") == "deep"
    assert stat.S_IMODE((new / "local/secret").stat().st_mode) == 0o600
    assert (new / "a").read_text() == "old"
    assert everything(old) == before


def test_kept_files_are_copied_where_links_cannot_be_made(
    old: Path, new: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(*_: object, **__: object) -> None:
        raise PermissionError("no links here")

    monkeypatch.setattr(os, "link", refused)
    carry_over(str(old), str(new), kept=kept_by(("local/**",)))
    assert (new / "local/deep/mine").read_text() == "mine"
    assert os.readlink(new / "local/link") == "deep"
    assert stat.S_IMODE((new / "local/secret").stat().st_mode) == 0o600


@pytest.mark.parametrize("kind", ["file", "link", "directory"])
def test_a_kept_file_never_goes_through_something_of_the_artifact(old: Path, new: Path, kind: str) -> None:
    kept = kept_by(("local/**",))
    if kind == "file":
        (new / "local").write_text("x")
    elif kind == "link":
        (new / "elsewhere").mkdir()
        (new / "local").symlink_to("elsewhere")
    else:
        (new / "local/secret/x").mkdir(parents=True)
    with pytest.raises(Conflict) as caught:
        carry_over(str(old), str(new), kept=kept)
    assert caught.value.code == "kept-clash"
    if kind == "link":
        assert os.listdir(new / "elsewhere") == []
