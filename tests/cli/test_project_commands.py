"""The project commands as a user runs them: what they do, what they print, and what they never touch."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import Any

import pytest

from support.registry import TestRegistry
from support.workspace import ARCHIVE, Workspace, everything, layer, packed, publish, refused

MANIFEST = """\
# What we vendor.
version: 1

registries:
  acme: {}   # bound in CI

dependencies:
  # the first
  zeta: acme/good:1.0.0

  alpha:   # out of order on purpose
    oci: acme/good
    tag: 1.0.0
    x-owner: team
"""


def changes(document: dict[str, Any]) -> dict[str, str]:
    return {change["name"]: change["action"] for change in document["changes"]}


def publish_versions(registry: TestRegistry) -> None:
    for version in ("1.0.0", "1.1.0", "2.0.0"):
        files = {"a.txt": f"alpha {version}\n".encode(), "sub/b.txt": b"beta\n"}
        publish(registry, "acme/good", version, files)


# --- init, add, remove


def test_init_writes_a_manifest_that_every_command_takes(project: Workspace) -> None:
    result = project.succeed("init")
    assert result.stdout == f"wrote {project.directory / 'provender.yaml'}\n"
    project.prepare("sync")
    project.prepare("check")
    project.prepare("list")
    assert project.registry.requests == []


def test_init_leaves_a_manifest_that_is_there(synced: Workspace) -> None:
    before = synced.look()
    error = refused(synced.json("init"), 1, "manifest-exists")
    assert error["where"] == str(synced.directory / "provender.yaml")
    assert synced.look() == before


def test_init_in_another_directory_as_json(project: Workspace, tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    result = project.json("init", "-C", tmp_path / "other")
    assert result.json == {"kind": "init", "version": 1, "path": str(tmp_path / "other/provender.yaml")}


def test_add_keeps_comments_and_order_and_lays_the_files(project: Workspace) -> None:
    publish_versions(project.registry)
    project.write(MANIFEST)
    project.prepare("sync")
    project.prepare("add", "acme/good", "--name", "middle", "--version", "^1", "--to", "lib/middle", "--exclude", "sub")
    text = (project.directory / "provender.yaml").read_text()
    assert text.startswith(MANIFEST)
    assert text[len(MANIFEST) :].lstrip("\n").startswith("  middle:\n    oci: acme/good\n")
    assert (project.directory / "lib/middle/a.txt").read_text() == "alpha 1.1.0\n"
    assert not (project.directory / "lib/middle/sub").exists()
    assert list(project.lock) == ["alpha", "middle", "zeta"]
    project.prepare("check")


def test_add_in_short_form_names_it_after_the_repository(synced: Workspace) -> None:
    publish(synced.registry, "acme/tools/linter", "3", {"lint.sh": b"#!/bin/sh\n"})
    result = synced.json("add", "acme/tools/linter:3")
    assert result.status == 0, result.stderr
    assert result.json["kind"] == "add"
    assert changes(result.json) == {"good": "unchanged", "linter": "installed"}
    assert "linter: acme/tools/linter:3" in (synced.directory / "provender.yaml").read_text().replace('"', "")
    assert (synced.directory / "vendor/linter/lint.sh").is_file()


@pytest.mark.parametrize(
    ("arguments", "status", "code"),
    [
        (["acme/missing:1"], 66, "repository-not-found"),
        (["acme/good", "--name", "new", "--version", ">=9"], 66, "no-version-matched"),
        (["nowhere/new:1"], 78, "unbound-registry"),
        (["acme/good:1.0.0", "--name", "again", "--to", "vendor/good/sub"], 78, "overlapping-destinations"),
        (["acme/good:1.0.0", "--name", "bad/name"], 78, "invalid-name"),
        (["acme/good:1.0.0", "--name", "up", "--to", "../up"], 78, "invalid-path"),
        (["acme/good:1.0.0", "--name", "typed", "--artifact-type", "application/vnd.other"], 78, "wrong-artifact-type"),
        (["acme/good:1.0.0"], 1, "dependency-exists"),
        (["good:1.0.0"], 2, "short-name"),
    ],
)
def test_an_add_that_fails_leaves_everything_as_it_was(
    synced: Workspace, arguments: list[str], status: int, code: str
) -> None:
    before = synced.look()
    refused(synced.json("add", *arguments), status, code)
    assert synced.look() == before
    synced.prepare("check")


def test_add_without_sync_asks_nobody(synced: Workspace) -> None:
    synced.prepare("add", "acme/other:1", "--no-sync")
    assert synced.registry.requests == []
    assert "acme/other:1" in (synced.directory / "provender.yaml").read_text()
    assert list(synced.lock) == ["good"]
    refused(synced.json("sync", "--locked"), 78, "lock-stale")


def test_a_manifest_that_is_a_link_stays_one(synced: Workspace, tmp_path: Path) -> None:
    publish(synced.registry, "acme/other", "1", {"o": b"o"})
    real = tmp_path / "shared.yaml"
    os.rename(synced.directory / "provender.yaml", real)
    (synced.directory / "provender.yaml").symlink_to(real)
    synced.prepare("add", "acme/other:1")
    assert (synced.directory / "provender.yaml").is_symlink()
    assert "acme/other" in real.read_text()


def test_remove_takes_the_entry_its_files_and_its_lock_away(project: Workspace) -> None:
    publish_versions(project.registry)
    project.write(MANIFEST)
    project.prepare("sync")
    result = project.json("remove", "alpha")
    assert result.status == 0, result.stderr
    assert changes(result.json) == {"zeta": "unchanged", "alpha": "removed"}
    text = (project.directory / "provender.yaml").read_text()
    assert text == MANIFEST[: MANIFEST.index("\n  alpha:")]
    assert not (project.directory / "vendor/alpha").exists()
    assert list(project.lock) == ["zeta"]


def test_remove_of_the_last_one_leaves_no_empty_directory(synced: Workspace) -> None:
    synced.prepare("remove", "good")
    assert sorted(path.name for path in synced.directory.iterdir()) == [
        ".provender",
        "provender.lock",
        "provender.yaml",
    ]


def test_remove_of_an_unknown_name_says_which_is_near(synced: Workspace) -> None:
    before = synced.look()
    error = refused(synced.json("remove", "god"), 66, "no-dependency")
    assert error["hint"] == "did you mean good?"
    refused(synced.json("remove", "good", "god"), 66, "no-dependency")
    assert synced.look() == before


# --- lock


def test_lock_writes_the_lock_and_nothing_else(project: Workspace) -> None:
    publish_versions(project.registry)
    project.depend(good={"oci": "acme/good", "version": "^1"})
    result = project.json("lock")
    assert result.status == 0, result.stderr
    assert (result.json["kind"], result.json["lockChanged"]) == ("lock", True)
    assert project.lock["good"]["tag"] == "1.1.0"
    assert not (project.directory / "vendor").exists()
    project.check_no_leftovers()
    lock = (project.directory / "provender.lock").read_bytes()
    project.prepare("sync", "--locked")
    assert (project.directory / "provender.lock").read_bytes() == lock


def test_lock_keeps_what_still_answers(synced: Workspace) -> None:
    publish(synced.registry, "acme/good", "1.0.0", {"a.txt": b"moved\n"})
    publish(synced.registry, "acme/other", "1", {"o": b"o"})
    digest = synced.lock["good"]["digest"]
    synced.depend(good="acme/good:1.0.0", other="acme/other:1")
    synced.prepare("lock")
    assert synced.lock["good"]["digest"] == digest
    assert synced.registry.count("GET", "/v2/acme/good/") == 0


def test_lock_locked_and_dry_run_write_nothing(synced: Workspace) -> None:
    publish(synced.registry, "acme/other", "1", {"o": b"o"})
    synced.depend(good="acme/good:1.0.0", other="acme/other:1")
    before = synced.look()
    error = refused(synced.json("lock", "--locked"), 78, "lock-stale")
    assert "other" in error["message"]
    assert synced.registry.requests == []
    result = synced.json("lock", "--dry-run")
    assert (result.status, result.json["lockChanged"], result.json["dryRun"]) == (0, True, True)
    assert synced.look() == before


def test_the_lock_has_the_same_bytes_wherever_it_is_made(synced: Workspace, tmp_path: Path) -> None:
    other = Workspace(tmp_path / "elsewhere", synced.registry, tmp_path / "another-cache")
    other.directory.mkdir()
    other.depend(good="acme/good:1.0.0")
    other.prepare("sync")
    lock = (other.directory / "provender.lock").read_bytes()
    assert lock == (synced.directory / "provender.lock").read_bytes()
    text = lock.decode()
    assert not any(word in text for word in ("127.0.0.1", str(tmp_path), "http"))


# --- sync


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


# --- check


def test_check_names_every_difference_and_writes_nothing(synced: Workspace) -> None:
    good = synced.directory / "vendor/good"
    (good / "a.txt").write_text("changed\n")
    (good / "extra.txt").write_text("extra\n")
    (good / "sub/b.txt").unlink()
    before = everything(synced.directory, without=())
    result = synced.json("check")
    assert result.status == 1
    assert result.json["kind"] == "check"
    assert result.json["dependencies"] == [
        {
            "name": "good",
            "to": "vendor/good",
            "clean": False,
            "problem": None,
            "missing": ["sub/b.txt"],
            "changed": ["a.txt"],
            "extra": ["extra.txt"],
        }
    ]
    text = synced.run("check")
    assert (text.status, text.stderr) == (1, "1 of 1 dependency not as locked\n")
    assert text.stdout.splitlines() == [
        "good  vendor/good",
        "  missing  sub/b.txt",
        "  changed  a.txt",
        "  extra  extra.txt",
    ]
    assert everything(synced.directory, without=()) == before
    assert synced.registry.requests == []


def test_check_sees_modes_links_and_kinds(project: Workspace) -> None:
    publish(project.registry, "acme/good", "1", {"a": b"a", "b": b"b", "c": b"c"})
    project.depend(good="acme/good:1")
    project.prepare("sync")
    good = project.directory / "vendor/good"
    (good / "a").chmod(0o755)
    (good / "b").unlink()
    (good / "b").symlink_to("c")
    (good / "c").unlink()
    (good / "c").mkdir()
    (good / "c/d").write_text("d")
    finding = project.json("check").json["dependencies"][0]
    assert finding["changed"] == ["a", "b"]
    assert finding["missing"] == ["c"]
    assert finding["extra"] == ["c/d"]


def test_check_without_state_asks_for_names_only_if_something_differs(synced: Workspace) -> None:
    shutil.rmtree(synced.directory / ".provender")
    assert synced.json("check", "--offline").json["clean"] is True
    (synced.directory / "vendor/good/a.txt").write_text("changed\n")
    shutil.rmtree(synced.cache)
    offline = synced.json("check", "--offline")
    assert offline.status == 1
    assert "cannot be told" in offline.json["dependencies"][0]["problem"]
    online = synced.json("check")
    assert (online.status, online.json["dependencies"][0]["changed"]) == (1, ["a.txt"])
    assert synced.registry.count("GET", "/manifests/1.0.0") == 0


def test_check_tells_a_stale_lock_and_a_lost_destination(synced: Workspace) -> None:
    shutil.rmtree(synced.directory / "vendor")
    assert synced.json("check").json["dependencies"][0]["problem"] == "it is not there"
    synced.depend(good="acme/good:2.0.0")
    found = synced.json("check")
    assert found.status == 1
    assert "the lock does not answer the manifest" in found.json["dependencies"][0]["problem"]


def test_check_without_a_lock_says_how_to_get_one(project: Workspace) -> None:
    project.depend(good="acme/good:1.0.0")
    error = refused(project.json("check"), 78, "no-lock")
    assert "provender sync" in error["hint"]


# --- list


def test_list_shows_what_is_asked_for_and_what_is_locked(synced: Workspace) -> None:
    synced.depend(good="acme/good:1.0.0", other={"oci": "acme/other", "version": "^2"})
    digest = synced.lock["good"]["digest"]
    document = synced.json("list").json
    assert document["kind"] == "list"
    good, other = document["dependencies"]
    assert (good["name"], good["requested"], good["tag"], good["digest"]) == ("good", "1.0.0", "1.0.0", digest)
    assert (good["to"], good["stale"], good["sizeBytes"]) == ("vendor/good", None, 11)
    assert (other["digest"], other["stale"]) == (None, "it is not in the lock")
    lines = synced.succeed("list").stdout.splitlines()
    assert lines[0].split() == ["NAME", "FROM", "ASKED", "FOR", "LOCKED", "TO"]
    assert lines[2].endswith("not locked")
    assert synced.registry.requests == []


def test_list_of_nothing_says_so_on_stderr(project: Workspace) -> None:
    project.prepare("init")
    result = project.succeed("list")
    assert result.stdout == ""
    assert "no dependencies yet" in result.stderr
    assert json.loads(project.json("list").stdout)["dependencies"] == []
