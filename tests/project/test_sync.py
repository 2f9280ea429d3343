"""Sync: destinations and lock become right together, or stay as they were together."""

from __future__ import annotations

import json
import os
import shutil
import stat
import subprocess
import threading
import time
from pathlib import Path

import pytest

from provender.artifact.tree import Entry
from provender.errors import Conflict, IntegrityError, InvalidProject, NotFound, ProvenderError, Unavailable
from provender.oci import Digest
from provender.project.dependency import Dependency
from provender.project.lock import LockedDependency
from provender.project.sources.oci import OciSource
from provender.project.state import DestinationState, State
from provender.storage.cache import BlobCache
from provender.transfer.pool import Cancellation
from provender.transfer.progress import Progress
from support.archives import directory, file, symlink
from support.local_project import LocalProject

ONE = {"a.txt": "one", "sub/b.txt": "beta"}
TWO = {"a.txt": "two", "sub/c.txt": "gamma"}


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store with `acme/x` and `acme/y` in two versions each."""
    made = LocalProject(tmp_path_factory.mktemp("stocked"))
    made.publish("x", "1.0.0", ONE)
    made.publish("x", "2.0.0", TWO)
    made.publish("y", "1.0.0", {"y.txt": "y one"})
    made.publish("y", "2.0.0", {"y.txt": "y two", "more.txt": "more"})
    return made.store


@pytest.fixture
def project(store: Path, tmp_path: Path) -> LocalProject:
    """A project over a store of its own."""
    made = LocalProject(tmp_path)
    shutil.copytree(store, made.store)
    return made


@pytest.fixture
def synced(project: LocalProject) -> LocalProject:
    """The project with version 1 of both at `vendor/x` and `vendor/y`."""
    project.depend(x="acme/x:1.0.0", y="acme/y:1.0.0")
    project.sync()
    return project


class Unreachable(OciSource):
    """A source that may not be asked at all."""

    def __init__(self) -> None:
        pass

    def resolve(self, dependency: Dependency) -> LockedDependency:
        raise AssertionError(f"asked for {dependency.name}")

    def lay(
        self,
        dependency: Dependency,
        locked: LockedDependency,
        staging: str,
        *,
        jobs: int,
        progress: Progress,
        cancellation: Cancellation,
    ) -> tuple[Entry, ...]:
        raise AssertionError(f"laid {dependency.name}")


NETWORKLESS = {"oci": Unreachable()}


def failing(project: LocalProject, expected: type[BaseException], **options: object) -> BaseException:
    """The error of a sync that changes nothing."""
    before = project.look()
    with pytest.raises(expected) as caught:
        project.sync(**options)
    assert project.look() == before
    assert project.leftovers() == []
    return caught.value


# --- the ordinary way


def test_a_first_sync_lays_everything_and_writes_the_lock(project: LocalProject) -> None:
    project.publish("tool", "1", pieces=(file("run", b"#!", mode=0o755), symlink("latest", "run"), directory("empty")))
    project.depend(x="acme/x:1.0.0", tool="acme/tool:1")
    report = project.sync()
    assert [(change.name, change.action, change.files) for change in report.changes] == [
        ("tool", "installed", 2),
        ("x", "installed", 2),
    ]
    assert report.is_lock_changed
    assert project.files("vendor/x") == ONE
    assert os.access(project.path("vendor/tool/run"), os.X_OK)
    assert os.readlink(project.path("vendor/tool/latest")) == "run"
    assert sorted(project.lock) == ["tool", "x"]
    assert project.lock["x"]["tree"].startswith("sha256:")
    assert project.leftovers() == []


def test_a_second_sync_does_nothing_and_asks_nobody(synced: LocalProject) -> None:
    before, inode = synced.look(), synced.path("vendor/x").stat().st_ino
    assert synced.synchroniser(NETWORKLESS).is_up_to_date()
    assert synced.sync(NETWORKLESS).is_nothing
    assert synced.look() == before
    assert synced.path("vendor/x").stat().st_ino == inode
    assert synced.synchroniser(NETWORKLESS).is_up_to_date()


def test_a_new_version_replaces_the_old_one_whole(synced: LocalProject) -> None:
    synced.depend(x="acme/x:2.0.0", y="acme/y:1.0.0")
    assert not synced.synchroniser().is_up_to_date()
    report = synced.sync()
    assert [(change.name, change.action) for change in report.changes] == [("x", "updated"), ("y", "unchanged")]
    assert report.changes[0].before is not None
    assert synced.files("vendor/x") == TWO
    assert synced.leftovers() == []
    assert synced.synchroniser().is_up_to_date()


def test_a_manifest_that_changed_during_a_run_is_not_taken_for_synced(synced: LocalProject) -> None:
    synced.depend(x="acme/x:2.0.0", y="acme/y:1.0.0")

    class Editing(OciSource):
        def resolve(self, dependency: Dependency) -> LockedDependency:
            synced.depend(x="acme/x:1.0.0", y="acme/y:2.0.0")
            return source.resolve(dependency)

        def lay(self, *arguments: object, **options: object) -> tuple[Entry, ...]:
            return source.lay(*arguments, **options)  # type: ignore[arg-type]

    source = synced.sources()["oci"]
    editing = Editing.__new__(Editing)
    synced.sync({"oci": editing})
    assert synced.files("vendor/x") == TWO
    assert not synced.synchroniser().is_up_to_date()
    synced.sync()
    assert synced.files("vendor/x") == ONE
    assert synced.files("vendor/y") == {"y.txt": "y two", "more.txt": "more"}


@pytest.mark.parametrize("is_lock_only", [True, False])
def test_a_lock_that_changed_during_a_run_is_not_overwritten(synced: LocalProject, is_lock_only: bool) -> None:
    synced.depend(x="acme/x:2.0.0", y="acme/y:1.0.0")
    source = synced.sources()["oci"]
    pulled = b'{\n  "version": 1,\n  "dependencies": {}\n}\n'

    class Pulling(Unreachable):
        def resolve(self, dependency: Dependency) -> LockedDependency:
            synced.path("provender.lock").write_bytes(pulled)
            return source.resolve(dependency)

        def lay(self, *arguments: object, **options: object) -> tuple[Entry, ...]:
            return source.lay(*arguments, **options)  # type: ignore[arg-type]

    with pytest.raises(Conflict, match=r"provender\.lock was changed while this ran") as caught:
        synced.sync({"oci": Pulling()}, lock_only=is_lock_only)
    assert caught.value.retryable
    assert synced.path("provender.lock").read_bytes() == pulled
    assert synced.files("vendor/x") == ONE
    assert synced.leftovers() == []


def test_an_empty_artifact_is_laid_once(project: LocalProject) -> None:
    project.publish("none", "1", pieces=(directory("empty"),))
    project.depend(none="acme/none:1")
    assert project.actions() == {"vendor/none": "installed"}
    assert project.path("vendor/none/empty").is_dir()
    assert project.actions() == {"vendor/none": "unchanged"}
    shutil.rmtree(project.path("vendor"))
    assert not project.synchroniser().is_up_to_date()
    assert project.actions() == {"vendor/none": "installed"}


def test_a_project_without_dependencies_gets_a_lock(project: LocalProject) -> None:
    project.depend()
    assert project.sync().is_lock_changed
    assert project.lock == {}
    assert not project.sync().is_lock_changed


def test_an_empty_directory_at_the_destination_is_used(project: LocalProject) -> None:
    project.depend(x="acme/x:1.0.0")
    project.path("vendor/x").mkdir(parents=True)
    assert project.actions() == {"vendor/x": "installed"}
    assert project.files("vendor/x") == ONE


@pytest.mark.parametrize("kind", ["ascii", "unicode"])
def test_destinations_with_long_names_do_not_meet(project: LocalProject, kind: str) -> None:
    stem = ("n" if kind == "ascii" else "ü") * (120 if kind == "ascii" else 110)
    project.depend(
        x={"oci": "acme/x", "tag": "1.0.0", "to": f"v/{stem}1"}, y={"oci": "acme/y", "tag": "1.0.0", "to": f"v/{stem}2"}
    )
    project.sync()
    left = project.path("v") / f".{stem[:100]}.provender-old-00000000"
    if kind == "ascii":
        left.mkdir()
    project.depend(
        x={"oci": "acme/x", "tag": "2.0.0", "to": f"v/{stem}1"}, y={"oci": "acme/y", "tag": "2.0.0", "to": f"v/{stem}2"}
    )
    project.sync()
    assert project.files(f"v/{stem}1") == TWO
    assert project.files(f"v/{stem}2")["y.txt"] == "y two"


# --- local changes


def test_local_changes_are_never_overwritten_and_all_listed(synced: LocalProject) -> None:
    synced.path("vendor/x/a.txt").write_text("mine")
    synced.path("vendor/x/new.txt").write_text("mine")
    synced.path("vendor/y/y.txt").chmod(0o755)
    synced.depend(x="acme/x:2.0.0", y="acme/y:2.0.0")
    error = failing(synced, Conflict)
    assert isinstance(error, Conflict)
    assert error.code == "local-changes"
    assert error.message == "local changes would be lost: vendor/x/a.txt, vendor/x/new.txt, vendor/y/y.txt"
    assert synced.actions(forced=True) == {"vendor/x": "updated", "vendor/y": "updated"}
    assert synced.files("vendor/x") == TWO


def test_local_changes_are_found_without_a_new_version(synced: LocalProject) -> None:
    synced.path("vendor/x/a.txt").write_text("mine")
    failing(synced, Conflict)
    assert synced.actions(forced=True) == {"vendor/x": "repaired", "vendor/y": "unchanged"}
    assert synced.files("vendor/x") == ONE


def test_a_change_that_the_new_version_brings_too_is_no_loss(synced: LocalProject) -> None:
    synced.path("vendor/x/a.txt").write_text("two")
    synced.path("vendor/x/sub/c.txt").write_text("gamma")
    synced.depend(x="acme/x:2.0.0", y="acme/y:1.0.0")
    assert synced.actions() == {"vendor/x": "updated", "vendor/y": "unchanged"}


def test_a_file_that_was_made_while_content_was_fetched_is_not_lost(synced: LocalProject) -> None:
    synced.depend(x="acme/x:2.0.0", y="acme/y:1.0.0")
    source = synced.sources()["oci"]

    class Slow(Unreachable):
        def resolve(self, dependency: Dependency) -> LockedDependency:
            return source.resolve(dependency)

        def lay(self, *arguments: object, **options: object) -> tuple[Entry, ...]:
            synced.path("vendor/x/meanwhile.txt").write_text("mine")
            return source.lay(*arguments, **options)  # type: ignore[arg-type]

    with pytest.raises(Conflict, match=r"vendor/x/meanwhile\.txt$"):
        synced.sync({"oci": Slow()})
    assert synced.files("vendor/x") == {**ONE, "meanwhile.txt": "mine"}


def test_missing_files_come_back(synced: LocalProject) -> None:
    before = synced.look()
    synced.path("vendor/x/a.txt").unlink()
    shutil.rmtree(synced.path("vendor/y"))
    assert synced.actions() == {"vendor/x": "repaired", "vendor/y": "installed"}
    assert synced.look() == before


def test_files_that_were_only_touched_are_right_and_then_known(synced: LocalProject) -> None:
    os.utime(synced.path("vendor/x/a.txt"))
    synced.path("vendor/x/sub").chmod(0o700)
    assert not synced.synchroniser().is_up_to_date()
    assert synced.sync(NETWORKLESS).is_nothing
    time.sleep(0.03)
    synced.sync(NETWORKLESS)
    assert synced.synchroniser().is_up_to_date()


def test_a_name_that_is_no_utf8_is_somebodys_file(synced: LocalProject) -> None:
    odd = os.fsencode(synced.path("vendor/x")) + b"/\xff.txt"
    with open(odd, "w") as made:
        made.write("mine")
    synced.depend(x="acme/x:2.0.0", y="acme/y:1.0.0")
    failing(synced, Conflict)
    synced.depend(x={"oci": "acme/x", "tag": "2.0.0", "keep": ["*.txt"]}, y="acme/y:1.0.0")
    synced.sync()
    assert os.path.exists(odd)


# --- keep


def test_kept_files_survive_and_do_not_count(project: LocalProject) -> None:
    wish = {"oci": "acme/x", "tag": "1.0.0", "keep": ["local/**", "*.env"]}
    project.depend(x=wish)
    project.sync()
    project.path("vendor/x/local/deep").mkdir(parents=True)
    project.path("vendor/x/local/deep/mine").write_text("mine")
    project.path("vendor/x/local/link").symlink_to("deep")
    project.path("vendor/x/my.env").write_text("secret")
    project.path("vendor/x/my.env").chmod(0o600)
    assert project.synchroniser().is_up_to_date()
    assert project.check().is_clean
    project.depend(x={**wish, "tag": "2.0.0"})
    assert project.actions() == {"vendor/x": "updated"}
    assert project.files("vendor/x") == {**TWO, "local/deep/mine": "mine", "my.env": "secret"}
    assert os.readlink(project.path("vendor/x/local/link")) == "deep"
    assert stat.S_IMODE(project.path("vendor/x/my.env").stat().st_mode) == 0o600
    assert project.synchroniser().is_up_to_date()


def test_a_kept_file_wins_over_a_laid_one(project: LocalProject) -> None:
    wish = {"oci": "acme/x", "tag": "1.0.0", "keep": ["a.txt"]}
    project.depend(x=wish)
    project.sync()
    project.path("vendor/x/a.txt").write_text("mine")
    assert project.synchroniser().is_up_to_date()
    project.depend(x={**wish, "tag": "2.0.0"})
    project.sync()
    assert project.files("vendor/x") == {**TWO, "a.txt": "mine"}


def test_a_kept_file_where_the_artifact_has_a_directory_is_a_conflict(project: LocalProject) -> None:
    project.depend(x={"oci": "acme/x", "tag": "1.0.0", "keep": ["a.txt/**", "sub"]})
    project.path("vendor/x/a.txt").mkdir(parents=True)
    project.path("vendor/x/a.txt/mine").write_text("mine")
    error = failing(project, Conflict, forced=True)
    assert "a.txt/mine is to be kept, but a.txt is no directory" in str(error)
    shutil.rmtree(project.path("vendor"))
    project.path("vendor/x").mkdir(parents=True)
    project.path("vendor/x/sub").write_text("mine")
    error = failing(project, Conflict, forced=True)
    assert "sub is to be kept, but sub is a directory" in str(error)


def test_a_file_that_is_no_longer_kept_is_somebodys(project: LocalProject) -> None:
    project.depend(x={"oci": "acme/x", "tag": "1.0.0", "keep": ["mine"]})
    project.sync()
    project.path("vendor/x/mine").write_text("mine")
    project.depend(x="acme/x:1.0.0")
    assert "vendor/x/mine" in str(failing(project, Conflict))
    project.path("vendor/x/mine").unlink()
    assert project.sync(NETWORKLESS).is_nothing
    project.path("vendor/x/mine").write_text("mine")
    assert not project.synchroniser().is_up_to_date()


def test_a_laid_file_that_was_kept_and_deleted_comes_back_when_it_is_not_kept(project: LocalProject) -> None:
    project.depend(x={"oci": "acme/x", "tag": "1.0.0", "keep": ["a.txt"]})
    project.sync()
    project.path("vendor/x/a.txt").unlink()
    assert project.sync(NETWORKLESS).is_nothing
    project.depend(x="acme/x:1.0.0")
    project.sync()
    assert project.files("vendor/x") == ONE


# --- dependencies that go, move and meet


def test_a_dependency_that_left_is_removed_if_nobody_changed_it(synced: LocalProject) -> None:
    synced.depend(x="acme/x:1.0.0")
    assert synced.actions() == {"vendor/x": "unchanged", "vendor/y": "removed"}
    assert not synced.path("vendor/y").exists()
    assert sorted(synced.lock) == ["x"]
    synced.depend()
    assert synced.actions() == {"vendor/x": "removed"}
    assert not synced.path("vendor").exists()
    assert synced.leftovers() == []


def test_a_dependency_that_left_is_left_behind_if_somebody_changed_it(synced: LocalProject) -> None:
    synced.path("vendor/y/mine.txt").write_text("mine")
    synced.depend(x="acme/x:1.0.0")
    report = synced.sync()
    assert [(change.name, change.action) for change in report.changes] == [("x", "unchanged"), ("y", "released")]
    assert report.notes == ("vendor/y was left as it is and is yours now: it has local changes",)
    assert synced.files("vendor/y") == {"y.txt": "y one", "mine.txt": "mine"}
    assert sorted(synced.lock) == ["x"]
    assert synced.sync().is_nothing


def test_a_dependency_that_left_is_known_by_the_lock_without_state(synced: LocalProject) -> None:
    shutil.rmtree(synced.path(".provender"))
    synced.depend(x="acme/x:1.0.0")
    assert synced.actions() == {"vendor/x": "adopted", "vendor/y": "removed"}
    assert not synced.path("vendor/y").exists()


def test_a_dependency_that_lock_dropped_is_still_removed_by_sync(synced: LocalProject) -> None:
    synced.depend(x="acme/x:1.0.0")
    assert synced.sync(lock_only=True).is_lock_changed
    assert synced.path("vendor/y").exists()
    assert synced.actions() == {"vendor/x": "unchanged", "vendor/y": "removed"}
    assert not synced.path("vendor/y").exists()


def test_a_renamed_dependency_keeps_its_destination_untouched(synced: LocalProject) -> None:
    inode = synced.path("vendor/x").stat().st_ino
    synced.depend(renamed={"oci": "acme/x", "tag": "1.0.0", "to": "vendor/x"}, y="acme/y:1.0.0")
    report = synced.sync()
    assert {(change.name, change.action) for change in report.changes} == {
        ("renamed", "unchanged"),
        ("y", "unchanged"),
        ("x", "removed"),
    }
    assert synced.path("vendor/x").stat().st_ino == inode
    assert sorted(synced.lock) == ["renamed", "y"]


def test_a_renamed_dependency_without_state_is_recognised(synced: LocalProject) -> None:
    shutil.rmtree(synced.path(".provender"))
    synced.depend(renamed={"oci": "acme/x", "tag": "2.0.0", "to": "vendor/x"}, y="acme/y:1.0.0")
    synced.sync()
    assert synced.files("vendor/x") == TWO


def test_a_moved_destination_is_laid_anew_and_the_old_one_removed(synced: LocalProject) -> None:
    synced.depend(x={"oci": "acme/x", "tag": "1.0.0", "to": "third_party/deep/x"}, y="acme/y:1.0.0")
    assert synced.actions() == {"third_party/deep/x": "installed", "vendor/y": "unchanged", "vendor/x": "removed"}
    assert synced.files("third_party/deep/x") == ONE
    assert not synced.path("vendor/x").exists()


def test_two_dependencies_swap_their_destinations(synced: LocalProject) -> None:
    synced.depend(
        x={"oci": "acme/x", "tag": "1.0.0", "to": "vendor/y"}, y={"oci": "acme/y", "tag": "1.0.0", "to": "vendor/x"}
    )
    assert synced.actions() == {"vendor/x": "updated", "vendor/y": "updated"}
    assert synced.files("vendor/y") == ONE
    assert synced.files("vendor/x") == {"y.txt": "y one"}
    assert synced.sync(NETWORKLESS).is_nothing


@pytest.mark.parametrize("has_state", [True, False])
def test_a_destination_moves_into_its_old_self(synced: LocalProject, has_state: bool) -> None:
    if not has_state:
        shutil.rmtree(synced.path(".provender"))
    synced.depend(
        x={"oci": "acme/x", "tag": "2.0.0", "to": "vendor/x/sub/new"},
        y={"oci": "acme/y", "tag": "1.0.0", "to": "vendor/x/a.txt"},
    )
    assert synced.actions() == {
        "vendor/x/sub/new": "installed",
        "vendor/x/a.txt": "installed",
        "vendor/x": "removed",
        "vendor/y": "removed",
    }
    assert synced.files("vendor") == {
        "x/sub/new/a.txt": "two",
        "x/sub/new/sub/c.txt": "gamma",
        "x/a.txt/y.txt": "y one",
    }
    assert synced.leftovers() == []
    assert synced.synchroniser().is_up_to_date()


def test_a_destination_moves_into_a_directory_that_has_local_changes(synced: LocalProject) -> None:
    synced.path("vendor/x/mine.txt").write_text("mine")
    synced.depend(x={"oci": "acme/x", "tag": "2.0.0", "to": "vendor/x/sub"}, y="acme/y:1.0.0")
    report = synced.sync()
    assert any("vendor/x was left as it is" in note for note in report.notes)
    assert synced.files("vendor/x") == {
        "a.txt": "one",
        "mine.txt": "mine",
        "sub/a.txt": "two",
        "sub/sub/c.txt": "gamma",
    }
    synced.path("vendor/x/sub/mine.txt").write_text("mine")
    assert "vendor/x/sub/mine.txt" in str(failing(synced, Conflict))


@pytest.mark.parametrize("has_state", [True, False])
def test_destinations_give_way_to_one_above_them(synced: LocalProject, has_state: bool) -> None:
    if not has_state:
        shutil.rmtree(synced.path(".provender"))
    synced.depend(x={"oci": "acme/x", "tag": "2.0.0", "to": "vendor"})
    assert synced.actions() == {"vendor": "updated", "vendor/x": "removed", "vendor/y": "removed"}
    assert synced.files("vendor") == TWO
    assert synced.leftovers() == []
    assert synced.synchroniser().is_up_to_date()


def test_a_destination_above_others_does_not_take_local_changes(synced: LocalProject) -> None:
    synced.path("vendor/y/mine.txt").write_text("mine")
    synced.path("vendor/notes.txt").write_text("mine")
    synced.depend(x={"oci": "acme/x", "tag": "2.0.0", "to": "vendor"})
    error = failing(synced, Conflict)
    assert str(error) == "local changes would be lost: vendor/notes.txt, vendor/y/mine.txt"


# --- failures


def test_a_failure_to_resolve_the_last_dependency_changes_nothing(synced: LocalProject) -> None:
    synced.depend(x="acme/x:2.0.0", y="acme/y:2.0.0", z="acme/z:1")
    assert isinstance(failing(synced, NotFound), NotFound)
    synced.depend(x="acme/x:2.0.0", y="acme/y:7")
    failing(synced, NotFound)


@pytest.mark.parametrize("jobs", [1, 8])
def test_wrong_bytes_change_nothing(synced: LocalProject, jobs: int) -> None:
    document = synced.publish("z", "1", {"z.txt": "zulu"})
    layer = document.manifest().layers[0].digest
    path = synced.store / "z/blobs/sha256" / layer.encoded
    raw = bytearray(path.read_bytes())
    raw[520] ^= 1
    path.chmod(0o644)
    path.write_bytes(raw)
    synced.depend(x="acme/x:2.0.0", y="acme/y:2.0.0", z={"oci": "acme/z", "tag": "1", "to": "deep/down/z"})
    error = failing(synced, IntegrityError, jobs=jobs)
    assert isinstance(error, ProvenderError)
    assert "provender.yaml:" in (error.where or "")


def test_a_wrong_tree_in_the_lock_changes_nothing(synced: LocalProject) -> None:
    lock = json.loads(synced.path("provender.lock").read_bytes())
    lock["dependencies"]["y"]["tree"] = str(Digest.of(b"other"))
    synced.path("provender.lock").write_text(json.dumps(lock, indent=2) + "\n")
    assert isinstance(failing(synced, IntegrityError, locked=True), IntegrityError)


def test_empty_directories_that_were_there_stay_after_a_failure(project: LocalProject) -> None:
    project.path("vendor/empty").mkdir(parents=True)
    project.path("vendor/empty").chmod(0o700)
    project.depend(
        x={"oci": "acme/x", "tag": "1.0.0", "to": "vendor/empty/x"},
        z={"oci": "acme/z", "tag": "1", "to": "other/z"},
    )
    failing(project, NotFound)
    project.publish("z", "1", pieces=(file("../z", b"z"),))
    failing(project, IntegrityError)


@pytest.mark.parametrize("is_first", [True, False])
@pytest.mark.parametrize("when", ["before", "after"])
def test_a_lock_that_cannot_be_written_takes_everything_back(
    project: LocalProject, is_first: bool, when: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not is_first:
        project.depend(x="acme/x:1.0.0", gone="acme/y:1.0.0")
        project.sync()
        project.path("provender.lock").chmod(0o600)
    project.depend(x="acme/x:2.0.0", y="acme/y:2.0.0")
    replace = os.replace

    def full(source: object, target: object) -> None:
        if os.path.basename(os.fspath(target)) == "provender.lock" and not str(source).endswith(".before"):  # type: ignore[call-overload]
            if when == "after":
                replace(source, target)  # type: ignore[arg-type]
            raise OSError(28, "No space left on device", str(target))
        replace(source, target)  # type: ignore[arg-type]

    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", full)
        failing(project, OSError)
    project.sync()
    assert project.files("vendor/x") == TWO


@pytest.mark.skipif(os.name == "nt", reason="limits of a process are POSIX")
def test_a_full_disk_takes_everything_back(synced: LocalProject) -> None:
    import resource
    import signal

    synced.publish("big", "1", {"big.bin": b"0" * 3_000_000})
    synced.depend(x="acme/x:2.0.0", y="acme/y:1.0.0", z="acme/big:1")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    before = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (1_000_000, hard))
        failing(synced, OSError)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        signal.signal(signal.SIGXFSZ, before)
    assert synced.actions()["vendor/z"] == "installed"


def test_a_state_that_cannot_be_written_is_only_a_note(synced: LocalProject, monkeypatch: pytest.MonkeyPatch) -> None:
    synced.depend(x="acme/x:2.0.0", y="acme/y:1.0.0")

    def refused(self: State, directory: Path) -> None:
        raise OSError(30, "Read-only file system")

    with monkeypatch.context() as patch:
        patch.setattr(State, "write", refused)
        report = synced.sync()
    assert report.notes == ("the state could not be written (Read-only file system); the next run will take longer",)
    assert synced.files("vendor/x") == TWO
    assert synced.actions() == {"vendor/x": "adopted", "vendor/y": "unchanged"}


def test_something_in_the_way_is_a_conflict_even_if_forced(project: LocalProject) -> None:
    project.depend(x="acme/x:1.0.0")
    project.path("vendor").write_text("a file")
    assert "vendor is no directory" in str(failing(project, Conflict, forced=True))
    project.path("vendor").unlink()
    project.path("elsewhere").mkdir()
    project.path("vendor").symlink_to("elsewhere")
    assert "symbolic link" in str(failing(project, Conflict, forced=True))


def test_two_runs_at_once_wait_for_each_other(synced: LocalProject) -> None:
    synced.depend(x="acme/x:2.0.0", y="acme/y:2.0.0")
    started, go = threading.Event(), threading.Event()
    source = synced.sources()["oci"]

    class Waiting(Unreachable):
        def resolve(self, dependency: Dependency) -> LockedDependency:
            started.set()
            assert go.wait(30)
            return source.resolve(dependency)

        def lay(self, *arguments: object, **options: object) -> tuple[Entry, ...]:
            return source.lay(*arguments, **options)  # type: ignore[arg-type]

    failures: list[BaseException] = []

    def first() -> None:
        try:
            synced.sync({"oci": Waiting()})
        except BaseException as error:  # noqa: BLE001 - looked at below
            failures.append(error)

    thread = threading.Thread(target=first)
    thread.start()
    assert started.wait(30)
    with pytest.raises(Unavailable, match="this project is locked by process"):
        synced.sync(wait_s=0.05)
    go.set()
    thread.join(30)
    assert failures == []
    assert synced.sync(NETWORKLESS).is_nothing


def test_processes_that_sync_one_project_together_all_succeed(synced: LocalProject) -> None:
    from support.content import finish, start_python

    synced.depend(x="acme/x:2.0.0", y="acme/y:2.0.0")
    code = """
import sys
from pathlib import Path
from support.local_project import LocalProject
project = LocalProject.__new__(LocalProject)
root = Path(sys.argv[1])
from provender.storage.cache import BlobCache
project.directory, project.store = root / "project", root / "store"
project.cache = BlobCache(root / "cache", max_bytes=1 << 30)
sys.stdin.read()
print(sorted(change.action for change in project.sync().changes))
"""
    processes: list[subprocess.Popen[str]] = [start_python(code, str(synced.store.parent)) for _ in range(4)]
    said = sorted(line.strip() for line in finish(processes))
    assert said == ["['unchanged', 'unchanged']"] * 3 + ["['updated', 'updated']"]
    assert synced.files("vendor/x") == TWO
    assert synced.leftovers() == []


# --- state and lock that are lost, damaged or foreign


def test_without_state_right_files_are_adopted_without_asking(synced: LocalProject) -> None:
    shutil.rmtree(synced.path(".provender"))
    before = synced.look()
    report = synced.sync(NETWORKLESS)
    assert [change.action for change in report.changes] == ["adopted", "adopted"]
    assert synced.look() == before
    assert synced.synchroniser().is_up_to_date()


def test_without_state_files_of_the_locked_version_may_be_replaced(synced: LocalProject) -> None:
    shutil.rmtree(synced.path(".provender"))
    synced.depend(x="acme/x:2.0.0", y="acme/y:1.0.0")
    assert synced.actions() == {"vendor/x": "updated", "vendor/y": "adopted"}
    assert synced.files("vendor/x") == TWO


def test_without_state_changed_files_are_protected(synced: LocalProject) -> None:
    shutil.rmtree(synced.path(".provender"))
    synced.path("vendor/x/a.txt").write_text("mine")
    synced.path("vendor/y/y.txt").unlink()
    error = failing(synced, Conflict)
    assert str(error) == "local changes would be lost: vendor/x/a.txt"
    synced.path("vendor/x/a.txt").write_text("one")
    synced.sync()
    assert synced.files("vendor/y") == {"y.txt": "y one"}


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"{",
        b'{"version":1,"destinations":{"vendor/x":{"tree":"no","identity":"digest","scanned_ns":1,"files":[]}}}',
        b'{"version":1,"destinations":{"vendor/x":{"tree":"","identity":"","scanned_ns":1,"files":[["a",3,1,1,1]]}}}',
        b'{"version":1,"destinations":{"../outside":{"tree":"","identity":"","scanned_ns":1,"files":[]}}}',
    ],
)
def test_damaged_state_is_no_state(synced: LocalProject, raw: bytes) -> None:
    for name in ("state.json", "state.next.json"):
        synced.path(f".provender/{name}").write_bytes(raw)
    before = synced.look()
    assert {change.action for change in synced.sync(NETWORKLESS).changes} == {"adopted"}
    assert synced.look() == before
    assert synced.leftovers() == []


def test_a_state_that_was_made_up_removes_nothing_outside_of_the_project(synced: LocalProject, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "precious").write_text("x")
    laid = DestinationState.record(
        str(outside),
        tree=Digest.of(b"t"),
        identity=Digest.of(b"i"),
        contents={"precious": Digest.of(b"x").encoded},
    )
    for name in ("../outside", str(outside), "vendor/../../outside"):
        State(destinations={name: laid}).write(synced.directory)
        synced.sync()
        assert (outside / "precious").read_text() == "x"


def test_a_state_that_came_with_a_checkout_does_not_vouch_for_its_files(synced: LocalProject) -> None:
    """A repository may bring a state beside changed files; inodes and times tell that it was not made here."""
    state = State.load(synced.directory)
    laid = state.destinations["vendor/x"]
    evil = b"evil"
    synced.path("vendor/x/a.txt").write_bytes(evil)
    synced.path("vendor/x/sub/b.txt").write_bytes(b"beta")
    forged = DestinationState.record(
        str(synced.path("vendor/x")),
        tree=Digest(laid.tree),
        identity=Digest(laid.identity),
        contents={"a.txt": Digest.of(evil).encoded, "sub/b.txt": Digest.of(b"beta").encoded},
    )
    shutil.copytree(synced.path("vendor"), synced.path("copy"))
    shutil.rmtree(synced.path("vendor"))
    shutil.move(synced.path("copy"), synced.path("vendor"))
    State(destinations={**state.destinations, "vendor/x": forged}).write(synced.directory)
    assert not synced.check().is_clean
    assert "vendor/x/a.txt" in str(failing(synced, Conflict))


def test_without_a_lock_untouched_files_need_no_unpacking(synced: LocalProject) -> None:
    before = synced.look()
    synced.path("provender.lock").unlink()
    inode = synced.path("vendor/x").stat().st_ino
    report = synced.sync()
    assert report.is_lock_changed
    assert synced.look() == before
    assert synced.path("vendor/x").stat().st_ino == inode


def test_without_lock_and_state_equal_files_are_no_loss(synced: LocalProject) -> None:
    before = synced.look()
    shutil.rmtree(synced.path(".provender"))
    synced.path("provender.lock").unlink()
    synced.sync()
    assert synced.look() == before


def test_a_clone_of_the_project_gets_the_locked_version(synced: LocalProject) -> None:
    shutil.rmtree(synced.path("vendor"))
    shutil.rmtree(synced.path(".provender"))
    lock = synced.path("provender.lock").read_bytes()
    synced.publish("x", "1.0.0", TWO)
    assert synced.actions(locked=True) == {"vendor/x": "installed", "vendor/y": "installed"}
    assert synced.files("vendor/x") == ONE
    assert synced.path("provender.lock").read_bytes() == lock


def test_a_clone_with_its_destinations_adopts_them(synced: LocalProject, tmp_path: Path) -> None:
    shutil.copytree(synced.directory, tmp_path / "clone", ignore=shutil.ignore_patterns(".provender"))
    synced.directory = tmp_path / "clone"
    assert {change.action for change in synced.sync(NETWORKLESS, locked=True).changes} == {"adopted"}


def test_a_lock_in_another_layout_is_left_as_it_is(synced: LocalProject) -> None:
    raw = json.dumps(json.loads(synced.path("provender.lock").read_bytes()), indent=4).encode()
    synced.path("provender.lock").write_bytes(raw)
    assert synced.sync(NETWORKLESS).is_nothing
    assert synced.path("provender.lock").read_bytes() == raw
    assert synced.synchroniser().is_up_to_date()


# --- lock, --locked and --dry-run


def test_lock_alone_leaves_the_destinations_and_knows_the_tree(synced: LocalProject) -> None:
    synced.path("vendor/x/a.txt").write_text("mine")
    synced.depend(x="acme/x:2.0.0", y="acme/y:1.0.0", z={"oci": "acme/y", "tag": "2.0.0", "to": "deep/z"})
    before = synced.look()
    report = synced.sync(lock_only=True)
    assert [(change.name, change.action) for change in report.changes] == [
        ("x", "locked"),
        ("y", "unchanged"),
        ("z", "locked"),
    ]
    after = synced.look()
    assert before.pop("provender.lock") != after.pop("provender.lock")
    assert after == before
    assert synced.leftovers() == []
    assert all(entry["tree"] for entry in synced.lock.values())
    synced.path("vendor/x/a.txt").write_text("one")
    lock = synced.path("provender.lock").read_bytes()
    synced.sync(locked=True)
    assert synced.path("provender.lock").read_bytes() == lock
    assert not synced.sync(lock_only=True).is_lock_changed


def test_a_failed_lock_leaves_nothing(synced: LocalProject) -> None:
    synced.publish("z", "1", pieces=(file("../z", b"z"),))
    synced.depend(x="acme/x:2.0.0", z="acme/z:1")
    failing(synced, IntegrityError, lock_only=True)


def test_a_stale_lock_is_refused_with_every_reason(synced: LocalProject) -> None:
    synced.depend(x="acme/x:2.0.0", z="acme/y:1.0.0")
    error = failing(synced, InvalidProject, locked=True)
    assert isinstance(error, InvalidProject)
    assert error.code == "lock-stale"
    assert error.message == (
        "the lock does not answer the manifest: x: 2.0.0 is requested, the lock answers 1.0.0; "
        "z: it is not in the lock; y: it left the manifest"
    )
    assert error.where == str(synced.path("provender.lock"))
    assert error.hint == "run 'provender lock' and commit the result"
    failing(synced, InvalidProject, locked=True, lock_only=True)


@pytest.mark.parametrize("is_lock_only", [True, False])
def test_a_dry_run_writes_nothing_at_all(project: LocalProject, is_lock_only: bool) -> None:
    project.depend(x="acme/x:1.0.0")
    report = project.sync(dry_run=True, lock_only=is_lock_only)
    assert (report.is_dry_run, report.is_lock_changed) == (True, True)
    assert [change.action for change in report.changes] == ["locked" if is_lock_only else "installed"]
    assert os.listdir(project.directory) == ["provender.yaml"]


def test_a_dry_run_tells_what_a_sync_would_do(synced: LocalProject) -> None:
    synced.path("vendor/x/a.txt").write_text("mine")
    synced.depend(x="acme/x:2.0.0", z={"oci": "acme/y", "tag": "2.0.0"})

    def own() -> dict[str, tuple[int, int, int]]:
        found = {path.name: path.stat() for path in synced.path(".provender").iterdir()}
        return {name: (seen.st_ino, seen.st_size, seen.st_mtime_ns) for name, seen in found.items()}

    kept = own()
    before = synced.look()
    report = synced.sync(dry_run=True)
    assert [(change.name, change.action) for change in report.changes] == [
        ("x", "updated"),
        ("z", "installed"),
        ("y", "removed"),
    ]
    assert report.notes == ("a sync may refuse, for these are not as they were laid: vendor/x/a.txt",)
    assert synced.look() == before
    assert own() == kept


# --- what is fetched


def test_dependencies_are_fetched_side_by_side_within_one_bound(project: LocalProject) -> None:
    names = [f"d{number}" for number in range(6)]
    for name in names:
        project.publish(name, "1", {f"{name}.txt": name})
    project.depend(**{name: f"acme/{name}:1" for name in names})
    source = project.sources()["oci"]
    lock, running, most, bounds = threading.Lock(), 0, 0, set()

    class Counting(Unreachable):
        def resolve(self, dependency: Dependency) -> LockedDependency:
            return source.resolve(dependency)

        def lay(self, *arguments: object, jobs: int, **options: object) -> tuple[Entry, ...]:
            nonlocal running, most
            with lock:
                running += 1
                most = max(most, running)
                bounds.add(jobs)
            # Until the others are there too, as far as the bound admits them.
            end = time.monotonic() + 10
            while most < 3 and time.monotonic() < end:
                time.sleep(0.005)
            try:
                return source.lay(*arguments, jobs=jobs, **options)  # type: ignore[arg-type]
            finally:
                with lock:
                    running -= 1

    project.sync({"oci": Counting()}, jobs=3)
    assert (most, bounds) == (3, {1})


def test_the_cache_serves_a_second_project(synced: LocalProject, tmp_path: Path) -> None:
    (tmp_path / "two").mkdir()
    other = LocalProject(tmp_path / "two")
    other.cache = BlobCache(tmp_path / "cache", max_bytes=1 << 30)
    other.depend(x="acme/x:1.0.0", y="acme/y:1.0.0")
    shutil.copy(synced.path("provender.lock"), other.path("provender.lock"))
    assert not other.store.exists()
    assert other.actions() == {"vendor/x": "installed", "vendor/y": "installed"}
    assert other.files("vendor/x") == ONE
