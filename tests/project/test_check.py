"""Check: what differs from the lock, by name, without writing anything."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import pytest

from provender.errors import InvalidProject
from provender.oci import Digest
from provender.project.drift import Drift
from provender.project.report import Finding
from support.local_project import LocalProject

ONE = {"a.txt": "one", "sub/b.txt": "beta"}


@pytest.fixture
def synced(tmp_path: Path) -> LocalProject:
    made = LocalProject(tmp_path)
    made.publish("x", "1.0.0", ONE)
    made.publish("y", "1.0.0", {"y.txt": "y"})
    made.depend(x="acme/x:1.0.0", y="acme/y:1.0.0")
    made.sync()
    return made


def found(project: LocalProject, *, deep: bool = False) -> dict[str, Finding]:
    """What a check finds; it writes nothing."""
    before, own = project.look(), sorted(os.listdir(project.path(".provender")))
    report = project.check(deep=deep)
    assert project.look() == before
    assert sorted(os.listdir(project.path(".provender"))) == own
    assert report.is_clean == all(finding.is_clean for finding in report.findings)
    return {finding.name: finding for finding in report.findings}


@pytest.mark.parametrize("deep", [True, False])
@pytest.mark.parametrize("has_state", [True, False])
@pytest.mark.parametrize("has_origin", [True, False])
def test_a_synced_project_is_clean(synced: LocalProject, deep: bool, has_state: bool, has_origin: bool) -> None:
    if not has_state:
        synced.path(".provender/state.json").unlink()
    if not has_origin:
        shutil.rmtree(synced.store)
        shutil.rmtree(synced.cache.root)
    assert all(finding.is_clean for finding in found(synced, deep=deep).values())


@pytest.mark.parametrize("has_state", [True, False])
def test_every_difference_has_its_name(synced: LocalProject, has_state: bool) -> None:
    synced.path("vendor/x/a.txt").write_text("mine")
    synced.path("vendor/x/sub/b.txt").unlink()
    synced.path("vendor/x/new").write_text("new")
    if not has_state:
        synced.path(".provender/state.json").unlink()
    findings = found(synced)
    assert findings["x"] == Finding(
        name="x", to="vendor/x", drift=Drift(missing=("sub/b.txt",), changed=("a.txt",), extra=("new",))
    )
    assert findings["y"].is_clean


def test_without_state_and_origin_it_says_what_cannot_be_told(synced: LocalProject) -> None:
    synced.path("vendor/x/a.txt").write_text("mine")
    synced.path(".provender/state.json").unlink()
    shutil.rmtree(synced.store)
    shutil.rmtree(synced.cache.root)
    findings = found(synced)
    assert (findings["x"].problem or "").startswith("its files differ; which ones cannot be told here (")
    assert findings["y"].is_clean


def test_a_deep_check_finds_a_change_that_looks_like_none(synced: LocalProject) -> None:
    path = synced.path("vendor/x/a.txt")
    times = path.stat()
    path.write_text("ONE")
    os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))
    assert found(synced)["x"].is_clean
    assert found(synced, deep=True)["x"].drift == Drift(changed=("a.txt",))


def test_a_destination_that_is_gone_is_a_problem(synced: LocalProject) -> None:
    shutil.rmtree(synced.path("vendor/x"))
    os.rename(synced.path("vendor/y"), synced.path("moved"))
    synced.path("vendor/y").symlink_to("../moved")
    findings = found(synced)
    assert {finding.problem for finding in findings.values()} == {"it is not there"}
    shutil.rmtree(synced.path("vendor"))
    synced.path("vendor").symlink_to("moved")
    assert found(synced)["x"].problem == "it lies behind the symbolic link vendor"


def test_a_stale_lock_and_what_left_the_manifest_are_problems(synced: LocalProject) -> None:
    synced.depend(x="acme/x:2.0.0", z="acme/z:1")
    findings = found(synced)
    assert findings["x"].problem == "the lock does not answer the manifest: 2.0.0 is requested, the lock answers 1.0.0"
    assert findings["z"].problem == "the lock does not answer the manifest: it is not in the lock"
    assert findings["y"].problem == "it left the manifest, but not the lock"
    assert list(findings) == ["x", "y", "z"]


def test_kept_files_do_not_count(synced: LocalProject) -> None:
    synced.depend(x={"oci": "acme/x", "tag": "1.0.0", "keep": ["*.env", "a.txt"]}, y="acme/y:1.0.0")
    synced.path("vendor/x/my.env").write_text("mine")
    synced.path("vendor/x/a.txt").write_text("mine")
    assert found(synced)["x"].is_clean
    assert found(synced, deep=True)["x"].is_clean


def test_a_tree_in_the_lock_that_its_content_does_not_make_is_a_problem(synced: LocalProject) -> None:
    lock = json.loads(synced.path("provender.lock").read_bytes())
    lock["dependencies"]["x"]["tree"] = str(Digest.of(b"other"))
    synced.path("provender.lock").write_text(json.dumps(lock, indent=2) + "\n")
    assert found(synced)["x"].problem == "the lock has another tree for it than its content makes"


def test_without_a_lock_it_says_so(synced: LocalProject) -> None:
    synced.path("provender.lock").unlink()
    with pytest.raises(InvalidProject) as caught:
        synced.check()
    assert caught.value.code == "no-lock"


def test_what_a_killed_run_had_put_in_place_is_told_by_the_lock(synced: LocalProject) -> None:
    """Killed after the swap and before the lock: the files are the new ones, so they differ from the lock."""
    synced.publish("x", "2.0.0", {"a.txt": "two"})
    lock = synced.path("provender.lock").read_bytes()
    synced.depend(x="acme/x:2.0.0", y="acme/y:1.0.0")
    synced.sync()
    synced.depend(x="acme/x:1.0.0", y="acme/y:1.0.0")
    synced.path("provender.lock").write_bytes(lock)
    assert found(synced)["x"].drift == Drift(missing=("sub/b.txt",), changed=("a.txt",))
