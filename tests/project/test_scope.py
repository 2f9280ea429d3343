"""A part of a project, and its update: what moves, and that nothing else does."""

from __future__ import annotations

from pathlib import Path

import pytest

from provender.errors import Conflict, InvalidProject, NotFound
from support.local_project import LocalProject


@pytest.fixture
def project(tmp_path: Path) -> LocalProject:
    """Two dependencies, synced; of each there is more to come."""
    made = LocalProject(tmp_path)
    for name in ("x", "y"):
        made.publish(name, "1.0.0", {"a.txt": f"{name} one", "same.txt": "same", "old.txt": "old"})
    made.depend(
        x={"oci": "acme/x", "version": "^1"},
        y={"oci": "acme/y", "version": "^1"},
    )
    made.sync()
    for name in ("x", "y"):
        made.publish(name, "1.1.0", {"a.txt": f"{name} two", "same.txt": "same", "new.txt": "new"})
        made.publish(name, "2.0.0", {"a.txt": f"{name} three"})
    return made


def test_a_sync_keeps_what_is_locked_and_an_update_moves_it_within_its_range(project: LocalProject) -> None:
    assert {change.action for change in project.sync().changes} == {"unchanged"}
    report = project.sync(updating=True)
    assert [(each.name, each.action, each.before_tag, each.tag) for each in report.changes] == [
        ("x", "updated", "1.0.0", "1.1.0"),
        ("y", "updated", "1.0.0", "1.1.0"),
    ]
    difference = report.changes[0].difference
    assert difference is not None
    assert (difference.added, difference.removed, difference.modified) == (1, 1, 1)
    assert project.files("vendor/x") == {"a.txt": "x two", "same.txt": "same", "new.txt": "new"}
    assert project.sync(updating=True).is_nothing


def test_an_update_of_one_leaves_the_other_as_it_is(project: LocalProject) -> None:
    before = project.look()
    report = project.sync(updating=True, names=("x",))
    assert [change.name for change in report.changes] == ["x"]
    assert project.lock["x"]["tag"] == "1.1.0"
    assert project.lock["y"]["tag"] == "1.0.0"
    after = project.look()
    assert {path: seen for path, seen in after.items() if path.startswith("vendor/y")} == {
        path: seen for path, seen in before.items() if path.startswith("vendor/y")
    }
    assert project.check().is_clean
    assert project.sync().is_nothing


def test_an_update_follows_a_tag_that_was_moved(project: LocalProject) -> None:
    project.depend(x={"oci": "acme/x", "tag": "1.0.0"})
    project.sync()
    moved = project.publish("x", "1.0.0", {"a.txt": "another"})
    assert project.sync().is_nothing
    change = project.sync(updating=True).changes[0]
    assert (change.action, change.digest, change.tag, change.before_tag) == ("updated", moved.digest, "1.0.0", "1.0.0")


def test_a_digest_in_the_manifest_never_moves(project: LocalProject) -> None:
    digest = project.lock["x"]["digest"]
    project.depend(x={"oci": "acme/x", "tag": "1.0.0", "digest": digest})
    project.sync()
    project.publish("x", "1.0.0", {"a.txt": "another"})
    assert project.sync(updating=True).is_nothing


def test_an_update_of_the_lock_alone_leaves_the_files(project: LocalProject) -> None:
    project.sync(updating=True, lock_only=True)
    assert project.lock["x"]["tag"] == "1.1.0"
    assert project.files("vendor/x")["a.txt"] == "x one"


def test_a_part_is_synced_though_the_rest_is_not_as_the_manifest_wants_it(project: LocalProject) -> None:
    project.publish("z", "1", {"z.txt": "z"})
    project.depend(
        x={"oci": "acme/x", "version": "^1", "to": "elsewhere/x"},
        z={"oci": "acme/z", "tag": "1"},
        missing={"oci": "acme/nowhere", "tag": "1"},
    )
    report = project.sync(names=("x",))
    assert [(change.name, change.action, change.to) for change in report.changes] == [
        ("x", "installed", "elsewhere/x"),
        ("x", "removed", "vendor/x"),
    ]
    # y left the manifest and z came into it: both are for a sync of the whole project.
    assert sorted(project.lock) == ["x", "y"]
    assert project.files("vendor/y")["a.txt"] == "y one"
    assert not project.path("vendor/z").exists()
    assert not project.synchroniser().is_up_to_date()


def test_after_a_part_the_whole_is_still_to_be_done(project: LocalProject) -> None:
    project.path("vendor/y/a.txt").unlink()
    project.sync(names=("x",))
    assert not project.path("vendor/y/a.txt").exists()
    assert not project.synchroniser().is_up_to_date()
    assert project.actions() == {"vendor/x": "unchanged", "vendor/y": "repaired"}
    assert project.synchroniser().is_up_to_date()


def test_local_changes_elsewhere_do_not_stop_a_part(project: LocalProject) -> None:
    project.path("vendor/y/a.txt").write_text("mine")
    project.sync(updating=True, names=("x",))
    assert project.files("vendor/y")["a.txt"] == "mine"
    with pytest.raises(Conflict) as caught:
        project.sync(updating=True)
    assert caught.value.code == "local-changes"


def test_locked_looks_at_the_named_ones_alone(project: LocalProject) -> None:
    project.depend(x={"oci": "acme/x", "version": "^1"}, y={"oci": "acme/y", "version": "^2"})
    project.sync(names=("x",), locked=True)
    with pytest.raises(InvalidProject) as caught:
        project.sync(names=("y",), locked=True)
    assert caught.value.code == "lock-stale"


def test_the_place_of_another_one_is_not_taken(project: LocalProject) -> None:
    project.depend(
        x={"oci": "acme/x", "version": "^1", "to": "vendor/y"},
        y={"oci": "acme/y", "version": "^1", "to": "vendor/x"},
    )
    before = project.look()
    with pytest.raises(Conflict) as caught:
        project.sync(names=("x",))
    assert caught.value.code == "destination-in-use"
    assert "still in use by y" in caught.value.message
    assert project.look() == before
    assert project.actions() == {"vendor/x": "updated", "vendor/y": "updated"}


def test_an_unknown_name_is_an_error_that_knows_the_near_one(project: LocalProject) -> None:
    with pytest.raises(NotFound) as caught:
        project.sync(names=("x", "yy"))
    assert caught.value.code == "no-dependency"
    assert caught.value.hint == "did you mean y?"


def test_a_dry_run_of_a_part_tells_of_it_alone(project: LocalProject) -> None:
    before = project.look()
    report = project.sync(updating=True, dry_run=True, names=("y",))
    assert [(each.name, each.action, each.tag) for each in report.changes] == [("y", "updated", "1.1.0")]
    assert report.is_lock_changed
    assert project.look() == before
