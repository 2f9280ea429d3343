"""The project commands as a user runs them: what they do, what they print, and what they never touch."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import Any

import pytest

from support.registry import TestRegistry
from support.workspace import Workspace, everything, publish, refused

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
        (["acme/good:1.0.0", "--name", "bad/name"], 2, "invalid-name"),
        (["acme/good:1.0.0", "--name", "up", "--to", "../up"], 2, "invalid-path"),
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
    assert lines[0].split() == ["NAME", "FROM", "ASKED", "FOR", "LOCKED", "TO", "SIZE", "VERIFIED", "STATUS"]
    assert lines[1].endswith("vendor/good   2 files, 11 B  by digest  as locked")
    assert (good["files"], good["laidBytes"], good["status"], good["verified"]) == (2, 11, "as locked", None)
    assert good["location"] == f"{synced.registry.host}/acme/good"
    assert lines[2].endswith("not locked")
    assert synced.registry.requests == []


def test_list_of_nothing_says_so_on_stderr(project: Workspace) -> None:
    project.prepare("init")
    result = project.succeed("list")
    assert result.stdout == ""
    assert "no dependencies yet" in result.stderr
    assert json.loads(project.json("list").stdout)["dependencies"] == []
