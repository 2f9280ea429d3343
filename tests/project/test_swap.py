"""Swap: all or none, by rename, and repaired after a crash."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from provender.errors import Conflict
from provender.project import swap
from provender.project.swap import Swap, recover, staging_name


@pytest.fixture(params=["exchange", "two renames"])
def _kernel(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    if request.param == "two renames":
        monkeypatch.setattr(swap, "_exchange", lambda *_: False)


def make(path: Path, content: str) -> Path:
    path.mkdir(parents=True)
    (path / "file").write_text(content)
    return path


def stage(destination: Path, content: str) -> str:
    return str(make(Path(staging_name(str(destination))), content))


@pytest.mark.usefixtures("_kernel")
def test_new_and_old_destinations_are_replaced(tmp_path: Path) -> None:
    old, fresh = make(tmp_path / "vendor/old", "1"), tmp_path / "vendor/new"
    change = Swap(str(tmp_path))
    change.replace(stage(old, "2"), str(old))
    change.replace(stage(fresh, "3"), str(fresh))
    change.finish()
    assert (old / "file").read_text() == "2"
    assert (fresh / "file").read_text() == "3"
    assert sorted(os.listdir(tmp_path / "vendor")) == ["new", "old"]


@pytest.mark.usefixtures("_kernel")
def test_roll_back_restores_everything(tmp_path: Path) -> None:
    one, two, fresh = make(tmp_path / "v/one", "1"), make(tmp_path / "v/two", "2"), tmp_path / "v/new"
    change = Swap(str(tmp_path))
    change.replace(stage(one, "x"), str(one))
    change.remove(str(two))
    change.replace(stage(fresh, "x"), str(fresh))
    change.roll_back()
    for destination in (one, two, fresh):
        recover(str(destination))
    assert (one / "file").read_text() == "1"
    assert (two / "file").read_text() == "2"
    assert sorted(os.listdir(tmp_path / "v")) == ["one", "two"]


@pytest.mark.usefixtures("_kernel")
@pytest.mark.parametrize("step", range(3))
def test_an_interrupt_between_any_two_steps_is_undone(
    tmp_path: Path, step: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    one, two = make(tmp_path / "v/one", "1"), make(tmp_path / "v/two", "2")
    change = Swap(str(tmp_path))
    renames = 0
    rename = os.rename

    def interrupted(source: str, target: str) -> None:
        nonlocal renames
        if renames == step:
            raise KeyboardInterrupt
        renames += 1
        rename(source, target)

    monkeypatch.setattr(os, "rename", interrupted)

    def carry_out() -> None:
        for _ in range(2):
            change.replace(stage(one, "x"), str(one))
            change.remove(str(two))

    with pytest.raises(KeyboardInterrupt):
        carry_out()
    monkeypatch.setattr(os, "rename", rename)
    change.roll_back()
    recover(str(one))
    recover(str(two))
    assert (one / "file").read_text() == "1"
    assert (two / "file").read_text() == "2"
    assert sorted(os.listdir(tmp_path / "v")) == ["one", "two"]


def test_recover_brings_back_what_a_killed_run_had_moved_aside(tmp_path: Path) -> None:
    one = make(tmp_path / "v/one", "1")
    one.rename(tmp_path / "v/.one.provender-old-00aa")
    make(tmp_path / "v/.one.provender-new-00bb", "2")
    (tmp_path / "v/.one.provender-new-link").symlink_to(tmp_path)
    recover(str(one))
    assert os.listdir(tmp_path / "v") == ["one"]
    assert (one / "file").read_text() == "1"
    assert tmp_path.exists()


def test_recover_leaves_other_names_alone(tmp_path: Path) -> None:
    make(tmp_path / "v/.two.provender-new-1", "x")
    make(tmp_path / "v/.one.other", "x")
    recover(str(tmp_path / "v/one"))
    recover(str(tmp_path / "absent/one"))
    assert sorted(os.listdir(tmp_path / "v")) == [".one.other", ".two.provender-new-1"]


def test_removing_the_last_destination_removes_empty_parents_but_not_the_project(tmp_path: Path) -> None:
    one = make(tmp_path / "a/b/one", "1")
    change = Swap(str(tmp_path))
    change.remove(str(one))
    change.finish()
    assert os.listdir(tmp_path) == []
    assert tmp_path.exists()


def test_a_destination_that_is_a_link_is_refused(tmp_path: Path) -> None:
    make(tmp_path / "elsewhere", "1")
    link = tmp_path / "link"
    link.symlink_to("elsewhere")
    with pytest.raises(Conflict, match="symbolic link"):
        Swap(str(tmp_path)).replace(stage(link, "2"), str(link))
    assert (tmp_path / "elsewhere/file").read_text() == "1"
