"""The sources that ask nobody: inline, directory and manual, through whole runs."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from provender.errors import Conflict, IntegrityError, InvalidProject, NotFound, ProvenderError
from provender.project.lock import Lock
from support.local_project import LocalProject


@pytest.fixture
def project(tmp_path: Path) -> LocalProject:
    made = LocalProject(tmp_path)
    made.publish("x", "1.0.0", {"a.txt": "one", "docs/b.txt": "b"})
    (tmp_path / "shared").mkdir()
    (tmp_path / "shared/conf.d").mkdir()
    (tmp_path / "shared/conf.d/a.conf").write_text("a")
    (tmp_path / "shared/run.sh").write_text("#!/bin/sh\n")
    (tmp_path / "shared/run.sh").chmod(0o755)
    (tmp_path / "shared/link").symlink_to("conf.d/a.conf")
    return made


def shared(project: LocalProject) -> Path:
    return project.directory.parent / "shared"


def refused(project: LocalProject, kind: type[ProvenderError], code: str, **options: bool) -> ProvenderError:
    """The error of a sync, which changes nothing."""
    before = project.look()
    with pytest.raises(kind) as caught:
        project.sync(**options)
    assert caught.value.code == code
    assert caught.value.hint
    assert caught.value.where
    assert project.look() == before
    assert project.leftovers() == []
    return caught.value


# --- inline


def test_inline_files_are_laid_and_locked_by_their_tree(project: LocalProject) -> None:
    project.depend(notes={"inline": {"README.md": "generated\n", "a/b/c.txt": "ä"}})
    assert project.actions() == {"vendor/notes": "installed"}
    assert project.files("vendor/notes") == {"README.md": "generated\n", "a/b/c.txt": "ä"}
    assert list(project.lock["notes"]) == ["source", "tree", "to"]
    assert project.actions() == {"vendor/notes": "unchanged"}
    assert project.actions(locked=True) == {"vendor/notes": "unchanged"}


def test_changed_inline_content_is_stale_and_then_laid(project: LocalProject) -> None:
    project.depend(notes={"inline": {"a": "1"}})
    project.sync()
    project.depend(notes={"inline": {"a": "2"}})
    error = refused(project, InvalidProject, "lock-stale", locked=True)
    assert "its files changed" in error.message
    assert project.actions() == {"vendor/notes": "updated"}
    assert project.files("vendor/notes") == {"a": "2"}


def test_inline_files_are_selected_as_all_others(project: LocalProject) -> None:
    project.depend(
        notes={"inline": {"x/a.md": "a", "x/b.txt": "b", "y": "y"}, "include": ["**/*.md", "y"], "root": "x"}
    )
    project.sync()
    assert project.files("vendor/notes") == {"a.md": "a"}
    assert project.lock["notes"]["selection"] == {"include": ["**/*.md", "y"], "root": "x"}
    project.depend(notes={"inline": {"a": "1"}, "include": ["b"]})
    refused(project, NotFound, "nothing-selected")
    project.depend(notes={"inline": {"a": "1"}, "root": "b"})
    refused(project, NotFound, "no-such-root")


@pytest.mark.parametrize(
    ("files", "code"),
    [
        ({}, "empty-choice"),
        ({"/etc/x": ""}, "invalid-path"),
        ({"../x": ""}, "invalid-path"),
        ({"a/../../x": ""}, "invalid-path"),
        ({"con.txt": ""}, "invalid-path"),
        ({"a\\b": ""}, "invalid-path"),
        ({"x" * 256: ""}, "invalid-path"),
        ({"A": "", "a": ""}, "inline-clash"),
        ({"a": "", "A/b": ""}, "inline-clash"),
        ({"A/b": "", "a": ""}, "inline-clash"),
        ({"a": "", "./a": ""}, "inline-clash"),
    ],
)
def test_inline_files_that_cannot_be_written_are_told_with_their_place(
    project: LocalProject, files: dict[str, str], code: str
) -> None:
    project.depend(notes={"inline": files})
    error = refused(project, InvalidProject, code)
    assert "provender.yaml:" in (error.where or "")


# --- directory


def test_a_directory_is_copied_with_modes_and_links(project: LocalProject) -> None:
    project.depend(conf={"directory": "../shared", "exclude": ["**/*.bak"]})
    (shared(project) / "x.bak").write_text("no")
    assert project.actions() == {"vendor/conf": "installed"}
    laid = project.path("vendor/conf")
    assert sorted(os.listdir(laid)) == ["conf.d", "link", "run.sh"]
    assert os.readlink(laid / "link") == "conf.d/a.conf"
    assert (laid / "run.sh").stat().st_mode & 0o777 == 0o755
    assert (laid / "conf.d/a.conf").stat().st_mode & 0o777 == 0o644
    entry = project.lock["conf"]
    assert list(entry) == ["source", "path", "selection", "tree", "to"]
    assert str(project.directory) not in json.dumps(entry)


def test_a_directory_is_followed_as_it_changes(project: LocalProject) -> None:
    project.depend(conf={"directory": "../shared"})
    project.sync()
    assert project.actions() == {"vendor/conf": "unchanged"}
    (shared(project) / "conf.d/a.conf").write_text("changed")
    assert project.actions() == {"vendor/conf": "updated"}
    assert project.files("vendor/conf")["conf.d/a.conf"] == "changed"


def test_an_unchanged_directory_is_not_read_and_a_changed_one_is_seen(
    project: LocalProject, monkeypatch: pytest.MonkeyPatch
) -> None:
    from provender.project.sources import directory
    from provender.project.stat_index import unchanged_count

    for path in shared(project).rglob("*"):
        os.utime(path, (1_000_000_000, 1_000_000_000), follow_symlinks=False)
    os.utime(shared(project), (1_000_000_000, 1_000_000_000))
    project.path("mine").mkdir()
    os.utime(project.path("mine"), (1_000_000_000, 1_000_000_000))
    project.depend(conf={"directory": "../shared"}, mine={"manual": True, "to": "mine"}, x="acme/x:1.0.0")
    project.sync()
    assert project.synchroniser().is_up_to_date()
    assert unchanged_count(str(project.directory)) == 3
    opened: list[str] = []
    monkeypatch.setattr(directory, "_opened", opened.append)
    assert set(project.actions().values()) == {"unchanged"}
    assert opened == []
    monkeypatch.undo()
    (shared(project) / "run.sh").write_text("changed")
    assert unchanged_count(str(project.directory)) is None
    assert not project.synchroniser().is_up_to_date()
    project.sync(locked=True)
    assert not project.synchroniser().is_up_to_date()
    assert project.actions()["vendor/conf"] == "updated"
    project.path("mine").rmdir()
    assert unchanged_count(str(project.directory)) is None
    assert not project.synchroniser().is_up_to_date()


def test_a_locked_directory_that_changed_is_not_laid(project: LocalProject) -> None:
    project.depend(conf={"directory": "../shared"})
    project.sync()
    (shared(project) / "new").write_text("new")
    assert project.actions(locked=True) == {"vendor/conf": "unchanged"}
    (project.path("vendor/conf") / "run.sh").unlink()
    refused(project, Conflict, "directory-changed", locked=True)
    assert project.actions() == {"vendor/conf": "updated"}


def test_root_and_include_choose_of_a_directory(project: LocalProject) -> None:
    project.depend(conf={"directory": "../shared", "root": "conf.d", "include": ["**/*.conf"]})
    project.sync()
    assert project.files("vendor/conf") == {"a.conf": "a"}


def test_special_files_and_names_that_are_not_for_everywhere_are_refused(project: LocalProject) -> None:
    project.depend(conf={"directory": "../shared"}, other="acme/x:1.0.0")
    os.mkfifo(shared(project) / "pipe")
    refused(project, IntegrityError, "special-file")
    (shared(project) / "pipe").unlink()
    (shared(project) / "RUN.SH").write_text("")
    refused(project, IntegrityError, "case-collision")
    (shared(project) / "RUN.SH").unlink()
    (shared(project) / "nul.txt").write_text("")
    refused(project, IntegrityError, "bad-name")
    (shared(project) / "nul.txt").unlink()
    (shared(project) / "out").symlink_to("../../etc")
    refused(project, IntegrityError, "bad-link")
    (shared(project) / "out").unlink()
    project.sync()
    project.depend(conf={"directory": "../shared", "root": "conf.d", "to": "v"}, other="acme/x:1.0.0")
    (shared(project) / "conf.d/up").symlink_to("../run.sh")
    refused(project, IntegrityError, "bad-link")


@pytest.mark.parametrize(
    ("path", "kind", "code"),
    [
        ("../none", NotFound, "no-directory"),
        ("../shared/run.sh", NotFound, "no-directory"),
        ("..", InvalidProject, "directory-overlaps"),
        ("vendor", InvalidProject, "directory-overlaps"),
        ("vendor/conf/x", InvalidProject, "directory-overlaps"),
        ("../empty", NotFound, "nothing-selected"),
    ],
)
def test_directories_that_cannot_be_copied_are_refused(
    project: LocalProject, path: str, kind: type[ProvenderError], code: str
) -> None:
    (project.directory.parent / "empty").mkdir()
    (project.path("vendor/conf/x")).mkdir(parents=True)
    project.depend(conf={"directory": path})
    error = refused(project, kind, code)
    assert "provender.yaml" in (error.where or "")


@pytest.mark.parametrize("path", ["/etc", ".", "", "a\\b", "../../..x/../..", "C:/x", "a//b"])
def test_what_is_no_path_of_a_directory_is_told_with_its_place(project: LocalProject, path: str) -> None:
    project.depend(conf={"directory": path})
    assert "provender.yaml:" in (refused(project, InvalidProject, "invalid-directory").where or "")


# --- manual


def test_what_is_kept_by_hand_is_left_alone_and_only_checked(project: LocalProject) -> None:
    mine = project.path("vendor/mine")
    mine.mkdir(parents=True)
    (mine / "file").write_text("mine")
    project.depend(mine={"manual": True}, other="acme/x:1.0.0")
    assert project.actions() == {"vendor/mine": "unchanged", "vendor/other": "installed"}
    assert project.lock["mine"] == {"source": "manual", "to": "vendor/mine"}
    (mine / "file").write_text("changed")
    assert project.actions(forced=True) == {"vendor/mine": "unchanged", "vendor/other": "unchanged"}
    assert project.check().is_clean
    (mine / "file").unlink()
    mine.rmdir()
    assert [finding.problem for finding in project.check().findings] == ["it is not there", None]


def test_what_is_kept_by_hand_has_to_be_there(project: LocalProject) -> None:
    project.depend(mine={"manual": True}, other="acme/x:1.0.0")
    error = refused(project, NotFound, "manual-missing")
    assert "vendor/mine" in error.message
    project.path("vendor").mkdir()
    project.path("vendor/mine").write_text("a file")
    refused(project, Conflict, "destination-occupied")


def test_what_was_kept_by_hand_stays_when_it_leaves_the_manifest(project: LocalProject) -> None:
    mine = project.path("vendor/mine")
    mine.mkdir(parents=True)
    (mine / "file").write_text("mine")
    project.depend(mine={"manual": True})
    project.sync()
    project.depend()
    project.sync(forced=True)
    assert (mine / "file").read_text() == "mine"
    assert project.lock == {}


def test_what_is_kept_by_hand_survives_the_directory_around_it(project: LocalProject) -> None:
    project.depend(x={"oci": "acme/x", "tag": "1.0.0", "to": "vendor"})
    project.sync()
    project.depend(mine={"manual": True, "to": "vendor/docs"}, y={"oci": "acme/x", "tag": "1.0.0", "to": "vendor/y"})
    project.sync()
    assert project.files("vendor/docs") == {"b.txt": "b"}
    assert project.files("vendor/y")["a.txt"] == "one"


def test_manual_takes_no_selection(project: LocalProject) -> None:
    project.depend(mine={"manual": True, "include": ["x"]})
    refused(project, InvalidProject, "unknown-key")
    project.depend(mine={"manual": False})
    refused(project, InvalidProject, "invalid-value")


def test_locks_of_all_local_kinds_read_back(project: LocalProject) -> None:
    project.path("vendor/mine").mkdir(parents=True)
    project.depend(mine={"manual": True}, conf={"directory": "../shared"}, notes={"inline": {"a": "b"}})
    project.sync()
    path = project.directory / "provender.lock"
    lock = Lock.load(path)
    assert lock is not None
    assert lock.dump() == path.read_bytes()
    assert Lock.parse(json.dumps(json.loads(path.read_bytes())).encode()) == lock
