"""The verbs over other origins than registries: what could move, what differs, and what is carried elsewhere."""

from __future__ import annotations

import gzip
import hashlib
import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from provender.errors import ProvenderError
from provender.oci import Descriptor, Document, Manifest
from provender.oci.media_types import IMAGE_CONFIG, LAYER_TAR, MANIFEST
from provender.project.comparison import LOCK, UPDATE, Bench, compare
from provender.project.export import export
from provender.project.importing import import_to_cache
from provender.project.lock import Lock
from provender.project.manifest import Manifest as ProjectManifest
from provender.project.outlook import Outlook, look_out
from provender.storage.archive import ArchiveStorage
from provender.storage.roots import StoreRoot
from provender.storage.verify import BytesReader
from support.archives import archive, file, symlink
from support.files_server import FilesServer
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


@pytest.fixture
def server() -> Iterator[FilesServer]:
    with FilesServer() as made:
        yield made


def publish_image(project: LocalProject, repository: str, tag: str, *layers: bytes) -> None:
    """Put an image of these layers, lowest first, into the store."""
    storage = StoreRoot(project.store).repository(repository, create=True)
    config = Descriptor.of(b"{}", IMAGE_CONFIG)
    described = [Descriptor.of(layer, LAYER_TAR) for layer in layers]
    for descriptor, content in ((config, b"{}"), *zip(described, layers, strict=True)):
        storage.push(descriptor, BytesReader(content))
    fields = Manifest(schema_version=2, media_type=MANIFEST, config=config, layers=tuple(described))
    storage.push_document(Document.author(fields), (tag,))


def state(project: LocalProject) -> tuple[ProjectManifest, Lock]:
    return ProjectManifest.load(project.path("provender.yaml")), Lock.load(project.path("provender.lock")) or Lock()


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


def test_every_source_is_carried_to_where_there_is_nothing(
    project: LocalProject, repository: Repository, server: FilesServer, tmp_path: Path
) -> None:
    (tmp_path / "shared").mkdir()
    (tmp_path / "shared/s.txt").write_text("s")
    server.files["/file.txt"] = b"a file"
    server.files["/all.tar.gz"] = gzip.compress(archive(file("bin/run", b"#!", mode=0o755), symlink("to", "bin/run")))
    chart = gzip.compress(archive(file("podinfo/Chart.yaml", b"name: podinfo\nversion: 6.0.0\n")))
    server.files["/charts/podinfo-6.0.0.tgz"] = chart
    server.files["/charts/index.yaml"] = (
        b"apiVersion: v1\nentries:\n  podinfo:\n  - name: podinfo\n    version: 6.0.0\n    urls: [podinfo-6.0.0.tgz]\n"
        b"    digest: " + hashlib.sha256(chart).hexdigest().encode() + b"\n"
    )
    project.publish("x", "1.0.0", {"x.txt": "x"})
    publish_image(project, "base", "3", archive(file("etc/a", b"1")), archive(file("etc/.wh.a", b""), file("b", b"2")))
    asset = {"name": "tool", "url": f"{server.url}/tool", "size": 4}
    made = {"tag_name": "v1", "url": f"{server.url}/repos/acme/tool/releases/1", "assets": [asset]}
    server.files["/repos/acme/tool/releases/tags/v1"] = json.dumps(made).encode()
    server.files["/tool"] = b"tool"
    project.depend(
        artifact={"oci": "acme/x", "version": "^1"},
        image={"image": "acme/base", "tag": "3"},
        rules={"git": repository.url, "version": "^1"},
        branch={"git": repository.url, "branch": "main"},
        file={"http": f"{server.url}/file.txt"},
        unpacked={"http": f"{server.url}/all.tar.gz"},
        chart={"helmChart": "podinfo", "repository": f"{server.url}/charts"},
        release={"githubRelease": "acme/tool", "api": server.url, "tag": "v1"},
        shared={"directory": "../shared"},
        notes={"inline": {"N": "n"}},
    )
    project.sync()
    before = project.look()
    # What is locked is carried, whatever the origin says by now.
    repository.git("tag", "--force", "v1.1.0", "v2.0.0")
    manifest, lock = state(project)
    with (tmp_path / "all.tar").open("wb") as archived:
        told = export(project.directory, manifest, lock, project.sources(), archived)
    assert len(told.dependencies) == 9
    project.store.rename(tmp_path / "store-away")
    for gone in (repository.directory, tmp_path / "shared", tmp_path / "cache", project.path("vendor")):
        shutil.rmtree(gone)
    shutil.rmtree(project.path(".provender"))
    server.files.clear()
    project.is_offline = True
    with pytest.raises(ProvenderError):
        project.sync(locked=True)
    import_to_cache(ArchiveStorage(tmp_path / "all.tar"), project.cache)
    project.sync(locked=True)
    assert project.look() == before
