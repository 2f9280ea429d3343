"""`sync` as a user runs it: what it lays, keeps, takes away and refuses, and that it looks no further than it must."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Any

import pytest

from support.registry import TestRegistry
from support.workspace import ARCHIVE, Workspace, everything, layer, packed, publish, refused


def changes(document: dict[str, Any]) -> dict[str, str]:
    return {change["name"]: change["action"] for change in document["changes"]}


def publish_versions(registry: TestRegistry) -> None:
    for version in ("1.0.0", "1.1.0", "2.0.0"):
        files = {"a.txt": f"alpha {version}\n".encode(), "sub/b.txt": b"beta\n"}
        publish(registry, "acme/good", version, files)


@pytest.mark.parametrize("option", ["--locked", "--frozen"])
def test_locked_and_frozen_refuse_a_stale_lock_without_asking(synced: Workspace, option: str) -> None:
    publish_versions(synced.registry)
    synced.depend(good="acme/good:1.1.0")
    before = synced.look()
    error = refused(synced.json("sync", option), 78, "lock-stale")
    assert "good: 1.1.0 is requested, the lock answers 1.0.0" in error["message"]
    assert "provender lock" in error["hint"]
    assert synced.look() == before
    assert synced.registry.requests == []


@pytest.mark.parametrize("option", ["--locked", "--frozen"])
def test_locked_and_frozen_fetch_by_digest_and_never_ask_a_tag(synced: Workspace, option: str) -> None:
    shutil.rmtree(synced.directory / "vendor")
    shutil.rmtree(synced.cache)
    lock = (synced.directory / "provender.lock").read_bytes()
    synced.prepare("sync", option)
    assert (synced.directory / "provender.lock").read_bytes() == lock
    assert synced.registry.count("GET", "/manifests/sha256:") == 1
    assert synced.registry.count("*", "/manifests/1.0.0|/tags/") == 0


def test_offline_lays_from_the_cache(synced: Workspace) -> None:
    before = synced.look()
    shutil.rmtree(synced.directory / "vendor")
    synced.prepare("sync", "--offline")
    assert synced.look() == before
    assert synced.registry.requests == []


def test_offline_without_the_content_says_what_to_do(synced: Workspace) -> None:
    shutil.rmtree(synced.directory / "vendor")
    shutil.rmtree(synced.cache)
    before = synced.look()
    error = refused(synced.json("sync", "--offline"), 69, "offline")
    assert "--offline" in error["hint"]
    assert synced.look() == before
    assert synced.registry.requests == []
    synced.check_no_leftovers()


def test_a_dry_run_says_everything_and_does_nothing(synced: Workspace) -> None:
    publish_versions(synced.registry)
    publish(synced.registry, "acme/other", "1", {"o": b"o"})
    synced.depend(good="acme/good:1.1.0", other="acme/other:1")
    before = everything(synced.directory, without=())
    result = synced.json("sync", "--dry-run")
    assert result.status == 0, result.stderr
    assert changes(result.json) == {"good": "updated", "other": "installed"}
    assert (result.json["lockChanged"], result.json["dryRun"]) == (True, True)
    after = everything(synced.directory, without=())
    assert {name: seen for name, seen in after.items() if name != ".provender/lock"} == {
        name: seen for name, seen in before.items() if name != ".provender/lock"
    }
    assert synced.registry.count("GET", "/blobs/") == 0


def test_a_dry_run_in_a_fresh_directory_makes_nothing(project: Workspace) -> None:
    publish_versions(project.registry)
    project.depend(good="acme/good:1.0.0")
    before = everything(project.directory, without=())
    project.prepare("sync", "--dry-run")
    assert everything(project.directory, without=()) == before


def test_sync_repairs_what_is_missing(synced: Workspace) -> None:
    before = synced.look()
    (synced.directory / "vendor/good/a.txt").unlink()
    result = synced.json("sync")
    assert changes(result.json) == {"good": "repaired"}
    assert synced.look() == before


def test_sync_takes_over_files_that_were_checked_out(synced: Workspace) -> None:
    before = synced.look()
    shutil.rmtree(synced.directory / ".provender")
    result = synced.json("sync")
    assert changes(result.json) == {"good": "adopted"}
    assert synced.look() == before
    assert changes(synced.json("sync").json) == {"good": "unchanged"}
    assert synced.registry.requests == []


def test_local_changes_are_listed_and_protected_until_forced(synced: Workspace) -> None:
    publish_versions(synced.registry)
    good = synced.directory / "vendor/good"
    (good / "a.txt").write_text("mine\n")
    (good / "notes.md").write_text("mine too\n")
    for manifest in ("acme/good:1.0.0", "acme/good:1.1.0"):
        synced.depend(good=manifest)
        before = synced.look()
        error = refused(synced.json("sync"), 1, "local-changes")
        assert "vendor/good/a.txt" in error["message"]
        assert "vendor/good/notes.md" in error["message"]
        assert synced.look() == before
    synced.prepare("sync", "--force")
    assert everything(good) == {
        "a.txt": ("file", 0o644, b"alpha 1.1.0\n"),
        "sub": ("directory", 0o755, b""),
        "sub/b.txt": ("file", 0o644, b"beta\n"),
    }


def test_a_local_change_in_one_keeps_all_others_from_moving(synced: Workspace) -> None:
    publish_versions(synced.registry)
    publish(synced.registry, "acme/other", "1", {"o": b"o"})
    (synced.directory / "vendor/good/a.txt").write_text("mine\n")
    synced.depend(good="acme/good:2.0.0", other="acme/other:1")
    before = synced.look()
    refused(synced.json("sync"), 1, "local-changes")
    assert synced.look() == before
    synced.check_no_leftovers()


def test_one_bad_dependency_keeps_all_others_from_moving(synced: Workspace) -> None:
    publish_versions(synced.registry)
    synced.depend(good="acme/good:2.0.0", new="acme/good:1.1.0", missing="acme/missing:1")
    before = synced.look()
    refused(synced.json("sync"), 66, "repository-not-found")
    assert synced.look() == before
    synced.check_no_leftovers()


def test_kept_files_stay_and_win(synced: Workspace) -> None:
    publish_versions(synced.registry)
    good = synced.directory / "vendor/good"
    (good / ".local").mkdir()
    (good / ".local/mine.txt").write_text("mine")
    (good / "sub/b.txt").write_text("my beta\n")
    keep = [".local/**", "sub/b.txt"]
    synced.depend(good={"oci": "acme/good", "tag": "1.1.0", "keep": keep})
    synced.prepare("sync")
    assert (good / "a.txt").read_text() == "alpha 1.1.0\n"
    assert (good / ".local/mine.txt").read_text() == "mine"
    assert (good / "sub/b.txt").read_text() == "my beta\n"
    synced.prepare("check")
    (good / ".local/another.txt").write_text("also")
    assert changes(synced.json("sync").json) == {"good": "unchanged"}
    synced.prepare("check", "--deep")
    (good / "stray.txt").write_text("not kept")
    refused(synced.json("sync"), 1, "local-changes")


def test_selection_and_archives(project: Workspace) -> None:
    files = {"schemas/a.json": b"{}", "schemas/test/t.json": b"{}", "schemas/a.md": b"#", "other/b.json": b"{}"}
    content = layer(project.registry, "acme/packed", packed(files), media_type=ARCHIVE)
    publish(project.registry, "acme/packed", "1", layers=[content])
    wish = {"include": ["**/*.json"], "exclude": ["**/test/**"], "root": "schemas"}
    project.depend(packed={"oci": "acme/packed", "tag": "1", **wish})
    project.prepare("sync")
    assert everything(project.directory / "vendor/packed") == {"a.json": ("file", 0o644, b"{}")}


def test_what_left_the_manifest_is_removed_if_nobody_changed_it(synced: Workspace) -> None:
    publish(synced.registry, "acme/other", "1", {"o": b"o"})
    synced.depend(good="acme/good:1.0.0", other="acme/other:1")
    synced.prepare("sync")
    (synced.directory / "vendor/other/o").write_text("changed")
    synced.depend()
    result = synced.json("sync")
    assert changes(result.json) == {"good": "removed", "other": "released"}
    assert "vendor/other" in result.stderr
    assert not (synced.directory / "vendor/good").exists()
    assert (synced.directory / "vendor/other/o").read_text() == "changed"
    assert synced.lock == {}
    assert synced.json("sync").json["changes"] == []


def test_a_new_destination_moves_the_files(synced: Workspace) -> None:
    synced.depend(good={"oci": "acme/good", "tag": "1.0.0", "to": "third_party/good"})
    synced.prepare("sync")
    assert (synced.directory / "third_party/good/a.txt").is_file()
    assert not (synced.directory / "vendor").exists()


def test_destinations_may_swap_their_places(synced: Workspace) -> None:
    publish(synced.registry, "acme/other", "1", {"o": b"o"})
    synced.depend(good="acme/good:1.0.0", other="acme/other:1")
    synced.prepare("sync")
    synced.depend(
        good={"oci": "acme/good", "tag": "1.0.0", "to": "vendor/other"},
        other={"oci": "acme/other", "tag": "1", "to": "vendor/good"},
    )
    synced.prepare("sync")
    assert (synced.directory / "vendor/other/a.txt").is_file()
    assert (synced.directory / "vendor/good/o").is_file()
    assert not (synced.directory / "vendor/good/a.txt").exists()
    synced.prepare("check", "--deep")


def test_a_project_of_layouts_needs_no_registry(project: Workspace, tmp_path: Path) -> None:
    (project.directory / "src").mkdir()
    (project.directory / "src/f.txt").write_text("f")
    project.write("version: 1\nregistries: {store: {location: 'layout:./store'}}\ndependencies: {}\n")
    project.prepare("push", "store/tools:1.0", "src/")
    project.prepare("add", "store/tools:1.0")
    store = everything(project.directory / "store")
    assert (project.directory / "vendor/tools/src/f.txt").read_text() == "f"
    project.prepare("sync", "--offline")
    assert everything(project.directory / "store") == store
    assert project.registry.requests == []


def test_commands_find_the_project_from_below(synced: Workspace) -> None:
    below = Workspace(synced.directory / "vendor/good/sub", synced.registry, synced.cache)
    assert below.succeed("check").stderr
    assert changes(below.json("sync").json) == {"good": "unchanged"}
    elsewhere = Workspace(synced.directory.parent, synced.registry, synced.cache)
    assert changes(elsewhere.json("sync", "-C", synced.directory).json) == {"good": "unchanged"}


# --- nothing to do


def test_a_second_sync_opens_no_connection(synced: Workspace) -> None:
    connections = synced.registry.connections
    result = synced.json("sync")
    assert changes(result.json) == {"good": "unchanged"}
    assert result.json["lockChanged"] is False
    assert synced.registry.requests == []
    assert synced.registry.connections == connections


def test_a_second_sync_trusts_the_stat_index_and_a_deep_check_does_not(synced: Workspace) -> None:
    # The content changes, and nothing else that can be seen without reading it: same inode, size, mode and time.
    path = synced.directory / "vendor/good/a.txt"
    seen = path.stat()
    with path.open("r+b") as file:
        file.write(b"ALPHA")
    os.utime(path, ns=(seen.st_atime_ns, seen.st_mtime_ns))
    assert changes(synced.json("sync").json) == {"good": "unchanged"}
    assert synced.json("check").json["clean"] is True
    found = synced.json("check", "--deep")
    assert found.status == 1
    assert found.json["dependencies"][0]["changed"] == ["a.txt"]


def test_a_touched_file_is_hashed_and_found_to_be_right(synced: Workspace) -> None:
    os.utime(synced.directory / "vendor/good/a.txt")
    assert changes(synced.json("sync").json) == {"good": "unchanged"}
    assert synced.json("check").json["clean"] is True


@pytest.mark.parametrize("content", [b"", b"{}", b"\xff", b'{"version": 99}', b"[" * 100_000])
def test_damaged_state_costs_time_and_nothing_else(synced: Workspace, content: bytes) -> None:
    before = synced.look()
    (synced.directory / ".provender/state.json").write_bytes(content)
    assert changes(synced.json("sync").json) == {"good": "adopted"}
    assert synced.look() == before
    assert synced.registry.requests == []
