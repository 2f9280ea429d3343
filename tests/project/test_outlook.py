"""The outlook of a lock: what could move, what was moved under it, what is gone."""

from __future__ import annotations

from pathlib import Path

import pytest

from provender.errors import NotFound
from provender.project.lock import Lock
from provender.project.manifest import Manifest
from provender.project.outlook import Outlook, look_out
from provender.storage.roots import StoreRoot
from support.local_project import LocalProject


@pytest.fixture
def project(tmp_path: Path) -> LocalProject:
    made = LocalProject(tmp_path)
    made.publish("x", "1.0.0", {"a.txt": "one"})
    made.depend(x={"oci": "acme/x", "version": "^1"})
    made.sync()
    return made


def look(project: LocalProject, *names: str) -> dict[str, Outlook]:
    manifest = Manifest.load(project.path("provender.yaml"))
    lock = Lock.load(project.path("provender.lock")) or Lock()
    return {each.name: each for each in look_out(manifest, lock, project.sources(), names=names)}


def test_a_lock_with_nothing_newer_is_current(project: LocalProject) -> None:
    found = look(project)["x"]
    assert found.is_current
    assert (found.locked, found.wanted, found.latest) == ("1.0.0", "1.0.0", None)


def test_what_an_update_would_take_and_what_lies_out_of_range(project: LocalProject) -> None:
    newer = project.publish("x", "1.4.0", {"a.txt": "newer"})
    project.publish("x", "2.0.0", {"a.txt": "two"})
    project.publish("x", "3.0.0-rc.1", {"a.txt": "three"})
    found = look(project)["x"]
    assert found.is_update
    assert not found.is_current
    assert (found.wanted, found.wanted_revision, found.latest) == ("1.4.0", str(newer.digest), "2.0.0")
    assert found.moved_to is None


def test_a_newer_version_out_of_range_is_told_and_is_no_difference(project: LocalProject) -> None:
    project.publish("x", "2.0.0", {"a.txt": "two"})
    found = look(project)["x"]
    assert found.is_current
    assert found.latest == "2.0.0"


@pytest.mark.parametrize("newer", [True, False])
def test_a_tag_that_was_moved_under_the_lock(project: LocalProject, newer: bool) -> None:
    moved = project.publish("x", "1.0.0", {"a.txt": "other"})
    if newer:
        project.publish("x", "1.1.0", {"a.txt": "newer"})
    found = look(project)["x"]
    assert found.moved_to == str(moved.digest)
    assert found.wanted == ("1.1.0" if newer else "1.0.0")
    assert found.is_update


def test_the_label_beside_a_digest_is_followed_though_nothing_would_move(project: LocalProject) -> None:
    digest = project.lock["x"]["digest"]
    project.depend(x={"oci": "acme/x", "tag": "1.0.0", "digest": digest})
    project.sync()
    moved = project.publish("x", "1.0.0", {"a.txt": "other"})
    found = look(project)["x"]
    assert found.moved_to == str(moved.digest)
    assert not found.is_update
    assert not found.is_current


def test_a_tag_that_is_gone(project: LocalProject) -> None:
    project.publish("x", "1.1.0", {"a.txt": "newer"})
    StoreRoot(project.store).repository("x", create=False).untag("1.0.0")
    found = look(project)["x"]
    assert found.gone is not None
    assert "1.0.0" in found.gone
    assert found.wanted == "1.1.0"
    StoreRoot(project.store).repository("x", create=False).untag("1.1.0")
    found = look(project)["x"]
    assert found.gone is not None
    assert not found.is_update


def test_what_is_not_locked_is_to_be_locked(project: LocalProject) -> None:
    project.depend(x={"oci": "acme/x", "version": "^2"}, y="acme/y:1")
    found = look(project)
    assert {name: each.stale is not None for name, each in found.items()} == {"x": True, "y": True}
    assert not found["x"].is_current


def test_a_store_that_is_not_there_is_an_error_and_not_a_lost_tag(project: LocalProject) -> None:
    project.store.rename(project.store.with_name("elsewhere"))
    with pytest.raises(NotFound):
        look(project)


def test_only_the_named_ones_are_asked_for(project: LocalProject) -> None:
    project.depend(x={"oci": "acme/x", "version": "^1"}, y="acme/nowhere:1")
    assert set(look(project, "x")) == {"x"}
    with pytest.raises(NotFound):
        look(project, "z")
