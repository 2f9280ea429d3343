"""The verbs over other origins than registries: what could move, what differs, and what is carried elsewhere."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from provender.errors import ProvenderError
from provender.project.comparison import LOCK, UPDATE, Bench, compare
from provender.project.export import export
from provender.project.importing import import_to_cache
from provender.project.lock import Lock
from provender.project.manifest import Manifest
from provender.project.outlook import Outlook, look_out
from provender.storage.archive import ArchiveStorage
from support.local_project import LocalProject
from support.repository import Repository


@pytest.fixture
def repository(tmp_path: Path) -> Repository:
    """v1.0.0 and v1.1.0 are tags; main is one commit further."""
    made = Repository(tmp_path / "remote")
    for version, content in (("v1.0.0", "one"), ("v1.1.0", "two"), ("v2.0.0", "three")):
        made.commit({"a.txt": content, f"{version}.txt": version})
        made.git("tag", version)
    return made


@pytest.fixture
def project(tmp_path: Path) -> Iterator[LocalProject]:
    made = LocalProject(tmp_path)
    yield made
    made.close()


def state(project: LocalProject) -> tuple[Manifest, Lock]:
    return Manifest.load(project.path("provender.yaml")), Lock.load(project.path("provender.lock")) or Lock()


def look(project: LocalProject) -> Outlook:
    manifest, lock = state(project)
    (found,) = look_out(manifest, lock, project.sources())
    return found


def test_a_tag_of_a_repository_that_was_moved(project: LocalProject, repository: Repository) -> None:
    project.depend(rules={"git": repository.url, "tag": "v1.0.0"})
    project.sync()
    found = look(project)
    assert found.is_current
    assert (found.locked, found.latest) == ("v1.0.0", "v2.0.0")
    repository.git("tag", "--force", "v1.0.0", "v1.1.0")
    found = look(project)
    assert found.moved_to == found.wanted_revision == repository.git("rev-parse", "v1.1.0")
    assert not found.is_current


def test_a_range_over_tags_and_the_update_that_follows_it(project: LocalProject, repository: Repository) -> None:
    repository.git("tag", "--delete", "v1.1.0")
    project.depend(rules={"git": repository.url, "version": "^1"})
    project.sync()
    repository.git("tag", "v1.2.0", "main")
    found = look(project)
    assert (found.locked, found.wanted, found.latest, found.moved_to) == ("v1.0.0", "v1.2.0", "v2.0.0", None)
    (change,) = project.sync(updating=True).changes
    assert (change.before_tag, change.tag, change.action) == ("v1.0.0", "v1.2.0", "updated")
    assert change.difference is not None
    assert (change.difference.added, change.difference.modified) == (2, 1)


def test_a_branch_that_went_on_is_an_update_and_no_moved_tag(project: LocalProject, repository: Repository) -> None:
    project.depend(rules={"git": repository.url, "branch": "main"})
    project.sync()
    commit = repository.commit({"a.txt": "four"})
    found = look(project)
    assert (found.wanted_revision, found.moved_to, found.is_update) == (commit, None, True)
    assert project.sync().is_nothing
    assert project.sync(updating=True).changes[0].commit == commit


def test_a_commit_stays_and_its_label_is_followed(project: LocalProject, repository: Repository) -> None:
    project.depend(rules={"git": repository.url, "commit": repository.git("rev-parse", "v1.0.0")})
    project.sync()
    assert look(project).is_current
    assert project.sync(updating=True).is_nothing


def test_two_versions_of_a_repository_compared(project: LocalProject, repository: Repository) -> None:
    project.depend(rules={"git": repository.url, "tag": "v1.0.0"})
    project.sync()
    manifest, lock = state(project)
    bench = Bench(project.directory, manifest.require("rules"), lock.dependencies["rules"], project.sources()["git"])
    with bench.side(LOCK) as before, bench.side("v1.1.0") as after, bench.side(UPDATE) as now:
        changes = compare(before.entries, after.entries)
        assert [(change.path, change.word) for change in changes] == [("a.txt", "changed"), ("v1.1.0.txt", "added")]
        assert compare(before.entries, now.entries) == []


def test_commits_downloads_and_directories_are_carried_to_where_there_is_nothing(
    project: LocalProject, repository: Repository, tmp_path: Path
) -> None:
    (tmp_path / "shared").mkdir()
    (tmp_path / "shared/s.txt").write_text("s")
    project.depend(
        rules={"git": repository.url, "version": "^1"},
        branch={"git": repository.url, "branch": "main"},
        shared={"directory": "../shared"},
    )
    project.sync()
    before = project.look()
    # What is locked is carried, whatever the origin says by now.
    repository.git("tag", "--force", "v1.1.0", "v2.0.0")
    manifest, lock = state(project)
    with (tmp_path / "all.tar").open("wb") as file:
        export(project.directory, manifest, lock, project.sources(), file)
    for gone in (repository.directory, tmp_path / "shared", tmp_path / "cache", project.path("vendor")):
        shutil.rmtree(gone)
    shutil.rmtree(project.path(".provender"))
    project.is_offline = True
    with pytest.raises(ProvenderError):
        project.sync(locked=True)
    import_to_cache(ArchiveStorage(tmp_path / "all.tar"), project.cache)
    project.sync(locked=True)
    assert project.look() == before
