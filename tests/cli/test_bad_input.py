"""Bad project files, locks and destinations: refused with what, where and how to fix it, and nothing changes."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from support.workspace import Workspace, everything, publish, refused

PINNED = "sha256:" + "ab" * 32

# Each manifest with the code of its error, line and column of the fault, and what the message or hint has to say.
MANIFESTS = {
    "unknown key": (
        'version: 1\ndependencies:\n  x: {oci: acme/good, vesion: "1"}\n',
        ("unknown-key", "3:23", ["'vesion'", "did you mean version?"]),
    ),
    "unknown key at the top": (
        "version: 1\ndependency: {}\n",
        ("unknown-key", "2:1", ["'dependency'", "did you mean dependencies?"]),
    ),
    "duplicate key": (
        "version: 1\ndependencies:\n  x: acme/good:1\n  y: acme/good:1\n  x: acme/good:2\n",
        ("duplicate-key", "5:3", ["'x'", "line 3"]),
    ),
    "duplicate key in a flow mapping": (
        "version: 1\ndependencies:\n  x: {oci: acme/good, tag: a, tag: b}\n",
        ("duplicate-key", "3:31", ["'tag'"]),
    ),
    "number for text": (
        "version: 1\ndependencies:\n  x: {oci: acme/good, version: 1.0}\n",
        ("invalid-value", "3:32", ["must be text, not the number 1.0", '"1.0"']),
    ),
    "list for a mapping": (
        "version: 1\ndependencies: [acme/good]\n",
        ("invalid-value", "2:15", ["dependencies"]),
    ),
    "text for a list": (
        "version: 1\ndependencies:\n  x: {oci: acme/good, tag: a, include: 'a'}\n",
        ("invalid-value", "3:40", ["dependencies.x.include must be a list"]),
    ),
    "no YAML": ("version: 1\ndependencies: {x: [}\n", ("invalid-yaml", "2:20", ["not YAML"])),
    "empty": ("", ("invalid-value", "1:1", ["the file is empty", "version: 1"])),
    "newer version": ("version: 2\n", ("manifest-too-new", "1:10", ["version 2", "newer provender"])),
    "anchor": (
        "version: 1\ndependencies:\n  x: &a {oci: acme/good}\n  y: *a\n",
        ("invalid-yaml", "3:6", ["anchors"]),
    ),
    "Docker Hub short name": (
        "version: 1\ndependencies:\n  x: nginx:1.25\n",
        ("short-name", "3:6", ["'nginx:1.25'", "docker.io/library/nginx"]),
    ),
    "cut digest": (
        "version: 1\ndependencies:\n  x: acme/good@sha256:abc\n",
        ("invalid-digest", "3:6", ["'sha256:abc'", "64 lower-case"]),
    ),
    "digest of an unknown algorithm": (
        f"version: 1\ndependencies:\n  x: {{oci: acme/good, digest: 'md5:{'a' * 32}'}}\n",
        ("unsupported-digest", "3:31", ["md5"]),
    ),
    "neither tag nor digest": (
        "version: 1\ndependencies:\n  x: acme/good\n",
        ("missing-tag", "3:6", ["acme/good:TAG"]),
    ),
    "version and tag": (
        'version: 1\ndependencies:\n  x: {oci: acme/good, version: "1", tag: a}\n',
        ("version-and-tag", "3:37", ["exclude each other"]),
    ),
    "broken range": (
        'version: 1\ndependencies:\n  x: {oci: acme/good, version: ">=1 <<2"}\n',
        ("invalid-range", "3:32", [">=1 <<2"]),
    ),
    "destinations overlap": (
        "version: 1\ndependencies:\n  x: {oci: a/b, tag: a, to: lib}\n  y: {oci: a/b, tag: a, to: lib/sub}\n",
        ("overlapping-destinations", "4:29", ["'x'", "'y'", "provender.yaml:3:3"]),
    ),
    "destinations overlap but for case": (
        "version: 1\ndependencies:\n  x: {oci: a/b, tag: a, to: lib/A}\n  y: {oci: a/b, tag: a, to: lib/a}\n",
        ("overlapping-destinations", "4:29", ["overlap"]),
    ),
    "destination above the project": (
        "version: 1\ndependencies:\n  x: {oci: acme/good, tag: a, to: ../up}\n",
        ("invalid-path", "3:35", ["'../up'", "inside the project"]),
    ),
    "absolute destination": (
        "version: 1\ndependencies:\n  x: {oci: acme/good, tag: a, to: /up}\n",
        ("invalid-path", "3:35", ["absolute", "inside the project"]),
    ),
    "destination among our own files": (
        "version: 1\ndependencies:\n  x: {oci: acme/good, tag: a, to: .provender/x}\n",
        ("reserved-destination", "3:35", ["belongs to provender"]),
    ),
    "destination in version control": (
        "version: 1\ndependencies:\n  x: {oci: acme/good, tag: a, to: .git/hooks}\n",
        ("reserved-destination", "3:35", ["version control"]),
    ),
    "layout outside of the project": (
        "version: 1\ndependencies:\n  x: layout:../store:1\n",
        ("outside-project", "3:6", ["outside of the project"]),
    ),
    "source that is a slip": (
        "version: 1\ndependencies:\n  x: {gti: 'https://git.example.com/x'}\n",
        ("no-source", "3:7", ["'gti'", "did you mean git?"]),
    ),
    "two sources": (
        "version: 1\ndependencies:\n  x: {oci: acme/x, git: 'https://git.example.com/x'}\n",
        ("several-sources", "3:20", ["'oci', 'git'", "keep one"]),
    ),
    "alias without location": (
        "version: 1\ndependencies:\n  x: nope/good:1\n",
        ("unbound-registry", "3:3", ["'nope'", "PROVENDER_REGISTRY_NOPE", "registries.yaml"]),
    ),
    "alias that is a slip": (
        "version: 1\nregistries: {acme: {}}\ndependencies:\n  x: acm/good:1\n",
        ("unbound-registry", "4:3", ["'acm'", "did you mean acme?"]),
    ),
    "Docker Hub name of two parts": (
        "version: 1\ndependencies:\n  x: library/nginx:1.25\n",
        ("unbound-registry", "3:3", ["'library'", "docker.io/library"]),
    ),
}


@pytest.mark.parametrize("name", MANIFESTS)
def test_a_bad_manifest_is_refused_at_its_line_and_column(synced: Workspace, name: str) -> None:
    text, (code, place, said) = MANIFESTS[name]
    synced.write(text)
    before = synced.look()
    result = synced.json("sync")
    error = result.error
    assert (result.status, error["code"], error["exit"]) == (78, code, 78), error
    assert error["where"] == f"{synced.directory / 'provender.yaml'}:{place}"
    for words in said:
        assert words in f"{error['message']} {error['hint']}"
    assert synced.look() == before
    assert synced.registry.requests == []
    assert result.stdout == ""


def test_in_text_an_error_is_three_parts_on_stderr(synced: Workspace) -> None:
    synced.write("version: 1\ndependencies:\n  x: nginx:1.25\n")
    result = synced.run("sync")
    assert (result.status, result.stdout) == (78, "")
    what, where, fix = result.stderr.splitlines()
    assert what.startswith("error: x: not a reference: 'nginx:1.25'")
    assert where == f"  at {synced.directory / 'provender.yaml'}:3:6"
    assert fix.startswith("  fix write where it lives: docker.io/library/nginx")


@pytest.mark.parametrize("command", ["lock", "check", "list", "sync"])
def test_every_project_command_refuses_a_bad_manifest(synced: Workspace, command: str) -> None:
    synced.write("version: 1\ndependencies:\n  x: nginx:1.25\n")
    before = synced.look()
    refused(synced.json(command), 78, "short-name")
    assert synced.look() == before


def test_bytes_that_are_no_text_are_refused(synced: Workspace) -> None:
    (synced.directory / "provender.yaml").write_bytes(b"version: 1\nx-note: \xff\xfe\n")
    before = synced.look()
    error = refused(synced.json("sync"), 78, "invalid-yaml")
    assert "UTF-8" in error["message"]
    assert synced.look() == before


def test_a_directory_in_place_of_the_lock_is_named(synced: Workspace) -> None:
    (synced.directory / "provender.lock").unlink()
    (synced.directory / "provender.lock").mkdir()
    error = refused(synced.json("list"), 78, "not-a-file")
    assert error["where"].endswith("provender.lock")


def test_what_to_do_about_broken_yaml_is_said_and_not_what_the_parser_did(synced: Workspace) -> None:
    synced.write("version: 1\nx: [\n")
    assert refused(synced.json("list"), 78, "invalid-yaml")["hint"].startswith("look at the indentation, quotes")


def test_without_a_manifest_the_error_says_where_it_looked(tmp_path: Path, project: Workspace) -> None:
    error = refused(project.json("sync"), 66, "no-manifest")
    assert "provender init" in error["hint"]
    assert everything(project.directory) == {}


# --- the lock


def with_lock(synced: Workspace, content: bytes) -> dict[str, tuple[str, int, bytes]]:
    (synced.directory / "provender.lock").write_bytes(content)
    return synced.look()


@pytest.mark.parametrize("command", ["sync", "lock", "check", "list"])
def test_a_lock_with_conflict_markers_is_named_as_such(synced: Workspace, command: str) -> None:
    lock = (synced.directory / "provender.lock").read_bytes()
    merged = b"<<<<<<< HEAD\n" + lock + b"=======\n" + lock + b">>>>>>> other\n"
    before = with_lock(synced, merged)
    error = refused(synced.json(command), 78, "lock-conflict")
    assert "merge" in error["message"] + error["hint"]
    assert error["where"] == f"{synced.directory / 'provender.lock'}:1:1"
    assert synced.look() == before


def test_a_lock_of_a_newer_version_asks_for_a_newer_provender(synced: Workspace) -> None:
    before = with_lock(synced, b'{"version": 2, "dependencies": {}, "news": []}\n')
    error = refused(synced.json("sync"), 78, "lock-too-new")
    assert "version 2" in error["message"]
    assert "newer provender" in error["hint"]
    assert synced.look() == before


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        b'{"version": 1, "version": 1, "dependencies": {}}',
        b'{"version": 1, "dependencies": {"good": {"source": "oci"}}}',
    ],
)
def test_a_damaged_lock_is_never_overwritten(synced: Workspace, content: bytes) -> None:
    before = with_lock(synced, content)
    error = synced.json("sync")
    assert error.status == 78
    assert error.error["where"].startswith(str(synced.directory / "provender.lock"))
    assert error.error["hint"]
    assert synced.look() == before


def test_a_lock_that_leads_out_of_the_project_is_refused(synced: Workspace) -> None:
    document = json.loads((synced.directory / "provender.lock").read_bytes())
    document["dependencies"]["good"]["to"] = "../elsewhere"
    before = with_lock(synced, json.dumps(document, indent=2).encode())
    result = synced.json("sync")
    assert result.status == 78
    assert "'../elsewhere'" in result.error["message"]
    assert synced.look() == before


def test_a_lock_with_a_wrong_tree_is_an_integrity_error(synced: Workspace) -> None:
    document = json.loads((synced.directory / "provender.lock").read_bytes())
    document["dependencies"]["good"]["tree"] = PINNED
    before = with_lock(synced, (json.dumps(document, indent=2) + "\n").encode())
    error = refused(synced.json("sync"), 65, "tree-mismatch")
    assert "good" in error["message"]
    assert synced.look() == before
    synced.check_no_leftovers()


# --- destinations


@pytest.mark.parametrize("target", ["outside", "inside"])
def test_a_destination_below_a_symbolic_link_is_refused(synced: Workspace, tmp_path: Path, target: str) -> None:
    elsewhere = tmp_path / "outside" if target == "outside" else synced.directory / "inside"
    elsewhere.mkdir()
    (elsewhere / "mine.txt").write_text("mine")
    publish(synced.registry, "acme/good", "2.0.0", {"new.txt": b"new"})
    synced.depend(good={"oci": "acme/good", "tag": "2.0.0", "to": "linked/deep/good"})
    os.symlink(elsewhere, synced.directory / "linked")
    before, outside = synced.look(), everything(elsewhere)
    error = refused(synced.json("sync"), 1, "destination-behind-a-link")
    assert "linked" in error["where"]
    assert synced.look() == before
    assert everything(elsewhere) == outside


def test_what_left_the_manifest_is_not_removed_through_a_symbolic_link(synced: Workspace, tmp_path: Path) -> None:
    os.rename(synced.directory / "vendor", tmp_path / "moved")
    os.symlink(tmp_path / "moved", synced.directory / "vendor")
    outside = everything(tmp_path / "moved")
    synced.depend()
    result = synced.run("sync")
    assert result.status == 0, result.stderr
    assert "vendor/good was left as it is" in result.stderr
    assert everything(tmp_path / "moved") == outside


@pytest.mark.parametrize("kind", ["file", "link"])
def test_a_destination_that_is_no_directory_is_left_alone(synced: Workspace, kind: str) -> None:
    publish(synced.registry, "acme/good", "2.0.0", {"new.txt": b"new"})
    synced.depend(good="acme/good:1.0.0", other="acme/good:2.0.0")
    place = synced.directory / "vendor/other"
    if kind == "file":
        place.write_text("mine")
    else:
        place.symlink_to("good")
    before = synced.look()
    error = refused(synced.json("sync"), 1, "destination-occupied")
    assert error["where"] == "vendor/other"
    assert synced.look() == before
    refused(synced.json("sync", "--force"), 1, "destination-occupied")
    assert synced.look() == before


def test_a_destination_full_of_other_files_is_not_overwritten(synced: Workspace) -> None:
    publish(synced.registry, "acme/good", "2.0.0", {"new.txt": b"new"})
    synced.depend(good="acme/good:1.0.0", other={"oci": "acme/good", "tag": "2.0.0", "to": "docs"})
    (synced.directory / "docs").mkdir()
    (synced.directory / "docs/mine.md").write_text("mine")
    before = synced.look()
    error = refused(synced.json("sync"), 1, "local-changes")
    assert "docs/mine.md" in error["message"]
    assert "--force" in error["hint"]
    assert synced.look() == before
    synced.check_no_leftovers()
